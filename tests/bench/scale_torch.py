#!/usr/bin/env python3
"""scale_torch.py N - ns per draw of an epoch of N with torch's WeightedRandomSampler; or "missing"."""
import sys
import time

try:
    import torch
    from torch.utils import data
except ImportError as missing:
    print("missing", missing.name)
    sys.exit(0)

n = int(sys.argv[1])
weights = torch.rand(n, dtype=torch.float64) + 0.01
sampler = data.WeightedRandomSampler(weights, n)
began = time.perf_counter()
for _ in sampler:
    pass
print((time.perf_counter() - began) / n * 1e9)
