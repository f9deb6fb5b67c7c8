"""A Job Pod: its manifest, what the cluster says of it, and what a worker makes of that."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from agent.runners.kubernetes.manifests import job_manifest, secret_manifest
from agent.runners.kubernetes.pod_attempt import PodJob
from agent.runners.kubernetes.pod_status import ended, not_made, stuck
from agent.settings import ClusterSettings
from keruta.domain.catalog.profiles import Amounts, Resources, Toleration
from keruta.domain.naming import new_id
from keruta.domain.reports import AnyEntry, Assigned, Ended, Lost
from keruta.domain.specification import Access, Fault, Placement, Specification
from keruta.domain.task import RepositoryRef

SETTINGS = ClusterSettings(job_agent_image="agent", job_results_claim="shared", job_patience_seconds=10)


@pytest.fixture
def specification() -> Specification:
    url = RepositoryRef(url="https://example.com/a.git")
    return Specification(task=new_id(), attempt=2, repository=url, script="true", token="the-attempts-token")


def pod_of(specification: Specification) -> dict[str, Any]:
    made: dict[str, Any] = job_manifest(specification, SETTINGS)["spec"]["template"]["spec"]
    return made


def test_the_script_has_nothing_that_is_the_agents(specification: Specification) -> None:
    """No token, no results, no agent's directory; another user; no service account."""
    pod = pod_of(specification)
    agent, script = pod["initContainers"][0], pod["containers"][0]

    assert {mount["name"] for mount in script["volumeMounts"]} == {"job", "script-tmp"}
    assert all("subPath" in mount for mount in script["volumeMounts"] if mount["name"] == "job")
    assert {"token", "shared", "agent"} <= {mount["name"] for mount in agent["volumeMounts"]}
    assert agent["securityContext"]["runAsUser"] != script["securityContext"]["runAsUser"]
    assert agent["restartPolicy"] == "Always"
    assert (pod["automountServiceAccountToken"], pod["shareProcessNamespace"]) == (False, False)
    for container in (agent, script):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_a_job_goes_with_the_account_that_it_runs_as(specification: Specification) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "keruta-job", "uid": "a"}

    assert job_manifest(specification, SETTINGS, account)["metadata"]["ownerReferences"] == [account]


def test_a_job_sees_its_own_results_and_no_others(specification: Specification) -> None:
    mounts = {mount["mountPath"]: mount for mount in pod_of(specification)["initContainers"][0]["volumeMounts"]}

    assert mounts[f"/results/{specification.task}"]["subPath"] == f"results/{specification.task}"
    cache = f"cache/{specification.clone_cache_name}"
    assert mounts[f"/shared/{cache}"]["subPath"] == cache
    assert "/shared/cache" not in mounts
    assert not [mount for mount in mounts.values() if mount["name"] == "shared" and "subPath" not in mount]


def test_a_profile_is_honoured(specification: Specification) -> None:
    placement = Placement(
        image="golang:1",
        resources=Resources(limits=Amounts(memory="3Gi"), requests=Amounts(cpu="2")),
        network="closed",
        node_selector={"disk": "ssd"},
        tolerations=[Toleration(key="gpu", operator="Exists", effect="NoSchedule")],
    )
    job = job_manifest(msgspec.structs.replace(specification, placement=placement), SETTINGS)
    pod = job["spec"]["template"]["spec"]

    assert pod["containers"][0]["image"] == "golang:1"
    assert pod["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "3Gi"}
    assert pod["containers"][0]["resources"]["requests"] == {"cpu": "2", "memory": "64Mi"}
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert job["spec"]["template"]["metadata"]["labels"]["keruta.dev/network"] == "closed"


def test_a_named_secret_is_mounted_by_the_agent_alone(specification: Specification) -> None:
    read = Access(name="bot", kind="token", username="bot", secret="keruta-job-bot")
    pod = pod_of(msgspec.structs.replace(specification, read=read))

    assert "/credentials/keruta-job-bot" in str(pod["initContainers"][0]["volumeMounts"])
    assert "keruta-job-bot" not in str(pod["containers"][0])
    assert {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v} == {
        "keruta-job-bot",
        f"keruta-job-{specification.task}-2",
    }


def test_an_attempt_is_one_job_and_is_never_run_again_by_the_cluster(specification: Specification) -> None:
    job = job_manifest(specification, SETTINGS)

    assert job["metadata"]["name"] == f"{specification.task}-2"
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_the_token_is_in_the_secret_alone_and_goes_with_the_job(specification: Specification) -> None:
    job = job_manifest(specification, SETTINGS)
    secret = secret_manifest(specification, SETTINGS, {"metadata": {"name": job["metadata"]["name"], "uid": "u"}})

    assert "the-attempts-token" not in str(job)
    assert secret["stringData"]["token"] == "the-attempts-token"
    assert secret["metadata"]["name"].startswith("keruta-job-")
    assert secret["metadata"]["ownerReferences"][0]["uid"] == "u"


# ---------------------------------------------------------------- what the cluster says


def pod(phase: str = "Running", *, deleted: bool = False, condition: dict[str, Any] | None = None, **state: Any) -> Any:
    status: dict[str, Any] = {"phase": phase, "conditions": [condition] if condition else []}
    status["containerStatuses"] = [{"name": "script", "image": "img", "state": state}]
    return {"metadata": {"deletionTimestamp": "now"} if deleted else {}, "status": status}


def exited(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"exitCode": code, "reason": reason}


DISRUPTED = {"type": "DisruptionTarget", "status": "True", "message": "said so"}


@pytest.mark.parametrize(
    ("document", "gone", "reason", "code"),
    [
        (pod("Failed", terminated=exited(137, "OOMKilled")), False, "OutOfMemory", 137),
        (pod("Failed", terminated=exited(3)), False, "ScriptFailed", 3),
        (pod("Succeeded", terminated=exited(0, "Completed")), False, "EndNotKnown", 0),
        (pod("Failed"), False, "PodFailed", None),
        ({"status": {"phase": "Failed", "reason": "Evicted", "message": "disk"}}, False, "Evicted", None),
        ({"status": {"phase": "Failed", "reason": "DeadlineExceeded"}}, False, "DeadlineExceeded", None),
        (pod("Running", deleted=True, terminated=exited(143)), True, "PodDeleted", 143),
        (
            pod(condition={**DISRUPTED, "reason": "EvictionByEvictionAPI"}, deleted=True),
            True,
            "Evicted",
            None,
        ),
        (pod("Failed", condition={**DISRUPTED, "reason": "DeletionByTaintManager"}), False, "NodeLost", None),
    ],
)
def test_how_a_pod_ended(document: dict[str, Any], gone: bool, reason: str, code: int | None) -> None:
    """One reason and one sentence for each way."""
    end = ended(document, gone=gone)

    assert end is not None
    assert (end.reason, end.exit_code) == (reason, code)
    assert end.message


@pytest.mark.parametrize("document", [{}, pod(running={}), pod(deleted=True, running={}), pod("Pending")])
def test_a_pod_that_has_not_ended(document: dict[str, Any]) -> None:
    assert ended(document) is None


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "message": "0/1 nodes are available: 1 Insufficient memory.",
}


@pytest.mark.parametrize(
    ("document", "waited", "reason"),
    [
        (pod("Pending", waiting={"reason": "ImagePullBackOff", "message": "no such"}), 0, "ImagePullFailed"),
        (pod("Pending", waiting={"reason": "ErrImageNeverPull"}), 0, "ImagePullFailed"),
        (pod("Pending", waiting={"reason": "ErrImagePull", "message": "unauthorized: …"}), 0, "ImagePullFailed"),
        (pod("Pending", waiting={"reason": "ErrImagePull", "message": "i/o timeout"}), 0, None),
        (pod("Pending", condition=UNSCHEDULABLE), 5, None),
        (pod("Pending", condition=UNSCHEDULABLE), 11, "Unschedulable"),
        (pod("Pending", waiting={"reason": "CreateContainerConfigError", "message": "secret"}), 2, None),
        (pod("Pending", waiting={"reason": "CreateContainerConfigError", "message": "secret"}), 11, "PodRefused"),
        (pod("Pending", waiting={"reason": "ContainerCreating"}), 99, None),
    ],
)
def test_why_a_pod_does_not_start(document: dict[str, Any], waited: float, reason: str | None) -> None:
    """What can't get better is said at once, the rest when patience is at its end."""
    found = stuck(document, waited_seconds=waited, patience_seconds=10)

    assert (found and found.reason) == reason


def test_why_no_pod_was_made() -> None:
    quota = not_made(["SuccessfulCreate: x", "FailedCreate: Error creating: pods is forbidden: exceeded quota: small"])
    policy = not_made(["FailedCreate: Error creating: violates PodSecurity"])

    assert (quota and quota.reason, policy and policy.reason, not_made([])) == ("QuotaExceeded", "PodRefused", None)


# ---------------------------------------------------------------- what a worker makes of it


class RecordedCluster:
    """Remembers what was made and deleted."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.deleted: list[str] = []
        self.events: list[str] = []

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self.made.append(manifest["kind"])
        return {"metadata": {"name": manifest["metadata"]["name"], "uid": "u"}}

    def account(self, name: str) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ServiceAccount", "name": name, "uid": "a"}

    def delete_job(self, name: str) -> None:
        self.deleted.append(name)

    def events_of(self, kind: str, name: str) -> list[str]:
        return self.events


class Attempt:
    """A PodJob and what it said."""

    def __init__(self, specification: Specification, status: str = "assigned", execution: str | None = None) -> None:
        self.cluster = RecordedCluster()
        self.sent: list[AnyEntry] = []
        self.assigned = Assigned(task=specification.task, attempt=2, status=status, execution=execution)
        self.job = PodJob(self.cluster, SETTINGS, self.assigned, lambda *_: specification, self.sent.append)

    def starts(self, execution: str = "x") -> None:
        self.job.told(msgspec.structs.replace(self.assigned, status="running", execution=execution))

    def settled(self) -> None:
        """As if some time had passed, and keruta had said since that the attempt is open still."""
        self.job._over_at -= 60
        self.job.told(self.job._assigned)


def test_a_job_and_then_its_token_are_made(specification: Specification) -> None:
    """Vouched for until its script's start is on record; from then on its agent alone keeps the lease."""
    attempt = Attempt(specification)

    attempt.job.make()

    assert attempt.cluster.made == ["Job", "Secret"]
    assert attempt.job.held.renew is True
    attempt.starts()
    assert attempt.job.held.renew is False


def test_an_end_is_told_once_and_only_after_the_agent_had_its_say(specification: Specification) -> None:
    attempt = Attempt(specification)
    attempt.job.make()
    attempt.starts()
    over = pod("Failed", terminated=exited(137, "OOMKilled"))

    attempt.job.look({}, over, gone=False)
    assert attempt.sent == []
    attempt.settled()
    attempt.job.look({}, over, gone=False)
    attempt.job.look({}, over, gone=False)

    assert [(entry.reason, entry.execution, entry.exit_code) for entry in attempt.sent if isinstance(entry, Ended)] == [
        ("OutOfMemory", "x", 137)
    ]


def test_a_start_that_was_not_heard_of_yet_is_asked_for(specification: Specification) -> None:
    """The Pod is over before keruta's next word: the end is told for the execution that is on record, not for none."""
    attempt = Attempt(specification)
    attempt.job.make()
    over = pod("Failed", deleted=True, terminated=exited(143))
    attempt.job.look({}, over, gone=True)
    assert (attempt.sent, attempt.job.anxious) == ([], True)

    attempt.starts("x")
    attempt.settled()
    attempt.job.look({}, over, gone=True)

    assert [(entry.reason, entry.execution) for entry in attempt.sent if isinstance(entry, Ended)] == [
        ("PodDeleted", "x")
    ]


def test_an_end_that_the_agent_told_is_not_told_again(specification: Specification) -> None:
    """keruta names the attempt no more: it is known here no more."""
    attempt = Attempt(specification)
    attempt.job.make()
    attempt.starts()
    attempt.job.look({}, pod("Succeeded", terminated=exited(0)), gone=False)

    attempt.job.abandon()
    attempt.settled()
    attempt.job.look({}, pod("Succeeded", terminated=exited(0)), gone=False)

    assert attempt.sent == []


def test_what_never_starts_fails_and_its_job_is_deleted(specification: Specification) -> None:
    attempt = Attempt(specification)
    attempt.job.make()

    attempt.job.look({}, pod("Pending", waiting={"reason": "ImagePullBackOff"}), gone=False)
    attempt.settled()
    attempt.job.look({}, pod("Pending", waiting={"reason": "ImagePullBackOff"}), gone=False)

    assert isinstance(attempt.sent[0], Ended)
    assert (attempt.sent[0].reason, attempt.sent[0].execution) == ("ImagePullFailed", None)
    assert attempt.cluster.deleted == [attempt.job.attempt]


def test_a_started_job_that_is_not_there_any_more_is_lost(specification: Specification) -> None:
    """It was started: nobody may call it failed."""
    attempt = Attempt(specification, "running", "x")
    attempt.job.found()
    attempt.job._made_at = time.monotonic() - 60

    attempt.job.look(None, None, gone=True)
    attempt.settled()
    attempt.job.look(None, None, gone=True)

    assert [type(entry) for entry in attempt.sent] == [Lost]


def test_a_fault_is_told_and_no_job_is_made(specification: Specification) -> None:
    broken = msgspec.structs.replace(specification, fault=Fault(reason="ProfileMissing", message="gone"))
    attempt = Attempt(broken)

    attempt.job.make()

    assert attempt.cluster.made == []
    assert [entry.reason for entry in attempt.sent if isinstance(entry, Ended)] == ["ProfileMissing"]


def test_a_cancel_deletes_what_has_not_started(specification: Specification) -> None:
    """And leaves what runs to its agent, for its grace."""
    attempt, running = Attempt(specification), Attempt(specification)
    for one in (attempt, running):
        one.job.make()
        one.job.stop()
        assert one.job._stop_at is not None
        one.job._stop_at -= 5
    running.starts()

    attempt.job.look({}, pod("Pending"), gone=False)
    running.job.look({}, pod(running={}), gone=False)

    assert [entry.status for entry in attempt.sent if isinstance(entry, Ended)] == ["cancelled"]
    assert attempt.cluster.deleted == [attempt.job.attempt]
    assert (running.sent, running.cluster.deleted) == ([], [])
