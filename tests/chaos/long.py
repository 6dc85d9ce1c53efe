"""long.py - what takes minutes: 200 and more kills of the daemon and of trainers (make check-long).

    long.py --build build [--seed N]

The last line is the sum of all runs. The exit code is 1 when anything is wrong.
"""
import argparse
import os
import pathlib
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(SOURCE / "tests/lib")]

# pylint: disable=wrong-import-position
from chaos import Settings, make_data
from cases import DATA, INSTANCES, free_run, strict_run
import restart

# (commit_ms, kills of each): small commits are often hit in their midst, large ones lose more
FREE = [(200, 55), (20, 55), (1, 35), (200, 35)]
STRICT = [(200, 20), (20, 20)]


class Sum:
    """Of all runs."""

    def __init__(self):
        self.daemons = self.trainers = self.reports = 0
        self.lost = self.doubled = self.misattributed = self.missing = 0
        self.good = True

    def add(self, name, run, judge):
        verdict = judge.verdict
        print(f"{name}: daemon_kills {run.daemon_kills} trainer_kills {run.trainer_kills} "
              f"{verdict.line()}", verdict.details(), *verdict.wrong[:20], sep="\n  ", flush=True)
        self.daemons += run.daemon_kills
        self.trainers += run.trainer_kills
        for what in ("reports", "lost", "doubled", "misattributed", "missing"):
            setattr(self, what, getattr(self, what) + getattr(verdict, what))
        self.good = self.good and verdict.is_good()

    def line(self):
        return (f"daemon_kills {self.daemons} trainer_kills {self.trainers} reports {self.reports} "
                f"lost {self.lost} doubled {self.doubled} misattributed {self.misattributed} "
                f"missing {self.missing}")


def free(total, seed):
    for i, (commit_ms, kills) in enumerate(FREE):
        settings = Settings(instances=INSTANCES, commit_ms=commit_ms)
        run, judge = free_run(settings, seed + i, (kills, kills), f"free-{i}")
        total.add(f"free order, commit_ms {commit_ms}, seed {seed + i}", run, judge)


def compare(total, killed, name, directory, **more):
    """Nobody is killed; all else must be as if. (A release holds the stream for a commit: with
    commit_ms 200 six thousand steps would take two minutes.)"""
    settings = Settings(order="strict", instances=INSTANCES, work_us=0, commit_ms=20, **more)
    run, judge = strict_run(settings, directory, steps=killed.steps)
    total.add(f"strict order, {name}", run, judge)
    killed.assert_same_run(judge, name)


def strict(total, seed, clang):
    for i, (commit_ms, kills) in enumerate(STRICT):
        settings = Settings(order="strict", instances=INSTANCES, commit_ms=commit_ms)
        run, killed = strict_run(settings, f"strict-{i}", seed + i, (kills, kills))
        total.add(f"strict order, commit_ms {commit_ms}, seed {seed + i}", run, killed)
        print(f"steps {killed.steps} sha256 {killed.sequence_digest}")
        compare(total, killed, "undisturbed", f"calm-{i}")
        compare(total, killed, "one trainer", f"alone-{i}", trainers=1)
        compare(total, killed, "built with clang", f"clang-{i}", daemon_build=clang)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    build = pathlib.Path(options.build).resolve()
    os.environ["OHEM_BUILD"] = str(build / "gcc")
    total = Sum()
    with tempfile.TemporaryDirectory(prefix="ohem-") as directory:
        os.chdir(directory)
        make_data(DATA, INSTANCES)
        restart.tell(restart.measure())
        free(total, options.seed)
        strict(total, options.seed, str(build / "clang"))
        os.chdir("/")
    print(total.line())
    return 0 if total.good else 1


if __name__ == "__main__":
    sys.exit(main())
