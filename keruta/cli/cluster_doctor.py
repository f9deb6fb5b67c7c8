"""Looks at a cluster, by kubectl: what an installation of keruta needs there, what is missing, and how to mend it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from keruta.domain.doctor import Finding

NAMESPACE = "keruta"
OLDEST_MINOR = 30  # ValidatingAdmissionPolicy v1; native sidecars are older
KUBECTL_SECONDS = 30
Document = dict[str, Any]
Get = Callable[..., Document | None]
"""`kubectl get` with these arguments: the document, or None where there is no such thing."""

TYPES = {
    "services.serving.knative.dev": "install Knative Serving: https://knative.dev/docs/install/",
    "brokers.eventing.knative.dev": "install Knative Eventing: https://knative.dev/docs/install/",
    "pingsources.sources.knative.dev": "install Knative Eventing: https://knative.dev/docs/install/",
    "httproutes.gateway.networking.k8s.io": "install a Gateway API implementation: https://gateway-api.sigs.k8s.io/",
}
SIGNED = (
    "kubectl patch configmap -n knative-eventing config-features --type=merge "
    '-p \'{"data":{"authentication-oidc":"enabled"}}\''
)
APPLY = "kubectl apply -k the overlay that you use, for example knative/overlays/kind"
READY_KINDS = ("ksvc", "broker", "trigger", "pingsource")
IMAGE_TROUBLES = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
NOT_RESOLVED = "Unable to fetch image"


class ClusterAwayError(Exception):
    """kubectl is not there, or the cluster does not answer; the message says which."""


def examine(get: Get | None = None, version: Callable[[], Document] | None = None) -> list[Finding]:
    """Look at everything; the wrong first.

    Args:
        get: `kubectl get`, unless something else is to stand for it; raises ClusterAwayError.
        version: `kubectl version`.
    """
    get = get or kubectl_get
    try:
        found = [*_server((version or kubectl_version)()), *_types(get), *_signed_deliveries(get)]
        if get("namespace", NAMESPACE) is None:
            gone = Finding(
                state="wrong", what=f"The namespace {NAMESPACE} is missing", mend="kubectl apply -k knative/persistent"
            )
            found.append(gone)
        else:
            found += [*_installation(get), *_secrets(get), *_volumes(get), *_pods(get), *_ready(get), *_route(get)]
    except ClusterAwayError as error:
        found = [Finding(state="wrong", what=str(error), mend="kubectl cluster-info says which cluster is meant")]
    return sorted(found, key=lambda finding: ("wrong", "note", "ok").index(finding.state))


def _server(document: Document) -> Iterator[Finding]:
    server = document.get("serverVersion", {})
    minor = int("".join(filter(str.isdigit, server.get("minor", "0"))) or 0)
    if minor < OLDEST_MINOR:
        what = f"Kubernetes {server.get('gitVersion')} is too old"
        yield Finding(state="wrong", what=what, mend=f"1.{OLDEST_MINOR} or newer is needed")
    else:
        yield Finding(state="ok", what=f"Kubernetes {server.get('gitVersion')}")


def _types(get: Get) -> Iterator[Finding]:
    for name, mend in TYPES.items():
        if get("crd", name) is None:
            yield Finding(state="wrong", what=f"The cluster does not know {name}", mend=mend)
        else:
            yield Finding(state="ok", what=f"{name} is there")


def _signed_deliveries(get: Get) -> Iterator[Finding]:
    features = get("configmap", "config-features", "-n", "knative-eventing")
    if features is None:
        return  # Eventing is missing, and has been said to be
    if features.get("data", {}).get("authentication-oidc") == "enabled":
        yield Finding(state="ok", what="Knative Eventing signs its deliveries")
    else:
        what = "Knative Eventing does not sign its deliveries, so dispatch takes no event"
        yield Finding(state="wrong", what=what, mend=SIGNED)


def _installation(get: Get) -> Iterator[Finding]:
    config = next(
        (one for one in _items(get("configmaps", "-n", NAMESPACE)) if "KERUTA_ISSUER" in one.get("data", {})), None
    )
    if config is None:
        yield Finding(state="wrong", what="keruta is not installed: no ConfigMap has its settings", mend=APPLY)
        return
    issuer = config["data"]["KERUTA_ISSUER"]
    if "example.com" in issuer:
        mend = (
            "set KERUTA_ISSUER to your provider (docs/identity.md), or use the component sign-in-by-code to try keruta"
        )
        yield Finding(state="wrong", what=f"The issuer {issuer} is an example", mend=mend)
    for name in ("keruta-jobs", "keruta-job-secrets"):
        if get("validatingadmissionpolicybinding", name) is None:
            what = f"The admission policy {name} is missing: a worker's account may create more than it needs"
            yield Finding(state="wrong", what=what, mend=APPLY)


def _secrets(get: Get) -> Iterator[Finding]:
    """Every Secret that something mounts or takes its environment from, and can't start without."""
    wanted: dict[str, set[str]] = {}
    for kind in ("ksvc", "deployment", "statefulset"):
        for one in _items(get(kind, "-n", NAMESPACE)):
            for name in _needed(one["spec"]["template"]["spec"]):
                wanted.setdefault(name, set()).add(one["metadata"]["name"])
    for name, users in sorted(wanted.items()):
        if get("secret", name, "-n", NAMESPACE) is None:
            what = f"The Secret {name} is missing; {', '.join(sorted(users))} can't start without it"
            yield Finding(state="wrong", what=what, mend="keruta secrets | kubectl create -f -")
    if get("secret", "keruta-worker-token", "-n", NAMESPACE) is None:
        what = "The Secret keruta-worker-token is missing: workers can't register"
        mend = "keruta secrets | kubectl create -f -, or a token of your provider: docs/identity.md"
        worker = get("deployment", "worker", "-n", NAMESPACE) or {}
        if "KERUTA_WORKER_CLIENT_SECRET_FILE" not in json.dumps(worker):
            yield Finding(state="wrong", what=what, mend=mend)


def _needed(pod: Document) -> Iterator[str]:
    for volume in pod.get("volumes", []):
        if "secret" in volume and not volume["secret"].get("optional"):
            yield volume["secret"]["secretName"]
    for container in pod.get("containers", []):
        for source in container.get("envFrom", []):
            if "secretRef" in source and not source["secretRef"].get("optional"):
                yield source["secretRef"]["name"]


def _volumes(get: Get) -> Iterator[Finding]:
    nodes = len(_items(get("nodes")))
    for claim in _items(get("pvc", "-n", NAMESPACE)):
        name, modes = claim["metadata"]["name"], claim["spec"]["accessModes"]
        if claim.get("status", {}).get("phase") != "Bound":
            mend = f"kubectl describe pvc -n {NAMESPACE} {name}; without a default StorageClass, name one in the claim"
            yield Finding(state="note", what=f"The claim {name} is not bound to a volume yet", mend=mend)
        if name == "keruta-shared" and "ReadWriteMany" not in modes and nodes > 1:
            worker = get("deployment", "worker", "-n", NAMESPACE) or {}
            if "KERUTA_JOB_RESULTS_CLAIM" not in json.dumps(worker):
                continue  # Jobs upload their results: admin alone mounts it
            what = f"The claim {name} can be mounted on one of {nodes} nodes only: all Jobs and admin run there"
            mend = "add the component results-upload, or use a StorageClass with ReadWriteMany, such as NFS or CephFS"
            yield Finding(state="note", what=what, mend=mend)


def _pods(get: Get) -> Iterator[Finding]:
    for pod in _items(get("pods", "-n", NAMESPACE)):
        if pod["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "job":
            continue  # a task says itself why it does not start
        status = pod.get("status", {})
        for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
            waiting = container.get("state", {}).get("waiting", {})
            reason, said = waiting.get("reason", ""), waiting.get("message", "")
            if reason in IMAGE_TROUBLES:
                what = f"{pod['metadata']['name']}: the image {container['image']} can't be had: {said or reason}"
                mend = "make images, then load them into the nodes (kind load docker-image) or push them to a registry"
                yield Finding(state="wrong", what=what, mend=mend)
            elif reason not in ("", "ContainerCreating", "PodInitializing"):
                mend = f"kubectl logs -n {NAMESPACE} {pod['metadata']['name']} -c {container['name']} --previous"
                what = f"{pod['metadata']['name']}: {container['name']} does not run: {reason} {said}".strip()
                yield Finding(state="wrong", what=what, mend=mend)
        for condition in status.get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                what = f"{pod['metadata']['name']} has no node: {condition.get('message', '')}"
                yield Finding(state="wrong", what=what, mend="make room on a node, or ask for less in the overlay")


def _ready(get: Get) -> Iterator[Finding]:
    for kind in READY_KINDS:
        for one in _items(get(kind, "-n", NAMESPACE)):
            condition: Document = next(
                (c for c in one.get("status", {}).get("conditions", []) if c["type"] == "Ready"), {}
            )
            if condition.get("status") == "True":
                continue
            said = condition.get("message") or condition.get("reason") or "it says nothing yet"
            mend = f"kubectl describe {kind} -n {NAMESPACE} {one['metadata']['name']}"
            if NOT_RESOLVED in said:
                mend = (
                    "Knative looks each image up in its registry: push it where the cluster can read it, "
                    "or load it into the nodes under the name dev.local/…"
                )
            yield Finding(
                state="wrong", what=f"{one['kind']} {one['metadata']['name']} is not ready: {said}", mend=mend
            )
    for kind in ("deployment", "statefulset"):
        for one in _items(get(kind, "-n", NAMESPACE)):
            ready, wanted = one.get("status", {}).get("readyReplicas", 0), one["spec"].get("replicas", 1)
            name = one["metadata"]["name"]
            if ready < wanted:
                mend = f"kubectl describe {kind} -n {NAMESPACE} {name}"
                yield Finding(state="wrong", what=f"{one['kind']} {name}: {ready} of {wanted} are ready", mend=mend)
            else:
                yield Finding(state="ok", what=f"{one['kind']} {name}: {ready} of {wanted} are ready")


def _route(get: Get) -> Iterator[Finding]:
    for route in _items(get("httproute", "-n", NAMESPACE)):
        name, parents = route["metadata"]["name"], route.get("status", {}).get("parents", [])
        if not parents:
            what = f"No Gateway has taken the HTTPRoute {name}"
            yield Finding(
                state="wrong", what=what, mend="name your Gateway in the overlay's parentRefs; kubectl get gateway -A"
            )
        for parent in parents:
            for condition in parent.get("conditions", []):
                if condition["type"] in ("Accepted", "ResolvedRefs") and condition["status"] == "False":
                    what = f"The HTTPRoute {name} does not work: {condition.get('message', '')}"
                    mend = "use the component of your networking layer, knative/components/networking-*"
                    yield Finding(state="wrong", what=what, mend=mend)


def _items(document: Document | None) -> list[Document]:
    return list((document or {}).get("items", []))


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


def _kubectl(*arguments: str) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = ("kubectl", *arguments)
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=KUBECTL_SECONDS)
    except FileNotFoundError as error:
        raise ClusterAwayError("kubectl is not there") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterAwayError(f"The cluster did not answer within {KUBECTL_SECONDS} s") from error
