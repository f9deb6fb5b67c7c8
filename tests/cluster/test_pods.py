"""Pods of Jobs on a real cluster: what a script finds in one, and what its profile asked for beside it."""

from __future__ import annotations

from tests.support.cluster import Cluster
from tests.support.expectations import script, table, untrue

SERVER = "import http.server as h; h.HTTPServer(('127.0.0.1', 8000), h.SimpleHTTPRequestHandler).serve_forever()"
READY = "import urllib.request as r; r.urlopen('http://127.0.0.1:8000')"


def test_each_line_of_the_table_holds_in_a_pod(cluster: Cluster, repository: str) -> None:
    lines = table()
    task_id = cluster.submit(repository, script(lines))

    assert cluster.ended(task_id).status == "succeeded"

    assert untrue(lines, "pod", cluster.text(task_id)) == []


def test_a_service_is_ready_when_the_script_starts_and_a_broken_one_is_named(cluster: Cluster, repository: str) -> None:
    """Asked once, it answers. One that ends is told with its exit code; a Pod that is refused, by the policy."""
    service = {"image": "localhost/python:3.11", "directories": ["/srv"], "memory": "64Mi", "cpu": "50m"}
    runs = {
        "with-service": [{**service, "name": "web", "command": ["python3", "-c", SERVER],
                          "ready": ["python3", "-c", READY]}],
        "with-broken": [{**service, "name": "web", "command": ["sh", "-c", "exit 3"], "ready": ["true"],
                         "ready_seconds": 5}],
    }  # fmt: skip
    for name, services in runs.items():
        cluster.client.create("profile", {"name": name, "pod": {"services": services}})
    cluster.client.create("profile", {"name": "labelled", "pod": {"labels": {"team": "red"}}})
    names = ("with-service", "with-broken", "labelled")
    ids = {name: cluster.submit(repository, f'python3 -c "{READY}"', profile=name) for name in names}

    ends = {name: cluster.ended(task_id) for name, task_id in ids.items()}

    assert ends["with-service"].status == "succeeded", ends["with-service"].message
    assert ends["with-broken"].reason == "ServiceNotReady", ends["with-broken"]
    assert "web" in (ends["with-broken"].message or "")
    assert ends["labelled"].status == "failed"
    assert "KERUTA_JOB_LABELS" in (ends["labelled"].message or "")


def test_a_check_that_runs_out_of_memory_is_told_as_such(cluster: Cluster, repository: str) -> None:
    limits = {"limits": {"memory": "48Mi"}, "requests": {"memory": "32Mi"}}
    cluster.client.create("profile", {"name": "hungry", "resources": limits})
    hungry = "python3 -c 'x = bytearray(600 * 1024 * 1024); print(len(x))'"
    ended = cluster.ended(cluster.submit(repository, "true", check=hungry, profile="hungry"))

    assert (ended.reason, ended.exit_code) == ("OutOfMemory", 137)
    assert "check" in (ended.message or "")
