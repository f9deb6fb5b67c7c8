"""Looks at a cluster, by kubectl: what an installation of keruta needs there, what is missing, and how to mend it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from keruta.cli.cluster_secrets import RESTART, SIGN_IN_AGAIN, missing_secrets, secret_findings
from keruta.cli.kubectl import (
    NAMESPACE,
    ClusterAwayError,
    Document,
    Get,
    Log,
    items,
    kubectl_get,
    kubectl_log,
    kubectl_version,
    own,
    settings,
)
from keruta.domain.doctor import Finding

OLDEST_MINOR = 30  # ValidatingAdmissionPolicy v1; native sidecars are older
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
ISSUER_OF_CODES = "keruta-local"
UNAUTHENTICATED = "answered 401"
READY_KINDS = ("ksvc", "broker", "trigger", "pingsource")
IMAGE_TROUBLES = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
NOT_RESOLVED = "Unable to fetch image"


def examine(
    get: Get | None = None, version: Callable[[], Document] | None = None, log: Log | None = None
) -> list[Finding]:
    """Look at everything; the wrong first.

    Args:
        get: `kubectl get`, unless something else is to stand for it; raises ClusterAwayError.
        version: `kubectl version`.
        log: `kubectl logs` of the installation's namespace.
    """
    get = get or kubectl_get
    log = log or _log
    try:
        found = [*_server((version or kubectl_version)()), *_types(get), *_signed_deliveries(get)]
        if get("namespace", NAMESPACE) is None:
            gone = Finding(
                state="wrong", what=f"The namespace {NAMESPACE} is missing", mend="kubectl apply -k knative/persistent"
            )
            found.append(gone)
        else:
            missing = missing_secrets(get)
            found += [*_installation(get), *secret_findings(get, missing), *_volumes(get), *_pods(get, set(missing))]
            found += [*_ready(get, log), *_registration(log), *_route(get)]
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
    known = settings(get)
    if "KERUTA_ISSUER" not in known:
        yield Finding(state="wrong", what="keruta is not installed: no ConfigMap has its settings", mend=APPLY)
        return
    issuer = known["KERUTA_ISSUER"]
    if "example.com" in issuer:
        mend = (
            "set KERUTA_ISSUER to your provider (docs/identity.md), or use the component sign-in-by-code to try keruta"
        )
        yield Finding(state="wrong", what=f"The issuer {issuer} is an example", mend=mend)
    if "KERUTA_SIGN_IN_CODE_FILE" in known and issuer != ISSUER_OF_CODES:
        what = f"KERUTA_ISSUER is {issuer}, but the tokens of the component sign-in-by-code are of {ISSUER_OF_CODES}"
        mend = f"set KERUTA_ISSUER to {ISSUER_OF_CODES}, or use your provider without that component: docs/identity.md"
        yield Finding(state="wrong", what=what, mend=mend)
    for name in ("keruta-jobs", "keruta-job-secrets"):
        if get("validatingadmissionpolicybinding", name) is None:
            what = f"The admission policy {name} is missing: a worker's account may create more than it needs"
            yield Finding(state="wrong", what=what, mend=APPLY)


def _volumes(get: Get) -> Iterator[Finding]:
    nodes = len(items(get("nodes")))
    for claim in items(get("pvc", "-n", NAMESPACE)):
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


def _pods(get: Get, missing: set[str]) -> Iterator[Finding]:
    for pod in items(get("pods", "-n", NAMESPACE)):
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
                if any(f'"{name}"' in said for name in missing):
                    continue  # the missing Secret has been said
                mend = f"kubectl logs -n {NAMESPACE} {pod['metadata']['name']} -c {container['name']} --previous"
                if reason.startswith("Create"):  # nothing has run that could have a log
                    mend = f"kubectl describe pod -n {NAMESPACE} {pod['metadata']['name']}"
                what = f"{pod['metadata']['name']}: {container['name']} does not run: {reason} {said}".strip()
                yield Finding(state="wrong", what=what, mend=mend)
        for condition in status.get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                said = condition.get("message", "")
                mend = "make room on a node, or ask for less in the overlay"
                if "PersistentVolumeClaim" in said or "persistentvolumeclaim" in said:
                    mend = f"kubectl describe pvc -n {NAMESPACE}; without a default StorageClass, name one in the claim"
                yield Finding(state="wrong", what=f"{pod['metadata']['name']} has no node: {said}", mend=mend)


def _ready(get: Get, log: Log) -> Iterator[Finding]:
    for kind in READY_KINDS:
        for one in items(get(kind, "-n", NAMESPACE)):
            condition: Document = next(
                (c for c in one.get("status", {}).get("conditions", []) if c["type"] == "Ready"), {}
            )
            if condition.get("status") == "True":
                continue
            name = one["metadata"]["name"]
            said = condition.get("message") or condition.get("reason") or "it is being started"
            if kind == "ksvc" and (complaint := _complaint(log("-l", f"serving.knative.dev/service={name}"))):
                said = f"{said}; its log says: {complaint}"
            mend = f"kubectl describe {kind} -n {NAMESPACE} {name}"
            if NOT_RESOLVED in said:
                mend = (
                    "Knative looks each image up in its registry: push it where the cluster can read it, "
                    "or load it into the nodes under the name dev.local/…"
                )
            mend = _mend_of(said) or mend
            yield Finding(state="wrong", what=f"{one['kind']} {name} is not ready: {said}", mend=mend)
    for kind in ("deployment", "statefulset"):
        for one in own(get, kind):
            ready, wanted = one.get("status", {}).get("readyReplicas", 0), one["spec"].get("replicas", 1)
            name = one["metadata"]["name"]
            if ready < wanted:
                complaint = _complaint(log(f"{kind}/{name}"))
                mend = _mend_of(complaint) or f"kubectl describe {kind} -n {NAMESPACE} {name}"
                what = f"{one['kind']} {name}: {ready} of {wanted} are ready"
                what = f"{what}; its log says: {complaint}" if complaint else what
                yield Finding(state="wrong", what=what, mend=mend)
            else:
                yield Finding(state="ok", what=f"{one['kind']} {name}: {ready} of {wanted} are ready")


def _complaint(text: str) -> str:
    """Return the last warning or error in a log of keruta's, or ""."""
    for line in reversed(text.splitlines()):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("level") in ("WARNING", "ERROR"):
            said = str(entry.get("message", "")).partition(", full error:")[0].partition(" (configured timeouts:")[0]
            cause = str(entry.get("error", "")).strip().rpartition("\n")[2]
            return f"{said}: {cause}" if cause else said
    return ""


def _mend_of(complaint: str) -> str:
    """Say what helps where a log's words tell it, or ""."""
    if "Authentication failed" in complaint:
        return (
            "the password in the Secret keruta-mongo is not the database's; where MongoDB is keruta's own: "
            f"kubectl rollout restart -n {NAMESPACE} statefulset/mongodb; {RESTART}"
        )
    return ""


def _registration(log: Log) -> Iterator[Finding]:
    """A worker that is refused runs, and is ready for the cluster: its log alone says so."""
    newest = max((line for line in log("-l", "app=worker").splitlines() if line.startswith('{"time":')), default="")
    if '"action":"not_registered"' not in newest:
        return
    said = _complaint(newest)
    mend = f"kubectl logs -n {NAMESPACE} deployment/worker"
    if UNAUTHENTICATED in said:
        mend = (
            "the token in the Secret keruta-worker-token has expired, or is not of the issuer that keruta trusts. "
            f"Of your provider: docs/identity.md. With sign-in-by-code: {SIGN_IN_AGAIN}; {RESTART}"
        )
    yield Finding(state="wrong", what=f"A worker can't register: {said}", mend=mend)


def _route(get: Get) -> Iterator[Finding]:
    for route in items(get("httproute", "-n", NAMESPACE)):
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


def _log(*selected: str) -> str:
    return kubectl_log(NAMESPACE, *selected)
