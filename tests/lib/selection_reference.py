"""selection_reference.py - the mining step in NumPy, sharing nothing with ohemd's; and random losses.

A policy is a dictionary: rule, and whatever that rule reads.
"""
import numpy as np

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
