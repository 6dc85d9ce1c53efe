"""second_client.py - a small complete client of ohemd, written from proto/PROTOCOL.md alone.

Shares nothing with libohem, so that the document is tested and not only our reading of it. It
keeps the rules of a session (section 6): what it holds, what has no answer yet, which reports are not
durable yet, what to do after a HELLO.

    with Client(daemon.listen, batch_size=10, credit=2, layout=wire.PACKED, ways=7) as client:
        batch = client.take()
        selection = client.report(batch, losses)       # selection["indices"]
        client.release(batch)
"""
import secrets
import time
from collections import deque

import numpy as np
import zmq

import second_share as share
import second_wire as wire
from harness import DEADLINE_SECONDS

LINGER_MS = 1000
EARLY_SECONDS = 0.1  # after which a report that came before its turn is sent again
INLINE_ONLY, NO_MAP, ALL_WAYS = 1, 3, 7  # for `ways`

# What a Client can be told to do wrongly, once.
WRONG_COOKIE = "a cookie that nobody has is shown"
COOKIE_TWICE = "the cookie is shown a second time"
HANG_UP = "the connection to the share socket is closed as soon as all is mapped"
NO_READY = "READY is not sent"
OTHER_WAY = "READY names a way that was not offered"


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
    """What a trainer holds: the message's fields, the records, and what became of it.

    By shm and map the records lie in `mapping`; inline in `block`, once all parts of it are there.
    """

    def __init__(self, fields, layout, mapping):
        self.fields, self.token, self.mapping = fields, fields["token"], mapping
        self.step = int.from_bytes(self.token[:8], "little")
        self.ids = [int(i) for i in fields["ids"]]
        self.places = wire.places(fields)
        self.origin = None  # the daemon and session that it was handed out by and to
        self.records = None  # set when it is handed to the trainer
        self.seq, self.losses, self.selection, self.is_released = 0, None, None, False
        self.flags, self.select, self.items = (), None, {}
        self.block, self.parts, self.missing = fields["payload"], 0, set()
        if fields["parts"]:
            self.block = bytearray(fields["bytes"])
            self.missing = set(range(fields["count"]))
        self._check_layout(layout)

    def _check_layout(self, layout):
        """Section 4: the block has it whichever way it comes."""
        begins, ends = zip(*self.places)
        if layout == wire.PACKED:
            assert begins == (0, *ends[:-1]) and ends[-1] == self.fields["bytes"]
        elif layout == wire.ALIGNED64:
            assert all(begin % wire.ALIGNMENT == 0 for begin in begins)

    def add_part(self, part):
        """A PART that belongs to it, as section 4 says."""
        first, last = part["first"], part["first"] + part["count"] - 1
        assert last < self.fields["count"], f"a part of records {first}..{last}"
        begin, end = self.places[first][0], self.places[last][1]
        assert part["begin"] == begin, f"a part at {part['begin']}, not {begin}"
        size = len(part["payload"])
        assert size == end - begin, f"a part of {size} bytes, not {end - begin}"
        assert self.missing >= set(range(first, last + 1)), f"records {first}..{last} came twice"
        self.block[begin:end] = part["payload"]
        self.missing -= set(range(first, last + 1))
        self.parts += 1
        assert bool(self.missing) == (self.parts < self.fields["parts"]), "as many as were promised"

    @property
    def is_whole(self):
        return not self.missing

    def read(self):
        """The records, now; raises share.Stale."""
        assert self.is_whole
        if self.fields["way"] != wire.INLINE:
            return self.mapping.read(self.fields)
        return [bytes(self.block[begin:end]) for begin, end in self.places]


class Client:
    """A session. HELLO is said at once; leaving a `with` block says BYE.

    layout  of the records: wire.SCATTERED, PACKED or ALIGNED64
    ways    by which it can take records, a sum: 1 inline, 2 shm, 4 map
    wrong   what to do wrongly at the first WELCOME, of the list above
    """

    def __init__(self, endpoint, job="default", rank=0, batch_size=0, credit=0,
                 agent="second client", layout=wire.SCATTERED, ways=INLINE_ONLY, wrong=()):
        self.endpoint, self.wrong = endpoint, set(wrong)
        self.wishes = {"job": job, "rank": rank, "batch_size": batch_size, "credit": credit,
                       "agent": agent, "layout": layout, "ways": ways}
        self.key, self.seq, self.nonce = secrets.token_bytes(16), 0, 0
        self.welcome, self.wire, self.is_draining = None, None, False
        self.may_grow = False  # the data set, in the course of the session
        self.mapping, self.not_shared = None, None  # what is mapped, and why the last fetch failed
        self.batches = {}  # by token: received and not released
        self.fresh = deque()  # of those, not yet given to the trainer
        self.kept = {}  # by token, in the order of seq: reported, and not known to be durable
        self.again = set()  # tokens whose CREDIT was sent again: it may be refused
        self.refused = []  # errors about reports of batches that were released before
        self.early, self.early_at = set(), None  # tokens whose report came before its turn; when
        # they are sent again
        self.connect()

    def connect(self):
        """Say HELLO on a new connection, and go on where we were."""
        if self.wire is not None:
            self.wire.close()
        self.wire = Wire(self.endpoint)
        self.hello()

    def hello(self):
        held = [token for token, batch in self.batches.items() if batch.is_whole]
        kept = [token for token, batch in self.kept.items() if batch.is_released]
        self.wire.send("HELLO", major=wire.MAJOR, minor=wire.MINOR, key=self.key, held=held,
                       kept=kept, memory=self.welcome["memory"] if self.welcome else 0,
                       **self.wishes)
        before, self.welcome = self.welcome, self.wait_for("WELCOME")
        assert self.welcome["major"] == wire.MAJOR
        assert self.welcome["layout"] == self.wishes["layout"]
        if before and before["memory"] != self.welcome["memory"]:
            self.batches.clear()  # it knows none of these
            self.fresh.clear()
            self.kept.clear()
            self.early.clear()
        if before and any(before[name] != self.welcome[name] for name in ("boot", "session")):
            self._leave()
        self._take_offer()
        self._say_again()

    def _say_again(self):
        """Every report that the daemon may not have, or may lose, and CREDIT where it was given."""
        self.again.clear()
        self.early.clear()
        for batch in list(self.kept.values()):
            self._say_one_again(batch)

    def _say_one_again(self, batch):
        self._send_report(batch)
        if batch.is_released:
            self.again.add(batch.token)
            self.wire.send("CREDIT", key=self.key, token=batch.token)

    def _say_early(self):
        self.early_at = None
        for batch in list(self.kept.values()):
            if batch.token in self.early:
                self._say_one_again(batch)

    def _forget(self, durable_seq):
        """What is durable need not be kept; with a daemon that keeps nothing, what is answered."""
        for batch in list(self.kept.values()):
            answered = batch.selection is not None or batch.is_released
            if answered and (batch.seq <= durable_seq or not self.welcome["durable"]):
                assert batch.token not in self.early, "durable before its turn"
                del self.kept[batch.token]

    def _leave(self):
        """The session uses its mapping no more; batches of it that somebody holds still can."""
        if self.mapping is not None:
            self.mapping.hang_up()
        self.mapping = None

    # ---- section 9

    def _take_offer(self):
        way, cookie = self.welcome["way"], self.welcome["cookie"]
        assert way == wire.INLINE or self.wishes["ways"] & 1 << way, "a way we did not name"
        assert way != wire.MAP or self.wishes["layout"] == wire.SCATTERED
        if way == wire.INLINE:
            assert cookie == wire.NO_COOKIE and self.welcome["share"] == ""
            return
        if cookie != wire.NO_COOKIE:
            self._leave()
            self._fetch()
        if NO_READY not in self.wrong:
            self.ready()

    def _fetch(self):
        offer, connection = dict(self.welcome), None
        if WRONG_COOKIE in self.wrong:
            self.wrong.remove(WRONG_COOKIE)
            offer["cookie"] = secrets.token_bytes(16)
        try:
            self.mapping = share.fetch(offer)
            if COOKIE_TWICE in self.wrong:
                connection = share.open_connection(offer["share"])
                share.ask(connection, offer["cookie"])
                raise AssertionError("the cookie was good twice")
        except (share.NotShared, OSError) as error:
            self.not_shared = error
        if connection is not None:
            connection.close()
        if HANG_UP in self.wrong:
            self.mapping.hang_up()

    def ready(self, way=None):
        """Say READY, by default with what is mapped."""
        if OTHER_WAY in self.wrong:
            self.wrong.remove(OTHER_WAY)
            way = {wire.SHM: wire.MAP, wire.MAP: wire.SHM}[self.welcome["way"]]
        elif way is None:
            way = wire.INLINE if self.mapping is None else self.mapping.answer.way
        self.wire.send("READY", key=self.key, way=way)

    # ---- receiving

    def wait_for(self, name, matches=lambda fields: True, seconds=DEADLINE_SECONDS):
        """The next message of that name, or of one of those; batches that come in between are kept.
        ERROR is raised."""
        names = (name,) if isinstance(name, str) else name
        end = time.monotonic() + seconds
        while True:
            got, fields = self._receive(end)
            if got == "BATCH":
                self._keep(fields)
            elif got == "PART":
                self._keep_part(fields)
            elif got == "SELECTION":
                self._keep_selection(fields)
            elif got == "PONG":
                self._forget(fields["durable_seq"])
            elif got == "DURABLE":
                self._forget(fields["seq"])
            elif got == "BYE":
                self.is_draining = True
            elif got == "ERROR" and not self._expects(fields) and "ERROR" not in names:
                raise Refusal(fields)
            if got in names and matches(fields):
                return fields

    def _receive(self, end):
        while True:
            now = time.monotonic()
            if self.early_at is not None and now >= self.early_at:
                self._say_early()
            until = end if self.early_at is None else min(end, self.early_at)
            if self.wire.socket.poll(max(0, int(1000 * (until - now)) + 1)) or now >= end:
                return self.wire.receive(max(0, end - now))

    def _keep(self, fields):
        assert fields["count"] == self.welcome["batch_size"]
        if self.may_grow:  # section 3: N of WELCOME is the least
            self.welcome["instance_count"] = max(self.welcome["instance_count"],
                                                 *(int(i) + 1 for i in fields["ids"]))
        assert all(i < self.welcome["instance_count"] for i in fields["ids"])
        mapped = wire.INLINE if self.mapping is None else self.mapping.answer.way
        assert fields["way"] in (wire.INLINE, mapped), f"by way {fields['way']}"
        old = self.batches.get(fields["token"])
        if old is not None and old.is_whole:
            return  # it came twice
        if old is None and fields["token"] in self.kept:
            return  # it is released: its report comes again, and then its CREDIT
        batch = Batch(fields, self.wishes["layout"], self.mapping)
        batch.origin = self._origin()
        self.batches[batch.token] = batch
        if old in self.fresh:  # what came of its parts before the connection broke is dropped
            self.fresh[self.fresh.index(old)] = batch
        else:
            self.fresh.append(batch)

    def _keep_selection(self, fields):
        token = fields["token"]
        if not fields["weights.count"]:
            fields["weights"] = np.ones(fields["kept.count"], "<f4")
        for batch in (self.batches.get(token), self.kept.get(token)):
            if batch is not None and batch.selection is None:
                batch.selection = fields
        if fields["flags"] & wire.EARLY and token in self.kept:
            self.early.add(token)
            self.early_at = self.early_at or time.monotonic() + EARLY_SECONDS
        else:
            self.early.discard(token)
        self._forget(fields["durable_seq"])

    def _expects(self, error):
        """An error about what was sent again for a batch that is released."""
        code, about, token = wire.ERRORS.get(error["code"]), error["about"], error["token"]
        if about == wire.BY_NAME["CREDIT"].number and code == "TOKEN":
            return token in self.again
        if about != wire.BY_NAME["LOSS"].number or code == "NO_SESSION":
            return False
        batch = self.kept.pop(token, None)
        self.early.discard(token)
        if batch is None or token not in self.again:
            return False
        self.refused.append(Refusal(error))
        return True

    def _keep_part(self, fields):
        batch = self.batches.get(fields["token"])
        if batch is not None and not batch.is_whole:
            batch.add_part(fields)

    def take(self):
        """The next batch, with its records."""
        while not (self.fresh and self.fresh[0].is_whole):
            self.wait_for(("BATCH", "PART"))
        batch = self.fresh.popleft()
        batch.records = batch.read()
        return batch

    def report(self, batch, losses, flags=(), select=(wire.BY_JOB, 0, 0.0), at=0, **items):
        """@return the SELECTION"""
        self.begin_report(batch, losses, flags, select, at, **items)
        return self.finish_report(batch)

    def begin_report(self, batch, losses, flags=(), select=(wire.BY_JOB, 0, 0.0), at=0, **items):
        """@param at  the round that it is for
        @param items  of a ragged report: items, score, top, iou, boxes, classes"""
        self.seq += 1
        batch.round = at
        batch.flags, batch.select, batch.items = flags, select, self._item_fields(**items)
        batch.seq, batch.losses, batch.selection = self.seq, losses, None
        self.kept.pop(batch.token, None)
        self.kept[batch.token] = batch
        self._send_report(batch)

    @staticmethod
    def _item_fields(items=(), score=wire.SCORE_MAX, top=0, iou=0.0, boxes=(), classes=()):
        return {"items": items, "items.count": len(items), "items.score": score, "items.top": top,
                "items.iou": iou, "boxes": boxes, "boxes.count": 4 * len(boxes),
                "classes": classes, "classes.count": len(classes)}

    def _origin(self):
        return self.welcome["boot"], self.welcome["session"]

    def _send_report(self, batch):
        ids = batch.ids if batch.origin != self._origin() else []
        answer = batch.selection
        if answer is not None and len(answer["scores"]) and not answer["flags"] & wire.EARLY:
            # a ragged report that was answered: its instances' losses say all that counts
            batch.losses, batch.flags, batch.select = answer["scores"], (), (wire.BY_JOB, 0, 0.0)
            batch.items = self._item_fields()
        self.wire.send("LOSS", key=self.key, token=batch.token, seq=batch.seq,
                       count=len(batch.losses), losses=batch.losses, ids=ids,
                       flags=batch.flags,
                       **{"ids.count": len(ids), "flags.count": len(batch.flags),
                          "select.rule": batch.select[0], "select.count": batch.select[1],
                          "select.value": batch.select[2], "round": batch.round, **batch.items})

    def finish_report(self, batch):
        if batch.selection is None:
            batch.selection = self.wait_for("SELECTION",
                                            lambda fields: fields["token"] == batch.token)
        return batch.selection

    def release(self, batch):
        del self.batches[batch.token]
        batch.is_released = True
        if batch in self.fresh:
            self.fresh.remove(batch)
        self.wire.send("CREDIT", key=self.key, token=batch.token)

    def ping(self):
        """I live. @return the PONG"""
        self.nonce += 1
        self.wire.send("PING", key=self.key, nonce=self.nonce)
        return self.wait_for("PONG", lambda fields: fields["nonce"] == self.nonce)

    def sync(self):
        """Wait until every report is durable. @return the DURABLE"""
        self.wire.send("SYNC", key=self.key, seq=self.seq)
        return self.wait_for("DURABLE", lambda fields: fields["seq"] >= self.seq)

    def step(self, loss_of):
        """Take a batch, report `loss_of(id)` for each, release it. @return (batch, selection)"""
        batch = self.take()
        selection = self.report(batch, [loss_of(i) for i in batch.ids])
        self.release(batch)
        return batch, selection

    def bye(self):
        self.wire.send("BYE", key=self.key, text="done")
        self.wait_for("BYE")
        self._leave()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_error):
        if kind is None:
            self.bye()
        self.close()

    def close(self):
        """Go without a word."""
        self._leave()
        self.wire.close()
