"""cases.py - one run in either order, with its verdict; and whether the judge can be lied to."""
from chaos import Run
from judge import FreeJudge, StrictJudge

INSTANCES = 20000
DATA = "data"
TAIL_STEPS = 300  # that nobody's kill disturbs
LIE_EVERY = 10    # lines of scores


def free_run(settings, seed, kills, directory="run"):
    """@return (run, its judge, who has judged)"""
    with Run(settings, seed, directory, DATA) as run:
        run.kill_at_random(*kills)
        run.finish()
        judge = FreeJudge(run, run.state())
        judge.judge()
        return run, judge


def strict_run(settings, directory, seed=0, kills=None, steps=0):
    """Up to a step; 0: as far as it comes until all are killed. @return (run, its judge)"""
    with Run(settings, seed, directory, DATA) as run:
        if steps > 0:
            run.end_at(steps)
        if kills is not None:
            run.kill_at_random(*kills)
        if steps == 0:
            steps = run.next_step() + TAIL_STEPS
            run.end_at(steps)
        run.finish()
        judge = StrictJudge(run, run.state(), steps)
        judge.judge()
        return run, judge


# ---- the judge before the court ----------------------------------------------------------------


def change_scores(lines, field, change):
    """Every tenth line of scores says something else: visits (2), or the score's bits (3)."""
    out, count = [], 0
    for line in lines:
        words = line.split()
        if words[0] == "score":
            count += 1
            if count % LIE_EVERY == 0:
                words[field] = str(change(int(words[field])))
        out.append(" ".join(words))
    return out


def close_more(lines):
    """An epoch more than there were is said to be closed."""
    words = lines[0].split()
    return [" ".join([*words[:3], str(int(words[3]) + 1000)]), *lines[1:]]


def lies_about(lines):
    """What a daemon that breaks a promise would have left: (the count that must tell, lines)."""
    yield "lost", change_scores(lines, 2, lambda visits: visits - 1)
    yield "doubled", change_scores(lines, 2, lambda visits: visits + 1)
    yield "misattributed", change_scores(lines, 3, lambda bits: bits ^ 1)
    yield "missing", close_more(lines)


def assert_lies_are_seen(judge_of, lines):
    """judge_of(lines): a judge of the same run."""
    for count, lie in lies_about(lines):
        verdict = judge_of(lie).judge()
        assert getattr(verdict, count) > 0 and not verdict.is_good(), f"{count} is not seen"
