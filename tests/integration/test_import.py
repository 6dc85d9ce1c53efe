#!/usr/bin/env python3
"""test_import.py - ohem-import from the outside: tiny sources in, what LMDB then holds out.

Sources are made here by other programs' code (NumPy, tarfile, gzip), and read back by py-lmdb, so
nothing of the tool checks itself. Where a moment matters (kill, second import) the source is a pipe:
the tool is then where the test wants it, without a clock.
"""
import bz2
import gzip
import io
import lzma
import os
import pathlib
import random
import resource
import select
import signal
import struct
import subprocess
import tarfile

import lmdb
import msgpack
import numpy as np

from harness import DEADLINE_SECONDS, case, main, skip, wait_for
from ohemd import make_dataset, program

FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


def run(*arguments):
    """The tool to its end. @return the finished process, its output as text."""
    return subprocess.run([program("ohem-import"), *map(str, arguments)], text=True, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=DEADLINE_SECONDS)


def good(*arguments):
    """A run that must succeed. @return its closing line."""
    done = run(*arguments)
    assert done.returncode == 0, f"{arguments}: {done.returncode}: {done.stderr}"
    assert done.stdout.count("\n") == 1, f"not one closing line: {done.stdout!r}"
    return done.stdout


def bad(*arguments, code=1, says=()):
    """A run that must fail with one clear line, and leave nothing."""
    before = set(os.listdir())
    done = run(*arguments)
    assert done.returncode == code, f"{arguments}: {done.returncode}: {done.stdout}{done.stderr}"
    assert done.stderr.count("\n") == 1, f"not one line: {done.stderr!r}"
    for text in says:
        assert text in done.stderr, f"{text!r} is not in {done.stderr!r}"
    assert set(os.listdir()) == before, f"left behind: {set(os.listdir()) - before}"


def content(path):
    """All of a data set: [(key, record)] in key order."""
    with lmdb.open(os.fspath(path), readonly=True, lock=False) as environment:
        with environment.begin() as transaction:
            return list(transaction.cursor())


def labels_of(path):
    return np.array([record[0] for _, record in content(path)])


def ordinal(i):
    return b"%08d" % i


def idx(array, kind=0x08):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(count=50, classes=10, shape=(4, 5), seed=7, pack=gzip.compress, labels=None):
    """images and labels in the present folder. @return the arrays."""
    chance = np.random.default_rng(seed)
    images = chance.integers(0, 256, (count, *shape), np.uint8)
    if labels is None:
        labels = chance.integers(0, classes, count, np.uint8)
    pathlib.Path("images").write_bytes(pack(idx(images)))
    pathlib.Path("labels").write_bytes(pack(idx(np.asarray(labels, np.uint8))))
    return images, np.asarray(labels, np.uint8)


def plain(data):
    return data


def expected_idx(images, labels):
    return [(ordinal(i), bytes([label]) + image.tobytes())
            for i, (image, label) in enumerate(zip(images, labels, strict=True))]


# ---- each format, bit for bit ----

@case
def idx_records_are_the_label_and_the_pixels():
    for pack in (gzip.compress, plain):
        images, labels = write_idx(pack=pack)
        line = good("idx", "images", "labels", f"out-{pack.__name__}")
        assert content(f"out-{pack.__name__}") == expected_idx(images, labels)
        assert line.startswith("50 instances, 1050 bytes in ")
    assert sorted(os.listdir("out-plain")) == ["data.mdb"]


@case
def idx_elements_wider_than_a_byte_are_copied_as_they_are():
    values = np.arange(12, dtype=">f4").reshape(4, 3)
    pathlib.Path("images").write_bytes(idx(values, 0x0d))
    pathlib.Path("labels").write_bytes(idx(np.array([3, 1, 2, 0], np.uint8)))
    good("idx", "images", "labels", "out")
    assert content("out") == expected_idx(values, [3, 1, 2, 0])


@case
def folder_records_are_the_files():
    files = {"cat/1.jpg": b"meow", "cat/deep/er/2.jpg": b"", "ape/x y.png": os.urandom(200_000),
             "ape-b/z": b"\0", "dog/a": b"w"}
    others = {"README": b"no", ".git/x/y": b"no", "cat/.hidden": b"no", "cat/.d/x": b"no"}
    for name, data in {**files, **others}.items():
        path = pathlib.Path("root", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    good("folder", "root//", "out")
    assert dict(content("out")) == {name.encode(): data for name, data in files.items()}
    good("folder", "root", "labelled", "--label-byte")
    order = sorted(["ape", "ape-b", "cat", "dog"])
    assert dict(content("labelled")) == {
        name.encode(): bytes([order.index(name.split("/")[0])]) + data for name, data in files.items()}


@case
def folder_with_a_circle_or_a_dead_link_is_refused_by_name():
    pathlib.Path("root/a").mkdir(parents=True)
    pathlib.Path("root/a/file").write_bytes(b"x")
    link = pathlib.Path("root/a/link")
    link.symlink_to("..")
    bad("folder", "root", "out", says=["root/a/link", "holds itself"])
    link.unlink()
    link.symlink_to("nowhere")
    bad("folder", "root", "out", says=["root/a/link", "a link to nothing"])
    bad("folder", "nothere", "out", says=["nothere: No such file"])
    bad("folder", "root/a/file", "out", says=["root/a/file: not a folder"])


def tar_bytes(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            if data is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


SHARDS = [
    [("./", None), ("./s/001.jpg", b"one" * 50_000), ("./s/001.seg.png", b""), ("./s/001.cls", b"7\n"),
     ("./s/README", b"no sample"), ("./s/.hidden", b"neither"), ("./s/002.cls", b"300"),
     ("./s/002.jpg", b"two")],
    [("s/003.jpg", b"three"), ("s/003.cls", b"0"), (f"{'long' * 40}/\u00e9.jpg", b"far"),
     (f"{'long' * 40}/\u00e9.cls", b"1")],
]
SAMPLES = {
    b"s/001": {"jpg": b"one" * 50_000, "seg.png": b"", "cls": b"7\n"},
    b"s/002": {"cls": b"300", "jpg": b"two"},
    b"s/003": {"jpg": b"three", "cls": b"0"},
    f"{'long' * 40}/\u00e9".encode(): {"jpg": b"far", "cls": b"1"},
}


@case
def tar_records_are_the_members_of_each_sample():
    for pack, name in ((plain, "tar"), (gzip.compress, "tar.gz"), (bz2.compress, "tar.bz2"),
                       (lzma.compress, "tar.xz")):
        shards = [f"shard-{i}.{name}" for i in range(2)]
        for shard, members in zip(shards, SHARDS, strict=True):
            pathlib.Path(shard).write_bytes(pack(tar_bytes(members)))
        good("tar", f"out-{name}", *shards)
        records = dict(content(f"out-{name}"))
        assert {key: msgpack.unpackb(record) for key, record in records.items()} == SAMPLES
        assert [list(msgpack.unpackb(r)) for r in records.values()] == [
            list(SAMPLES[key]) for key in records], "the members' order"


@case
def tar_member_gives_just_its_bytes():
    for i, members in enumerate(SHARDS):
        pathlib.Path(f"{i}.tar").write_bytes(tar_bytes(members))
    line = good("tar", "out", "0.tar", "1.tar", "--member", "jpg")
    assert dict(content("out")) == {key: sample["jpg"] for key, sample in SAMPLES.items()}
    assert "0:1 1:1 7:1 300:1" in line
    bad("tar", "other", "0.tar", "1.tar", "--member", "seg.png",
        says=["0.tar: sample 's/002' has no member 'seg.png'"])
    bad("tar", "other", "0.tar", "--label-byte", says=["'s/002' has label 300", "0 to 255"])
    good("tar", "one", "1.tar", "--member", "jpg", "--label-byte")
    assert dict(content("one"))[b"s/003"] == b"\0three"


@case
def tar_that_is_broken_is_refused_with_shard_and_place():
    whole = tar_bytes(SHARDS[0])
    pathlib.Path("cut.tar").write_bytes(whole[:50_000])
    bad("tar", "out", "cut.tar", says=["cut.tar: offset 512:", "runcated"])
    pathlib.Path("cut.tar.gz").write_bytes(gzip.compress(whole)[:-300])
    bad("tar", "out", "cut.tar.gz", says=["cut.tar.gz: offset"])
    pathlib.Path("noise.tar").write_bytes(b"\1\2\3" * 1000)
    bad("tar", "out", "noise.tar", says=["noise.tar: offset"])
    pathlib.Path("twice.tar").write_bytes(tar_bytes([("a.x", b"1"), ("a.x", b"2")]))
    bad("tar", "out", "twice.tar", says=["sample 'a' has two members 'x'"])
    pathlib.Path("many.tar").write_bytes(tar_bytes([(f"a.{i}", b"") for i in range(65)]))
    bad("tar", "out", "many.tar", says=["sample 'a' has more than 64 members"])
    pathlib.Path("word.tar").write_bytes(tar_bytes([("a.cls", b"seven")]))
    bad("tar", "out", "word.tar", says=["sample 'a'", "holds no number from 0 to 65535"])
    pathlib.Path("bare.tar").write_bytes(tar_bytes([("a.jpg", b"1")]))
    bad("tar", "out", "bare.tar", "--label-byte", says=["a has no label", "member 'cls'"])
    pathlib.Path("again.tar").write_bytes(tar_bytes([("a.x", b"1"), ("b.x", b"2"), ("a.y", b"3")]))
    bad("tar", "out", "again.tar", says=["key 'a' comes twice"])


@case
def npy_records_are_the_rows():
    chance = np.random.default_rng(3)
    for name, array in {"f": chance.normal(size=(7, 2, 3)).astype("<f4"), "i": np.arange(5, dtype=">i8"),
                        "u": np.array(["ab", "c\u00e9"]), "c": np.ones((2, 3), "complex128")}.items():
        np.save(f"{name}.npy", array)
        good("npy", f"{name}.npy", f"out-{name}")
        assert content(f"out-{name}") == [
            (ordinal(i), array[i:i + 1].tobytes()) for i in range(len(array))]
    for version in ((2, 0), (3, 0)):
        with open("v.npy", "wb") as file:
            np.lib.format.write_array(file, np.eye(3), version)
        good("npy", "v.npy", f"out-v{version[0]}")
        assert content(f"out-v{version[0]}") == [(ordinal(i), r.tobytes()) for i, r in enumerate(np.eye(3))]


@case
def npy_labels_of_any_integer_type_become_the_label_byte():
    np.save("data.npy", np.arange(12, dtype=np.int16).reshape(4, 3))
    for kind in ("|u1", "<i2", ">i4", "<u8", ">i8"):
        np.save("labels.npy", np.array([0, 9, 77, 127]).astype(kind))
        name = "out-" + kind.strip("<>|") + ("b" if ">" in kind else "l")
        good("npy", "data.npy", "labels.npy", name, "--label-byte")
        assert list(labels_of(name)) == [0, 9, 77, 127]
        assert [record[1:] for _, record in content(name)] == [
            row.tobytes() for row in np.load("data.npy")]
    np.save("labels.npy", np.array([0, 1, -1, 2], "<i8"))
    bad("npy", "data.npy", "labels.npy", "out", says=["labels.npy: offset 144: label 0xffffffffffffffff"])
    np.save("labels.npy", np.array([-1, 1, 1, 2], "i1"))
    bad("npy", "data.npy", "labels.npy", "out", says=["labels.npy: offset 128: label 0xff"])
    np.save("labels.npy", np.zeros(4))
    bad("npy", "data.npy", "labels.npy", "out", says=["not labels", "kind 'f'"])
    np.save("labels.npy", np.zeros(3, int))
    bad("npy", "data.npy", "labels.npy", "out", says=["has 3 labels", "has 4 rows"])


def npy_with(header, body=b""):
    header = header.encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + body


@case
def npy_headers_that_lie_are_refused():
    def head(descr="'<f4'", order="False", shape="(2, 3)"):
        return "{'descr': %s, 'fortran_order': %s, 'shape': %s, }\n" % (descr, order, shape)

    whole = npy_with(head(), bytes(24))
    pathlib.Path("whole.npy").write_bytes(whole)
    good("npy", "whole.npy", "out")
    for data, says in (
            (whole[:-1], ["its header claims", "2 rows of 12"]), (whole + b"x", ["its header claims"]),
            (b"PK\3\4" + whole, ["offset 0: no .npy magic"]), (whole[:9], ["it ends there"]),
            (whole[:30], ["it ends there"]), (b"\x93NUMPY\7\0" + bytes(20), ["offset 6: version 7"]),
            (b"\x93NUMPY\2\0\xff\xff\xff\xff", ["4294967295 bytes; at most 65536"]),
            (npy_with(head(descr="'|O'")), ["type '|O'"]),
            (npy_with(head(descr="[('a', '<f4')]")), ["no simple type"]),
            (npy_with(head(order="True")), ["Fortran order"]), (npy_with(head(shape="()")), ["'shape'"]),
            (npy_with(head(shape="(2, 0)")), ["records of 0 bytes"]),
            (npy_with(head(shape="(-2, 3)")), ["'shape'"]), (npy_with("{}"), ["'descr'"]),
            (npy_with(head(shape="(2, 99999999999999999999999)")), ["over the limits"]),
            (npy_with(head(shape="(2, 4294967296, 4294967296)")), ["at most 1073741824"]),
            (npy_with(head(shape="(2, 65536, 65536, 65536, 65536, 65536)")), ["at most 1073741824"]),
            (npy_with(head(shape="(4294967296,)")), ["4294967296 instances; at most 4294967295"]),
            (npy_with(head(descr="'|S99999999999999999999'")), ["at most 1073741824"])):
        pathlib.Path("lie.npy").write_bytes(data)
        bad("npy", "lie.npy", "other", says=["lie.npy: ", *says])


@case
def lmdb_keys_and_values_stay_the_same():
    keys = sorted(random.Random(5).randbytes(n % 90 + 1) + b"%d" % n for n in range(2000))
    records = [key * (n % 40) for n, key in enumerate(keys)]
    make_dataset("source", records, keys)
    good("lmdb", "source", "out")
    assert content("out") == list(zip(keys, records, strict=True))
    good("lmdb", "source/data.mdb", "file", "--limit", 10)
    assert content("file") == list(zip(keys, records, strict=True))[:10]


@case
def lmdb_named_databases_are_asked_for_by_name():
    with lmdb.open("source", max_dbs=3) as environment:
        for name in (b"train", b"several"):
            database = environment.open_db(name, dupsort=name == b"several")
            with environment.begin(write=True, db=database) as transaction:
                transaction.put(b"k", b"value of " + name)
    good("lmdb", "source", "out", "--database", "train")
    assert content("out") == [(b"k", b"value of train")]
    bad("lmdb", "source", "other", says=["is a named database", "--database"])
    bad("lmdb", "source", "other", "--database", "nope", says=["source: nope: ", "database of that name"])
    bad("lmdb", "source", "other", "--database", "several", says=["several values per key"])


@case
def lmdb_that_is_cut_short_or_none_is_refused():
    make_dataset("source", [bytes(3000)] * 100)
    data = pathlib.Path("source/data.mdb")
    data.write_bytes(data.read_bytes()[:100_000])
    bad("lmdb", "source", "out", says=["source: cut short: 100000 bytes"])
    data.write_bytes(b"no data set" * 1000)
    bad("lmdb", "source", "out", says=["source: MDB_INVALID"])
    make_dataset("empty", [b""])
    bad("lmdb", "empty", "out", "--label-byte", says=["instance 0 is empty: no label byte"])
    make_dataset("nothing", [])
    bad("lmdb", "nothing", "out", says=["nothing: no instance"])


# ---- hostile IDX ----

@case
def idx_files_that_are_cut_or_lie_are_refused():
    write_idx()
    image_bytes = pathlib.Path("images").read_bytes()
    raw = gzip.decompress(image_bytes)
    for data, says in (
            (image_bytes[:-200], ["images: offset ", "it ends there"]),
            (image_bytes[:-4], ["images: offset ", "it ends there"]),
            (image_bytes[:-8] + b"\0" * 8, ["images: offset ", "incorrect data check"]),
            (raw[:-1], ["offset 1015: it ends there", "claims 50 x 20 bytes"]),
            (raw + b"x", ["offset 1016: goes on behind"]), (raw[:10], ["offset 10: ends within the 3"]),
            (b"", ["offset 0: no IDX header"]), (b"\x89PNG" + raw, ["89 50 4e 47 is no IDX magic"]),
            (b"\0\0\x0a" + raw[3:], ["00 00 0a 03 is no IDX magic"]),
            (b"\0\0\x08\x09" + raw, ["offset 3: 9 dimensions; at most 8"]),
            (b"\0\0\x08\x03\0\0\0\x33" + raw[8:], ["has 50 labels", "images has 51 instances"]),
            (raw[:8] + b"\xff" * 8 + raw[16:], ["at most 1073741824"]),
            (b"\0\0\x0e\x08" + b"\xff" * 32, ["at most 1073741824"]),
            (raw[:8] + bytes(8) + raw[16:], ["records of 0 bytes"])):
        pathlib.Path("images").write_bytes(data)
        bad("idx", "images", "labels", "out", says=["images", *says])
    pathlib.Path("images").write_bytes(image_bytes)
    bad("idx", "images", "images", "out", says=["not labels"])
    bad("idx", "images", "nolabels", "out", says=["nolabels: No such file"])


# ---- filters ----

def skewed(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(1).permutation(labels)


@case
def long_tail_keeps_the_counts_of_the_formula():
    write_idx(1000, labels=skewed([300, 300, 300, 40, 60]))
    line = good("idx", "images", "labels", "out", "--longtail", 100)
    formula = [int(300 * 100 ** (-c / 4) + 1e-6) for c in range(5)]
    expected = [min(f, n) for f, n in zip(formula, [300, 300, 300, 40, 60], strict=True)]
    assert expected == [300, 94, 30, 9, 3]
    assert list(np.bincount(labels_of("out"))) == expected
    assert "; class:count 0:300 1:94 2:30 3:9 4:3\n" in line
    good("idx", "images", "labels", "whole", "--longtail", 1)
    assert list(np.bincount(labels_of("whole"))) == [300, 300, 300, 40, 60]


@case
def positives_make_up_the_share_and_the_rest_keeps_its_bytes():
    images, labels = write_idx(1000, labels=skewed([500, 400, 100]))
    source = dict(expected_idx(images, labels))
    good("idx", "images", "labels", "out", "--positive", 2, "--share", 0.01)
    out = content("out")
    assert list(np.bincount(labels_of("out"))) == [900, 9]
    assert all(record[1:] == source[key][1:] for key, record in out)
    assert all(record[0] == (source[key][0] == 2) for key, record in out)
    good("idx", "images", "labels", "natural", "--positive", 2)
    assert list(labels_of("natural")) == list((labels == 2).astype(int))
    bad("idx", "images", "labels", "other", "--positive", 2, "--share", 0.5,
        says=["needs 900 positives", "there are 100"])
    bad("idx", "images", "labels", "other", "--positive", 7, says=["--positive 7: no instance"])


def read_noise(path):
    lines = pathlib.Path(path, "noise.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "key\told\tnew"
    return {key.encode(): (int(old), int(new)) for key, old, new in (x.split("\t") for x in lines[1:])}


@case
def noise_flips_exactly_its_share_and_says_which():
    _, labels = write_idx(2000, classes=5)
    line = good("idx", "images", "labels", "out", "--noise", 0.1)
    noise = read_noise("out")
    assert len(noise) == 200 and "; 200 labels flipped;" in line
    for i, (key, record) in enumerate(content("out")):
        old, new = noise.get(key, (labels[i], labels[i]))
        assert old == labels[i] and record[0] == new
        assert (key in noise) == (old != new)
    pairs = np.bincount([5 * old + new for old, new in noise.values()], minlength=25).reshape(5, 5)
    off = pairs[~np.eye(5, dtype=bool)]
    assert ((off - 10) ** 2 / 10).sum() < 43.8, "chi-square, 19 degrees of freedom, p = 0.001"
    good("idx", "images", "labels", "all", "--noise", 1)
    assert (labels_of("all") != labels).all()
    write_idx(10, classes=1)
    bad("idx", "images", "labels", "other", "--noise", 0.5, says=["one class only"])


@case
def noise_comes_after_the_other_filters_and_does_not_change_their_choice():
    write_idx(3000, labels=skewed([1500, 1400, 100]))
    filters = ("--limit", 2500, "--positive", 2, "--share", 0.02)
    good("idx", "images", "labels", "clean", *filters)
    good("idx", "images", "labels", "noisy", *filters, "--noise", 0.05)
    noise = read_noise("noisy")
    clean, noisy = content("clean"), dict(content("noisy"))
    assert [key for key, _ in clean] == list(noisy)
    assert len(noise) == round(0.05 * len(clean))
    assert all(noise.get(key, (0, record[0]))[1] == noisy[key][0] for key, record in clean)
    assert all(old == dict(clean)[key][0] for key, (old, _) in noise.items())
    assert max(noisy) < ordinal(2500)


@case
def the_same_seed_gives_the_same_data_set_and_another_seed_another():
    write_idx(1000)
    filters = ("--longtail", 10, "--noise", 0.2)
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        good("idx", "images", "labels", name, *filters, "--seed", seed)
    assert content("one") == content("two") and read_noise("one") == read_noise("two")
    assert pathlib.Path("one/data.mdb").read_bytes() == pathlib.Path("two/data.mdb").read_bytes()
    assert [k for k, _ in content("one")] != [k for k, _ in content("three")]
    assert set(read_noise("one")) != set(read_noise("three"))


@case
def filters_work_for_every_format_that_has_labels():
    keys = [b"k%03d" % i for i in range(100)]
    make_dataset("source", [bytes([i % 4]) + key for i, key in enumerate(keys)], keys)
    good("lmdb", "source", "from-lmdb", "--label-byte", "--positive", 3)
    assert [r for _, r in content("from-lmdb")] == [
        bytes([i % 4 == 3]) + key for i, key in enumerate(keys)]
    members = [m for i in range(40) for m in ((f"{i:03}.x", b"%d" % i), (f"{i:03}.cls", b"%d" % (i % 4)))]
    pathlib.Path("s.tar").write_bytes(tar_bytes(members))
    good("tar", "from-tar", "s.tar", "--member", "x", "--label-byte", "--positive", 1)
    assert [r for _, r in content("from-tar")] == [bytes([i % 4 == 1]) + b"%d" % i for i in range(40)]
    for i in range(40):
        path = pathlib.Path(f"root/{i % 4}/{i}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % i)
    good("folder", "root", "from-folder", "--longtail", 10)
    names = [key.split(b"/")[0] for key, _ in content("from-folder")]
    assert [names.count(b"%d" % c) for c in range(4)] == [10, 4, 2, 1]


# ---- usage ----

@case
def wrong_usage_is_one_line_and_exit_code_2():
    write_idx()
    np.save("data.npy", np.eye(3))
    idx_run = ("idx", "images", "labels", "out")
    bad(code=2, says=["idx, folder, tar, npy or lmdb"])
    bad("zip", "a", "b", code=2, says=["'zip' is no format"])
    bad("idx", "images", "out", code=2, says=["ohem-import idx IMAGES LABELS TARGET"])
    bad(*idx_run, "more", code=2, says=["4 arguments"])
    bad(*idx_run, "--nope", code=2, says=["'--nope'"])
    bad(*idx_run, "--limit", code=2, says=["'--limit': needs a value"])
    for option, value in (("limit", "0"), ("limit", "-3"), ("limit", "4294967296"), ("limit", "3x"),
                          ("longtail", "0.5"), ("longtail", "nan"), ("noise", "1.1"), ("noise", "-0.1"),
                          ("positive", "shirt"), ("positive", "65536"), ("share", "1"),
                          ("seed", "18446744073709551616"), ("seed", "")):
        bad(*idx_run, f"--{option}", value, code=2, says=[f"--{option} '{value}': a ", "is needed"])
    bad(*idx_run, "--share", "0.1", code=2, says=["--share needs --positive"])
    bad(*idx_run, "--member", "x", code=2, says=["--member is for tar only"])
    bad(*idx_run, "--database", "x", code=2, says=["--database is for lmdb only"])
    bad("npy", "data.npy", "out", "--noise", "0.1", code=2, says=["--noise rewrites", "--label-byte"])
    bad("folder", ".", "out", "--positive", "1", code=2, says=["--positive rewrites"])
    bad("npy", "data.npy", "out", "--longtail", "10", says=["has no label", "LABELS array"])
    bad("lmdb", "nothere", "out", "--longtail", "10", says=["nothere: No such file"])
    help_text = run("--help")
    assert help_text.returncode == 0 and "--longtail F" in help_text.stdout
    assert run("--version").stdout.startswith("ohem-import ")


@case
def a_target_that_exists_is_never_touched():
    write_idx()
    pathlib.Path("folder").mkdir()
    pathlib.Path("file").write_text("precious", encoding="utf-8")
    pathlib.Path("link").symlink_to("nowhere")
    for target in ("folder", "folder/", "file", "link", ".", "/"):
        shown = target.rstrip("/") or "/"
        bad("idx", "images", "labels", target, says=[f"target '{shown}' exists"])
    assert os.listdir("folder") == []
    bad("idx", "images", "labels", "no/such/out", says=["No such file"])
    pathlib.Path("out.importing").mkdir()
    pathlib.Path("out.importing/diary").write_text("precious", encoding="utf-8")
    bad("idx", "images", "labels", "out", says=["'out.importing', left by a dead import, cannot be removed"])
    assert pathlib.Path("out.importing/diary").exists()


@case
def keys_and_records_of_any_allowed_size_fit():
    deep = "d" * 200
    path = pathlib.Path("root", "c", deep, deep)
    path.mkdir(parents=True)
    (path / ("f" * 107)).write_bytes(os.urandom(70_000_000))
    pathlib.Path("root/c/small").write_bytes(b"s")
    good("folder", "root", "out")
    assert [len(key) for key, _ in content("out")] == [511, 7]
    assert len(content("out")[0][1]) == 70_000_000
    (path / ("f" * 108)).write_bytes(b"")
    bad("folder", "root", "other", says=["has 512 bytes; 1 to 511 are allowed"])


@case
def records_that_come_in_any_order_are_all_there():
    order = random.Random(2).sample(range(5000), 5000)
    members = [(f"{i:05}.x", b"%d" % i * (i % 400)) for i in order]
    pathlib.Path("s.tar").write_bytes(tar_bytes(members))
    good("tar", "out", "s.tar", "--member", "x")
    assert content("out") == [(b"%05d" % i, b"%d" % i * (i % 400)) for i in range(5000)]


# ---- moments ----

class Piped:
    """An import that reads its images from a pipe, as far as the test has fed it."""

    def __init__(self, count=20_000):
        self.images, self.labels = write_idx(count, shape=(28, 28), pack=plain)
        self.bytes = idx(self.images)
        os.mkfifo("pipe")
        self.process = subprocess.Popen([program("ohem-import"), "idx", "pipe", "labels", "out"],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.pipe = open("pipe", "wb", buffering=0)

    def feed(self, start, end):
        """Returns when the tool has read all of it but what the pipe itself holds."""
        view = memoryview(self.bytes)[start:end]
        while len(view) > 0:
            view = view[self.pipe.write(view[:1 << 16]):]

    def end(self, number):
        """Send a signal and close. @return (exit code, what it said)."""
        self.process.send_signal(number)
        if number != signal.SIGKILL:
            self.pipe.close()
        _, said = self.process.communicate(timeout=DEADLINE_SECONDS)
        self.pipe.close()
        os.unlink("pipe")
        return self.process.returncode, said


@case
def killed_at_any_moment_it_leaves_no_data_set_and_the_next_one_clears_up():
    chance = random.Random(11)
    for _ in range(6):
        piped = Piped()
        piped.feed(0, chance.randrange(200_000, len(piped.bytes)))
        assert piped.end(signal.SIGKILL)[0] == -signal.SIGKILL
        assert not os.path.lexists("out")
        assert os.listdir("out.importing"), "killed before it began?"
    done = run("idx", "images", "labels", "out")
    assert done.returncode == 0 and "removed what a dead import into 'out' had left" in done.stderr
    assert content("out") == expected_idx(piped.images, piped.labels)
    assert not os.path.lexists("out.importing")


@case
def killed_near_its_end_the_target_is_whole_or_absent():
    images, labels = write_idx(20_000, shape=(28, 28), pack=plain)
    expected = expected_idx(images, labels)
    chance, outcomes = random.Random(12), set()
    for i in range(8):
        limit = chance.uniform(0.8, 1.03) * len(expected) * 820
        process = subprocess.Popen([program("ohem-import"), "idx", "images", "labels", f"out{i}"],
                                   stdout=subprocess.DEVNULL)
        data = f"out{i}.importing/data.mdb"
        while process.poll() is None and not (os.path.exists(data) and size_of(data) > limit):
            pass
        process.kill()
        process.wait()
        outcomes.add(os.path.lexists(f"out{i}"))
        assert not os.path.lexists(f"out{i}") or content(f"out{i}") == expected
    print("whole:", True in outcomes, "absent:", False in outcomes)


def size_of(path):
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


@case
def interrupted_it_clears_up_itself():
    for number in (signal.SIGINT, signal.SIGTERM):
        piped = Piped(2000)
        piped.feed(0, 400_000)
        code, said = piped.end(number)
        assert code == 1 and said.count("\n") == 1, f"{code}: {said}"
        assert not os.path.lexists("out") and not os.path.lexists("out.importing")


@case
def a_second_import_into_the_same_target_is_refused_while_the_first_runs():
    piped = Piped(2000)
    piped.feed(0, 400_000)
    wait_for(lambda: os.path.exists("out.importing/data.mdb"), "the first has begun")
    bad("idx", "images", "labels", "out", says=["target 'out': another import into it is running"])
    piped.feed(400_000, len(piped.bytes))
    piped.pipe.close()
    assert piped.process.wait(DEADLINE_SECONDS) == 0
    assert content("out") == expected_idx(piped.images, piped.labels)


@case
def a_source_that_changes_between_the_passes_is_found_out():
    write_idx(100, classes=3)
    os.mkfifo("pipe")
    process = subprocess.Popen([program("ohem-import"), "idx", "images", "pipe", "out", "--noise", "0.1"],
                               stderr=subprocess.PIPE, text=True)
    for label in (b"\1\2", b"\2\1"):
        with open("pipe", "wb") as pipe:
            wait_for(lambda: has_open(process.pid, "pipe"), "the pass has begun")
            pipe.write(b"\0\0\x08\1\0\0\0\x64" + label * 50)
        wait_for(lambda: not has_open(process.pid, "pipe"), "the pass is over")
    _, said = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1 and "images: changed while it was read: instance 0" in said, said
    assert not os.path.lexists("out")


def has_open(pid, path):
    """Has the process this file open? One that has ended has none."""
    folder = f"/proc/{pid}/fd"
    try:
        return any(os.path.realpath(f"{folder}/{fd}") == os.path.realpath(path) for fd in os.listdir(folder))
    except FileNotFoundError:
        return os.path.exists(folder)


@case
def a_full_disk_is_told_and_leaves_nothing():
    write_idx(3000, shape=(28, 28))
    done = subprocess.run([program("ohem-import"), "idx", "images", "labels", "out"], text=True,
                          check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          restore_signals=False,  # SIGXFSZ stays ignored: the write itself fails
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6)))
    assert done.returncode == 1 and "out.importing: Input/output error (is the disk full?)" in done.stderr
    assert not os.path.lexists("out") and not os.path.lexists("out.importing")


@case
def hostile_names_do_not_reach_the_terminal():
    pathlib.Path("evil.tar").write_bytes(tar_bytes([("a\n\x1b[2J\x7f.cls", b"no number")]))
    bad("tar", "out", "evil.tar", says=["sample 'a??[2J?': member 'cls' holds no number"])


@case
def a_bar_is_drawn_on_a_terminal_only():
    piped = Piped(2000)
    piped.end(signal.SIGKILL)
    leader, follower = os.openpty()
    os.mkfifo("pipe")
    process = subprocess.Popen([program("ohem-import"), "idx", "pipe", "labels", "out"],
                               stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    with open("pipe", "wb", buffering=0) as pipe:
        pipe.write(piped.bytes[:500_000])
        seen = b""
        step = iter(range(500_000, len(piped.bytes) - 5000, 784))
        while b"to go" not in seen:
            at = next(step)
            pipe.write(piped.bytes[at:at + 784])
            if wait_readable(leader):
                seen += os.read(leader, 4096)
    process.kill()
    process.wait()
    assert b"\rrecords [####" in seen and b"/s" in seen


def wait_readable(descriptor):
    """Is there something to read, now or in a moment? Paces the feeding of the pipe."""
    return select.select([descriptor], [], [], 0.02)[0]


@case
def fashion_mnist_comes_through_bit_for_bit():
    if not FASHION.is_dir():
        skip(f"{FASHION} is not installed (package dataset-fashion-mnist)")
    files = [FASHION / "train-images-idx3-ubyte.gz", FASHION / "train-labels-idx1-ubyte.gz"]
    line = good("idx", *files, "out")
    images = np.frombuffer(gzip.decompress(files[0].read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress(files[1].read_bytes()), np.uint8, offset=8)
    assert content("out") == expected_idx(images.reshape(60_000, 784), labels)
    assert line.startswith("60000 instances, 47100000 bytes in ")
    assert os.stat("out/data.mdb").st_size < 1.1 * 47_100_000, "pages are not packed"
    good("idx", *files, "detector", "--positive", 6, "--share", 0.01)
    assert list(np.bincount(labels_of("detector"))) == [54_000, 545]


main(globals())
