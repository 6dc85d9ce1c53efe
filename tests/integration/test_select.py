"""test_select.py - the policies of the selection as a trainer and an operator see them."""
import os
import signal
import subprocess

from harness import DEADLINE_SECONDS, case, main, wait_for
from ohemd import Daemon, make_dataset, program
from second_client import Client

N, K = 40, 10


def configure(policy):
    return (f"[dataset d]\npath = {os.path.abspath('data')}\n"
            f"[job default]\nbatch_size = {K}\n{policy}")


def serve(policy):
    make_dataset("data", [b"record %05d" % i for i in range(N)])
    return Daemon(config=configure(policy))


def select(client, losses):
    """Report them. @return the batch's step and the SELECTION's indices"""
    batch = client.take()
    selection = client.report(batch, losses)
    client.release(batch)
    return batch.step, list(selection["indices"])


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


@case
def switched_off_all_are_selected():
    with serve("select_mode = off\n") as daemon:
        with Client(daemon.listen, credit=1) as client:
            assert select(client, list(range(K)))[1] == list(range(K))
        assert daemon.get("/v1/jobs/default")["selection_shadow"] is None
        assert "at least 1, but all are selected: off\n" in ohemctl_jobs(daemon)


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
