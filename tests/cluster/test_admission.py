"""Objects that a worker's account may create, by a real API server: an attempt's Job and its token, nothing else.

It needs an API server alone, so it takes the smallest cluster that the lab has, or the one that is up already.
"""

from __future__ import annotations

import copy
import functools
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes
import msgspec
import pytest
import yaml

from agent.runners.kubernetes.manifests import job_manifest, secret_manifest
from agent.settings import ClusterSettings
from keruta.domain.catalog.pods import NodeRequirement, PodOptions, Service
from keruta.domain.naming import new_id
from keruta.domain.specification import Access, Placement, RepositoryRef, Specification
from keruta.local.state import State
from tests.support.cluster import LAB, NAMESPACE, Cluster, eventually, is_up, lab

WORKER = f"system:serviceaccount:{NAMESPACE}:keruta-worker"
KINDS = ("ServiceAccount", "Role", "RoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
OTHER_TASK = new_id()
ALLOWED = {
    "KERUTA_JOB_VOLUMES": "datasets,models:rw",
    "KERUTA_JOB_LABELS": "team",
    "KERUTA_JOB_ANNOTATIONS": "example.com/cost",
}
WISHES = PodOptions(
    annotations={"example.com/cost": "low"},
    labels={"team": "red"},
    priority_class="batch",
    runtime_class="gvisor",
    image_pull_secrets=["keruta-job-registry"],
    node_affinity=[NodeRequirement(key="disk", values=["ssd"])],
    extended_resources={"nvidia.com/gpu": 1},
    volumes=["datasets", "models"],
    services=[Service(name="db", image="localhost/python:3.11", port=5432, directories=["/var/lib/data"])],
)
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with the lab overlay's accounts, rights, policies and settings."""
    if not LAB.exists():
        pytest.skip("SKIPPED LOUDLY: no lab beside this checkout; set KERUTA_LAB to its command to try the policies")
    was_up = is_up("kube-apiserver")
    lab("cluster", "up", "api")
    made = Cluster(State(root=tmp_path_factory.mktemp("api")), "nobody")
    made.kubectl("apply", "-k", "knative/persistent")
    overlay = [one for one in yaml.safe_load_all(made.kubectl("kustomize", "knative/overlays/lab")) if one]
    made.apply(*(one for one in overlay if one["kind"] in KINDS))
    worker = next(one for one in overlay if one["kind"] == "Deployment" and one["metadata"]["name"] == "worker")
    worker["spec"]["template"]["spec"]["containers"][0]["env"] += [
        {"name": name, "value": value} for name, value in ALLOWED.items()
    ]
    made.apply(worker)
    try:
        # A policy is in force a moment after it is there.
        eventually(
            "the policies", lambda: _said(made, _changed(_job(made), lambda job: _pod(job).update(hostPID=True))), 90
        )
        eventually("the settings", lambda: "params" not in _said(made, _job(made)), 90)
        yield made
    finally:
        if not was_up:
            lab("cluster", "down")


@functools.cache
def _settings(api: Cluster) -> ClusterSettings:
    container = api.get("deployment", "worker")["spec"]["template"]["spec"]["containers"][0]
    claim = next(one["value"] for one in container["env"] if one["name"] == "KERUTA_JOB_RESULTS_CLAIM")
    return ClusterSettings(
        job_agent_image=container["image"],
        job_results_claim=claim,
        job_agent_url="http://keruta",
        job_volumes=frozenset(ALLOWED["KERUTA_JOB_VOLUMES"].split(",")),
    )


def _specification() -> Specification:
    read = Access(name="bot", kind="token", username="bot", secret="keruta-job-bot")
    repository = RepositoryRef(url="https://example.com/a.git")
    return Specification(
        task=new_id(), attempt=1, repository=repository, script="true", check="true", token="a-token", read=read,
        placement=Placement(pod=WISHES),
    )  # fmt: skip


def _job(api: Cluster) -> dict[str, Any]:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "keruta-job", "uid": new_id()}
    return job_manifest(_specification(), _settings(api), account)


def _secret(api: Cluster) -> dict[str, Any]:
    specification = _specification()
    name = f"{specification.task}-{specification.attempt}"
    return secret_manifest(specification, _settings(api), {"metadata": {"name": name, "uid": new_id()}})


def _changed(document: dict[str, Any], *changes: Change) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    for change in changes:
        change(changed)
    return changed


def _pod(job: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = job["spec"]["template"]["spec"]
    return pod


def _agent(job: dict[str, Any]) -> dict[str, Any]:
    agent: dict[str, Any] = _pod(job)["initContainers"][0]
    return agent


def _script(job: dict[str, Any]) -> dict[str, Any]:
    script: dict[str, Any] = _pod(job)["containers"][0]
    return script


def _images(job: dict[str, Any], image: str) -> None:
    """The image of the script's container and of its check's."""
    for container in _pod(job)["containers"]:
        container["image"] = image


def _volume(job: dict[str, Any], source: dict[str, Any]) -> None:
    """A volume of that kind, which the script's container mounts."""
    _pod(job)["volumes"].append({"name": "extra", **source})
    _script(job)["volumeMounts"].append({"name": "extra", "mountPath": "/extra"})


def _claim(job: dict[str, Any], name: str, **more: Any) -> None:
    """A profile's extra volume of that claim, which the script's container mounts."""
    _pod(job)["volumes"].append({"name": "volume-x", "persistentVolumeClaim": {"claimName": name, **more}})
    _script(job)["volumeMounts"].append({"name": "volume-x", "mountPath": "/volumes/x"})


def _service(job: dict[str, Any]) -> dict[str, Any]:
    service: dict[str, Any] = _pod(job)["initContainers"][-1]
    return service


def _both_labels(job: dict[str, Any]) -> dict[str, Any]:
    """The labels of the Pod, which the Job's own need not repeat."""
    found: dict[str, Any] = job["spec"]["template"]["metadata"]["labels"]
    return found


def _said(api: Cluster, document: dict[str, Any], account: str = WORKER) -> str:
    """Return the API server's refusal of that account; empty if it would create the object."""
    plural = f"{document['kind'].lower()}s"
    group = "/api/v1" if document["apiVersion"] == "v1" else f"/apis/{document['apiVersion']}"
    answer = _client(api).rest_client.pool_manager.request(
        "POST",
        f"{_client(api).configuration.host}{group}/namespaces/{NAMESPACE}/{plural}?dryRun=All",
        body=json.dumps(document),
        headers={"Content-Type": "application/json", "Impersonate-User": account},
    )
    return "" if answer.status < 300 else str(answer.json()["message"])


@functools.cache
def _client(api: Cluster) -> Any:
    return kubernetes.config.new_client_from_config(api.kubectl.env["KUBECONFIG"])


def test_what_a_worker_makes_is_let_in(api: Cluster) -> None:
    """The Job and the Secret that it makes of a specification with a check and a credential."""
    assert _said(api, _job(api)) == ""
    assert _said(api, _secret(api)) == ""


def test_a_job_that_uploads_its_results_is_let_in(api: Cluster) -> None:
    """With empty directories where the shared volume would be."""
    settings = msgspec.structs.replace(_settings(api), job_results_claim="")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "keruta-job", "uid": new_id()}
    job = job_manifest(_specification(), settings, account)

    assert "keruta-shared" not in json.dumps(job)
    assert _said(api, job) == ""


def test_an_upgrade_may_have_two_versions_of_the_agent_at_work(api: Cluster) -> None:
    older = _changed(
        _job(api), lambda job: _agent(job).update(image=_agent(job)["image"].rpartition(":")[0] + ":before")
    )
    by_digest = _changed(
        _job(api), lambda job: _agent(job).update(image=f"{_agent(job)['image']}@sha256:{'a' * 64}")
    )  # fmt: skip

    assert (_said(api, older), _said(api, by_digest)) == ("", "")


MONGODB = {"app": "mongodb"}
ANOTHER_INIT = {"name": "setup", "image": "localhost/keruta-agent:lab"}
LABELS = lambda job: job["spec"]["template"]["metadata"]["labels"]  # noqa: E731
WAYS: dict[str, tuple[Change, str]] = {
    "hostPath": (lambda j: _volume(j, {"hostPath": {"path": "/"}}), "empty directories, Secrets and the shared volume"),
    "projected token": (
        lambda j: _volume(j, {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}),
        "empty directories, Secrets and the shared volume",
    ),
    "projected Secret": (
        lambda j: _volume(j, {"projected": {"sources": [{"secret": {"name": "keruta-session-key"}}]}}),
        "empty directories, Secrets and the shared volume",
    ),
    "ConfigMap": (lambda j: _volume(j, {"configMap": {"name": "keruta"}}), "empty directories, Secrets"),
    "downward API": (lambda j: _volume(j, {"downwardAPI": {"items": []}}), "empty directories, Secrets"),
    "ephemeral volume": (
        lambda j: _volume(
            j,
            {
                "ephemeral": {
                    "volumeClaimTemplate": {
                        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
                    }
                }
            },
        ),
        "empty directories, Secrets",
    ),
    "CSI volume": (lambda j: _volume(j, {"csi": {"driver": "secrets-store.csi.k8s.io"}}), "empty directories, Secrets"),
    "NFS": (lambda j: _volume(j, {"nfs": {"server": "a", "path": "/"}}), "empty directories, Secrets"),
    "a claim that is not allowed": (
        lambda j: _claim(j, "private", readOnly=True),
        "those that KERUTA_JOB_VOLUMES names",
    ),
    "a claim to write that may be read": (lambda j: _claim(j, "datasets"), "read-only without :rw"),
    "the shared claim as an extra volume": (
        lambda j: _claim(j, "keruta-shared", readOnly=True),
        "neither Secrets, the shared volume",
    ),
    "a service with the agent's directory": (
        lambda j: _service(j)["volumeMounts"].append({"name": "agent", "mountPath": "/x"}),
        "neither Secrets, the shared volume",
    ),
    "a service as root": (
        lambda j: _service(j)["securityContext"].update(runAsNonRoot=False),
        "without root",
    ),
    "a service that probes elsewhere": (
        lambda j: _service(j)["startupProbe"]["tcpSocket"].update(host="10.0.0.1"),
        "no probes but",
    ),
    "a service before the agent": (
        lambda j: _pod(j)["initContainers"].insert(0, _pod(j)["initContainers"].pop()),
        "services after it",
    ),
    "a label that is not allowed": (
        lambda j: _both_labels(j).update({"squad": "red"}),
        "those that KERUTA_JOB_LABELS names",
    ),
    "an annotation that is not allowed": (
        lambda j: j["spec"]["template"]["metadata"]["annotations"].update({"example.com/other": "x"}),
        "KERUTA_JOB_ANNOTATIONS names",
    ),
    "MongoDB's claim": (
        lambda j: _pod(j)["volumes"].append({"name": "x", "persistentVolumeClaim": {"claimName": "data-mongodb-0"}}),
        "no volume claim but the one",
    ),
    "another Secret": (
        lambda j: _pod(j)["volumes"].append({"name": "x", "secret": {"secretName": "keruta-session-key"}}),
        "Secrets whose names begin with keruta-job-",
    ),
    "a job's Secret in the script": (
        lambda j: _script(j)["volumeMounts"].append({"name": "keruta-job-bot", "mountPath": "/x"}),
        "A script's container may mount neither",
    ),
    "the shared volume in the script": (
        lambda j: _script(j)["volumeMounts"].append({"name": "shared", "mountPath": "/x", "subPath": "cache"}),
        "A script's container may mount neither",
    ),
    "the agent's directory in the script": (
        lambda j: _script(j)["volumeMounts"].append({"name": "agent", "mountPath": "/x"}),
        "A script's container may mount neither",
    ),
    "a subPath by expression in the script": (
        lambda j: _script(j)["volumeMounts"].append({"name": "job", "mountPath": "/x", "subPathExpr": "control"}),
        "A script's container may mount neither",
    ),
    "another task's results": (
        lambda j: _agent(j)["volumeMounts"].append(
            {"name": "shared", "mountPath": "/x", "subPath": f"results/{OTHER_TASK}"}
        ),
        "the results of its own task",
    ),
    "the whole shared volume": (
        lambda j: _agent(j)["volumeMounts"].append({"name": "shared", "mountPath": "/x"}),
        "the results of its own task",
    ),
    "all repositories' caches": (
        lambda j: _agent(j)["volumeMounts"].append({"name": "shared", "mountPath": "/x", "subPath": "cache"}),
        "one repository's caches",
    ),
    "all repositories' dependency caches": (
        lambda j: _agent(j)["volumeMounts"].append({"name": "shared", "mountPath": "/x", "subPath": "dependencies"}),
        "one repository's caches",
    ),
    "all results": (
        lambda j: _agent(j)["volumeMounts"].append({"name": "shared", "mountPath": "/x", "subPath": "results"}),
        "the results of its own task",
    ),
    "results by expression": (
        lambda j: _agent(j)["volumeMounts"].append({"name": "shared", "mountPath": "/x", "subPathExpr": "results"}),
        "the results of its own task",
    ),
    "a second init container": (
        lambda j: _pod(j)["initContainers"].append(ANOTHER_INIT),
        "one init container, the agent",
    ),
    "an init container before the agent": (
        lambda j: _pod(j)["initContainers"].insert(0, {**ANOTHER_INIT, "volumeMounts": _agent(j)["volumeMounts"]}),
        "one init container, the agent",
    ),
    "an init container that is none": (
        lambda j: (_agent(j).pop("restartPolicy"), _agent(j).pop("startupProbe")),
        "one init container, the agent",
    ),
    "no agent": (lambda j: _pod(j).pop("initContainers"), "one init container, the agent"),
    "a third container": (
        lambda j: _pod(j)["containers"].append({"name": "more", "image": "x"}),
        "containers must be the script's",
    ),
    "another image": (lambda j: _agent(j).update(image="evil/keruta-agent:lab"), "the worker's own image"),
    "an image whose name begins so": (
        lambda j: _agent(j).update(image="localhost/keruta-agent-evil:lab"),
        "the worker's own image",
    ),
    "another command for the agent": (
        lambda j: _agent(j).update(command=["sh", "-c", "cat /credentials/*/*"]),
        "run the agent's program",
    ),
    "arguments for the agent": (lambda j: _agent(j).update(args=["x"]), "run the agent's program"),
    "another place for the agent's modules": (
        lambda j: _agent(j)["env"].append({"name": "PYTHONPATH", "value": "/shared/cache"}),
        "run the agent's program",
    ),
    "a library for the agent": (
        lambda j: _agent(j)["env"].append({"name": "LD_PRELOAD", "value": "/shared/cache/x.so"}),
        "run the agent's program",
    ),
    "a Secret by the environment": (
        lambda j: _script(j)["env"].append(
            {"name": "X", "valueFrom": {"secretKeyRef": {"name": "keruta-mongo", "key": "KERUTA_MONGO_URL"}}}
        ),
        "nothing into their environment",
    ),
    "all of a Secret by the environment": (
        lambda j: _script(j).update(envFrom=[{"secretRef": {"name": "keruta-mongo"}}]),
        "nothing into their environment",
    ),
    "a ConfigMap by the environment": (
        lambda j: _script(j).update(envFrom=[{"configMapRef": {"name": "keruta"}}]),
        "nothing into their environment",
    ),
    "a file's key by the agent's environment": (
        lambda j: _agent(j)["env"].append(
            {"name": "KERUTA_X", "valueFrom": {"secretKeyRef": {"name": "keruta-job-bot", "key": "token"}}}
        ),
        "nothing into their environment",
    ),
    "a hook": (
        lambda j: _script(j).update(lifecycle={"preStop": {"httpGet": {"host": "127.0.0.1", "port": 10255}}}),
        "no hooks, no ports, and no probes",
    ),
    "a probe that the node sends": (
        lambda j: _script(j).update(readinessProbe={"httpGet": {"host": "169.254.169.254", "port": 80}}),
        "no hooks, no ports, and no probes",
    ),
    "a port of the node": (
        lambda j: _script(j).update(ports=[{"containerPort": 8080, "hostPort": 8080}]),
        "no hooks, no ports, and no probes",
    ),
    "the node's network": (lambda j: _pod(j).update(hostNetwork=True), "may not use the node's network"),
    "the node's processes": (lambda j: _pod(j).update(hostPID=True), "may not use the node's network"),
    "the node's IPC": (lambda j: _pod(j).update(hostIPC=True), "may not use the node's network"),
    "shared processes": (
        lambda j: _pod(j).update(shareProcessNamespace=True),
        "containers may not share their processes",
    ),
    "a node by name": (lambda j: _pod(j).update(nodeName="lab"), "may not choose its node by name"),
    "other names for addresses": (
        lambda j: _pod(j).update(hostAliases=[{"ip": "10.0.0.1", "hostnames": ["report-status"]}]),
        "may not choose its node by name",
    ),
    "a system priority": (
        lambda j: _pod(j).update(priorityClassName="system-node-critical"),
        "may not choose its node by name",
    ),
    "MongoDB's host name": (
        lambda j: _pod(j).update(hostname="mongodb-0", subdomain="mongodb"),
        "may not choose its node by name",
    ),
    "a pull secret that is no job's": (
        lambda j: _pod(j).update(imagePullSecrets=[{"name": "registry"}]),
        "image pull secrets",
    ),
    "another account": (lambda j: _pod(j).update(serviceAccountName="keruta-admin"), "the ServiceAccount keruta-job"),
    "the account's token": (lambda j: _pod(j).update(automountServiceAccountToken=True), "without its token"),
    "no word of the account's token": (lambda j: _pod(j).pop("automountServiceAccountToken"), "without its token"),
    "labels that are MongoDB's": (lambda j: LABELS(j).update(MONGODB), "no labels but a job's"),
    "labels that are admin's": (lambda j: LABELS(j).update(app="admin"), "no labels but a job's"),
    "labels that are a function's": (
        lambda j: LABELS(j).update({"serving.knative.dev/service": "report-status"}),
        "no labels but a job's",
    ),
    "a label that is no job's": (
        lambda j: LABELS(j).update({"app.kubernetes.io/component": "admin"}),
        "no labels but a job's",
    ),
    "no network policy": (lambda j: LABELS(j).pop("keruta.dev/network"), "no labels but a job's"),
    "another network policy": (lambda j: LABELS(j).update({"keruta.dev/network": "any"}), "no labels but a job's"),
    "labels of the Job that are not its Pod's": (
        lambda j: j["metadata"]["labels"].update(MONGODB),
        "must carry its Pod's labels",
    ),
    "annotations": (
        lambda j: j["spec"]["template"]["metadata"].update(annotations={"sidecar.istio.io/inject": "false"}),
        "no annotations",
    ),
    "a name that is not its attempt's": (lambda j: j["metadata"].update(name="thief"), "name must be its task"),
    "a selector of its own": (
        lambda j: j["spec"].update(manualSelector=True, selector={"matchLabels": {"keruta.dev/network": "open"}}),
        "its own selector",
    ),
    "many Pods": (lambda j: j["spec"].update(parallelism=5, completions=5), "one Pod that is never started again"),
    "Pods again and again": (lambda j: j["spec"].update(backoffLimit=6), "one Pod that is never started again"),
    "no deadline": (lambda j: j["spec"].pop("activeDeadlineSeconds"), "with a deadline"),
    "another owner": (
        lambda j: j["metadata"].update(
            ownerReferences=[{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "mongodb", "uid": "u"}]
        ),
        "owned by the ServiceAccount keruta-job only",
    ),
    "an owner that controls": (
        lambda j: j["metadata"]["ownerReferences"][0].update(controller=True),
        "owned by the ServiceAccount keruta-job only",
    ),
    "a finalizer": (lambda j: j["metadata"].update(finalizers=["a.example.com/x"]), "no finalizers"),
    "a writable root": (
        lambda j: _script(j)["securityContext"].update(readOnlyRootFilesystem=False),
        "on a read-only root file system",
    ),
    "a capability": (
        lambda j: _script(j)["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
        "privileges and capabilities",
    ),
    "root": (lambda j: _script(j)["securityContext"].update(runAsNonRoot=False), "without root"),
    "no security context": (lambda j: _script(j).pop("securityContext"), "without root"),
    "a block device": (
        lambda j: _script(j).update(volumeDevices=[{"name": "shared", "devicePath": "/dev/x"}]),
        "block devices",
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_way_around_a_jobs_policy_is_denied(api: Cluster, way: str) -> None:
    """Each is denied by a sentence that says what is not allowed."""
    change, sentence = WAYS[way]

    said = _said(api, _changed(_job(api), change))

    assert sentence in said, said


SECRETS: dict[str, tuple[Change, str]] = {
    "a service account's token": (
        lambda s: s.update(type="kubernetes.io/service-account-token"),
        "",  # the API server itself asks for the account's name
    ),
    "a service account's token, by name": (
        lambda s: (
            s.update(type="kubernetes.io/service-account-token"),
            s["metadata"].update(annotations={"kubernetes.io/service-account.name": "keruta-admin"}),
        ),
        "of type Opaque only",
    ),
    "a bootstrap token": (lambda s: s.update(type="bootstrap.kubernetes.io/token"), "of type Opaque only"),
    "a registry's password": (
        lambda s: s.update(type="kubernetes.io/dockerconfigjson", stringData={".dockerconfigjson": "{}"}),
        "of type Opaque only",
    ),
    "a certificate": (
        lambda s: s.update(type="kubernetes.io/tls", stringData={"tls.crt": "", "tls.key": ""}),
        "of type Opaque only",
    ),
    "a type of one's own": (lambda s: s.update(type="example.com/x"), "of type Opaque only"),
    "another name": (lambda s: s["metadata"].update(name="keruta-session-key"), "must be named keruta-job-"),
    "a credential's name": (lambda s: s["metadata"].update(name="keruta-job-git"), "must be named keruta-job-"),
    "another attempt's name": (
        lambda s: s["metadata"].update(name=f"keruta-job-{OTHER_TASK}-1"),
        "must be named keruta-job-",
    ),
    "labels of another part": (lambda s: s["metadata"]["labels"].update(app="admin"), "no labels but a job's"),
    "annotations": (lambda s: s["metadata"].update(annotations={"a": "b"}), "no annotations"),
    "no owner": (lambda s: s["metadata"].pop("ownerReferences"), "owned by its attempt's Job"),
    "another owner": (
        lambda s: s["metadata"]["ownerReferences"][0].update(kind="CronJob", name="x"),
        "owned by its attempt's Job",
    ),
    "more than a token": (lambda s: s["stringData"].update(more="x"), "hold a token and the login for the proxy only"),
}


@pytest.mark.parametrize("way", SECRETS)
def test_a_way_around_a_secrets_policy_is_denied(api: Cluster, way: str) -> None:
    change, sentence = SECRETS[way]

    said = _said(api, _changed(_secret(api), change))

    assert said, "it was let in"
    assert sentence in said, said


def test_a_worker_makes_nothing_else(api: Cluster) -> None:
    """No Pod, no Job by a schedule, no container put into a Pod that runs, no token of an account."""
    rights = (
        "create pods", "update pods", "patch pods", "delete pods", "create pods/exec", "patch pods/ephemeralcontainers",
        "create cronjobs", "create deployments", "patch deployments", "update jobs", "patch jobs", "patch jobs/status",
        "deletecollection jobs", "get secrets", "list secrets", "update secrets", "patch secrets", "delete secrets",
        "get configmaps", "create serviceaccounts/token", "create rolebindings", "create persistentvolumeclaims",
        "create services", "create networkpolicies", "impersonate serviceaccounts",
    )  # fmt: skip
    for right in rights:
        verb, what = right.split()
        said = api.kubectl("auth", "can-i", verb, what, "-n", NAMESPACE, f"--as={WORKER}", check=False)
        assert said.strip() == "no", right


def test_a_worker_deletes_attempts_jobs_only(api: Cluster) -> None:
    other = {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "backup", "namespace": NAMESPACE},
        "spec": {"suspend": True, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "x", "image": "x"}],
        }}},
    }  # fmt: skip
    mine = _changed(_job(api), lambda job: job["spec"].update(suspend=True))
    mine["metadata"].pop("ownerReferences")
    api.apply(other, mine)
    name = mine["metadata"]["name"]

    refused = subprocess.run(
        ["kubectl", "delete", "job", "-n", NAMESPACE, "backup", f"--as={WORKER}", "--wait=false"],
        capture_output=True, text=True, env=api.kubectl.env, check=False,
    ).stderr  # fmt: skip
    api.kubectl("delete", "job", "-n", NAMESPACE, name, f"--as={WORKER}", "--wait=false")

    assert "attempts' Jobs only" in refused
    api.kubectl("delete", "job", "-n", NAMESPACE, "backup", "--wait=false")


def test_images_of_scripts_can_be_held_to_some_registries(api: Cluster) -> None:
    """With KERUTA_JOB_IMAGES a script's image begins with one of those; without it any will do."""
    own = _changed(_job(api), lambda job: _images(job, "localhost/python:3.11"))
    foreign = _changed(own, lambda job: _script(job).update(image="elsewhere.example.com/x"))
    foreign_check = _changed(own, lambda job: _pod(job)["containers"][1].update(image="elsewhere.example.com/x"))
    assert _said(api, foreign) == ""

    worker = ["-n", NAMESPACE, "deployment", "worker"]
    api.kubectl("set", "env", *worker, "KERUTA_JOB_IMAGES=registry.example.com/team/, localhost/")
    try:
        said = eventually("the setting", lambda: _said(api, foreign), 90)
        assert "one of those that KERUTA_JOB_IMAGES names" in said
        assert "one of those that KERUTA_JOB_IMAGES names" in _said(api, foreign_check)
        assert _said(api, own) == ""
    finally:
        api.kubectl("set", "env", *worker, "KERUTA_JOB_IMAGES-")
