"""A Job Pod: its manifest, what the cluster says of it, and what a worker makes of that."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from agent.attempt.push import RETRY_SECONDS
from agent.runners.kubernetes import manifests
from agent.runners.kubernetes.manifests import ACCOUNT_FILES, job_manifest, secret_manifest
from agent.runners.kubernetes.pod_attempt import PodJob
from agent.runners.kubernetes.pod_status import ended, not_made, stuck
from agent.settings import ClusterSettings
from keruta.domain.catalog.caches import CacheRule
from keruta.domain.catalog.pods import NodeRequirement, PodOptions, Service
from keruta.domain.catalog.profiles import Amounts, Resources, Toleration
from keruta.domain.naming import new_id
from keruta.domain.reports import AnyEntry, Assigned, Ended, Lost, ScriptEnded
from keruta.domain.specification import Access, Caches, Fault, Placement, Specification
from keruta.domain.task import RepositoryRef, ResultBranch
from keruta.network import Network

SETTINGS = ClusterSettings(job_agent_image="agent", job_results_claim="shared", job_patience_seconds=10)


@pytest.fixture
def specification() -> Specification:
    url = RepositoryRef(url="https://example.com/a.git")
    return Specification(task=new_id(), attempt=2, repository=url, script="true", token="the-attempts-token")


def pod_of(specification: Specification) -> dict[str, Any]:
    made: dict[str, Any] = job_manifest(specification, SETTINGS)["spec"]["template"]["spec"]
    return made


def test_the_script_has_nothing_that_is_the_agents(specification: Specification) -> None:
    """No token, no results, no agent's directory; no service account; what it is given is read-only."""
    pod = pod_of(specification)
    agent, script = pod["initContainers"][0], pod["containers"][0]

    assert {mount["name"] for mount in script["volumeMounts"]} == {"job", "script-tmp"}
    assert all("subPath" in mount for mount in script["volumeMounts"] if mount["name"] == "job")
    assert {"token", "shared", "agent"} <= {mount["name"] for mount in agent["volumeMounts"]}
    mounts = {mount["mountPath"]: mount for mount in script["volumeMounts"]}
    assert all(mounts[f"/job/{name}"]["readOnly"] for name in ("given", "documents"))
    assert "/job" not in mounts
    assert agent["restartPolicy"] == "Always"
    assert (pod["automountServiceAccountToken"], pod["shareProcessNamespace"]) == (False, False)
    for container in (agent, script):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_the_script_can_not_change_what_it_was_given(specification: Specification) -> None:
    """Its own text, its check and the agent's word to start are a read-only mount; its home is one that it writes."""
    script = pod_of(specification)["containers"][0]
    mounts = {mount["mountPath"]: mount for mount in script["volumeMounts"]}

    assert [mounts[f"/job/{name}"]["readOnly"] for name in ("given", "documents")] == [True, True]
    assert not mounts["/job/home"].get("readOnly")
    assert {"name": "HOME", "value": "/job/home"} in script["env"]
    assert script["command"] == ["/bin/sh", "/job/given/start.sh", "/job/given", "/job/control", "script"]


def test_a_check_has_a_container_of_its_own(specification: Specification) -> None:
    """Nothing that the script could have written is its home, its temporary files or its record; it asks for little."""
    checked = msgspec.structs.replace(specification, check="true")

    script, check = pod_of(checked)["containers"]
    of_script = {mount["mountPath"]: (mount["name"], mount.get("subPath")) for mount in script["volumeMounts"]}
    of_check = {mount["mountPath"]: (mount["name"], mount.get("subPath")) for mount in check["volumeMounts"]}
    alone = {path for path, what in of_check.items() if what not in of_script.values()}

    assert [one["name"] for one in pod_of(specification)["containers"]] == ["script"]
    assert {"/job/home", "/job/control", "/tmp", "/var/tmp"} <= alone
    assert of_check["/job/workspace"] == of_script["/job/workspace"]
    assert check["command"][-2:] == ["/job/control", "check"]
    assert check["resources"]["requests"] == {"cpu": "10m", "memory": "16Mi"}
    assert check["securityContext"] == script["securityContext"]


def test_agent_and_script_are_one_user_in_separate_process_spaces(specification: Specification) -> None:
    """So the agent can read a file of mode 0600 after any end, and neither sees the other's processes."""
    pod = pod_of(specification)

    users = {
        (one["securityContext"]["runAsUser"], one["securityContext"]["runAsGroup"])
        for one in (*pod["initContainers"], *pod["containers"])
    }

    assert len(users) == 1
    assert pod["shareProcessNamespace"] is False


def test_a_scripts_user_has_a_name_and_places_for_temporary_files(specification: Specification) -> None:
    """As ssh, whoami and getpass want it, whatever the image knows."""
    script = pod_of(specification)["containers"][0]
    paths = {mount["mountPath"]: mount for mount in script["volumeMounts"]}
    env = {one["name"]: one["value"] for one in script["env"]}

    assert paths["/etc/passwd"]["readOnly"] is True
    assert {"/tmp", "/var/tmp"} <= set(paths)
    assert env["USER"] == env["LOGNAME"] == "keruta"
    assert f":{script['securityContext']['runAsUser']}:" in ACCOUNT_FILES["passwd"]


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


def test_a_job_sees_its_repositorys_dependency_caches_alone(specification: Specification) -> None:
    """Without the shared volume nothing of them is mounted: the agent fetches and uploads them."""
    caches = Caches(rules=[CacheRule(paths=["target"], key=["Cargo.lock"])], scope="a" * 32, writes=True)
    wanted = msgspec.structs.replace(specification, caches=caches)
    place = f"dependencies/{caches.scope}"

    pod = pod_of(wanted)
    without = job_manifest(wanted, msgspec.structs.replace(SETTINGS, job_results_claim=""))["spec"]["template"]["spec"]

    mounts = {mount["mountPath"]: mount for mount in pod["initContainers"][0]["volumeMounts"]}
    assert mounts[f"/shared/{place}"]["subPath"] == place
    assert not [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "shared"]
    assert pod["terminationGracePeriodSeconds"] == pod_of(specification)["terminationGracePeriodSeconds"] + 120
    agent = without["initContainers"][0]
    assert not [mount for mount in agent["volumeMounts"] if "dependencies" in mount["mountPath"]]
    assert {"name": "KERUTA_RESULTS", "value": "upload"} in agent["env"]


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
    assert {"name": "KERUTA_SCRIPT_IMAGE", "value": "golang:1"} in pod["initContainers"][0]["env"]
    assert pod["containers"][0]["resources"]["limits"] == {"cpu": "2", "memory": "3Gi"}
    assert pod["containers"][0]["resources"]["requests"] == {
        "cpu": "2", "memory": "64Mi", "ephemeral-storage": "256Mi",
    }  # fmt: skip
    assert pod["nodeSelector"] == {"disk": "ssd"}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert job["spec"]["template"]["metadata"]["labels"]["keruta.dev/network"] == "closed"


@pytest.mark.parametrize(
    ("resources", "requests", "limits"),
    [
        (Resources(limits=Amounts(cpu="50m", memory="32Mi", ephemeral_storage="10Mi")),
         ("50m", "32Mi", "10Mi"), ("50m", "32Mi", "10Mi")),
        (Resources(requests=Amounts(memory="4Gi")), ("100m", "4Gi", "256Mi"), ("1", "4Gi", None)),
        (Resources(limits=Amounts(memory="2000M")), ("100m", "64Mi", "256Mi"), ("1", "2000M", None)),
    ],
)  # fmt: skip
def test_no_default_of_the_installation_contradicts_a_profile(
    specification: Specification, resources: Resources, requests: tuple[str, ...], limits: tuple[str | None, ...]
) -> None:
    """The cluster refuses a Pod whose request is more than its limit."""
    given = msgspec.structs.replace(specification, placement=Placement(resources=resources))
    made = pod_of(given)["containers"][0]["resources"]

    names = ("cpu", "memory", "ephemeral-storage")
    assert tuple(made["requests"][name] for name in names) == requests
    assert tuple(made["limits"].get(name) for name in names) == limits


def test_autoscalers_leave_a_script_where_it_is(specification: Specification) -> None:
    metadata = job_manifest(specification, SETTINGS)["spec"]["template"]["metadata"]

    assert metadata["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert metadata["annotations"]["karpenter.sh/do-not-disrupt"] == "true"


EVERYTHING = PodOptions(
    annotations={"example.com/a": "b"},
    labels={"team": "red"},
    priority_class="batch",
    runtime_class="gvisor",
    image_pull_secrets=["keruta-job-registry"],
    node_affinity=[NodeRequirement(key="disk", values=["ssd"]), NodeRequirement(key="gpu", operator="Exists")],
    extended_resources={"nvidia.com/gpu": 2},
    volumes=["datasets", "models"],
    services=[Service(name="db", image="postgres:17", port=5432, env={"A": "b"}, directories=["/var/lib/data"])],
)


def test_a_profiles_wishes_for_its_pod_are_honoured(specification: Specification) -> None:
    settings = msgspec.structs.replace(SETTINGS, job_volumes=frozenset({"datasets", "models:rw"}))
    given = msgspec.structs.replace(specification, placement=Placement(pod=EVERYTHING), check="true")
    template = job_manifest(given, settings)["spec"]["template"]
    pod = template["spec"]
    script, check = pod["containers"]
    expressions = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]

    assert template["metadata"]["annotations"]["example.com/a"] == "b"
    assert template["metadata"]["labels"]["team"] == "red"
    assert (pod["priorityClassName"], pod["runtimeClassName"]) == ("batch", "gvisor")
    assert pod["imagePullSecrets"] == [{"name": "keruta-job-registry"}]
    assert expressions["nodeSelectorTerms"][0]["matchExpressions"] == [
        {"key": "disk", "operator": "In", "values": ["ssd"]},
        {"key": "gpu", "operator": "Exists"},
    ]
    assert script["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "nvidia.com/gpu" not in check["resources"]["limits"]
    claims = {v["name"]: v["persistentVolumeClaim"] for v in pod["volumes"] if v["name"].startswith("volume-")}
    assert claims["volume-datasets"] == {"claimName": "datasets", "readOnly": True}
    assert claims["volume-models"] == {"claimName": "models"}
    for container in (script, check):
        assert {"name": "volume-datasets", "mountPath": "/volumes/datasets"} in container["volumeMounts"]


def test_a_service_is_ready_before_the_script_starts_and_has_nothing_of_the_agent(specification: Specification) -> None:
    pod = pod_of(msgspec.structs.replace(specification, placement=Placement(pod=EVERYTHING)))
    agent, service = pod["initContainers"]

    assert (agent["name"], service["name"], service["restartPolicy"]) == ("agent", "service-db", "Always")
    assert service["startupProbe"]["tcpSocket"] == {"port": 5432}
    assert {one["name"] for one in service["volumeMounts"]} == {"service-db"}
    assert service["securityContext"] == agent["securityContext"]


@pytest.mark.parametrize(
    ("service", "reason"),
    [
        ({"restartCount": 0, "started": False, "state": {"running": {}}}, None),
        ({"restartCount": 1, "started": True, "state": {"running": {}}}, None),
        ({"restartCount": 1, "started": False, "lastState": {"terminated": {"exitCode": 3}}}, "ServiceNotReady"),
    ],
)
def test_a_service_that_does_not_become_ready_is_named(service: dict[str, Any], reason: str | None) -> None:
    document = pod("Pending", waiting={"reason": "PodInitializing"})
    agent = {"name": "agent", "image": "agent", "state": {"running": {}}}
    document["status"]["initContainerStatuses"] = [agent, {"name": "service-db", "image": "db", **service}]

    found = stuck(document, waited_seconds=5, patience_seconds=300)

    assert (found.reason if found else None) == reason
    assert found is None or "db" in str(found.message)


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


def test_the_login_for_a_proxy_is_in_the_secret_alone(
    specification: Specification, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent reads it from a file that the script's container does not have."""
    reach = Network(https_proxy="http://proxy:3128", https_proxy_login="user:hidden")
    monkeypatch.setattr(manifests, "network", lambda: reach)

    job = job_manifest(specification, SETTINGS)
    secret = secret_manifest(specification, SETTINGS, {"metadata": {"name": job["metadata"]["name"], "uid": "u"}})

    assert "hidden" not in str(job)
    assert secret["stringData"]["proxy-login"] == "user:hidden"
    agent = job["spec"]["template"]["spec"]["initContainers"][0]
    assert {"name": "KERUTA_HTTPS_PROXY_LOGIN_FILE", "value": "/token/proxy-login"} in agent["env"]


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
        (
            pod("Pending", waiting={"reason": "CreateContainerConfigError", "message": "secret"}),
            11,
            "ContainerNotStarted",
        ),
        (pod("Pending", waiting={"reason": "ContainerCreating"}), 9, None),
        (pod("Pending", waiting={"reason": "PodInitializing"}), 99, "ContainerNotStarted"),
        (pod("Pending", waiting={"reason": "ErrImagePull", "message": "no match for platform"}), 0, "ImageNotRunnable"),
        (pod("Pending", terminated=exited(128, "StartError")), 0, "ImageNotRunnable"),
        (pod("Running", terminated=exited(255)), 0, "ImageNotRunnable"),
        (pod("Running", terminated=exited(0, "Completed")), 0, None),
        (pod("Running", deleted=True, terminated=exited(143)), 0, None),
        (pod("Running", running={}), 99, None),
    ],
)
def test_why_a_pod_does_not_start(document: dict[str, Any], waited: float, reason: str | None) -> None:
    """Causes that can't get better are reported at once, others after the patience has ended."""
    found = stuck(document, waited_seconds=waited, patience_seconds=10)

    assert (found and found.reason) == reason


def test_a_pod_that_waited_for_a_node_has_as_long_to_start() -> None:
    """The time until a node was found does not count against the start of the containers."""
    document = pod("Pending", waiting={"reason": "PodInitializing"})
    document["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:09Z"}
    document["status"]["conditions"] = [scheduled]

    assert stuck(document, waited_seconds=18, patience_seconds=10) is None
    assert stuck(document, waited_seconds=20, patience_seconds=10) is not None


@pytest.mark.parametrize(
    "event",
    [
        "Scheduled: to a node",
        "Created: container agent",
        "Started: container agent",
        "Unhealthy: Startup probe failed: ",
    ],
)
def test_a_node_that_is_slow_is_waited_for(event: str) -> None:
    """A node that starts many Pods at once has four times the patience, while nothing failed."""
    document = pod("Pending", waiting={"reason": "PodInitializing"})

    assert stuck(document, waited_seconds=39, patience_seconds=10, events=[event]) is None
    assert stuck(document, waited_seconds=41, patience_seconds=10, events=[event]) is not None
    assert stuck(document, waited_seconds=39, patience_seconds=10, events=["FailedMount: x", event]) is not None


def test_a_pod_whose_agent_prepares_is_not_stuck() -> None:
    """A slow start of the agent, or a long checkout, is no fault of the Pod's."""
    document = pod("Pending", waiting={"reason": "PodInitializing"})
    document["status"]["initContainerStatuses"] = [{"name": "agent", "state": {"running": {}}}]

    assert stuck(document, waited_seconds=99, patience_seconds=10) is None


def test_an_agent_that_used_too_much_memory_is_told_at_once(specification: Specification) -> None:
    """Started again it would need as much; a profile or a repository gives it more."""
    document = pod("Pending", waiting={"reason": "PodInitializing"})
    before = {"terminated": exited(137, "OOMKilled")}
    document["status"]["initContainerStatuses"] = [{"name": "agent", "state": {"running": {}}, "lastState": before}]
    more = msgspec.structs.replace(specification, placement=Placement(agent_memory="2Gi"))

    found = stuck(document, waited_seconds=0, patience_seconds=10)

    assert found is not None
    assert found.reason == "AgentOutOfMemory"
    assert pod_of(specification)["initContainers"][0]["resources"]["limits"] == {"memory": "384Mi"}
    assert pod_of(more)["initContainers"][0]["resources"]["limits"] == {"memory": "2Gi"}


MISSING = 'FailedMount: MountVolume.SetUp failed for volume "keruta-job-bot" : secret "keruta-job-bot" not found'


@pytest.mark.parametrize(
    ("events", "reason", "said"),
    [
        (["Scheduled: to a node", MISSING], "MountFailed", 'secret "keruta-job-bot" not found'),
        (["Scheduled: to a node", MISSING, "Pulling: the image"], "MountFailed", "not found"),
        (["FailedCreatePodSandBox: no network"], "ContainerNotStarted", "no network"),
        (["Scheduled: to a node", "Pulling: Pulling image x"], None, ""),
        ([], "ContainerNotStarted", "said nothing"),
    ],
)
def test_a_pod_that_waits_for_ever_is_told_by_its_events(events: list[str], reason: str | None, said: str) -> None:
    """After the patience, with the cluster's own sentence; a pull that goes on is waited for."""
    waits = pod("Pending", waiting={"reason": "PodInitializing"})

    assert stuck(waits, waited_seconds=9, patience_seconds=10, events=events) is None
    found = stuck(waits, waited_seconds=11, patience_seconds=10, events=events)

    assert (found and found.reason) == reason
    assert found is None or said in found.message.text


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ('exec: "/bin/sh": stat /bin/sh: no such file or directory: unknown', "has no working shell at /bin/sh"),
        ("exec /bin/sh: exec format error", "another processor architecture"),
        ("", "exit code 126 before the script began."),
        ("cannot allocate", "exit code 126 before the script began: cannot allocate"),
    ],
)
def test_an_image_that_cannot_run_a_script_is_told_with_the_nodes_sentence(message: str, said: str) -> None:
    broken = pod("Running", terminated={**exited(126), "message": message})

    found = stuck(broken, waited_seconds=0, patience_seconds=10)

    assert found is not None
    assert found.reason == "ImageNotRunnable"
    assert said in found.message.text


def test_an_agent_that_ends_again_and_again_has_its_own_reason() -> None:
    broken = pod("Pending", waiting={"reason": "PodInitializing"})
    last = {"terminated": {"exitCode": 2, "message": "KERUTA_ATTEMPT names no attempt"}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    broken["status"]["initContainerStatuses"] = [{"name": "agent", "image": "a", "state": waiting, "lastState": last}]

    found = stuck(broken, waited_seconds=31, patience_seconds=300)

    assert found is not None
    assert (found.reason, "names no attempt" in found.message.text) == ("AgentFailed", True)


@pytest.mark.parametrize("kind", ["Failed", "FailureTarget"])
def test_a_jobs_own_deadline_is_not_somebodys_deed(specification: Specification, kind: str) -> None:
    """The cluster deletes the Pod of a Job whose deadline is over; the Job says why."""
    attempt = Attempt(specification)
    attempt.job.make()
    attempt.starts()
    condition = {"type": kind, "status": "True", "reason": "DeadlineExceeded"}
    job = {"spec": {"activeDeadlineSeconds": 90}, "status": {"conditions": [condition]}}
    deleted = pod("Running", deleted=True, terminated=exited(143))

    attempt.job.look(job, deleted, gone=True)
    attempt.settled()
    attempt.job.look(job, deleted, gone=True)

    ends = [entry for entry in attempt.sent if isinstance(entry, Ended)]
    assert [entry.reason for entry in ends] == ["DeadlineExceeded"]
    assert "90 s after its creation" in str(ends[0].message)


def test_why_no_pod_was_made() -> None:
    quota = not_made(["SuccessfulCreate: x", "FailedCreate: Error creating: pods is forbidden: exceeded quota: small"])
    policy = not_made(["FailedCreate: Error creating: violates PodSecurity"])

    assert (quota and quota.reason, policy and policy.reason, not_made([])) == ("QuotaExceeded", "PodRefused", None)


# ---------------------------------------------------------------- what a worker makes of it


class Killed(BaseException):
    """The worker's process ends here."""


class RecordedCluster:
    """Remembers what was made and deleted. Where told so, the worker ends right after a call of that number."""

    def __init__(self) -> None:
        self.calls = 0
        self.killed_after = 0
        self.things: dict[tuple[str, str], dict[str, Any]] = {}
        self.made: list[str] = []
        self.deleted: list[str] = []
        self.events: list[str] = []

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if (kind, name) not in self.things:
            self.made.append(kind)
            self.things[kind, name] = manifest
        self._called()
        return {"metadata": {"name": name, "uid": "u"}}

    def account(self, name: str) -> dict[str, Any]:
        self._called()
        return {"apiVersion": "v1", "kind": "ServiceAccount", "name": name, "uid": "a"}

    def delete_job(self, name: str) -> None:
        self.deleted.append(name)
        self.things.pop(("Job", name), None)
        self._called()

    def events_of(self, kind: str, name: str) -> list[str]:
        return self.events

    def _called(self) -> None:
        self.calls += 1
        if self.calls == self.killed_after:
            raise Killed


class Attempt:
    """A PodJob and what it said."""

    def __init__(
        self, specification: Specification, status: str = "assigned", execution: str | None = None,
        cluster: RecordedCluster | None = None,
    ) -> None:  # fmt: skip
        self.cluster = cluster or RecordedCluster()
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


def with_check(document: dict[str, Any]) -> dict[str, Any]:
    """The same Pod with a check that waits."""
    document["status"]["containerStatuses"].append({"name": "check", "image": "img", "state": {"running": {}}})
    return {**document, "spec": {"containers": [{"name": "script"}, {"name": "check"}]}}


def script_ends(attempt: Attempt) -> list[int]:
    return [entry.exit_code for entry in attempt.sent if isinstance(entry, ScriptEnded)]


def test_a_check_is_released_when_the_scripts_container_has_ended(specification: Specification) -> None:
    """Told once, and again only if keruta does not know it by then."""
    attempt = Attempt(specification)
    attempt.job.make()
    attempt.starts()
    attempt.job.look({}, with_check(pod(running={})), gone=False)
    assert script_ends(attempt) == []

    over = with_check(pod(terminated=exited(0)))
    attempt.job.look({}, over, gone=False)
    attempt.job.look({}, over, gone=False)
    assert script_ends(attempt) == [0]

    assert attempt.job._script_end_at is not None
    attempt.job._script_end_at -= 60
    attempt.job.look({}, over, gone=False)
    assert script_ends(attempt) == [0, 0]

    attempt.job.told(msgspec.structs.replace(attempt.job._assigned, script_exit_code=0))
    attempt.job._script_end_at -= 60
    attempt.job.look({}, over, gone=False)
    assert script_ends(attempt) == [0, 0]


def test_no_check_is_released_in_a_pod_that_is_going(specification: Specification) -> None:
    """Nor where there is none."""
    attempt = Attempt(specification)
    attempt.job.make()
    attempt.starts()

    attempt.job.look({}, with_check(pod(terminated=exited(0), deleted=True)), gone=False)
    attempt.job.look({}, pod(terminated=exited(0)), gone=False)

    assert script_ends(attempt) == []


def test_an_end_that_nobody_knows_is_told_once(specification: Specification) -> None:
    """The task is `unknown` then, and waits for a person; told again while keruta still counts it as running."""
    attempt = Attempt(specification)
    attempt.job.make()
    attempt.starts()
    over = pod("Failed")
    for status in ("running", "running", "unknown", "unknown"):
        attempt.job.look({}, over, gone=False)
        attempt.settled()
        attempt.job.look({}, over, gone=False)
        if attempt.job._told_at is not None:
            attempt.job._told_at -= 60
        attempt.job.told(msgspec.structs.replace(attempt.job._assigned, status=status))

    assert [type(entry) for entry in attempt.sent] == [Lost, Lost, Lost]


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
    """The Job was started, so its task must not be called failed."""
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


# ---------------------------------------------------------------- a worker that ends between two calls


@pytest.mark.parametrize("call", range(1, 4))
def test_a_worker_that_ends_after_any_call_leaves_a_job_that_the_next_completes(
    specification: Specification, call: int
) -> None:
    """Whoever finds the Job makes what it lacks; each thing is made once."""
    cluster = RecordedCluster()
    cluster.killed_after = call
    with pytest.raises(Killed):
        Attempt(specification, cluster=cluster).job.make()

    after = Attempt(specification, cluster=cluster)
    if ("Job", after.job.attempt) in cluster.things:
        after.job.found(age_seconds=5, complete=False)
    assert after.job.made is False
    after.job.make()

    assert cluster.made == ["Job", "Secret"]
    assert after.job.made is True
    assert after.sent == []


def test_a_worker_that_ends_after_deleting_a_cancelled_job_is_followed_by_one_that_says_so(
    specification: Specification,
) -> None:
    """Neither made again, nor called lost: the person's wish was done."""
    cluster = RecordedCluster()
    before = Attempt(specification, cluster=cluster)
    before.job.make()
    before.starts()
    before.job.stop()
    assert before.job._stop_at is not None
    before.job._stop_at -= 1000
    cluster.killed_after = cluster.calls + 1
    with pytest.raises(Killed):
        before.job.look({}, pod(running={}), gone=False)
    assert before.sent == []

    after = Attempt(specification, "running", "x", cluster=cluster)
    after.job.found()
    after.job.stop()
    assert after.job._stop_at is not None
    after.job._stop_at -= 5
    after.job.look(None, None, gone=True)

    assert [entry.status for entry in after.sent if isinstance(entry, Ended)] == ["cancelled"]


def test_what_was_cancelled_before_its_job_was_made_is_not_made(specification: Specification) -> None:
    attempt = Attempt(specification)
    attempt.job.stop()

    attempt.job.make()

    assert attempt.cluster.made == []
    assert [entry.status for entry in attempt.sent if isinstance(entry, Ended)] == ["cancelled"]


def test_the_agent_beside_a_script_asks_git_servers_as_the_worker_is_set_to(
    specification: Specification,
) -> None:
    """What is set for the worker reaches the agents that it starts."""
    settings = ClusterSettings(git_stall_seconds=7, own_git=True, fetch_proxy=False)
    made = job_manifest(specification, settings)
    agent = made["spec"]["template"]["spec"]["initContainers"][0]

    env = {one["name"]: one.get("value") for one in agent["env"]}

    assert (env["KERUTA_GIT_STALL_SECONDS"], env["KERUTA_OWN_GIT"], env["KERUTA_FETCH_PROXY"]) == ("7", "1", "0")


def test_a_pod_without_a_node_is_told_with_what_it_asks_of_nodes() -> None:
    """The scheduler counts nodes and names taints, but no label that it looked for."""
    plain = pod("Pending", condition=UNSCHEDULABLE)
    wanted = [{"key": "disk", "operator": "In", "values": ["ssd", "nvme"]}, {"key": "gpu", "operator": "Exists"}]
    terms = {"nodeSelectorTerms": [{"matchExpressions": wanted}]}
    asking = {**plain, "spec": {
        **plain.get("spec", {}), "nodeSelector": {"topology.kubernetes.io/zone": "zone-9"},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}},
    }}  # fmt: skip

    said, more = (stuck(one, waited_seconds=11, patience_seconds=10) for one in (plain, asking))

    assert said is not None
    assert more is not None
    assert "asks for" not in said.message.text
    assert "topology.kubernetes.io/zone=zone-9, disk In ssd nvme, gpu Exists" in more.message.text


def test_a_pod_on_a_node_that_does_not_answer_is_lost_though_it_is_never_gone() -> None:
    """Deleted by the taint manager, and no kubelet confirms it; deleted by somebody, it still has its grace."""
    told = {**DISRUPTED, "reason": "DeletionByTaintManager"}

    found = ended(pod("Running", deleted=True, condition=told))

    assert found is not None
    assert (found.reason, found.lost) == ("NodeLost", True)
    assert ended(pod("Running", deleted=True)) is None
    assert ended(pod("Running", deleted=True, condition={**told, "reason": "EvictionByEvictionAPI"})) is None
    assert ended(pod("Running", condition=told)) is None


def test_an_agent_has_time_for_every_try_of_a_push(specification: Specification) -> None:
    """Kubernetes ends a sidecar so long after its script: a Git server may be away for as long as documented."""
    pushing = msgspec.structs.replace(specification, result=ResultBranch(branch="out"))
    grace = {
        name: job_manifest(one, SETTINGS)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for name, one in (("none", msgspec.structs.replace(specification, result=None)), ("push", pushing))
    }

    assert grace == {"none": 60, "push": 360}
    assert grace["push"] - grace["none"] > RETRY_SECONDS


def test_a_job_without_a_shared_volume_uploads_its_results_and_has_time_for_it(specification: Specification) -> None:
    """No claim, no clone cache, and a Pod that ends only when keruta has had time to come back."""
    settings = msgspec.structs.replace(SETTINGS, job_results_claim="", job_results_url="http://results")

    job = job_manifest(specification, settings)["spec"]
    with_claim = job_manifest(specification, SETTINGS)["spec"]

    pod = job["template"]["spec"]
    agent = pod["initContainers"][0]
    env = {one["name"]: one.get("value") for one in agent["env"]}
    assert not [one for one in pod["volumes"] if "persistentVolumeClaim" in one]
    assert not [one for one in agent["volumeMounts"] if one["mountPath"].startswith("/results")]
    assert (env["KERUTA_RESULTS"], env["KERUTA_RESULTS_URL"], env["KERUTA_CLONE_CACHE"]) == (
        "upload",
        "http://results",
        "0",
    )
    more = pod["terminationGracePeriodSeconds"] - with_claim["template"]["spec"]["terminationGracePeriodSeconds"]
    assert more == job["activeDeadlineSeconds"] - with_claim["activeDeadlineSeconds"] == 600


def test_a_node_that_never_takes_its_pod_is_lost() -> None:
    """Its kubelet has written nothing into the Pod's status, so nothing has started there."""
    bound = {"spec": {"nodeName": "node-7"}, "status": {"phase": "Pending", "conditions": []}}
    taken = {**bound, "status": {**bound["status"], "startTime": "now"}}  # type: ignore[dict-item]

    told = stuck(bound, waited_seconds=61, patience_seconds=60)
    assert told is not None
    assert (told.reason, str(told.message)) == (
        "NodeLost", "Its node node-7 was lost: it has not taken the Pod for 61 s."
    )  # fmt: skip
    other = stuck(taken, waited_seconds=61, patience_seconds=60)
    assert other is not None
    assert other.reason == "ContainerNotStarted"
    assert stuck(bound, waited_seconds=59, patience_seconds=60) is None
