"""Questions to a cluster by kubectl."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

NAMESPACE = "keruta"
KUBECTL_SECONDS = 30
Document = dict[str, Any]
Get = Callable[..., Document | None]
"""`kubectl get` with these arguments: the document, or None where there is no such thing."""
Log = Callable[..., str]
"""The last lines of the log of what these arguments of `kubectl logs` select."""


class ClusterAwayError(Exception):
    """kubectl is not there, or the cluster does not answer; the message says which."""


def kubectl_get(*arguments: str) -> Document | None:
    """Return what `kubectl get` says; None where there is no such thing, or no such kind. Raises ClusterAwayError."""
    done = _kubectl("get", *arguments, "-o", "json")
    if done.returncode == 0:
        document: Document = json.loads(done.stdout)
        return document
    if "NotFound" in done.stderr or "the server doesn't have a resource type" in done.stderr:
        return None
    raise ClusterAwayError(f"kubectl get {' '.join(arguments)}: {done.stderr.strip()}")


def kubectl_version() -> Document:
    """Return what `kubectl version` says. Raises ClusterAwayError."""
    done = _kubectl("version", "-o", "json")
    if done.returncode != 0:
        raise ClusterAwayError(f"The cluster does not answer: {done.stderr.strip()}")
    document: Document = json.loads(done.stdout)
    return document


def kubectl_log(namespace: str, *selected: str) -> str:
    """Return the last lines of the log of a Pod, or of one that is selected. Raises ClusterAwayError."""
    return _kubectl("logs", "-n", namespace, *selected, "--all-containers", "--tail=30").stdout


def _kubectl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = ("kubectl", *arguments)
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=KUBECTL_SECONDS)
    except FileNotFoundError as error:
        raise ClusterAwayError("kubectl is not there") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterAwayError(f"The cluster did not answer within {KUBECTL_SECONDS} s") from error


def own(get: Get, kind: str) -> list[Document]:
    """Return the objects of a kind, without those that Knative made of a Service."""
    made = "serving.knative.dev/revision"
    return [one for one in items(get(kind, "-n", NAMESPACE)) if made not in one["metadata"].get("labels", {})]


def settings(get: Get) -> dict[str, str]:
    """Return the settings of the installation's ConfigMap: the one that admin reads, older ones aside."""
    admin = json.dumps(get("deployment", "admin", "-n", NAMESPACE) or {})
    found = [one for one in items(get("configmaps", "-n", NAMESPACE)) if "KERUTA_ISSUER" in one.get("data", {})]
    read = [one for one in found if f'"{one.get("metadata", {}).get("name")}"' in admin]
    return next((dict(one["data"]) for one in read or found), {})


def items(document: Document | None) -> list[Document]:
    return list((document or {}).get("items", []))
