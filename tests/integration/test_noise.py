#!/usr/bin/env python3
"""test_noise.py - the quarantine of a real daemon: who comes in, what it costs them, and who lets them out."""
import csv
import io
import json
import random

import second_wire as wire
from harness import case, main
from ohemd import Daemon, http_request, make_dataset
from second_client import Client
from trainer import ohemctl, table_of

N, K, EPOCHS = 2000, 100, 6
WRONG = set(range(3, N, 7))  # these have a wrong label: their loss stays high


def config(job="quarantine = yes\n"):
    return (f"[daemon]\nstate = state\ncommit_ms = 5\n[dataset d]\npath = ../data\n"
            f"[job default]\nbatch_size = {K}\nrho = 0.5\n{job}")


def noisy(job="quarantine = yes\n"):
    make_dataset("data", [b"record %d" % i for i in range(N)])
    return Daemon(config=config(job))


def train(client, chance, batches, wrong=frozenset(WRONG)):
    """@return the last SELECTIONs with the ids they are of"""
    seen = []
    for _ in range(batches):
        batch = client.take()
        losses = [(8.0 if i in wrong else 0.1) * chance.uniform(0.7, 1.4) for i in batch.ids]
        seen.append((batch, client.report(batch, losses)))
        client.release(batch)
    return seen


def suspects_of(daemon):
    return {i["id"] for i in json.loads(ohemctl(daemon, "--json", "quarantine")[0])["instances"]}


def control(daemon, path):
    return http_request(f"{daemon.directory}/control.sock", path, "POST")


@case
def wrong_labels_come_into_quarantine_and_are_neither_drawn_nor_selected():
    chance = random.Random(1)
    with noisy() as daemon, Client(daemon.listen, credit=1) as client:
        # half of a batch is coverage: an epoch are 2 N / K batches
        train(client, chance, EPOCHS * 2 * N // K)
        assert suspects_of(daemon) == WRONG
        for batch, selection in train(client, chance, 50):
            kept = {batch.ids[i] for i in selection["indices"]}
            hard = set(batch.ids[batch.fields["coverage_count"]:])
            mine = WRONG & set(batch.ids)
            assert mine and not kept & WRONG and not hard & WRONG
            assert selection["ignored_count"] == len(mine)
        job = daemon.get("/v1/jobs/default")
        told = job["quarantine"]
        assert told["suspect_count"] == len(WRONG) and told["pardoned_count"] == 0
        assert abs(told["suspect_ratio"] - len(WRONG) / N) < 1e-6
        assert 0.2 < told["cut_score"] < 5 and told["explained_ratio"] > 0.9
        assert job["counters"]["suspects_found"] >= len(WRONG)
        assert job["scored_count"] == N
        assert daemon.get("/v1/jobs/default/instances/3")["quarantine"] == "suspect"
        assert daemon.get("/v1/jobs/default/instances/4")["quarantine"] == "none"
        # their labels are put right: coverage shows it, and they are let out
        train(client, chance, 2 * EPOCHS * 2 * N // K, wrong=frozenset())
        assert suspects_of(daemon) == set()
        assert daemon.get("/v1/jobs/default")["counters"]["suspects_left"] >= len(WRONG)


@case
def no_item_of_a_suspect_is_selected():
    chance = random.Random(4)
    with noisy() as daemon, Client(daemon.listen, credit=1) as client:
        train(client, chance, EPOCHS * 2 * N // K)
        batch = client.take()
        items = [1 + i % 3 for i in range(K)]
        owners = [batch.ids[i] for i in range(K) for _ in range(items[i])]
        losses = [9.0 if owner in WRONG else 0.1 for owner in owners]
        got = client.report(batch, losses, select=(wire.BY_ALL, 0, 0.0), items=items)
        assert [owners[i] for i in got["indices"]] == [o for o in owners if o not in WRONG]
        assert got["ignored_count"] == sum(owner in WRONG for owner in owners) > 0
        client.release(batch)


@case
def it_outlives_the_daemon_and_goes_with_its_setting():
    chance = random.Random(2)
    with noisy() as daemon:
        with Client(daemon.listen, credit=1) as client:
            train(client, chance, EPOCHS * 2 * N // K)
            assert control(daemon, "/v1/jobs/default/instances/10/pardon")[0] == 200
            train(client, chance, 1)
            client.sync()  # the report is on disk, and what came before it
        before = daemon.get("/v1/jobs/default")["quarantine"]
        daemon.kill()
        daemon.start()
        assert daemon.get("/v1/jobs/default")["quarantine"] == before
        assert suspects_of(daemon) == WRONG - {10}
        with Client(daemon.listen, credit=1) as client:
            for _, selection in train(client, chance, 10):
                assert selection["ignored_count"] > 0
    with Daemon(config=config("")) as daemon:  # without it all are as ever
        job = daemon.get("/v1/jobs/default")
        assert job["quarantine"] is None and job["scored_count"] == N
        with Client(daemon.listen, credit=1) as client:
            hard = set()
            for batch, selection in train(client, chance, 20):
                assert selection["ignored_count"] == 0
                hard |= set(batch.ids[batch.fields["coverage_count"]:])
            assert hard & WRONG
            client.sync()
    with Daemon(config=config()) as daemon:  # and what was known is forgotten
        assert daemon.get("/v1/jobs/default")["quarantine"]["pardoned_count"] == 0


@case
def a_person_lists_exports_and_pardons():
    chance = random.Random(3)
    with noisy() as daemon, Client(daemon.listen, credit=1) as client:
        out = ohemctl(daemon, "quarantine")[0]
        assert out == ("no cut (the best explains 0 % of the histogram), after 4 reports: 0 instances, 0 % of "
                       "the scored; 0 pardoned\n"), out
        assert "  quarantine 0 instances, 0 % of the scored, no cut\n" in ohemctl(daemon, "jobs")[0]
        train(client, chance, EPOCHS * 2 * N // K)
        rows = table_of(ohemctl(daemon, "quarantine")[0], "ID")
        assert {int(row["ID"]) for row in rows} == WRONG
        assert all(row["KEY"] == f"{int(row['ID']):08}" and float(row["SCORE"]) > 4 and
                   int(row["VISITS"]) >= 4 for row in rows)
        exported = list(csv.DictReader(io.StringIO(ohemctl(daemon, "quarantine", "--export")[0])))
        assert {int(row["id"]) for row in exported} == WRONG
        assert list(exported[0]) == ["id", "key", "score", "deviation", "last_loss", "visits"]
        assert exported[0]["key"] == "00000003" and float(exported[0]["deviation"]) > 0

        socket = f"{daemon.directory}/control.sock"
        out = ohemctl(daemon, "--control", socket, "pardon", "10")[0]
        assert out == "instance 10 is pardoned: it will not come into quarantine again\n"
        assert suspects_of(daemon) == WRONG - {10}
        assert daemon.get("/v1/jobs/default/instances/10")["quarantine"] == "pardoned"
        assert "\nquarantine    pardoned\n" in ohemctl(daemon, "show", "10")[0]
        assert "\nquarantine    suspect\n" in ohemctl(daemon, "show", "17")[0]
        assert "quarantine" not in ohemctl(daemon, "show", "4")[0]
        train(client, chance, 2 * N // K)
        assert suspects_of(daemon) == WRONG - {10}
        out = ohemctl(daemon, "--control", socket, "unpardon", "10")[0]
        assert out == "instance 10 may come into quarantine again\n"
        train(client, chance, 2 * 2 * N // K)
        assert suspects_of(daemon) == WRONG


@case
def what_a_person_gets_wrong_is_named():
    with noisy("") as daemon:
        socket = f"{daemon.directory}/control.sock"
        for words in (["quarantine"], ["--control", socket, "pardon", "10"]):
            error = ohemctl(daemon, *words, code=1)[1]
            assert "job 'default' has no quarantine: set quarantine = yes in [job default]" in error, error
        error = ohemctl(daemon, "--control", socket, "pardon", str(N), code=2)[1]
        assert f"the instance is '{N}'; job 'default' has the whole numbers from 0 to {N - 1}" in error
        assert "--export does not go with 'jobs'" in ohemctl(daemon, "--export", "jobs", code=2)[1]
        assert "'pardon' needs an ID" in ohemctl(daemon, "pardon", code=2)[1]
        assert control(daemon, "/v1/jobs/none/instances/1/pardon")[0] == 404
        assert http_request(daemon.status, "/v1/jobs/default/instances/1/pardon", "POST")[0] in (404, 405)


@case
def with_many_in_it_the_list_comes_in_parts():
    chance = random.Random(4)
    wrong = frozenset(range(0, 5000, 3))
    make_dataset("data", [b"record %d" % i for i in range(5000)])
    daemon = Daemon(config=config("quarantine = yes\nquarantine_visits = 1\n"))
    with daemon, Client(daemon.listen, credit=1) as client:
        train(client, chance, 3 * 2 * 5000 // K, wrong=wrong)
        first = daemon.get("/v1/jobs/default/quarantine")
        assert len(first["instances"]) == 1000 and first["next"] == 3000
        rest = daemon.get("/v1/jobs/default/quarantine?from=3000")
        assert len(rest["instances"]) == len(wrong) - 1000 and rest["next"] is None
        assert suspects_of(daemon) == wrong
        code, _, body = http_request(daemon.status, "/v1/jobs/default/quarantine?from=x")
        assert code == 400 and b"from is 'x'" in body


@case
def a_bias_that_decides_by_itself_waits_until_it_pays():
    chance = random.Random(5)
    with noisy("bias = auto\nbias_gain = 1.2\n") as daemon, Client(daemon.listen, credit=1) as client:
        # all alike: the gain of 0.7 .. 1.4 is 1.02
        for batch, _ in train(client, chance, 40, wrong=frozenset()):
            assert batch.fields["coverage_count"] == K
        told = daemon.get("/v1/jobs/default")
        assert not told["bias"]["in_force"] and told["bias_share"] == 0
        assert 1 < told["bias"]["gain_mean"] < 1.1 and told["bias"]["planned_share"] == 0.5
        assert "  bias       by itself: not in force, gain 1.0" in ohemctl(daemon, "jobs")[0]
        train(client, chance, 2 * N // K)
        told = daemon.get("/v1/jobs/default")
        assert told["bias"]["in_force"] and told["bias"]["gain_mean"] > 1.2 and told["bias_share"] == 0.5
        assert client.take().fields["coverage_count"] == K // 2


@case
def a_bias_in_shadow_draws_nothing_and_tells_what_it_would():
    chance = random.Random(6)
    with noisy("bias = shadow\n") as daemon, Client(daemon.listen, credit=1) as client:
        for batch, _ in train(client, chance, 2 * N // K):
            assert batch.fields["coverage_count"] == K
        told = daemon.get("/v1/jobs/default")["bias"]
        assert not told["in_force"] and told["planned_share"] == 0.5 and told["gain_mean"] is None
        # a seventh weighs 80 times as much: they would be 13/14 of the hard draws
        assert 5.5 < told["score_ratio"] < 7.5 and 0.5 < told["overlap_ratio"] < 0.65
        assert "0.5 of the draws would be by hardness" in ohemctl(daemon, "jobs")[0]


main(globals())
