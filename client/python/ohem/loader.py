"""Loader, Batch and Selection: what a training loop sees.

Memory: the arrays of a batch lie where the library has them, and are not copied. Each holds on to
its batch, so a batch goes back to the daemon when it is released and the last of its arrays is gone.
Whoever keeps an array keeps a slot of the loader's `credit`: a loop in which a variable still names
an array of the last batch while it asks for the next one needs a credit of 2. What a Selection has
is copied, and keeps nothing.
"""
import collections
import ctypes
import math
import os
import time
import warnings
from dataclasses import dataclass
from typing import Any, Iterator, Optional, Tuple

import numpy as np

from . import native
from .errors import Invalid, error_of
from .native import lib

POSITIVE, IGNORED = 1, 2
LAYOUTS = {"scattered": 0, "packed": 1, "aligned64": 2}
TRANSPORTS = {"auto": 0, "inline": 1, "shm": 2, "map": 3}
SCORES = {"max": 0, "mean": 1, "top": 2}
SLICE_MS = 100  # of a wait, after which Python looks whether it was interrupted
_DTYPES = {name: np.dtype(f"<{name[0]}{int(name[1:]) // 8}")
           for name in ("u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f16", "f32", "f64")}


@dataclass(frozen=True)
class Select:
    """The rule by which a report is answered; see ohem.h's enum ohem_select."""

    rule: int
    count: int = 0
    value: float = 0.0


def all_() -> Select:
    """All that may be selected."""
    return Select(1)


def top(count: int = 0, share: float = 0.0) -> Select:
    """The `count` hardest, or that share of the batch (OHEM: Shrivastava et al., CVPR 2016)."""
    return Select(2, count, share)


def threshold(above: float, at_most: int = 0) -> Select:
    """Losses above a threshold; at most so many, the hardest."""
    return Select(3, at_most, above)


def negpos(negatives: float = 3.0, without: int = 0) -> Select:
    """All positives and so many times as many negatives (SSD: Liu et al., ECCV 2016); `without`: so
    many when there is no positive."""
    return Select(4, without, negatives)


def by_chance(power: float = 3.0) -> Select:
    """Each with a probability of its percentile ** power (Selective-Backprop: Jiang et al., 2019)."""
    return Select(5, 0, power)


@dataclass(frozen=True)
class Stats:
    """Over a set of losses; all 0 when it is empty."""

    count: int
    mean: float
    min: float
    max: float


def _stats(pointer) -> Stats:
    s = pointer.contents
    return Stats(s.count, s.mean, s.min, s.max)


def _text(value: Optional[str]) -> Optional[bytes]:
    return None if value is None else os.fsencode(value)


def _ms(seconds: Optional[float]) -> int:
    return -1 if seconds is None else max(0, int(seconds * 1000))


def _array(values: Any, dtype, what: str, count: Optional[int] = None) -> np.ndarray:
    """A contiguous array of that type: of a tensor on any device, an array, or a sequence."""
    if hasattr(values, "detach"):
        values = values.detach()
        if dtype is np.float32 and hasattr(values, "float"):
            values = values.float()  # NumPy knows no bfloat16
        values = values.cpu().numpy()
    array = np.ascontiguousarray(values, dtype).reshape(-1)
    if count is not None and array.size != count:
        raise Invalid(f"{what} has {array.size} elements; {count} are wanted")
    return array


def _address(array: Optional[np.ndarray]) -> Optional[int]:
    return None if array is None else array.ctypes.data


class _Returns:
    """Batches to be released: by the loader's thread, as long as there is a loader."""

    def __init__(self):
        self._pointers: collections.deque = collections.deque()
        self.is_closed = False

    def add(self, pointer: int) -> None:
        self._pointers.append(pointer)
        if self.is_closed:
            self.release()

    def release(self) -> None:
        while self._pointers:
            lib.release(self._pointers.popleft())


class _Held:
    """A batch that the library has lent, until nobody refers to this any more."""

    __slots__ = ("pointer", "_returns")

    def __init__(self, pointer: int, returns: _Returns):
        self.pointer, self._returns = pointer, returns

    def __del__(self):  # perhaps on another thread, or in the midst of a call
        self._returns.add(self.pointer)

    def view(self, address: int, dtype: np.dtype, shape: Tuple[int, ...],
             strides: Optional[Tuple[int, ...]] = None) -> np.ndarray:
        """An array over the library's memory, not to be written to."""
        last = sum((n - 1) * step for n, step in zip(shape, strides)) if strides else 0
        size = last + dtype.itemsize if strides else dtype.itemsize * math.prod(shape)
        if 0 in shape:
            return np.empty(shape, dtype)
        memory = (ctypes.c_ubyte * size).from_address(address)
        memory.held = self
        array = np.ndarray(shape, dtype, memory, 0, strides)
        array.flags.writeable = False
        return array


class Selection:
    """Which M of the K instances to back-propagate; of a ragged report, which M of its n items.

    indices and weights are copies, there for good; the rest can be asked for until the batch is
    released.
    """

    def __init__(self, batch: "Batch", pointer: int):
        self._batch, self._pointer = batch, pointer
        self.count: int = lib.selection_count(pointer)
        held = batch.lent()
        self.indices: np.ndarray = held.view(
            lib.selection_indices(pointer), np.dtype("<u4"), (self.count,)).copy()
        """uint32[M], ascending: positions in the batch, or among the items."""
        self.weights: np.ndarray = held.view(
            lib.selection_weights(pointer), np.dtype("<f4"), (self.count,)).copy()
        """float32[M]: s, 1 but with by_chance()."""
        self.scale: float = lib.selection_scale(pointer)
        """R * M_r / M in a round of R ranks, so that the mean of loss() over the ranks is that over
        all M; 0 when this rank has none of them; 1 without rounds."""

    def __len__(self) -> int:
        return self.count

    def _asked(self) -> int:
        self._batch.lent()
        return self._pointer

    @property
    def scores(self) -> Optional[np.ndarray]:
        """float32[K]: the loss of each instance that a ragged report came to; None for others."""
        address = lib.selection_scores(self._asked())
        if address is None:
            return None
        return self._batch.lent().view(address, np.dtype("<f4"), (self._batch.count,)).copy()

    @property
    def stats_all(self) -> Stats:
        """Over the losses that could be selected."""
        return _stats(lib.selection_stats_all(self._asked()))

    @property
    def stats_kept(self) -> Stats:
        """Over the M; min is the threshold that resulted."""
        return _stats(lib.selection_stats_kept(self._asked()))

    @property
    def nonfinite_count(self) -> int:
        return lib.selection_nonfinite_count(self._asked())

    @property
    def ignored_count(self) -> int:
        return lib.selection_ignored_count(self._asked())

    @property
    def lsn(self) -> int:
        """The report's place in the order in which the job applied reports, from 1."""
        return lib.selection_lsn(self._asked())

    @property
    def round_count(self) -> int:
        """M over all ranks of the round; without rounds, count."""
        return lib.selection_round_count(self._asked())

    @property
    def round_present(self) -> int:
        """How many ranks are in the round; 0: it was over when this one reported."""
        return lib.selection_round_present(self._asked())

    @property
    def is_late(self) -> bool:
        return bool(lib.selection_is_late(self._asked()))

    @property
    def is_repeated(self) -> bool:
        return bool(lib.selection_is_repeated(self._asked()))

    @property
    def is_superseded(self) -> bool:
        return bool(lib.selection_is_superseded(self._asked()))

    def loss(self, losses: Any, batch_weights: Any = None) -> Any:
        """The loss to back-propagate: the mean over the M of w * s * loss, times scale.

        In a round the mean over the ranks, which data-parallel training takes of the gradients, is
        then the mean over the M of all ranks. A rank that has none back-propagates the 0 that it
        gets here, and so takes part in the averaging.

        losses         float[K] that was reported (a ragged report: float[n]), a tensor or an array
        batch_weights  float of the same length: w of each, by default all 1; Batch.weights where the
                       job has beta > 0
        @return a scalar of the same kind; 0 when nothing was selected
        """
        losses = losses.reshape(-1)
        if self.count == 0:
            return losses[:0].sum()
        if hasattr(losses, "detach"):
            return self._tensor_loss(losses, batch_weights)
        kept = losses[self.indices] * self.weights
        if batch_weights is not None:
            kept = kept * np.asarray(batch_weights).reshape(-1)[self.indices]
        return kept.sum() * (self.scale / self.count)

    def _tensor_loss(self, losses, batch_weights):
        import torch

        def there(array, dtype):
            return torch.as_tensor(array.astype(dtype), device=losses.device)

        index = there(self.indices, np.int64)
        kept = losses[index] * there(self.weights, np.float32)
        if batch_weights is not None:
            w = torch.as_tensor(np.array(batch_weights, np.float32), device=losses.device)
            kept = kept * w.reshape(-1)[index]
        return kept.sum() * (self.scale / self.count)


class Batch:
    """K instances on lease. Report their losses, and let go of it: at the latest when the next one
    is wanted and `credit` of them are held."""

    def __init__(self, loader: "Loader", held: _Held):
        self._loader: Optional["Loader"] = loader
        self._held: Optional[_Held] = held
        self.count: int = lib.batch_count(held.pointer)

    def _pointer(self) -> int:
        return self.lent().pointer

    def lent(self) -> _Held:
        """What keeps it from being given back."""
        if self._held is None:
            raise Invalid("the batch was released")
        return self._held

    def __len__(self) -> int:
        return self.count

    # ---- who is in it

    def _column(self, function, dtype: str) -> np.ndarray:
        return self.lent().view(function(self._pointer()), np.dtype(dtype), (self.count,))

    @property
    def ids(self) -> np.ndarray:
        """uint64[K]: the ordinal of each instance's key in the data set."""
        return self._column(lib.batch_ids, "<u8")

    @property
    def probabilities(self) -> np.ndarray:
        """float32[K]: p, the probability that one slot of this batch holds that instance."""
        return self._column(lib.batch_probabilities, "<f4")

    @property
    def weights(self) -> np.ndarray:
        """float32[K]: w = (N p)^-beta, normalised as the job says; all 1 when beta is 0."""
        return self._column(lib.batch_weights, "<f4")

    @property
    def is_hard(self) -> np.ndarray:
        """bool[K]: drawn by hardness; else it is coverage, the epoch's pass over all instances."""
        pointer = self._pointer()
        return np.fromiter((lib.batch_is_hard(pointer, i) for i in range(self.count)), bool, self.count)

    @property
    def step(self) -> int:
        """The number of this batch in its job, from 0."""
        return lib.batch_step(self._pointer())

    @property
    def epoch(self) -> int:
        return lib.batch_epoch(self._pointer())

    @property
    def age(self) -> int:
        """Reports of the job that were applied after the batch was drawn, as far as is known."""
        return lib.batch_age(self._pointer())

    @property
    def transport(self) -> str:
        """How this batch came: "inline", "shm" or "map"."""
        return lib.transport_name(lib.batch_transport(self._pointer())).decode()

    # ---- its records

    def __getitem__(self, i: int) -> np.ndarray:
        """The record at position i: uint8[its size]."""
        if not -self.count <= i < self.count:
            raise IndexError(f"position {i} of a batch of {self.count}")
        size = ctypes.c_size_t()
        address = lib.batch_data(self._pointer(), i % self.count, ctypes.byref(size))
        return self.lent().view(address, np.dtype("u1"), (size.value,))

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(self.count))

    @property
    def block(self) -> Optional[np.ndarray]:
        """uint8[K, L], all records beside each other; None when sizes differ or layout is "scattered"."""
        stride = ctypes.c_size_t()
        address = lib.batch_block(self._pointer(), ctypes.byref(stride))
        if address is None or self._loader is None:
            return None
        return self.lent().view(address, np.dtype("u1"), (self.count, self._loader.record_bytes),
                                 (stride.value, 1))

    def field(self, name: str) -> np.ndarray:
        """[K, *shape] of a field of all records. A view of the block where there is one, else a copy."""
        if self._loader is None:
            raise Invalid("the batch was released")
        f = self._loader.fields.get(name)
        if f is None:
            raise Invalid(f"no field '{name}'; there are: {', '.join(self._loader.fields) or 'none'}")
        dtype, shape, offset = f
        stride = ctypes.c_size_t()
        address = lib.batch_block(self._pointer(), ctypes.byref(stride))
        if address is None:
            return np.stack([np.ndarray(shape, dtype, self[i], offset) for i in range(self.count)])
        inner = np.empty(shape, dtype).strides
        return self.lent().view(address + offset, dtype, (self.count, *shape), (stride.value, *inner))

    def tensor(self, name: str) -> Any:
        """field() as a torch tensor. It shares the batch's memory and must not be written to: where
        the records are shared that ends the process. (Elements of more than a byte that do not lie at
        multiples of their size are copied: torch knows no others. In fields of a record whose size
        is a multiple of 8, at offsets that are, there are none; with layout "aligned64" any size will do.)
        """
        import torch

        array = self.field(name)
        if any(n % array.itemsize for n in (*array.strides, array.ctypes.data)):
            array = array.copy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it cannot be written to
            return torch.from_numpy(array)

    def check(self) -> None:
        """Raises Stale when what was read of the records may not be the data set's."""
        self._must(lib.batch_check(self._pointer()))

    # ---- its report

    def _must(self, code: int) -> None:
        if code != 0:
            raise self._client().error(code)

    def _client(self) -> "Loader":
        if self._loader is None:
            raise Invalid("the batch was released")
        return self._loader

    def _options(self, flags: Any, select: Optional[Select], round: Optional[int]):
        """@return the struct, and what must live as long"""
        flags = None if flags is None else _array(flags, np.uint8, "flags", self.count)
        chosen = select or Select(0)
        return native.ReportOptions(ctypes.sizeof(native.ReportOptions), _address(flags), chosen.rule,
                                    chosen.count, chosen.value,
                                    native.ROUND_NEXT if round is None else round), flags

    def report(self, losses: Any, flags: Any = None, select: Optional[Select] = None,
               timeout: Optional[float] = None, round: Optional[int] = None) -> Selection:
        """Report every instance's loss, and wait for the selection.

        losses   float[K], a tensor on any device, an array or a sequence; position i belongs to
                 ids[i]. NaN and infinities are counted, and neither applied nor selected
        flags    uint8[K], POSITIVE and IGNORED; None: all 0
        select   top(...), negpos(...) and so on; None: as the job does
        timeout  seconds; None waits as long as the daemon may be silent
        round    in a job with rounds (Loader.round): the training step, the same in all ranks; None:
                 one more than in the report before
        """
        losses = _array(losses, np.float32, "losses")
        options, kept = self._options(flags, select, round)
        out = ctypes.c_void_p()
        pointer = self._pointer()
        self._client().wait(timeout, lambda ms: lib.report_with(
            pointer, _address(losses), losses.size, ctypes.byref(options), ms, ctypes.byref(out)))
        del kept
        return Selection(self, out.value)

    def submit(self, losses: Any, flags: Any = None, select: Optional[Select] = None,
               round: Optional[int] = None) -> None:
        """Report, and do not wait: selection() has the answer later; or let go of the batch."""
        losses = _array(losses, np.float32, "losses")
        options, _ = self._options(flags, select, round)
        self._must(lib.submit_with(self._pointer(), _address(losses), losses.size,
                                   ctypes.byref(options)))

    def selection(self, timeout: Optional[float] = None) -> Selection:
        """The answer to what was submitted."""
        out = ctypes.c_void_p()
        pointer = self._pointer()
        self._client().wait(timeout, lambda ms: lib.selection(pointer, ms, ctypes.byref(out)))
        return Selection(self, out.value)

    def report_items(self, losses: Any, counts: Any, flags: Any = None, boxes: Any = None,
                     iou: float = 0.0, classes: Any = None, score: str = "max", top: int = 0,
                     select: Optional[Select] = None, timeout: Optional[float] = None) -> Selection:
        """Report any number of losses for each instance, its items: regions, anchors, pixels.

        losses   float[n], those of the first instance first
        counts   int[K], the items of each instance; they add up to n
        flags    uint8[n] or None
        boxes    float[n, 4] as x1, y1, x2, y2, with iou > 0: items that overlap a harder one of their
                 instance (and class, int[n]) by more are not selected
        score    how an instance's loss follows from its items: "max", "mean", or "top", the mean of
                 the `top` largest
        """
        n = _array(losses, np.float32, "losses")
        arrays = [n, _array(counts, np.uint32, "counts", self.count),
                  None if flags is None else _array(flags, np.uint8, "flags", n.size),
                  None if boxes is None else _array(boxes, np.float32, "boxes", 4 * n.size),
                  None if classes is None else _array(classes, np.uint32, "classes", n.size)]
        if score not in SCORES:
            raise Invalid(f"score is '{score}'; one of {', '.join(SCORES)} is allowed")
        chosen = select or Select(0)
        at = [_address(array) for array in arrays]
        items = native.Items(ctypes.sizeof(native.Items), at[0], n.size, at[1], at[2], iou, at[3],
                             at[4], SCORES[score], top, chosen.rule, chosen.count, chosen.value)
        out = ctypes.c_void_p()
        pointer = self._pointer()
        self._client().wait(timeout, lambda ms: lib.report_items(
            pointer, ctypes.byref(items), ms, ctypes.byref(out)))
        return Selection(self, out.value)

    def release(self) -> None:
        """Let go of it: its slot is filled again, once none of its arrays is left. Without a report
        its coverage instances count as seen."""
        loader, self._held, self._loader = self._loader, None, None
        if loader is not None:
            loader.give_back()

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, *_error) -> None:
        self.release()


class Loader:
    """A session with a job of ohemd.

    endpoint           "ipc:///path" or "tcp://host:port"; None: $OHEM_ENDPOINT, else the usual socket
    job                its name; None: $OHEM_JOB, else "default"
    batch_size         K; 0: the job's own
    credit             batches held at once, those read ahead included; 0: the job's own
    rank               for rounds and logs; None: $RANK, which torchrun sets, else 0
    layout             "packed" (a block [K, L]), "aligned64", or "scattered", where a record lies
                       anywhere: on the same host nothing is copied then, at the price of views of
                       single records
    transport          "auto", or the one that it must be: "inline", "shm", "map"
    fields             what a record consists of, "label = u8@0, image = u8[28,28]@1"; None: as the
                       operator says
    connect_timeout, reconnect_timeout  seconds; 0: 10 and 60
    """

    def __init__(self, endpoint: Optional[str] = None, job: Optional[str] = None, *,
                 batch_size: int = 0, credit: int = 0, rank: Optional[int] = None,
                 layout: str = "packed", transport: str = "auto", fields: Optional[str] = None,
                 agent: Optional[str] = None, connect_timeout: float = 0,
                 reconnect_timeout: float = 0, unacked_bytes_max: int = 0):
        self._client: Optional[int] = None
        self._returns = _Returns()
        for value, allowed, what in ((layout, LAYOUTS, "layout"), (transport, TRANSPORTS, "transport")):
            if value not in allowed:
                raise Invalid(f"{what} is '{value}'; one of {', '.join(allowed)} is allowed")
        rank = int(os.environ.get("RANK", "0")) if rank is None else rank
        options = native.Options(
            ctypes.sizeof(native.Options), _text(endpoint), _text(job or os.environ.get("OHEM_JOB")),
            batch_size, credit, rank, int(1000 * connect_timeout), _text(agent), LAYOUTS[layout],
            TRANSPORTS[transport], _text(fields), unacked_bytes_max, int(1000 * reconnect_timeout))
        client = ctypes.c_void_p()
        code = lib.connect(ctypes.byref(options), ctypes.byref(client))
        if code != 0:
            raise error_of(code, lib.error_name(code).decode(), lib.connect_error().decode())
        self._client = client.value
        self._silence = reconnect_timeout or 60.0
        self.record_bytes: int = lib.record_bytes(self._client)
        self.batch_size: int = lib.batch_size(self._client)
        self.credit: int = lib.credit(self._client)
        self.fields = self._read_fields()

    def _read_fields(self) -> dict:
        """name: (dtype, shape, offset)"""
        fields = {}
        for i in range(lib.field_count(self._client)):
            f = lib.field_at(self._client, i).contents
            fields[f.name.decode()] = (_DTYPES[f.type.decode()], tuple(f.shape[:f.dims]), f.offset)
        return fields

    def _open(self) -> int:
        if self._client is None:
            raise Invalid("the loader is closed")
        return self._client

    def error(self, code: int) -> Exception:
        """The exception for an error of a call on this loader."""
        text = lib.client_error(self._open()).decode() or lib.strerror(code).decode()
        return error_of(code, lib.error_name(code).decode(), text)

    def give_back(self) -> None:
        """Return what nobody refers to any more."""
        self._returns.release()

    def wait(self, timeout: Optional[float], call) -> None:
        """Call it with milliseconds until it does not time out, in slices: Python acts on an
        interrupt between two of them."""
        end = None if timeout is None else time.monotonic() + timeout
        silent = None  # since when
        self._open()
        while True:
            self.give_back()
            left = SLICE_MS if end is None else min(SLICE_MS, _ms(end - time.monotonic()))
            code = call(left)
            if code == 0:
                return
            now = time.monotonic()
            silent = silent or now if code in (native.UNREACHABLE, native.DRAINING) else None
            again = code == native.TIMEDOUT or code == native.UNREACHABLE or (
                code == native.DRAINING and lib.durable(self._open()))
            gave_up = silent is not None and now - silent >= self._silence
            if not again or gave_up or (end is not None and now >= end):
                raise self.error(code)

    def next(self, timeout: Optional[float] = None) -> Batch:
        """The next batch.

        timeout  seconds; 0 only looks, None waits as long as the daemon may be silent
        """
        out = ctypes.c_void_p()
        client = self._open()
        self.wait(timeout, lambda ms: lib.next(client, ms, ctypes.byref(out)))
        return Batch(self, _Held(out.value, self._returns))

    def __iter__(self) -> Iterator[Batch]:
        """Batches without end; each is released when the next one is asked for."""
        while True:
            with self.next() as batch:
                yield batch

    @property
    def instance_count(self) -> int:
        """N: ids are below. It grows with the data set, where the operator lets it."""
        return lib.instance_count(self._open())

    @property
    def round(self) -> int:
        """R: so many ranks are answered together; 0: each by itself."""
        return lib.round(self._open())

    @property
    def session(self) -> int:
        return lib.session(self._open())

    @property
    def transport(self) -> str:
        """How this session's batches come: "inline", "shm" or "map"."""
        return lib.transport_name(lib.transport(self._open())).decode()

    @property
    def transport_reason(self) -> str:
        """Why it is not a better one; "" if it is the layout's best."""
        return lib.transport_reason(self._open()).decode()

    @property
    def is_durable(self) -> bool:
        """Does the daemon keep its memory on disk?"""
        return bool(lib.durable(self._open()))

    def flush(self, timeout: Optional[float] = None) -> None:
        """Wait until every report made so far would survive a restart of the daemon."""
        client = self._open()
        self.wait(timeout, lambda ms: lib.flush(client, ms))

    def keepalive(self, timeout: Optional[float] = None) -> None:
        """Extend the leases of all that is held, as before a long validation pass."""
        client = self._open()
        self.wait(timeout, lambda ms: lib.keepalive(client, ms))

    def close(self) -> None:
        """End the session. Arrays of batches that are still referred to stay good."""
        client, self._client = self._client, None
        if client is not None:
            self.give_back()
            lib.close(client)
            self._returns.is_closed = True
            self.give_back()

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_error) -> None:
        self.close()

    def __del__(self):
        if getattr(self, "_client", None) is not None:
            self.close()
