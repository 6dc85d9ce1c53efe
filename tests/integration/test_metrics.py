"""test_metrics.py - what Prometheus scrapes, read by a small parser of its text format."""
import http.client
import json
import os
import re
import socket

from harness import case, main
from ohemd import Daemon, http_request, make_dataset
from second_client import Client

N, K = 40, 10
SAMPLE = re.compile(r'^([a-z][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)$')


def serve(settings="", jobs="[job default]\nbatch_size = 10\n", **options):
    if not os.path.exists("data"):
        make_dataset("data", [b"record %d" % i for i in range(N)])
    return Daemon(config=f"[daemon]\n{settings}[dataset d]\npath = {os.path.abspath('data')}\n{jobs}",
                  **options)


def parse(text):
    """@return {family: (type, {(name, labels): value})}; everything that promtool would object to fails"""
    families, current = {}, None
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split()[2]
            assert current not in families, f"{current} twice"
            assert len(line.split(" ", 3)) == 4, line
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name == current and kind in ("counter", "gauge", "histogram", "summary"), line
            assert name.startswith("ohemd_") and name.endswith("_total") == (kind == "counter"), line
            families[name] = (kind, {})
        else:
            match = SAMPLE.match(line)
            assert match, line
            name, labels, value = match.groups()
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            assert current in (name, base), f"{line} in {current}"
            samples = families[current][1]
            assert (name, labels) not in samples, f"{line} twice"
            samples[name, labels] = float(value)
    return families


def scrape(daemon):
    status, headers, body = http_request(daemon.status, "/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(body.decode())


def value(families, name, job="default", family=None):
    return families[family or name][1][name, f'ohem_job="{job}"' if job else None]


@case
def counters_and_gauges_are_those_of_the_status():
    with serve() as daemon, Client(daemon.listen, credit=1) as client:
        for _ in range(6):
            client.step(lambda i: 1.0 + i % 4)
        client.release(client.take())
        client.take()  # it holds all that it may: nothing moves any more
        families, job = scrape(daemon), daemon.get("/v1/jobs/default")
        for name, count in job["counters"].items():
            assert value(families, f"ohemd_{name}_total") == count, name
        for name, count in daemon.get("/v1/health")["counters"].items():
            told = value(families, f"ohemd_{name}_total", job=None)
            assert told <= count, name
        assert value(families, "ohemd_sessions") == 1
        assert value(families, "ohemd_scored_instances") == job["scored_count"] > 0
        assert value(families, "ohemd_instances") == N
        assert value(families, "ohemd_epoch") == job["epoch"]
        assert families["ohemd_info"][1]["ohemd_info", 'version="0.1.0"'] == 1
        assert "ohemd_commits_total" not in families  # nothing is written to disk
        sent = families["ohemd_batches_sent_total"][1]
        assert sent["ohemd_batches_sent_total", 'transport="inline"'] >= 6


@case
def the_alert_rules_name_metrics_that_there_are():
    with open(os.path.join(os.environ.get("OHEM_SOURCE", "."), "deploy/ohemd.rules.yml"), encoding="utf-8") as file:
        named = set(re.findall(r"ohemd_[a-z_]+", file.read()))
    with serve(f"state = {os.path.abspath('state')}\n") as daemon:
        assert len(named) > 8 and named <= scrape(daemon).keys(), named - scrape(daemon).keys()


@case
def the_dashboard_shows_metrics_that_there_are():
    with open(os.path.join(os.environ.get("OHEM_SOURCE", "."), "deploy/grafana/ohemd.json"), encoding="utf-8") as file:
        board = json.load(file)
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) >= 12
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels), "panels lie on each other"
    with serve(f"state = {os.path.abspath('state')}\n") as daemon:
        families = scrape(daemon)
    for panel in panels:
        for target in panel["targets"]:
            named = set(re.findall(r"ohemd_[a-z_]+", target["expr"]))
            assert named and {re.sub("_bucket$", "", name) for name in named} <= families.keys(), target
            for name in re.findall(r"(ohemd_[a-z_]+)\{ohem_job", target["expr"]):  # it has that label
                samples = families[re.sub("_bucket$", "", name)][1]
                assert all("ohem_job=" in labels for _, labels in samples), name


@case
def scores_are_a_histogram():
    with serve("", "[job default]\nbatch_size = 10\nrho = 1\n") as daemon, \
            Client(daemon.listen, credit=1) as client:
        for _ in range(N // K):
            client.step(lambda i: [0.3, 1.0, 2.5, 100.0][i % 4])
        kind, samples = scrape(daemon)["ohemd_score"]
        assert kind == "histogram"
        buckets = [(float(re.search('le="([^"]*)"', labels).group(1)), count)
                   for (name, labels), count in samples.items() if name == "ohemd_score_bucket"]
        edges, counts = [b[0] for b in buckets], [b[1] for b in buckets]
        assert edges == sorted(edges) and edges[-1] == float("inf") and len(edges) == 32
        assert counts == sorted(counts) and counts[-1] == N
        assert [dict(buckets)[edge] for edge in (0.5, 1.0, 2.0, 4.0, 128.0)] == [10, 10, 20, 30, 40]
        assert samples["ohemd_score_count", 'ohem_job="default"'] == N
        mean = samples["ohemd_score_sum", 'ohem_job="default"'] / N
        assert abs(mean / ((0.3 + 1 + 2.5 + 100) / 4) - 1) < 0.07  # scores are those of buckets


@case
def each_job_has_its_samples_and_names_are_escaped():
    jobs = '[job a]\nbatch_size = 10\n[job b-2.x]\nbatch_size = 10\n'
    with serve(f"state = {os.path.abspath('state')}\n", jobs) as daemon:
        families = scrape(daemon)
        for name, (_, samples) in families.items():
            labelled = [labels for _, labels in samples if labels and labels.startswith("ohem_job=")]
            if labelled and name != "ohemd_score":
                assert labelled == ['ohem_job="a"', 'ohem_job="b-2.x"'], name
        assert value(families, "ohemd_commits_total", job=None) >= 1
        assert value(families, "ohemd_commit_failing", job=None) == 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@case
def at_a_port_there_are_the_metrics_and_nothing_else():
    port = free_port()
    with serve(f"metrics_port = {port}\n") as daemon:
        status, text = fetch(port, "/metrics")
        assert status == 200 and parse(text).keys() == scrape(daemon).keys()
        status, text = fetch(port, "/v1/jobs")
        assert status == 404 and "there are /metrics" in text, text


@case
def a_port_that_is_taken_ends_the_start_by_its_name():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        daemon = serve(f"metrics_port = {port}\n")
        daemon.launch()
        assert daemon.process.wait(60) == 1
        assert f"metrics socket '127.0.0.1:{port}': Address already in use" in daemon.log()
        assert not os.path.exists(daemon.status)


if __name__ == "__main__":
    main(globals())
