"""A profile's wishes for its Pod, as parts of a Job's manifest: pure.

A service is a native sidecar with a startup probe: the script's container starts after that has succeeded.

Source: https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.runners.kubernetes.pod_status import SERVICE
from agent.settings import ClusterSettings
from keruta.domain.catalog.pods import PodOptions, Service, plain

VOLUME_PREFIX = "volume-"
WRITABLE = ":rw"


def pod(options: PodOptions) -> dict[str, Any]:
    """Return the fields of the Pod's specification."""
    made: dict[str, Any] = {}
    if options.priority_class is not None:
        made["priorityClassName"] = options.priority_class
    if options.runtime_class is not None:
        made["runtimeClassName"] = options.runtime_class
    if options.image_pull_secrets:
        made["imagePullSecrets"] = [{"name": name} for name in options.image_pull_secrets]
    if options.node_affinity:
        terms = [{"matchExpressions": [plain(one) for one in options.node_affinity]}]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        made["affinity"] = {"nodeAffinity": required}
    return made


def devices(options: PodOptions) -> dict[str, str]:
    """Return the limits of the script's container for extended resources, which are its requests too."""
    return {name: str(count) for name, count in options.extended_resources.items()}


def volumes(options: PodOptions, settings: ClusterSettings) -> Iterator[dict[str, Any]]:
    """Yield the volumes that the script or a service mounts."""
    for name in options.volumes:
        read_only = name + WRITABLE not in settings.job_volumes
        claim = {"claimName": name, **({"readOnly": True} if read_only else {})}
        yield {"name": _volume(name), "persistentVolumeClaim": claim}
    for service in options.services:
        yield {"name": SERVICE + service.name, "emptyDir": {"sizeLimit": settings.job_disk}}


def volume_mounts(options: PodOptions) -> Iterator[dict[str, Any]]:
    for name in options.volumes:
        yield {"name": _volume(name), "mountPath": f"/volumes/{name}"}


def services(options: PodOptions, security: dict[str, Any], pull_policy: str) -> Iterator[dict[str, Any]]:
    for service in options.services:
        yield _service(service, security, pull_policy)


def _service(service: Service, security: dict[str, Any], pull_policy: str) -> dict[str, Any]:
    probe: dict[str, Any] = {"exec": {"command": service.ready}}
    if service.port is not None:
        probe = {"tcpSocket": {"port": service.port}}
    directories = {"/tmp": "tmp", **{path: path.strip("/") for path in service.directories}}  # noqa: S108
    name = SERVICE + service.name
    return {
        "name": name,
        "image": service.image,
        "imagePullPolicy": pull_policy,
        "restartPolicy": "Always",
        **({"command": service.command} if service.command else {}),
        "env": [{"name": key, "value": value} for key, value in service.env.items()],
        "startupProbe": {**probe, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": service.ready_seconds},
        "resources": {
            "requests": {"cpu": service.cpu, "memory": service.memory},
            "limits": {"cpu": service.cpu, "memory": service.memory},
        },
        "securityContext": security,
        "volumeMounts": [{"name": name, "mountPath": path, "subPath": part} for path, part in directories.items()],
    }


def _volume(claim: str) -> str:
    """Return the name of a claim's volume, which may have no dots."""
    return VOLUME_PREFIX + claim.replace(".", "-")[:55].strip("-")
