"""judge.py - is what the daemon remembers what the trainers reported? Counted from their logs alone.

In strict order what has to be there follows from the batches alone: each step's report, in the order
of the steps. In free order: each report is applied once, in the order of the LSNs. Of a trainer that was killed
the latest reports may be applied or not; whether they are is read from the visits of their ids, and
where they stand from the scores, which must then fit on all their ids.
What is counted: instances of reports that are `lost` or `doubled` (by the visits), instances whose
memory is another's (`misattributed`), instances that a closed epoch lacks (`missing`).

A report that was answered but not durable is gone with the daemon when its trainer is killed, too:
nobody is left who has it. Those are counted as `gone_with_both`, and must be just that: the daemon
that answered was killed within commit_ms + COMMIT_MS.
"""
import hashlib
import itertools

import numpy as np

from losses import Scores, losses_of

COMMIT_MS = 800       # that the commit itself may take
SLACK_US = 1_000_000  # that a message of a dead trainer may still take to be applied
TRIES_MAX = 200_000   # places of unplaced reports that are tried for one instance


class State:
    """What chaos_state printed."""

    def __init__(self, lines, n):
        self.rows = np.zeros((n, 5), np.uint32)
        self.epochs = []
        for line in lines:
            kind, *words = line.split()
            numbers = [int(word) for word in words]
            if kind == "job":
                self.lsn, self.step, self.closed_count = numbers
            elif kind == "epoch":
                self.epochs.append(dict(zip(
                    ("epoch", "instances", "reported", "released", "returned", "repeated",
                     "skipped", "missing", "closed"), numbers)))
            else:
                self.rows[numbers[0]] = numbers[1:]


class Verdict:
    """Counts, and in words what is wrong."""

    def __init__(self):
        self.reports = self.lost = self.doubled = self.misattributed = self.missing = 0
        self.gone_with_both = self.unanswered_applied = self.epochs_closed = 0
        self.returned = self.late = self.unplaced = self.refused = 0
        self.wrong = []

    def is_good(self):
        return not (self.lost or self.doubled or self.misattributed or self.missing or self.wrong)

    def line(self):
        return (f"reports {self.reports} lost {self.lost} doubled {self.doubled} "
                f"misattributed {self.misattributed} missing {self.missing}")

    def details(self):
        return (f"epochs_closed {self.epochs_closed} returned {self.returned} late {self.late} "
                f"refused {self.refused} gone_with_both {self.gone_with_both} "
                f"applied_unanswered {self.unanswered_applied} placed_by_scores {self.unplaced}")


def finite_ids(report):
    ids = report.batch.ids
    return ids[np.isfinite(losses_of(ids, report.step))]


def judge_epochs(state, settled, verdict):
    """settled: per id, how often a batch that covered it was settled at most."""
    verdict.epochs_closed = state.closed_count
    verdict.missing = int(np.maximum(state.closed_count - settled, 0).sum())
    for epoch in state.epochs:
        verdict.returned += epoch["returned"]
        whole = epoch["reported"] + epoch["released"] + epoch["skipped"]
        if epoch["closed"] and (epoch["missing"] or whole != epoch["instances"]):
            verdict.missing += max(1, epoch["instances"] - whole)
            verdict.wrong.append(f"an epoch is closed and not whole: {epoch}")


# ---- free order --------------------------------------------------------------------------------


class FreeJudge:
    """One run in free order."""

    def __init__(self, run, lines):
        self.logs, self.daemon_lives = run.logs(), run.daemon_lives
        self.n = run.settings.instances
        self.gone_us = (run.settings.commit_ms + COMMIT_MS) * 1000
        self.state = State(lines, self.n)
        self.verdict = Verdict()
        self.certain, self.optional = [], []

    def judge(self):
        self._collect()
        applied = self.certain + self._decide()
        self.verdict.reports = len(applied)
        self.verdict.late = sum(r.late for r in applied)
        if self.state.lsn != len(applied):
            self.verdict.wrong.append(f"{self.state.lsn} reports were applied, "
                                      f"{len(applied)} are known")
        self._replay(applied)
        self._cover(applied)
        return self.verdict

    def _collect(self):
        steps = {}
        for log in self.logs:
            self.verdict.wrong += [f"{log.path}: {what}" for what in log.wrong]
            for step in log.batches:
                if step in steps:
                    self.verdict.wrong.append(f"step {step} in {log.path} and {steps[step]}")
                steps[step] = log.path
            for report in log.reports.values():
                self._classify(log, report)

    def _classify(self, log, report):
        if report.refused is not None:
            self.verdict.refused += 1
            self.verdict.wrong.append(f"{log.path}: step {report.step}: error {report.refused}")
        elif log.killed_us is None or report.durable_life is not None:
            self.certain.append(report)
        elif report.answered_us is not None and not self._died_soon_after(report):
            self.certain.append(report)
        else:
            self.optional.append(report)

    def _died_soon_after(self, report):
        """Was the daemon that answered killed before it can be said to have saved all?"""
        life = next(d for d in self.daemon_lives if d.boot == report.answered_boot)
        return life.killed and life.ended_us - report.answered_us < self.gone_us

    def _decide(self):
        """Which of the optional are applied: from the visits of ids that no other could explain."""
        left = self.state.rows[:, 0].astype(np.int64)
        for report in self.certain:
            np.subtract.at(left, finite_ids(report), 1)
        open_on = np.zeros(self.n, np.int64)
        for report in self.optional:
            np.add.at(open_on, finite_ids(report), 1)
        applied, undecided = [], list(self.optional)
        while undecided:
            decided = [(r, a) for r in undecided for a in [self._look(r, left, open_on)]
                       if a is not None]
            if not decided:
                self.verdict.wrong.append(f"{len(undecided)} reports cannot be told apart")
                break
            # one at a time would be exact; those of one round are checked by the rest's visits
            for report, is_applied in decided:
                undecided.remove(report)
                np.subtract.at(open_on, finite_ids(report), 1)
                if is_applied:
                    applied.append(report)
                    np.subtract.at(left, finite_ids(report), 1)
                elif report.answered_us is not None:
                    self.verdict.gone_with_both += 1
                self.verdict.unanswered_applied += is_applied and report.answered_us is None
        self.verdict.lost = int(-left[left < 0].sum())
        self.verdict.doubled = int(left[left > 0].sum())
        return applied

    @staticmethod
    def _look(report, left, open_on):
        """True, False, or None: not to be told yet."""
        ids = finite_ids(report)
        alone = ids[open_on[ids] == 1]
        if len(alone) == 0:
            return None
        return bool((left[alone] > 0).sum() * 2 > len(alone))

    # ---- scores ----

    def _replay(self, applied):
        placed = sorted((r for r in applied if r.lsn_is_final()), key=lambda r: r.lsn)
        unplaced = [r for r in applied if not r.lsn_is_final()]
        self.verdict.unplaced = len(unplaced)
        for a, b in itertools.pairwise(placed):
            if a.lsn == b.lsn:
                self.verdict.wrong.append(f"steps {a.step} and {b.step} both have LSN {a.lsn}")
        scores = Scores(self.n)
        for report in placed:
            scores.report(report.batch.ids, losses_of(report.batch.ids, report.step), report.step)
        differs = (scores.rows() != self.state.rows).any(axis=1)
        visits = scores.visits.astype(np.uint32) != self.state.rows[:, 0]
        tainted = np.zeros(self.n, bool)
        for report in unplaced:
            tainted[finite_ids(report)] = True
        self.verdict.misattributed = int((differs & ~tainted & ~visits).sum())
        if unplaced:
            self._place(placed, unplaced, tainted)

    def _place(self, placed, unplaced, tainted):
        """Every tainted instance must have come about by reports in one of the free places."""
        taken = {r.lsn for r in placed}
        free = [lsn for lsn in range(1, self.state.lsn + 1) if lsn not in taken]
        histories = {int(i): [] for i in np.flatnonzero(tainted)}
        for report in placed:
            for i in report.batch.ids[tainted[report.batch.ids]]:
                histories[int(i)].append((report.lsn, report.step))
        waiting = {int(i): [] for i in histories}
        places = {}
        for report in unplaced:
            places[report] = self._in_time(report, placed, free)
            for i in finite_ids(report):
                waiting[int(i)].append(report)
        bad = set()
        for i in sorted(waiting, key=lambda i: len(waiting[i])):
            if not self._fits(i, histories[i], waiting[i], places):
                bad.add(i)
        self.verdict.misattributed += len(bad)
        if not bad:
            self._match(unplaced, places)

    @staticmethod
    def _in_time(report, placed, free):
        """Free places behind all that was answered before it was made, and before what was made
        when its trainer had been dead for long."""
        died_us = report.trainer.killed_us
        low = max((r.lsn for r in placed if r.answered_us < report.us), default=0)
        high = min((r.lsn for r in placed if died_us and r.us > died_us + SLACK_US),
                   default=1 << 62)
        return [lsn for lsn in free if low < lsn < high]

    def _fits(self, i, history, reports, places):
        """Does some choice of places explain the instance? Those that no choice uses go."""
        choices = [places[r] for r in reports]
        if int(np.prod([len(c) for c in choices], dtype=np.float64)) > TRIES_MAX:
            self.verdict.wrong.append(f"instance {i}: too many ways to explain it")
            return True
        used = [set() for _ in reports]
        for choice in itertools.product(*choices):
            if len(set(choice)) < len(choice):
                continue
            if self._explains(i, history, zip(choice, (r.step for r in reports))):
                for place, mine in zip(choice, used):
                    mine.add(place)
        for report, mine in zip(reports, used):
            if mine:
                places[report] = sorted(mine)
        return all(used)

    def _explains(self, i, history, more):
        one = Scores(1)
        at = np.zeros(1, np.int64)
        for _, step in sorted(itertools.chain(history, more)):
            one.report(at, losses_of(np.array([i], np.int64), step), step)
        return bool((one.rows()[0] == self.state.rows[i]).all())

    def _match(self, unplaced, places):
        """Each report needs a place of its own: augmenting paths."""
        holder = {}

        def seat(report, seen):
            for place in places[report]:
                if place not in seen:
                    seen.add(place)
                    if place not in holder or seat(holder[place], seen):
                        holder[place] = report
                        return True
            return False

        for report in unplaced:
            if not seat(report, set()):
                self.verdict.wrong.append(f"step {report.step}: no place is left for its report")

    # ---- coverage ----

    def _cover(self, applied):
        settled = np.zeros(self.n, np.int64)
        for report in applied:
            if not report.late:
                np.add.at(settled, report.batch.ids[:report.batch.coverage_count], 1)
        for log in self.logs:
            for batch in log.batches.values():
                if batch.released_unreported:
                    np.add.at(settled, batch.ids[:batch.coverage_count], 1)
        judge_epochs(self.state, settled, self.verdict)


# ---- strict order ------------------------------------------------------------------------------


class StrictJudge:
    """One run in strict order, up to (and without) a step."""

    def __init__(self, run, lines, steps):
        self.logs, self.steps, self.n = run.logs(), steps, run.settings.instances
        self.state = State(lines, self.n)
        self.verdict = Verdict()
        self.sequence_digest = None

    def judge(self):
        verdict = self.verdict
        batches = self._batches()
        scores, settled = Scores(self.n), np.zeros(self.n, np.int64)
        for step in range(self.steps):
            if step in batches:
                self._apply(scores, batches[step])
            else:
                verdict.wrong.append(f"step {step} was never handed out")
        for batch in batches.values():
            np.add.at(settled, batch.ids[:batch.coverage_count], 1)
        self._digest(batches)
        surplus = self.state.rows[:, 0].astype(np.int64) - scores.visits
        verdict.lost, verdict.doubled = int(-surplus[surplus < 0].sum()), int(surplus[surplus > 0].sum())
        differs = (scores.rows() != self.state.rows).any(axis=1)
        verdict.misattributed = int((differs & (surplus == 0)).sum())
        judge_epochs(self.state, settled, verdict)
        return verdict

    def assert_same_run(self, other, name):
        """Bit for bit: the sequence of (step, ids), and the scores at the end."""
        print(f"sha256 {self.sequence_digest}, {name} {other.sequence_digest}")
        assert other.sequence_digest == self.sequence_digest, f"{name}: another sequence"
        assert (other.state.rows == self.state.rows).all(), f"{name}: other scores"

    def _batches(self):
        """By step, whoever had it: the same ids."""
        batches, reported = {}, set()
        for log in self.logs:
            self.verdict.wrong += [f"{log.path}: {what}" for what in log.wrong]
            for step, batch in log.batches.items():
                if not np.array_equal(batches.setdefault(step, batch).ids, batch.ids):
                    self.verdict.wrong.append(f"step {step} was handed out with other ids")
            for step, report in log.reports.items():
                reported.add(step)
                if report.refused is not None:
                    self.verdict.refused += 1
                    self.verdict.wrong.append(f"{log.path}: step {step}: error {report.refused}")
        for step in batches:
            batches[step].released_unreported = step not in reported
        self.verdict.reports = len(reported)
        return batches

    @staticmethod
    def _apply(scores, batch):
        if not batch.released_unreported:
            scores.report(batch.ids, losses_of(batch.ids, batch.step), batch.step)

    def _digest(self, batches):
        digest = hashlib.sha256()
        for step in range(self.steps):
            if step in batches:
                digest.update(np.uint64(step).tobytes() + batches[step].ids.tobytes())
        self.sequence_digest = digest.hexdigest()
