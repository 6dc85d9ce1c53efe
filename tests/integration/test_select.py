"""test_select.py - the policies of the selection as a trainer and an operator see them."""
import os
import shutil
import signal
import subprocess

import numpy as np

from harness import DEADLINE_SECONDS, case, main, wait_for
from ohemd import Daemon, make_dataset, program
from second_client import Client, Refusal
from second_wire import (BY_ALL, BY_CDF, BY_JOB, BY_NEGPOS, BY_THRESHOLD, BY_TOP, IGNORED, POSITIVE,
                         REPEATED)

N, K = 40, 10


def configure(policy):
    return (f"[dataset d]\npath = {os.path.abspath('data')}\n"
            f"[job default]\nbatch_size = {K}\n{policy}")


def serve(policy):
    make_dataset("data", [b"record %05d" % i for i in range(N)])
    return Daemon(config=configure(policy))


def answer(client, losses, **wishes):
    """Report them. @return the SELECTION"""
    batch = client.take()
    selection = client.report(batch, losses, **wishes)
    client.release(batch)
    return selection


def select(client, losses):
    """Report them. @return the batch's step and the SELECTION's indices"""
    selection = answer(client, losses)
    return int.from_bytes(selection["token"][:8], "little"), list(selection["indices"])


def ohemctl_jobs(daemon):
    return subprocess.run([program("ohemctl"), "--socket", daemon.status, "jobs"],
                          check=True, capture_output=True, text=True, timeout=DEADLINE_SECONDS).stdout


@case
def the_share_falls_with_the_steps():
    with serve("keep = 0.2\nkeep_from = 1\nkeep_steps = 8\n") as daemon:
        with Client(daemon.listen, credit=1) as client:
            for step in range(12):
                got, indices = select(client, list(range(K)))
                share = 1 + (0.2 - 1) * (step / 8) if step < 8 else 0.2
                assert got == step
                assert indices == list(range(K - int(share * K), K)), (step, indices)
        assert "top, keep ratio 0.2 (from 1 over 8 batches), at least 1\n" in ohemctl_jobs(daemon)


@case
def epochs_of_the_schedule_are_the_steps_that_cover_the_data_set():
    with serve("rho = 0.5\nkeep = 0.2\nkeep_from = 1\nkeep_epochs = 1.5\n") as daemon:
        steps = int(np.ceil(1.5 * N / (0.5 * K)))
        told = daemon.get("/v1/jobs/default")["settings"]["selection"]
        assert (told["keep_epochs"], told["keep_steps"]) == (1.5, steps)
        with Client(daemon.listen, credit=1) as client:
            for step in range(3):
                _, indices = select(client, list(range(K)))
                assert len(indices) == int((1 - 0.8 * step / steps) * K), (step, indices)


@case
def what_is_above_the_threshold_is_selected():
    with serve("select = threshold\nthreshold = 1.5\nmin_keep = 2\nmax_keep = 4\n") as daemon:
        with Client(daemon.listen, credit=1) as client:
            assert select(client, [0, 2, 1, 1.5, 1.75, 0, 0, 9, 1, 1])[1] == [1, 4, 7]
            assert select(client, [2, 3, 4, 5, 6, 7, 8, 9, 0, 0])[1] == [4, 5, 6, 7]
            assert select(client, [0, 0, 0.5, 0, 0, 1, 0, 0, 0, 0])[1] == [2, 5]
        selection = daemon.get("/v1/jobs/default")["settings"]["selection"]
        assert (selection["rule"], selection["threshold"], selection["max_keep"]) == ("threshold", 1.5, 4)
        assert "threshold, above 1.5, at least 2, at most 4\n" in ohemctl_jobs(daemon)


@case
def in_shadow_all_are_selected_and_the_status_tells_what_would_have_been():
    with serve("select = threshold\nthreshold = 1.5\nselect_mode = shadow\n") as daemon:
        with Client(daemon.listen, credit=1) as client:
            assert daemon.get("/v1/jobs/default")["selection_shadow"]["selected_loss_ratio"] is None
            assert select(client, [1, 3, 1, float("nan"), 1, 1, 1, 5, 1, 1])[1] == [0, 1, 2, 4, 5, 6, 7, 8, 9]
            assert select(client, [0] * K)[1] == list(range(K))
        job = daemon.get("/v1/jobs/default")
        assert job["counters"]["instances_selected"] == 2 * K - 1
        assert job["settings"]["selection"]["mode"] == "shadow"
        shadow = job["selection_shadow"]
        assert (shadow["report_count"], shadow["instance_count"], shadow["selected_count"]) == (2, 19, 3)
        assert abs(shadow["selected_ratio"] - 3 / 19) < 1e-6
        assert abs(shadow["selected_loss_ratio"] - 8 / 15) < 1e-6
        out = ohemctl_jobs(daemon)
        assert "threshold, above 1.5, at least 1, but all are selected: shadow\n" in out
        assert "would have selected 15.8 % of the instances, 53.3 % of the loss\n" in out


def serve_classes(policy, fields="kind = u8@12"):
    """The class of instance i is the last digit of i, as a character."""
    make_dataset("data", [b"record %06d" % i for i in range(N)])
    return Daemon(config=configure(policy).replace("[job", f"fields = {fields}\n[job"))


@case
def the_status_tells_what_is_selected_of_each_class():
    for mode in ("on", "shadow"):
        with serve_classes(f"classes = kind\nkeep = 0.3\nselect_mode = {mode}\n") as daemon:
            seen, selected = np.zeros(256, int), np.zeros(256, int)
            with Client(daemon.listen, credit=1) as client:
                assert daemon.get("/v1/jobs/default")["selection_classes"] == []
                for _ in range(9):
                    batch = client.take()
                    classes = np.array([ord(str(i)[-1]) for i in batch.ids])
                    losses = np.where(np.arange(K) == 4, np.nan, classes.astype(float))
                    client.report(batch, losses)
                    client.release(batch)
                    hardest = np.argsort(-np.nan_to_num(losses, nan=-1), kind="stable")[:3]
                    np.add.at(seen, classes[np.isfinite(losses)], 1)
                    np.add.at(selected, classes[hardest], 1)
            told = daemon.get("/v1/jobs/default")["selection_classes"]
            assert [(c["class"], c["reported_count"], c["selected_count"]) for c in told] == [
                (c, seen[c], selected[c]) for c in np.flatnonzero(seen)]
            assert f"selected of each: {told[0]['class']} " in ohemctl_jobs(daemon)
        shutil.rmtree("data")


@case
def a_class_that_cannot_be_read_is_named():
    for policy, fields, words in (
            ("classes = other\n", "kind = u8@12", "classes = other: the data set has no field"),
            ("classes = kind\n", "kind = u16@0", "is of type u16; a single u8 is wanted"),
            ("classes = kind\n", "kind = u8[2]@0", "is of type u8[]; a single u8 is wanted")):
        daemon = serve_classes(policy, fields)
        daemon.launch()
        assert daemon.process.wait(DEADLINE_SECONDS) == 2
        assert words in daemon.log(), daemon.log()
        shutil.rmtree("data")


@case
def switched_off_all_are_selected():
    with serve("select_mode = off\n") as daemon:
        with Client(daemon.listen, credit=1) as client:
            assert select(client, list(range(K)))[1] == list(range(K))
        assert daemon.get("/v1/jobs/default")["selection_shadow"] is None
        assert "at least 1, but all are selected: off\n" in ohemctl_jobs(daemon)


@case
def positives_and_three_times_as_many_negatives_are_selected():
    with serve("select = negpos\n") as daemon:
        with Client(daemon.listen, credit=1) as client:
            got = answer(client, [1, 2, 3, 4, 5, 6, 7, 8, 0, float("nan")],
                         flags=[0, 0, 0, 0, IGNORED, 0, 0, 0, POSITIVE, 0])
            assert list(got["indices"]) == [5, 6, 7, 8]
            assert list(got["weights"]) == [1] * 4
            assert (got["all.count"], got["ignored_count"], got["nonfinite_count"]) == (8, 1, 1)
            assert (got["kept.min"], got["kept.max"], got["kept.mean"]) == (0, 8, 21 / 4)
            assert select(client, list(range(K)))[1] == [K - 1]  # no positive: neg_min
        job = daemon.get("/v1/jobs/default")
        assert job["settings"]["selection"]["rule"] == "negpos"
        assert job["counters"]["instances_ignored"] == 1
        assert job["counters"]["losses_applied"] == 2 * K - 1  # an ignored loss reaches its score
        assert "negpos, 3 negatives per positive, 1 without, at least 1\n" in ohemctl_jobs(daemon)


@case
def by_cdf_weights_are_the_reciprocals_of_the_probabilities():
    with serve("select = cdf\ncdf_power = 2\ncdf_floor = 0.25\n") as daemon:
        with Client(daemon.listen, credit=1) as client:
            first = answer(client, list(range(K)))  # nothing to compare with: all are kept
            assert list(first["indices"]) == list(range(K)) and list(first["weights"]) == [1] * K
            seen, counts, steps = list(range(K)), np.zeros(K), 400
            losses = np.arange(K) / 2.0  # each in the window, too
            for _ in range(steps):
                recent = np.array(seen[-1024:])
                share = [np.mean((recent < x) + 0.5 * (recent == x)) for x in losses]
                p = np.maximum(np.array(share) ** 2, 0.25)
                p[-1] += np.prod(1 - p)
                got = answer(client, losses)
                assert np.allclose(got["weights"], 1 / p[got["indices"]], rtol=1e-6)
                counts[got["indices"]] += 1 / p[got["indices"]]
                seen += list(losses)
            # each instance's weights add up to the number of reports: within 5 deviations
            assert np.all(np.abs(counts / steps - 1) < 5 * np.sqrt((1 / 0.25 - 1) / steps)), counts
        assert "cdf, power 2, floor 0.25\n" in ohemctl_jobs(daemon)


@case
def a_trainer_chooses_the_rule_of_a_report():
    losses = [float(x) for x in range(K)]
    with serve("select = top\nkeep = 0.2\n") as daemon:
        with Client(daemon.listen, credit=1) as client:
            for rule, kept in (((BY_JOB, 0, 0.0), [8, 9]), ((BY_ALL, 0, 0.0), list(range(K))),
                               ((BY_TOP, 3, 0.0), [7, 8, 9]), ((BY_TOP, 0, 0.1), [9]),
                               ((BY_THRESHOLD, 0, 4.5), [5, 6, 7, 8, 9]),
                               ((BY_THRESHOLD, 2, 4.5), [8, 9]),
                               ((BY_NEGPOS, 4, 1.0), [6, 7, 8, 9]),
                               ((BY_CDF, 0, 0.0), list(range(K)))):
                assert list(answer(client, losses, select=rule)["indices"]) == kept, rule
            assert list(answer(client, losses, flags=[POSITIVE] + [0] * 9,
                               select=(BY_NEGPOS, 0, 2.0))["indices"]) == [0, 8, 9]


@case
def a_job_may_keep_its_rule_and_loses_no_report_for_it():
    losses = [float(x) for x in range(K)]
    with serve("keep = 0.2\nselect_by_report = no\n") as daemon:
        with Client(daemon.listen, credit=1) as client:
            batch = client.take()
            try:
                client.report(batch, losses, select=(BY_ALL, 0, 0.0))
                raise AssertionError("another rule was taken")
            except Refusal as refusal:
                assert refusal.code == "INVALID", refusal
                assert "select.rule is 1; 0 is allowed: job 'default'" in str(refusal)
            assert daemon.get("/v1/jobs/default")["counters"]["losses_applied"] == 0
            assert list(client.report(batch, losses)["indices"]) == [8, 9]
        counters = daemon.get("/v1/jobs/default")["counters"]
        assert counters["reports_refused_select"] == 1 and counters["losses_applied"] == K


@case
def in_strict_order_cdf_is_refused():
    with serve("order = strict\n") as daemon:
        with Client(daemon.listen, credit=1) as client:
            batch = client.take()
            try:
                client.report(batch, [0] * K, select=(BY_CDF, 0, 3.0))
                raise AssertionError("cdf was taken")
            except Refusal as refusal:
                assert refusal.code == "INVALID" and "order = strict" in str(refusal), refusal
            assert len(client.report(batch, [0] * K, select=(BY_TOP, 3, 0.0))["indices"]) == 3


@case
def a_repeat_with_other_flags_or_another_rule_is_a_conflict():
    losses = [float(x) for x in range(K)]
    with serve("") as daemon:
        with Client(daemon.listen, credit=1) as client:
            batch = client.take()
            flags, rule = [POSITIVE] + [0] * 9, (BY_NEGPOS, 0, 2.0)
            first = client.report(batch, losses, flags=flags, select=rule)
            again = client.report(batch, losses, flags=flags, select=rule)
            assert again["flags"] == REPEATED and list(again["indices"]) == list(first["indices"])
            for other in ({}, {"flags": flags}, {"select": rule}, {"flags": [0] * K, "select": rule},
                          {"flags": flags, "select": (BY_NEGPOS, 1, 2.0)},
                          {"flags": flags, "select": (BY_NEGPOS, 0, 2.5)}):
                try:
                    client.report(batch, losses, **other)
                    raise AssertionError(f"{other} was taken")
                except Refusal as refusal:
                    assert refusal.code == "CONFLICT", refusal


@case
def a_reload_changes_the_rule_of_a_session_that_is_there():
    with serve("select = all\n") as daemon:
        with Client(daemon.listen, credit=1) as client:
            assert len(select(client, [1.0] * K)[1]) == K
            with open(f"{daemon.directory}/ohemd.conf", "w", encoding="utf-8") as file:
                file.write(configure("select = threshold\nthreshold = 3\n"))
            os.kill(daemon.pid, signal.SIGHUP)
            wait_for(lambda: daemon.get("/v1/jobs/default")["settings"]["selection"]["rule"] == "threshold",
                     "the reload")
            assert select(client, [1, 2, 3, 4, 5, 0, 0, 0, 0, 6])[1] == [3, 4, 9]


main(globals())
