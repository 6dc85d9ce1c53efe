"""test_chaos.py - the daemon and its trainers are killed 20 times; `make check-long` does it 200 times.

What is compared: chaos.py kills, judge.py counts. What differs from run to run is how far everybody
was by then, so a failure may need several runs to be seen again.
"""
import os

import restart
from cases import DATA, INSTANCES, assert_lies_are_seen, free_run, strict_run
from chaos import Settings, make_data
from harness import case, main, skip
from judge import FreeJudge, StrictJudge
from ohemd import program

CALM_STEPS = 600
RESTARTS = 4


def tell(run, judge):
    verdict = judge.verdict
    print(f"daemon_kills {run.daemon_kills} trainer_kills {run.trainer_kills} {verdict.line()}")
    print(verdict.details(), *verdict.wrong, sep="\n", flush=True)
    assert verdict.is_good()


def strict(**more):
    return Settings(order="strict", instances=INSTANCES, **more)


def calm_run(name, steps, **more):
    """Nobody is killed. @return its judge"""
    run, judge = strict_run(strict(work_us=0, **more), name, steps=steps)
    print(name)
    tell(run, judge)
    return judge


@case
def killed_in_free_order_each_report_is_applied_once():
    make_data(DATA, INSTANCES)
    run, judge = free_run(Settings(instances=INSTANCES), 1, (20, 20))
    tell(run, judge)
    assert judge.verdict.epochs_closed >= 2 and judge.verdict.late + judge.verdict.returned > 0
    assert_lies_are_seen(lambda lines: FreeJudge(run, lines), run.state())


@case
def killed_in_strict_order_the_run_is_the_undisturbed_one():
    make_data(DATA, INSTANCES)
    run, killed = strict_run(strict(), "killed", 1, (20, 20))
    tell(run, killed)
    assert_lies_are_seen(lambda lines: StrictJudge(run, lines, killed.steps), run.state())
    print(f"steps {killed.steps} sha256 {killed.sequence_digest}")
    for name, trainers in (("undisturbed", 4), ("alone", 1)):
        killed.assert_same_run(calm_run(name, killed.steps, trainers=trainers), name)


@case
def built_with_clang_the_run_is_the_same():
    gcc, clang = program("ohemd"), os.path.join(program(""), "../clang")
    if not os.path.exists(f"{clang}/ohemd") or \
            os.path.getmtime(f"{clang}/ohemd") < os.path.getmtime(gcc):
        skip("no ohemd is built with clang, or only an older one (make CC=clang)")
    make_data(DATA, INSTANCES)
    judge = calm_run("gcc", CALM_STEPS)
    judge.assert_same_run(calm_run("clang", CALM_STEPS, daemon_build=clang), "clang")


@case
def a_trainer_alone_goes_on_in_strict_order_whenever_the_daemon_is_killed():
    make_data(DATA, INSTANCES)
    tell(*strict_run(strict(trainers=1, work_us=2000), "run", 2, (8, 0)))


@case
def killed_with_a_million_instances_the_daemon_is_soon_back():
    restart.tell(restart.measure(RESTARTS))


main(globals())
