"""losses.py - the loss of an instance at a step, as loss.h has it, and what the scores become of it.

Written from DESIGN 5, not from hardness.c: float32 throughout, lambda 0.5. Arrays are numpy's.
"""
import numpy as np

F32 = np.float32
HALF = F32(0.5)
VARIANCE_MAX = F32(2.0 ** 127)


def hash64(x):
    x = x ^ (x >> np.uint64(30))
    x = x * np.uint64(0xbf58476d1ce4e5b9)
    x = x ^ (x >> np.uint64(27))
    x = x * np.uint64(0x94d049bb133111eb)
    return x ^ (x >> np.uint64(31))


def losses_of(ids, step):
    """float32 per id; NaN where the trainer reports none."""
    start = ((step + 1) * 0x9e3779b97f4a7c15) & 0xffffffffffffffff
    h = hash64(np.uint64(start) + ids.astype(np.uint64))
    loss = (h >> np.uint64(40)).astype(F32) / F32(1048576)
    low = h % np.uint64(1024)
    return np.where(low < 4, F32("nan"), np.where(low < 20, -loss, loss)).astype(F32)


def stored_variance(v):
    """The upper 16 bits of a float32, rounded to nearest, ties to even."""
    u = np.minimum(v, VARIANCE_MAX).astype(F32).view(np.uint32)
    u = u + np.uint32(0x7fff) + ((u >> np.uint32(16)) & np.uint32(1))
    return (u & np.uint32(0xffff0000)).view(F32)


class Scores:
    """The memory of n instances."""

    def __init__(self, n):
        self.score, self.variance, self.last_loss = (np.zeros(n, F32) for _ in range(3))
        self.visits, self.last_step = np.zeros(n, np.int64), np.zeros(n, np.int64)

    def report(self, ids, losses, step):
        """One report; an id that stands in it twice is taken twice, in its order."""
        if len(np.unique(ids)) < len(ids):
            for i in range(len(ids)):
                self._report_distinct(ids[i:i + 1], losses[i:i + 1], step)
        else:
            self._report_distinct(ids, losses, step)

    def _report_distinct(self, ids, losses, step):
        finite = np.isfinite(losses)
        ids, losses = ids[finite], losses[finite]
        counted = np.maximum(losses, F32(0))
        first = self.visits[ids] == 0
        old = self.score[ids]
        away = counted - old
        spread = stored_variance(HALF * (self.variance[ids] + HALF * (away * away)))
        self.variance[ids] = np.where(first, F32(0), spread)
        self.score[ids] = np.where(first, counted, old + HALF * away)
        self.last_loss[ids] = losses
        self.last_step[ids] = step
        self.visits[ids] += 1

    def rows(self):
        """uint32[n, 5]: visits, score, last loss, variance (by their bits), last step."""
        return np.stack([self.visits.astype(np.uint32), self.score.view(np.uint32),
                         self.last_loss.view(np.uint32), self.variance.view(np.uint32),
                         self.last_step.astype(np.uint32)], axis=1)
