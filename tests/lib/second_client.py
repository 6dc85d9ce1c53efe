"""second_client.py - a small complete client of ohemd, written from proto/PROTOCOL.md alone.

Shares nothing with libohem, so that the document is tested and not only our reading of it. It
keeps the rules of a session (section 6): what it holds, what has no answer yet, what to do after a
HELLO.

    with Client(daemon.listen, batch_size=10, credit=2) as client:
        batch = client.take()
        selection = client.report(batch, losses)       # selection["indices"]
        client.release(batch)
"""
import secrets
import time
from collections import deque

import zmq

import second_wire as wire
from harness import DEADLINE_SECONDS

LINGER_MS = 1000


class Refusal(Exception):
    """An ERROR of the daemon."""

    def __init__(self, fields):
        self.code = wire.ERRORS.get(fields["code"], str(fields["code"]))
        self.about, self.token, self.text = fields["about"], fields["token"], fields["text"]
        super().__init__(f"{self.code} about {self.about}: {self.text}")


class Wire:
    """A connection: frames out, checked messages in, and no rules."""

    def __init__(self, endpoint, routing_id=None, receive_max=None):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = LINGER_MS
        if routing_id is not None:
            self.socket.routing_id = routing_id
        if receive_max is not None:
            self.socket.rcvhwm = receive_max
        self.socket.connect(endpoint)

    def send(self, name, **fields):
        self.send_frames(wire.encode(name, **fields))

    def send_frames(self, frames):
        self.socket.send_multipart(frames)

    def receive(self, seconds=DEADLINE_SECONDS):
        """The next message: (name, fields)."""
        assert self.socket.poll(int(1000 * seconds)), f"no message within {seconds} s"
        return wire.decode(self.socket.recv_multipart())

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()


class Batch:
    """What a trainer holds: the message's fields, the records, and what became of it."""

    def __init__(self, fields):
        self.fields, self.token = fields, fields["token"]
        self.step = int.from_bytes(self.token[:8], "little")
        self.ids = [int(i) for i in fields["ids"]]
        ends = [int(offset) for offset in fields["offsets"]]
        self.records = [fields["payload"][a:b] for a, b in zip(ends, ends[1:])]
        self.seq, self.losses, self.selection = 0, None, None


class Client:
    """A session. HELLO is said at once; leaving a `with` block says BYE."""

    def __init__(self, endpoint, job="default", rank=0, batch_size=0, credit=0,
                 agent="second client"):
        self.endpoint = endpoint
        self.wishes = {"job": job, "rank": rank, "batch_size": batch_size, "credit": credit,
                       "agent": agent}
        self.key, self.seq, self.nonce = secrets.token_bytes(16), 0, 0
        self.welcome, self.wire, self.is_draining = None, None, False
        self.batches = {}  # by token: received and not released
        self.fresh = deque()  # of those, not yet given to the trainer
        self.connect()

    def connect(self):
        """Say HELLO on a new connection, and go on where we were."""
        if self.wire is not None:
            self.wire.close()
        self.wire = Wire(self.endpoint)
        self.hello()

    def hello(self):
        self.wire.send("HELLO", major=wire.MAJOR, minor=wire.MINOR, key=self.key,
                       held=list(self.batches), **self.wishes)
        before, self.welcome = self.welcome, self.wait_for("WELCOME")
        assert self.welcome["major"] == wire.MAJOR
        if before and any(before[name] != self.welcome[name] for name in ("boot", "session")):
            self.batches.clear()  # another daemon, or a session forgotten: it knows none of these
            self.fresh.clear()
        for batch in sorted(self.batches.values(), key=lambda batch: batch.seq):
            if batch.losses is not None and batch.selection is None:
                self._send_report(batch)

    def wait_for(self, name, matches=lambda fields: True, seconds=DEADLINE_SECONDS):
        """The next message of that name; batches that come in between are kept. ERROR is raised."""
        end = time.monotonic() + seconds
        while True:
            got, fields = self.wire.receive(max(0, end - time.monotonic()))
            if got == "BATCH":
                self._keep(fields)
            elif got == "SELECTION" and fields["token"] in self.batches:
                self.batches[fields["token"]].selection = fields
            elif got == "BYE":
                self.is_draining = True
            elif got == "ERROR" and name != "ERROR":
                raise Refusal(fields)
            if got == name and matches(fields):
                return fields

    def _keep(self, fields):
        assert fields["count"] == self.welcome["batch_size"]
        assert all(i < self.welcome["instance_count"] for i in fields["ids"])
        if fields["token"] not in self.batches:  # else it came twice
            batch = self.batches[fields["token"]] = Batch(fields)
            self.fresh.append(batch)

    def take(self):
        """The next batch."""
        if not self.fresh:
            self.wait_for("BATCH", lambda _fields: self.fresh)
        return self.fresh.popleft()

    def report(self, batch, losses):
        """@return the SELECTION"""
        self.begin_report(batch, losses)
        return self.finish_report(batch)

    def begin_report(self, batch, losses):
        self.seq += 1
        batch.seq, batch.losses, batch.selection = self.seq, losses, None
        self._send_report(batch)

    def _send_report(self, batch):
        self.wire.send("LOSS", key=self.key, token=batch.token, seq=batch.seq,
                       count=len(batch.losses), losses=batch.losses)

    def finish_report(self, batch):
        if batch.selection is None:
            batch.selection = self.wait_for("SELECTION",
                                            lambda fields: fields["token"] == batch.token)
        return batch.selection

    def release(self, batch):
        del self.batches[batch.token]
        if batch in self.fresh:
            self.fresh.remove(batch)
        self.wire.send("CREDIT", key=self.key, token=batch.token)

    def ping(self):
        """I live. @return the PONG"""
        self.nonce += 1
        self.wire.send("PING", key=self.key, nonce=self.nonce)
        return self.wait_for("PONG", lambda fields: fields["nonce"] == self.nonce)

    def step(self, loss_of):
        """Take a batch, report `loss_of(id)` for each, release it. @return (batch, selection)"""
        batch = self.take()
        selection = self.report(batch, [loss_of(i) for i in batch.ids])
        self.release(batch)
        return batch, selection

    def bye(self):
        self.wire.send("BYE", key=self.key, text="done")
        self.wait_for("BYE")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_error):
        if kind is None:
            self.bye()
        self.wire.close()
