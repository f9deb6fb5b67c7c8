"""A thin slice on a real cluster: Knative Services, Broker, Trigger, route, and a Job of two containers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.manifests import JobSettings, job_manifest, secret_manifest
from keruta.domain.naming import attempt_id
from keruta.domain.specification import Specification
from tests.cluster.conftest import NAMESPACE, Cluster, await_true
from tests.support.gitservers import GitHttp
from tests.support.repositories import make_repository

pytestmark = pytest.mark.timeout(900)
NODE = "10.244.0.1"


def conditions(document: dict[str, Any]) -> bool:
    """Whether a thing of Knative's, a Deployment or a StatefulSet is ready."""
    status = document.get("status", {})
    if document["kind"] in ("Deployment", "StatefulSet"):
        return bool(status.get("readyReplicas"))
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


@pytest.fixture(scope="module")
def ready(cluster: Cluster) -> Cluster:
    """Everything that the overlay has is ready."""
    began = time.monotonic()
    for kind in ("statefulset", "deployment", "ksvc", "broker", "trigger", "pingsource"):
        await_true(kind, lambda kind=kind: (items := cluster.get(kind)["items"]) and all(map(conditions, items)), 240)
    print(f"ready after {time.monotonic() - began:.0f} s")
    return cluster


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    root: Path = tmp_path_factory.mktemp("git")
    commit = make_repository(root / "a.git")
    with GitHttp(root, host=NODE) as server:
        yield f"http://{NODE}:{server.port}/a.git", commit


class Worker:
    """What a Worker Pod will do, by hand: registers, takes what is assigned, makes the Job."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        token = (cluster.state.root / "tokens" / "worker").read_text()
        answer = cluster.ask("PUT", "/agent/v1/workers/by-hand", {"slots": 2}, token=token)
        assert answer.status == 200, answer.data
        self._session = answer.json()["token"]

    def report(self, *entries: dict[str, Any], held: list[dict[str, Any]] | None = None) -> Any:
        body = {"entries": list(entries), "held": held or []}
        answer = self.cluster.ask("POST", "/agent/v1/reports", body, token=self._session)
        assert answer.status == 200, answer.data
        return answer.json()

    def make_job(self, task_id: str, **settings: Any) -> str:
        await_true(
            "assignment", lambda: self.cluster.ask("GET", f"/api/v1/tasks/{task_id}").json()["status"] != "queued", 60
        )
        answer = self.cluster.ask("GET", f"/agent/v1/tasks/{task_id}/attempts/1", token=self._session)
        assert answer.status == 200, answer.data
        specification = msgspec.json.decode(answer.data, type=Specification)
        assert specification.token
        job = JobSettings(
            namespace=NAMESPACE,
            agent_image="localhost/keruta-agent:lab",
            agent_url="http://report-status.keruta.svc.cluster.local",
            script_image="localhost/python:3.11",
            pull_policy="Never",
            **settings,
        )
        self.cluster.apply(secret_manifest(specification, job), job_manifest(specification, job))
        return attempt_id(task_id, 1)


def submit(cluster: Cluster, url: str, script: str) -> str:
    answer = cluster.ask("POST", "/api/v1/tasks", {"repository": {"url": url}, "script": script})
    assert answer.status == 201, answer.data
    return str(answer.json()["id"])


def test_a_script_that_succeeds(ready: Cluster, repository: tuple[str, str]) -> None:
    """Submitted through the gateway, assigned by an event, run in a Job Pod, its log and outputs on record."""
    url, commit = repository
    worker = Worker(ready)
    script = """
id -u; git log -1 --format=%H; echo answer=42 >> "$KERUTA_OUTPUTS"; echo file > "$KERUTA_ARTIFACTS/file"
ls /var/run/secrets 2>&1; cat /token/token 2>&1; touch /etc/x 2>&1; echo end
"""
    began = time.monotonic()
    task_id = submit(ready, url, script)
    print(f"submit from zero: {time.monotonic() - began:.1f} s")

    worker.make_job(task_id)

    task = await_true(
        "the end",
        lambda: (t := ready.ask("GET", f"/api/v1/tasks/{task_id}").json())["status"] == "succeeded" and t,
        120,
    )
    text = ready.ask("GET", f"/api/v1/tasks/{task_id}/logs").data.decode()
    assert task["attempts"][0]["commit"] == commit
    assert task["outputs"] == {"answer": "42"}
    assert [artifact["path"] for artifact in task["artifacts"]] == ["file", "log.gz"]
    lines = text.splitlines()
    assert "10003" in lines
    assert commit in lines
    assert "end" in lines
    for path in ("/var/run/secrets", "/token/token", "/etc/x"):
        assert any(path in line and ("No such file" in line or "Read-only" in line) for line in lines), (path, text)


def test_a_script_that_is_killed_for_memory(ready: Cluster, repository: tuple[str, str]) -> None:
    """The kernel kills it; the agent beside it still tells its last words, its exit code and the reason."""
    worker = Worker(ready)
    hog = "python3 -c 'x = bytearray(600 * 1024 * 1024); print(len(x))'"
    task_id = submit(ready, repository[0], f"echo the last words; {hog}")

    worker.make_job(task_id, memory="48Mi")

    task = await_true("the end", lambda: (t := show(ready, task_id))["status"] in ("failed", "succeeded") and t, 120)
    assert (task["status"], task["reason"], task["exit_code"]) == ("failed", "OutOfMemory", 137), task
    assert "the last words\n" in task["log"]["tail"]


def show(cluster: Cluster, task_id: str) -> Any:
    return cluster.ask("GET", f"/api/v1/tasks/{task_id}").json()
