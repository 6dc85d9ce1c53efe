"""second_share.py - what the daemon shares with a client on its host, fetched and mapped.

Written from proto/PROTOCOL.md, section 9, alone; shares nothing with libohem. Knows no ZeroMQ: a
WELCOME's fields in, records out.

    mapping = fetch(welcome)                # or raises NotShared
    mapping.read(batch_fields)              # its records, as bytes, or raises Stale
"""
import mmap
import os
import socket
import struct
from collections import namedtuple

import second_wire as wire
from harness import DEADLINE_SECONDS

# code, way, bytes, slot_bytes, slot_count, 0, watch[2], watch_max, 0
ANSWER = struct.Struct("<IIQQIIQQQQ")
Answer = namedtuple("Answer", "code way bytes slot_bytes slot_count zero watch watch_max zero_too")
DESCRIPTORS = {wire.SHM: 1, wire.MAP: 2}
DESCRIPTORS_MAX = 8  # room for more than there should be
LIFE_BYTES = 4096
LIFE_MASK = 0x3FFFFFFF


class NotShared(Exception):
    """Nothing was handed out. code: the error's name; None when the connection just ended."""

    def __init__(self, code):
        super().__init__(f"the share socket answers {code}")
        self.code = code


class Stale(Exception):
    """The records may have been overwritten."""


def open_connection(path):
    """To the share socket."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE_SECONDS)
    connection.connect(path)
    return connection


def ask(connection, cookie):
    """Show a cookie. @return (Answer, descriptors); raises NotShared"""
    connection.sendall(cookie)
    data, descriptors = _receive(connection)
    if len(data) < ANSWER.size:
        close_descriptors(descriptors)
        raise NotShared(None)
    *first, watch_0, watch_1, watch_max, last = ANSWER.unpack(data)
    answer = Answer(*first, (watch_0, watch_1), watch_max, last)
    if answer.code != 0:
        assert not descriptors and not any(data[4:]), f"an error with more than a code: {answer}"
        assert connection.recv(1) == b"", "the connection ends after an error"
        raise NotShared(wire.ERRORS[answer.code])
    return answer, descriptors


def _receive(connection):
    """An answer's bytes and descriptors; fewer bytes when the connection ended."""
    data, descriptors = b"", []
    try:
        while len(data) < ANSWER.size:
            part, more, _, _ = socket.recv_fds(connection, ANSWER.size - len(data),
                                               DESCRIPTORS_MAX)
            descriptors += more
            if not part:
                break
            data += part
    except ConnectionResetError:  # it ended before it had read all that we sent
        pass
    return data, descriptors


def close_descriptors(descriptors):
    """Those that ask() gave."""
    for descriptor in descriptors:
        os.close(descriptor)


def fetch(welcome):
    """Fetch and map what WELCOME offers. @return a Mapping; raises NotShared, OSError"""
    connection = open_connection(welcome["share"])
    try:
        answer, descriptors = ask(connection, welcome["cookie"])
    except NotShared:
        connection.close()
        raise
    try:
        return Mapping(connection, answer, descriptors, welcome)
    finally:
        close_descriptors(descriptors)


class Mapping:
    """Memory of the daemon's; it stays when the connection, the session or the daemon are gone."""

    def __init__(self, connection, answer, descriptors, welcome):
        self.connection, self.answer = connection, answer
        assert answer.way == welcome["way"] and answer.zero == answer.zero_too == 0, answer
        assert len(descriptors) == DESCRIPTORS[answer.way], f"{len(descriptors)} descriptors"
        for descriptor, size in zip(descriptors, (answer.bytes, LIFE_BYTES)):
            check_read_only(descriptor, size)
        self.memory = mmap.mmap(descriptors[0], answer.bytes, prot=mmap.PROT_READ)
        self.bytes = answer.bytes
        self.file = os.dup(descriptors[0]) if answer.way == wire.MAP else None
        self.life = None
        if answer.way == wire.SHM:
            assert answer.slot_count == welcome["credit"]
            assert answer.slot_bytes % wire.ALIGNMENT == 0
            assert answer.slot_bytes * answer.slot_count <= answer.bytes
            assert answer.watch == (0, 0) and answer.watch_max == 0, answer
        else:
            assert answer.slot_bytes == answer.slot_count == 0, answer
            assert all(w % 8 == 0 and w + 8 <= answer.bytes for w in answer.watch), answer
            self.life = mmap.mmap(descriptors[1], LIFE_BYTES, prot=mmap.PROT_READ)

    def read(self, fields):
        """A BATCH's records; raises Stale"""
        base = 0
        if fields["way"] == wire.SHM:
            assert fields["slot"] < self.answer.slot_count
            assert fields["bytes"] <= self.answer.slot_bytes
            base = fields["slot"] * self.answer.slot_bytes
        records = []
        for begin, end in wire.places(fields):
            if base + end > self.bytes and self.file is not None:
                self._map_again()
            assert base + end <= self.bytes, f"a record at {base}+{begin}..{end}"
            records.append(self.memory[base + begin:base + end])
        self.check()
        return records

    def _map_again(self):
        """The data set's file has grown."""
        self.bytes = os.fstat(self.file).st_size
        self.memory = mmap.mmap(self.file, self.bytes, prot=mmap.PROT_READ)

    def is_guarded(self):
        """Does the daemon live that guards the file?"""
        return bool(memoryview(self.life).cast("I")[0] & LIFE_MASK)

    def check(self):
        """All that was read so far is good, or Stale is raised."""
        if self.life is None or self.is_guarded():
            return
        words = memoryview(self.memory)[:self.answer.bytes // 8 * 8].cast("Q")
        if any(words[w // 8] > self.answer.watch_max for w in self.answer.watch):
            raise Stale(f"{[words[w // 8] for w in self.answer.watch]} above "
                        f"{self.answer.watch_max}")

    def hang_up(self):
        """Tell the daemon that we use it no more; it can be read all the same."""
        self.connection.close()

    def __del__(self):
        if getattr(self, "file", None) is not None:
            os.close(self.file)


def check_read_only(descriptor, size):
    """It has so many bytes, and can neither be written to nor mapped for that."""
    assert os.fstat(descriptor).st_size >= size > 0, f"{os.fstat(descriptor).st_size} of {size}"
    try:
        mmap.mmap(descriptor, size, prot=mmap.PROT_READ | mmap.PROT_WRITE).close()
    except OSError:
        return
    raise AssertionError("what is shared can be written to")
