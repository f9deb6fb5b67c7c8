"""A Job's manifest, made of a specification: pure. Its containers have one user, and nothing that is not needed.

The agent is a native sidecar: an init container that goes on (`restartPolicy: Always`), so it is up before the script's
container starts, and gets its SIGTERM after that one has ended. The script's image needs nothing but a shell. Of the
directory that both share, the script has only subdirectories, each a mount: it can't put a link in their place. What is
the agent's own (its token, credentials, results) is not mounted there, and no container sees another's processes: that,
not another user, keeps them apart, so whatever mode a script gives a file, the agent can keep it.

Source: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
"""

from __future__ import annotations

from typing import Any

from agent.runners.kubernetes import pod_options
from agent.settings import ClusterSettings
from keruta.domain.catalog.pods import amount
from keruta.domain.catalog.profiles import Amounts
from keruta.domain.naming import attempt_id
from keruta.domain.specification import Specification
from keruta.network import network

USER, GROUP = 10002, 10004  # one for all containers: what a script leaves with mode 0600 is readable to the agent
USER_NAME = "keruta"
# So that the user has a name (ssh, whoami, getpass), whatever the script's image knows.
ACCOUNT_FILES = {
    "passwd": f"root:x:0:0:root:/root:/sbin/nologin\n{USER_NAME}:x:{USER}:{GROUP}:keruta:/job/home:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n",
    "group": f"root:x:0:\n{USER_NAME}:x:{GROUP}:\nnogroup:x:65534:\n",
}
PART_OF = "app.kubernetes.io/part-of=keruta,app.kubernetes.io/component=job"
ATTEMPT_LABEL = "keruta.dev/attempt"
AGENT_DISK_REQUEST = "64Mi"
CHECK_REQUESTS = {"cpu": "10m", "memory": "16Mi"}  # it waits while the script runs; its limits are the script's
# A script can't be moved to another node: autoscalers wait for its end.
KEPT_BY_AUTOSCALERS = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
SHARED_WITH_SCRIPT = ("control", "interface", "workspace", "artifacts", "home")
READ_ONLY_FOR_SCRIPT = ("given", "documents")  # what the agent puts there: the script's own text and check among it
TMP = "/tmp"  # noqa: S108  a volume of its own, in each container


def secret_manifest(specification: Specification, settings: ClusterSettings, job: dict[str, Any]) -> dict[str, Any]:
    """The attempt's token, which its agent alone mounts. It goes with its Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": token_secret(specification),
            "namespace": settings.job_namespace,
            "labels": labels(specification),
            "ownerReferences": [owner],
        },
        "stringData": {
            "token": specification.token or "",
            **({"proxy-login": login} if (login := network().login) else {}),
        },
    }


def job_manifest(
    specification: Specification, settings: ClusterSettings, account: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The Job of one attempt. Its name derives from task and attempt: made twice, it is made once.

    Args:
        account: a reference to the account that it runs as: who deletes the installation, deletes its Jobs.
    """
    wanted = specification.placement.pod
    metadata = {
        "labels": {**wanted.labels, **labels(specification)},
        "annotations": {**wanted.annotations, **KEPT_BY_AUTOSCALERS},
    }
    template = {"metadata": metadata, "spec": _pod(specification, settings)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": attempt_id(specification.task, specification.attempt),
            "namespace": settings.job_namespace,
            "labels": labels(specification),
            **({"ownerReferences": [account]} if account else {}),
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": specification.timeout_seconds + _grace_seconds(specification, settings) + 60,
            "ttlSecondsAfterFinished": settings.job_keep_seconds,
            "template": template,
        },
    }


def token_secret(specification: Specification) -> str:
    return f"keruta-job-{attempt_id(specification.task, specification.attempt)}"


def labels(specification: Specification) -> dict[str, str]:
    return {
        "app.kubernetes.io/part-of": "keruta",
        "app.kubernetes.io/component": "job",
        "keruta.dev/task": specification.task,
        ATTEMPT_LABEL: str(specification.attempt),
        "keruta.dev/network": specification.placement.network,
    }


def _grace_seconds(specification: Specification, settings: ClusterSettings) -> int:
    pushes = specification.wanted_result is not None or specification.kept_work is not None
    return settings.pod_grace_seconds(pushes=pushes, caches=specification.caches.writes)


def _pod(specification: Specification, settings: ClusterSettings) -> dict[str, Any]:
    placement = specification.placement
    tolerations = [
        {key: value for key, value in vars_of(toleration).items() if value is not None}
        for toleration in placement.tolerations
    ]
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "serviceAccountName": settings.job_service_account,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _grace_seconds(specification, settings),
        "shareProcessNamespace": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": GROUP,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **({"nodeSelector": placement.node_selector} if placement.node_selector else {}),
        **({"tolerations": tolerations} if tolerations else {}),
        **pod_options.pod(placement.pod),
        "initContainers": [
            _agent(specification, settings),
            *pod_options.services(placement.pod, _security(), settings.job_pull_policy),
        ],
        "containers": [
            _script(specification, settings),
            *([_check(specification, settings)] if specification.check is not None else []),
        ],
        "volumes": [*_volumes(specification, settings), *pod_options.volumes(placement.pod, settings)],
    }


def vars_of(toleration: Any) -> dict[str, Any]:
    return {name: getattr(toleration, name) for name in toleration.__struct_fields__}


def _volumes(specification: Specification, settings: ClusterSettings) -> list[dict[str, Any]]:
    shared: dict[str, Any] = {"emptyDir": {"sizeLimit": "1Gi"}}
    if settings.job_results_claim:
        shared = {"persistentVolumeClaim": {"claimName": settings.job_results_claim}}
    return [
        {"name": "job", "emptyDir": {"sizeLimit": settings.job_disk}},
        {"name": "agent", "emptyDir": {"sizeLimit": settings.job_disk}},
        {"name": "agent-tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        {"name": "script-tmp", "emptyDir": {"sizeLimit": settings.job_disk}},
        *(
            [{"name": "check-tmp", "emptyDir": {"sizeLimit": settings.job_disk}}]
            if specification.check is not None
            else []
        ),
        {"name": "token", "secret": {"secretName": token_secret(specification), "defaultMode": 0o440}},
        {"name": "shared", **shared},
        *({"name": name, "secret": {"secretName": name, "defaultMode": 0o440}} for name in _secrets(specification)),
    ]


def _secrets(specification: Specification) -> list[str]:
    """The Kubernetes Secrets that the attempt's credentials name."""
    return sorted({access.secret for access in specification.accesses if access.secret is not None})


def _agent(specification: Specification, settings: ClusterSettings) -> dict[str, Any]:
    env = {
        "KERUTA_AGENT_URL": settings.job_agent_url,
        "KERUTA_ATTEMPT": attempt_id(specification.task, specification.attempt),
        "KERUTA_ATTEMPT_TOKEN_FILE": "/token/token",
        "KERUTA_SCRIPT_IMAGE": _script_image(specification, settings),
        "KERUTA_RESULTS": "volume" if settings.job_results_claim else "upload",
        "KERUTA_RESULTS_DIR": "/results",
        "KERUTA_RESULTS_URL": settings.job_results_url,
        "KERUTA_WORKER_DIR": "/shared",
        "KERUTA_TRANSPORTS": ",".join(sorted(settings.transports)),
        "KERUTA_FETCH_PROXY": "1" if settings.fetch_proxy else "0",
        "KERUTA_CLONE_CACHE": "1" if settings.job_results_claim else "0",
        "KERUTA_OWN_GIT": "1" if settings.own_git else "0",
        "KERUTA_GIT_STALL_SECONDS": str(settings.git_stall_seconds),
        "KERUTA_GRACE_SECONDS": f"{settings.grace_seconds:g}",
        "HOME": TMP,
        **network().settings,
        **({"KERUTA_HTTPS_PROXY_LOGIN_FILE": "/token/proxy-login"} if network().login else {}),
    }
    results = f"results/{specification.task}"
    memory = specification.placement.agent_memory or settings.job_agent_memory
    cache = f"cache/{specification.clone_cache_name}"  # other repositories' entries are not mounted
    dependencies = f"dependencies/{specification.caches.scope}"
    return {
        "name": "agent",
        "image": settings.job_agent_image,
        "imagePullPolicy": settings.job_pull_policy,
        "restartPolicy": "Always",
        "command": ["tini", "--", "python", "-m", "agent", "run"],
        "env": [
            *({"name": key, "value": value} for key, value in env.items()),
            {"name": "KERUTA_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        ],
        "startupProbe": {
            "exec": {"command": ["test", "-e", "/job/given/start.sh"]},
            "periodSeconds": 1,
            "failureThreshold": 120,
        },
        "resources": {
            "requests": {"cpu": "20m", "memory": "64Mi", "ephemeral-storage": AGENT_DISK_REQUEST},
            "limits": {"memory": memory},
        },
        "securityContext": _security(),
        "volumeMounts": [
            {"name": "job", "mountPath": "/job"},
            {"name": "agent", "mountPath": "/agent"},
            {"name": "agent-tmp", "mountPath": TMP},
            {"name": "token", "mountPath": "/token", "readOnly": True},
            *(
                [{"name": "shared", "mountPath": f"/results/{specification.task}", "subPath": results}]
                if settings.job_results_claim
                else []
            ),
            {"name": "shared", "mountPath": f"/shared/{cache}", "subPath": cache},
            *(
                [{"name": "shared", "mountPath": f"/shared/{dependencies}", "subPath": dependencies}]
                if specification.caches.scope and settings.job_results_claim
                else []
            ),
            *(
                {"name": name, "mountPath": f"/credentials/{name}", "readOnly": True}
                for name in _secrets(specification)
            ),
        ],
    }


def _check(specification: Specification, settings: ClusterSettings) -> dict[str, Any]:
    """The check's container: as the script's, with a home, temporary files and a record that the script never had."""
    script = _script(specification, settings)
    limits = {name: script["resources"]["limits"][name] for name in ("cpu", "memory")}
    own = {"/job/home": "check-home", "/job/control": "check-control"}
    mounts = [
        {**one, "name": "check-tmp"} if one["name"] == "script-tmp"
        else {**one, "subPath": own[one["mountPath"]]} if one["mountPath"] in own
        else one
        for one in script["volumeMounts"]
    ]  # fmt: skip
    return {
        **script,
        "name": "check",
        "command": [*script["command"][:-1], "check"],
        "resources": {"requests": CHECK_REQUESTS, "limits": limits},
        "volumeMounts": [*mounts, {"name": "job", "mountPath": "/job/control/output", "subPath": "control/output"}],
    }


def _script(specification: Specification, settings: ClusterSettings) -> dict[str, Any]:
    placement = specification.placement
    limits, requests = _resources(specification, settings)
    return {
        "name": "script",
        "image": _script_image(specification, settings),
        "imagePullPolicy": settings.job_pull_policy,
        "command": ["/bin/sh", "/job/given/start.sh", "/job/given", "/job/control", "script"],
        "env": [
            {"name": "KERUTA_WATCH_STOP", "value": "1"},
            {"name": "KERUTA_WORKSPACE", "value": "/job/workspace"},
            {"name": "HOME", "value": "/job/home"},
            {"name": "USER", "value": USER_NAME},
            {"name": "LOGNAME", "value": USER_NAME},
        ],
        "resources": {"requests": requests, "limits": {**limits, **pod_options.devices(placement.pod)}},
        "securityContext": _security(),
        "volumeMounts": [
            *({"name": "job", "mountPath": f"/job/{name}", "subPath": name} for name in SHARED_WITH_SCRIPT),
            *(
                {"name": "job", "mountPath": f"/job/{name}", "subPath": name, "readOnly": True}
                for name in READ_ONLY_FOR_SCRIPT
            ),
            *(
                {"name": "job", "mountPath": f"/etc/{name}", "subPath": f"given/{name}", "readOnly": True}
                for name in ACCOUNT_FILES
            ),
            *({"name": "script-tmp", "mountPath": path} for path in (TMP, f"/var{TMP}")),
            *pod_options.volume_mounts(placement.pod),
        ],
    }


def _script_image(specification: Specification, settings: ClusterSettings) -> str:
    return specification.placement.image or settings.job_image


def _resources(specification: Specification, settings: ClusterSettings) -> tuple[dict[str, str], dict[str, str]]:
    """Return the script's limits and requests. What its profile leaves open gives way to what it says."""
    given = specification.placement.resources
    own_limits, own_requests = _amounts(given.limits), _amounts(given.requests)
    limits = {"cpu": settings.job_cpu, "memory": settings.job_memory}
    requests = {"cpu": "100m", "memory": "64Mi", "ephemeral-storage": settings.job_disk_request}
    for name, wanted in own_requests.items():
        if name in limits:
            limits[name] = max(limits[name], wanted, key=amount)
    limits |= own_limits
    for name, most in limits.items():
        requests[name] = min(requests[name], most, key=amount)
    return limits, {**requests, **own_requests}


def _amounts(amounts: Amounts) -> dict[str, str]:
    given = {"cpu": amounts.cpu, "memory": amounts.memory, "ephemeral-storage": amounts.ephemeral_storage}
    return {name: value for name, value in given.items() if value is not None}


def _security() -> dict[str, Any]:
    return {
        "runAsUser": USER,
        "runAsGroup": GROUP,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
