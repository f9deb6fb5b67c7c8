"""The pool of workers follows its queue: Pods of the Deployment, and workspaces of a real Coder."""

from __future__ import annotations

import json
import subprocess

from tests.support.cluster import NAMESPACE, ROOT, Cluster, eventually
from tests.support.gates import Gate

COST = "controller.kubernetes.io/pod-deletion-cost"


def replicas(cluster: Cluster) -> int:
    return int(cluster.get("deployment", "worker")["spec"]["replicas"])


def drift(cluster: Cluster) -> str:
    """Return how the cluster differs from the overlay; empty where it does not."""
    command = ["kubectl", "diff", "-k", "knative/overlays/lab"]
    done = subprocess.run(command, cwd=ROOT, env=cluster.kubectl.env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_the_deployment_grows_with_its_queue_and_shrinks_after_it(
    cluster: Cluster, repository: str, gate: Gate
) -> None:
    """One worker, four with more than thirty Jobs at once, and one again; no task is lost or started twice.

    Nothing of this differs from the overlay.
    """
    eventually("one worker", lambda: replicas(cluster) == 1, 180)
    small = {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}
    cluster.client.create("profile", {"name": "small", "resources": small})  # all at once have room on this node
    # More than three workers have slots for; all but one are at work until all of them have been seen.
    last = cluster.submit(repository, "exec sleep 900", profile="small", timeout_seconds=900)
    ids = {cluster.submit(repository, gate.script(), profile="small", timeout_seconds=900) for _ in range(30)}
    seen: set[str] = set()

    def made() -> bool:
        jobs = cluster.get("jobs", "-l", "app.kubernetes.io/component=job")["items"]
        seen.update(job["metadata"]["labels"]["keruta.dev/task"] for job in jobs)
        return ids <= seen

    eventually("four workers", lambda: replicas(cluster) == 4, 90)
    eventually("four ready", lambda: cluster.get("deployment", "worker")["status"].get("readyReplicas") == 4, 180)
    eventually("thirty Jobs", made, 120)
    assert drift(cluster) == ""
    gate.open()
    eventually("one worker", lambda: replicas(cluster) == 1, 300)

    assert cluster.reaches(last, "running").status == "running"
    cluster.client.cancel(last)
    assert cluster.ended(last).status == "cancelled"
    for task_id in ids:
        task = cluster.ended(task_id, 240)
        assert task.status == "succeeded", (task.reason, task.message)
        assert len([attempt for attempt in task.attempts if attempt.started_at]) == 1
        assert cluster.text(task_id).count("begun") == 1


def test_dispatch_may_scale_the_worker_and_nothing_else(cluster: Cluster) -> None:
    account = f"--as=system:serviceaccount:{NAMESPACE}:keruta-dispatch"
    (worker,) = eventually(
        "one worker's Pod", lambda: p if len(p := cluster.get("pods", "-l", "app=worker")["items"]) == 1 else None, 180
    )
    pod = worker["metadata"]["name"]

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
