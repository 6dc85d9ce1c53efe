"""test_why.py - why an instance was drawn: what a real daemon's audit tells, also after kill -9."""
import json
import math
import os
import re
import socket
import struct
import subprocess

from harness import DEADLINE_SECONDS, case, main, wait_for
from ohemd import Daemon, http_request, make_dataset, program
from trainer import BATCH, WELCOME, Trainer, ohemctl, table_of

INSTANCES = 40
K = 10


def audited(instances=INSTANCES, more=""):
    """A daemon that keeps draws and reports; hard ones are drawn by score^2."""
    make_dataset("data", [b"record %d" % i for i in range(instances)])
    return Daemon(config=f"[daemon]\nstate = state\ncommit_ms = 5\n[dataset d]\npath = ../data\n"
                         f"[job default]\naudit = yes\nalpha = 2\nbeta = 0.5\nkeep_count = 3\n{more}")


def train(trainer, steps, loss_of):
    """@return what happened, as the events should tell it: per instance, in their order"""
    events = {}
    session = trainer.receive(WELCOME)[0][4]
    for _ in range(steps):
        fields, vectors = trainer.receive(BATCH)
        count, step = fields[3], struct.unpack("<Q", fields[1][:8])[0]
        ids = struct.unpack(f"<{count}Q", vectors[0])
        p, w = (struct.unpack(f"<{count}f", v) for v in vectors[1:3])
        losses = [loss_of(i) for i in ids]
        selection, chosen = trainer.report(fields[1], losses)
        chosen = struct.unpack(f"<{len(chosen[0]) // 4}I", chosen[0])
        for place, i in enumerate(ids):
            finite = math.isfinite(losses[place])
            harder = [n for n in range(count) if math.isfinite(losses[n]) and
                      (-losses[n], n) < (-losses[place], place)]
            events.setdefault(i, []).extend((
                {"event": "draw", "step": step, "session": session, "place": place, "p": p[place],
                 "w": w[place], "slot": "coverage" if place < fields[4] else "hard"},
                {"event": "report", "step": step, "session": session, "lsn": selection[3],
                 "place": place, "late": False, "loss": losses[place] if finite else None,
                 "rank": len(harder) + 1 if finite else None, "selected": place in chosen}))
    return events


def why(daemon, i):
    """All parts together, as ohemctl puts them together."""
    return json.loads(ohemctl(daemon, "--json", "why", str(i))[0])


def agrees(told, expected):
    """Are they the same events? Draws come ahead of reports by the credit, so by kind."""
    for kind in ("draw", "report"):
        these = [e for e in told if e["event"] == kind]
        those = [e for e in expected if e["event"] == kind]
        if kind == "draw":  # one that is not reported yet may follow
            these = these[:len(those)]
        if len(these) != len(those):
            return False
        for a, b in zip(these, those):
            for name, value in b.items():
                same = math.isclose(a[name], value, rel_tol=1e-7) if isinstance(value, float) \
                    else a[name] == value
                assert same, f"{name}: {a} is not {b}"
    return True


@case
def what_happened_is_told_after_a_crash_as_the_trainer_saw_it():
    with audited() as daemon:
        trainer = Trainer(daemon, batch_size=K)
        events = train(trainer, 30, lambda i: math.nan if i == 7 else 1.0 + i)
        assert len(events) == INSTANCES
        wait_for(lambda: all(agrees(why(daemon, i)["events"], events[i]) for i in events),
                 "all that happened is committed")
        daemon.kill()
        trainer.socket.close()
        daemon.start()
        told = {i: why(daemon, i) for i in events}
        for i, story in told.items():
            assert agrees(story["events"], events[i])
            assert (story["id"], story["job"], story["next"]) == (i, "default", None)
            assert story["key"] == f"{i:08}" and story["damaged_rows"] == 0
        draws = [e for s in told.values() for e in s["events"] if e["event"] == "draw"]
        assert {e["slot"] for e in draws} == {"coverage", "hard"}
        assert all(e["policy"]["weight"] == "hard" and e["policy"]["alpha"] == 2 for e in draws)
        assert {e["policy"]["bias_share"] for e in draws} == {0, 0.5}  # at first nobody has a score


@case
def ohemctl_shows_a_line_for_each_event():
    with audited() as daemon:
        out, error = ohemctl(daemon, "why", "3", "--job", "default")
        assert out == "the audit tells of no draw and no report of instance 3\n" and not error
        with Trainer(daemon, batch_size=K) as trainer:
            events = train(trainer, 12, lambda i: 1.0 + i)
            wait_for(lambda: agrees(why(daemon, 39)["events"], events[39]), "it is committed")
        rows = table_of(ohemctl(daemon, "why", "39")[0], "STEP")
        draws = [r for r in rows if r["EVENT"] == "draw"]
        reports = [r for r in rows if r["EVENT"] == "report"]
        assert [int(r["STEP"]) for r in reports] == [e["step"] for e in events[39][1::2]]
        assert all(r["LOSS"] == "40" and r["RANK"] == "1" and r["FATE"] == "selected"
                   for r in reports)
        assert draws[0]["SLOT"] == "coverage" and draws[0]["POLICY"] == "-"
        assert {r["POLICY"] for r in draws if r["SLOT"] == "hard"} <= {"hard^2"}


@case
def a_long_story_comes_in_parts_and_a_start_does_not_read_it():
    """One instance alone: each batch is two events of its own."""
    with audited(1, "order = strict\nbatch_size = 1\n") as daemon:
        with Trainer(daemon, batch_size=1) as trainer:
            steps = 2000
            events = train(trainer, steps, float)[0]
            wait_for(lambda: agrees(why(daemon, 0)["events"], events), "all is committed")
        first = daemon.get("/v1/jobs/default/instances/0/why")
        assert daemon.get("/v1/jobs/default")["audit_bytes"] >= 152 * steps
        assert 2000 <= len(first["events"]) < 2 * steps and first["next"] > 100_000
        rest = daemon.get(f"/v1/jobs/default/instances/0/why?from={first['next']}")["events"]
        assert rest == why(daemon, 0)["events"][len(first["events"]):][:len(rest)] != []
        assert daemon.stop() == 0
        daemon.start()
        restored = int(re.findall(r"state: restored .* bytes=(\d+)", daemon.log())[-1])
        assert restored < first["next"] // 2, restored
        assert agrees(why(daemon, 0)["events"], events)


@case
def a_reset_begins_the_audit_anew():
    with audited() as daemon:
        for loss in (1.0, 2.0):
            with Trainer(daemon, batch_size=K) as trainer:
                events = train(trainer, 8, lambda i, loss=loss: loss + i)
                wait_for(lambda e=events: agrees(why(daemon, 39)["events"], e[39]), "it is committed")
            assert http_request(f"{daemon.directory}/control.sock", "/v1/jobs/default/reset",
                                "POST")[0] == 200
            wait_for(lambda: why(daemon, 39)["events"] == [], "the reset is committed")


@case
def without_an_audit_it_says_what_to_set():
    make_dataset("data", [b"x"] * 4)
    for arguments in ((), ("--state", "state")):
        with Daemon("data", arguments=arguments) as daemon:
            code, _, body = http_request(daemon.status, "/v1/jobs/default/instances/0/why")
            assert code == 409 and "set audit = yes" in json.loads(body)["error"], body
            assert "set audit = yes" in ohemctl(daemon, "why", "0", code=1)[1]
            assert daemon.get("/v1/jobs/default")["audit_bytes"] is None


@case
def an_audit_without_a_state_is_refused_by_name():
    make_dataset("data", [b"x"] * 4)
    with open("a.conf", "w", encoding="utf-8") as file:
        file.write("[dataset d]\npath = data\n[job j]\naudit = yes\n")
    for more in ((), ("--check-config",)):
        run = subprocess.run([program("ohemd"), "--config", "a.conf", *more], check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             env=dict(os.environ, RUNTIME_DIRECTORY=os.getcwd()))
        assert run.returncode == 2, run.stdout
        assert b"[job j] audit = yes: needs a state directory" in run.stdout, run.stdout


@case
def a_wrong_number_is_refused():
    with audited() as daemon:
        for rest in ("/40/why", "/x/why", "/1/why?from=x", "/1/why?from=-1", "/1/why?from="):
            code, _, body = http_request(daemon.status, f"/v1/jobs/default/instances{rest}")
            assert code == 400 and json.loads(body)["error"], (rest, body)
        assert http_request(daemon.status, "/v1/jobs/other/instances/1/why")[0] == 404
        assert "from 0 to 39" in ohemctl(daemon, "why", "40", code=2)[1]
        far = daemon.get(f"/v1/jobs/default/instances/1/why?from={2**62}")
        assert far["events"] == [] and far["next"] is None


def ask(daemon, text):
    """A request by hand, which is not waited for."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE_SECONDS)
    connection.connect(daemon.status)
    connection.sendall(text)
    return connection


def answer_of(connection):
    """All that comes until the daemon closes."""
    with connection, connection.makefile("rb") as file:
        return file.read()


@case
def an_answer_that_comes_later_is_as_any_other():
    path = b"/v1/jobs/default/instances/1/why HTTP/1.1\r\nHost: x\r\n"
    with audited() as daemon:
        bodies = (b"GET " + path + b"\r\n",
                  b"GET " + path + b"Content-Length: 5\r\n\r\nhello",
                  b"GET " + path + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        for text in bodies:
            answer = answer_of(ask(daemon, text))
            assert answer.startswith(b"HTTP/1.1 200 ") and b'"events":[]' in answer, answer
        head = answer_of(ask(daemon, b"HEAD " + path + b"\r\n"))
        assert head.startswith(b"HTTP/1.1 200 ") and head.endswith(b"\r\n\r\n"), head


@case
def clients_that_leave_and_an_end_in_between_cost_nothing():
    text = b"GET /v1/jobs/default/instances/1/why HTTP/1.1\r\nHost: x\r\n\r\n"
    with audited() as daemon:
        for _ in range(100):
            ask(daemon, text).close()
        assert daemon.get("/v1/health")["status"] == "serving"
        waiting = [ask(daemon, text) for _ in range(20)]
        assert daemon.stop() == 0
        for connection in waiting:
            connection.close()


main(globals())
