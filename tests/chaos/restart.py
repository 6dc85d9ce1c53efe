"""restart.py - how long from kill -9 of the daemon to the first batch of its next life.

    /usr/bin/python3 tests/chaos/restart.py --build build

A million small records, every one of them with a score; the daemon is started again at once.
"""
import argparse
import os
import pathlib
import statistics
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(SOURCE / "tests/lib")]

# pylint: disable=wrong-import-position
from chaos import Run, Settings, make_data
from harness import wait_for

INSTANCES = 1_000_000
TIMES = 12
SECONDS_MEDIAN_MAX = 1.0  # the goal
SECONDS_MAX = 10.0        # that a machine with other things to do may take for one


def all_are_scored(run):
    progress = run.daemon.get("/v1/jobs/default")
    return progress["scored_count"] >= 0.99 * INSTANCES


def first_batch_us(log_path, killed_us):
    """When the first BATCH behind a WELCOME of a later life arrived. None: not yet."""
    welcomed = False
    with open(log_path, encoding="ascii") as file:
        for line in file:
            if line[0] in "GW" and int(line.split(maxsplit=2)[1]) > killed_us:
                if welcomed and line[0] == "G":
                    return int(line.split(maxsplit=2)[1])
                welcomed = welcomed or line[0] == "W"
    return None


def measure(times=TIMES):
    """@return seconds, one per kill"""
    settings = Settings(instances=INSTANCES, batch_size=16384, trainers=1, credit=2, work_us=20000,
                        lease_ms=120000, late_ms=600000)
    make_data("million", INSTANCES)
    seconds = []
    with Run(settings, directory="restart", data="million") as run:
        wait_for(lambda: all_are_scored(run), "every instance has a score", 120)
        for _ in range(times):
            run.go_on(0.5)
            life = run.daemon_lives[-1]
            life.kill()
            run.launch_daemon()
            log = run.trainers[0].log
            us = wait_for(lambda at=life.ended_us: first_batch_us(log, at), "a batch comes")
            seconds.append((us - life.ended_us) / 1e6)
        run.finish()
    return seconds


def tell(seconds):
    """Print it; fail if it is too long."""
    median, longest = statistics.median(seconds), max(seconds)
    print(f"restart: kill -9 to the first batch, {INSTANCES} instances: median {median:.3f} s, "
          f"longest {longest:.3f} s of {len(seconds)}", flush=True)
    assert median < SECONDS_MEDIAN_MAX and longest < SECONDS_MAX


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    os.environ["OHEM_BUILD"] = str(pathlib.Path(parser.parse_args().build).resolve() / "gcc")
    with tempfile.TemporaryDirectory(prefix="ohem-") as directory:
        os.chdir(directory)
        tell(measure())
        os.chdir("/")


if __name__ == "__main__":
    main()
