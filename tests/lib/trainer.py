"""trainer.py - for test scripts: a trainer that speaks the wire itself, and ohemctl as a shell runs it."""
import os
import re
import secrets
import struct
import subprocess

import msgpack
import zmq

from harness import DEADLINE_SECONDS
from ohemd import program

HELLO, WELCOME, CREDIT, BATCH, LOSS, SELECTION, BYE, ERROR = 1, 2, 3, 4, 5, 6, 9, 10


class Trainer:
    """The least that a trainer says: HELLO, then LOSS and CREDIT for each batch, BYE at the end."""

    def __init__(self, daemon, batch_size=10, agent="trainer", job="default"):
        self.key, self.seq, self.waiting = secrets.token_bytes(16), 0, []
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVTIMEO, 1000 * DEADLINE_SECONDS)
        self.socket.connect(daemon.listen)
        self.send([HELLO, 0, 3, self.key, job, 3, batch_size, 2, agent, 0, 0, 0], b"", b"")

    def send(self, header, *vectors):
        self.socket.send_multipart([msgpack.packb(header, use_bin_type=True), *vectors])

    def receive(self, kind):
        """The next message of a kind: its header and its vectors. Others wait for their turn."""
        while not any(fields[0] == kind for fields, _ in self.waiting):
            header, *vectors = self.socket.recv_multipart()
            fields = msgpack.unpackb(header)
            assert fields[0] != ERROR, fields
            self.waiting.append((fields, vectors))
        found = next(i for i, (fields, _) in enumerate(self.waiting) if fields[0] == kind)
        return self.waiting.pop(found)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.send([BYE, self.key, ""])
        self.receive(BYE)
        self.socket.close()

    def take(self):
        """The next batch: its token and ids."""
        fields, vectors = self.receive(BATCH)
        return fields[1], struct.unpack(f"<{fields[3]}Q", vectors[0])

    def report(self, token, losses):
        """Report, and give the batch back. @return what came: the SELECTION's header and vectors"""
        self.seq += 1
        self.send([LOSS, self.key, token, self.seq, len(losses), 0, 0, 0, 0, 0.0, 0, 0, 0, 0.0, 0, 0, 0],
                  struct.pack(f"<{len(losses)}f", *losses), b"", b"")
        selection = self.receive(SELECTION)
        self.send([CREDIT, self.key, token])
        return selection

    def step(self, loss_of):
        """Take a batch, report `loss_of(id)` for each instance, give it back. @return the ids."""
        token, ids = self.take()
        self.report(token, [loss_of(i) for i in ids])
        return ids

    def cover(self, loss_of, instances):
        """Train until every instance was reported."""
        seen = set()
        while len(seen) < instances:
            seen.update(self.step(loss_of))


def ohemctl(daemon, *words, code=0, locale="C.UTF-8"):
    """Run it in a pipe. @return (what it printed, its error line)"""
    environment = dict(os.environ, OHEM_STATUS=daemon.status, LC_ALL=locale)
    run = subprocess.run([program("ohemctl"), *words], env=environment, timeout=DEADLINE_SECONDS,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    out, error = run.stdout.decode(), run.stderr.decode()
    assert run.returncode == code, f"{words}: {run.returncode} {error!r}"
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out + error), f"raw bytes: {out!r}"
    return out, error


def table_of(text, title):
    """The table whose heading begins with `title`: a list of rows, each a name-to-cell map."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.split()[:1] == [title])
    names = lines[first].split()
    rows = []
    for line in lines[first + 1:]:
        if not line.strip():
            break
        rows.append(dict(zip(names, line.split(maxsplit=len(names) - 1))))
    return rows
