#!/usr/bin/env python3
"""run.py - run the tests, each case in its own process, directory and deadline.

A test is a program (built from test_*.c) or a script (test_*.py, test_*.sh) that prints its cases
for --list and runs the one it is given. It passes with exit code 0 and is skipped with 77, the last
line of its output being the reason. A part is a set of tests under one build flavour or tool.

The last line printed is `N passed, N failed, N skipped`; above it the seconds per part and each
skip's reason. Exit code 1 when a test failed or none ran.
"""
import argparse
import concurrent.futures
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = 77
PURE = ("unit", "property")
VALGRIND = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=definite",
            "--errors-for-leak-kinds=definite",
            f"--suppressions={os.path.dirname(os.path.abspath(__file__))}/valgrind.supp"]

# (part, flavour, kinds, wrapper, deadline in seconds, big cases too)
PLAN = [
    ("plain", "gcc", ("unit", "property", "integration", "chaos", "python"), [], 240, True),
    ("address+undefined", "gcc-address-undefined", ("unit", "property", "integration"), [], 300, False),
    ("thread", "gcc-thread", ("integration",), [], 300, False),
    ("valgrind", "gcc", ("unit",), VALGRIND, 300, False),
]


class Case:
    """One case of one test, in one part."""

    def __init__(self, part, kind, module, name, command, deadline, environment):
        self.part, self.label = part, f"{module}/{name}"
        self.kind, self.command, self.deadline = kind, command, deadline
        self.environment = environment
        self.outcome, self.seconds, self.output = None, 0.0, ""

    def run(self):
        directory = tempfile.mkdtemp(prefix="ohem-")
        environment = dict(self.environment, HOME=directory, TMPDIR=directory)
        began = time.monotonic()
        process = subprocess.Popen(self.command, cwd=directory, env=environment,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        try:
            output, _ = process.communicate(timeout=self.deadline)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            output += f"\nnot done after {self.deadline} s\n".encode()
            code = -1
        try:  # what the test left running goes with it
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.seconds = time.monotonic() - began
        self.output = output.decode(errors="replace")
        self.outcome = {0: "passed", SKIPPED: "skipped"}.get(code, "failed")
        if self.outcome == "failed" and code not in (1, -1):
            self.output += f"\nexit code {code}\n"
        shutil.rmtree(directory, ignore_errors=True)
        return self


def tests_of(kind, flavour_dir):
    """(module, command) of each test of a kind."""
    for source in sorted((SOURCE / "tests" / kind).glob("test_*")):
        module = source.stem.removeprefix("test_")
        if source.suffix == ".c":
            yield module, [str(flavour_dir / "tests" / kind / source.stem)]
        elif source.suffix == ".py":
            yield module, ["/usr/bin/python3", str(source)]
        elif source.suffix == ".sh":
            yield module, ["bash", str(source)]


def cases_of(part, flavour_dir, kinds, wrapper, deadline, big):
    environment = dict(os.environ, OHEM_SOURCE=str(SOURCE), OHEM_BUILD=str(flavour_dir), OHEM_PART=part,
                       PYTHONPATH=str(SOURCE / "tests" / "lib"), PYTHONDONTWRITEBYTECODE="1",
                       ASAN_OPTIONS="detect_stack_use_after_return=1:detect_leaks=1",
                       UBSAN_OPTIONS="print_stacktrace=1",
                       LSAN_OPTIONS=f"suppressions={SOURCE}/tests/lib/lsan.supp:print_suppressions=0",
                       TSAN_OPTIONS=f"suppressions={SOURCE}/tests/lib/tsan.supp")
    for kind in kinds:
        for module, command in tests_of(kind, flavour_dir):
            if not pathlib.Path(command[-1]).exists():
                sys.exit(f"not built: {command[-1]} (make tests)")
            listed = subprocess.run(command + ["--list"], env=environment, stdout=subprocess.PIPE,
                                    check=True, text=True).stdout
            for name in listed.split():
                if big or not name.startswith("big_"):
                    yield Case(part, kind, module, name, wrapper + command + [name], deadline,
                               environment)


def report(cases, parts):
    print("\nseconds  tests  part")
    for part in parts:
        mine = [c for c in cases if c.part == part]
        print(f"{sum(c.seconds for c in mine):7.1f}  {len(mine):5}  {part}")
    for case in (c for c in cases if c.outcome == "skipped"):
        print(f"skipped {case.part} {case.label}: {(case.output.strip().splitlines() or ['?'])[-1]}")
    for case in (c for c in cases if c.outcome == "failed"):
        print(f"failed {case.part} {case.label}")
    counts = {o: sum(c.outcome == o for c in cases) for o in ("passed", "failed", "skipped")}
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return counts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--flavour", help="one flavour only, as gcc-thread")
    parser.add_argument("--all", action="store_true", help="every part of the plan")
    parser.add_argument("--only", default="", help="cases whose module/name holds this text")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    build = pathlib.Path(options.build).resolve()

    plan = PLAN if options.all else [
        next((p for p in PLAN if p[1] == options.flavour and not p[3]),
             (options.flavour, options.flavour, ("unit", "property", "integration", "chaos"), [], 300,
          False))]
    cases = [case for part, flavour, kinds, wrapper, deadline, big in plan
             for case in cases_of(part, build / flavour, kinds, wrapper, deadline, big)
             if options.only in case.label]
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in pool.map(Case.run, cases):
            print(f"{done.outcome:7} {done.seconds:6.1f} s  {done.part} {done.label}", flush=True)
            if done.outcome == "failed":
                print("    " + done.output.strip().replace("\n", "\n    "), flush=True)
    print(f"\n{time.monotonic() - began:.0f} s in all, {options.jobs} at a time")
    counts = report(cases, [p[0] for p in plan])
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
