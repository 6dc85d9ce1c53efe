"""test_status.py - the status socket of a real daemon, and ohemctl on it."""
import json
import os
import re
import signal
import socket
import stat
import subprocess

from harness import DEADLINE_SECONDS, case, main, wait_for
from ohemd import Daemon, http_request, make_dataset, program
from trainer import Trainer, ohemctl, table_of

INSTANCES = 100
RECORD = b"x" * 20


def small_daemon(**settings):
    """On 100 instances; two of the keys cannot be printed."""
    keys = [b"key-%03d" % i for i in range(INSTANCES)]
    keys[0] = b"\x01\x1b[31m\xff"
    keys[99] = "z\u202eä".encode()
    make_dataset("data", [RECORD] * INSTANCES, keys)
    return Daemon("data", **settings)


def errors_of(command, directory="."):
    """Run a daemon that is expected to refuse. @return its exit code and output"""
    environment = dict(os.environ, RUNTIME_DIRECTORY=os.path.abspath(directory))
    run = subprocess.run(command, env=environment, timeout=DEADLINE_SECONDS, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, check=False)
    return run.returncode, run.stdout.decode()


# ---- the socket


@case
def the_socket_has_its_mode_and_goes_with_the_daemon():
    with small_daemon() as daemon:
        info = os.stat(daemon.status)
        assert stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o660
        assert daemon.stop(signal.SIGTERM) == 0
        assert not os.path.exists(daemon.status)


@case
def the_socket_of_a_killed_daemon_is_taken_over():
    with small_daemon() as daemon:
        daemon.kill()
        assert os.path.exists(daemon.status)
        daemon.start()
        assert daemon.get("/v1/health")["status"] == "serving"


@case
def the_socket_of_a_living_daemon_is_left_alone():
    with small_daemon() as daemon:
        code, output = errors_of([program("ohemd"), "--dataset", "data", "--status",
                                  daemon.status, "--listen", "ipc://" + os.path.abspath("other")])
        assert code != 0 and f"another daemon answers at '{daemon.status}'" in output, output
        assert daemon.get("/v1/health")["sessions"] == 0


@case
def a_file_that_is_no_socket_is_left_alone():
    make_dataset("data", [RECORD])
    with open("precious", "w", encoding="utf-8") as file:
        file.write("text")
    code, output = errors_of([program("ohemd"), "--dataset", "data", "--status",
                              os.path.abspath("precious")])
    assert code != 0 and "no socket" in output, output
    with open("precious", encoding="utf-8") as file:
        assert file.read() == "text"


@case
def a_path_too_long_for_a_socket_is_refused_with_the_limit():
    make_dataset("data", [RECORD])
    code, output = errors_of([program("ohemd"), "--dataset", "data", "--status",
                              "/tmp/" + 120 * "a"])
    assert code != 0 and "125" in output and "107" in output, output


@case
def silent_clients_keep_nobody_from_an_answer():
    with small_daemon() as daemon:
        silent = []
        for _ in range(20):
            client = socket.socket(socket.AF_UNIX)
            client.connect(daemon.status)
            client.send(b"GET /v1/hea")
            silent.append(client)
        assert daemon.get("/v1/health")["status"] == "serving"
        for client in silent:
            client.close()


@case
def a_client_that_talks_nonsense_is_cut_off_and_others_are_answered():
    with small_daemon() as daemon:
        for noise in (b"GET " + b"/a" * 40000, b"GET / HTTP/9\r\n\r\n", b"\xff\n" * 50 + b"\r\n"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(DEADLINE_SECONDS)
                client.connect(daemon.status)
                try:
                    client.sendall(noise)
                    while client.recv(4096):
                        pass
                except (BrokenPipeError, ConnectionResetError):
                    pass
            assert daemon.get("/v1/health")["status"] == "serving"


# ---- the answers


@case
def health_says_what_is_served():
    with small_daemon() as daemon:
        health = daemon.get("/v1/health")
        assert health["status"] == "serving" and health["jobs"] == 1 and health["sessions"] == 0
        assert health["uptime_ms"] >= 0 and re.fullmatch(r"\d+\.\d+\.\d+", health["version"])
        dataset, = health["datasets"]
        assert dataset["name"] == "default" and dataset["instances"] == INSTANCES
        assert dataset["record_bytes"] == 20 and dataset["bytes"] == 20 * INSTANCES
        assert re.fullmatch("0x[0-9a-f]{16}", dataset["fingerprint"])
        assert health["timing"]["batches"] == 0
        with Trainer(daemon) as trainer:
            trainer.step(float)
            after = daemon.get("/v1/health")
        assert after["sessions"] == 1 and after["counters"]["messages_received"] >= 2
        assert after["timing"]["batches"] >= 1 and after["timing"]["payload_bytes"] >= 200


@case
def a_job_shows_its_settings_progress_and_sessions():
    with small_daemon() as daemon:
        with Trainer(daemon, agent="evil\u202e") as trainer:
            for _ in range(30):
                trainer.step(float)
            job = daemon.get("/v1/jobs/default")
            listed, = daemon.get("/v1/jobs")
        assert listed["name"] == job["name"] == "default" and job["dataset"] == "default"
        assert job["lsn"] == 30 and job["step"] >= 30 and job["instance_count"] == INSTANCES
        assert job["settings"]["policy"]["rho"] == 0.5
        assert job["settings"]["selection"]["rule"] == "top"
        assert job["counters"]["reports_applied"] == 30
        assert job["counters"]["losses_applied"] == 300
        assert job["last_report"]["all"]["count"] == 10 and job["last_report"]["kept"]["count"] == 5
        assert job["leases"]["returned"] == 0
        session, = job["sessions"]
        assert session["rank"] == 3 and session["batch_size"] == 10 and session["reports"] == 30
        assert session["agent"] == "evil\u202e" and session["credit"] == 2
        first = job["epochs"]["closed"][0]
        assert first["epoch"] == 0 and first["reported"] == INSTANCES and first["missing"] == 0


@case
def hardness_and_instances_tell_what_was_reported():
    with small_daemon() as daemon:
        before = daemon.get("/v1/jobs/default/hardness")
        assert before["scored_count"] == 0 and before["buckets"] == []
        assert daemon.get("/v1/jobs/default/hardest") == []
        assert daemon.get("/v1/jobs/default/instances/5")["scored"] is False
        with Trainer(daemon) as trainer:
            trainer.cover(lambda i: 0.5 * i, INSTANCES)
        after = daemon.get("/v1/jobs/default/hardness")
        assert after["scored_count"] == INSTANCES and after["unscored_count"] == 0
        assert sum(b["count"] for b in after["buckets"]) == INSTANCES
        assert abs(after["quantiles"]["0.5"] - 25) < 3 and abs(after["mean"] - 24.75) < 1
        hardest = daemon.get("/v1/jobs/default/hardest?n=3")
        assert [i["id"] for i in hardest] == [99, 98, 97]
        assert hardest[0]["key"] == "z\u202eä" and hardest[0]["score"] == 49.5
        zero = daemon.get("/v1/jobs/default/instances/0")
        assert zero["key_hex"] == "011b5b33316dff" and "key" not in zero
        one = daemon.get("/v1/jobs/default/instances/1")
        assert one["key"] == "key-001" and one["score"] == one["last_loss"] == 0.5
        assert one["record_bytes"] == 20 and one["visits"] >= 1
        assert len(daemon.get("/v1/jobs/default/hardest?n=1000")) == INSTANCES
        assert len(daemon.get("/v1/jobs/default/hardest")) == 10


@case
def what_is_wrong_is_named_with_its_value_and_limit():
    wrong = [
        ("/v1/jobs/nope", 404, ["'nope'", "'default'"]),
        ("/v1/jobs/nope/hardness", 404, ["'nope'", "'default'"]),
        (f"/v1/jobs/{'j' * 500}", 404, ["'jjj"]),
        ("/v1/jobs/a%0a%ff", 404, ["'a??'"]),
        ("/v1/nothing", 404, ["'/v1/nothing'", "/v1/health"]),
        ("/v1/jobs/default/", 404, ["/v1/jobs"]),
        ("/v1/jobs/default/instances", 404, ["/v1/jobs"]),
        ("/", 404, ["/v1/health"]),
        ("/v1/jobs/default/hardest?n=0", 400, ["'0'", "1 to 1000"]),
        ("/v1/jobs/default/hardest?n=1001", 400, ["'1001'", "1 to 1000"]),
        ("/v1/jobs/default/hardest?n=", 400, ["''", "1 to 1000"]),
        ("/v1/jobs/default/hardest?n=1e2", 400, ["'1e2'", "1 to 1000"]),
        ("/v1/jobs/default/hardest?n=18446744073709551617", 400, ["1 to 1000"]),
        ("/v1/jobs/default/instances/100", 400, ["'100'", "0 to 99"]),
        ("/v1/jobs/default/instances/-1", 400, ["'-1'", "0 to 99"]),
        ("/v1/jobs/default/instances/18446744073709551616", 400, ["0 to 99"]),
    ]
    with small_daemon() as daemon:
        for path, expected, words in wrong:
            code, headers, body = http_request(daemon.status, path)
            assert code == expected, f"{path}: {code}"
            assert headers["Content-Type"] == "application/json"
            error = json.loads(body)["error"]
            assert all(word in error for word in words), f"{path}: {error}"


@case
def only_get_and_head_are_allowed():
    with small_daemon() as daemon:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
            code, headers, body = http_request(daemon.status, "/v1/health", method)
            assert code == 405 and headers["Allow"] == "GET, HEAD", f"{method}: {code}"
            assert method in json.loads(body)["error"]
        code, headers, body = http_request(daemon.status, "/v1/health", "HEAD")
        assert code == 200 and body == b"" and int(headers["Content-Length"]) > 100


@case
def a_draining_daemon_says_so_and_answers_to_its_end():
    with small_daemon() as daemon:
        with Trainer(daemon) as trainer:
            token, ids = trainer.take()
            daemon.process.send_signal(signal.SIGTERM)
            wait_for(lambda: daemon.get("/v1/health")["status"] == "draining", "it drains")
            trainer.report(token, [1.0] * len(ids))  # what it waits for; the rest ends by BYE
        assert daemon.process.wait(DEADLINE_SECONDS) == 0


# ---- ohemctl


@case
def ohemctl_shows_daemon_and_jobs():
    with small_daemon() as daemon:
        with Trainer(daemon, agent="evil\u202e") as trainer:
            for _ in range(25):
                trainer.step(float)
            out, _ = ohemctl(daemon, "status")
            jobs, _ = ohemctl(daemon, "jobs")
        assert "serving" in out and daemon.status in out and "1 session;" in out
        dataset, = table_of(out, "DATASET")
        assert dataset["INSTANCES"] == "100" and dataset["RECORD_BYTES"] == "20"
        job, = table_of(out, "JOB")
        assert job["REPORTS"] == "25" and job["SESSIONS"] == "1"
        assert "job default" in jobs and "rho 0.5" in jobs
        assert table_of(jobs, "EPOCH")[0]["REPORTED"] == "100"
        session = table_of(jobs, "SESSION")[0]
        assert session["AGENT"] == "evil\\xe2\\x80\\xae"
        assert (session["TRANSPORT"], session["LAYOUT"]) == ("inline", "scattered")
        assert "staleness" in jobs
        assert ohemctl(daemon, "jobs", "--job", "default")[0].startswith("job default")
        assert ohemctl(daemon, "--socket", daemon.status, "status")[0].startswith("ohemd ")


@case
def ohemctl_shows_instances_and_escapes_their_keys():
    with small_daemon() as daemon:
        with Trainer(daemon) as trainer:
            trainer.cover(lambda i: 0.5 * i, INSTANCES)
        rows = table_of(ohemctl(daemon, "top", "-n", "3")[0], "ID")
        assert [row["ID"] for row in rows] == ["99", "98", "97"]
        assert rows[0]["SCORE"] == "49.5" and rows[0]["KEY"] == "z\\xe2\\x80\\xaeä"
        assert rows[1]["KEY"] == "key-098"
        plain = table_of(ohemctl(daemon, "top", locale="C")[0], "ID")
        assert len(plain) == 10 and plain[0]["KEY"] == "z\\xe2\\x80\\xae\\xc3\\xa4"
        out, _ = ohemctl(daemon, "show", "0")
        assert "0x011b5b33316dff" in out
        out, _ = ohemctl(daemon, "show", "1")
        assert re.search("^score +0.5$", out, re.M) and re.search("^record bytes +20$", out, re.M)


@case
def ohemctl_draws_a_histogram_that_fits():
    with small_daemon() as daemon:
        assert "100 not yet" in ohemctl(daemon, "hist")[0]
        # six octaves, and a tenth at 0
        with Trainer(daemon) as trainer:
            trainer.cover(lambda i: 0 if i % 10 == 0 else 2.0 ** (i % 7), INSTANCES)
        for locale, mark in (("C.UTF-8", "█"), ("C", "#")):
            out, _ = ohemctl(daemon, "hist", locale=locale)
            rows = [line for line in out.splitlines() if " .. " in line]
            assert 2 <= len(rows) <= 30 and all(len(line) <= 80 for line in out.splitlines()), out
            assert sum(int(row.split(" .. ")[1].split()[1]) for row in rows) == INSTANCES
            assert rows[0].split()[0] == "0" and rows[0].split()[3] == "10"
            assert all(mark in row for row in rows), out
            assert "0.5" in out.splitlines()[-2] and "0.99" in out.splitlines()[-2]


@case
def ohemctl_prints_what_the_daemon_says_as_json():
    with small_daemon() as daemon:
        for words, path in ((["jobs"], "/v1/jobs"), (["hist"], "/v1/jobs/default/hardness"),
                            (["top"], "/v1/jobs/default/hardest"),
                            (["show", "0"], "/v1/jobs/default/instances/0")):
            assert json.loads(ohemctl(daemon, "--json", *words)[0]) == daemon.get(path)
        assert json.loads(ohemctl(daemon, "status", "--json")[0])["status"] == "serving"


@case
def ohemctl_needs_to_be_told_which_of_several_jobs():
    make_dataset("data", [RECORD] * INSTANCES)
    text = f"[dataset d]\npath = {os.path.abspath('data')}\n[job one]\n[job two]\n"
    with Daemon(config=text) as daemon:
        _, error = ohemctl(daemon, "hist", code=2)
        assert "one" in error and "two" in error and "--job" in error
        assert "100 not yet" in ohemctl(daemon, "--job", "two", "hist")[0]
        _, error = ohemctl(daemon, "--job", "three", "hist", code=1)
        assert "'three'" in error and "'one', 'two'" in error
        assert [j["name"] for j in daemon.get("/v1/jobs")] == ["one", "two"]


@case
def ohemctl_says_in_one_line_what_is_wrong():
    wrong = [(["show", "100"], 2, "0 to 99"), (["show", "x y"], 2, "'x y'"), (["show"], 2, "ID"),
             (["top", "-n", "0"], 2, "1 to 1000"), ([], 2, "no command"),
             (["dance"], 2, "'dance'"), (["status", "more"], 2, "'more'"),
             (["hist", "-n", "3"], 2, "-n"), (["--job", "x", "status"], 2, "--job"),
             (["--frobnicate"], 2, "frobnicate"), (["--job", "..", "hist"], 1, "no job '..'")]
    with small_daemon() as daemon:
        for words, code, part in wrong:
            out, error = ohemctl(daemon, *words, code=code)
            assert out == "" and error.count("\n") == 1 and part in error, f"{words}: {error!r}"
        daemon.stop()
        _, error = ohemctl(daemon, "status", code=1)
        assert error == (f"ohemctl: no daemon answers at {daemon.status}: "
                         "no such file or directory\n"), error


@case
def ohemctl_tells_a_dead_socket_from_none():
    with small_daemon() as daemon:
        daemon.kill()
        _, error = ohemctl(daemon, "status", code=1)
        assert error == (f"ohemctl: no daemon answers at {daemon.status}: "
                         "connection refused\n"), error


@case
def ohemctl_finds_the_socket_as_the_daemon_does():
    with small_daemon() as daemon:
        environment = {k: v for k, v in os.environ.items() if k != "OHEM_STATUS"}
        os.makedirs("login", exist_ok=True)
        os.symlink(daemon.directory, "login/ohemd")
        for name, value in (("RUNTIME_DIRECTORY", daemon.directory + ":/other"),
                            ("XDG_RUNTIME_DIR", os.path.abspath("login"))):
            run = subprocess.run([program("ohemctl"), "status"], check=True, stdout=subprocess.PIPE,
                                 env={**environment, name: value})
            assert b"serving" in run.stdout


main(globals())
