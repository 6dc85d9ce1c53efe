"""second_wire.py - messages of ohemd to bytes and back, written from proto/PROTOCOL.md alone.

Shares nothing with proto/: the two agree because the document says the same to both. The tables
below are those of the document (section 4); one encoder and one decoder run over them. No socket.

    frames = encode("PING", key=bytes(16), nonce=42)
    name, fields = decode(frames)         # or raises Refused
"""
import math
import struct
from collections import namedtuple

import msgpack
import numpy as np

# Limits, section 2.
MESSAGE_HEADER_BYTES_MAX = 1024
MESSAGE_FIELDS_MAX = 32
MESSAGE_FRAMES_MAX = 8
MESSAGE_FRAME_BYTES_MAX = 4 << 20
MESSAGE_TRANSPORT_BYTES_MAX = 16 << 20
MESSAGE_PAYLOAD_BYTES_MAX = 1 << 30
MESSAGE_BATCH_SIZE_MAX = 65536
MESSAGE_ITEMS_MAX = 1 << 20
MESSAGE_BOXES_MAX = 65536
MESSAGE_INSTANCE_BOXES_MAX = 8192
MESSAGE_CREDIT_MAX = 64
MESSAGE_RANK_MAX = 65535
MESSAGE_ROUND_RANKS_MAX = 64
MESSAGE_NAME_BYTES_MAX = 64
MESSAGE_AGENT_BYTES_MAX = 64
MESSAGE_TEXT_BYTES_MAX = 480
MESSAGE_SHARE_BYTES_MAX = 107
MESSAGE_PARTS_MAX = 128
MESSAGE_KEPT_MAX = 65536
MESSAGE_WAY_MAX = 2
MESSAGE_WAYS_MAX = 7
MESSAGE_RECORDS_MAX = 2
MESSAGE_RULE_MAX = 5
MESSAGE_SCORE_MAX = 2
LOSS_FLAGS_ALL = 3
SELECT_NEG_RATIO_MAX = 1e6
SELECT_CDF_POWER_MAX = 64.0
SELECT_THRESHOLD_MAX = 1e30

MAJOR, MINOR = 0, 6
KEY_BYTES = 16
FLOAT32_MAX = float(np.finfo(np.float32).max)

# Errors, section 7: those that the daemon sends, in messages or over its share socket.
ERRORS = {
    1: "NOMEM", 2: "INVALID", 3: "SYSTEM", 8: "DATASET", 20: "VERSION", 21: "MALFORMED",
    22: "TOO_LARGE", 23: "NO_JOB", 24: "NO_SESSION", 25: "LIMIT", 26: "DRAINING", 40: "TOKEN",
    41: "FOREIGN", 42: "COUNT", 43: "CONFLICT", 44: "EXPIRED",
}
LATE, REPEATED, FORGOTTEN, SUPERSEDED, EARLY = 1, 2, 4, 8, 16  # SELECTION's flags
TOKENS_MAX = {"held": MESSAGE_CREDIT_MAX, "kept": MESSAGE_KEPT_MAX}  # of HELLO's vectors
POSITIVE, IGNORED = 1, 2  # LOSS's flags
BY_JOB, BY_ALL, BY_TOP, BY_THRESHOLD, BY_NEGPOS, BY_CDF = range(6)  # LOSS's select.rule
SCORE_MAX, SCORE_MEAN, SCORE_TOP = range(3)  # LOSS's items.score
SCATTERED, PACKED, ALIGNED64 = 0, 1, 2  # layouts
ALIGNMENT = 64
INLINE, SHM, MAP = 0, 1, 2  # ways, and as a set: a sum of 1 << way
NO_COOKIE = bytes(16)


class Refused(Exception):
    """What a reader does not take.

    error  MALFORMED, TOO_LARGE or VERSION
    about  the message's name, or None
    """

    def __init__(self, error, about, text):
        super().__init__(f"{error} {about}: {text}")
        self.error, self.about = error, about


# A field of the header. least and most bound an integer's value or a text's bytes; what is over
# `most` is TOO_LARGE if that is one of the named limits, else MALFORMED.
Field = namedtuple("Field", "name kind least most named")
# An element count is a field's name.
Vector = namedtuple("Vector", "name dtype count")
# The last `optional` of the vectors may be missing when they are empty.
Message = namedtuple("Message", "number name fields vectors optional", defaults=(0,))


def u32(name, least=0, most=2**32 - 1, named=None):
    return Field(name, "integer", least, named or most, named)


def u64(name, least=0, named=None):
    return Field(name, "integer", least, named or 2**64 - 1, named)


def f32(name):
    return Field(name, "float", None, None, None)


def f64(name):
    return Field(name, "double", None, None, None)


def text(name, limit):
    return Field(name, "text", 0, limit, limit)


def bin16(name):
    return Field(name, "bin16", KEY_BYTES, KEY_BYTES, None)


KEY, TOKEN = bin16("key"), bin16("token")
JOB = text("job", MESSAGE_NAME_BYTES_MAX)
COUNT = u32("count", least=1, named=MESSAGE_BATCH_SIZE_MAX)
LAYOUT, WAY = u32("layout", named=MESSAGE_RECORDS_MAX), u32("way", named=MESSAGE_WAY_MAX)
TEXT = text("text", MESSAGE_TEXT_BYTES_MAX)

MESSAGES = [
    Message(1, "HELLO",
            [u32("major"), u32("minor"), KEY, JOB, u32("rank", named=MESSAGE_RANK_MAX),
             u32("batch_size", named=MESSAGE_BATCH_SIZE_MAX),
             u32("credit", named=MESSAGE_CREDIT_MAX),
             text("agent", MESSAGE_AGENT_BYTES_MAX), LAYOUT, u32("ways", named=MESSAGE_WAYS_MAX),
             u64("memory")],
            [Vector("held", "V16", None), Vector("kept", "V16", None)]),
    Message(2, "WELCOME",
            [u32("major"), u32("minor"), u64("boot"), u64("session"), JOB,
             u64("instance_count", least=1), u64("record_bytes"), u64("record_bytes_max"),
             u64("generation"), u32("batch_size", least=1, named=MESSAGE_BATCH_SIZE_MAX),
             u32("credit", least=1, named=MESSAGE_CREDIT_MAX), u64("lease_ms"), LAYOUT, WAY,
             text("share", MESSAGE_SHARE_BYTES_MAX), bin16("cookie"),
             text("fields", MESSAGE_TEXT_BYTES_MAX), u64("memory"), u32("durable", most=1),
             u32("round", named=MESSAGE_ROUND_RANKS_MAX)], []),
    Message(3, "CREDIT", [KEY, TOKEN], []),
    Message(4, "BATCH",
            [TOKEN, u64("epoch"), COUNT, u32("coverage_count", named=MESSAGE_BATCH_SIZE_MAX),
             u64("record_bytes"), u64("lease_ms"), u64("lsn"), WAY,
             u32("slot", named=MESSAGE_CREDIT_MAX - 1),
             u64("bytes", named=MESSAGE_PAYLOAD_BYTES_MAX), u32("parts", named=MESSAGE_PARTS_MAX)],
            [Vector("ids", "<u8", "count"), Vector("probabilities", "<f4", "count"),
             Vector("weights", "<f4", "count"), Vector("offsets", "<u8", "count"),
             Vector("sizes", "<u4", "count"), Vector("payload", None, None)]),
    Message(5, "LOSS",
            [KEY, TOKEN, u64("seq", least=1), u32("count", named=MESSAGE_ITEMS_MAX),
             u32("ids.count", named=MESSAGE_BATCH_SIZE_MAX),
             u32("flags.count", named=MESSAGE_ITEMS_MAX),
             u32("select.rule", named=MESSAGE_RULE_MAX),
             u32("select.count", named=MESSAGE_ITEMS_MAX), f64("select.value"),
             u32("items.count", named=MESSAGE_BATCH_SIZE_MAX),
             u32("items.score", named=MESSAGE_SCORE_MAX),
             u32("items.top", named=MESSAGE_ITEMS_MAX), f64("items.iou"),
             u32("boxes.count", named=4 * MESSAGE_BOXES_MAX),
             u32("classes.count", named=MESSAGE_BOXES_MAX), u64("round")],
            [Vector("losses", "<f4", "count"), Vector("ids", "<u8", "ids.count"),
             Vector("flags", "u1", "flags.count"), Vector("items", "<u4", "items.count"),
             Vector("boxes", "<f4", "boxes.count"), Vector("classes", "<u4", "classes.count")],
            3),
    Message(6, "SELECTION",
            [TOKEN, u64("seq"), u64("lsn"), u32("flags"),
             u32("nonfinite_count", named=MESSAGE_ITEMS_MAX),
             u32("all.count", named=MESSAGE_ITEMS_MAX), f32("all.mean"), f32("all.min"),
             f32("all.max"), u32("kept.count", named=MESSAGE_ITEMS_MAX), f32("kept.mean"),
             f32("kept.min"), f32("kept.max"), u64("durable_seq"),
             u32("ignored_count", named=MESSAGE_ITEMS_MAX),
             u32("scores.count", named=MESSAGE_BATCH_SIZE_MAX),
             u32("share.count", named=MESSAGE_ITEMS_MAX),
             u32("share.present", named=MESSAGE_ROUND_RANKS_MAX), f32("share.scale"),
             u32("weights.count", named=MESSAGE_ITEMS_MAX)],
            [Vector("indices", "<u4", "kept.count"), Vector("weights", "<f4", "weights.count"),
             Vector("scores", "<f4", "scores.count")], 2),
    Message(7, "PING", [KEY, u64("nonce")], []),
    Message(8, "PONG", [u64("nonce"), u64("boot"), u64("durable_seq")], []),
    Message(9, "BYE", [KEY, TEXT], []),
    Message(10, "ERROR", [u32("code", least=1, most=2**31 - 1), u32("about"), TOKEN, TEXT], []),
    Message(11, "READY", [KEY, WAY], []),
    Message(12, "PART",
            [TOKEN, u64("begin"), u32("first", named=MESSAGE_BATCH_SIZE_MAX - 1), COUNT],
            [Vector("payload", None, None)]),
    Message(13, "SYNC", [KEY, u64("seq")], []),
    Message(14, "DURABLE", [u64("seq")], []),
]
# A LOSS that says no more than its losses.
PLAIN = {"flags": [], "flags.count": 0, "select.rule": BY_JOB, "select.count": 0,
         "select.value": 0.0, "items": [], "items.count": 0, "items.score": SCORE_MAX,
         "items.top": 0, "items.iou": 0.0, "boxes": [], "boxes.count": 0, "classes": [],
         "classes.count": 0, "round": 0}
BY_NAME = {message.name: message for message in MESSAGES}
BY_NUMBER = {message.number: message for message in MESSAGES}


# ---- to bytes


def header(*elements):
    """Frame 0. Floats become float32, as the document's examples have them."""
    return msgpack.packb(list(elements), use_bin_type=True, use_single_float=True)


def _header_of(message, fields):
    """As header(), but float64 where the table says so."""
    packer = msgpack.Packer(use_bin_type=True, use_single_float=True)
    elements = [packer.pack_array_header(1 + len(message.fields)), packer.pack(message.number)]
    for field in message.fields:
        value = fields[field.name]
        is_double = field.kind == "double" and type(value) is float
        elements.append(b"\xcb" + struct.pack(">d", value) if is_double else packer.pack(value))
    return b"".join(elements)


def encode(name, **fields):
    """A message's frames. Checks nothing: tests also send what is wrong."""
    message = BY_NAME[name]
    fields = {**(PLAIN if name == "LOSS" else {}), "scores": [], "scores.count": 0, **fields}
    frames = [_header_of(message, fields)]
    for vector in message.vectors:
        value = fields[vector.name]
        if vector.dtype == "V16":
            value = b"".join(value)
        is_bytes = vector.dtype in (None, "V16")
        frames.append(value if is_bytes else np.asarray(value, vector.dtype).tobytes())
    for _ in range(message.optional):
        if not frames[-1]:
            frames.pop()
    return frames


# ---- from bytes


def decode(frames):
    """@return (name, fields): the vectors, too, as NumPy arrays, and tokens as a list"""
    if len(frames) > MESSAGE_FRAMES_MAX:
        raise Refused("TOO_LARGE", None, f"{len(frames)} frames")
    elements = _elements(frames[0])
    if type(elements[0]) is not int or elements[0] not in BY_NUMBER:
        raise Refused("MALFORMED", None, f"type {elements[0]!r}")
    message = BY_NUMBER[elements[0]]
    if message.name in ("HELLO", "WELCOME"):
        _check_major(message, elements)
    fields = _fields(message, elements[1:])
    _check_frames(message, frames)
    _check_fields(message, fields)
    _read_vectors(message, fields, frames[1:])
    CHECKS.get(message.name, lambda fields: None)(fields)
    return message.name, fields


def _elements(frame):
    """The header's array: flat, and nothing behind it."""
    if len(frame) > MESSAGE_HEADER_BYTES_MAX:
        raise Refused("TOO_LARGE", None, f"a header of {len(frame)} bytes")
    if _array_count(frame) > MESSAGE_FIELDS_MAX:
        raise Refused("TOO_LARGE", None, f"{_array_count(frame)} fields")
    try:
        elements = msgpack.unpackb(frame, raw=False, unicode_errors="surrogateescape",
                                   strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise Refused("MALFORMED", None, f"header: {error!r}") from error
    plain = (int, float, str, bytes, bool, type(None))
    if not elements or not all(type(e) in plain for e in elements):
        raise Refused("MALFORMED", None, "not a flat array")
    return elements


def _array_count(frame):
    """What the array's first bytes promise, before anything is built of it."""
    if frame[:1] and 0x90 <= frame[0] <= 0x9F:
        return frame[0] & 0x0F
    if frame[:1] == b"\xdc" and len(frame) >= 3:
        return struct.unpack(">H", frame[1:3])[0]
    if frame[:1] == b"\xdd" and len(frame) >= 5:
        return struct.unpack(">I", frame[1:5])[0]
    raise Refused("MALFORMED", None, "no array")


def _check_major(message, elements):
    """The two versions stand first in every version: nothing else need be readable."""
    theirs = elements[1:3]
    for field, value in zip(message.fields, theirs):
        _read(message, field, value)
    if len(theirs) == 2 and theirs[0] != MAJOR:
        raise Refused("VERSION", message.name, f"they {theirs[0]}.{theirs[1]}, we {MAJOR}.{MINOR}")


def _fields(message, values):
    if len(values) < len(message.fields):
        raise Refused("MALFORMED", message.name, f"{message.fields[len(values)].name} is missing")
    return {field.name: _read(message, field, value)
            for field, value in zip(message.fields, values)}


def _read(message, field, value):
    wanted = {"integer": int, "float": float, "double": float, "text": str,
              "bin16": bytes}[field.kind]
    if type(value) is not wanted:  # not isinstance: a boolean is no integer
        raise Refused("MALFORMED", message.name, f"{field.name} is {value!r}")
    if field.kind == "text":
        _check_text(message, field, value)
    elif field.kind == "bin16" and len(value) != KEY_BYTES:
        raise Refused("MALFORMED", message.name, f"{field.name} has {len(value)} bytes")
    elif field.kind == "float" and math.isfinite(value) and abs(value) > FLOAT32_MAX:
        raise Refused("MALFORMED", message.name, f"{field.name} is {value}")
    elif field.kind == "integer" and not field.least <= value <= field.most:
        over = field.named and value > field.most
        raise Refused("TOO_LARGE" if over else "MALFORMED", message.name,
                      f"{field.name} is {value}")
    return float(np.float32(value)) if field.kind == "float" else value


def _check_text(message, field, value):
    size = len(value.encode("utf-8", "surrogateescape"))
    if size > field.most:
        raise Refused("TOO_LARGE", message.name, f"{field.name} has {size} bytes")
    for character in value:
        code = ord(character)
        if code < 0x20 or 0x7F <= code <= 0x9F or 0xD800 <= code <= 0xDFFF:
            raise Refused("MALFORMED", message.name, f"{field.name} has U+{code:04X}")


def _check_frames(message, frames):
    if len(frames) - 1 < len(message.vectors) - message.optional:
        name = message.vectors[len(frames) - 1].name
        raise Refused("MALFORMED", message.name, f"the frame of {name} is missing")
    for number, frame in enumerate(frames):
        vector = message.vectors[number - 1].name if 0 < number <= len(message.vectors) else None
        is_payload = vector == "payload"
        limit = MESSAGE_PAYLOAD_BYTES_MAX if is_payload else MESSAGE_FRAME_BYTES_MAX
        if len(frame) > limit:
            raise Refused("TOO_LARGE", message.name, f"frame {number} has {len(frame)} bytes")


def _check_fields(message, fields):
    """Fields that limit each other; before the vectors, whose counts they are."""
    if message.name == "BATCH":
        _check_way(fields)
    if message.name == "SELECTION":
        if fields["kept.count"] > fields["all.count"]:
            raise Refused("MALFORMED", "SELECTION", "more kept than there are")
        if fields["weights.count"] not in (0, fields["kept.count"]):
            raise Refused("MALFORMED", "SELECTION", "weights for some of the kept")
        if fields["share.count"] < fields["kept.count"]:
            raise Refused("MALFORMED", "SELECTION", "fewer in the round than of this rank")
        most = MESSAGE_ITEMS_MAX if fields["scores.count"] else MESSAGE_BATCH_SIZE_MAX
        if batch_size(fields) > most:
            raise Refused("TOO_LARGE", "SELECTION", "more losses than any report has")


def _read_vectors(message, fields, frames):
    missing = [b""] * (len(message.vectors) - len(frames))
    for vector, frame in zip(message.vectors, [*frames, *missing]):
        if vector.dtype is None:
            fields[vector.name] = frame
        elif vector.dtype == "V16":
            fields[vector.name] = _tokens(message, vector.name, frame)
        else:
            count, dtype = fields[vector.count], np.dtype(vector.dtype)
            if len(frame) != count * dtype.itemsize:
                raise Refused("MALFORMED", message.name,
                              f"{vector.name} has {len(frame)} bytes, not {count} elements")
            fields[vector.name] = np.frombuffer(frame, dtype)


def _tokens(message, name, frame):
    if len(frame) % KEY_BYTES != 0:
        raise Refused("MALFORMED", message.name, f"{name} has {len(frame)} bytes")
    if len(frame) > TOKENS_MAX[name] * KEY_BYTES:
        raise Refused("TOO_LARGE", message.name, f"{name} has {len(frame)} bytes")
    return [frame[i:i + KEY_BYTES] for i in range(0, len(frame), KEY_BYTES)]


def _check_way(fields):
    """What a BATCH may say that comes by this way."""
    way, slot, parts = fields["way"], fields["slot"], fields["parts"]
    wrong = None
    if fields["coverage_count"] > fields["count"]:
        wrong = "more coverage slots than slots"
    elif slot and way != SHM:
        wrong = f"slot {slot} of no ring"
    elif fields["bytes"] and way == MAP:
        wrong = f"a block of {fields['bytes']} bytes in the file"
    elif parts and (way != INLINE or parts > fields["count"]):
        wrong = f"{parts} parts of {fields['count']} records by way {way}"
    if wrong:
        raise Refused("MALFORMED", "BATCH", wrong)


def places(fields):
    """Where each record of a BATCH begins and ends, as (begin, end): Python's integers, which do
    not wrap."""
    return [(int(offset), int(offset) + int(size))
            for offset, size in zip(fields["offsets"], fields["sizes"])]


def _check_batch(fields):
    in_payload = fields["bytes"] if fields["way"] == INLINE and not fields["parts"] else 0
    if len(fields["payload"]) != in_payload:
        raise Refused("MALFORMED", "BATCH",
                      f"a payload of {len(fields['payload'])} bytes, not {in_payload}")
    if fields["record_bytes"] and any(size != fields["record_bytes"] for size in fields["sizes"]):
        raise Refused("MALFORMED", "BATCH", f"records not of {fields['record_bytes']} bytes")
    before = 0
    for begin, end in places(fields) if fields["way"] != MAP else []:
        if begin < before or end > fields["bytes"]:
            raise Refused("MALFORMED", "BATCH",
                          f"a record at {begin}..{end}, not in {before}..{fields['bytes']}")
        before = end


def batch_size(fields):
    """The losses of the report, as a SELECTION says it."""
    return fields["all.count"] + fields["nonfinite_count"] + fields["ignored_count"]


def _check_selection(fields):
    indices = [int(index) for index in fields["indices"]]
    if any(after <= before for before, after in zip(indices, indices[1:])):
        raise Refused("MALFORMED", "SELECTION", "indices do not rise")
    if indices and indices[-1] >= batch_size(fields):
        raise Refused("MALFORMED", "SELECTION", "an index beyond the batch")


def _check_loss(fields):
    count, k = fields["count"], fields["items.count"] or fields["count"]
    if not fields["items.count"] and not 1 <= count <= MESSAGE_BATCH_SIZE_MAX:
        raise Refused("TOO_LARGE" if count else "MALFORMED", "LOSS", f"{count} losses")
    for beside, wanted in (("ids", k), ("flags", count)):
        if fields[f"{beside}.count"] not in (0, wanted):
            raise Refused("MALFORMED", "LOSS",
                          f"{fields[f'{beside}.count']} {beside}, not {wanted}")
    if any(flags > LOSS_FLAGS_ALL for flags in fields["flags"]):
        raise Refused("MALFORMED", "LOSS", "a flag that does not exist")
    _check_select(fields["select.rule"], fields["select.count"], fields["select.value"])
    _check_items(fields)


def _check_items(fields):
    score, top, iou = fields["items.score"], fields["items.top"], fields["items.iou"]
    count = fields["count"]
    wrong = None
    if not fields["items.count"]:
        if score or top or iou or fields["boxes.count"] or fields["classes.count"]:
            raise Refused("MALFORMED", "LOSS", "items of a report that is not ragged")
        return
    if (top > 0) != (score == SCORE_TOP):
        wrong = f"score {score} with top {top}"
    elif not 0 <= iou <= 1:
        wrong = f"iou {iou}"
    elif fields["boxes.count"] != (4 * count if iou > 0 else 0):
        wrong = f"{fields['boxes.count']} numbers of boxes for {count} items"
    elif fields["classes.count"] not in ((0, count) if iou > 0 else (0,)):
        wrong = f"{fields['classes.count']} classes for {count} items"
    if wrong:
        raise Refused("MALFORMED", "LOSS", wrong)
    if iou > 0 and max(fields["items"]) > MESSAGE_INSTANCE_BOXES_MAX:
        raise Refused("TOO_LARGE", "LOSS", f"{max(fields['items'])} boxes of an instance")
    if int(fields["items"].sum(dtype=np.uint64)) != count:
        raise Refused("MALFORMED", "LOSS", f"items that are not {count}")


def _check_select(rule, count, value):
    if count > 0 and rule not in (BY_TOP, BY_THRESHOLD, BY_NEGPOS):
        raise Refused("MALFORMED", "LOSS", f"a count for rule {rule}")
    fits = {BY_JOB: value == 0,
            BY_ALL: value == 0,
            BY_TOP: value == 0 if count > 0 else 0 < value <= 1,
            BY_THRESHOLD: abs(value) <= SELECT_THRESHOLD_MAX,
            BY_NEGPOS: 0 < value <= SELECT_NEG_RATIO_MAX,
            BY_CDF: 0 <= value <= SELECT_CDF_POWER_MAX}
    if not fits[rule]:
        raise Refused("MALFORMED", "LOSS", f"rule {rule} with {value}")


CHECKS = {"BATCH": _check_batch, "LOSS": _check_loss, "SELECTION": _check_selection}
