#!/usr/bin/env python3
"""test_selection_numpy.py - the mining step against a reference in NumPy that shares nothing with it.

The reference writes random cases with its answers in the form of selection.cases, and the unit
test's program checks them: so this runs under every sanitizer, and a failure is a line to copy.
"""
import os
import subprocess

import numpy as np

from harness import case, main

CASES = 42_000  # 10,000 and more of each rule but `all`
SEED = 20160412
POSITIVE, IGNORED = 1, 2
PHILOX_MULTIPLIERS, PHILOX_WEYL = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85)


def philox(counters, key):
    """Philox4x32-10 (Salmon et al., SC 2011) of each row of four counters."""
    c = counters.astype(np.uint64)
    low = np.uint64(0xFFFFFFFF)
    for step in range(10):
        k = [np.uint64((int(word) + step * weyl) & 0xFFFFFFFF)
             for word, weyl in zip(key, PHILOX_WEYL)]
        p0, p1 = (c[:, at] * np.uint64(m) for at, m in zip((0, 2), PHILOX_MULTIPLIERS))
        c = np.stack([(p1 >> np.uint64(32)) ^ c[:, 1] ^ k[0], p1 & low,
                      (p0 >> np.uint64(32)) ^ c[:, 3] ^ k[1], p0 & low], axis=1)
    return c


def chances(k, policy):
    """A number in [0, 1) for each position: 53 bits of the first two words at (step, position)."""
    counters = np.zeros((k, 4), np.uint64)
    counters[:, 0], counters[:, 2] = policy["step"], np.arange(k)
    words = philox(counters, (policy["key"] & 0xFFFFFFFF, policy["key"] >> 32))
    return (((words[:, 1] << np.uint64(32)) | words[:, 0]) >> np.uint64(11)) * 2.0**-53


def how_many(losses, k, policy):
    """M, before min and those that may be selected bound it."""
    if policy["rule"] == "threshold":
        above = int(np.sum(losses.astype(np.float64) > policy["above"]))
        return min(above, policy["max"]) if policy["max"] else above
    anneals = policy["from"] > 0 and policy["step"] < policy["steps"]
    if policy["count"] and not anneals:
        return policy["count"]
    share = policy["count"] / k if policy["count"] else policy["ratio"]
    if anneals:
        share = policy["from"] + (share - policy["from"]) * (policy["step"] / policy["steps"])
    return min(k, int(np.floor(np.float64(share) * np.float64(k))))


def hardest(losses, candidates, m):
    """The m largest of the candidates, ties by position: a stable sort, hardest first."""
    order = np.argsort(-losses[candidates].astype(np.float64), kind="stable")
    return candidates[order[:m]]


def negatives_and_positives(losses, flags, free, policy):
    is_positive = (flags[free] & POSITIVE) != 0
    positives, negatives = free[is_positive], free[~is_positive]
    m = int(np.floor(policy["negatives"] * len(positives))) if len(positives) else policy["without"]
    m = max(m, max(policy["min"], 1) - len(positives))
    return np.concatenate([positives, hardest(losses, negatives, m)])


def by_chance(losses, free, policy):
    """@return the kept, and the weight of each"""
    recent = np.array(policy["recent"][-1024:], np.float32)
    recent = recent[np.isfinite(recent)]
    if not len(free):
        return free, []
    mine = losses[free][:, None]
    share = (np.mean((recent < mine) + 0.5 * (recent == mine), axis=1) if len(recent)
             else np.ones(len(free)))
    p = np.maximum(share**policy["power"], policy["floor"])
    inclusion = p.copy()
    last = hardest(losses, np.arange(len(losses))[free], 1)[0]
    inclusion[free == last] += np.prod(1 - p)
    kept = chances(len(losses), policy)[free] < p
    if not kept.any():
        kept = free == last
    return free[kept], 1 / inclusion[kept]


def reference(losses, flags, policy):
    """The kept indices, ascending, and their weights (none: all 1)."""
    free = np.flatnonzero(np.isfinite(losses) & ((flags & IGNORED) == 0))
    if policy["rule"] == "all":
        return free, []
    if policy["rule"] == "cdf":
        return by_chance(losses, free, policy)
    if policy["rule"] == "negpos":
        return np.sort(negatives_and_positives(losses, flags, free, policy)), []
    m = max(how_many(losses[free], len(losses), policy), policy["min"], 1)
    return np.sort(hardest(losses, free, m)), []


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


def draw_flags(random, k):
    """None, some, all positive; none, some, all ignored."""
    if random.random() < 0.3:
        return np.zeros(k, np.uint8)
    positive, ignored = random.choice([0.0, 0.1, 0.5, 1.0]), random.choice([0.0, 0.0, 0.2, 1.0])
    return (POSITIVE * (random.random(k) < positive) +
            IGNORED * (random.random(k) < ignored)).astype(np.uint8)


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
