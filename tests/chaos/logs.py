"""logs.py - what a trainer wrote (chaos_trainer.c): its batches, and what is known of each report.

Of a report a log knows whether it was applied for sure, and in which place (LSN). Neither is plain:
a daemon that is killed forgets the latest reports, gets them again and applies them in another
order. So an answer's LSN stands only if the daemon that gave it lived until the report was durable
(or until the trainer died), or if a later one says that it has the report already.
"""
import numpy as np

REPEATED, LATE = 2, 1
NO_SESSION = 24  # the error after which the library says it again


class Batch:
    """Instances that a trainer was handed."""

    def __init__(self, us, step, epoch, coverage_count, ids):
        self.us, self.step, self.epoch, self.coverage_count = us, step, epoch, coverage_count
        self.ids = np.array(ids, np.int64)
        self.released_unreported = False


class Report:
    """A report of a batch, by one trainer."""

    def __init__(self, us, batch):
        self.us, self.batch, self.step = us, batch, batch.step
        self.seqs = []
        self.lsn = None         # of the last answer that said it was applied just then
        self.lsn_life = None    # the daemon's life (counted by WELCOMEs) that said so
        self.answered_us = None
        self.answered_boot = None  # by which daemon: its answer may be read long after its death
        self.confirmed = False  # a later life has it already, in that place
        self.durable_life = None
        self.refused = None     # the error that answered it
        self.late = False
        self.trainer = None     # Log

    def lsn_is_final(self):
        if self.lsn is None:
            return False
        return (self.confirmed or self.lsn_life == self.trainer.lives or
                (self.durable_life is not None and self.durable_life <= self.lsn_life + 1))


class Log:
    """One trainer's life."""

    def __init__(self, path, killed_us):
        self.path, self.killed_us = path, killed_us  # None: it ended by itself
        self.lives = 0  # of daemons that it was welcomed by
        self.batches, self.reports, self.by_seq = {}, {}, []
        self.arrivals, self.welcomes = [], []  # (us, step), (us, boot)
        self.flushed = False
        self.wrong = []
        self.durable_seq = 0
        with open(path, encoding="ascii") as file:
            for line in file:
                if line.endswith("\n"):
                    self._take(line[0], [int(word) for word in line[2:].split()])
        if killed_us is None and not self.flushed:
            self.wrong.append("ended without a flush")

    def _take(self, kind, words):
        taker = getattr(self, f"_take_{kind}", None)
        if taker is not None:
            taker(*words)

    def _take_W(self, us, boot, _session):
        if not self.welcomes or self.welcomes[-1][1] != boot:
            self.lives += 1
        self.welcomes.append((us, boot))

    def _take_G(self, us, step):
        self.arrivals.append((us, step))

    def _take_B(self, us, step, epoch, coverage_count, *ids):
        batch = Batch(us, step, epoch, coverage_count, ids)
        old = self.batches.get(step)
        if old is not None and not np.array_equal(old.ids, batch.ids):
            self.wrong.append(f"step {step} was handed out with other ids")
        self.batches[step] = old or batch

    def _take_R(self, us, step):
        report = self.reports.get(step)
        if report is None:
            report = self.reports[step] = Report(us, self.batches[step])
            report.trainer = self
        self.by_seq.append(report)
        report.seqs.append(len(self.by_seq))

    def _take_S(self, us, step, seq, lsn, flags, durable_seq):
        report = self.reports[step]
        if seq not in report.seqs:
            self.wrong.append(f"step {step}: answer to report {seq}, which is another's")
        report.late = report.late or bool(flags & LATE)
        says_place = lsn > 0 or not flags & REPEATED
        if says_place:
            report.lsn, report.lsn_life = lsn, self.lives
            report.confirmed = bool(flags & REPEATED)
        elif report.lsn is not None and self.lives <= report.lsn_life + 1:
            report.confirmed = True
        else:  # some life that died before it could answer applied it
            report.lsn = None
        if says_place or report.answered_us is None:
            report.answered_us, report.answered_boot = us, self.welcomes[-1][1]
        self._take_D(us, durable_seq)

    def _take_D(self, _us, durable_seq):
        for report in self.by_seq[self.durable_seq:durable_seq]:
            report.durable_life = self.lives
        self.durable_seq = max(self.durable_seq, durable_seq)

    def _take_E(self, _us, step, code):
        if code != NO_SESSION:
            self.reports[step].refused = code

    def _take_L(self, _us, step):
        if step not in self.reports:
            self.batches[step].released_unreported = True

    def _take_F(self, _us):
        self.flushed = True
