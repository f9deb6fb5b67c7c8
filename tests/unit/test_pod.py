"""A Job Pod: its manifest, and what the cluster says of it."""

from __future__ import annotations

from typing import Any

import pytest

from agent.manifests import JobSettings, job_manifest, secret_manifest
from agent.pod_status import how_it_ended
from keruta.domain.naming import new_id
from keruta.domain.specification import Specification
from keruta.domain.task import RepositoryRef

SETTINGS = JobSettings(namespace="keruta", agent_image="agent", agent_url="http://x", script_image="python:3.11")


@pytest.fixture
def specification() -> Specification:
    url = RepositoryRef(url="https://example.com/a.git")
    return Specification(task=new_id(), attempt=2, repository=url, script="true", token="the-attempts-token")


def test_the_script_has_nothing_that_is_the_agents(specification: Specification) -> None:
    """No token, no results, no agent's directory; another user; no service account."""
    pod = job_manifest(specification, SETTINGS)["spec"]["template"]["spec"]
    agent, script = pod["initContainers"][0], pod["containers"][0]

    assert {mount["name"] for mount in script["volumeMounts"]} == {"job", "script-tmp"}
    assert {"token", "results", "agent"} <= {mount["name"] for mount in agent["volumeMounts"]}
    assert agent["securityContext"]["runAsUser"] != script["securityContext"]["runAsUser"]
    assert agent["restartPolicy"] == "Always"
    assert (pod["automountServiceAccountToken"], pod["shareProcessNamespace"]) == (False, False)
    for container in (agent, script):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]


def test_an_attempt_is_one_job_and_is_never_run_again_by_the_cluster(specification: Specification) -> None:
    job = job_manifest(specification, SETTINGS)

    assert job["metadata"]["name"] == f"{specification.task}-2"
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_the_token_is_in_the_secret_alone(specification: Specification) -> None:
    assert "the-attempts-token" not in str(job_manifest(specification, SETTINGS))
    secret = secret_manifest(specification, SETTINGS)
    assert secret["stringData"]["token"] == "the-attempts-token"
    assert secret["metadata"]["name"].startswith("keruta-job-")


def state(**state: Any) -> dict[str, Any]:
    return {"status": {"containerStatuses": [{"name": "script", "image": "i", "state": state}]}}


def terminated(**how: Any) -> dict[str, Any]:
    return state(terminated=how)


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        (terminated(reason="OOMKilled", exitCode=137), "OutOfMemory"),
        (terminated(reason="Error", exitCode=3), "ScriptFailed"),
        ({"status": {"reason": "Evicted", "message": "disk"}}, "Evicted"),
        ({"status": {"reason": "DeadlineExceeded"}}, "DeadlineExceeded"),
        (
            state(waiting={"reason": "ErrImagePull"}),
            "ImagePullFailed",
        ),
    ],
)
def test_what_the_cluster_says(pod: dict[str, Any], reason: str) -> None:
    end = how_it_ended(pod)

    assert end is not None
    assert end.reason == reason
    assert end.message


@pytest.mark.parametrize("pod", [{}, {"status": {"containerStatuses": [{"name": "script", "state": {"running": {}}}]}}])
def test_a_pod_that_has_not_ended(pod: dict[str, Any]) -> None:
    assert how_it_ended(pod) is None
