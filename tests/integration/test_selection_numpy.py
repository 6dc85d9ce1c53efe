#!/usr/bin/env python3
"""test_selection_numpy.py - the mining step against a reference in NumPy that shares nothing with it.

The reference writes random cases with its answers in the form of selection.cases, and the unit
test's program checks them: so this runs under every sanitizer, and a failure is a line to copy.
"""
import os
import subprocess

import numpy as np

from harness import case, main
from selection_reference import draw_flags, draw_losses, reference

# 10,000 and more of each rule but `all`; there is no thread in it
CASES = 42_000 if os.environ.get("OHEM_PART") != "thread" else 2_000
SEED = 20160412


def batch_size(random):
    return int(random.choice([random.integers(1, 9), random.integers(1, 65), random.integers(1, 601)]))


def draw_policy(random, losses):
    """Every setting of every rule; a threshold, and a recent loss, is often one of the losses."""
    k = len(losses)
    finite = losses[np.isfinite(losses)]
    above = random.choice(finite) if len(finite) and random.random() < 0.8 else random.normal()
    rule = str(random.choice(["all", "top", "threshold", "negpos", "cdf"],
                             p=[0.04, 0.24, 0.24, 0.24, 0.24]))
    steps = int(random.integers(1, 1000)) if random.random() < 0.3 else 0
    recent = []
    if rule == "cdf":
        recent = list(random.choice(losses, random.integers(0, 100))) + list(
            random.normal(size=random.choice([0, 20, 1100], p=[0.5, 0.48, 0.02])).astype(np.float32))
    return {
        "rule": rule,
        "count": int(random.integers(1, 2 * k + 1)) if random.random() < 0.5 else 0,
        "ratio": float(random.choice([random.integers(1, 101) / 100, 1 - random.random()])),
        "from": 1 - random.random() if steps else 0.0,
        "steps": steps,
        "step": int(random.integers(0, 2 * steps + 1)),
        "above": float(above),
        "max": int(random.integers(1, k + 2)) if random.random() < 0.5 else 0,
        "min": int(random.choice([0, 1, random.integers(0, k + 2)])),
        "negatives": float(random.choice([3.0, 1.0, random.exponential(2.0) + 1e-3, 1e6])),
        "without": int(random.choice([0, 1, random.integers(0, k + 2)])),
        "power": float(random.choice([0.0, 1.0, 3.0, random.exponential(5.0)])),
        "floor": float(random.choice([0.05, 1.0, 1e-6])),
        "key": int(random.integers(0, 2**63)),
        "recent": recent,
    }


def words_of(policy):
    for name, value in policy.items():
        for x in value if name == "recent" else [] if name == "rule" else [value]:
            yield f"{name}={x if isinstance(x, int) else float(x).hex()}"


def draw_case(random):
    losses = draw_losses(random, batch_size(random))
    flags = draw_flags(random, len(losses))
    policy = draw_policy(random, losses)
    kept, weights = reference(losses, flags, policy)
    marks = [("", "#", "!", "#!")[flag] for flag in flags.tolist()]
    line = (f"{policy['rule']} {' '.join(words_of(policy))} | "
            f"{' '.join(x.hex() + mark for x, mark in zip(losses.tolist(), marks))} | "
            f"{' '.join(map(str, kept))}")
    return line + (f" | {' '.join(float(w).hex() for w in weights)}\n" if len(weights) else "\n")


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
