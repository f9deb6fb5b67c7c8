"""The pool of workers follows its queue: Pods of the Deployment, and workspaces of a real Coder."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.cluster import NAMESPACE, Cluster, eventually

pytestmark = pytest.mark.timeout(900)
COST = "controller.kubernetes.io/pod-deletion-cost"


def replicas(cluster: Cluster) -> int:
    return int(cluster.get("deployment", "worker")["spec"]["replicas"])


def test_the_deployment_grows_with_its_queue_and_shrinks_after_it(cluster: Cluster, repository: str) -> None:
    """One worker, four, and one again; no task is lost or started twice on the way down."""
    eventually("one worker", lambda: replicas(cluster) == 1, 120)
    small = {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}
    cluster.client.create("profile", {"name": "small", "resources": small})  # forty at once have room on this node
    ids = [cluster.submit(repository, "echo begun; sleep 15", profile="small") for _ in range(39)]
    last = cluster.submit(repository, "echo begun; sleep 100", profile="small", timeout_seconds=300)

    eventually("four workers", lambda: replicas(cluster) == 4, 60)
    eventually("four ready", lambda: cluster.get("deployment", "worker")["status"].get("readyReplicas") == 4, 90)
    eventually("one worker", lambda: replicas(cluster) == 1, 240)

    assert cluster.reaches(last, "running", "succeeded").status in ("running", "succeeded")
    for task_id in (*ids, last):
        task = cluster.ended(task_id, 240)
        assert task.status == "succeeded", (task.reason, task.message)
        assert len([attempt for attempt in task.attempts if attempt.started_at]) == 1
        assert cluster.text(task_id).count("begun") == 1


def test_dispatch_may_scale_the_worker_and_nothing_else(cluster: Cluster) -> None:
    account = f"--as=system:serviceaccount:{NAMESPACE}:keruta-dispatch"
    pod = cluster.get("pods", "-l", "app=worker")["items"][0]["metadata"]["name"]

    def patched(patch: str, name: str = pod) -> str:
        done = subprocess.run(
            ["kubectl", "patch", "pod", "-n", NAMESPACE, name, account, "--dry-run=server", "-p", patch],
            capture_output=True, text=True, env=cluster.kubectl.env, check=False,
        )  # fmt: skip
        return "" if done.returncode == 0 else done.stderr

    mongodb = cluster.get("pods", "-l", "app=mongodb")["items"][0]["metadata"]["name"]
    costs = json.dumps({"metadata": {"annotations": {COST: "3"}}})
    assert patched(costs) == ""
    assert "annotations only" in patched('{"spec": {"containers": [{"name": "worker", "image": "x"}]}}')
    assert "annotations only" in patched('{"metadata": {"labels": {"app": "worker", "more": "x"}}}')
    assert "deletion cost only" in patched('{"metadata": {"annotations": {"other": "x"}}}')
    assert "workers' Pods only" in patched(costs, mongodb)
    for right in ("get secrets", "create pods", "delete pods", "patch deployments", "create jobs", "create pods/exec"):
        verb, what = right.split()
        assert cluster.kubectl("auth", "can-i", verb, what, "-n", NAMESPACE, account, check=False).strip() == "no", what
