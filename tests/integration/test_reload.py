#!/usr/bin/env python3
"""test_reload.py - SIGHUP: a data set that has grown, a configuration that has changed.

A record begins with its key, and a trainer's loss follows from that alone; with lambda = 1 the score
of an instance is then the loss of its key. So a score at another instance would be seen.
"""
import os
import signal
import socket
import subprocess
import time
import zlib

import lmdb

import second_wire as wire
from harness import DEADLINE_SECONDS, case, main, wait_for
from ohemd import Daemon, http_request, make_dataset, program
from second_client import INLINE_ONLY, Client

K = 16
N = 400  # at first
LATE = 1  # of a SELECTION's flags
WAYS = {"map": 1 << wire.MAP | INLINE_ONLY, "shm": 1 << wire.SHM | INLINE_ONLY,
        "inline": INLINE_ONLY}


def key_of(i):
    return b"%08d" % i


def record_of(key, version=0):
    """All of one size, so that all ways are open; two or three on a page."""
    return (b"%s %d " % (key, version)).ljust(1200, key[-1:])


def loss_of(record):
    return float(zlib.crc32(record[:8]) % 1000) / 8


def write(keys, version=0, remove=(), path="data"):
    """As the operator's own program does, in one transaction."""
    with lmdb.open(path, map_size=1 << 28) as environment:
        with environment.begin(write=True) as transaction:
            for key in keys:
                transaction.put(key, record_of(key, version))
            for key in remove:
                assert transaction.delete(key)


def keys_from(first, count):
    return [key_of(i) for i in range(first, first + count)]


def config_of(daemon="", dataset="", job="", more="", drain_ms=100):
    return (f"[daemon]\ndrain_ms = {drain_ms}\n{daemon}\n[dataset d]\npath = {os.path.abspath('data')}\n"
            f"{dataset}\n[job default]\nlambda = 1\nbatch_size = {K}\n{job}\n{more}\n")


def served(arguments=(), count=N, **config):
    if not os.path.exists("data"):
        make_dataset("data", [record_of(key) for key in keys_from(0, count)])
    return Daemon(config=config_of(**config), arguments=arguments)


def reconfigure(running, **config):
    with open(f"{running.directory}/ohemd.conf", "w", encoding="utf-8") as file:
        file.write(config_of(**config))


def hang_up(daemon):
    """SIGHUP, and wait until all that it brings is done. @return the lines that it wrote"""
    before = len(daemon.log())
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "main: reload ended" in daemon.log()[before:], "the reload ends")
    return daemon.log()[before:]


def reload_of(daemon):
    return daemon.get("/v1/health")["reload"]


def old_generations(daemon):
    return daemon.get("/v1/health")["datasets"][0]["old_generations"]


def job_of(daemon):
    return daemon.get("/v1/jobs/default")


def scores(daemon):
    """Of all instances that have one, by key."""
    found = {}
    for i in range(job_of(daemon)["instance_count"]):
        story = daemon.get(f"/v1/jobs/default/instances/{i}")
        if story["scored"]:
            found[key_of(i)] = story["score"]
    return found


def step(client, seen):
    batch = client.take()
    client.report(batch, [loss_of(r) for r in batch.records])
    client.release(batch)
    for i, record in zip(batch.ids, batch.records):
        assert record[:8] == key_of(i), f"{record[:8]} under the id {i}"
        seen.add(i)


def assert_scores_fit(daemon):
    for key, score in scores(daemon).items():
        assert score == loss_of(key), f"{key}: {score}, not {loss_of(key)}"


# ---- a data set that has grown


@case
def a_set_grows_under_trainers_that_hold_batches_in_every_way():
    new = 200
    with served(job="rho = 0.75") as daemon:
        clients = [Client(daemon.listen, batch_size=K, credit=4, ways=ways)
                   for ways in WAYS.values()]
        seen = set()
        for _ in range(3):
            for client in clients:
                step(client, seen)
        held = [(client, [client.take() for _ in range(4)]) for client in clients]
        assert {b.fields["way"] for _, batches in held for b in batches} == {wire.MAP, wire.SHM,
                                                                            wire.INLINE}
        before, sessions = scores(daemon), job_of(daemon)["sessions"]
        write(keys_from(N, new))
        lines = hang_up(daemon)
        assert f"new generation name=d instances={N + new} new={new}" in lines, lines
        job = job_of(daemon)
        assert job["instance_count"] == N + new
        assert [s["number"] for s in job["sessions"]] == [s["number"] for s in sessions]
        assert scores(daemon) == before

        for version in range(1, 6):  # pages that nobody keeps are written over
            write(keys_from(0, N + new), version)
        for client, batches in held:
            client.may_grow = True
            for batch in batches:
                assert batch.read() == [record_of(key_of(i)) for i in batch.ids]
                client.report(batch, [loss_of(r) for r in batch.records])
        assert old_generations(daemon) == 1
        for client, batches in held:
            for batch in batches:
                seen.update(batch.ids)
                client.release(batch)
        wait_for(lambda: old_generations(daemon) == 0, "the old pages are let go")

        while not job_of(daemon)["epochs"]["closed"]:
            for client in clients:
                step(client, seen)
        closed = job_of(daemon)["epochs"]["closed"][0]
        assert closed["epoch"] == 0 and closed["instance_count"] == N + new, closed
        assert closed["missing"] == 0 and seen == set(range(N + new))
        assert_scores_fit(daemon)
        assert job_of(daemon)["counters"]["reports_refused_token"] == 0
        for client in clients:
            client.bye()
            client.close()


@case
def it_grows_again_and_again():
    with served(job="rho = 1") as daemon, \
            Client(daemon.listen, batch_size=K, credit=2, ways=WAYS["map"]) as client:
        client.may_grow, seen = True, set()
        for round_number in range(5):
            step(client, seen)
            write(keys_from(N + 50 * round_number, 50))
            hang_up(daemon)
        while not job_of(daemon)["epochs"]["closed"]:
            step(client, seen)
        assert job_of(daemon)["epochs"]["closed"][0]["instance_count"] == N + 250
        assert seen == set(range(N + 250))
        assert_scores_fit(daemon)


@case
def with_nothing_new_a_reload_changes_nothing():
    with served() as daemon, Client(daemon.listen, batch_size=K, credit=2) as client:
        assert "reload ended changed=0 waiting=0 moved=0 refused=0" in hang_up(daemon)
        step(client, set())


@case
def other_records_under_the_same_keys_are_served_after_a_reload():
    with served(job="rho = 1") as daemon, \
            Client(daemon.listen, batch_size=K, credit=1, ways=WAYS["map"]) as client:
        before, scored = client.welcome["generation"], None
        step(client, set())
        batch, scored = client.take(), scores(daemon)
        write(keys_from(0, N), version=7)
        assert f"new generation name=d instances={N} new=0" in hang_up(daemon)
        assert batch.read() == [record_of(key_of(i)) for i in batch.ids]
        client.release(batch)
        batch = client.take()
        assert batch.records == [record_of(key_of(i), 7) for i in batch.ids]
        assert scores(daemon) == scored
        with Client(daemon.listen, batch_size=K) as other:
            assert other.welcome["generation"] == before


@case
def a_key_that_is_put_in_or_gone_is_named_and_the_old_ones_are_served_on():
    with served(job="rho = 1") as daemon, \
            Client(daemon.listen, batch_size=K, credit=2, ways=WAYS["map"]) as client:
        seen = set()
        step(client, seen)
        write([b"00000300x"] + keys_from(N, 10))
        lines = hang_up(daemon)
        assert f"key '00000300x' was put in at 301 of {N};" in lines, lines
        write([], remove=[b"00000300x", key_of(7)])
        lines = hang_up(daemon)
        assert f"key '{key_of(7).decode()}' is gone, which stood at 7 of {N};" in lines, lines
        assert job_of(daemon)["instance_count"] == N
        while not job_of(daemon)["epochs"]["closed"]:
            step(client, seen)
        assert seen == set(range(N))
        assert_scores_fit(daemon)
        write([key_of(7)])
        assert f"new generation name=d instances={N + 10} new=10" in hang_up(daemon)


@case
def the_last_key_may_not_go():
    with served() as daemon:
        write([], remove=[key_of(N - 1)])
        assert f"is gone, which stood at {N - 1} of {N};" in hang_up(daemon)


@case
def other_sizes_where_all_had_one_are_refused():
    with served() as daemon:
        with lmdb.open("data", map_size=1 << 28) as environment:
            with environment.begin(write=True) as transaction:
                transaction.put(key_of(N), b"short")
        assert "all records had 1200 bytes" in hang_up(daemon)
        assert job_of(daemon)["instance_count"] == N


@case
def a_file_in_the_place_of_the_old_one_needs_a_restart():
    with served() as daemon:
        make_dataset("other", [record_of(key) for key in keys_from(0, N + 1)])
        os.rename("other/data.mdb", "data/data.mdb")
        assert "is another file now; restart to serve that one" in hang_up(daemon)


@case
def a_trainer_that_is_gone_keeps_no_old_pages():
    with served() as daemon:
        client = Client(daemon.listen, batch_size=K, credit=2, ways=WAYS["map"])
        batch = client.take()
        write(keys_from(N, 10))
        hang_up(daemon)
        client.wire.send("BYE", key=client.key, text="done")
        client.wait_for("BYE")  # the session ends, the mapping does not: the batch can be read
        for version in range(1, 6):
            write(keys_from(0, N), version)
            hang_up(daemon)  # it is looked which generations can be let go
            assert batch.read() == [record_of(key_of(i)) for i in batch.ids]
            assert old_generations(daemon) >= 1
        client.mapping.hang_up()
        wait_for(lambda: old_generations(daemon) == 0, "its end lets them go")
        client.close()


# ---- across a restart


STATE = ("--state", "state")


@case
def a_restart_with_a_grown_set_grows():
    seen = set()
    with served(STATE, job="rho = 1") as daemon:
        with Client(daemon.listen, batch_size=K, credit=2) as client:
            for _ in range(10):
                step(client, seen)
            client.sync()
        before = scores(daemon)
    write(keys_from(N, 100))
    with served(STATE, job="rho = 1") as daemon:
        assert job_of(daemon)["instance_count"] == N + 100
        assert scores(daemon) == before and len(before) == len(seen)
        with Client(daemon.listen, batch_size=K, credit=2) as client:
            while not job_of(daemon)["epochs"]["closed"]:
                step(client, seen)
        closed = job_of(daemon)["epochs"]["closed"][0]
        assert closed["instance_count"] == N + 100 and closed["missing"] == 0
        assert seen == set(range(N + 100))
        assert_scores_fit(daemon)


@case
def a_report_from_before_the_growth_is_taken_after_a_restart():
    """Its daemon had not written down that the batch was handed out: only the token shows it."""
    with served(STATE, job="rho = 1", daemon="commit_ms = 60000") as daemon:
        client = Client(daemon.listen, batch_size=K, credit=1)
        batch = client.take()
        daemon.kill()
    write(keys_from(N, 10))
    with served(STATE, job="rho = 1") as daemon:
        client.may_grow = True
        client.connect()
        assert client.report(batch, [loss_of(r) for r in batch.records])["flags"] == LATE
        counters = job_of(daemon)["counters"]
        assert counters["reports_applied"] == counters["reports_recovered"] == 1
        assert len(scores(daemon)) == K
        assert_scores_fit(daemon)
        client.close()


@case
def in_strict_order_new_ids_join_at_a_step_that_is_written_down_first():
    with served(STATE, job="order = strict\nstaleness = 4\ncredit = 2") as daemon, \
            Client(daemon.listen, batch_size=K, credit=2) as client:
        client.may_grow, seen = True, set()
        for _ in range(3):
            step(client, seen)
        write(keys_from(N, 50))
        assert f"new generation name=d instances={N + 50} new=50" in hang_up(daemon)
        while not job_of(daemon)["epochs"]["closed"]:
            step(client, seen)
        closed = job_of(daemon)["epochs"]["closed"][0]
        assert closed["instance_count"] == N + 50 and closed["missing"] == 0, closed
        assert seen == set(range(N + 50))
        assert_scores_fit(daemon)


@case
def what_is_reported_in_a_drain_is_saved_and_a_reload_is_not_begun():
    with served(STATE, daemon="commit_ms = 60000", drain_ms=60000) as daemon:
        client = Client(daemon.listen, batch_size=K, credit=1)
        batch = client.take()
        daemon.process.send_signal(signal.SIGTERM)
        wait_for(lambda: daemon.get("/v1/health")["status"] == "draining", "it drains")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "not reloaded: draining" in daemon.log(), "it says so")
        client.report(batch, [loss_of(r) for r in batch.records])
        client.release(batch)
        assert daemon.process.wait(DEADLINE_SECONDS) == 0
        client.close()
    with served(STATE) as daemon:
        assert set(scores(daemon)) == {key_of(i) for i in batch.ids}
        assert_scores_fit(daemon)


@case
def a_restart_with_other_keys_is_refused_until_fresh_is_said():
    with served(STATE) as daemon, Client(daemon.listen, batch_size=K, credit=2) as client:
        step(client, set())
    write([b"00000003x"])
    daemon = served(STATE)
    ended = subprocess.run(daemon.command, capture_output=True, text=True, check=False,
                           timeout=DEADLINE_SECONDS,
                           env=dict(os.environ, RUNTIME_DIRECTORY=daemon.directory))
    assert ended.returncode == 1, ended
    assert (f"job 'default' was begun with other keys: its data set had {N} instances"
            in ended.stderr), ended.stderr
    assert "--fresh" in ended.stderr
    with served((*STATE, "--fresh")) as daemon:
        assert job_of(daemon)["instance_count"] == N + 1 and not scores(daemon)


# ---- the configuration


@case
def what_can_change_applies_at_once():
    with served(job="rho = 1\nkeep = 0.5") as daemon, \
            Client(daemon.listen, batch_size=K, credit=1) as client:
        batch = client.take()
        assert len(client.report(batch, [1.0] * K)["indices"]) == K // 2
        client.release(batch)
        client.take()
        reconfigure(daemon, daemon="log_level = debug", job="rho = 0.5\nkeep = 0.25")
        lines = hang_up(daemon)
        assert "changed [daemon] log_level = debug, was info" in lines, lines
        assert "changed [job default] rho = 0.5, was 1" in lines, lines
        assert "changed [job default] keep = 0.25, was 0.5" in lines, lines
        assert job_of(daemon)["settings"]["policy"]["rho"] == 0.5
        batch = next(iter(client.batches.values()))
        assert len(client.report(batch, [1.0] * K)["indices"]) == K // 4
        client.release(batch)
        assert client.take().fields["coverage_count"] == K // 2
        client.batches.clear()


@case
def what_a_reload_changed_is_no_change_at_the_next_start():
    with served(STATE, job="rho = 1") as daemon:
        reconfigure(daemon, job="rho = 0.5")
        assert "changed [job default] rho = 0.5, was 1" in hang_up(daemon)
    for rho, is_changed in (("0.5", False), ("0.75", True)):
        with served(STATE, job=f"rho = {rho}") as daemon:
            assert ("setting changed since it ran last name=default key=rho" in
                    daemon.log()) == is_changed


@case
def what_needs_a_restart_is_named_and_stays_and_the_rest_applies():
    with served(job="seed = 3\nrho = 1") as daemon:
        assert reload_of(daemon) == {"count": 0, "busy": False, "age_ms": None,
                                     "configuration": None, "changed": 0, "moved": 0,
                                     "waiting_count": 0, "waiting": [], "refused_count": 0,
                                     "refused": []}
        reconfigure(daemon, daemon="sessions_max = 7", job="seed = 4\nrho = 0.5",
                    more="[job other]\ndataset = d\n")
        write(keys_from(N, 5))
        lines = hang_up(daemon)
        waiting = ["[daemon] sessions_max = 7, was 1024", "[job default] seed = 4, was 3",
                   "[job other] is new"]
        for line in waiting:
            assert f"not changed, it needs a restart: {line}" in lines, lines
        assert "main: reload ended changed=1 waiting=3 moved=1 refused=0" in lines, lines
        job, told = job_of(daemon), reload_of(daemon)
        assert job["settings"]["policy"]["rho"] == 0.5 and job["settings"]["seed"] == "3"
        assert job["instance_count"] == N + 5
        assert [j["name"] for j in daemon.get("/v1/jobs")] == ["default"]
        assert told["configuration"] == "taken" and told["waiting"] == waiting, told
        assert (told["count"], told["changed"], told["moved"]) == (1, 1, 1), told
        hang_up(daemon)
        assert reload_of(daemon)["waiting_count"] == 3 and reload_of(daemon)["changed"] == 0


@case
def a_wrong_configuration_changes_nothing_and_is_named():
    with served(job="rho = 1") as daemon:
        reconfigure(daemon, daemon="commit_ms = 7", job="rho = 0.5\nlamda = 1")
        write(keys_from(N, 5))
        lines = hang_up(daemon)
        assert "wrong, so nothing is reloaded, using the old one: " in lines, lines
        assert "unknown key 'lamda'; did you mean 'lambda'?" in lines, lines
        told = reload_of(daemon)
        assert told["configuration"] == "refused" and told["refused_count"] == 1, told
        assert "unknown key 'lamda'" in told["refused"][0] and told["changed"] == 0, told
        assert job_of(daemon)["settings"]["policy"]["rho"] == 1
        assert job_of(daemon)["instance_count"] == N
        reconfigure(daemon, job="rho = 0.5")
        assert f"new generation name=d instances={N + 5} new=5" in hang_up(daemon)
        assert reload_of(daemon)["refused"] == []


@case
def what_stays_must_fit_what_changes():
    """Each file is right by itself; a mix of them is not, so nothing of the new one applies."""
    with served(job="order = strict\nstaleness = 8\ncredit = 4") as daemon:
        reconfigure(daemon, job="order = free\nmax_age = 5\ncredit = 2")
        lines = hang_up(daemon)
        assert "with what needs a restart as it was: [job default] max_age = 5" in lines, lines
        assert job_of(daemon)["settings"]["credit"] == 4
        reconfigure(daemon, job="order = strict\nstaleness = 8\ncredit = 2\nrho = 0.25")
        assert ("not changed, it needs a restart: in strict order all draws follow one policy: "
                "[job default] rho = 0.25, was 0.5") in hang_up(daemon)
        settings = job_of(daemon)["settings"]
        assert settings["credit"] == 2 and settings["policy"]["rho"] == 0.5


@case
def every_setting_that_can_change_is_marked_in_the_sample():
    """And no other: deploy/ohemd.conf lists them."""
    sample = os.path.join(os.path.dirname(__file__), "../../deploy/ohemd.conf")
    with open(sample, encoding="utf-8") as file:
        text = file.read()
    listed = text.split("# SIGHUP reloads: ")[1].split(".\n")[0].replace("#", " ")
    listed = set(listed.replace(",", " ").replace(" and ", " ").split())
    sections, section = {}, None
    shown = subprocess.run([program("ohemd"), "--print-config", "--dataset", "x"], check=True,
                           capture_output=True, text=True).stdout
    for line in shown.splitlines():
        if line.startswith("["):
            section = sections.setdefault(line, {})
        elif line:
            name, _, value = line.partition(" = ")
            section[name] = value
    assert listed <= {name for section in sections.values() for name in section}, listed
    other = {"rho": "0.25", "keep": "0.25", "select": "all", "weight": "uniform",
             "normalise": "none", "sampling": "infobatch",
             "infobatch_ratio": "0.25", "infobatch_full": "0.25", "unique": "no", "share": "shm", "readahead": "yes",
             "immutable": "yes", "insecure_tcp": "yes", "log_level": "debug", "lambda": "0.25",
             "alpha": "2", "beta": "0.5", "anneal_in": "3", "anneal_out": "1", "epochs": "50",
             "warmup_epochs": "2", "fields": "a = u8@0", "database": "b", "dataset": None,
             "listen": None, "status_socket": None, "share_socket": None, "state": None,
             "path": None, "irreducible": "/nowhere", "round_balanced": "yes", "socket_mode": "0600",
             "order": "strict", "cdf_floor": "0.25", "select_by_report": "no"}
    with served() as daemon:
        # one after the other: the epochs stay, so that anneal_out is allowed
        for title, settings in sections.items():
            for name in settings:
                value = other.get(name, str(int(settings[name]) + 1)
                                  if settings[name].isdigit() else None)
                if value is None or (title != "[daemon]" and name in ("batch_size", "lambda")):
                    continue
                place = {"[daemon]": "daemon", "[dataset default]": "dataset",
                         "[job default]": "job"}[title]
                line = f"{name} = {value}" + ("\nepochs = 50" if name == "anneal_out" else "")
                reconfigure(daemon, **({name: value} if name == "drain_ms" else {place: line}))
                lines = hang_up(daemon)
                refused = f"it needs a restart: [{title[1:].split()[0]}" in lines
                assert refused == (name not in listed), f"{name}: {lines}"


@case
def systemd_hears_of_a_reload():
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.settimeout(DEADLINE_SECONDS)
    notify.bind("notify")
    os.environ.update(NOTIFY_SOCKET=os.path.abspath("notify"))

    def until(word):
        lines = []
        while not any(line.startswith(word) for line in lines):
            lines += notify.recv(4096).decode().splitlines()
        return lines

    with served() as daemon:
        until("READY=1")
        daemon.process.send_signal(signal.SIGHUP)
        lines = until("RELOADING=1")
        assert lines[-2].startswith("MONOTONIC_USEC=") and lines[-1] == "STATUS=reloading", lines
        assert until("READY=1")[-1] == "STATUS=serving"


main(globals())
