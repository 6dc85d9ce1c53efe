#!/usr/bin/env python3
"""test_second_client.py - PROTOCOL.md tested: a client made from it alone, and a real daemon."""
import os
import signal
import threading
import time

import numpy as np
import zmq

import second_wire as wire
from harness import DEADLINE_SECONDS, case, main, wait_for
from ohemd import Daemon, make_dataset
from second_client import Client, Refusal, Wire

K = 10
DRAIN_MS_LONG = 1000 * DEADLINE_SECONDS


def record(i):
    """Of many sizes, one of them 0."""
    return b"%d:" % i * (i % 7)


def daemon_on(instances, daemon="drain_ms = 100", dataset="", record_of=record, directory="run",
              **job):
    """A daemon with one job `default` that has these settings, on records of differing sizes.

    daemon, dataset  lines for those sections of its configuration
    """
    if not os.path.exists("data"):
        make_dataset("data", [record_of(i) for i in range(instances)])
    settings = "".join(f"{name} = {value}\n" for name, value in job.items())
    return Daemon(config=f"[daemon]\n{daemon}\n[dataset d]\npath = {os.path.abspath('data')}\n"
                         f"{dataset}\n[job default]\n{settings}", directory=directory)


def job_of(daemon):
    return daemon.get("/v1/jobs/default")


def counters(daemon):
    return job_of(daemon)["counters"]


def refusal_of(call, *arguments):
    try:
        result = call(*arguments)
    except Refusal as refusal:
        return refusal
    raise AssertionError(f"it was accepted: {result}")


def coverage(batches):
    """The coverage ids of batches, in the order of their steps."""
    ordered = sorted(batches, key=lambda batch: batch.step)
    return [i for batch in ordered for i in batch.ids[:batch.fields["coverage_count"]]]


# ---- epochs


@case
def an_epoch_without_bias_gives_every_instance_once_with_its_bytes():
    instances, k = 960, 64
    with daemon_on(instances, rho=1) as daemon, \
            Client(daemon.listen, batch_size=k, credit=4) as client:
        assert client.welcome["instance_count"] == instances and client.welcome["record_bytes"] == 0
        assert client.welcome["record_bytes_max"] == max(len(record(i)) for i in range(instances))
        batches = [client.step(float)[0] for _ in range(instances // k)]
        assert sorted(i for batch in batches for i in batch.ids) == list(range(instances))
        for batch in batches:
            assert batch.records == [record(i) for i in batch.ids]
            assert batch.fields["epoch"] == 0 and batch.fields["coverage_count"] == k
            assert np.allclose(batch.fields["probabilities"], 1 / instances)
            assert np.array_equal(batch.fields["weights"], np.ones(k))
        client.ping()  # the last CREDIT is handled when this is answered
        closed, = job_of(daemon)["epochs"]["closed"]
        assert closed["epoch"] == 0 and closed["reported"] == instances and closed["missing"] == 0


@case
def two_trainers_share_epochs_that_no_batch_divides():
    instances = 103
    with daemon_on(instances, rho=1, unique="no") as daemon, \
            Client(daemon.listen, batch_size=K, credit=3) as one, \
            Client(daemon.listen, batch_size=7, credit=2, rank=1) as two:
        batches = [client.step(float)[0] for _ in range(20) for client in (one, two)]
        # what either holds and has not seen is part of the epoch, too
        for client in (one, two):
            client.ping()
            batches += client.batches.values()
        ids = coverage(batches)
        for epoch in range(3):
            assert sorted(ids[instances * epoch:instances * (epoch + 1)]) == list(range(instances))
        closed = job_of(daemon)["epochs"]["closed"]
        assert len(closed) >= 2 and all(epoch["missing"] == 0 for epoch in closed)


@case
def with_bias_every_instance_is_still_covered_and_hard_ones_come_more_often():
    instances, hard = 200, 10
    with daemon_on(instances, rho=0.5, beta=1) as daemon, \
            Client(daemon.listen, batch_size=20, credit=2) as client:
        def loss_of(i):
            return 9.0 if i < hard else 0.125

        batches = [client.step(loss_of)[0] for _ in range(60)]
        ids = coverage(batches)
        for epoch in range(2):
            assert sorted(ids[instances * epoch:instances * (epoch + 1)]) == list(range(instances))
        drawn = [i for batch in batches[20:] for i in batch.ids[batch.fields["coverage_count"]:]]
        assert len(drawn) >= 300 and sum(i < hard for i in drawn) > len(drawn) / 2
        for batch in batches[20:]:
            check_numbers(batch, instances)
        assert all(epoch["missing"] == 0 for epoch in job_of(daemon)["epochs"]["closed"])


def check_numbers(batch, instances):
    """Section 8: p has its floor from coverage, w is (N p)^-1 with a mean of 1; no id twice."""
    p = batch.fields["probabilities"].astype(np.float64)
    share = batch.fields["coverage_count"] / len(batch.ids)
    assert share == 0.5 and p.min() >= share / instances * 0.999 and p.max() < 1
    w = 1 / (instances * p)
    assert np.allclose(batch.fields["weights"], w / w.mean(), rtol=1e-4)
    assert len(set(batch.ids)) == len(batch.ids)


@case
def the_selection_is_the_top_half_of_numpy_with_ties_by_position():
    random = np.random.default_rng(20160412)
    with daemon_on(500, rho=1) as daemon, Client(daemon.listen, batch_size=33, credit=2) as client:
        for turn in range(60):
            batch = client.take()
            kinds = [random.integers(0, 4, 33), random.normal(1, 1, 33)]
            losses = kinds[turn % 2].astype("<f4")
            broken = random.random(33) < 0.1 * (turn % 3)
            losses[broken] = random.choice([np.nan, np.inf, -np.inf])
            check_selection(losses, client.report(batch, losses), turn + 1)
            client.release(batch)


def check_selection(losses, selection, number):
    finite = np.flatnonzero(np.isfinite(losses))
    order = finite[np.argsort(-losses[finite], kind="stable")]
    kept = np.sort(order[:min(len(losses) // 2, len(finite))])
    assert np.array_equal(selection["indices"], kept), f"{losses}: {selection['indices']}"
    assert np.array_equal(selection["weights"], np.ones(len(kept)))
    assert selection["seq"] == selection["lsn"] == number and selection["flags"] == 0
    assert selection["nonfinite_count"] == len(losses) - len(finite)
    for name, part in (("all", losses[finite]), ("kept", losses[kept])):
        assert selection[f"{name}.count"] == len(part)
        assert selection[f"{name}.min"] == part.min() and selection[f"{name}.max"] == part.max()
        mean = part.mean(dtype=np.float64)
        assert np.isclose(selection[f"{name}.mean"], mean, rtol=1e-5, atol=1e-6)


@case
def a_batch_without_a_finite_loss_selects_nothing_and_scores_nothing():
    with daemon_on(100, rho=1) as daemon, Client(daemon.listen, batch_size=K, credit=1) as client:
        batch, selection = client.step(lambda _i: float("nan"))
        assert selection["kept.count"] == selection["all.count"] == 0
        assert selection["nonfinite_count"] == K
        assert selection["kept.mean"] == selection["all.max"] == 0
        assert daemon.get(f"/v1/jobs/default/instances/{batch.ids[0]}")["scored"] is False


# ---- reports


@case
def a_report_said_again_gets_the_same_answer_and_other_losses_a_conflict():
    with daemon_on(100) as daemon, Client(daemon.listen, batch_size=K, credit=1) as client:
        batch = client.take()
        losses = [float(i % 4) for i in range(K)]
        first = client.report(batch, losses)
        before = daemon.get(f"/v1/jobs/default/instances/{batch.ids[3]}")
        again = client.report(batch, losses)
        assert first["flags"] == 0 and again["flags"] == wire.REPEATED
        assert (first["seq"], again["seq"]) == (1, 2), "of the LOSS that is answered"
        for name in first.keys() - {"flags", "seq"}:
            assert np.array_equal(first[name], again[name]), name
        other = refusal_of(client.report, batch, losses[::-1])
        assert other.code == "CONFLICT" and other.token == batch.token and other.about == 5
        assert client.report(batch, losses)["flags"] == wire.REPEATED, "the first stay"
        assert daemon.get(f"/v1/jobs/default/instances/{batch.ids[3]}") == before
        counted = counters(daemon)
        assert counted["reports_applied"] == 1 and counted["reports_repeated"] == 2
        assert counted["reports_refused_conflict"] == 1
        client.release(batch)
        gone = client.report(batch, losses)
        assert gone["flags"] == wire.REPEATED | wire.FORGOTTEN, "CREDIT: its answer is not kept"
        assert gone["kept.count"] == 0


@case
def the_same_losses_means_bit_by_bit():
    with daemon_on(100) as daemon, Client(daemon.listen, batch_size=K, credit=1) as client:
        batch = client.take()
        client.report(batch, [float("nan")] + [0.0] * (K - 1))
        assert client.report(batch, [float("nan")] + [0.0] * (K - 1))["flags"] == wire.REPEATED
        other = refusal_of(client.report, batch, [float("nan")] + [-0.0] * (K - 1))
        assert other.code == "CONFLICT"


@case
def batches_may_be_reported_in_any_order_and_answers_keep_it():
    with daemon_on(100, rho=1) as daemon, Client(daemon.listen, batch_size=K, credit=4) as client:
        batches = [client.take() for _ in range(4)]
        order = [batches[i] for i in (2, 0, 3, 1)]
        for batch in order:
            client.begin_report(batch, [float(i) for i in batch.ids])
        answers = [client.wait_for("SELECTION") for _ in order]
        assert [answer["token"] for answer in answers] == [batch.token for batch in order]
        for number, answer in enumerate(answers, start=1):
            assert answer["lsn"] == answer["seq"] == number


@case
def a_late_report_counts_once_and_its_instances_go_to_others():
    with daemon_on(100, rho=1, lease_ms=100) as daemon, \
            Client(daemon.listen, batch_size=K, credit=1) as late:
        batch = late.take()
        wait_for(lambda: counters(daemon)["leases_expired"] == 1, "the lease ends")
        assert job_of(daemon)["pool_count"] == K
        with Client(daemon.listen, batch_size=K, credit=1, rank=1) as other:
            taken = other.take()
            assert sorted(taken.ids) == sorted(batch.ids), "what was returned goes out first"
            selection = late.report(batch, [1.0] * K)
            assert selection["flags"] == wire.LATE and selection["all.count"] == K
            assert late.report(batch, [1.0] * K)["flags"] == wire.LATE | wire.REPEATED
        after = counters(daemon)
        assert after["reports_late"] == 1 and after["reports_applied"] == 1
        assert daemon.get(f"/v1/jobs/default/instances/{batch.ids[0]}")["visits"] == 1


@case
def a_report_long_after_its_lease_is_expired_and_the_slot_waits_for_its_credit():
    with daemon_on(100, rho=1, lease_ms=100, late_ms=100) as daemon, \
            Client(daemon.listen, batch_size=K, credit=1) as client:
        batch = client.take()

        def is_closed():
            client.hello()  # keeps the session, but extends no lease
            leases = job_of(daemon)["leases"]
            return leases["open"] == leases["returned"] == 0

        wait_for(is_closed, "the batch is closed")
        refusal = refusal_of(client.report, batch, [1.0] * K)
        assert refusal.code == "EXPIRED" and refusal.token == batch.token
        assert counters(daemon)["leases_expired"] == 1 and counters(daemon)["reports_applied"] == 0
        assert job_of(daemon)["sessions"][0]["held"] == 1 and not client.fresh
        client.release(batch)
        assert sorted(client.take().ids) == sorted(batch.ids)


@case
def a_release_without_a_report_counts_as_seen():
    with daemon_on(100, rho=1) as daemon, Client(daemon.listen, batch_size=K, credit=1) as client:
        released = client.take()
        client.release(released)
        seen = [i for _ in range(9) for i in client.step(float)[0].ids]
        assert sorted(seen + released.ids) == list(range(100))
        client.ping()
        closed, = job_of(daemon)["epochs"]["closed"]
        assert closed["released"] == K and closed["reported"] == 90 and closed["missing"] == 0
        assert daemon.get(f"/v1/jobs/default/instances/{released.ids[0]}")["scored"] is False
        assert refusal_of(client.report, released, [1.0] * K).code == "TOKEN"


@case
def ping_extends_leases_and_says_which_daemon_answers():
    with daemon_on(100, rho=1, lease_ms=1000) as daemon, \
            Client(daemon.listen, batch_size=K, credit=2) as alive, \
            Client(daemon.listen, batch_size=K, credit=1, rank=1) as silent:
        kept = [alive.take(), alive.take()]
        lost = silent.take()
        answers = []

        def others_end():
            answers.append(alive.ping())
            return counters(daemon)["leases_expired"]

        # its leases began before the one that ends
        wait_for(others_end, "the silent trainer's lease ends")
        assert {answer["boot"] for answer in answers} == {alive.welcome["boot"]}
        assert counters(daemon)["leases_expired"] == 1
        assert [alive.report(batch, [1.0] * K)["flags"] for batch in kept] == [0, 0]
        assert silent.report(lost, [1.0] * K)["flags"] == wire.LATE


# ---- sessions


@case
def hello_on_a_new_connection_resumes_what_is_not_held():
    with daemon_on(100, rho=1) as daemon, Client(daemon.listen, batch_size=K, credit=3) as client:
        held, lost, settled = client.take(), client.take(), client.take()
        client.report(settled, [1.0] * K)
        old, before = client.wire, client.welcome
        client.wire = Wire(daemon.listen)
        del client.batches[lost.token], client.batches[settled.token]
        client.hello()
        assert client.welcome == before
        again, fresh = client.take(), client.take()
        assert again.token == lost.token and again.records == lost.records
        for name, value in lost.fields.items():
            assert np.array_equal(value, again.fields[name]), name
        assert fresh.step == 3, "a batch that was answered and is not held is freed"
        client.ping()
        assert not client.fresh and len(client.batches) == 3
        # the session is where its last HELLO came from
        old.send("PING", key=client.key, nonce=1)
        name, fields = old.receive()
        assert name == "ERROR" and wire.ERRORS[fields["code"]] == "NO_SESSION"
        old.close()
        assert client.report(held, [1.0] * K)["flags"] == 0
        counted = counters(daemon)
        assert counted["sessions_resumed"] == counted["sessions_opened"] == 1


@case
def hello_on_the_same_connection_sends_nothing_again():
    with daemon_on(100, rho=1) as daemon, Client(daemon.listen, batch_size=K, credit=3) as client:
        batches = [client.take() for _ in range(3)]
        client.report(batches[0], [1.0] * K)
        client.batches.clear()
        client.hello()
        client.ping()
        assert not client.fresh and not client.batches
        assert counters(daemon)["batches_resent"] == 0
        assert job_of(daemon)["sessions"][0]["held"] == 3
        assert client.report(batches[1], [1.0] * K)["flags"] == 0


@case
def batches_come_in_the_order_of_their_steps():
    with daemon_on(2000) as daemon, Client(daemon.listen, batch_size=K, credit=16) as client:
        steps = [client.step(float)[0].step for _ in range(300)]
        assert steps == list(range(300))


@case
def a_report_whose_answer_was_lost_is_sent_again_after_hello():
    with daemon_on(100, rho=1) as daemon, Client(daemon.listen, batch_size=K, credit=2) as client:
        batch, other = client.take(), client.take()
        client.begin_report(batch, [float(i) for i in batch.ids])
        wait_for(lambda: counters(daemon)["reports_applied"] == 1, "the daemon has it")
        client.begin_report(other, [float(i) for i in other.ids])
        client.connect()  # what was on its way is lost
        assert client.finish_report(batch)["flags"] == wire.REPEATED and batch.selection["seq"] == 1
        assert client.finish_report(other)["flags"] in (0, wire.REPEATED)
        assert counters(daemon)["reports_applied"] == 2
        assert [job_of(daemon)["lsn"], client.seq] == [2, 2]


@case
def hello_with_a_known_key_may_not_change_its_wishes():
    with daemon_on(100) as daemon, Client(daemon.listen, batch_size=K, credit=2) as client:
        for name, value in (("batch_size", 11), ("credit", 3), ("rank", 1), ("layout", 1)):
            wishes, client.wishes = client.wishes, {**client.wishes, name: value}
            assert refusal_of(client.hello).code == "INVALID", name
            client.wishes = wishes
        client.wishes = {**client.wishes, "batch_size": 0, "credit": 0, "agent": "renamed",
                         "ways": 7}
        client.hello()
        assert client.welcome["batch_size"] == K and client.welcome["credit"] == 2
        assert counters(daemon)["sessions_opened"] == 1


@case
def a_daemon_started_anew_has_another_boot_and_forgot_all_batches():
    with daemon_on(100, rho=1) as daemon, Client(daemon.listen, batch_size=K, credit=2) as client:
        old, before = client.take(), client.welcome
        daemon.kill()
        daemon.start()
        assert refusal_of(client.ping).code == "NO_SESSION", "ZeroMQ connects again by itself"
        client.hello()
        assert client.welcome["boot"] != before["boot"]
        assert client.welcome["generation"] == before["generation"]
        assert refusal_of(client.report, old, [1.0] * K).code == "TOKEN"
        client.step(float)
        assert counters(daemon)["reports_applied"] == 1
        client.wire.send("PING", key=client.key, nonce=1)
        assert client.wait_for("PONG")["boot"] == client.welcome["boot"]


@case
def bye_ends_the_session_and_its_batches_go_to_others():
    with daemon_on(100, rho=1) as daemon:
        with Client(daemon.listen, batch_size=K, credit=2) as client:
            settled, held = client.take(), client.take()
            client.report(settled, [1.0] * K)
            client.bye()
            assert refusal_of(client.ping).code == "NO_SESSION"
            assert job_of(daemon)["session_count"] == 0 and counters(daemon)["sessions_closed"] == 1
            with Client(daemon.listen, batch_size=K, credit=1) as other:
                assert sorted(other.take().ids) == sorted(held.ids)
            client.hello()
            assert client.welcome["session"] == 3


@case
def a_session_that_is_silent_too_long_is_forgotten():
    with daemon_on(100, rho=1, lease_ms=100, late_ms=100) as daemon:
        client = Client(daemon.listen, batch_size=K, credit=1)
        batch = client.take()
        wait_for(lambda: job_of(daemon)["session_count"] == 0, "it is forgotten")
        assert refusal_of(client.report, batch, [1.0] * K).code == "NO_SESSION"
        client.hello()
        assert client.welcome["session"] == 2
        client.wire.close()


@case
def what_a_forgotten_session_was_handed_counts_under_the_next_one_by_its_ids():
    for order, flags in (("free", wire.LATE), ("strict", 0)):
        with daemon_on(100, rho=1, lease_ms=100, late_ms=100, order=order, batch_size=K,
                       directory=order) as daemon:
            client = Client(daemon.listen, credit=2)
            kept, held = client.take(), client.take()
            boot = client.welcome["boot"]
            wait_for(lambda: job_of(daemon)["session_count"] == 0, "it is forgotten")
            assert refusal_of(client.report, kept, [1.0] * K).code == "NO_SESSION"
            client.hello()
            assert client.welcome["session"] == 2 and client.welcome["boot"] == boot
            assert client.finish_report(kept)["flags"] == flags
            assert client.report(held, [2.0] * K)["flags"] == flags
            assert counters(daemon)["reports_recovered"] == 2
            client.wire.close()


@case
def sigterm_says_bye_serves_the_reports_and_ends_with_0():
    with daemon_on(100, daemon=f"drain_ms = {DRAIN_MS_LONG}", rho=1) as daemon:
        client = Client(daemon.listen, batch_size=K, credit=2)
        idle = Client(daemon.listen, batch_size=K, credit=1, rank=1)
        reported, released, begun = client.take(), client.take(), time.monotonic()
        idle.release(idle.take())
        last = idle.take()
        daemon.process.send_signal(signal.SIGTERM)
        for trainer in (client, idle):
            assert trainer.wait_for("BYE")["key"] == trainer.key
        with Wire(daemon.listen) as newcomer:
            newcomer.send("HELLO", major=wire.MAJOR, minor=wire.MINOR, key=bytes(16), held=[],
                          kept=[], memory=0, **client.wishes)
            name, fields = newcomer.receive()
            assert name == "ERROR" and wire.ERRORS[fields["code"]] == "DRAINING"
        client.hello()  # a known session may
        assert client.ping()["boot"] == client.welcome["boot"]
        assert client.report(reported, [1.0] * K)["flags"] == 0
        client.release(reported)
        client.release(released)
        client.ping()
        assert not client.fresh, "no more batches come"
        assert daemon.process.poll() is None, "one lease is left"
        idle.report(last, [1.0] * K)
        assert daemon.process.wait(DEADLINE_SECONDS) == 0
        assert time.monotonic() - begun < DRAIN_MS_LONG / 1000
        for trainer in (client, idle):
            trainer.wire.close()


@case
def sigterm_waits_no_longer_than_drain_ms():
    with daemon_on(100, daemon="drain_ms = 100") as daemon:
        client = Client(daemon.listen, batch_size=K, credit=2)
        client.take()
        assert daemon.stop() == 0
        client.wait_for("BYE")
        client.wire.close()


# ---- before its turn


class Early:
    """Not a daemon, but what one in strict order says after a restart, in a thread: a report with
    `early` (its seq) comes before its turn `times` times."""

    def __init__(self, early, times):
        self.early, self.times = early, times
        self.heard = []  # (name, seq or step, whether it came early)
        self.router = zmq.Context.instance().socket(zmq.ROUTER)
        self.router.linger = 0
        self.listen = f"ipc://{os.path.abspath('early.sock')}"
        self.router.bind(self.listen)
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    def _live(self):
        name = None
        while name != "BYE":
            peer, *frames = self.router.recv_multipart()
            name, fields = wire.decode(frames)
            for answer, said in getattr(self, f"_take_{name.lower()}")(fields):
                self.router.send_multipart([peer, *wire.encode(answer, **said)])
        self.router.close()

    def _take_hello(self, fields):
        yield "WELCOME", {**{f.name: 0 for f in wire.BY_NAME["WELCOME"].fields}, "minor": wire.MINOR,
                          "boot": 1, "session": 1, "job": "default", "instance_count": 9,
                          "batch_size": 1, "credit": 3, "share": "", "cookie": wire.NO_COOKIE,
                          "fields": "", "memory": 1, "durable": 1}
        for step in range(3):
            yield "BATCH", {**{f.name: 0 for f in wire.BY_NAME["BATCH"].fields}, "count": 1,
                            "token": step.to_bytes(16, "little"), "ids": [step],
                            "probabilities": [1], "weights": [1], "offsets": [0], "sizes": [0],
                            "payload": b""}

    def _take_loss(self, fields):
        seq = fields["seq"]
        is_early = seq == self.early and self.times > 0
        self.times -= is_early
        self.heard.append(("LOSS", seq, is_early))
        yield "SELECTION", {**{f.name: 0 for f in wire.BY_NAME["SELECTION"].fields}, "seq": seq,
                            "token": fields["token"], "flags": wire.EARLY if is_early else 0,
                            "all.count": 1, "all.mean": 0.0, "all.min": 0.0, "all.max": 0.0,
                            "kept.mean": 0.0, "kept.min": 0.0, "kept.max": 0.0,
                            "share.scale": 1.0, "indices": [],
                            "weights": []}

    def _take_credit(self, fields):
        self.heard.append(("CREDIT", fields["token"][0], False))
        yield from ()

    def _take_ping(self, fields):
        yield "PONG", {"nonce": fields["nonce"], "boot": 1, "durable_seq": 0}

    def _take_bye(self, fields):
        yield "BYE", {"key": fields["key"], "text": ""}


@case
def a_report_before_its_turn_is_answered_and_goes_again_with_its_credit():
    early = Early(early=2, times=3)
    with Client(early.listen) as client:
        batches = [client.take() for _ in range(3)]
        for batch in batches:
            assert client.report(batch, [0.5])["all.count"] == 1
        assert client.early == {batches[1].token}
        client.release(batches[1])
        while client.early:
            client.ping()
        assert len(client.kept) == 3
    early.thread.join(DEADLINE_SECONDS)
    first = [("LOSS", 1, False), ("LOSS", 2, True), ("LOSS", 3, False), ("CREDIT", 1, False)]
    again = [("LOSS", 2, True), ("CREDIT", 1, False)]
    assert early.heard == [*first, *again, *again, ("LOSS", 2, False), ("CREDIT", 1, False)], early.heard


# ---- versions and wishes


def hello_with(connection, extra=(), frames=(), **changes):
    """HELLO with some fields changed. @return the answer: (name, fields)"""
    fields = {"major": wire.MAJOR, "minor": wire.MINOR, "key": os.urandom(16), "job": "default",
              "rank": 0, "batch_size": K, "credit": 1, "agent": "", "layout": wire.SCATTERED,
              "ways": 1, "memory": 0, "held": [], **changes}
    values = [fields[field.name] for field in wire.BY_NAME["HELLO"].fields]
    connection.send_frames([wire.header(1, *values, *extra), b"".join(fields["held"]), b"",
                            *frames])
    return connection.receive()


@case
def a_newer_minor_with_more_fields_and_frames_is_accepted():
    with daemon_on(100) as daemon:
        with Wire(daemon.listen) as newer:
            extra = [7, None, "more", 1.5, b"bytes", True, -1]
            name, fields = hello_with(newer, minor=999, extra=extra, frames=[b"more", b""])
            assert name == "WELCOME"
            assert (fields["major"], fields["minor"]) == (wire.MAJOR, wire.MINOR)
        with Client(daemon.listen, batch_size=K, credit=1) as client:
            batch = client.take()
            header = wire.header(5, client.key, batch.token, 1, K, 0, 0, 0, 0, 0.0, 0, 0, 0, 0.0,
                                 0, 0, 0, "more", None)
            client.wire.send_frames([header, np.ones(K, "<f4").tobytes(), *[b""] * 5, b"more"])
            assert client.wait_for("SELECTION")["kept.count"] == K // 2
            # not even UTF-8: what is ignored is not looked at
            client.wire.send_frames([b"\x94\x07\xc4\x10" + client.key + b"\x2a\xa2\xff\xfe"])
            assert client.wait_for("PONG")["nonce"] == 42


@case
def numbers_may_be_written_wider_than_needed():
    with daemon_on(100) as daemon, Client(daemon.listen, batch_size=K, credit=1) as client:
        key = b"\xc6\x00\x00\x00\x10" + client.key
        kind, nonce = b"\xd2\x00\x00\x00\x07", b"\xcf" + bytes(7) + b"\x2a"
        ping = b"\xdd\x00\x00\x00\x03" + kind + key + nonce
        client.wire.send_frames([ping])
        assert client.wait_for("PONG")["nonce"] == 42


@case
def another_major_is_refused_with_both_numbers():
    with daemon_on(100) as daemon, Wire(daemon.listen) as stranger:
        name, fields = hello_with(stranger, major=7, minor=3)
        assert name == "ERROR" and wire.ERRORS[fields["code"]] == "VERSION" and fields["about"] == 1
        ours = f"{wire.MAJOR}.{wire.MINOR}"
        assert "7.3" in fields["text"] and ours in fields["text"], fields["text"]
        assert fields["token"] == bytes(16)
        # nothing but the first three need be as it is today
        stranger.send_frames([wire.header(1, 2, 0, "else")])
        name, fields = stranger.receive()
        assert wire.ERRORS[fields["code"]] == "VERSION" and "2.0" in fields["text"], fields
        assert hello_with(stranger)[0] == "WELCOME", "it may try again"


@case
def what_cannot_be_wished_is_refused_with_its_value():
    wrong = [({"job": "none"}, "NO_JOB", "none"), ({"batch_size": 101}, "INVALID", "101"),
             ({"batch_size": 65537}, "TOO_LARGE", "65537"), ({"credit": 65}, "TOO_LARGE", "65"),
             ({"rank": 65536}, "TOO_LARGE", "65536"), ({"agent": "a" * 65}, "TOO_LARGE", "65"),
             ({"layout": 3}, "TOO_LARGE", "layout is 3"), ({"ways": 8}, "TOO_LARGE", "ways is 8"),
             ({"agent": "a\nb"}, "MALFORMED", "agent"), ({"job": "j" * 65}, "TOO_LARGE", "65")]
    with daemon_on(100) as daemon, Wire(daemon.listen) as client:
        for changes, code, word in wrong:
            name, fields = hello_with(client, **changes)
            assert name == "ERROR" and wire.ERRORS[fields["code"]] == code, f"{changes}: {fields}"
            assert fields["about"] == 1 and word in fields["text"], f"{changes}: {fields}"
        assert job_of(daemon)["session_count"] == 0
        _, fields = hello_with(client, batch_size=0, credit=0, agent="ä" * 32)
        assert fields["batch_size"] == 100, "the job's 256 are more than there are"
        assert fields["credit"] == job_of(daemon)["settings"]["credit"]


if __name__ == "__main__":
    main(globals())
