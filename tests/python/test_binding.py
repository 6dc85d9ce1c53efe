"""test_binding.py - client/python/ohem over the built libohem, against a real daemon."""
import ctypes
import gc
import json
import os
import signal
import sys
import threading
import time

import numpy as np

SOURCE = os.environ.get("OHEM_SOURCE", ".")
sys.path.insert(0, os.path.join(SOURCE, "client/python"))
os.environ["OHEM_LIBRARY"] = os.path.join(os.environ["OHEM_BUILD"], "libohem.so.0")

import ohem
from harness import case, main, skip
from ohem import native
from ohemd import Daemon, make_dataset

N, K = 60, 10
FIELDS = "label = u8@0, place = u16@1, image = f32[2,3]@3"
RECORD = np.dtype([("label", "u1"), ("place", "<u2"), ("image", "<f4", (2, 3))])


def record(i):
    one = np.zeros((), RECORD)
    one["label"], one["place"], one["image"] = i % 7, 300 + i, np.arange(6).reshape(2, 3) + i
    return one


def serve(policy="", settings=""):
    make_dataset("data", [record(i).tobytes() for i in range(N)])
    return Daemon(config=f"[daemon]\n{settings}[dataset d]\npath = {os.path.abspath('data')}\n"
                         f"fields = {FIELDS}\n[job default]\nbatch_size = {K}\n{policy}")


def raises(kind, words, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except kind as error:
        assert words in str(error), f"'{error}' does not say '{words}'"
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def score(daemon, i):
    return daemon.get(f"/v1/jobs/default/instances/{i}")["score"]


# ---- records


@case
def by_every_layout_and_transport_the_records_are_the_data_sets():
    with serve() as daemon:
        for layout, transport in (("packed", "shm"), ("packed", "inline"), ("aligned64", "shm"),
                                  ("scattered", "map"), ("scattered", "inline")):
            with ohem.Loader(daemon.listen, layout=layout, transport=transport, credit=1) as loader:
                assert (loader.transport, loader.instance_count, len(loader.fields)) == (transport, N, 3)
                batch = loader.next()
                assert batch.transport == transport and len(batch) == K
                wanted = np.array([record(int(i)) for i in batch.ids])
                for name in ("label", "place", "image"):
                    assert np.array_equal(batch.field(name), wanted[name]), (layout, name)
                assert [r.tobytes() for r in batch] == [w.tobytes() for w in wanted]
                assert batch[-1].tobytes() == wanted[-1].tobytes()
                block = batch.block
                if layout == "scattered":
                    assert block is None
                else:
                    assert block.shape == (K, RECORD.itemsize)
                    assert np.ascontiguousarray(block).tobytes() == wanted.tobytes()
                assert batch.ids.dtype == np.uint64 and batch.weights.dtype == np.float32
                assert (batch.weights == 1).all() and (batch.probabilities > 0).all()
                assert not batch.is_hard.any() and (batch.epoch, batch.age) == (0, 0)


@case
def views_are_no_copies_and_cannot_be_written_to():
    with serve() as daemon, ohem.Loader(daemon.listen) as loader, loader.next() as batch:
        image = batch.field("image")
        assert image.shape == (K, 2, 3) and image.strides[0] == RECORD.itemsize
        first, second = batch.ids, batch.ids
        assert first.ctypes.data == second.ctypes.data
        for array in (image, batch.ids, batch.block, batch[0]):
            raises(ValueError, "read-only", array.__setitem__, Ellipsis, 0)


@case
def an_array_that_is_kept_keeps_its_batch():
    """Not the memory of another batch: the slot is not filled again before it is gone."""
    with serve() as daemon, ohem.Loader(daemon.listen, credit=1) as loader:
        batch = loader.next()
        kept, wanted = batch.field("place"), [300 + int(i) for i in batch.ids]
        batch.report(np.ones(K))
        batch.release()
        raises(ohem.Limit, "", loader.next, timeout=0.2)
        assert list(kept) == wanted
        del kept
        gc.collect()
        assert loader.next(timeout=20).step == 1


@case
def an_array_outlives_loader_and_daemon():
    with serve() as daemon:
        loader = ohem.Loader(daemon.listen)
        batch = loader.next()
        kept, wanted = batch.field("image"), np.array([record(int(i)) for i in batch.ids])["image"]
        loader.close()
        raises(ohem.Invalid, "closed", loader.next)
        raises(ohem.Invalid, "closed", batch.report, np.ones(K))
        batch.release()
    assert np.array_equal(kept, wanted)


@case
def what_was_released_says_so():
    with serve() as daemon, ohem.Loader(daemon.listen) as loader:
        batch = loader.next()
        batch.release()
        batch.release()
        for call in (lambda: batch.ids, lambda: batch[0], lambda: batch.field("label"),
                     lambda: batch.report([1] * K), lambda: batch.step):
            raises(ohem.Invalid, "released", call)


@case
def batches_in_a_loop_are_given_back():
    with serve("rho = 1\n") as daemon, ohem.Loader(daemon.listen, credit=2) as loader:
        seen = []
        for batch in loader:
            seen += list(batch.ids)
            batch.report(np.ones(K), timeout=20)
            if len(seen) == 3 * N:
                break
        assert sorted(seen) == sorted(list(range(N)) * 3)


@case
def a_selection_that_is_kept_keeps_nothing():
    with serve() as daemon, ohem.Loader(daemon.listen, credit=1) as loader:
        for batch in loader:
            selection = batch.report(range(K))  # named until the next one is: credit 1 is enough
            indices, step = selection.indices, batch.step
            if step == 3:
                break
        batch.release()
        assert list(indices) == list(selection.indices) == [5, 6, 7, 8, 9]
        raises(ohem.Invalid, "released", lambda: selection.lsn)


# ---- reports


@case
def losses_reach_their_instances_and_the_hardest_come_back():
    with serve("keep = 0.3\n") as daemon, ohem.Loader(daemon.listen) as loader:
        batch = loader.next()
        losses = np.array([3, 1, 9, 0, 5, np.nan, 7, 2, 2, 2], np.float64)
        selection = batch.report(losses)
        assert list(selection.indices) == [2, 4, 6] and list(selection.weights) == [1, 1, 1]
        assert (len(selection), selection.nonfinite_count, selection.lsn) == (3, 1, 1)
        assert (selection.stats_kept.min, selection.stats_all.count) == (5, 9)
        assert selection.scores is None and not selection.is_late
        assert selection.loss(losses) == 7
        assert selection.loss(losses, batch_weights=np.full(K, 0.5)) == 3.5
        assert score(daemon, batch.ids[2]) == 9
        again = batch.report(losses)
        assert again.is_repeated or list(again.indices) == [2, 4, 6]


@case
def rules_and_flags_go_with_a_report():
    losses = list(range(K))
    wishes = [(ohem.top(2), None, [8, 9]), (ohem.top(share=0.5), None, [5, 6, 7, 8, 9]),
              (ohem.threshold(6.5), None, [7, 8, 9]), (ohem.threshold(2, at_most=1), None, [9]),
              (ohem.all_(), None, losses),
              (ohem.negpos(1.0), [ohem.POSITIVE] + [0] * 8 + [ohem.IGNORED], [0, 8])]
    with serve() as daemon, ohem.Loader(daemon.listen) as loader:
        for select, flags, wanted in wishes:
            with loader.next() as batch:
                got = batch.report(losses, flags=flags, select=select)
                assert list(got.indices) == wanted, select
        with loader.next() as batch:
            raises(ohem.Invalid, "select.value", batch.report, losses, select=ohem.top(share=2))
            raises(ohem.Count, "9 losses", batch.report, losses[1:])
            raises(ohem.Invalid, "flags has 1 ", batch.report, losses, flags=[1])
            assert batch.report(losses).count == K // 2


@case
def two_ranks_share_a_round():
    with serve("round = 2\nkeep = 0.4\n") as daemon, \
            ohem.Loader(daemon.listen, rank=0) as one, ohem.Loader(daemon.listen, rank=1) as other:
        assert one.round == 2
        for step in (5, 6):
            easy, hard = np.arange(K) / 10, np.arange(K) + (1.0 if step == 5 else -5.0)
            batches = [one.next(), other.next()]
            batches[0].submit(easy, round=step)
            second = batches[1].report(hard, round=step)
            told = [batches[0].selection(), second]
            m = int(0.4 * 2 * K)
            whole = np.sort(np.concatenate([easy, hard]))[-m:].mean()
            assert told[0].round_count == told[1].round_count == m == told[0].count + told[1].count
            assert abs((told[0].loss(easy) + told[1].loss(hard)) / 2 - whole) < 1e-6
            assert told[1].round_present == 2 and told[1].scale == 2 * told[1].count / m
            for batch in batches:
                batch.release()
        raises(ohem.Invalid, "ragged", one.next().report_items, [1.0] * K, [1] * K)


@case
def a_report_need_not_wait():
    with serve() as daemon, ohem.Loader(daemon.listen, credit=4) as loader:
        batches = [loader.next() for _ in range(3)]
        for batch in batches:
            batch.submit(np.asarray(batch.ids, np.float32))
        for batch in reversed(batches):
            kept = batch.selection(timeout=20)
            assert min(batch.ids[kept.indices]) >= np.median(batch.ids) - 0.5
        batches[0].release()
        other = loader.next()
        raises(ohem.Invalid, "was not reported", other.selection)


@case
def items_are_selected_among_all_of_them():
    with serve() as daemon, ohem.Loader(daemon.listen) as loader:
        batch = loader.next()
        counts = [3, 0, 2] + [0] * (K - 3)
        boxes = [[0, 0, 4, 4], [0, 0, 4, 4], [9, 9, 10, 10], [0, 0, 1, 1], [5, 5, 6, 6]]
        got = batch.report_items([1, 5, 2, 7, 3], counts, boxes=boxes, iou=0.7, score="mean",
                                 select=ohem.all_())
        assert list(got.indices) == [1, 2, 3, 4] and got.ignored_count == 1
        scores = got.scores
        assert abs(scores[0] - 8 / 3) < 1e-6 and scores[2] == 5 and np.isnan(scores[1])
        assert got.loss(np.array([1, 5, 2, 7, 3.0])) == 17 / 4
        batch = loader.next()
        raises(ohem.Invalid, "one of max, mean, top", batch.report_items, [1], counts, score="sum")
        raises(ohem.Invalid, "add up to 5", batch.report_items, [1], counts)


class Tensor:
    """What the binding asks of a tensor: no torch is needed to have one."""

    def __init__(self, values):
        self.values = np.asarray(values, np.float64)

    def detach(self):
        return self

    def cpu(self):
        return self

    def numpy(self):
        return self.values


@case
def a_tensor_is_as_good_as_an_array():
    with serve() as daemon, ohem.Loader(daemon.listen) as loader, loader.next() as batch:
        assert list(batch.report(Tensor(range(K))).indices) == [5, 6, 7, 8, 9]


@case
def gradients_of_the_loss_are_those_of_the_kept():
    try:
        import torch
    except ImportError:
        skip("torch is not there (python3-torch)")
    with serve("keep = 0.2\n") as daemon, ohem.Loader(daemon.listen) as loader, loader.next() as batch:
        label, image = batch.tensor("label"), batch.tensor("image")
        assert label.data_ptr() == batch.field("label").ctypes.data  # no copy
        assert image.shape == (K, 2, 3) and np.array_equal(image.numpy(), batch.field("image"))
        scale = torch.ones(K, requires_grad=True)
        losses = scale * torch.arange(K, dtype=torch.float32)
        selection = batch.report(losses)
        selection.loss(losses, batch.weights).backward()
        wanted = [0.0] * (K - 2) + [(K - 2) / 2, (K - 1) / 2]
        assert scale.grad.tolist() == wanted
        assert float(ohem.Selection.loss(selection, losses)) == (K - 2 + K - 1) / 2


# ---- what goes wrong


@case
def what_is_not_allowed_is_an_exception_of_its_name():
    raises(ohem.Unreachable, "", ohem.Loader, "ipc:///nowhere/at-all", connect_timeout=0.1)
    raises(ohem.Invalid, "one of scattered, packed", ohem.Loader, layout="loose")
    with serve() as daemon:
        error = raises(ohem.NoJob, "other", ohem.Loader, daemon.listen, "other")
        assert (error.code, error.name) == (23, "NO_JOB") and isinstance(error, LookupError)
        raises(ohem.Transport, "", ohem.Loader, daemon.listen, layout="packed", transport="map")
        with ohem.Loader(daemon.listen, credit=1) as loader:
            raises(ohem.Invalid, "no field 'age'; there are: label", loader.next().field, "age")


@case
def every_error_of_the_library_that_a_trainer_sees_has_its_class():
    for code, kind in ((c.code, c) for c in ohem.Error.__subclasses__()):
        assert native.lib.error_name(code).decode() == kind.name


@case
def the_structs_are_those_of_the_header():
    """Sizes and offsets, by a compiler."""
    structs = {"options": native.Options, "field": native.Field, "stats": native.Stats,
               "report_options": native.ReportOptions, "items": native.Items}
    lines = ["#include <stddef.h>", "#include <stdio.h>", '#include "client/ohem.h"', "int main(void) {"]
    for name, struct in structs.items():
        lines.append(f'printf("%zu\\n", sizeof(struct ohem_{name}));')
        lines += [f'printf("%zu\\n", offsetof(struct ohem_{name}, {field[0]}));' for field in struct._fields_]
    with open("sizes.c", "w", encoding="ascii") as file:
        file.write("\n".join([*lines, "return 0;", "}"]))
    assert os.system(f"gcc -std=c11 -DOHEM_IN_TREE -I{SOURCE} -o sizes sizes.c") == 0
    with os.popen("./sizes") as out:
        told = [int(line) for line in out]
    wanted = []
    for struct in structs.values():
        wanted.append(ctypes.sizeof(struct))
        wanted += [getattr(struct, field[0]).offset for field in struct._fields_]
    assert told == wanted


@case
def an_interrupt_ends_a_wait_at_once():
    with serve() as daemon, ohem.Loader(daemon.listen, credit=1) as loader:
        batch = loader.next()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # perhaps it was ignored
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        daemon.process.send_signal(signal.SIGSTOP)
        timer.start()
        began = time.monotonic()
        try:
            batch.report([1] * K)
            raise AssertionError("a daemon that stands still has answered")
        except KeyboardInterrupt:
            assert time.monotonic() - began < 5
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        assert batch.report([1] * K).count == K // 2  # the same report: it counts once
        assert daemon.get("/v1/jobs/default")["counters"]["reports_applied"] == 1


@case
def a_timeout_is_kept_and_others_run_meanwhile():
    with serve() as daemon, ohem.Loader(daemon.listen, credit=2) as loader:
        batches = [loader.next(), loader.next()]
        counted = []
        thread = threading.Thread(target=lambda: counted.extend(range(100_000)))
        daemon.process.send_signal(signal.SIGSTOP)
        thread.start()
        began = time.monotonic()
        raises((ohem.TimedOut, ohem.Unreachable), "", batches[0].report, [1] * K, timeout=0.5)
        assert 0.4 < time.monotonic() - began < 10
        thread.join()
        assert len(counted) == 100_000
        daemon.process.send_signal(signal.SIGCONT)


@case
def a_killed_daemon_costs_a_durable_trainer_nothing():
    with serve("rho = 1\n", f"state = {os.path.abspath('state')}\n") as daemon:
        loader = ohem.Loader(daemon.listen)
        assert loader.is_durable
        batch = loader.next()
        loader.flush()
        daemon.kill()
        batch.submit(np.arange(K))
        daemon.start()
        assert batch.selection().count == K // 2
        loader.keepalive()
        loader.flush()
        assert [score(daemon, i) for i in batch.ids] == list(range(K))
        loader.close()


@case
def a_forked_process_is_told_so():
    with serve() as daemon, ohem.Loader(daemon.listen) as loader:
        child = os.fork()
        if child == 0:
            try:
                loader.next(timeout=1)
            except ohem.Forked:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert loader.next(timeout=20).count == K


@case
def thousands_of_batches_leave_nothing_behind():
    def resident():
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1])

    with serve() as daemon, ohem.Loader(daemon.listen) as loader:
        def train(batches):
            for batch in loader:
                selection = batch.report(batch.field("place"))
                assert selection.indices.size == K // 2
                if batch.step >= batches:
                    return

        train(1000)
        before = resident()
        train(6000)
        assert resident() - before < 500, f"{resident() - before} pages more"


@case
def rank_and_job_come_from_the_environment():
    os.environ["RANK"], os.environ["OHEM_JOB"] = "3", "default"
    with serve() as daemon:
        os.environ["OHEM_ENDPOINT"] = daemon.listen
        with ohem.Loader() as loader:
            loader.next()
            sessions = daemon.get("/v1/jobs/default")["sessions"]
            assert [s["rank"] for s in sessions] == [3], json.dumps(sessions)


if __name__ == "__main__":
    main(globals())
