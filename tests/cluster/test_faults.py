"""Parts of a real cluster are killed while five Jobs run: none is started again, none is lost, all succeed."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.cluster import KILL, NAMESPACE, Cluster, eventually, is_ready
from tests.support.gates import Gate
from tests.support.processes import command_lines

JOBS = 5


@contextmanager
def under_way(cluster: Cluster, repository: str, gate: Gate) -> Iterator[list[str]]:
    """Five scripts at work, which go on afterwards; each then ends well, once, with its whole log."""
    ids = [cluster.submit(repository, gate.script()) for _ in range(JOBS)]
    # What was lost before it started, as after the fault before this one, is another attempt, and no fault.
    attempts = {task_id: len(cluster.reaches(task_id, "running", seconds=180).attempts) for task_id in ids}
    gate.goes_on(ids, 1)
    yield ids
    gate.goes_on(ids)
    gate.open()
    for task_id in ids:
        task = cluster.ended(task_id, 240)
        assert task.status == "succeeded", (task.reason, task.message, task.history)
        assert len(task.attempts) == attempts[task_id]
        text = cluster.text(task_id)
        assert text.count("begun ") == text.count("passed\n") == 1
        lines = [line for line in text.splitlines() if line.startswith("line ")]
        assert lines == [f"line {number}" for number in range(len(lines))]


def delete_pods(cluster: Cluster, selector: str, namespace: str = NAMESPACE) -> None:
    cluster.kubectl("delete", "pod", "-n", namespace, "-l", selector, "--force", "--grace-period=0", "--wait=false")


def a_worker(cluster: Cluster) -> None:
    delete_pods(cluster, "app=worker")


def report_status(cluster: Cluster) -> None:
    delete_pods(cluster, "serving.knative.dev/service=report-status")


def the_broker(cluster: Cluster) -> None:
    for name in ("broker-ingress", "broker-filter"):
        delete_pods(cluster, f"eventing.knative.dev/brokerRole={name.split('-')[1]}", "knative-eventing")


def mongodb(cluster: Cluster) -> None:
    """Away for some seconds, its volume kept."""
    cluster.kubectl("scale", "statefulset", "-n", NAMESPACE, "mongodb", "--replicas=0")
    eventually("no mongod", lambda: not cluster.get("pods", "-l", "app=mongodb")["items"], 180)
    time.sleep(3)
    cluster.kubectl("scale", "statefulset", "-n", NAMESPACE, "mongodb", "--replicas=1")
    eventually("mongod", lambda: is_ready(cluster.get("statefulset", "mongodb")), 180)


def the_api_server(cluster: Cluster) -> None:
    """Killed, and started again as it was some seconds later."""
    run = Path(os.environ.get("KERUTA_LAB_DIR", "/var/tmp/keruta-lab"), "run")
    server = psutil.Process(int((run / "kube-apiserver.pid").read_text()))
    command = server.cmdline()
    server.kill()
    server.wait()
    time.sleep(5)
    with (run.parent / "log" / "kube-apiserver.log").open("ab") as log:
        subprocess.run(["setsid", "--fork", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True)
    again = eventually("its process", lambda: [p.pid for p, line in command_lines() if line == command], 60)
    (run / "kube-apiserver.pid").write_text(str(again[0]))
    eventually("the API server", lambda: cluster.kubectl("get", "--raw", "/readyz", check=False) == "ok", 180)


FAULTS = [a_worker, report_status, the_broker, mongodb, the_api_server]


@pytest.mark.parametrize("kill", FAULTS, ids=lambda fault: fault.__name__)
def test_a_part_is_killed(cluster: Cluster, repository: str, gate: Gate, kill: Callable[[Cluster], None]) -> None:
    with under_way(cluster, repository, gate):
        kill(cluster)


def test_an_agent_is_killed_while_its_script_runs(cluster: Cluster, repository: str, gate: Gate) -> None:
    """The script goes on, once; the agent that comes after it knows what was sent, and tells the end."""
    with under_way(cluster, repository, gate) as ids:
        for task_id in ids:
            cluster.agent_of(task_id).send_signal(KILL)
    restarts = [
        container["restartCount"]
        for task_id in ids
        for pod in cluster.get("pods", "-l", f"keruta.dev/task={task_id}")["items"]
        for container in pod["status"].get("initContainerStatuses", [])
    ]
    assert all(count >= 1 for count in restarts)


def test_a_check_begins_though_report_status_is_away_when_its_script_ends(
    cluster: Cluster, repository: str, gate: Gate
) -> None:
    """The worker tells it again when there is another one; the check runs once, and decides."""
    script, check = f"({gate.script()})", 'echo "checked $KERUTA_EXECUTION"'
    good = cluster.submit(repository, script, check=check)
    bad = cluster.submit(repository, script, check=f"{check}; exit 7")
    for task_id in (good, bad):
        cluster.reaches(task_id, "running")
    gate.goes_on([good, bad], 1)

    report_status(cluster)
    gate.open()

    ends = [cluster.ended(task_id) for task_id in (good, bad)]
    assert [(end.status, end.reason, end.exit_code) for end in ends] == [
        ("succeeded", None, 0), ("failed", "CheckFailed", 7)
    ]  # fmt: skip
    assert [cluster.text(task_id).count("checked ") for task_id in (good, bad)] == [1, 1]


def test_a_worker_that_leaves_hands_over_what_it_has(cluster: Cluster, repository: str, gate: Gate) -> None:
    """Scaled to two and back to one, each with Jobs: none stops, and every end is known."""
    with cluster.workers(2), under_way(cluster, repository, gate):
        cluster.kubectl("scale", "deployment", "-n", NAMESPACE, "worker", "--replicas=1")
