"""test_begin.py - how a job begins: anew by reset, with another's scores, with other settings."""
import http.client
import os
import subprocess

from harness import DEADLINE_SECONDS, case, main, wait_for
from ohemd import Daemon, http_request, make_dataset, program
from second_client import Client, Refusal

N, K, CREDIT = 40, 10, 2
STRICT = f"[job default]\norder = strict\nstaleness = 4\nbatch_size = {K}\n"


def begin(job=STRICT, directory="run"):
    """A daemon whose state lies in the folder `state`."""
    if not os.path.exists("data"):
        make_dataset("data", [b"record %05d" % i for i in range(N)])
    return Daemon(config=f"[daemon]\nstate = {os.path.abspath('state')}\n"
                         f"[dataset d]\npath = {os.path.abspath('data')}\n{job}",
                  directory=directory)


def job_of(daemon, name="default"):
    return daemon.get(f"/v1/jobs/{name}")


def control(daemon, path, method="POST"):
    return http_request(f"{daemon.directory}/control.sock", path, method)


def ohemctl(daemon, *arguments):
    ended = subprocess.run([program("ohemctl"), "--control", f"{daemon.directory}/control.sock",
                            "--socket", daemon.status, *arguments], check=False,
                           capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    return ended.returncode, ended.stdout, ended.stderr


def train(client, batches, loss=lambda i: 1.0 + i):
    """@return the ids of each batch, by step"""
    drawn = {}
    for _ in range(batches):
        batch = client.take()
        drawn[batch.step] = batch.ids
        client.report(batch, [loss(i) for i in batch.ids])
        client.release(batch)
    return drawn


def come_back(client):
    """The daemon says that the session is no more; batches may be under way before that."""
    while True:
        name, fields = client.wire.receive()
        if name == "ERROR":
            assert Refusal(fields).code == "NO_SESSION", fields
            break
    client.hello()
    assert not client.batches, "WELCOME's memory says that they are void"


def await_durable(daemon):
    """What was reported is on disk when a commit that began later is."""
    before = daemon.get("/v1/health")["state"]["commits"]
    wait_for(lambda: daemon.get("/v1/health")["state"]["commits"] > before, "a commit")


@case
def a_reset_job_draws_what_it_drew_at_first_and_remembers_nothing():
    with begin() as daemon:
        with Client(daemon.listen, credit=CREDIT) as client:
            first = train(client, 12)
            code, out, err = ohemctl(daemon, "reset", "default")
            assert (code, err) == (0, ""), (code, err)
            assert out == "job 'default' begins anew; sessions that come back by themselves: 1\n"
            job = job_of(daemon)
            assert (job["scored_count"], job["counters"]["reports_applied"]) == (0, 0)
            come_back(client)
            second = train(client, 12)
        assert first == second
        assert "begun anew by an operator name=default life=1 sessions_ended=1" in daemon.log()


@case
def what_was_handed_out_before_a_reset_is_refused_after_it():
    with begin() as daemon:
        with Client(daemon.listen, credit=CREDIT) as client:
            train(client, 3)
            batch = client.take()
            assert ohemctl(daemon, "reset", "default")[0] == 0
            come_back(client)
            client.batches[batch.token] = batch  # as if it had not understood
            batch.boot = None  # so that its ids go with the report
            try:
                client.report(batch, [7.0] * len(batch.ids))
                raise AssertionError("a report of the life before was taken")
            except Refusal as refusal:
                assert refusal.code == "TOKEN", refusal
            del client.batches[batch.token]
            client.kept.clear()
            train(client, 4)
        assert job_of(daemon)["counters"]["reports_applied"] == 4


@case
def a_reset_survives_a_kill():
    with begin() as daemon:
        client = Client(daemon.listen, credit=CREDIT)
        first = train(client, 12)
        assert ohemctl(daemon, "reset", "default")[0] == 0
        come_back(client)
        again = train(client, 3)
        await_durable(daemon)
        daemon.kill()
    with begin() as daemon:
        assert job_of(daemon)["counters"]["reports_applied"] == 3
        client.connect()
        again.update(train(client, 5))
        client.close()
    assert again == {step: ids for step, ids in first.items() if step < 8}


@case
def a_job_that_is_not_there_is_named():
    with begin() as daemon:
        code, _, err = ohemctl(daemon, "reset", "other")
        assert (code, err) == (1, "ohemctl: no job 'other'; there is 'default'\n"), (code, err)


@case
def the_control_socket_takes_posts_by_its_user_alone():
    with begin() as daemon:
        assert os.stat(f"{daemon.directory}/control.sock").st_mode & 0o777 == 0o600
        code, headers, body = control(daemon, "/v1/jobs/default/reset", "GET")
        assert (code, headers["Allow"]) == (http.client.METHOD_NOT_ALLOWED, "POST"), (code, body)
        code, _, body = control(daemon, "/v1/health")
        assert code == 404 and b"there are /v1/jobs/J/reset" in body, body
        code, _, body = http_request(daemon.status, "/v1/jobs/default/reset", "POST")
        assert code == 405, body


WARM = ("[job old]\nbatch_size = 10\n"
        "[job new]\nbatch_size = 10\nwarm_start = old\nwarm_factor = 0.25\n")


def scores(daemon, job):
    return [daemon.get(f"/v1/jobs/{job}/instances/{i}")["score"] for i in range(N)]


@case
def a_new_job_begins_with_anothers_scores():
    with begin("[job old]\nbatch_size = 10\n") as daemon:
        with Client(daemon.listen, job="old", credit=CREDIT) as client:
            train(client, 8)
        old = scores(daemon, "old")
    assert any(s for s in old)
    with begin(WARM) as daemon:
        assert scores(daemon, "new") == [0.25 * s if s is not None else None for s in old]
        assert f"begins with the scores of another name=new warm_start=old" in daemon.log()
        daemon.kill()
    with begin(WARM) as daemon:  # it has begun: old's scores are taken over once
        with Client(daemon.listen, job="old", credit=CREDIT) as client:
            train(client, 4, lambda i: 100.0)
        assert scores(daemon, "new") == [0.25 * s if s is not None else None for s in old]
        older = scores(daemon, "old")
        assert ohemctl(daemon, "reset", "new")[0] == 0
        assert scores(daemon, "new") == [0.25 * s if s is not None else None for s in older]


@case
def settings_that_changed_are_told_and_decide():
    with begin("[job default]\nlambda = 0.5\nkeep = 0.25\n") as daemon:
        assert "setting changed" not in daemon.log()
    with begin("[job default]\nlambda = 0.125\nkeep = 0.25\n") as daemon:
        told = [line for line in daemon.log().splitlines() if "setting changed" in line]
        assert len(told) == 1, told
        assert told[0].endswith('setting changed since it ran last name=default key=lambda '
                                'was="0.5" is="0.125"'), told
        assert job_of(daemon)["settings"]["lambda"] == 0.125
    with begin("[job default]\nlambda = 0.125\nkeep = 0.25\n", directory="again") as daemon:
        assert "setting changed" not in daemon.log()


main(globals())
