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
FREE = [(200, 50), (20, 50), (1, 30), (200, 30)]
STRICT = [(200, 20), (20, 20)]


class Sum:
    """Of all runs."""

    def __init__(self):
        self.daemons = self.trainers = self.reports = 0
        self.lost = self.doubled = self.misattributed = self.missing = 0
        self.good = True

    def add(self, name, run, verdict):
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
        run, verdict = free_run(settings, seed + i, (kills, kills), f"free-{i}")
        total.add(f"free order, commit_ms {commit_ms}, seed {seed + i}", run, verdict)


def compare(total, name, result, *arguments, **keywords):
    run, verdict, _, again = strict_run(*arguments, **keywords)
    total.add(f"strict order, {name}", run, verdict)
    total.good = total.good and again == result
    print(f"  sha256 {again[0]}, scores {'the same' if again[1] == result[1] else 'DIFFER'}")


def strict(total, seed, clang):
    both = {"order": "strict", "instances": INSTANCES}
    for i, (commit_ms, kills) in enumerate(STRICT):
        settings = Settings(**both, commit_ms=commit_ms)
        run, verdict, steps, result = strict_run(settings, f"strict-{i}", seed + i, (kills, kills))
        total.add(f"strict order, commit_ms {commit_ms}, seed {seed + i}", run, verdict)
        print(f"  steps {steps} sha256 {result[0]}")
        calm = Settings(**both, work_us=0)
        alone = Settings(**both, work_us=0, trainers=1)
        compare(total, "undisturbed", result, calm, f"calm-{i}", steps=steps)
        compare(total, "one trainer", result, alone, f"alone-{i}", steps=steps)
        gcc = os.environ["OHEM_BUILD"]
        os.environ["OHEM_BUILD"] = clang
        compare(total, "built with clang", result, calm, f"clang-{i}", steps=steps)
        os.environ["OHEM_BUILD"] = gcc


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
        total.good = restart.measure_and_tell() and total.good
        free(total, options.seed)
        strict(total, options.seed, str(build / "clang"))
        os.chdir("/")
    print(total.line())
    return 0 if total.good else 1


if __name__ == "__main__":
    sys.exit(main())
