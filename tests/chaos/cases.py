"""cases.py - one run in either order, with its verdict."""
from chaos import Run
from judge import FreeJudge, StrictJudge

INSTANCES = 20000
DATA = "data"
TAIL_STEPS = 300  # that nobody's kill disturbs


def free_run(settings, seed, kills, directory="run"):
    """@return (run, verdict)"""
    with Run(settings, seed, directory, DATA) as run:
        run.kill_at_random(*kills)
        run.finish()
        return run, FreeJudge(run).judge()


def strict_run(settings, directory, seed=0, kills=None, steps=0):
    """Up to a step; 0: as far as it comes until all are killed. @return (run, verdict, steps,
    what must be the same in every run of so many steps)"""
    with Run(settings, seed, directory, DATA) as run:
        if steps > 0:
            run.end_at(steps)
        if kills is not None:
            run.kill_at_random(*kills)
        if steps == 0:
            steps = run.next_step() + TAIL_STEPS
            run.end_at(steps)
        run.finish()
        judge = StrictJudge(run, steps)
        verdict = judge.judge()
        return run, verdict, steps, (judge.sequence_digest, judge.state.rows.tobytes())
