#!/usr/bin/env python3
"""test_selection_numpy.py - the mining step against a reference in NumPy that shares nothing with it.

The reference writes random cases with its answers in the form of selection.cases, and the unit
test's program checks them: so this runs under every sanitizer, and a failure is a line to copy.
"""
import os
import subprocess

import numpy as np

from harness import case, main

CASES = 10_000
SEED = 20160412


def reference(losses, rule, count, ratio, least):
    """The kept indices: a stable sort, hardest first."""
    finite = np.flatnonzero(np.isfinite(losses))
    if rule == "all":
        return finite
    m = count if count else int(np.floor(np.float64(ratio) * np.float64(len(losses))))
    m = min(max(m, least, 1), len(finite))
    order = np.argsort(-losses[finite].astype(np.float64), kind="stable")
    return np.sort(finite[order[:m]])


def batch_size(random):
    return int(random.choice([random.integers(1, 9), random.integers(1, 65), random.integers(1, 601)]))


def draw_losses(random, k):
    """Smooth, few distinct values, raw bit patterns, neighbours, zeros of either sign; some broken."""
    kind = random.integers(6)
    if kind == 0:
        losses = random.exponential(1.0, k)
    elif kind == 1:
        losses = random.integers(-2, 3, k) / 2
    elif kind == 2:
        losses = random.integers(0, 2**32, k, dtype=np.uint32).view(np.float32)
    elif kind == 3:
        losses = (np.full(k, 1.5, np.float32).view(np.uint32) + random.integers(0, 5, k, dtype=np.uint32)
                  ).view(np.float32)
    elif kind == 4:
        losses = random.choice([0.0, -0.0, 1e-45, -1e-45], k)
    else:
        losses = random.normal(0, 10.0 ** random.integers(-30, 30), k)
    losses = losses.astype(np.float32)
    if random.random() < 0.3:
        broken = random.random(k) < random.choice([0.05, 0.5, 1.0])
        losses[broken] = random.choice(np.array([np.nan, np.inf, -np.inf], np.float32), broken.sum())
    return losses


def draw_case(random):
    losses = draw_losses(random, batch_size(random))
    k = len(losses)
    rule = "all" if random.random() < 0.1 else "top"
    count = int(random.integers(1, 2 * k + 1)) if random.random() < 0.5 else 0
    ratio = float(random.choice([random.integers(1, 101) / 100, 1 - random.random()]))
    least = int(random.choice([0, 1, random.integers(0, k + 2)]))
    kept = reference(losses, rule, count, ratio, least)
    return (f"{rule} count={count} ratio={ratio.hex()} min={least} | "
            f"{' '.join(float(x).hex() for x in losses)} | {' '.join(map(str, kept))}\n")


@case
def random_selections_are_those_of_numpy():
    random = np.random.default_rng(SEED)
    with np.errstate(invalid="ignore"), open("random.cases", "w", encoding="ascii") as file:
        for _ in range(CASES):
            file.write(draw_case(random))
    program = os.path.join(os.environ.get("OHEM_BUILD", "build/gcc"), "tests/unit/test_selection")
    done = subprocess.run([program, "each_line_keeps_what_it_says"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          env=dict(os.environ, OHEM_CASES=os.path.abspath("random.cases")))
    print(done.stdout)
    assert done.returncode == 0, "a selection differs from NumPy's"
    assert f"{CASES} cases" in done.stdout, "not all cases were looked at"


main(globals())
