"""chaos.py - a daemon and its trainers as processes that are killed at any moment.

    run = Run(Settings(order="free"), seed=1, directory="run")
    run.start()
    run.kill_at_random(daemons=20, trainers=20)
    run.finish()
    run.state()           # what is on disk, for judge.py
    run.logs()            # what the trainers wrote

Who is killed when follows from the seed; how far everybody is by then does not. Who is killed is
started again: the daemon on the same state and sockets, a trainer as a new one.
"""
import os
import random
import re
import signal
import struct
import subprocess
import time

import lmdb

from harness import DEADLINE_SECONDS, wait_for
from logs import Log
from ohemd import Daemon, program

RECORD = struct.Struct("<QQ")
WAYS = [(0, 3), (1, 2), (0, 1), (0, 0)]  # layout, transport (ohem.h): map, shm, inline, any
QUIET_EVERY = 8  # kills of the daemon; then dead sessions get the time to end
LOOK_SECONDS = 0.005
MASK = 2 ** 64 - 1


class Settings:
    """Of a run."""

    def __init__(self, order="free", instances=20000, batch_size=32, trainers=4, credit=4,
                 staleness=64, work_us=8000, commit_ms=200, lease_ms=500, late_ms=1500,
                 daemon_build=None):
        self.order, self.instances, self.batch_size = order, instances, batch_size
        self.trainers, self.credit, self.staleness = trainers, credit, staleness
        self.work_us, self.commit_ms = work_us, commit_ms
        self.lease_ms, self.late_ms = lease_ms, late_ms
        self.daemon_build = daemon_build  # a folder, if not where all programs are

    def config(self, data, state):
        strict = f"order = strict\nstaleness = {self.staleness}\n" if self.order == "strict" else ""
        return (f"[daemon]\nstate = {state}\ncommit_ms = {self.commit_ms}\ndrain_ms = 1000\n"
                f"[dataset default]\npath = {data}\n"
                f"[job default]\nbatch_size = {self.batch_size}\nseed = 7\nrho = 0.5\nkeep = 0.5\n"
                f"lease_ms = {self.lease_ms}\nlate_ms = {self.late_ms}\n{strict}")


def make_data(path, count):
    """A data set whose records are their ids."""
    with lmdb.open(path, map_size=200 * count + (1 << 20), sync=False) as environment:
        with environment.begin(write=True) as transaction:
            for i in range(count):
                transaction.put(b"%08d" % i, RECORD.pack(i, i ^ MASK), append=True)


def now_us():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


class Life:
    """A process, from its start to its end."""

    def __init__(self, process, log=None):
        self.process, self.log = process, log
        self.ended_us, self.killed = None, False
        self.boot = None  # a daemon's, if it came so far

    def kill(self):
        """@return whether it was alive"""
        if self.process.poll() is not None:
            return False
        self.process.kill()
        self.ended_us, self.killed = now_us(), True
        self.process.wait()
        return True


class Run:
    """One run, in a folder of its own."""

    def __init__(self, settings, seed=0, directory="run", data=None):
        self.settings, self.random = settings, random.Random(seed)
        self.directory = os.path.abspath(directory)
        os.makedirs(self.directory)
        self.data = os.path.abspath(data) if data else f"{self.directory}/data"
        if not os.path.exists(self.data):
            make_data(self.data, settings.instances)
        self.daemon = Daemon(config=settings.config(self.data, f"{self.directory}/state"),
                             directory=self.directory)
        if settings.daemon_build is not None:
            self.daemon.command[0] = os.path.join(settings.daemon_build, "ohemd")
        self.daemon_lives, self.trainer_lives = [], []
        self.trainers = [None] * settings.trainers
        self.may_end = False  # trainers, with 0

    # ---- processes ----

    def launch_daemon(self):
        self.daemon.launch()
        self.daemon_lives.append(Life(self.daemon.process))

    def _launch_trainer(self, rank):
        s = self.settings
        log = f"{self.directory}/trainer-{len(self.trainer_lives)}.log"
        slack = s.staleness if s.order == "strict" else 0
        arguments = [self.daemon.listen, log, s.work_us, f"{self.directory}/steps", slack, s.credit,
                     *WAYS[rank % len(WAYS)]]
        with open(f"{log}.err", "wb") as errors:
            process = subprocess.Popen(
                [program("tests/chaos/chaos_trainer"), *map(str, arguments)], stderr=errors)
        self.trainers[rank] = Life(process, log)
        self.trainer_lives.append(self.trainers[rank])

    def end_at(self, step):
        """Trainers report the batches before this step, and end when all those are applied (strict
        order). None may have got so far yet."""
        self.may_end = True
        with open(f"{self.directory}/steps.new", "w", encoding="ascii") as file:
            file.write(f"{step}\n")
        os.rename(file.name, f"{self.directory}/steps")

    def next_step(self):
        """Behind all that were handed out so far."""
        return 1 + max((step for log in self.logs() for step in log.batches), default=0)

    def start(self):
        self.daemon.start()
        self.daemon_lives.append(Life(self.daemon.process))
        for rank in range(self.settings.trainers):
            self._launch_trainer(rank)

    def _look(self):
        """Nobody ends unasked."""
        code = self.daemon.process.poll()
        assert code is None, f"ohemd ended with {code}\n{self.daemon.log()[-4000:]}"
        for life in self.trainers:
            code = life.process.poll()
            if code is not None and (code != 0 or not self.may_end):
                self._complain(life, code)

    def _complain(self, life, code):
        with open(f"{life.log}.err", encoding="utf-8", errors="replace") as file:
            raise AssertionError(f"a trainer ended with {code}: {file.read()}\n"
                                 f"{life.log}\n{self.daemon.log()[-4000:]}")

    def go_on(self, seconds):
        """Nobody is killed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._look()
            time.sleep(min(LOOK_SECONDS * 4, max(0.0, end - time.monotonic())))

    # ---- kills ----

    def _note_boot(self):
        """Of the daemon that ended last."""
        boots = [int(boot, 16) for boot in re.findall(r"main: ready .* boot=(\w+)", self.daemon.log())]
        if boots and all(life.boot != boots[-1] for life in self.daemon_lives):
            self.daemon_lives[-1].boot = boots[-1]

    def _kill_daemon(self):
        if not self.daemon_lives[-1].kill():
            self._look()
        self._note_boot()
        if self.random.random() < 0.2:
            time.sleep(self.random.uniform(0, 0.2))
        self.launch_daemon()

    def _kill_trainer(self):
        rank = self.random.randrange(len(self.trainers))
        if not self.trainers[rank].kill():
            self._look()
            return
        self._launch_trainer(rank)

    def _pause(self):
        """One in four is killed while it starts, or restores, or reconnects."""
        short = self.random.random() < 0.25
        return self.random.uniform(0, 0.1) if short else self.random.uniform(0.1, 0.9)

    def kill_at_random(self, daemons, trainers):
        """Kill so many of both. Each time it is one of them, or one of each at once."""
        quiet_at = self.daemon_kills + QUIET_EVERY
        while self.daemon_kills < daemons or self.trainer_kills < trainers:
            self.go_on(self._pause())
            left = (max(0, daemons - self.daemon_kills), max(0, trainers - self.trainer_kills))
            who = self.random.random() * sum(left)
            if self.random.random() < 0.2 and min(left) > 0:
                if who < left[0]:
                    self._kill_trainer()
                self._kill_daemon()
                if who >= left[0]:
                    self._kill_trainer()
            elif who < left[0]:
                self._kill_daemon()
            else:
                self._kill_trainer()
            if self.daemon_kills >= quiet_at:
                quiet_at += QUIET_EVERY
                self.go_on((self.settings.lease_ms + self.settings.late_ms) / 1000 + 0.5)

    @property
    def daemon_kills(self):
        return sum(life.killed for life in self.daemon_lives)

    @property
    def trainer_kills(self):
        return sum(life.killed for life in self.trainer_lives)

    # ---- the end ----

    def _stop_trainers(self):
        self.may_end = True
        for life in self.trainers:
            wait_for(lambda log=life.log: os.path.exists(log) and os.path.getsize(log) > 0,
                     "a trainer begins, and will take a signal")
            life.process.send_signal(signal.SIGTERM)

    def finish(self, seconds=DEADLINE_SECONDS):
        """Trainers stop (at the run's end, if end_at() said so), then the daemon."""
        end = time.monotonic() + seconds
        if not self.may_end:
            self._stop_trainers()
        for life in self.trainers:
            while life.process.poll() is None:
                assert time.monotonic() < end, f"not done after {seconds} s: {life.log}"
                self._look()
                time.sleep(LOOK_SECONDS)
            if life.process.returncode != 0:
                self._complain(life, life.process.returncode)
            life.ended_us = now_us()
        code = self.daemon.stop()
        self.daemon_lives[-1].ended_us = now_us()
        self._note_boot()
        assert code == 0, f"ohemd ended with {code}\n{self.daemon.log()[-4000:]}"

    def abort(self):
        for life in [*self.daemon_lives[-1:], *filter(None, self.trainers)]:
            life.kill()

    def state(self):
        """The lines of chaos_state."""
        return subprocess.run([program("tests/chaos/chaos_state"),
                               f"{self.directory}/ohemd.conf"], check=True,
                              stdout=subprocess.PIPE, text=True).stdout.splitlines()

    def logs(self):
        return [Log(life.log, life.ended_us if life.killed else None)
                for life in self.trainer_lives if os.path.exists(life.log)]

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.abort()
