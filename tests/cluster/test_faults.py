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
from tests.support.processes import command_lines

pytestmark = pytest.mark.timeout(900)
JOBS = 5
SECONDS = 15
SCRIPT = f"""
echo "begun $KERUTA_EXECUTION"
i=0; while [ $i -lt {SECONDS} ]; do echo "line $i"; i=$((i+1)); sleep 1; done
"""


@contextmanager
def under_way(cluster: Cluster, repository: str) -> Iterator[list[str]]:
    """Five scripts at work; afterwards each has ended well, once, with its whole log."""
    ids = [cluster.submit(repository, SCRIPT) for _ in range(JOBS)]
    # What was lost before it started, as after the fault before this one, is another attempt, and no fault.
    attempts = {task_id: len(cluster.reaches(task_id, "running", seconds=120).attempts) for task_id in ids}
    yield ids
    for task_id in ids:
        task = cluster.ended(task_id, 180)
        assert task.status == "succeeded", (task.reason, task.message, task.history)
        assert len(task.attempts) == attempts[task_id]
        text = eventually("the log", lambda task_id=task_id: cluster._try(lambda: cluster.text(task_id)), 30)  # type: ignore[misc]
        assert text.count("begun ") == 1
        lines = [line for line in text.splitlines() if line.startswith("line ")]
        assert lines == [f"line {number}" for number in range(SECONDS)]


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
    eventually("no mongod", lambda: not cluster.get("pods", "-l", "app=mongodb")["items"], 90)
    time.sleep(3)
    cluster.kubectl("scale", "statefulset", "-n", NAMESPACE, "mongodb", "--replicas=1")
    eventually("mongod", lambda: is_ready(cluster.get("statefulset", "mongodb")), 120)


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
    again = eventually("its process", lambda: [p.pid for p, line in command_lines() if line == command], 10)
    (run / "kube-apiserver.pid").write_text(str(again[0]))
    eventually("the API server", lambda: cluster.kubectl("get", "--raw", "/readyz", check=False) == "ok", 60)


FAULTS = [a_worker, report_status, the_broker, mongodb, the_api_server]


@pytest.mark.parametrize("kill", FAULTS, ids=lambda fault: fault.__name__)
def test_a_part_is_killed(cluster: Cluster, repository: str, kill: Callable[[Cluster], None]) -> None:
    with under_way(cluster, repository):
        kill(cluster)


def test_an_agent_is_killed_while_its_script_runs(cluster: Cluster, repository: str) -> None:
    """The script goes on, once; the agent that comes after it knows what was sent, and tells the end."""
    with under_way(cluster, repository) as ids:
        for task_id in ids:
            cluster.agent_of(task_id).send_signal(KILL)
    restarts = [
        container["restartCount"]
        for task_id in ids
        for pod in cluster.get("pods", "-l", f"keruta.dev/task={task_id}")["items"]
        for container in pod["status"].get("initContainerStatuses", [])
    ]
    assert all(count >= 1 for count in restarts)


def test_a_worker_that_leaves_hands_over_what_it_has(cluster: Cluster, repository: str) -> None:
    """Scaled to two and back to one, each with Jobs: none stops, and every end is known."""
    with cluster.workers(2), under_way(cluster, repository):
        cluster.kubectl("scale", "deployment", "-n", NAMESPACE, "worker", "--replicas=1")


def test_thirty_tasks_at_once(cluster: Cluster, repository: str) -> None:
    """Three workers of ten slots: all thirty Jobs are there soon after."""
    with cluster.workers(3):
        # Thirty at once have room on one node, so that none of them waits for another one's end.
        small = {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}
        cluster.client.create("profile", {"name": "thirty", "resources": small})
        began = time.monotonic()
        ids = {cluster.submit(repository, "sleep 5", profile="thirty") for _ in range(30)}
        seen: set[str] = set()

        def made() -> bool:
            jobs = cluster.get("jobs", "-l", "app.kubernetes.io/component=job")["items"]
            seen.update(job["metadata"]["labels"]["keruta.dev/task"] for job in jobs)
            return ids <= seen  # the first ones may have ended, and be gone, before the last ones are made

        eventually("thirty Jobs", made, 60)
        print(f"thirty Jobs after {time.monotonic() - began:.1f} s")
        ends = [cluster.ended(task_id, 240) for task_id in ids]
        assert [(end.reason, end.message) for end in ends if end.status != "succeeded"] == []
