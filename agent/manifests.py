"""A Job's manifest, made of a specification: pure. Two containers, other users, nothing that is not needed.

The agent is a native sidecar: an init container that goes on (`restartPolicy: Always`), so it is up before the script's
container starts, and gets its SIGTERM after that one has ended. The script's image needs nothing but a shell.

Source: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keruta.domain.naming import attempt_id
from keruta.domain.specification import Specification

AGENT_USER, SCRIPT_USER, GROUP = 10002, 10003, 10004
GRACE_SECONDS = 60  # the script's grace and the time for the last of its log and results
KEEP_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """What all Jobs of an installation have in common."""

    namespace: str
    agent_image: str
    agent_url: str
    script_image: str
    memory: str = "512Mi"
    cpu: str = "1"
    pull_policy: str = "IfNotPresent"
    results_claim: str | None = None
    transports: str = "https,http,ssh"


def secret_manifest(specification: Specification, settings: JobSettings) -> dict[str, Any]:
    """The attempt's token, which its agent alone mounts."""
    name = f"keruta-job-{attempt_id(specification.task, specification.attempt)}"
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": settings.namespace, "labels": _labels(specification)},
        "stringData": {"token": specification.token or ""},
    }


def job_manifest(specification: Specification, settings: JobSettings) -> dict[str, Any]:
    """The Job of one attempt. Its name derives from task and attempt: made twice, it is made once."""
    name = attempt_id(specification.task, specification.attempt)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": settings.namespace, "labels": _labels(specification)},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": specification.timeout_seconds + GRACE_SECONDS,
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "template": {"metadata": {"labels": _labels(specification)}, "spec": _pod(specification, settings)},
        },
    }


def _labels(specification: Specification) -> dict[str, str]:
    return {
        "app.kubernetes.io/part-of": "keruta",
        "app.kubernetes.io/component": "job",
        "keruta.dev/task": specification.task,
        "keruta.dev/attempt": str(specification.attempt),
    }


def _pod(specification: Specification, settings: JobSettings) -> dict[str, Any]:
    token = f"keruta-job-{attempt_id(specification.task, specification.attempt)}"
    results: dict[str, Any] = {"emptyDir": {"sizeLimit": "1Gi"}}
    if settings.results_claim is not None:
        results = {"persistentVolumeClaim": {"claimName": settings.results_claim}}
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "shareProcessNamespace": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": GROUP,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_agent(specification, settings)],
        "containers": [_script(specification, settings)],
        "volumes": [
            {"name": "job", "emptyDir": {"sizeLimit": "10Gi"}},
            {"name": "agent", "emptyDir": {"sizeLimit": "1Gi"}},
            {"name": "agent-tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "script-tmp", "emptyDir": {"sizeLimit": "10Gi"}},
            {"name": "token", "secret": {"secretName": token, "defaultMode": 0o440}},
            {"name": "results", **results},
        ],
    }


def _agent(specification: Specification, settings: JobSettings) -> dict[str, Any]:
    name = attempt_id(specification.task, specification.attempt)
    env = {
        "KERUTA_AGENT_URL": settings.agent_url,
        "KERUTA_ATTEMPT": name,
        "KERUTA_ATTEMPT_TOKEN_FILE": "/token/token",
        "KERUTA_RESULTS_DIR": "/results",
        "KERUTA_TRANSPORTS": settings.transports,
        "KERUTA_CLONE_CACHE": "0",
        "HOME": "/tmp",  # noqa: S108  a volume of its own
    }
    return {
        "name": "agent",
        "image": settings.agent_image,
        "imagePullPolicy": settings.pull_policy,
        "restartPolicy": "Always",
        "command": ["tini", "--", "python", "-m", "agent", "run"],
        "env": [
            *({"name": key, "value": value} for key, value in env.items()),
            {"name": "KERUTA_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        ],
        "startupProbe": {
            "exec": {"command": ["test", "-e", "/job/control/start.sh"]},
            "periodSeconds": 1,
            "failureThreshold": 120,
        },
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": _security(AGENT_USER),
        "volumeMounts": [
            {"name": "job", "mountPath": "/job"},
            {"name": "agent", "mountPath": "/agent"},
            {"name": "agent-tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "token", "mountPath": "/token", "readOnly": True},
            {
                "name": "results",
                "mountPath": f"/results/{specification.task}",
                "subPath": f"results/{specification.task}",
            },
        ],
    }


def _script(specification: Specification, settings: JobSettings) -> dict[str, Any]:
    return {
        "name": "script",
        "image": settings.script_image,
        "imagePullPolicy": settings.pull_policy,
        "command": ["/bin/sh", "/job/control/start.sh", "/job/control"],
        "env": [
            {"name": "KERUTA_WATCH_STOP", "value": "1"},
            {"name": "KERUTA_WORKSPACE", "value": "/job/workspace"},
            {"name": "HOME", "value": "/tmp"},  # noqa: S108
        ],
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"},
            "limits": {"cpu": settings.cpu, "memory": settings.memory},
        },
        "securityContext": _security(SCRIPT_USER),
        "volumeMounts": [
            {"name": "job", "mountPath": "/job"},
            {"name": "script-tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }


def _security(user: int) -> dict[str, Any]:
    return {
        "runAsUser": user,
        "runAsGroup": GROUP,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
