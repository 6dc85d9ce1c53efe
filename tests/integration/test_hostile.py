#!/usr/bin/env python3
"""test_hostile.py - what a broken or ill-meaning client sends, while an honest trainer trains.

Each case attacks a daemon of its own and asserts what the answer is. What must hold after any of
them is asserted once, in `attacked`: no score but the honest trainer's, its training went on,
bounded memory, exit code 0. The messages are made with second_wire.py, which lets wrong ones pass.
"""
import contextlib
import os
import random
import socket
import subprocess
import threading

import zmq

import second_share as share
import second_wire as wire
from harness import case, main, skip, wait_for
from ohemd import Daemon, make_dataset
from second_client import ALL_WAYS, INLINE_ONLY, NO_MAP, Client, Refusal, Wire
from test_vectors import blocks

INSTANCES = 1000
K = 10
SEED = 20160412
IS_SANITIZED = any(word in os.environ.get("OHEM_BUILD", "") for word in ("address", "thread"))
RSS_BYTES_MAX = (1024 if IS_SANITIZED else 256) << 20  # one frame of 16 MiB and a queue or two
HOSTILE_LOSS = 1e6  # would be seen in any score
REPORTS_AFTER = 50  # the honest trainer's, once the attack is over
IN_FLIGHT = 200  # messages sent before their answers are read: below the high-water marks
KEY, TOKEN = bytes(range(16)), bytes(16)
BY_CLIENT = ("HELLO", "CREDIT", "LOSS", "PING", "BYE", "READY", "SYNC")
NOBODY = 65534  # a user who owns nothing
SILENT_SECONDS = 5  # after which the share socket hangs up on who shows no cookie


def number_of(name):
    return wire.BY_NAME[name].number


def honest_loss(i):
    return 1 + i % 16 / 16


class Honest(threading.Thread):
    """A trainer that goes on until told to stop. Losses never change, so each score is its loss."""

    def __init__(self, daemon, ways):
        super().__init__(daemon=True)
        self.endpoint, self.ways, self.reports, self.error = daemon.listen, ways, 0, None
        self.seen, self.is_over = set(), threading.Event()

    def run(self):
        try:
            with Client(self.endpoint, batch_size=K, credit=2, agent="honest",
                        ways=self.ways) as client:
                while not self.is_over.is_set():
                    batch, selection = client.step(honest_loss)
                    assert selection["flags"] == 0 and selection["kept.count"] == K // 2
                    self.seen.update(batch.ids)
                    self.reports += 1
        except BaseException as error:
            self.error = error
            raise

    def goes_on(self):
        """Wait for more of its reports."""
        target = self.reports + REPORTS_AFTER
        wait_for(lambda: self.error or self.reports >= target, "the honest trainer trains on")
        assert self.error is None, self.error

    def stop(self):
        self.is_over.set()
        self.join()
        assert self.error is None, self.error


def rss_bytes(daemon):
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as file:
        line, = [line for line in file if line.startswith("VmRSS:")]
    return int(line.split()[1]) << 10


def job_of(daemon):
    return daemon.get("/v1/jobs/default")


@contextlib.contextmanager
def attacked(record=b"x" * 20, daemon="", drain_ms=100, ways=INLINE_ONLY):
    """A daemon with its honest trainer, who can take records by these ways; what must hold whatever
    was done to them."""
    make_dataset("data", [record] * INSTANCES)
    config = (f"[daemon]\ndrain_ms = {drain_ms}\n{daemon}\n"
              f"[dataset d]\npath = {os.path.abspath('data')}\n[job default]\n")
    with Daemon(config=config) as victim:
        honest = Honest(victim, ways)
        honest.start()
        honest.goes_on()
        yield victim, honest
        honest.goes_on()
        rss = rss_bytes(victim)
        honest.stop()
        assert rss < RSS_BYTES_MAX, f"{rss} bytes resident"
        check_scores(victim, honest)
        assert victim.stop() == 0


def check_scores(daemon, honest):
    job = job_of(daemon)
    assert job["counters"]["reports_applied"] == job["lsn"] == honest.reports
    assert job["counters"]["losses_applied"] == K * honest.reports
    assert job["scored_count"] == len(honest.seen)
    for i in random.Random(SEED).sample(sorted(honest.seen), 20):
        instance = daemon.get(f"/v1/jobs/default/instances/{i}")
        assert instance["score"] == instance["last_loss"] == honest_loss(i), instance
    assert daemon.get("/v1/jobs/default/hardest?n=1")[0]["score"] < 2


# ---- saying wrong things, and what comes back


def next_error(connection):
    """The next ERROR; batches and the like before it are dropped."""
    while True:
        name, fields = connection.receive()
        if name == "ERROR":
            return fields


def errors(connection, messages):
    """Send messages of which each must be refused. @return their ERRORs, in order"""
    answers = []
    for begin in range(0, len(messages), IN_FLIGHT):
        part = messages[begin:begin + IN_FLIGHT]
        for frames in part:
            connection.send_frames(frames)
        answers += [next_error(connection) for _ in part]
    check_no_more(connection)
    return answers


def check_no_more(connection):
    """One answer to each: the next one is to this PING, of a session that nobody has."""
    connection.send("PING", key=b"nobody's session", nonce=0)
    fields = next_error(connection)
    assert code_of(fields) == "NO_SESSION" and fields["about"] == number_of("PING"), fields


def code_of(fields):
    return wire.ERRORS[fields["code"]]


def expect(connection, wanted):
    """Each of wanted = (frames, code, about, word) is refused like that."""
    answers = errors(connection, [frames for frames, *_ in wanted])
    for (frames, code, about, word), fields in zip(wanted, answers):
        what = f"{[frame[:80] for frame in frames[:3]]}: {fields}"
        assert code_of(fields) == code and word in fields["text"], what
        assert fields["about"] == (number_of(about) if about else 0), what


def message(name, **changes):
    """A message that would be good if it came from a session that held the batch TOKEN."""
    fields = {"major": wire.MAJOR, "minor": wire.MINOR, "key": KEY, "job": "default", "rank": 1,
              "batch_size": K, "credit": 1, "agent": "a", "layout": wire.SCATTERED,
              "ways": INLINE_ONLY, "memory": 0, "held": [TOKEN], "kept": [], "token": TOKEN,
              "seq": 1, "count": K, "ids.count": 0, "losses": [HOSTILE_LOSS] * K, "ids": [],
              "nonce": 1, "text": "text", "way": wire.INLINE,
              **changes}
    return wire.encode(name, **fields)


def fields_of(name, index, value):
    """The same with another value in its header."""
    elements = wire.msgpack.unpackb(message(name)[0])
    elements[1 + index] = value
    return [wire.header(*elements), *message(name)[1:]]


# ---- bytes that are no message


@case
def every_vector_of_what_is_refused_is_answered_with_its_error_and_its_words():
    with attacked() as (daemon, _), Wire(daemon.listen) as attacker:
        for name, lines, frames in blocks("hostile.txt"):
            about = dict(lines)["type"]
            fields, = errors(attacker, [frames])
            what = f"{name}: {fields}"
            assert code_of(fields) == dict(lines)["error"], what
            if len(frames) <= wire.MESSAGE_FRAMES_MAX:  # beyond, the daemon does not count
                assert all(word in fields["text"] for kind, word in lines if kind == "reason"), what
            assert fields["about"] == (0 if about == "?" else number_of(about)), what


@case
def every_prefix_of_each_message_is_refused():
    with attacked() as (daemon, _), Wire(daemon.listen) as attacker:
        for name in BY_CLIENT:
            frames = message(name)
            cuts = [[frames[0][:size], *frames[1:]] for size in range(len(frames[0]))]
            answers = errors(attacker, cuts)
            assert {code_of(fields) for fields in answers} == {"MALFORMED"}, name
            assert {fields["about"] for fields in answers} == {0}, "unreadable"
            if len(frames) > 1:
                vector = wire.BY_NAME[name].vectors[0].name
                cuts = [[frames[0], frames[1][:size], *frames[2:]]
                        for size in range(1, len(frames[1]))]
                cuts.append(frames[:1])
                expect(attacker, [(cut, "MALFORMED", name, vector) for cut in cuts])
        assert daemon.get("/v1/health")["sessions"] == 1


@case
def thousands_of_random_messages_are_each_answered_once():
    chance = random.Random(SEED)
    messages = [[chance.randbytes(chance.choice([0, 1, 2, 17, 200]))
                 for _ in range(chance.randint(1, 8))] for _ in range(4000)]
    with attacked() as (daemon, _), Wire(daemon.listen) as attacker:
        before = daemon.get("/v1/health")["counters"]["messages_malformed"]
        answers = errors(attacker, messages)
        assert {code_of(fields) for fields in answers} <= {"MALFORMED", "TOO_LARGE"}
        assert all(fields["text"] and fields["token"] == bytes(16) for fields in answers)
        after = daemon.get("/v1/health")["counters"]["messages_malformed"]
        assert after - before == len(messages)


@case
def thousands_of_messages_with_a_few_bits_turned_change_nothing():
    chance = random.Random(SEED)
    messages = []
    for _ in range(4000):
        # not BYE and HELLO: their texts may turn into others that are as good
        frames = [bytearray(frame) for frame in message(chance.choice(["CREDIT", "LOSS", "PING",
                                                                           "READY"]))]
        for _ in range(chance.randint(1, 4)):
            frame = chance.choice([frame for frame in frames if frame])
            frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)
        messages.append(frames)
    with attacked() as (daemon, _), Wire(daemon.listen) as attacker:
        answers = errors(attacker, messages)
        assert {code_of(fields) for fields in answers} <= {"MALFORMED", "TOO_LARGE", "NO_SESSION"}


@case
def headers_that_nest_or_promise_more_than_they_have_are_refused():
    key = b"\xc4\x10" + KEY
    wanted = [
        ([b"\xdd\xff\xff\xff\xff"], "TOO_LARGE", None, "4294967295"),
        ([b"\xdd\xff\xff\xff\xff" + bytes(1000)], "TOO_LARGE", None, "4294967295"),
        ([b"\x93\x07" + key + b"\xdd\xff\xff\xff\xff"], "MALFORMED", None, "field 2"),
        ([b"\x93\x07" + key + b"\xdf\xff\xff\xff\xff"], "MALFORMED", None, "field 2"),
        ([b"\x93\x07" + key + b"\xc9\xff\xff\xff\xff\x00"], "MALFORMED", None, "field 2"),
        ([b"\x93\x07" + key + b"\xdb\xff\xff\xff\xff"], "MALFORMED", None, "cut off"),
        ([b"\x93\x07\xc6\xff\xff\xff\xff" + KEY], "MALFORMED", None, "cut off"),
        ([b"\x91" * 1000], "MALFORMED", None, ""),
        ([b"\x81" * 1000], "MALFORMED", None, "array"),
        ([b"\x93\x07" + key + b"\x91" * 900], "MALFORMED", None, "field 2"),
        ([b"\xdc\x00\x20" + b"\x90" * 32], "MALFORMED", None, ""),
        ([b"\xdc\x00\x20\x07" + key + b"\x01" * 29 + b"\x80"], "MALFORMED", None, "field 31"),
        ([b"\x91" * 1024], "MALFORMED", None, ""),
        ([b"\x91" * 1025], "TOO_LARGE", None, "1025"),
        ([bytes(100_000)], "TOO_LARGE", None, "100000"),
    ]
    with attacked() as (daemon, _), Wire(daemon.listen) as attacker:
        expect(attacker, wanted)


# ---- messages that lie


def is_right(field, value):
    """Whether a value is one that this field may have."""
    if field.kind == "integer":
        return type(value) is int and field.least <= value <= field.most
    if field.kind == "double":
        return type(value) is float and value == 0  # the value of the job's own rule
    if field.kind == "bin16":
        return type(value) is bytes and len(value) == 16
    return type(value) is str and value.isprintable() and len(value) <= field.most


@case
def a_wrong_value_in_any_field_is_refused_by_the_fields_name():
    values = [None, True, False, 0.0, 1.5, float("nan"), -1, -2**63, 0, 2**32, 2**63, 2**64 - 1,
              "", "16 bytes of text", "a\0b", "\x7f", "\x9f", "x" * 481,
              b"", b"x" * 15, b"x" * 16, b"x" * 17]
    with attacked() as (daemon, _), Wire(daemon.listen) as attacker:
        for name in BY_CLIENT:
            for index, field in enumerate(wire.BY_NAME[name].fields):
                if field.name not in ("major", "minor"):
                    wrong = [value for value in values if not is_right(field, value)]
                    expect(attacker, [(fields_of(name, index, value), code_for(field, value), name,
                                       field.name) for value in wrong])
        expect(attacker, [(fields_of("HELLO", index, value), "MALFORMED", "HELLO", field)
                          for index, field in enumerate(("major", "minor"))
                          for value in (None, True, "0", b"", 0.0, -1)])
        assert daemon.get("/v1/health")["sessions"] == 1


def code_for(field, value):
    too_much = type(value) is int and value > field.most if field.kind == "integer" else (
        field.kind == "text" and type(value) is str and len(value) > field.most)
    return "TOO_LARGE" if field.named and too_much else "MALFORMED"


@case
def counts_that_are_not_those_of_the_frame_are_refused():
    with attacked() as (daemon, _), Client(daemon.listen, batch_size=K, credit=1) as attacker:
        token = attacker.take().token

        def loss(count, there):
            return [wire.header(5, attacker.key, token, 1, count, 0, 0, 0, 0, 0.0, 0, 0, 0, 0.0, 0, 0, 0),
                    bytes(there),
                    b"", b""]

        expect(attacker.wire, [
            (loss(0, 0), "MALFORMED", "LOSS", "count"),
            (loss(K, 0), "MALFORMED", "LOSS", "losses"),
            (loss(K, 4 * K - 4), "MALFORMED", "LOSS", "36"),
            (loss(K, 4 * K + 1), "MALFORMED", "LOSS", "41"),
            (loss(K, 8 * K), "MALFORMED", "LOSS", "80"),
            (loss(65536, 4 * K), "MALFORMED", "LOSS", "losses"),
            (loss(65537, 4 * 65537), "TOO_LARGE", "LOSS", "65537"),
            (loss(2**30, 4 * K), "TOO_LARGE", "LOSS", str(2**30)),
            (loss(2**62 + K, 4 * K), "TOO_LARGE", "LOSS", str(2**62 + K)),
            (loss(K - 1, 4 * K - 4), "COUNT", "LOSS", "9"),
            (loss(K + 1, 4 * K + 4), "COUNT", "LOSS", "11"),
            (loss(65536, 4 * 65536), "COUNT", "LOSS", "65536"),
        ])
        forged = message("LOSS", key=attacker.key, token=TOKEN, count=K + 1, losses=[0] * (K + 1))
        expect(attacker.wire, [(forged, "TOKEN", "LOSS", "")])


@case
def too_many_frames_are_refused():
    with attacked() as (daemon, _), Wire(daemon.listen) as attacker:
        ping = message("PING")
        expect(attacker, [(ping + [b""] * 7, "NO_SESSION", "PING", ""),  # 8 are allowed
                          (ping + [b""] * 8, "TOO_LARGE", None, "9 frames")])
        for count in (100, 20_000):
            fields, = errors(attacker, [[b"x"] * count])
            assert code_of(fields) == "TOO_LARGE" and fields["about"] == 0, fields


@case
def frames_over_the_limit_are_refused_and_far_over_it_the_connection_drops():
    most = wire.MESSAGE_FRAME_BYTES_MAX
    with attacked() as (daemon, _), Wire(daemon.listen) as attacker:
        ping, over = message("PING"), str(most + 1)
        expect(attacker, [(ping + [bytes(most)], "NO_SESSION", "PING", ""),
                          (ping + [bytes(most + 1)], "TOO_LARGE", "PING", over),
                          ([message("LOSS")[0], bytes(most + 1), b"", b""], "TOO_LARGE", "LOSS",
                           over)])
        allowed = wire.MESSAGE_TRANSPORT_BYTES_MAX
        for frames in ([bytes(allowed)], ping + [bytes(allowed)] * 3):
            fields, = errors(attacker, [frames])
            assert code_of(fields) == "TOO_LARGE" and str(allowed) in fields["text"], fields
        events = attacker.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        malformed = daemon.get("/v1/health")["counters"]["messages_malformed"]
        for size in (allowed + 1, 4 * allowed):
            attacker.send_frames(ping + [bytes(size)])
            assert events.poll(20_000), f"the connection stands after a frame of {size} bytes"
            events.recv_multipart()
            check_no_more(attacker)  # ZeroMQ is back, and this is the first answer
        attacker.socket.disable_monitor()
        assert daemon.get("/v1/health")["counters"]["messages_malformed"] == malformed


# ---- what is not yours


@case
def tokens_that_are_forged_or_anothers_are_refused():
    with attacked() as (daemon, _), Client(daemon.listen, batch_size=K, credit=2) as owner, \
            Client(daemon.listen, batch_size=K, credit=1) as thief:
        batch, mine = owner.take(), thief.take()
        forged = [bytes(16), b"\xff" * 16, os.urandom(16), batch.token[:8] + mine.token[8:],
                  (batch.step + 1).to_bytes(8, "little") + batch.token[8:]]
        forged += [mine.token[:i] + bytes([mine.token[i] ^ 1]) + mine.token[i + 1:]
                   for i in range(16)]
        for code, tokens in (("TOKEN", forged), ("FOREIGN", [batch.token])):
            for name in ("LOSS", "CREDIT"):
                messages = [message(name, key=thief.key, token=token) for token in tokens]
                for token, fields in zip(tokens, errors(thief.wire, messages)):
                    assert code_of(fields) == code and fields["text"], f"{name}: {fields}"
                    assert fields["token"] == token and fields["about"] == number_of(name)
        # nor does HELLO that says to hold it give it to a thief, and its owner still has it
        thief.wire.send("HELLO", major=wire.MAJOR, minor=wire.MINOR, key=thief.key,
                        held=[batch.token, mine.token], kept=[],
                        memory=thief.welcome["memory"], **thief.wishes)
        thief.wait_for("WELCOME")
        expect(thief.wire,
               [(message("LOSS", key=thief.key, token=batch.token), "FOREIGN", "LOSS", "")])
        owner.release(batch)
        assert owner.ping()
        counted = job_of(daemon)["counters"]
        assert counted["reports_refused_token"] == len(forged)
        assert counted["reports_refused_foreign"] == 2
        assert counted["releases_refused"] == len(forged) + 1


@case
def nothing_is_understood_before_hello_or_under_anothers_key():
    with attacked() as (daemon, _), Client(daemon.listen, batch_size=K, credit=1) as owner, \
            Wire(daemon.listen) as thief:
        token = owner.take().token
        for key in (KEY, owner.key):
            expect(thief, [(message(name, key=key, token=token), "NO_SESSION", name, "HELLO")
                           for name in ("LOSS", "CREDIT", "PING", "BYE", "READY")])
        assert owner.ping() and owner.batches[token]
        assert daemon.get("/v1/health")["sessions"] == 2


@case
def ready_with_a_way_that_was_not_offered_is_refused():
    with attacked() as (daemon, _), Client(daemon.listen, batch_size=K, credit=1) as attacker:
        batch = attacker.take()
        for way in (wire.SHM, wire.MAP):
            ready = message("READY", key=attacker.key, way=way)
            expect(attacker.wire, [(ready, "INVALID", "READY", "offered")] * 10)
        attacker.release(batch)
        assert attacker.take().fields["way"] == wire.INLINE


@case
def the_daemons_own_messages_are_refused():
    with attacked() as (daemon, _), Client(daemon.listen, batch_size=K, credit=1) as attacker:
        wanted = []
        for name, lines, frames in blocks("valid.txt"):
            about = dict(lines)["message"]
            if about not in BY_CLIENT:
                wanted.append((frames, "MALFORMED", about, "only the daemon"))
        assert {about for _, _, about, _ in wanted} >= {"BATCH", "PART", "WELCOME", "SELECTION"}
        expect(attacker.wire, wanted)
        assert attacker.ping(), "the session stands"


# ---- connections


@case
def messages_under_a_chosen_routing_id_are_discarded_and_counted():
    def discarded():
        return daemon.get("/v1/health")["counters"]["messages_discarded"]

    with attacked() as (daemon, _):
        with contextlib.ExitStack() as stack:
            attackers = [stack.enter_context(Wire(daemon.listen, routing_id=routing_id))
                         for routing_id in (b"a", b"trainer", b"12345", b"x" * 255)]
            before = discarded()
            for attacker in attackers:
                attacker.send_frames(message("HELLO", key=os.urandom(16), held=[]))
                attacker.send_frames([b"\xff"])
            wait_for(lambda: discarded() - before == 2 * len(attackers), "all are discarded")
            assert daemon.get("/v1/health")["sessions"] == 1
            assert not any(attacker.socket.poll(0) for attacker in attackers)


@case
def a_client_that_never_reads_costs_no_more_than_its_credit():
    with attacked(record=b"x" * 20_000) as (daemon, honest):
        with contextlib.ExitStack() as stack:
            deaf = [stack.enter_context(Wire(daemon.listen, receive_max=1)) for _ in range(8)]
            for attacker in deaf:
                attacker.socket.linger = 0
                attacker.send_frames(message("HELLO", key=os.urandom(16), credit=4, held=[]))
            wait_for(lambda: daemon.get("/v1/health")["sessions"] == 9, "their sessions stand")
            before = rss_bytes(daemon)
            for _ in range(2000):
                for attacker in deaf:
                    attacker.socket.sndtimeo = 20_000
                    attacker.send_frames(message("PING"))
            wait_for(lambda: daemon.get("/v1/health")["counters"]["messages_refused"] >= 16_000,
                     "all are handled")
            unsent = daemon.get("/v1/health")["counters"]["messages_unsent"]
            assert unsent > 0, "the queue to it is bounded"
            held = [session["held"] for session in job_of(daemon)["sessions"]]
            assert sorted(held)[-8:] == [4] * 8
            grown = rss_bytes(daemon) - before
            assert grown < RSS_BYTES_MAX // 4, f"{grown} bytes more"
            honest.goes_on()


@case
def readers_that_stall_keep_nobody_from_their_batches():
    """Large batches that are not read fill the connection; each such peer may tie up a few only."""
    make_dataset("large", [bytes([i]) * 200_000 for i in range(200)])
    with Daemon(dataset="large") as daemon, contextlib.ExitStack() as stack:
        stalled = [stack.enter_context(Wire(daemon.listen, receive_max=1)) for _ in range(20)]
        for peer in stalled:
            peer.socket.linger = 0
            peer.send_frames(message("HELLO", key=os.urandom(16), batch_size=10, credit=64, held=[]))
        wait_for(lambda: daemon.get("/v1/health")["sessions"] == 20, "their sessions stand")
        with Client(daemon.listen, batch_size=K, credit=2, agent="honest") as client:
            for _ in range(REPORTS_AFTER):
                client.step(honest_loss)
        sessions = daemon.get("/v1/jobs/default")["sessions"]
        assert max(session["held"] for session in sessions) < 64, "a batch was drawn for no reader"
        assert rss_bytes(daemon) < RSS_BYTES_MAX + (1 << 30)
        for peer in stalled:
            peer.close()


@case
def hellos_beyond_sessions_max_are_refused_until_one_leaves():
    sessions_max = 20
    with attacked(daemon=f"sessions_max = {sessions_max}") as (daemon, _), \
            Wire(daemon.listen) as attacker:
        keys = [os.urandom(16) for _ in range(500)]
        answers = []
        for key in keys:
            attacker.send_frames(message("HELLO", key=key, held=[]))
            name, fields = attacker.receive()
            while name == "BATCH":
                name, fields = attacker.receive()
            answers.append((name, fields))
        names = [name for name, _ in answers]
        let_in = sessions_max - 1  # the honest trainer is one
        assert names == ["WELCOME"] * let_in + ["ERROR"] * (len(keys) - let_in)
        for _, fields in answers[let_in:]:
            assert code_of(fields) == "LIMIT" and fields["about"] == 1, fields
            assert "sessions_max" in fields["text"] and str(sessions_max) in fields["text"], fields
        attacker.send("BYE", key=keys[0], text="")
        newcomer = Client(daemon.listen, batch_size=K, credit=1)
        try:
            Client(daemon.listen, batch_size=K, credit=1)
            raise AssertionError("a session too many")
        except Refusal as refusal:
            assert refusal.code == "LIMIT"
        newcomer.bye()
        newcomer.wire.close()


@case
def connections_that_open_and_vanish_leave_nothing_open():
    def descriptors():
        return len(os.listdir(f"/proc/{daemon.pid}/fd"))

    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
    ready = b"\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
    partly = [b"", b"\xff", greeting[:11], greeting, greeting + ready[:9],
              b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\xff" * 500, greeting + b"\x04\xff",
              greeting + ready + b"\x02\x7f" + b"\xff" * 7]
    with attacked() as (daemon, _):
        before = descriptors()
        for turn in range(300):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(daemon.listen.removeprefix("ipc://"))
                # the daemon may have hung up by then
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    client.sendall(partly[turn % len(partly)])
        for _ in range(100):
            with Wire(daemon.listen) as attacker:
                attacker.socket.linger = 0
                attacker.send_frames(message("HELLO", key=os.urandom(16), held=[]))
        for _ in range(20):
            with Wire(daemon.listen) as attacker:
                attacker.send_frames(message("HELLO", key=os.urandom(16), held=[]))
                assert attacker.receive()[0] == "WELCOME"
        wait_for(lambda: descriptors() <= before + 2, "the daemon closes what is gone")
        assert daemon.get("/v1/health")["sessions"] >= 21, "a session outlives its connection"


# ---- the share socket


def descriptors_of(daemon):
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def hello_and_no_more(connection, **changes):
    """A session that was made an offer. @return its WELCOME"""
    connection.send_frames(message("HELLO", **{"key": os.urandom(16), "held": [],
                                               "ways": ALL_WAYS, **changes}))
    name, welcome = connection.receive()
    assert name == "WELCOME" and welcome["way"] != wire.INLINE, welcome
    return welcome


def show(path, cookie):
    """@return the name of the error that a cookie is answered with, or None when it was good"""
    connection = share.open_connection(path)
    try:
        share.close_descriptors(share.ask(connection, cookie)[1])
        return None
    except share.NotShared as error:
        return error.code
    finally:
        connection.close()


@case
def a_cookie_that_is_wrong_or_was_used_or_whose_session_is_gone_gets_nothing():
    with attacked(ways=ALL_WAYS) as (daemon, _), Wire(daemon.listen) as owner:
        welcome = hello_and_no_more(owner)
        path, cookie = welcome["share"], welcome["cookie"]
        wrong = [bytes(16), b"\xff" * 16, os.urandom(16)]
        wrong += [cookie[:i] + bytes([cookie[i] ^ 1]) + cookie[i + 1:] for i in range(16)]
        assert {show(path, other) for other in wrong} == {"NO_SESSION"}
        assert show(path, cookie) is None, "nobody has used it yet"
        assert show(path, cookie) == "NO_SESSION"
        key = os.urandom(16)
        welcome = hello_and_no_more(owner, key=key)
        owner.send("BYE", key=key, text="")
        assert owner.receive()[0] == "BYE"
        assert show(path, welcome["cookie"]) == "NO_SESSION"


SHOW_AS_ANOTHER = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    connection.sendall(bytes.fromhex(sys.argv[2]))
    data, descriptors, _, _ = socket.recv_fds(connection, 64, 8)
print(int.from_bytes(data[:4], "little"), len(data), len(descriptors))
"""


@case
def another_users_cookie_gets_nothing():
    if os.geteuid() != 0:
        skip("needs root, to be another user")
    with attacked(daemon="socket_mode = 0666", ways=ALL_WAYS) as (daemon, _), \
            Wire(daemon.listen) as owner:
        os.chmod(daemon.directory, 0o755)
        for ways in (NO_MAP, ALL_WAYS):
            welcome = hello_and_no_more(owner, ways=ways)
            path, cookie = welcome["share"], welcome["cookie"]
            for _ in range(2):
                got = subprocess.run(
                    ["/usr/bin/python3", "-c", SHOW_AS_ANOTHER, os.path.basename(path),
                     cookie.hex()], cwd=os.path.dirname(path), user=NOBODY, group=NOBODY,
                    extra_groups=[], stdout=subprocess.PIPE, check=True, text=True).stdout.split()
                assert wire.ERRORS.get(int(got[0])) == "INVALID" and got[1:] == ["64", "0"], got
            assert show(path, cookie) is None, "it is still its owner's"


@case
def a_flood_of_connections_that_show_no_cookie_keeps_nobody_from_training():
    says = [b"", b"c", bytes(8), b"x" * 15]
    with attacked(ways=ALL_WAYS) as (daemon, honest), contextlib.ExitStack() as stack:
        with Wire(daemon.listen) as first:
            path = hello_and_no_more(first)["share"]
        before = descriptors_of(daemon)
        flood = []
        for turn in range(400):
            connection = stack.enter_context(share.open_connection(path))
            flood.append(connection)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(says[turn % len(says)])
        most = descriptors_of(daemon)
        assert most < before + 200, f"{most} descriptors are open"
        with Client(daemon.listen, batch_size=K, credit=2, ways=ALL_WAYS) as newcomer:
            for _ in range(20):
                batch = newcomer.take()
                assert batch.fields["way"] == wire.MAP
                newcomer.release(batch)
        honest.goes_on()
        for connection in flood:
            connection.settimeout(4 * SILENT_SECONDS)
            with contextlib.suppress(ConnectionResetError):  # what it said was not read
                assert connection.recv(1) == b"", "an answer to what is no cookie"
        wait_for(lambda: descriptors_of(daemon) <= before + 2, "the daemon closes what is silent")


@case
def newcomers_are_let_in_while_others_keep_knocking():
    is_over = threading.Event()

    def knock(path):
        turn = 0
        while not is_over.is_set():
            turn += 1
            with share.open_connection(path) as connection:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(os.urandom(turn % 17))

    with attacked(ways=ALL_WAYS) as (daemon, _):
        with Wire(daemon.listen) as first:
            path = hello_and_no_more(first)["share"]
        knockers = [threading.Thread(target=knock, args=(path,), daemon=True) for _ in range(3)]
        for knocker in knockers:
            knocker.start()
        try:
            for _ in range(30):
                with Client(daemon.listen, batch_size=K, credit=1, ways=ALL_WAYS) as newcomer:
                    batch = newcomer.take()  # inline, should a cookie have been crowded out
                    assert batch.records == [b"x" * 20] * K
                    newcomer.release(batch)
        finally:
            is_over.set()
            for knocker in knockers:
                knocker.join()


@case
def what_comes_behind_a_cookie_ends_the_connection_and_no_more():
    with attacked(ways=ALL_WAYS) as (daemon, _), Wire(daemon.listen) as talker:
        for more in (b"x", bytes(100_000)):
            key = os.urandom(16)
            welcome = hello_and_no_more(talker, key=key)
            with share.open_connection(welcome["share"]) as connection:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(welcome["cookie"] + more)

                def has_ended():
                    try:
                        data, descriptors, _, _ = socket.recv_fds(connection, 1000, 8)
                    except ConnectionResetError:
                        return True
                    share.close_descriptors(descriptors)
                    return data == b""

                wait_for(has_ended, "the connection ends")
            talker.send("READY", key=key, way=welcome["way"])
            name, fields = talker.receive()
            assert name == "BATCH" and fields["way"] == wire.INLINE


@case
def clients_that_fetch_and_vanish_leave_nothing_mapped():
    with attacked(daemon="shm_bytes_max = 4194304", ways=NO_MAP) as (daemon, _):
        before = descriptors_of(daemon)
        for turn in range(200):
            with Wire(daemon.listen) as attacker:
                attacker.socket.linger = 0
                ways = (NO_MAP, ALL_WAYS)[turn % 2]
                # there is memory for few rings: those before must have been taken back
                welcome = wait_for(lambda: offer_to(attacker, ways), "an offer")
                assert show(welcome["share"], welcome["cookie"]) is None
        wait_for(lambda: descriptors_of(daemon) <= before + 2, "the daemon closes what is gone")


def offer_to(connection, ways):
    """The WELCOME of a new session, or None when there is no memory for its ring now."""
    key = os.urandom(16)
    connection.send_frames(message("HELLO", key=key, held=[], ways=ways))
    name, welcome = connection.receive()
    assert name == "WELCOME", welcome
    if welcome["way"] != wire.INLINE:
        return welcome
    connection.send("BYE", key=key, text="")
    while name != "BYE":
        name, _ = connection.receive()
    return None


if __name__ == "__main__":
    main(globals())
