"""test_items.py - reports of many losses an instance, by a second client and against NumPy."""
import os

import numpy as np

from harness import case, main
from ohemd import Daemon, make_dataset
from second_client import Client, Refusal
from second_wire import (BY_ALL, BY_CDF, BY_NEGPOS, BY_THRESHOLD, BY_TOP, IGNORED, POSITIVE,
                         REPEATED, SCORE_MAX, SCORE_MEAN, SCORE_TOP)
from trainer import ohemctl
from selection_reference import draw_flags, draw_losses, hardest, reference

N, K = 40, 4
FULL = 10_000
IS_PLAIN = os.environ.get("OHEM_PART", "plain") == "plain"
CASES = FULL if IS_PLAIN else 300
LARGE = 1 << 20
SEED = 20160627


def serve(policy=""):
    make_dataset("data", [b"record %05d" % i for i in range(N)])
    return Daemon(config=f"[dataset d]\npath = {os.path.abspath('data')}\n"
                         f"[job default]\nbatch_size = {K}\n{policy}")


# ---- the reference


def overlaps(box, boxes):
    """I and A + B - I of one box with each of others."""
    def area(x1, y1, x2, y2):
        with np.errstate(invalid="ignore"):
            return np.where((x2 > x1) & (y2 > y1), (x2 - x1) * (y2 - y1), 0.0)

    both = area(np.maximum(box[0], boxes[:, 0]), np.maximum(box[1], boxes[:, 1]),
                np.minimum(box[2], boxes[:, 2]), np.minimum(box[3], boxes[:, 3]))
    return both, area(*box) + area(*boxes.T) - both


def left_out(losses, boxes, classes, iou, free):
    """Brute force: every item in turn, hardest first, against all that are left."""
    boxes = boxes.astype(np.float64)
    alive = {int(i) for i in free}
    for i in hardest(losses, free, len(free)):
        if int(i) not in alive:
            continue
        later = np.array([j for j in sorted(alive, key=lambda j: (-float(losses[j]), j))], int)
        later = later[list(later).index(i) + 1:]
        if not len(later):
            break
        both, either = overlaps(boxes[i], boxes[later])
        out = both > iou * either
        if len(classes):
            out &= classes[later] == classes[i]
        alive -= {int(j) for j in later[out]}
    return np.array(sorted({int(i) for i in free} - alive), int)


def score_of(losses, kind, top):
    if not len(losses):
        return np.float32("nan")
    losses = np.sort(losses.astype(np.float64))[::-1]
    if kind == SCORE_MAX:
        return np.float32(losses[0])
    return np.float32(np.mean(losses if kind == SCORE_MEAN else losses[:top]))


def work(losses, flags, report, policy):
    """@return the instances' losses, and the indices of the items selected"""
    ends = np.cumsum(report["items"])
    scores, out = [], []
    countable = np.isfinite(losses) & ((flags & IGNORED) == 0)
    for begin, end in zip(ends - report["items"], ends):
        free = begin + np.flatnonzero(countable[begin:end])
        scores.append(score_of(losses[free], report["score"], report["top"]))
        if report["iou"] > 0:
            out.extend(left_out(losses, report["boxes"], report["classes"], report["iou"], free))
    flags = flags.copy()
    flags[np.array(out, int)] |= IGNORED
    return np.array(scores, np.float32), reference(losses, flags, policy)[0]


# ---- random reports


def draw_boxes(random, n):
    """On a coarse grid, so that many overlap and some are equal; a few are strange."""
    corner = random.integers(0, 8, (n, 2)) * 4.0
    size = random.integers(0, 6, (n, 2)) * 4.0 + random.choice([0.0, 0.5], (n, 2))
    boxes = np.concatenate([corner, corner + size], axis=1).astype(np.float32)
    strange = random.random(n) < 0.02
    boxes[strange] = random.choice(np.array([np.nan, np.inf, -np.inf, 5.0], np.float32),
                                   (int(strange.sum()), 4))
    return boxes


def draw_report(random):
    items = random.integers(0, random.choice([2, 5, 12]), K)
    n = int(items.sum())
    score = int(random.integers(0, 3))
    report = {"items": items, "score": score, "iou": 0.0, "boxes": np.zeros((0, 4), np.float32),
              "top": int(random.integers(1, 6)) if score == SCORE_TOP else 0,
              "classes": np.zeros(0, np.uint32)}
    if random.random() < 0.7 and n > 0:
        report["iou"] = float(random.choice([0.7, 0.3, 0.05, 1.0]))
        report["boxes"] = draw_boxes(random, n)
        if random.random() < 0.5:
            report["classes"] = random.integers(0, 3, n).astype(np.uint32)
    return draw_losses(random, n), draw_flags(random, n), report


def draw_rule(random, losses):
    """What a trainer asks for, and the same as a policy of the reference."""
    finite = losses[np.isfinite(losses)]
    above = float(random.choice(finite)) if len(finite) else 0.0
    count = int(random.integers(0, len(losses) + 3))
    share, ratio = 1 - random.random(), float(random.choice([3.0, 1.0, 0.5]))
    base = {"from": 0, "steps": 0, "step": 0, "min": 1}
    choices = [((BY_ALL, 0, 0.0), {"rule": "all"}),
               ((BY_NEGPOS, count, ratio), {"rule": "negpos", "negatives": ratio, "without": count}),
               ((BY_TOP, count, 0.0 if count else share), {"rule": "top", "count": count, "ratio": share})]
    if abs(above) <= 1e30:
        choices.append(((BY_THRESHOLD, count, above), {"rule": "threshold", "above": above, "max": count}))
    rule, policy = choices[random.integers(len(choices))]
    return rule, {**base, **policy}


def same_floats(got, wanted):
    """To the last bit but one: a sum's order is nobody's business."""
    wanted = np.asarray(wanted, np.float32)
    got = np.asarray(got, np.float32)
    return (np.isnan(got) == np.isnan(wanted)).all() and np.allclose(
        got[~np.isnan(got)], wanted[~np.isnan(wanted)], rtol=2e-7, atol=0)


@case
def random_ragged_reports_are_answered_as_numpy_does():
    random = np.random.default_rng(SEED)
    with serve() as daemon, Client(daemon.listen, credit=1) as client:
        for number in range(CASES):
            losses, flags, report = draw_report(random)
            rule, policy = draw_rule(random, losses)
            batch = client.take()
            got = client.report(batch, losses, flags if flags.any() else (), rule, **report)
            client.release(batch)
            with np.errstate(invalid="ignore", over="ignore"):
                scores, kept = work(losses, flags, report, policy)
            what = f"case {number}: {losses.tolist()} {flags.tolist()} {report} {rule}"
            assert list(got["indices"]) == list(kept), f"{what}: {got['indices']}, not {kept}"
            if np.abs(losses[np.isfinite(losses)]).max(initial=0) < 1e30:
                assert same_floats(got["scores"], scores), f"{what}: {got['scores']}, not {scores}"
            assert len(losses) == got["all.count"] + got["nonfinite_count"] + got["ignored_count"]
        counters = daemon.get("/v1/jobs/default")["counters"]
        assert counters["reports_ragged"] == CASES
    print(f"{CASES} cases")


# ---- what becomes of one


@case
def the_instances_losses_reach_the_scores_once():
    with serve("keep_count = 3\n") as daemon, Client(daemon.listen, credit=1) as client:
        batch = client.take()
        losses = [1, 5, 2, 0.5, float("nan")]
        first = client.report(batch, losses, items=[2, 2, 1, 0], score=SCORE_MAX)
        assert list(first["indices"]) == [0, 1, 2] and list(first["scores"][:2]) == [5, 2]
        assert np.isnan(first["scores"][2:]).all()
        batch.selection = None
        again = client.report(batch, losses, items=[2, 2, 1, 0], score=SCORE_MAX)
        assert again["flags"] & REPEATED and list(again["indices"]) == [0, 1, 2]
        batch.selection = None  # by its instances' losses it is the same report, too
        plain = client.report(batch, list(first["scores"]))
        assert plain["flags"] & REPEATED
        batch.selection = None
        try:
            client.report(batch, [1, 6, 2, 0.5, 7], items=[2, 2, 1, 0], score=SCORE_MAX)
            raise AssertionError("other losses were taken")
        except Refusal as refusal:
            assert refusal.code == "CONFLICT"
        for place, loss in ((0, 5), (1, 2)):
            assert daemon.get(f"/v1/jobs/default/instances/{batch.ids[place]}")["score"] == loss
        counters = daemon.get("/v1/jobs/default")["counters"]
        assert counters["losses_applied"] == 2 and counters["losses_nonfinite"] == 2
        assert "  items      1 reports of 5 items, 3 selected\n" in ohemctl(daemon, "jobs")[0]
        assert counters["items_reported"] == 5 and counters["instances_selected"] == 2, counters


@case
def a_million_items_are_selected_and_nothing_overtakes_them():
    random = np.random.default_rng(1)
    losses = random.exponential(1, LARGE).astype(np.float32)
    items = [LARGE - 3, 1, 1, 1]
    with serve(f"keep_count = {LARGE // 4}\n") as daemon, Client(daemon.listen, credit=2) as client:
        batch, other = client.take(), client.take()
        client.begin_report(batch, losses, items=items, score=SCORE_MEAN)
        client.release(batch)  # at once: it has to wait for the report
        client.begin_report(other, [1] * K)
        client.ping()
        assert batch.selection is not None, "a later message was answered first"
        kept = np.sort(np.argsort(-losses, kind="stable")[:LARGE // 4])
        assert np.array_equal(batch.selection["indices"], kept)
        assert same_floats(batch.selection["scores"][:1],
                           [losses[:LARGE - 3].astype(np.float64).mean()])
        assert not batch.selection["flags"]
        client.finish_report(other)
        assert daemon.get("/v1/jobs/default")["counters"]["reports_refused_token"] == 0
        assert client.take().token not in (batch.token, other.token)


@case
def more_than_the_daemon_keeps_at_once_waits_outside_and_is_answered():
    """Over 256 MiB of one trainer, who says the same again and again; another is served meanwhile."""
    times = 70 if IS_PLAIN else 5
    with serve() as daemon, Client(daemon.listen, credit=1) as client:
        batch = client.take()
        client.begin_report(batch, np.ones(LARGE, np.float32), items=[LARGE, 0, 0, 0])
        for _ in range(times - 1):
            client._send_report(batch)
        with Client(daemon.listen, credit=1) as other:
            other.step(lambda i: 1.0)
        for number in range(times):
            got = client.wait_for("SELECTION")
            assert bool(got["flags"] & REPEATED) == (number > 0) and got["kept.count"] == LARGE // 2
        client.ping()
        counters = daemon.get("/v1/jobs/default")["counters"]
        assert (counters["reports_ragged"], counters["reports_repeated"]) == (1, times - 1)


@case
def a_session_that_ends_at_once_has_reported_all_the_same():
    with serve() as daemon:
        client = Client(daemon.listen, credit=1)
        client.begin_report(client.take(), np.ones(LARGE, np.float32), items=[LARGE, 0, 0, 0])
        client.bye()
        counters = daemon.get("/v1/jobs/default")["counters"]
        assert (counters["reports_ragged"], counters["losses_applied"]) == (1, 1)


@case
def others_are_served_while_boxes_are_compared():
    """The worst that may be asked for: 8,192 boxes an instance, none over another."""
    n = 8192 if IS_PLAIN else 1024
    grid = np.stack(np.meshgrid(np.arange(n // 64), np.arange(64)), -1).reshape(-1, 2) * 2.0
    boxes = np.concatenate([grid, grid + 1], axis=1).astype(np.float32)
    boxes = np.concatenate([boxes] * K)
    with serve() as daemon, Client(daemon.listen, credit=1) as slow, \
            Client(daemon.listen, credit=1) as quick:
        batch = slow.take()
        slow.begin_report(batch, np.linspace(1, 2, K * n, dtype=np.float32), items=[n] * K, iou=0.7,
                          boxes=boxes, select=(BY_ALL, 0, 0.0))
        served = 0
        while not slow.wire.socket.poll(0):
            quick.step(lambda i: 1.0)
            served += 1
        assert slow.finish_report(batch)["kept.count"] == K * n
        assert served > 3 or not IS_PLAIN, f"{served} batches in all that time"


@case
def what_a_ragged_report_cannot_be_is_refused_and_can_be_said_again():
    with serve("select = cdf\n") as daemon, Client(daemon.listen, credit=1) as client:
        batch = client.take()
        for wish, code, words in (((0, 0, 0.0), "INVALID", "cdf"),
                                  ((BY_CDF, 0, 1.0), "INVALID", "cdf")):
            try:
                client.report(batch, [1, 2], select=wish, items=[1, 1, 0, 0])
                raise AssertionError("it was taken")
            except Refusal as refusal:
                assert refusal.code == code and words in refusal.text, refusal
        try:
            client.report(batch, [1, 2], select=(BY_ALL, 0, 0.0), items=[1, 1])
            raise AssertionError("two instances of four were taken")
        except Refusal as refusal:
            assert refusal.code == "COUNT", refusal
        got = client.report(batch, [1, 2], select=(BY_ALL, 0, 0.0), items=[1, 1, 0, 0])
        assert list(got["indices"]) == [0, 1] and not got["flags"] & REPEATED
        assert daemon.get("/v1/jobs/default")["counters"]["losses_applied"] == 2


@case
def where_trainers_may_not_choose_items_are_selected_by_the_jobs_rule():
    with serve("select = negpos\nselect_by_report = no\n") as daemon, \
            Client(daemon.listen, credit=1) as client:
        batch = client.take()
        try:
            client.report(batch, [1, 2], select=(BY_ALL, 0, 0.0), items=[1, 1, 0, 0])
            raise AssertionError("a rule was chosen")
        except Refusal as refusal:
            assert refusal.code == "INVALID" and "select_by_report" in refusal.text
        got = client.report(batch, [1, 2, 3, 4, 5, 6], (POSITIVE, 0, 0, 0, 0, 0), items=[6, 0, 0, 0])
        assert list(got["indices"]) == [0, 3, 4, 5]


def serve_with_state(commit_ms):
    if not os.path.exists("data"):
        make_dataset("data", [b"record %05d" % i for i in range(N)])
    return Daemon(config=f"[daemon]\nstate = {os.path.abspath('state')}\ncommit_ms = {commit_ms}\n"
                         f"[dataset d]\npath = {os.path.abspath('data')}\n"
                         f"[job default]\nrho = 1\nbatch_size = {K}\n")


@case
def a_killed_daemon_hears_of_them_again_in_either_form():
    """One answered but not on disk, one on its way: both count once."""
    with serve_with_state(20) as daemon:
        client = Client(daemon.listen, credit=3)
        batches = [client.take() for _ in range(3)]
        client.report(batches[2], [1] * K)
        client.sync()  # with it the leases of all three are on disk
        daemon.kill()
    with serve_with_state(60000) as daemon:
        client.wire.close()
        client.connect()
        client.report(batches[0], [1, 3, 2], items=[2, 1, 0, 0], iou=0.5,
                      boxes=np.array([[0, 0, 1, 1]] * 3, np.float32))
        daemon.kill()
    client.begin_report(batches[1], np.full(LARGE, 4, np.float32), items=[LARGE, 0, 0, 0])
    with serve_with_state(20) as daemon:
        client.wire.close()
        client.connect()
        client.finish_report(batches[1])
        for batch in batches:
            client.release(batch)
        client.sync()
        for batch, place, loss in ((batches[0], 0, 3), (batches[0], 1, 2), (batches[1], 0, 4)):
            instance = daemon.get(f"/v1/jobs/default/instances/{batch.ids[place]}")
            assert (instance["score"], instance["visits"]) == (loss, 1), instance
        counters = daemon.get("/v1/jobs/default")["counters"]
        assert (counters["reports_ragged"], counters["losses_applied"]) == (1, 7), counters
        client.bye()


if __name__ == "__main__":
    main(globals())
