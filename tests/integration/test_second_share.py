#!/usr/bin/env python3
"""test_second_share.py - sections 4, 9 and 10 of PROTOCOL.md: records by all ways.

A client made from the document alone and a real daemon, as in test_second_client.py. Whatever the
way and the layout, the records are the data set's bytes and the draws are the same.
"""
import contextlib
import os
import socket

import lmdb
import numpy as np

import second_client
import second_share as share
import second_wire as wire
from harness import case, main, wait_for
from ohemd import Daemon, make_dataset
from second_client import ALL_WAYS, INLINE_ONLY, NO_MAP, Client, Wire
from test_second_client import K, counters, daemon_on, hello_with, record, refusal_of

LAYOUTS = (wire.SCATTERED, wire.PACKED, wire.ALIGNED64)
MIB = 1 << 20
COMMITS = 3  # of a writer: enough that pages freed by the first are used again
SHARED = ((NO_MAP, wire.SHM), (ALL_WAYS, wire.MAP))  # (ways, what is offered for them)


def client_on(daemon, ways=ALL_WAYS, batch_size=K, credit=2, **more):
    return Client(daemon.listen, batch_size=batch_size, credit=credit, ways=ways, **more)


def loss_of(i):
    return 1 + i % 16 / 16


def check_records(batch, record_of=record):
    assert batch.records == [record_of(i) for i in batch.ids], f"by way {batch.fields['way']}"


def train(client, steps, way, record_of=record):
    """Some steps, of which each must come by this way."""
    for _ in range(steps):
        batch, _ = client.step(loss_of)
        assert batch.fields["way"] == way, batch.fields
        check_records(batch, record_of)


# ---- all ways alike


@case
def whichever_way_and_layout_the_draws_and_the_records_are_the_same():
    wanted = [(ways, layout, way) for layout in LAYOUTS
              for ways, way in ((INLINE_ONLY, wire.INLINE), (NO_MAP, wire.SHM))]
    wanted.append((ALL_WAYS, wire.SCATTERED, wire.MAP))
    first = None
    for ways, layout, way in wanted:
        with daemon_on(200, rho=0.5, beta=1, seed=7) as daemon, \
                client_on(daemon, ways, credit=1, layout=layout) as client:
            batches = [client.step(loss_of)[0] for _ in range(60)]
        for batch in batches:
            assert batch.fields["way"] == way
            check_records(batch)
        assert [batch.fields["lsn"] for batch in batches] == list(range(60))
        first = first or batches
        for one, other in zip(first, batches):
            for name in ("ids", "probabilities", "weights", "epoch", "coverage_count"):
                is_same = np.array_equal(one.fields[name], other.fields[name])
                assert is_same, f"{name} by way {way} in layout {layout}"
    assert any(batch.fields["coverage_count"] < K for batch in first), "hard draws, too"


@case
def records_of_one_size_are_one_block_when_packed_and_begin_at_multiples_of_64_when_aligned():
    def record_of(i):
        return b"%04d" % i * 5

    for layout, stride in ((wire.PACKED, 20), (wire.ALIGNED64, 64)):
        for ways, way in ((INLINE_ONLY, wire.INLINE), (ALL_WAYS, wire.SHM)):
            with daemon_on(100, record_of=record_of) as daemon, \
                    client_on(daemon, ways, layout=layout) as client:
                assert client.welcome["record_bytes"] == 20
                batch, _ = client.step(loss_of)
                assert list(batch.fields["offsets"]) == [i * stride for i in range(K)]
                check_records(batch, record_of)
                train(client, 20, way, record_of)


@case
def the_operators_fields_are_told():
    fields = "label = u8@0, image = u8[3,5]@1"
    with daemon_on(100, dataset=f"fields = {fields}", record_of=lambda i: bytes(16)) as daemon, \
            client_on(daemon) as client:
        assert client.welcome["fields"] == fields
    with daemon_on(100) as daemon, client_on(daemon) as client:
        assert client.welcome["fields"] == ""


# ---- the offer


@case
def what_is_offered_is_what_the_client_its_layout_and_the_operator_allow():
    inline, shm, by_map = wire.INLINE, wire.SHM, wire.MAP
    scattered, packed, aligned = LAYOUTS
    wanted = [("map", scattered, 7, by_map), ("map", scattered, 5, by_map),
              ("map", scattered, 4, by_map), ("map", scattered, 3, shm), ("map", scattered, 2, shm),
              ("map", scattered, 1, inline), ("map", scattered, 0, inline),
              ("map", packed, 7, shm), ("map", aligned, 7, shm), ("map", packed, 5, inline),
              ("map", packed, 1, inline),
              ("shm", scattered, 7, shm), ("shm", aligned, 3, shm), ("shm", scattered, 5, inline),
              ("none", scattered, 7, inline), ("none", packed, 7, inline),
              ("default", scattered, 7, by_map), ("default", packed, 7, shm)]
    make_dataset("data", [record(i) for i in range(100)])
    config = "[daemon]\ndrain_ms = 100\n"
    for name in ("map", "shm", "none", "default"):
        setting = "" if name == "default" else f"share = {name}\n"
        config += (f"[dataset {name}]\npath = {os.path.abspath('data')}\n{setting}"
                   f"[job {name}]\ndataset = {name}\n")
    with Daemon(config=config) as daemon:
        for name, layout, ways, way in wanted:
            what = f"share = {name}, layout {layout}, ways {ways}"
            with client_on(daemon, ways, job=name, layout=layout) as client:
                welcome = client.welcome
                assert welcome["way"] == way and welcome["layout"] == layout, f"{what}: {welcome}"
                is_shared = way != wire.INLINE
                assert (welcome["share"] != "") == is_shared, what
                assert (welcome["cookie"] != wire.NO_COOKIE) == is_shared, what
                train(client, 3, way)


@case
def over_tcp_everything_comes_inline():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        endpoint = "tcp://127.0.0.1:%d" % probe.getsockname()[1]
    settings = f"drain_ms = 100\ninsecure_tcp = yes\nlisten = {endpoint}"
    with daemon_on(100, daemon=settings), \
            Client(endpoint, batch_size=K, credit=2, ways=ALL_WAYS) as client:
        assert client.welcome["way"] == wire.INLINE
        train(client, 20, wire.INLINE)


@case
def the_share_socket_lies_where_the_operator_says():
    path = os.path.abspath("elsewhere.sock")
    settings = f"drain_ms = 100\nshare_socket = {path}"
    with daemon_on(100, daemon=settings) as daemon, client_on(daemon) as client:
        assert client.welcome["share"] == path
        train(client, 5, wire.MAP)
    assert not os.path.exists(path), "nothing is left behind"


@case
def shared_slots_are_given_as_far_as_the_operators_memory_goes():
    with daemon_on(100) as daemon, client_on(daemon, NO_MAP) as client:
        ring_bytes = client.mapping.answer.bytes
    with daemon_on(100, daemon=f"drain_ms = 100\nshm_bytes_max = {ring_bytes}") as daemon:
        with client_on(daemon, NO_MAP) as first, client_on(daemon, NO_MAP, rank=1) as second:
            assert first.welcome["way"] == wire.SHM
            assert second.welcome["way"] == wire.INLINE, "there is no memory for a second ring"
            train(first, 5, wire.SHM)
            train(second, 5, wire.INLINE)
        with client_on(daemon, NO_MAP) as third:
            train(third, 5, wire.SHM)
    with daemon_on(100, daemon="drain_ms = 100\nshm_bytes_max = 0") as daemon, \
            client_on(daemon, NO_MAP) as client:
        train(client, 5, wire.INLINE)


@case
def a_batch_larger_than_a_slot_comes_inline():
    def record_of(i):
        return b"%d." % i * (300 if i % 10 < 3 else 1)

    with daemon_on(200, daemon="drain_ms = 100\nslot_bytes_max = 4096", record_of=record_of,
                   rho=1) as daemon, client_on(daemon, NO_MAP) as client:
        assert client.mapping.answer.slot_bytes == 4096
        ways = set()
        for _ in range(80):
            batch, _ = client.step(loss_of)
            check_records(batch, record_of)
            assert (batch.fields["bytes"] <= 4096) == (batch.fields["way"] == wire.SHM)
            ways.add(batch.fields["way"])
        assert ways == {wire.INLINE, wire.SHM}


# ---- READY


@case
def no_batch_comes_before_ready_and_then_they_come_by_its_way():
    with daemon_on(200) as daemon:
        for ways, way in SHARED:
            for said in (way, wire.INLINE):
                with client_on(daemon, ways, wrong={second_client.NO_READY}) as client:
                    for _ in range(10):
                        client.ping()
                    assert not client.batches, "nobody said READY"
                    client.ready(said)
                    train(client, 10, said)


@case
def ready_with_a_way_that_was_not_offered_is_refused_and_changes_nothing():
    with daemon_on(200) as daemon:
        for ways, way in SHARED:
            with client_on(daemon, ways, wrong={second_client.OTHER_WAY}) as client:
                refused = refusal_of(client.ping)
                assert refused.code == "INVALID" and refused.about == 11, refused
                assert refused.token == bytes(16) and refused.text
                client.ping()
                assert not client.batches, "it is not ready"
                client.ready()
                train(client, 5, way)
        with client_on(daemon, INLINE_ONLY) as client:
            for way in (wire.SHM, wire.MAP):
                client.ready(way)
                assert refusal_of(client.ping).code == "INVALID"
                client.ping()
            client.ready(wire.INLINE)  # as it is
            train(client, 5, wire.INLINE)


@case
def ready_again_changes_nothing_and_inline_is_for_good():
    with daemon_on(200) as daemon:
        for ways, way in SHARED:
            with client_on(daemon, ways, credit=1) as client:
                client.ready()
                train(client, 5, way)
                batch = client.take()
                client.ready(wire.INLINE)
                client.report(batch, [loss_of(i) for i in batch.ids])
                client.release(batch)
                train(client, 5, wire.INLINE)
                client.ready(way)
                assert refusal_of(client.ping).code == "INVALID"
                client.ping()


# ---- parts


def large(i):
    return b"%06d" % i * 17_000  # 102,000 bytes


@case
def a_large_block_comes_in_parts_in_every_layout():
    for layout in LAYOUTS:
        with daemon_on(60, record_of=large, rho=1) as daemon, \
                client_on(daemon, INLINE_ONLY, batch_size=30, credit=3, layout=layout) as client:
            for _ in range(8):
                batch, _ = client.step(loss_of)
                assert 2 <= batch.parts == batch.fields["parts"] <= 30
                check_records(batch, large)


@case
def records_of_very_different_sizes_come_in_parts():
    def record_of(i):
        return bytes([i]) * (3 * MIB // 2 if i % 4 == 0 else i % 3)

    with daemon_on(24, record_of=record_of, rho=1) as daemon, \
            client_on(daemon, INLINE_ONLY, batch_size=8) as client:
        for _ in range(9):
            batch, _ = client.step(loss_of)
            if batch.fields["bytes"] > 4 * MIB:
                assert batch.fields["parts"] >= 2
            check_records(batch, record_of)


@case
def big_a_block_comes_in_no_more_than_128_parts():
    def record_of(i):
        return bytes([i]) * (5 * MIB // 4)

    instances = 140
    with daemon_on(instances, record_of=record_of, rho=1) as daemon, \
            client_on(daemon, INLINE_ONLY, batch_size=instances, credit=1) as client:
        batch = client.take()
        assert 32 < batch.parts <= wire.MESSAGE_PARTS_MAX
        check_records(batch, record_of)
        client.release(batch)


@case
def parts_that_were_lost_come_again_with_their_batch():
    with daemon_on(60, record_of=large, rho=1) as daemon, \
            client_on(daemon, INLINE_ONLY, batch_size=30, credit=2) as client:
        for _ in range(5):
            whole = client.take()
            client.wait_for("PART", lambda _fields: any(
                batch.parts and not batch.is_whole for batch in client.batches.values()))
            broken = client.fresh[0]
            assert not broken.is_whole
            client.connect()
            again = client.take()
            assert again.token == broken.token and again.ids == broken.ids
            check_records(again, large)
            for batch in (whole, again):
                assert client.report(batch, [loss_of(i) for i in batch.ids])["flags"] == 0
                client.release(batch)
        assert counters(daemon)["batches_resent"] >= 5


@case
def parts_on_their_way_go_on_when_hello_is_said_again():
    with daemon_on(60, record_of=large, rho=1) as daemon, \
            client_on(daemon, INLINE_ONLY, batch_size=30, credit=1) as client:
        for _ in range(5):
            client.hello()  # on the same connection nothing was lost: nothing comes twice
            batch, _ = client.step(loss_of)
            check_records(batch, large)
        assert counters(daemon)["batches_resent"] == 0


# ---- memory that is shared


@case
def a_slot_keeps_its_batch_until_it_is_released():
    with daemon_on(500) as daemon, client_on(daemon, NO_MAP, credit=4) as client:
        held = [client.take(), client.take()]
        for _ in range(40):
            batch, _ = client.step(loss_of)
            assert batch.fields["slot"] not in [other.fields["slot"] for other in held]
            check_records(batch)
            assert all(other.read() == other.records for other in held)
        for batch in held:
            client.release(batch)


@case
def a_resumed_session_goes_on_with_what_is_mapped():
    with daemon_on(200, rho=1) as daemon:
        for ways, way in SHARED:
            with client_on(daemon, ways, credit=3) as client:
                held, lost = client.take(), client.take()
                mapping, session = client.mapping, client.welcome["session"]
                del client.batches[lost.token]
                client.connect()
                assert client.welcome["session"] == session and client.welcome["way"] == way
                assert client.welcome["cookie"] == wire.NO_COOKIE and client.mapping is mapping
                again = client.take()
                assert again.token == lost.token and again.records == lost.records
                assert again.fields["way"] == way
                assert again.fields["slot"] == lost.fields["slot"]
                assert held.read() == held.records
                for batch in (held, again):
                    assert client.report(batch, [loss_of(i) for i in batch.ids])["flags"] == 0
                    client.release(batch)
                train(client, 20, way)


@case
def until_it_is_shown_the_cookie_comes_again_with_each_welcome():
    key = os.urandom(16)
    with daemon_on(100) as daemon, Wire(daemon.listen) as first, Wire(daemon.listen) as second:
        for connection in (first, first, second):
            name, offer = hello_with(connection, key=key, ways=ALL_WAYS)
            assert name == "WELCOME" and offer["way"] == wire.MAP
            assert offer["cookie"] != wire.NO_COOKIE
        mapping = share.fetch(offer)
        name, offer = hello_with(second, key=key, ways=ALL_WAYS)
        assert name == "WELCOME" and offer["way"] == wire.MAP, "READY was not said"
        assert offer["cookie"] == wire.NO_COOKIE
        second.send("READY", key=key, way=wire.MAP)
        name, fields = second.receive()
        assert name == "BATCH" and fields["way"] == wire.MAP
        assert mapping.read(fields) == [record(int(i)) for i in fields["ids"]]
        mapping.hang_up()
        second.send("BYE", key=key, text="")
        while name != "BYE":
            name, _ = second.receive()


@case
def batches_of_an_old_session_keep_the_old_mapping():
    with daemon_on(200, rho=1) as daemon:
        for ways, way in SHARED:
            with client_on(daemon, ways) as client:
                old, mapping = client.take(), client.mapping
                daemon.kill()
                daemon.start()
                assert refusal_of(client.ping).code == "NO_SESSION"
                client.hello()
                assert client.welcome["way"] == way and client.mapping is not mapping
                train(client, 10, way)
                assert old.mapping is mapping and old.read() == old.records


@case
def a_session_whose_share_connection_ends_goes_on_inline():
    with daemon_on(500) as daemon:
        for ways, way in SHARED:
            with client_on(daemon, ways, credit=3) as client:
                held = client.take()
                assert held.fields["way"] == way
                client.mapping.hang_up()

                def comes_inline():
                    batch, _ = client.step(loss_of)
                    check_records(batch)
                    return batch.fields["way"] == wire.INLINE

                wait_for(comes_inline, "the daemon sees that nobody uses it")
                train(client, 20, wire.INLINE)
                assert held.read() == held.records, "what is held stays"
                assert client.report(held, [loss_of(i) for i in held.ids])["flags"] == 0
                client.release(held)
                client.connect()
                train(client, 5, wire.INLINE)


@case
def one_that_hangs_up_before_it_is_ready_trains_all_the_same():
    with daemon_on(200) as daemon:
        for ways, _ in SHARED:
            with client_on(daemon, ways, wrong={second_client.HANG_UP}) as client:
                for _ in range(20):
                    check_records(client.step(loss_of)[0])


@case
def a_wrong_cookie_costs_a_client_no_more_than_its_way():
    with daemon_on(200) as daemon:
        for ways, way in SHARED:
            with client_on(daemon, ways, wrong={second_client.WRONG_COOKIE}) as client:
                assert client.not_shared.code == "NO_SESSION" and client.mapping is None
                train(client, 10, wire.INLINE)
            with client_on(daemon, ways, wrong={second_client.COOKIE_TWICE}) as client:
                assert client.not_shared.code == "NO_SESSION" and client.mapping is not None
                train(client, 10, way)


# ---- a writer beside it


def commit(times):
    """Another process writes to the data set: all records anew, as often as that."""
    with lmdb.open("data", map_size=64 * MIB) as environment:
        for turn in range(times):
            with environment.begin(write=True) as transaction:
                for i in range(200):
                    assert transaction.put(b"%08d" % i, b"written over %d" % turn)


def is_stale(batch):
    try:
        batch.read()
        return False
    except share.Stale:
        return True


@case
def a_living_daemon_keeps_a_mapped_file_as_it_was():
    with daemon_on(200, rho=1) as daemon:
        client = client_on(daemon)
        held = client.take()
        assert client.mapping.is_guarded()
        for _ in range(5):
            commit(COMMITS)
            assert held.read() == held.records
            train(client, 10, wire.MAP)
        # those that come now see the same
        with client_on(daemon, rank=1) as late, client_on(daemon, NO_MAP, rank=2) as other:
            train(late, 10, wire.MAP)
            train(other, 10, wire.SHM)
        daemon.kill()
        assert not client.mapping.is_guarded()
        assert is_stale(held), "what was written meanwhile counts as soon as nobody guards the file"
        client.close()


@case
def a_mapped_batch_is_good_after_the_daemons_death_until_others_write():
    with daemon_on(200, rho=1) as daemon:
        client = client_on(daemon)
        held = client.take()
        daemon.kill()
        assert not client.mapping.is_guarded(), "the kernel says so"
        assert held.read() == held.records, "nobody has written"
        commit(1)  # whether that is too many is the daemon's to say, by watch_max
        assert is_stale(held) or held.read() == held.records
        commit(COMMITS - 1)
        assert is_stale(held)
        client.close()


@case
def the_file_of_an_immutable_data_set_is_mapped_without_a_guard():
    with daemon_on(200, dataset="immutable = yes") as daemon:
        client = client_on(daemon)
        held = client.take()
        assert not client.mapping.is_guarded()
        train(client, 20, wire.MAP)
        daemon.kill()
        assert held.read() == held.records
        client.close()


@case
def trainers_by_all_ways_share_an_epoch():
    instances = 3000
    wishes = [(INLINE_ONLY, wire.SCATTERED), (NO_MAP, wire.PACKED), (NO_MAP, wire.ALIGNED64),
              (ALL_WAYS, wire.SCATTERED)]
    with daemon_on(instances, rho=1, unique="no") as daemon, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client_on(daemon, ways, rank=rank, credit=3, layout=layout))
                   for rank, (ways, layout) in enumerate(wishes)]
        assert {client.welcome["way"] for client in clients} == {0, 1, 2}
        seen = []
        for _ in range(instances // K // len(clients)):
            for client in clients:
                batch, _ = client.step(loss_of)
                check_records(batch)
                seen += batch.ids if batch.fields["epoch"] == 0 else []
        for client in clients:
            client.ping()
            seen += [i for batch in client.batches.values() if batch.fields["epoch"] == 0
                     for i in batch.ids]
        assert sorted(seen) == list(range(instances)), "each once"


if __name__ == "__main__":
    main(globals())
