"""test_chaos.py - the daemon and its trainers are killed 20 times; `make check-long` does it 200 times.

What is compared: chaos.py kills, judge.py counts. What differs from run to run is how far everybody
was by then, so a failure may need several runs to be seen again.
"""
from cases import DATA, INSTANCES, free_run, strict_run
from chaos import Settings, make_data
from harness import case, main


def tell(run, verdict):
    print(f"daemon_kills {run.daemon_kills} trainer_kills {run.trainer_kills} {verdict.line()}")
    print(verdict.details(), *verdict.wrong, sep="\n", flush=True)
    assert verdict.is_good()


@case
def killed_in_free_order_each_report_is_applied_once():
    make_data(DATA, INSTANCES)
    run, verdict = free_run(Settings(instances=INSTANCES), 1, (20, 20))
    tell(run, verdict)
    assert verdict.epochs_closed >= 2 and verdict.late + verdict.returned > 0


@case
def killed_in_strict_order_the_run_is_the_undisturbed_one():
    make_data(DATA, INSTANCES)
    strict = {"order": "strict", "instances": INSTANCES}
    run, verdict, steps, result = strict_run(Settings(**strict), "killed", 1, (20, 20))
    tell(run, verdict)
    for name, trainers in (("undisturbed", 4), ("alone", 1)):
        settings = Settings(**strict, work_us=0, trainers=trainers)
        run, verdict, _, again = strict_run(settings, name, steps=steps)
        tell(run, verdict)
        assert again == result, f"{name}: another sequence {again[0]}, was {result[0]}"
    print(f"steps {steps} sha256 {result[0]}")


@case
def a_trainer_alone_goes_on_in_strict_order_whenever_the_daemon_is_killed():
    make_data(DATA, INSTANCES)
    settings = Settings(order="strict", instances=INSTANCES, trainers=1, work_us=2000)
    run, verdict, _, _ = strict_run(settings, "run", 2, (8, 0))
    tell(run, verdict)


main(globals())
