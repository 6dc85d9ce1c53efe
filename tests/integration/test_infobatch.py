#!/usr/bin/env python3
"""test_infobatch.py - a real daemon that skips some of the easy: its epochs add up, over a restart too."""
from harness import case, main
from ohemd import Daemon, make_dataset
from second_client import Client
from trainer import ohemctl

N, K, RATIO = 1000, 50, 0.5
HARD = set(range(0, N, 10))  # a loss of 4, the others 1: the mean is 1.3


def config(job=""):
    return (f"[daemon]\nstate = state\ncommit_ms = 5\n[dataset d]\npath = ../data\n"
            f"[job default]\nbatch_size = {K}\nsampling = infobatch\n{job}")


def loss_of(i):
    return 4.0 if i in HARD else 1.0


def train(client, batches):
    """@return (epoch, id, w, p) of every slot"""
    slots = []
    for _ in range(batches):
        batch = client.take()
        assert batch.fields["coverage_count"] == K
        slots += zip([batch.fields["epoch"]] * K, batch.ids, map(float, batch.fields["weights"]),
                     map(float, batch.fields["probabilities"]))
        client.report(batch, [loss_of(i) for i in batch.ids])
        client.release(batch)
    return slots


def check_sums(daemon, closed):
    """@return the reports of so many closed epochs"""
    told = daemon.get("/v1/jobs/default")["epochs"]["closed"]
    told = sorted(told, key=lambda e: e["epoch"])
    assert [e["epoch"] for e in told] == list(range(closed)), told
    for e in told:
        assert e["reported"] + e["released"] + e["skipped"] == e["instance_count"] == N, e
        assert e["missing"] == 0 and e["served"] == N - e["skipped"], e
    return told


@case
def an_epoch_skips_half_of_the_easy_and_says_so():
    make_dataset("data", [b"record %d" % i for i in range(N)])
    with Daemon(config=config()) as daemon, Client(daemon.listen, credit=1) as client:
        first = train(client, N // K)
        assert sorted(i for _, i, _, _ in first) == list(range(N))  # nobody had a score
        assert {w for _, _, w, _ in first} == {1.0}
        seen = train(client, N // K)  # more than an epoch of some 550 slots
        told = check_sums(daemon, 2)
        skipped = told[1]["skipped"]
        assert told[0]["skipped"] == 0 and told[0]["cut"] is None
        assert 400 < skipped < 500 and 1.0 < told[1]["cut"] < 1.5, told
        mine = seen[:N - skipped]
        assert len({i for _, i, _, _ in mine}) == N - skipped and HARD <= {i for _, i, _, _ in mine}
        for _, i, w, p in mine:
            assert w == (1.0 if i in HARD else 2.0)
            assert abs(p * (N - RATIO * (N - len(HARD))) - (1 if i in HARD else RATIO)) < 1e-6
        # the estimate of the sum over all: 1300, give or take 30 (900 easy ones, each 0 or 2)
        assert abs(sum(w * loss_of(i) for _, i, w, _ in mine) - 1300) < 120
        assert "sampling=infobatch" in daemon.log()
        job = daemon.get("/v1/jobs/default")
        assert job["counters"]["instances_skipped"] >= skipped
        assert job["bias_share"] == 0 and not job["bias"]["in_force"]
        assert job["settings"]["policy"]["sampling"] == "infobatch"
        printed = ohemctl(daemon, "jobs")[0]
        assert f" {skipped} " in printed and "infobatch  skips 0.5 of those below the mean" in printed


@case
def a_restart_skips_no_other_ones_in_strict_order():
    make_dataset("data", [b"record %d" % i for i in range(N)])
    strict = config("order = strict\nstaleness = 2\ncredit = 1\n")
    with Daemon(config=strict, directory="whole") as daemon, Client(daemon.listen, credit=1) as client:
        whole = train(client, 80)
    daemon = Daemon(config=strict, directory="broken")
    broken = []
    for _ in range(8):
        with daemon, Client(daemon.listen, credit=1) as client:
            broken += train(client, 10)
    assert broken == whole
    assert any(w == 2.0 for _, _, w, _ in whole)


@case
def what_a_dead_trainer_held_comes_again_with_its_weights():
    make_dataset("data", [b"record %d" % i for i in range(N)])
    with Daemon(config=config()) as daemon:
        with Client(daemon.listen, credit=1) as client:
            train(client, N // K + 2)
            held = client.take()
            weights = dict(zip(held.ids, map(float, held.fields["weights"])))
        with Client(daemon.listen, credit=1) as client:  # the other said BYE: it all came back
            again = train(client, 1)
            assert {i: w for _, i, w, _ in again} == weights
            assert set(weights.values()) == {1.0, 2.0}
            told = daemon.get("/v1/jobs/default")["epochs"]["open"][-1]
            assert told["returned"] == told["repeated"] == K, told


@case
def the_last_epochs_of_a_run_are_whole():
    make_dataset("data", [b"record %d" % i for i in range(N)])
    job = config("epochs = 4\ninfobatch_full = 0.25\n")
    with Daemon(config=job) as daemon, Client(daemon.listen, credit=1) as client:
        while len(daemon.get("/v1/jobs/default")["epochs"]["closed"]) < 4:
            train(client, 5)
        told = check_sums(daemon, 4)
        assert [e["skipped"] > 0 for e in told] == [False, True, True, False], told


main(globals())
