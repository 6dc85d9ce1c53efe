"""harness.py - the frame of a test script: one process per case, named like a sentence.

What test.h is for C. A script marks its cases and hands its names over at its end:

    from harness import case, main, skip

    @case
    def the_daemon_answers():
        assert ...

    main(globals())

`--list` prints the names, a name runs that case in the present directory, and without arguments all
run, each in a directory of its own. A case fails by raising; asserts are the usual way.
"""
import os
import sys
import tempfile
import time

SKIPPED = 77  # what run.py takes for "skipped"; the last line printed is the reason
DEADLINE_SECONDS = 60  # for one thing to happen: a start under a sanitizer is slow
LOOK_SECONDS = 0.01


def case(function):
    """Mark a function as a case; its name is the case's."""
    function.is_case = True
    return function


def skip(reason):
    """End this case as skipped."""
    print(reason, flush=True)
    raise SystemExit(SKIPPED)


def wait_for(happened, what, seconds=DEADLINE_SECONDS):
    """Call `happened` until it gives something true, and return that; fail at the deadline."""
    end = time.monotonic() + seconds
    while True:
        value = happened()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(LOOK_SECONDS)


def main(namespace):
    """Run as the command line says; `namespace` is the script's globals()."""
    cases = {name: function for name, function in namespace.items()
             if getattr(function, "is_case", False)}
    arguments = sys.argv[1:]
    if arguments == ["--list"]:
        print("\n".join(cases))
        return
    for name in arguments:
        if name not in cases:
            sys.exit(f"no case '{name}'")
        cases[name]()
    if not arguments:
        _run_all(cases)


def _run_all(cases):
    for name, function in cases.items():
        with tempfile.TemporaryDirectory(prefix="ohem-") as directory:
            os.chdir(directory)
            try:
                function()
                print(f"passed {name}", flush=True)
            except SystemExit as end:
                if end.code != SKIPPED:
                    raise
                print(f"skipped {name}", flush=True)
            finally:
                os.chdir("/")
