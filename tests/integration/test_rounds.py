"""test_rounds.py - two ranks and one big batch: the same gradient; and ranks that are killed."""
import contextlib
import os
import signal
import time

import numpy as np

from harness import case, main
from ohemd import Daemon, make_dataset
from second_client import Client
from second_wire import LATE, REPEATED
from trainer import ohemctl

N, K, D = 600, 32, 7
STEPS = 150
ROUND_MS = 400
SLACK_MS = 250  # of a busy machine; a delay of ROUND_MS more would be seen
RANDOM = np.random.default_rng(2016)
# Some instances are far harder than others, so that now and then a rank has none of the hardest.
X = RANDOM.normal(0, 1, (N, D)) * np.where(np.arange(N) % 5 == 0, 4, 0.3)[:, None]
Y = (RANDOM.random(N) < 0.5).astype(float)


def serve(job="", daemon=""):
    if not os.path.exists("data"):
        make_dataset("data", [b"record %d" % i for i in range(N)])
    return Daemon(config=f"[daemon]\n{daemon}[dataset d]\npath = {os.path.abspath('data')}\n"
                         f"[job default]\nbatch_size = {K}\nrho = 0.5\nround = 2\n"
                         f"round_ms = {ROUND_MS}\n{job}")


@contextlib.contextmanager
def ranks(daemon, count=2, credit=2):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Client(daemon.listen, rank=rank, credit=credit))
               for rank in range(count)]


def losses_and_gradients(w, ids):
    """Of logistic regression: float64[k], float64[k, D]."""
    ids = np.asarray(ids, int)
    z = X[ids] @ w
    return np.logaddexp(0, z) - Y[ids] * z, (1 / (1 + np.exp(-z)) - Y[ids])[:, None] * X[ids]


def mine(selection, gradients):
    """What a rank back-propagates: its own mean, scaled; zeros if nothing is selected."""
    if not len(selection["indices"]):
        assert selection["share.scale"] == 0
        return np.zeros(D)
    return selection["share.scale"] * gradients[selection["indices"]].mean(axis=0)


def of_the_one_batch(losses, gradients, share):
    hardest = np.argsort(-losses.astype("<f4").astype(float), kind="stable")
    return gradients[hardest[:int(share * len(losses))]].mean(axis=0)


@case
def two_ranks_have_the_gradient_of_the_one_big_batch():
    w, empty, worst = np.zeros(D), 0, 0.0
    with serve("keep = 0.1\n") as daemon, ranks(daemon) as clients:
        for step in range(STEPS):
            batches = [client.take() for client in clients]
            known = [losses_and_gradients(w, batch.ids) for batch in batches]
            for client, batch, (losses, _) in zip(clients, batches, known):
                client.begin_report(batch, losses.astype("<f4"), at=step)
            told = [client.finish_report(batch) for client, batch in zip(clients, batches)]
            mean = sum(mine(s, g) for s, (_, g) in zip(told, known)) / 2
            whole = of_the_one_batch(*(np.concatenate(x) for x in zip(*known)), 0.1)
            worst = max(worst, np.linalg.norm(mean - whole) / np.linalg.norm(whole))
            assert {s["share.count"] for s in told} == {int(0.1 * 2 * K)}
            assert {s["share.present"] for s in told} == {2}
            empty += sum(not len(s["indices"]) for s in told)
            w -= 0.05 * mean
            for client, batch in zip(clients, batches):
                client.release(batch)
        counters = daemon.get("/v1/jobs/default")["counters"]
    print(f"{STEPS} rounds, {empty} shares were empty; the gradient is another by {worst:.1e} at most")
    assert worst < 1e-6 and empty > 0
    assert counters["rounds_answered"] == STEPS and counters["rounds_incomplete"] == 0
    assert counters["reports_applied"] == 2 * STEPS


def train_until(daemon, phase, at, ready):
    """A trainer of rank 1 in a process of its own, which stops at that phase of round `at`."""
    client = Client(daemon.listen, rank=1, credit=2).__enter__()
    for step in range(at + 1):
        batch = client.take()
        if step == at and phase == "before its report":
            break
        client.begin_report(batch, [1.0] * K, at=step)
        if step == at and phase == "after its report":
            client.ping()  # so it is with the daemon
            break
        client.finish_report(batch)
        client.release(batch)
    if phase == "before the next round":
        client.take()
    os.write(ready, b"x")
    signal.pause()


def start_rank(daemon, phase, at):
    """@return its pid, and where it says that it is there"""
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        train_until(daemon, phase, at, say)
    os.close(say)
    return pid, ready


def kill(pid, ready):
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@case
def a_rank_that_is_killed_delays_the_other_once():
    at, steps = 3, 8
    for phase in ("before its report", "after its report", "before the next round"):
        with serve() as daemon, Client(daemon.listen, rank=0, credit=2) as client:
            pid, ready = start_rank(daemon, phase, at)
            waited = []
            for step in range(steps):
                if step == at + (phase == "before the next round"):
                    kill(pid, ready)
                batch = client.take()
                began = time.monotonic()
                told = client.report(batch, [1.0] * K, at=step)
                waited.append(1000 * (time.monotonic() - began))
                client.release(batch)
                assert told["share.present"] >= 1 and told["share.count"] >= K // 2
            counters = daemon.get("/v1/jobs/default")["counters"]
        after = waited[at:]
        print(f"killed {phase}: the rounds from then on took",
              ", ".join(f"{ms:.0f}" for ms in after), "ms")
        assert sum(after) < ROUND_MS + SLACK_MS and max(after) >= ROUND_MS - 50, after
        assert counters["rounds_incomplete"] == 1, counters


@case
def a_late_rank_is_told_so_and_its_losses_count():
    with serve() as daemon, \
            ranks(daemon) as (one, other):
        batch, late = one.take(), other.take()
        told = one.report(batch, [2.0] * K, at=0)  # alone, after ROUND_MS
        assert told["share.present"] == 1 and abs(told["share.scale"] - 2) < 1e-6
        told = other.report(late, [3.0] * K, at=0)
        assert told["flags"] & LATE and not len(told["indices"])
        assert (told["share.present"], told["share.count"], told["share.scale"]) == (0, 0, 0)
        assert told["all.count"] == K
        for i in late.ids[:4]:
            assert daemon.get(f"/v1/jobs/default/instances/{i}")["last_loss"] == 3
        again = other.report(late, [3.0] * K, at=0)
        assert again["flags"] == LATE | REPEATED
        told = daemon.get("/v1/jobs/default")
        assert told["counters"]["rounds_missed"] == 1
        assert told["settings"]["round"] == {"ranks": 2, "timeout_ms": ROUND_MS, "balanced": False}
        assert "of 2 ranks: 1 answered, 1 of them incomplete; 1 reports too late" in ohemctl(
            daemon, "jobs")[0]


@case
def what_waits_when_the_daemon_is_killed_is_told_after_its_restart():
    with serve(daemon=f"state = {os.path.abspath('state')}\n") as daemon:
        with ranks(daemon) as (one, other):
            first, second = one.take(), other.take()
            one.begin_report(first, [2.0] * K, at=0)
            one.sync()
            daemon.kill()
            daemon.start()
            one.hello()  # and says again what it keeps
            other.hello()
            told = one.finish_report(first)  # it was on disk, its round is gone
            assert told["flags"] == LATE | REPEATED and told["share.present"] == 0
            told = other.report(second, [1.0] * K, at=0)  # over for all: nobody waits for it
            assert told["flags"] == LATE and told["share.present"] == 0
            first, second = one.take(), other.take()
            one.begin_report(first, [2.0] * K, at=1)
            assert other.report(second, [1.0] * K, at=1)["share.present"] == 2
            assert one.finish_report(first)["share.count"] == K
        assert daemon.get("/v1/jobs/default")["counters"]["reports_applied"] == 4


@case
def balanced_ranks_give_as_much_each():
    with serve("round_balanced = yes\nkeep_count = 5\n") as daemon, ranks(daemon) as clients:
        batches = [client.take() for client in clients]
        for rank, (client, batch) in enumerate(zip(clients, batches)):
            client.begin_report(batch, np.arange(K) + 100 * rank, at=7)
        for client, batch in zip(clients, batches):
            told = client.finish_report(batch)
            assert list(told["indices"]) == list(range(K - 5, K))
            assert (told["share.count"], told["share.scale"]) == (10, 1)


if __name__ == "__main__":
    main(globals())
