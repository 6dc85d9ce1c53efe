"""restart.py - how long from kill -9 of the daemon to the first batch of its next life.

A million small records, every one of them with a score; the daemon is started again at once.
"""
import statistics

from chaos import Run, Settings, make_data
from harness import wait_for

INSTANCES = 1_000_000
TIMES = 12
SECONDS_MAX = 1.0


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


def measure():
    """@return seconds, one per kill"""
    settings = Settings(instances=INSTANCES, batch_size=16384, trainers=1, credit=2, work_us=20000,
                        lease_ms=120000, late_ms=600000)
    make_data("million", INSTANCES)
    seconds = []
    with Run(settings, directory="restart", data="million") as run:
        wait_for(lambda: all_are_scored(run), "every instance has a score", 120)
        for _ in range(TIMES):
            run.go_on(0.5)
            life = run.daemon_lives[-1]
            life.kill()
            run.launch_daemon()
            log = run.trainers[0].log
            us = wait_for(lambda at=life.ended_us: first_batch_us(log, at), "a batch comes")
            seconds.append((us - life.ended_us) / 1e6)
        run.finish()
    return seconds


def measure_and_tell():
    """@return whether it was fast enough"""
    seconds = measure()
    print(f"restart: kill -9 to the first batch, {INSTANCES} instances: "
          f"median {statistics.median(seconds):.3f} s, longest {max(seconds):.3f} s of {TIMES}",
          flush=True)
    return max(seconds) < SECONDS_MAX
