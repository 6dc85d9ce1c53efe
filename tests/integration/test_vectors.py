#!/usr/bin/env python3
"""test_vectors.py - proto/vectors against a reader and writer that are not ours (second_wire.py).

The C codec has its own test of the same files. That both pass is what makes the vectors a document.
"""
import os
import re

import numpy as np

import second_wire as wire
from harness import case, main

VECTORS = os.path.join(os.environ.get("OHEM_SOURCE", "."), "proto/vectors")


def blocks(name):
    """The file's blocks: (the vector's name, its lines as (NAME, VALUE), its frames)."""
    with open(os.path.join(VECTORS, name), encoding="utf-8") as file:
        text = file.read()
    for block in text.split("\n\n"):
        lines = [line.partition(" ")[::2]
                 for line in block.splitlines() if not line.startswith("#")]
        if not lines:
            continue
        assert lines[0][0] == "vector", block
        frames = [bytes(int(value)) if kind == "zeros" else bytes.fromhex(value)
                  for kind, value in lines if kind in ("frame", "zeros")]
        rest = [(kind, value) for kind, value in lines[1:] if kind not in ("frame", "zeros")]
        yield lines[0][1], rest, frames


def token(words):
    step, tag = words
    return int(step).to_bytes(8, "little") + int(tag, 16).to_bytes(8, "little")


def stated(lines):
    """What a valid block says: the message's name and its fields, as decode() gives them."""
    texts = dict(lines)
    message = wire.BY_NAME[texts.pop("message")]
    fields = {}
    for field in message.fields:
        value = texts.pop(field.name)
        if field.name in ("key", "cookie"):
            fields[field.name] = bytes.fromhex(value)
        elif field.name == "token":
            fields[field.name] = token(value.split())
        else:
            fields[field.name] = {"integer": int, "float": float, "double": float, "text": str}[field.kind](value)
    for vector in message.vectors:
        words = texts.pop(vector.name).split()
        if vector.name == "payload":
            fields[vector.name] = bytes.fromhex("".join(words))
        elif vector.dtype == "V16":
            fields[vector.name] = [token(pair) for pair in zip(words[::2], words[1::2])]
        else:
            number = int if "u" in vector.dtype else float
            fields[vector.name] = np.array([number(word) for word in words], vector.dtype)
    assert not texts, f"no field of {message.name}: {texts}"
    return message.name, fields


def same(fields, others):
    assert fields.keys() == others.keys()
    return all(np.array_equal(value, others[name], equal_nan=True) if value_is_floats(value)
               else np.array_equal(value, others[name]) for name, value in fields.items())


def value_is_floats(value):
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def check_decodes(name, lines, frames):
    kind, fields = stated(lines)
    read_kind, read = wire.decode(frames)
    assert read_kind == kind and same(fields, read), f"{name}: {read}, not {fields}"
    return kind, fields


@case
def every_valid_vector_decodes_to_its_fields_and_encodes_to_its_bytes():
    kinds = set()
    for name, lines, frames in blocks("valid.txt"):
        kind, fields = check_decodes(name, lines, frames)
        assert wire.encode(kind, **fields) == frames, name
        kinds.add(kind)
    assert kinds == set(wire.BY_NAME), "a message without a vector"


@case
def what_a_newer_minor_or_another_writer_sends_is_read():
    count = 0
    for name, lines, frames in blocks("wider.txt"):
        kind, fields = check_decodes(name, lines, frames)
        assert wire.encode(kind, **fields) != frames, f"{name} belongs into valid.txt"
        count += 1
    assert count >= 6


@case
def every_hostile_vector_is_refused_for_its_reason():
    count = 0
    for name, lines, frames in blocks("hostile.txt"):
        expected = dict(lines)
        try:
            what = wire.decode(frames)
        except wire.Refused as refused:
            about = None if expected["type"] == "?" else expected["type"]
            got = (refused.error, refused.about)
            assert got == (expected["error"], about), f"{name}: {refused}"
        else:
            raise AssertionError(f"{name} was read: {what}")
        count += 1
    assert count >= 140


@case
def no_prefix_of_a_valid_message_is_read():
    for name, _, frames in blocks("valid.txt"):
        for number, frame in enumerate(frames):
            for size in range(len(frame)):
                cut = [*frames[:number], frame[:size], *frames[number + 1:]]
                try:
                    what = wire.decode(cut)
                except wire.Refused:
                    continue
                # a HELLO that holds less is a HELLO, and only its BATCH says how long a PART is
                assert (what[0], size % wire.KEY_BYTES) == ("HELLO", 0) and number > 0 or \
                    (what[0], number) == ("PART", 1), f"{name} {number} {size}: {what}"
        # nor one whose last frame is missing
        if len(frames) > 1:
            try:
                wire.decode(frames[:-1])
                raise AssertionError(f"{name} without its last frame was read")
            except wire.Refused:
                pass


@case
def the_examples_of_the_document_are_vectors():
    with open(os.path.join(VECTORS, "../PROTOCOL.md"), encoding="utf-8") as file:
        text = file.read()
    shown, frames = [], []
    for line in text.splitlines() + [""]:
        if re.match("    frame [0-9](  [0-9a-f]{2} |$)", line):
            frames.append(line[len("    frame 0"):])
        elif frames and line.startswith("             "):
            frames[-1] += line
        elif frames and not line.startswith("    "):
            shown.append([bytes.fromhex(frame) for frame in frames])
            frames = []
    known = [frames for _, _, frames in blocks("valid.txt")]
    assert len(shown) == len(wire.MESSAGES), f"{len(shown)} examples"
    for example in shown:
        assert example in known, [frame.hex() for frame in example]


if __name__ == "__main__":
    main(globals())
