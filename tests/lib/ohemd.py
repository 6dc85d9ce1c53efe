"""ohemd.py - for test scripts: the real daemon on a small data set, and what it says of itself.

    make_dataset("data", [b"record %d" % i for i in range(100)])
    with Daemon("data") as daemon:
        daemon.listen                     # "ipc:///.../ohemd.sock", for a client
        daemon.get("/v1/health")          # the status socket's answer as Python values

The daemon's sockets, its configuration and its log lie in one folder (`run` in the present one). It
is up when its status socket answers. Leaving the `with` block stops it and expects exit code 0, so
that what a sanitizer finds fails the case.
"""
import http.client
import json
import os
import signal
import socket
import subprocess

import lmdb

from harness import DEADLINE_SECONDS, wait_for

MAP_BYTES_SPARE = 1 << 20


def program(name):
    """The path of a program under test: ohemd, ohemctl, ohem-import."""
    return os.path.join(os.environ.get("OHEM_BUILD", "build/gcc"), name)


def make_dataset(path, records, keys=None):
    """Write an LMDB folder. Without keys they are 00000000, 00000001, ...: the order of the records."""
    keys = keys or [b"%08d" % i for i in range(len(records))]
    map_bytes = 4 * sum(len(r) + len(k) + 64 for r, k in zip(records, keys)) + MAP_BYTES_SPARE
    with lmdb.open(os.fspath(path), map_size=map_bytes, sync=False) as environment:
        with environment.begin(write=True) as transaction:
            for key, record in zip(keys, records, strict=True):
                assert transaction.put(key, record, overwrite=False), f"key {key!r} twice"


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE_SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def http_request(socket_path, path, method="GET"):
    """One request. @return (status code, headers, body as bytes)."""
    connection = _UnixConnection(socket_path)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


class Daemon:
    """A running ohemd.

    dataset    path of an LMDB folder: `ohemd --dataset`, job "default"
    config     instead of it, the text of a configuration file (its sockets stay the default ones)
    arguments  more for the command line
    directory  where its things lie; give the same one again to start it anew
    wrapper    a command to run it under, as ["strace", "-f"]
    """

    def __init__(self, dataset=None, config=None, arguments=(), directory="run", wrapper=()):
        assert (dataset is None) != (config is None), "a data set or a configuration"
        self.directory = os.path.abspath(directory)
        self.listen = f"ipc://{self.directory}/ohemd.sock"
        self.status = f"{self.directory}/status.sock"
        self.log_path = f"{self.directory}/ohemd.log"
        os.makedirs(self.directory, exist_ok=True)
        if config is None:
            source = ["--dataset", os.fspath(dataset)]
        else:
            source = ["--config", f"{self.directory}/ohemd.conf"]
            with open(source[1], "w", encoding="utf-8") as file:
                file.write(config)
        self.command = [*wrapper, program("ohemd"), *source, *arguments]
        self.process = None

    def launch(self):
        """Start, and do not wait."""
        environment = dict(os.environ, RUNTIME_DIRECTORY=self.directory)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, env=environment, stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)

    def start(self):
        """Start, and return when it answers."""
        self.launch()
        try:
            wait_for(self._answers, "the daemon answers on its status socket")
        except BaseException:
            self.kill()
            print(self.log())
            raise
        return self

    def _answers(self):
        assert self.process.poll() is None, f"ohemd ended with {self.process.returncode}"
        try:
            return http_request(self.status, "/v1/health")[0] == 200
        except (ConnectionRefusedError, FileNotFoundError):
            return False

    @property
    def pid(self):
        return self.process.pid

    def get(self, path):
        """A status path's answer, which must be good."""
        code, _, body = http_request(self.status, path)
        assert code == 200, f"{path}: {code} {body!r}"
        return json.loads(body)

    def log(self):
        """All that it wrote."""
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stop(self, number=signal.SIGTERM):
        """Ask it to end. @return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE_SECONDS)

    def kill(self):
        """As a crash or the kernel would."""
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, _value, _traceback):
        killed = self.process.poll() == -signal.SIGKILL
        try:
            code = self.stop()
            assert kind is not None or killed or code == 0, f"ohemd ended with {code}"
        except BaseException:
            kind = kind or AssertionError
            raise
        finally:
            if self.process.poll() is None:
                self.kill()
            if kind is not None:
                print(self.log())
