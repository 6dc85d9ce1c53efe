"""test_keeper.py - the state directory as an operator meets it: start, refusals, a full disk, the end.

What comes back from it is the engine's; here it is only seen that it is kept.
"""
import ctypes
import hashlib
import os
import re
import stat
import subprocess

from harness import DEADLINE_SECONDS, case, main, skip
from ohemd import Daemon, make_dataset, program

STATE = "state"
CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 0x4000, 0x40000


def make_data():
    make_dataset("data", [b"record %05d" % i for i in range(40)])


def daemon_with_state(*arguments, directory="run"):
    return Daemon("data", arguments=["--state", STATE, *arguments], directory=directory)


def state_of(daemon):
    return daemon.get("/v1/health")["state"]


def run(*arguments):
    """A start that has to fail. @return (exit code, the last line)"""
    os.makedirs("other", exist_ok=True)
    ended = subprocess.run([program("ohemd"), "--dataset", "data", *arguments], check=False,
                           env=dict(os.environ, RUNTIME_DIRECTORY=os.path.abspath("other")),
                           timeout=DEADLINE_SECONDS, stdin=subprocess.DEVNULL, capture_output=True)
    return ended.returncode, ended.stderr.decode().splitlines()[-1]


def digest():
    with open(f"{STATE}/data.mdb", "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def mount_small_state():
    """A file system of 1 MiB for the state, seen by this process and its children only."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.mkdir(STATE)
    if (libc.unshare(CLONE_NEWNS) != 0 or
            libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None) != 0 or
            libc.mount(b"tmpfs", STATE.encode(), b"tmpfs", ctypes.c_ulong(0), b"size=1m") != 0):
        skip("mounts are not allowed here")


def take_all_space():
    with open(f"{STATE}/filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass


@case
def without_a_state_directory_health_says_so():
    make_data()
    with Daemon("data") as daemon:
        assert state_of(daemon) == {"path": None, "durable": False}
        assert "info state: scores are kept in memory only" in daemon.log()
        assert "warning" not in daemon.log()


@case
def the_state_is_made_for_its_owner_alone_and_shown():
    make_data()
    with daemon_with_state() as daemon:
        state = state_of(daemon)
        assert state["path"] == os.path.abspath(STATE) and state["durable"] is True
        assert state["commits"] == 1 and state["failures"] == 0 and state["failing"] is False
        assert state["last_error"] is None and state["bytes"] > 0
        assert 0 < state["commit_seconds_last"] <= state["commit_seconds_longest"]
        assert state["capture_seconds_last"] <= state["capture_seconds_longest"]
        assert stat.S_IMODE(os.stat(STATE).st_mode) == 0o700
        assert "info state: restored " in daemon.log()


@case
def systemds_state_directory_is_the_default():
    make_data()
    os.environ["STATE_DIRECTORY"] = f"{os.getcwd()}/one:{os.getcwd()}/two"
    with Daemon("data") as daemon:
        assert state_of(daemon)["path"] == f"{os.getcwd()}/one"


@case
def a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on():
    make_data()
    with daemon_with_state() as daemon:
        code, line = run("--state", STATE)
        assert code == 1 and f"another ohemd uses it (pid {daemon.pid})" in line, line
        assert os.listdir("other") == []
        assert state_of(daemon)["failures"] == 0
        daemon.kill()
        daemon.start()  # the lock went with it


@case
def a_state_that_cannot_be_used_is_refused_and_stays_as_it_is():
    make_data()
    with daemon_with_state():
        pass
    assert "the directory above is not there" in run("--state", "no/state")[1]
    with open(f"{STATE}/data.mdb", "r+b") as file:
        file.write(b"\0" * 8192)
    before = digest()
    for fresh in ((), ("--fresh",)):
        code, line = run("--state", STATE, *fresh)
        assert code == 1 and "damaged" in line, line
        assert digest() == before and os.listdir("other") == []


@case
def a_fresh_start_that_fails_leaves_the_state_as_it_was():
    make_data()
    with daemon_with_state():
        pass
    before = digest()
    with Daemon("data", directory="first"):
        status = os.path.abspath("first/status.sock")
        assert run("--state", STATE, "--fresh", "--status", status)[0] == 1  # it is taken
        listen = f"ipc://{os.path.abspath('first/ohemd.sock')}"
        assert run("--state", STATE, "--fresh", "--listen", listen)[0] == 1
        assert run("--state", STATE, "--fresh", "--dataset", "nowhere")[0] != 0
    assert digest() == before
    with daemon_with_state("--fresh") as daemon:
        assert "info state: begun anew " in daemon.log()
    assert digest() != before


@case
def a_full_disk_at_the_start_is_an_error():
    make_data()
    mount_small_state()
    with daemon_with_state():
        pass
    take_all_space()
    code, line = run("--state", STATE)
    assert code == 1 and "No space left on device" in line, line
    assert os.listdir("other") == []
    os.unlink(f"{STATE}/filler")
    with daemon_with_state():
        pass


@case
def what_cannot_be_saved_at_the_end_is_an_error_and_exit_code_1():
    make_data()
    mount_small_state()
    daemon = daemon_with_state().start()
    assert daemon.get("/v1/health")["state"]["commits"] == 1
    take_all_space()
    assert daemon.stop() == 1
    assert re.search(r"ended, and what came last is not saved: .*No space left", daemon.log())


main(globals())
