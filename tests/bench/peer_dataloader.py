#!/usr/bin/env python3
"""peer_dataloader.py - torch.utils.data.DataLoader on the bench's LMDB folders.

Reads lines "FOLDER COUNT SIZE FETCH WORKERS SECONDS" (SIZE 0: records differ) and answers each with
one line of numbers: instances per second, bytes per second, CPU seconds per second, resident MB,
milliseconds to the first batch. The first line that it prints is "ready" and the versions, or
"missing" and a module.

FETCH is one of
  default  a Dataset that gives a record as a tensor, and the default collate: records of one size
           become a [K, L] tensor, others stay a list
  batched  as an expert does it: the sampler gives K indices at once and the Dataset one tensor,
           copied together; with workers it is made in shared memory, so that nothing is copied again
  views    a list of K tensors that look into LMDB's map, as long as its transaction is open: no
           copy, but nothing that a trainer could keep, write to, or use as one tensor either
The samplers never end: there is no pause between epochs. The trainer reads every byte.
"""
import os
import resource
import sys
import time
import warnings

try:
    import lmdb
    import numpy as np
    import torch
    from torch.utils import data
except ImportError as missing:
    print("missing", missing.name, flush=True)
    sys.exit(0)

BATCH = 256
TICKS = os.sysconf("SC_CLK_TCK")
ENDLESS = 1 << 40


class Records:
    """An LMDB folder; opened anew in each worker, as LMDB asks for."""

    def __init__(self, folder, count, buffers):
        self.folder, self.count, self.buffers = folder, count, buffers
        self.keys = [b"%08u" % i for i in range(count)]
        self.txn = None

    def get(self, index):
        if self.txn is None:
            env = lmdb.open(self.folder, readonly=True, lock=False, readahead=False)
            self.txn = env.begin(buffers=self.buffers)
        return self.txn.get(self.keys[index])

    def __len__(self):
        return self.count


class Each(Records, data.Dataset):
    def __getitem__(self, index):
        return torch.frombuffer(self.get(index), dtype=torch.uint8)


class Batched(Records, data.Dataset):
    """The batch as one tensor. The records of one size lie as [K, L]."""

    def __getitem__(self, indices):
        records = [self.get(i) for i in indices]
        if data.get_worker_info() is None:
            return torch.frombuffer(bytearray().join(records), dtype=torch.uint8)
        total = sum(map(len, records))
        out = torch.empty(0, dtype=torch.uint8)
        out = out.new(out.storage()._new_shared(total, device="cpu"))  # as default_collate does
        view, at = memoryview(out.numpy()), 0
        for record in records:
            end = at + len(record)
            view[at:end] = record
            at = end
        return out


class Batches(data.Sampler):
    """Without end: K random indices, drawn by numpy."""

    def __init__(self, count):
        self.count = count
        self.random = np.random.default_rng(1)

    def __iter__(self):
        while True:
            yield self.random.integers(self.count, size=BATCH).tolist()


def make_loader(folder, count, size, fetch, workers):
    if fetch == "batched":
        return data.DataLoader(Batched(folder, count, True), sampler=Batches(count),
                               batch_size=None, num_workers=workers)
    dataset = Each(folder, count, fetch == "views")
    order = data.RandomSampler(dataset, num_samples=ENDLESS)  # one permutation after the other
    collate = None if size and fetch == "default" else list
    return data.DataLoader(dataset, batch_size=BATCH, sampler=order, collate_fn=collate,
                           num_workers=workers)


def read(tensor):
    """Read every byte. @return how many."""
    flat = tensor.numpy().reshape(-1)
    words = flat.size // 8 * 8
    flat[:words].view(np.uint64).sum()
    if words < flat.size:
        flat[words:].sum()
    return flat.size


def read_batch(batch):
    return sum(map(read, batch)) if isinstance(batch, list) else read(batch)


def cpu_seconds(pids):
    """Of this process and its workers."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = usage.ru_utime + usage.ru_stime
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / TICKS
    return seconds


def resident_mb():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def measure(folder, count, size, fetch, workers, seconds):
    began = time.perf_counter()
    batches = iter(make_loader(folder, count, size, fetch, workers))
    read_batch(next(batches))
    first_ms = (time.perf_counter() - began) * 1e3
    warm_until = time.perf_counter() + seconds / 3
    while time.perf_counter() < warm_until:
        read_batch(next(batches))
    pids = [w.pid for w in getattr(batches, "_workers", [])]
    cpu, began = cpu_seconds(pids), time.perf_counter()
    done = seen = 0
    while time.perf_counter() - began < seconds:
        seen += read_batch(next(batches))
        done += BATCH
    took = time.perf_counter() - began
    return done / took, seen / took, (cpu_seconds(pids) - cpu) / took, resident_mb(), first_ms


def main():
    warnings.filterwarnings("ignore", message=".*not writable.*")  # nothing writes
    print("ready torch", torch.__version__, "lmdb", lmdb.__version__, flush=True)
    for line in sys.stdin:
        folder, count, size, fetch, workers, seconds = line.split()
        print(*measure(folder, int(count), int(size), fetch, int(workers), float(seconds)),
              flush=True)


main()
