"""test_daemon.py - ohemd as an operator meets it: options, start, refusals, signals, systemd."""
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import subprocess

import msgpack
import zmq

from harness import DEADLINE_SECONDS, case, main, skip, wait_for
from ohemd import Daemon, http_request, make_dataset, program

SOURCE = pathlib.Path(os.environ.get("OHEM_SOURCE", "."))
INSTANCES = 40
RECORD_BYTES = 12
HELLO, WELCOME, BATCH, BYE, ERROR = 1, 2, 4, 9, 10


def make_data(path="data"):
    make_dataset(path, [b"record %05d" % i for i in range(INSTANCES)])
    return os.path.abspath(path)


def make_config(text, path="ohemd.conf"):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def run(*arguments, **environment):
    """Run ohemd to its end, with its sockets in `run`. @return (exit code, stdout, stderr)"""
    os.makedirs("run", exist_ok=True)
    ended = subprocess.run([program("ohemd"), *arguments], timeout=DEADLINE_SECONDS, check=False,
                           env=dict(os.environ, RUNTIME_DIRECTORY=os.path.abspath("run"),
                                    **environment),
                           stdin=subprocess.DEVNULL, capture_output=True)
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


def assert_refused(arguments, *parts, code=2, lines=1):
    """It ends with `code` and says why in one line, the last; no socket is left behind."""
    ended, out, error = run(*arguments)
    assert ended == code and out == "", f"{arguments}: {ended} {out!r} {error!r}"
    assert error.startswith("ohemd: ") or lines > 1, error
    assert error.count("\n") == lines and error.endswith("\n"), f"{arguments}: {error!r}"
    missing = [part for part in parts if part not in error.splitlines()[-1]]
    assert not missing, f"{arguments}: {error!r} lacks {missing}"
    assert os.listdir("run") == [], f"{arguments} left {os.listdir('run')}"


def listen_as_systemd():
    """The socket that systemd hears a service on: `notify`, in the present folder."""
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.settimeout(DEADLINE_SECONDS)
    notify.bind("notify")
    return notify


def hello(endpoint, batch_size=4, job="default", credit=1):
    """Say HELLO from a raw socket. @return (it, the session's key)"""
    client = zmq.Context.instance().socket(zmq.DEALER)
    client.setsockopt(zmq.LINGER, 0)
    client.setsockopt(zmq.RCVTIMEO, 1000 * DEADLINE_SECONDS)
    client.connect(endpoint)
    key = secrets.token_bytes(16)
    header = [HELLO, 0, 3, key, job, 0, batch_size, credit, "test_daemon", 0, 0, 0]
    client.send_multipart([msgpack.packb(header, use_bin_type=True), b"", b""])
    return client, key


def receive(client, kind):
    """The next message of a kind: its header and frames. Others are passed over."""
    while True:
        header, *frames = client.recv_multipart()
        fields = msgpack.unpackb(header)
        assert fields[0] in (WELCOME, BATCH, BYE), fields
        if fields[0] == kind:
            return fields, frames


def hold_a_batch(daemon):
    """A trainer that has a batch and reports nothing: what a drain waits for."""
    client, _ = hello(daemon.listen)
    receive(client, BATCH)
    return client


def say_bye(client, key):
    client.send_multipart([msgpack.packb([BYE, key, ""], use_bin_type=True)])
    receive(client, BYE)
    client.close()


# ---- wrong options


@case
def a_wrong_option_is_named_in_one_line_with_exit_code_2():
    make_data()
    for arguments, parts in [
            (["--frobnicate"], ["--frobnicate", "not known"]),
            (["-x"], ["-x", "not known"]),
            (["-xyz"], ["-xyz", "not known"]),
            (["--dataset", "data", "-xyz"], ["-xyz", "not known"]),
            (["--l=x"], ["--l=x", "not clear"]),
            (["--help=3"], ["--help=3", "takes no value"]),
            (["--two\nlines\x1b[31m"], ["--two?lines?[31m"]),
            (["--" + 2000 * "x"], ["--xxx", "not known", "--help"]),
            (["--dataset"], ["--dataset needs a value"]),
            (["--dataset", "data", "--status"], ["--status needs a value"]),
            (["--dataset", "data", "--dataset", "data"], ["--dataset is given twice"]),
            (["--dataset", ""], ["must not be empty"]),
            (["data"], ["'data'", "--dataset"]),
            (["--dataset", "data", "more"], ["'more'", "--dataset"]),
            ([], ["no data set", "--dataset", "[dataset NAME]"]),
            (["--dataset", "data", "--log-level", "loud"], ["log_level", "loud", "debug"]),
            (["--dataset", "data", "--listen", "udp://x"], ["udp://x", "ipc://PATH"]),
            (["--dataset", "data", "--listen", "tcp://127.0.0.1:65536"], ["65536", "tcp://HOST"]),
            (["--dataset", "data", "--status", "/tmp/" + 110 * "a"], ["115", "107"])]:
        assert_refused(arguments, *parts)


@case
def tcp_without_the_operators_word_is_refused():
    data = make_data()
    assert_refused(["--dataset", data, "--listen", "tcp://127.0.0.1:0"], "tcp://127.0.0.1:0",
                   "insecure_tcp = yes")
    config = make_config(f"[daemon]\nlisten = tcp://127.0.0.1:0\n[dataset d]\npath = {data}\n")
    assert_refused(["--config", config], config, "insecure_tcp = yes")


@case
def a_data_set_on_the_command_line_joins_those_of_the_file():
    data = make_data()
    config = make_config(f"[dataset other]\npath = {data}\n[job j]\ndataset = other\n")
    code, out, _ = run("--config", config, "--dataset", data, "--print-config")
    assert code == 0 and "[dataset other]" in out and "[dataset default]" in out
    config = make_config(f"[dataset default]\npath = {data}\n")
    assert_refused(["--config", config, "--dataset", data], "[dataset default] is given twice")


# ---- wrong configurations


@case
def a_wrong_configuration_is_named_with_file_and_line():
    data = make_data()
    dataset = f"[dataset d]\npath = {data}\n"
    for text, parts in [
            ("[daemon]\nlistn = ipc:///x\n", [":2:", "'listn'", "did you mean 'listen'?"]),
            ("[job j]\nro = 1\n", [":2:", "'ro'"]),
            ("[job j]\nlease = 1\n", [":2:", "[job j]", "'lease'"]),
            ("[job j]\n\nrho = 1.5\n", [":3:", "rho = 1.5", "above 0 and at most 1"]),
            ("[job j]\nbatch_size = 0\n", [":2:", "batch_size = 0", "1 to 65536"]),
            ("[daemon]\nsocket_mode = 888\n", [":2:", "socket_mode = 888", "octal"]),
            ("[daemn]\n", [":1:", "[daemn]", "did you mean [daemon]?"]),
            ("[job a b]\n", [":1:", "a b"]),
            ("nonsense\n", [":1:", "key = value"]),
            ("[job j]\nseed = 1\nseed = 2\n", [":3:", "seed is given twice"]),
            (dataset + "[job j]\ndataset = e\n", ["[job j] dataset = e"]),
            ("[dataset d]\n", ["[dataset d] path is missing"]),
            ("", ["no data set"])]:
        config = make_config(text)
        assert_refused(["--config", config], config, *parts)
        assert_refused(["--config", config, "--check-config"], config, *parts)


@case
def a_configuration_file_that_cannot_be_read_is_named():
    assert_refused(["--config", "nowhere.conf"], "nowhere.conf: No such file")
    os.mkdir("folder.conf")
    assert_refused(["--config", "folder.conf"], "folder.conf", "directory")


# ---- a start that fails


@case
def a_data_set_that_cannot_be_opened_ends_the_start_with_1():
    # not 2: systemd tries again, and a disk that was not yet mounted is there then
    assert_refused(["--dataset", "nowhere"], os.path.abspath("nowhere"), "No such file", code=1)
    os.mkdir("folder")
    assert_refused(["--dataset", "folder"], "folder/data.mdb", "No such file", code=1)
    with open("noise", "wb") as file:
        file.write(secrets.token_bytes(20000))
    assert_refused(["--dataset", "noise"], "noise", "not an LMDB file", code=1)
    make_dataset("empty", [])
    assert_refused(["--dataset", "empty"], "empty", "0 instances; 1 to", code=1)
    make_data("cut")
    os.truncate("cut/data.mdb", 8192)
    assert_refused(["--dataset", "cut"], "cut short", "8192 of", code=1)


@case
def the_second_of_two_data_sets_that_fails_leaves_nothing():
    data = make_data()
    config = make_config(f"[dataset a]\npath = {data}\n[dataset b]\npath = nowhere\n"
                         "[job j]\ndataset = a\n")
    assert_refused(["--config", config], os.path.abspath("nowhere"), code=1, lines=2)


@case
def a_socket_that_cannot_be_made_takes_the_other_one_back():
    make_data()
    assert_refused(["--dataset", "data", "--status", "/nowhere/at/all/status.sock"],
                   "/nowhere/at/all", code=1)
    with open("precious", "wb") as file:  # found when the trainers' socket already stands
        file.write(b"text")
    assert_refused(["--dataset", "data", "--status", os.path.abspath("precious")], "precious",
                   "no socket", code=1, lines=3)
    assert_refused(["--dataset", "data", "--listen", f"ipc://{os.path.abspath('precious')}"],
                   "precious", "no socket", code=1, lines=2)
    assert pathlib.Path("precious").read_bytes() == b"text"


@case
def a_second_daemon_refuses_and_the_first_goes_on():
    make_data()
    with Daemon("data") as daemon:
        client, key = hello(daemon.listen)
        receive(client, WELCOME)
        sockets = [os.stat(path).st_ino for path in (daemon.status, daemon.listen[6:])]
        for arguments in ([], ["--status", os.path.abspath("other.sock")]):
            code, _, error = run("--dataset", "data", *arguments)
            assert code == 1 and "another daemon answers at" in error.splitlines()[-1], error
        assert not os.path.exists("other.sock")
        assert sockets == [os.stat(path).st_ino for path in (daemon.status, daemon.listen[6:])]
        receive(client, BATCH)
        assert daemon.get("/v1/health")["sessions"] == 1
        say_bye(client, key)


@case
def the_sockets_of_a_killed_daemon_are_taken_over():
    make_data()
    with Daemon("data") as daemon:
        daemon.kill()
        assert os.path.exists(daemon.status) and os.path.exists(daemon.listen[6:])
        daemon.start()
        client, key = hello(daemon.listen)
        receive(client, BATCH)
        say_bye(client, key)
        assert daemon.stop() == 0
        assert not os.path.exists(daemon.status) and not os.path.exists(daemon.listen[6:])


# ---- what only prints


@case
def help_names_every_option_and_the_exit_codes():
    code, out, error = run("--help")
    assert code == 0 and error == "" and all(len(line) <= 100 for line in out.splitlines())
    for option in ("dataset", "config", "listen", "status", "state", "fresh", "log-level", "check-config",
                   "print-config", "help", "help-config", "version"):
        assert f"  --{option} " in out, option
    assert "Exit codes" in out and "$RUNTIME_DIRECTORY" in out


@case
def version_names_each_library_with_its_version():
    code, out, error = run("--version")
    assert code == 0 and error == ""
    versions = dict(line.split(" ") for line in out.splitlines())
    assert set(versions) == {"ohemd", "libzmq", "lmdb", "libuv", "msgpack-c", "libsodium",
                             "libmicrohttpd", "jansson"}, versions
    for name, version in versions.items():
        assert re.fullmatch(r"\d+\.\d+(\.\d+)*(-\w+)?", version), f"{name}: {version}"
    assert versions["libzmq"] == zmq.zmq_version()


@case
def help_config_and_the_sample_name_the_same_settings():
    code, out, _ = run("--help-config")
    assert code == 0
    table, sample, section = set(), set(), None
    for line in out.splitlines():
        title = re.match(r"\[(\w+)", line)
        section = title[1] if title else section
        setting = re.match(r"([a-z_]+) {2,}\S", line)
        if section and setting:
            table.add((section, setting[1]))
    for line in (SOURCE / "deploy" / "ohemd.conf").read_text(encoding="utf-8").splitlines():
        title = re.match(r";?\[(\w+)", line)
        section = title[1] if title else section
        setting = re.match(r";?([a-z_]+) =", line)
        if setting:
            sample.add((section, setting[1]))
    assert len(table) > 30 and table == sample, table ^ sample


@case
def check_config_says_that_it_is_valid_and_starts_nothing():
    data = make_data()
    config = make_config(f"[dataset d]\npath = {data}\n")
    assert run("--config", config, "--check-config") == (0, "the configuration is valid\n", "")
    assert run("--dataset", "data", "--check-config")[0] == 0
    assert os.listdir("run") == []


@case
def what_print_config_prints_reads_back_to_the_same():
    data = make_data()
    config = make_config(f"[daemon]\nlisten = ipc://here.sock\nsocket_mode = 0600\n"
                         f"[dataset d]\npath = {data}\nimmutable = yes\n"
                         "[job a]\nweight = rank\nkeep = 0.1\nseed = 18446744073709551615\n"
                         "[job b]\nlambda = 0.3333333333333333\n")
    code, first, _ = run("--config", config, "--print-config", "--log-level", "debug")
    assert code == 0 and "alpha = 0.7\n" in first and "log_level = debug\n" in first
    assert f"listen = ipc://{os.getcwd()}/here.sock\n" in first
    os.mkdir("elsewhere")
    again = make_config(first, "elsewhere/ohemd.conf")
    assert run("--config", again, "--print-config") == (0, first, "")


# ---- while it runs


@case
def its_lines_tell_of_the_start_and_the_end():
    data = make_data()
    with Daemon("data") as daemon:
        daemon.stop()
        lines = daemon.log().splitlines()
    wanted = [f"info dataset: opened name=default path=\"{data}\" instances={INSTANCES} "
              f"bytes={INSTANCES * RECORD_BYTES} record_bytes={RECORD_BYTES} seconds=",
              f"info server: listening endpoint={daemon.listen}",
              "info job: ready name=default dataset=default seed=0 order=free batch_size=256",
              "info main: ready version=",
              "info main: draining signal=15",
              "info main: ended"]
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \w+ \w+: ", line), line
        if wanted and wanted[0] in line:
            wanted.pop(0)
    assert not wanted, (wanted, lines)
    assert lines[-1].endswith("info main: ended")


@case
def a_log_level_leaves_out_what_is_below():
    make_data()
    with Daemon("data", arguments=["--log-level", "warning"]) as daemon:
        daemon.stop()
        assert daemon.log() == ""


@case
def a_signal_with_nobody_connected_ends_it_at_once():
    make_data()
    for number in (signal.SIGTERM, signal.SIGINT):
        with Daemon("data") as daemon:
            assert daemon.stop(number) == 0
            assert f"draining signal={number.value} " in daemon.log()
            assert "batches are still out" not in daemon.log()
            assert not os.path.exists(daemon.status)
            assert not os.path.exists(daemon.listen[6:])


@case
def a_signal_that_nobody_sent_on_purpose_does_not_end_it():
    make_data()
    with Daemon("data") as daemon:
        daemon.process.send_signal(signal.SIGPIPE)
        assert daemon.get("/v1/health")["status"] == "serving"


@case
def a_second_signal_in_a_drain_ends_it_at_once():
    data = make_data()
    text = f"[daemon]\ndrain_ms = 86400000\n[dataset d]\npath = {data}\n[job default]\n"
    with Daemon(config=text) as daemon:
        client = hold_a_batch(daemon)
        daemon.process.send_signal(signal.SIGTERM)
        wait_for(lambda: daemon.get("/v1/health")["status"] == "draining", "it drains")
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.process.wait(DEADLINE_SECONDS) == 128 + signal.SIGINT
        client.close()
        daemon.start()  # and what was left stands in nobody's way


@case
def a_drain_ends_with_its_time_when_a_trainer_is_silent():
    data = make_data()
    text = f"[daemon]\ndrain_ms = 300\n[dataset d]\npath = {data}\n[job default]\n"
    with Daemon(config=text) as daemon:
        client = hold_a_batch(daemon)
        assert daemon.stop() == 0
        assert "warning server: batches are still out after drain_ms=300" in daemon.log()
        assert not os.path.exists(daemon.listen[6:])
        client.close()


@case
def a_default_batch_over_the_limit_of_bytes_is_warned_of_and_smaller_ones_are_served():
    data = make_data()
    text = f"[daemon]\npayload_bytes_max = 100\n[dataset d]\npath = {data}\n[job default]\n"
    with Daemon(config=text) as daemon:
        assert re.search(f" warning job: .*bytes={256 * RECORD_BYTES} payload_bytes_max=100$",
                         daemon.log(), re.M), daemon.log()
        client, _ = hello(daemon.listen, 0)
        fields = msgpack.unpackb(client.recv_multipart()[0])
        assert fields[0] == ERROR and "payload_bytes_max" in str(fields), fields
        client.close()
        client, key = hello(daemon.listen, 8)
        receive(client, BATCH)
        say_bye(client, key)


# ---- systemd


def notified(notify, word):
    """The lines of each datagram, up to and with the first that begins with `word`."""
    lines = []
    while not any(line.startswith(word) for line in lines):
        lines += notify.recv(4096).decode().splitlines()
    return lines


@case
def systemd_hears_ready_status_watchdog_and_stopping_in_this_order():
    make_data()
    notify = listen_as_systemd()
    os.environ.update(NOTIFY_SOCKET=os.path.abspath("notify"), WATCHDOG_USEC="2000000")
    with Daemon("data") as daemon:
        lines = notified(notify, "READY")
        assert lines == ["READY=1", "STATUS=serving"], lines
        assert http_request(daemon.status, "/v1/health")[0] == 200
        for _ in range(3):  # each second, and so half of what systemd waits
            assert notified(notify, "WATCHDOG")[-1] == "WATCHDOG=1"
        assert notified(notify, "STATUS")[-1] == "STATUS=0 sessions, 0 batches/s, 0 reports/s"
        daemon.process.send_signal(signal.SIGTERM)
        lines = notified(notify, "STOPPING")
        at = lines.index("STOPPING=1")
        assert lines[at:] == ["STOPPING=1", "STATUS=draining"], lines
        assert set(lines[:at]) <= {"WATCHDOG=1"}, lines
        assert daemon.process.wait(DEADLINE_SECONDS) == 0


@case
def the_watchdog_is_fed_in_a_drain_too():
    data = make_data()
    notify = listen_as_systemd()
    os.environ.update(NOTIFY_SOCKET=os.path.abspath("notify"), WATCHDOG_USEC="100000")
    text = f"[daemon]\ndrain_ms = 86400000\n[dataset d]\npath = {data}\n[job default]\n"
    with Daemon(config=text) as daemon:
        client, key = hello(daemon.listen)
        receive(client, BATCH)
        daemon.process.send_signal(signal.SIGTERM)
        notified(notify, "STOPPING")
        for _ in range(3):
            lines = notified(notify, "WATCHDOG")
            assert set(lines) == {"WATCHDOG=1"}, lines
        say_bye(client, key)  # and so the drain is over
        assert daemon.process.wait(DEADLINE_SECONDS) == 0


@case
def a_start_that_fails_never_says_ready():
    notify = listen_as_systemd()
    code, _, _ = run("--dataset", "nowhere", NOTIFY_SOCKET=os.path.abspath("notify"))
    notify.setblocking(False)
    assert code == 1
    try:
        assert False, notify.recv(4096)
    except BlockingIOError:
        pass


@case
def the_unit_is_one_that_systemd_takes():
    verify = shutil.which("systemd-analyze")
    if verify is None:
        skip("systemd-analyze is not installed")
    text = (SOURCE / "deploy" / "ohemd.service").read_text(encoding="utf-8")
    filled = {"SBINDIR": os.path.dirname(os.path.abspath(program("ohemd"))), "SYSCONFDIR": "/etc",
              "UNIT": "ohemd", "NAME": "ohemd", "FOLDER": "ohemd", "OF": "", "WHICH": ""}
    for name, value in filled.items():
        text = text.replace(f"@{name}@", value)
    make_config(text, "ohemd.service")
    ended = subprocess.run([verify, "verify", "--man=no", os.path.abspath("ohemd.service")],
                           timeout=DEADLINE_SECONDS, capture_output=True, check=False)
    output = (ended.stdout + ended.stderr).decode()
    if "ohemd.service" not in output and ended.returncode != 0:
        skip(f"systemd-analyze cannot verify here: {output.strip()}")
    complaints = [line for line in output.splitlines() if "ohemd.service" in line]
    assert ended.returncode == 0 and not complaints, output


# ---- tcp, and several of all


@case
def tcp_works_when_the_operator_wants_it_and_is_warned_of_each_time():
    data = make_data()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = (f"[daemon]\nlisten = tcp://127.0.0.1:{port}\ninsecure_tcp = yes\n"
            f"[dataset d]\npath = {data}\n[job default]\n")
    with Daemon(config=text) as daemon:
        for start in (1, 2):
            client, key = hello(f"tcp://127.0.0.1:{port}")
            receive(client, WELCOME)
            fields, frames = receive(client, BATCH)
            assert frames[-1].startswith(b"record ") and len(frames[-1]) == 4 * RECORD_BYTES
            say_bye(client, key)
            warnings = re.findall("^.* warning .*tcp://127.0.0.1.*$", daemon.log(), re.M)
            assert len(warnings) == start, daemon.log()
            assert daemon.stop() == 0
            if start == 1:
                daemon.start()


@case
def several_data_sets_and_jobs_are_served_side_by_side():
    make_dataset("a", [b"a"] * 10)
    make_dataset("b", [b"bb"] * 20)
    text = ("[dataset one]\npath = ../a\n[dataset two]\npath = ../b\nimmutable = yes\n"
            "[job j1]\ndataset = one\n[job j2]\ndataset = two\n"
            "[job j3]\ndataset = two\nbatch_size = 5\n")
    with Daemon(config=text) as daemon:
        assert [(d["name"], d["instances"]) for d in daemon.get("/v1/health")["datasets"]] == [
            ("one", 10), ("two", 20)]
        assert [(j["name"], j["dataset"]) for j in daemon.get("/v1/jobs")] == [
            ("j1", "one"), ("j2", "two"), ("j3", "two")]
        for job, batch_size, payload in (("j1", 4, b"a" * 4), ("j2", 4, b"b" * 8),
                                         ("j3", 0, b"b" * 10)):
            client, key = hello(daemon.listen, batch_size, job)
            assert receive(client, BATCH)[1][-1] == payload, job
            say_bye(client, key)


main(globals())
