#!/usr/bin/env python3
"""test_second_outage.py - a daemon killed with -9 between its commits, and PROTOCOL.md's guarantees.

The client is the one that is made from PROTOCOL.md alone.
"""
import os

import second_wire as wire
from harness import case, main, wait_for
from ohemd import Daemon, make_dataset
from second_client import Client

N, K = 40, 10
SOON_MS = 1
NEVER_MS = 60000  # commit_ms' most: a case is over before anything is written


def daemon_on(directory, commit_ms=NEVER_MS, **job):
    if not os.path.exists("data"):
        make_dataset("data", [b"%d" % i for i in range(N)])
    job = {"rho": 1, "batch_size": K, **job}
    settings = "".join(f"{name} = {value}\n" for name, value in job.items())
    state = os.path.abspath(f"{directory}.state")
    return Daemon(config=f"[daemon]\ndrain_ms = 100\ncommit_ms = {commit_ms}\nstate = {state}\n"
                         f"[dataset d]\npath = {os.path.abspath('data')}\n"
                         f"[job default]\n{settings}", directory=directory)


def loss_of(i):
    return 1.0 + i / 64  # exact in 32 bits


def losses_of(batch):
    return [loss_of(i) for i in batch.ids]


def step(client):
    batch, _ = client.step(loss_of)
    return batch


def reconnect(client):
    """To a daemon that was restarted: it says again what it keeps."""
    before = client.welcome
    client.wire.close()
    client.connect()
    assert client.welcome["memory"] == before["memory"] and client.welcome["durable"] == 1
    assert client.welcome["boot"] != before["boot"]


def memory_of(daemon, ids=range(N)):
    """What is remembered of each instance."""
    known = [daemon.get(f"/v1/jobs/default/instances/{i}") for i in ids]
    return [(instance["score"], instance["visits"]) for instance in known]


def counters(daemon):
    return daemon.get("/v1/jobs/default")["counters"]


@case
def after_kill_9_each_report_counts_once_and_nothing_durable_is_lost():
    with daemon_on("run", SOON_MS) as daemon:
        client = Client(daemon.listen, credit=2)
        durable = client.take()  # its lease, and that of the next batch, are on disk with its report
        client.report(durable, losses_of(durable))
        assert client.sync()["seq"] == 1 and not client.kept
        daemon.kill()
    with daemon_on("run") as daemon:
        reconnect(client)
        client.release(durable)
        released, reported, held = step(client), client.take(), client.take()
        client.report(reported, losses_of(reported))
        ids = durable.ids + released.ids + reported.ids
        assert sorted(ids + held.ids) == list(range(N))
        daemon.kill()
    with daemon_on("run", SOON_MS) as daemon:
        assert memory_of(daemon, durable.ids) == [(loss_of(i), 1) for i in durable.ids]
        assert memory_of(daemon, released.ids + reported.ids) == [(0, 0)] * 2 * K, "it was lost"
        reconnect(client)
        client.ping()
        assert memory_of(daemon, ids) == [(loss_of(i), 1) for i in ids], "and was said again"
        assert client.report(held, losses_of(held))["all.count"] == K
        client.report(reported, losses_of(reported))
        assert reported.selection["flags"] & ~wire.LATE == wire.REPEATED
        assert memory_of(daemon) == [(loss_of(i), 1) for i in range(N)]
        assert client.sync()["seq"] == client.seq and not client.kept
        daemon.kill()
    with daemon_on("run") as daemon:
        assert memory_of(daemon) == [(loss_of(i), 1) for i in range(N)]
        client.wire.close()


def train_until(end, clients):
    """Clients take turns until each has a batch of the step `end` or later. @return ids by step"""
    ids, clients = {}, list(clients)
    while clients:
        for client in list(clients):
            batch = client.take()
            if batch.step >= end:
                clients.remove(client)
                continue
            client.report(batch, losses_of(batch))
            client.release(batch)
            ids[batch.step] = batch.ids
    return ids


@case
def in_strict_order_a_death_between_commits_changes_no_draw_and_no_score():
    half, end = 16, 32
    strict = {"order": "strict", "staleness": 3, "rho": 0.5, "seed": 5, "credit": 1}
    with daemon_on("lived", **strict) as daemon, Client(daemon.listen) as client:
        expected, memory = train_until(end, [client]), memory_of(daemon)
        assert list(expected) == list(range(end))
    with daemon_on("died", **strict) as daemon, Client(daemon.listen) as one, \
            Client(daemon.listen, rank=1) as two:
        batches = [step(client) for _ in range(half // 2) for client in (one, two)]
        daemon.kill()
        daemon.start()
        reconnect(one)
        one.ping()
        assert one.early, "its reports wait for the other's"
        reconnect(two)
        wait_for(lambda: one.ping() and two.ping() and not one.early | two.early, "all turns")
        assert counters(daemon)["reports_early"] > 0
        ids = {batch.step: batch.ids for batch in batches} | train_until(end, [one, two])
        assert ids == expected and memory_of(daemon) == memory


if __name__ == "__main__":
    main(globals())
