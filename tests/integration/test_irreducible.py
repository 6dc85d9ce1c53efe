"""test_irreducible.py - a job that subtracts what no training brings down (RHO-LOSS)."""
import os

import numpy as np

from harness import case, main
from ohemd import Daemon, make_dataset
from second_client import Client
from second_wire import LATE, REPEATED
from trainer import ohemctl

N, K = 40, 10
RANDOM = np.random.default_rng(2022)
IRREDUCIBLE = RANDOM.exponential(1, N).astype("<f4")


def serve(values=IRREDUCIBLE, job="", daemon=""):
    if not os.path.exists("data"):
        make_dataset("data", [b"record %d" % i for i in range(N)])
    np.asarray(values).tofile("irreducible.f32")
    return Daemon(config=f"[daemon]\n{daemon}[dataset d]\npath = {os.path.abspath('data')}\n[job default]\n"
                         f"batch_size = {K}\nrho = 1\nirreducible = {os.path.abspath('irreducible.f32')}\n{job}")


def score(daemon, i):
    return daemon.get(f"/v1/jobs/default/instances/{i}")["score"]


def report(client, losses, **wishes):
    """@return the batch, the differences in float32, the SELECTION"""
    batch = client.take()
    return batch, losses - IRREDUCIBLE[np.array(batch.ids)], client.report(batch, losses, **wishes)


@case
def scores_and_selection_are_those_of_the_difference():
    losses = RANDOM.exponential(2, K).astype("<f4")
    with serve() as daemon, Client(daemon.listen, credit=1) as client:
        batch, rest, got = report(client, losses)
        assert list(got["indices"]) == sorted(np.argsort(-rest, kind="stable")[:K // 2])
        assert (got["all.min"], got["all.max"]) == (rest.min(), rest.max())
        for i, wanted in zip(batch.ids, rest):
            assert abs(score(daemon, i) - wanted) < 1e-6 or wanted < 0, (i, wanted)
        assert daemon.get("/v1/jobs/default")["counters"]["losses_negative"] == (rest < 0).sum() > 0
        batch.selection = None
        again = client.report(batch, losses)  # it is what the trainer said that makes a repeat
        assert again["flags"] & REPEATED and list(again["indices"]) == list(got["indices"])


@case
def what_is_not_finite_stays_so():
    losses = np.array([np.nan, np.inf, *range(8)], "<f4")
    with serve() as daemon, Client(daemon.listen, credit=1) as client:
        _, _, got = report(client, losses)
        assert got["nonfinite_count"] == 2 and not {0, 1} & set(got["indices"])


@case
def of_a_ragged_report_the_instances_loss_is_reduced():
    with serve() as daemon, Client(daemon.listen, credit=1) as client:
        batch = client.take()
        got = client.report(batch, [5, 6, 7], items=[2, 1] + [0] * (K - 2))
        assert list(got["scores"][:2]) == [6, 7]  # as it was reported
        assert abs(score(daemon, batch.ids[0]) - (6 - IRREDUCIBLE[batch.ids[0]])) < 1e-6


@case
def instances_behind_the_end_of_the_file_have_none():
    with serve(IRREDUCIBLE[:N // 2]) as daemon:
        assert f"instances from {N // 2} on have no irreducible loss" in daemon.log()
        assert daemon.get("/v1/jobs/default")["settings"]["irreducible_count"] == N // 2
        assert f"  irreducible losses of {N // 2} instances are subtracted\n" in ohemctl(daemon, "jobs")[0]
        with Client(daemon.listen, credit=1) as client:
            for _ in range(N // K):
                client.step(lambda i: 9.0)
            for i in range(N):
                wanted = 9 - (IRREDUCIBLE[i] if i < N // 2 else 0)
                assert abs(score(daemon, i) - wanted) < 1e-6


@case
def after_a_restart_and_in_strict_order_it_is_subtracted_once():
    for order in ("", "order = strict\nstaleness = 8\n"):
        state = os.path.abspath(f"state{len(order)}")
        losses = RANDOM.exponential(2, K).astype("<f4")
        with serve(job=order, daemon=f"state = {state}\ncommit_ms = 20\n") as daemon:
            client = Client(daemon.listen, credit=1)
            first, rest, _ = report(client, losses)
            client.sync()
            client.release(first)
            second = client.take()
            client.sync()
            daemon.kill()
            daemon.start()
            client.wire.close()
            client.connect()
            got = client.report(second, losses)
            assert not got["flags"] & ~LATE
            client.release(second)
            client.sync()
            for batch in (first, second):
                rest = losses - IRREDUCIBLE[np.array(batch.ids)]
                for i, wanted in zip(batch.ids, rest):
                    told = daemon.get(f"/v1/jobs/default/instances/{i}")
                    assert told["visits"] == 1 and (abs(told["score"] - wanted) < 1e-6 or wanted < 0)
            client.bye()


@case
def a_file_that_is_wrong_is_refused_by_name():
    wrong = IRREDUCIBLE.copy()
    wrong[7] = np.nan
    for values, words in ((np.append(IRREDUCIBLE, np.float32(1)), f"has {4 * N + 4} bytes; 4 for each of the {N}"),
                          (np.zeros(0, "<f4"), "has 0 bytes"),
                          (np.frombuffer(b"12345", np.uint8), "has 5 bytes"),
                          (wrong, "the loss of instance 7 is nan")):
        daemon = serve(values)
        daemon.launch()
        assert daemon.process.wait(60) == 2
        assert "[job default] irreducible '" in daemon.log() and words in daemon.log(), daemon.log()
        os.remove(daemon.log_path)
    daemon = serve()
    os.remove("irreducible.f32")
    daemon.launch()
    assert daemon.process.wait(60) == 2 and "No such file" in daemon.log()


if __name__ == "__main__":
    main(globals())
