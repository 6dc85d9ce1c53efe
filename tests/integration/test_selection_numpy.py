#!/usr/bin/env python3
"""test_selection_numpy.py - the mining step against a reference in NumPy that shares nothing with it.

The reference writes random cases with its answers in the form of selection.cases, and the unit
test's program checks them: so this runs under every sanitizer, and a failure is a line to copy.
"""
import os
import subprocess

import numpy as np

from harness import case, main

CASES = 30_000  # 12,000 and more of each rule but `all`
SEED = 20160412


def how_many(losses, policy):
    """M, before min and the finite losses bound it."""
    k = len(losses)
    if policy["rule"] == "threshold":
        above = int(np.sum(losses[np.isfinite(losses)].astype(np.float64) > policy["above"]))
        return min(above, policy["max"]) if policy["max"] else above
    anneals = policy["from"] > 0 and policy["step"] < policy["steps"]
    if policy["count"] and not anneals:
        return policy["count"]
    share = policy["count"] / k if policy["count"] else policy["ratio"]
    if anneals:
        share = policy["from"] + (share - policy["from"]) * (policy["step"] / policy["steps"])
    return min(k, int(np.floor(np.float64(share) * np.float64(k))))


def reference(losses, policy):
    """The kept indices: a stable sort, hardest first."""
    finite = np.flatnonzero(np.isfinite(losses))
    if policy["rule"] == "all":
        return finite
    m = min(max(how_many(losses, policy), policy["min"], 1), len(finite))
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


def draw_policy(random, losses):
    """Every setting of every rule; a threshold is often one of the losses."""
    k = len(losses)
    finite = losses[np.isfinite(losses)]
    above = random.choice(finite) if len(finite) and random.random() < 0.8 else random.normal()
    steps = int(random.integers(1, 1000)) if random.random() < 0.3 else 0
    return {
        "rule": str(random.choice(["all", "top", "threshold"], p=[0.1, 0.5, 0.4])),
        "count": int(random.integers(1, 2 * k + 1)) if random.random() < 0.5 else 0,
        "ratio": float(random.choice([random.integers(1, 101) / 100, 1 - random.random()])),
        "from": 1 - random.random() if steps else 0.0,
        "steps": steps,
        "step": int(random.integers(0, 2 * steps + 1)),
        "above": float(above),
        "max": int(random.integers(1, k + 2)) if random.random() < 0.5 else 0,
        "min": int(random.choice([0, 1, random.integers(0, k + 2)])),
    }


def draw_case(random):
    losses = draw_losses(random, batch_size(random))
    policy = draw_policy(random, losses)
    words = " ".join(f"{name}={x.hex() if isinstance(x, float) else x}"
                     for name, x in policy.items() if name != "rule")
    return (f"{policy['rule']} {words} | {' '.join(float(x).hex() for x in losses)} | "
            f"{' '.join(map(str, reference(losses, policy)))}\n")


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
