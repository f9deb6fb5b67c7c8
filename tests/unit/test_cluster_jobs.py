"""The kubernetes runner: whose image the agent has, what it completes, and what it clears away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.runners.kubernetes import runner
from agent.runners.kubernetes.runner import ClusterJobs
from agent.settings import ClusterSettings
from keruta.adapters.kube import ClusterAwayError
from keruta.domain.naming import attempt_id, new_id
from keruta.domain.reports import AnyEntry, Assigned, ImageSeen
from keruta.domain.specification import RepositoryRef, Specification

Document = dict[str, Any]


class StandingCluster:
    """Some Jobs and Pods that are there from the beginning; remembers what is made and deleted."""

    def __init__(self) -> None:
        self.jobs: list[Document] = []
        self.pods: list[Document] = []
        self.made: list[Document] = []
        self.deleted: list[str] = []
        self.away = 0
        self.made_secret = threading.Event()
        self.making = threading.Event()
        self.let_make = threading.Event()
        self.let_make.set()

    def create(self, manifest: Document) -> Document:
        self.making.set()
        self.let_make.wait(10)
        self.made.append(manifest)
        if manifest["kind"] == "Secret":
            self.made_secret.set()
        return {"metadata": {"name": manifest["metadata"]["name"], "uid": "u"}}

    def account(self, name: str) -> Document:
        return {"apiVersion": "v1", "kind": "ServiceAccount", "name": name, "uid": "a"}

    def image_of(self, pod: str) -> str:
        if self.away:
            self.away -= 1
            raise ClusterAwayError("away")
        return f"image-of-{pod}"

    def delete_job(self, name: str) -> None:
        self.deleted.append(name)

    def events_of(self, kind: str, name: str) -> list[str]:
        return []

    def watch(
        self, kind: str, selector: str, told: Callable[[str, list[Document]], None], stop: threading.Event
    ) -> None:
        told("ALL", self.jobs if kind == "Job" else self.pods)


class Runner:
    """The runner on that cluster, looked at by hand."""

    def __init__(self, over: Callable[[list[str]], list[str]] = lambda names: names) -> None:
        self.cluster = StandingCluster()
        self.sent: list[AnyEntry] = []
        settings = ClusterSettings(job_results_claim="shared")
        self.jobs = ClusterJobs(self.cluster, settings, "worker-1", self._specification, self.sent.append, over)

    @staticmethod
    def _specification(task: str, attempt: int) -> Specification:
        repository = RepositoryRef(url="https://example.com/a.git")
        return Specification(task=task, attempt=attempt, repository=repository, script="true", token="t")


def a_job(task: str) -> Document:
    return {"metadata": {"name": attempt_id(task, 1), "creationTimestamp": datetime.now(UTC).isoformat()}}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(runner, "LEFT_AFTER_SECONDS", -1.0)


def test_the_agent_is_of_the_workers_own_image() -> None:
    """Asked of the cluster until it answers, so that an overlay names the image once."""
    made = Runner()
    made.cluster.away = 2
    made.jobs.start()

    made.jobs.begin(Assigned(task=new_id(), attempt=1, status="assigned"))

    assert made.cluster.made_secret.wait(10)
    job = next(one for one in made.cluster.made if one["kind"] == "Job")
    assert job["spec"]["template"]["spec"]["initContainers"][0]["image"] == "image-of-worker-1"
    made.jobs.stop()


def test_a_job_that_was_found_without_its_token_gets_it() -> None:
    """The worker that made it ended before it made the Secret."""
    made, task = Runner(), new_id()
    made.cluster.jobs = [a_job(task)]
    made.jobs.start()

    made.jobs.begin(Assigned(task=task, attempt=1, status="assigned"))

    assert made.cluster.made_secret.wait(10)
    assert made.sent == []
    made.jobs.stop()


def test_a_job_whose_agent_has_spoken_is_left_as_it_is() -> None:
    made, task = Runner(), new_id()
    made.cluster.jobs = [a_job(task)]
    made.jobs.start()

    made.jobs.begin(Assigned(task=task, attempt=1, status="preparing"))
    made.jobs._look()

    assert made.cluster.made == []
    made.jobs.stop()


@pytest.mark.parametrize(
    ("phase", "over", "deleted"),
    [
        ("Running", True, True),  # its preparation failed: it holds what it asked for no longer
        ("Running", False, False),  # another worker has it now
        ("Succeeded", True, False),  # it can still be looked at
    ],
)
def test_a_pod_whose_attempt_is_over_does_not_go_on(phase: str, over: bool, deleted: bool) -> None:
    made, task = Runner(over=lambda names: names if over else []), new_id()
    name = attempt_id(task, 1)
    made.cluster.jobs = [a_job(task)]
    made.cluster.pods = [{"metadata": {"name": "p", "labels": {"job-name": name}}, "status": {"phase": phase}}]
    made.jobs.start()
    job = made.jobs.begin(Assigned(task=task, attempt=1, status="preparing"))
    assert job is not None

    job.abandon()
    made.jobs._look()
    made.jobs._look()

    assert (name in made.cluster.deleted) is deleted
    made.jobs.stop()


@pytest.mark.parametrize("over", [False, True])
def test_the_image_is_reported_once_where_a_statement_is_to_name_it(over: bool) -> None:
    """Also when the script has ended before its Pod's status names one."""
    made, task, other = Runner(over=lambda names: []), new_id(), new_id()
    made.cluster.jobs = [a_job(task), a_job(other)]
    made.jobs.start()
    job = made.jobs.begin(Assigned(task=task, attempt=1, status="running", execution="x", wants_image=True))
    made.jobs.begin(Assigned(task=other, attempt=1, status="running", execution="x"))
    assert job is not None
    made.jobs._look()
    if over:
        job.abandon()
        made.jobs._look()
    assert made.sent == []

    for name in (task, other):
        script = {"name": "script", "image": "i:1", "imageID": "i@sha256:1", "state": {"running": {}}}
        labels = {"job-name": attempt_id(name, 1)}
        status = {"phase": "Running", "containerStatuses": [script]}
        made.jobs._pod_told("MODIFIED", [{"metadata": {"name": name, "labels": labels}, "status": status}])
    made.jobs._look()
    made.jobs._look()

    assert made.sent == [ImageSeen(task=task, attempt=1, image_id="i@sha256:1")]
    made.jobs.stop()


def test_a_worker_that_ends_finishes_what_it_is_making() -> None:
    """No Job is left without its token."""
    made = Runner()
    made.cluster.let_make.clear()
    made.jobs.start()
    made.jobs.begin(Assigned(task=new_id(), attempt=1, status="assigned"))
    assert made.cluster.making.wait(10)
    ending = threading.Thread(target=made.jobs.stop)

    ending.start()
    made.cluster.let_make.set()
    ending.join(15)

    assert [one["kind"] for one in made.cluster.made] == ["Job", "Secret"]
