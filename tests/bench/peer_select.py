#!/usr/bin/env python3
"""peer_select.py - how long others take to choose half of K losses: numpy.partition and torch.topk.

Prints a line `K NUMPY_NS TORCH_NS` for each K, each the median of many calls on one thread. NumPy finds the threshold alone; torch
gives the values and the indices, not in the order of the batch.
"""
import time

import numpy as np
import torch

SECONDS = 0.4  # for each number
POOL = 4_000_000  # losses, more than the caches hold


def median_ns(call, pool, k):
    times, at, end = [], 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end or len(times) < 5:
        losses = pool[at:at + k]
        at = at + k if at + 2 * k <= len(pool) else 0
        began = time.perf_counter_ns()
        call(losses)
        times.append(time.perf_counter_ns() - began)
    return float(np.median(times))


def main():
    torch.set_num_threads(1)
    numbers = np.random.default_rng(1).exponential(size=POOL).astype(np.float32)
    tensor = torch.from_numpy(numbers)
    for k in (256, 4096, 65536, 1000000):
        numpy_ns = median_ns(lambda x, m=k // 2: np.partition(x, m), numbers, k)
        torch_ns = median_ns(lambda x, m=k // 2: torch.topk(x, m, sorted=False), tensor, k)
        print(k, numpy_ns, torch_ns, flush=True)


main()
