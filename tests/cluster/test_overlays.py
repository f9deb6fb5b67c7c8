"""Every overlay is taken by a real API server that knows the real types, and says who may reach whom."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml

from tests.support.cluster import NAMESPACE, ROOT, Cluster

OPERATOR = "github.com/prometheus-operator/prometheus-operator"
OPERATOR_VERSION = "v0.82.0"
ELSEWHERE = "keruta-elsewhere"
OVERLAYS = sorted(path.name for path in (ROOT / "knative" / "overlays").iterdir())


def documents(cluster: Cluster, overlay: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(cluster.kubectl("kustomize", f"knative/overlays/{overlay}")) if one]


@pytest.fixture(scope="module")
def types(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The Prometheus Operator's types, from its own module, and the namespaces that overlays speak of."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("SKIPPED LOUDLY: no Go here, so the Prometheus Operator's types can't be had")
    said = subprocess.run(
        [go, "mod", "download", "-json", f"{OPERATOR}@{OPERATOR_VERSION}"],
        capture_output=True, text=True, check=True, cwd=tmp_path_factory.mktemp("go"),
    ).stdout  # fmt: skip
    folder = Path(json.loads(said)["Dir"]) / "example" / "prometheus-operator-crd"
    for kind in ("podmonitors", "prometheusrules"):
        cluster.kubectl("apply", "--server-side", "-f", str(folder / f"monitoring.coreos.com_{kind}.yaml"))
    for name in ("keruta-logging", "kourier-system", ELSEWHERE):
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    for kind in ("podmonitors", "prometheusrules"):
        name = f"crd/{kind}.monitoring.coreos.com"
        cluster.kubectl("wait", "--for=condition=Established", name, "--timeout=30s")


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.usefixtures("types")
def test_an_overlay_is_valid_to_the_last_field(cluster: Cluster, overlay: str) -> None:
    everything = documents(cluster, overlay)
    for one in everything:  # beside what is there: some of it can't be changed into this
        if one["metadata"].get("namespace") == NAMESPACE:
            one["metadata"]["namespace"] = ELSEWHERE
    whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": everything})

    accounts = [one for one in everything if one["kind"] == "ServiceAccount"]  # Pods are tried with their own
    cluster.apply(*accounts)
    said = cluster.kubectl("apply", "-f", "-", "--dry-run=server", "--validate=strict", stdin=whole)

    assert "service.serving.knative.dev/dispatch" in said


def _difference(cluster: Cluster) -> str:
    """Return what `kubectl diff` says of everything that was applied."""
    return "".join(
        cluster.kubectl("diff", "-k", folder, check=False) for folder in ("knative/persistent", "knative/overlays/lab")
    )


def test_nothing_drifts_and_two_managers_may_apply_on_the_servers_side(cluster: Cluster) -> None:
    """As GitOps tools do: nothing that the API server, Knative or keruta fills in is a difference or a conflict."""
    assert _difference(cluster) == ""

    with kubernetes.config.new_client_from_config(cluster.kubectl.env["KUBECONFIG"]) as client:
        server = kubernetes.dynamic.DynamicClient(client)
        for manager in ("gitops-a", "gitops-b"):
            for one in documents(cluster, "lab"):
                types = server.resources.get(api_version=one["apiVersion"], kind=one["kind"])
                types.server_side_apply(
                    one, one["metadata"]["name"], one["metadata"].get("namespace"), field_manager=manager
                )

    assert _difference(cluster) == ""


@pytest.mark.usefixtures("types")
def test_the_keycloak_component_is_valid_to_the_last_field(cluster: Cluster, tmp_path: Path) -> None:
    component = os.path.relpath(ROOT / "knative" / "components" / "keycloak", tmp_path.resolve())
    whole = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "components": [component]}
    (tmp_path / "kustomization.yaml").write_text(json.dumps(whole))
    made = cluster.kubectl("kustomize", str(tmp_path))

    said = cluster.kubectl("apply", "-f", "-", "--dry-run=server", "--validate=strict", stdin=made)

    assert "statefulset.apps/keycloak" in said
    assert "configmap/keruta-realm" in said


def _key(document: dict[str, Any]) -> tuple[str, str]:
    """Return the kind and name of a document, without the hash of a ConfigMap's content."""
    name = document["metadata"]["name"]
    return document["kind"], re.sub("-[a-z0-9]{10}$", "", name) if document["kind"] == "ConfigMap" else name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_change_no_structure(cluster: Cluster, overlay: str) -> None:
    """Each overlay has everything of base, with the same containers, accounts and rights."""
    base = {_key(one): one for one in yaml.safe_load_all(cluster.kubectl("kustomize", "knative/base"))}
    found = {_key(one): one for one in documents(cluster, overlay)}

    assert set(base) <= set(found)
    for key, one in base.items():
        if key[0] in ("Role", "RoleBinding", "ValidatingAdmissionPolicy", "ServiceAccount"):
            assert found[key] == one, key
        if "template" in one.get("spec", {}):
            mine, its = one["spec"]["template"]["spec"], found[key]["spec"]["template"]["spec"]
            assert [c["name"] for c in mine["containers"]] == [c["name"] for c in its["containers"]]
            assert mine.get("serviceAccountName") == its.get("serviceAccountName")
            assert mine["containers"][0]["securityContext"] == its["containers"][0]["securityContext"]


FUNCTIONS = ("create-task", "dispatch", "report-status", "receive-event")
# Who may reach whom, at which port; "ns:" is a namespace by its name. All else may not.
REACHES = {
    **{("ns:knative-serving", function): 8012 for function in FUNCTIONS},  # and 8013, 8112, 9090: the data path
    **{("monitoring", part): 8080 for part in (*FUNCTIONS, "admin", "worker", "mongodb")},
    ("ns:knative-eventing", "admin"): 8080,
    ("ns:projectcontour", "admin"): 8080,
    ("dispatch", "worker"): 8080,
    ("report-status", "worker"): 8080,
    ("receive-event", "worker"): 8080,
    ("admin", "worker"): 8080,
    ("mongodb", "mongodb"): 27017,
    ("admin", "mongodb"): 27017,
    **{(function, "mongodb"): 27017 for function in FUNCTIONS},
}
PODS = {
    **{name: {"serving.knative.dev/service": name} for name in FUNCTIONS},
    "admin": {"app": "admin"},
    "worker": {"app": "worker"},
    "mongodb": {"app": "mongodb"},
    "job-closed": {"app.kubernetes.io/component": "job", "keruta.dev/network": "closed"},
    "job-open": {"app.kubernetes.io/component": "job", "keruta.dev/network": "open"},
}
NAMESPACES = {
    "ns:knative-serving": {"kubernetes.io/metadata.name": "knative-serving"},
    "ns:knative-eventing": {"kubernetes.io/metadata.name": "knative-eventing"},
    "ns:projectcontour": {"kubernetes.io/metadata.name": "projectcontour"},
    "ns:default": {"kubernetes.io/metadata.name": "default"},
    "monitoring": {"kubernetes.io/metadata.name": "prometheus", "keruta.dev/monitoring": "true"},
}


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Kubernetes' own rule. https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/"""
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    for one in selector.get("matchExpressions", []):
        there = labels.get(one["key"]) in one["values"]
        if there != (one["operator"] == "In"):
            return False
    return True


def reachable(policies: list[dict[str, Any]], source: str, target: str) -> Any:
    """At which port, or None."""
    for policy in policies:
        spec = policy["spec"]
        if "Ingress" not in spec["policyTypes"] or not matches(spec["podSelector"], PODS[target]):
            continue
        for rule in spec.get("ingress", []):
            for peer in rule["from"]:
                if "namespaceSelector" in peer:
                    fits = source in NAMESPACES and matches(peer["namespaceSelector"], NAMESPACES[source])
                else:
                    fits = source in PODS and matches(peer["podSelector"], PODS[source])
                if fits:
                    return rule["ports"][0]["port"] if "ports" in rule else "any"
    return None


def test_who_may_reach_whom(cluster: Cluster) -> None:
    """This cluster takes policies without enforcing them, so their content is held against a table."""
    policies = [one for one in documents(cluster, "lab") if one["kind"] == "NetworkPolicy"]
    denies_all = [one for one in policies if one["spec"]["podSelector"] == {} and not one["spec"].get("ingress")]

    found = {
        (source, target): port
        for source in (*PODS, *NAMESPACES)
        for target in PODS
        if (port := reachable(policies, source, target)) is not None
    }

    assert len(denies_all) == 1
    assert found == REACHES


@pytest.mark.parametrize("layer", ["kourier", "contour", "istio"])
def test_a_closed_job_reaches_dns_and_knatives_gateway_alone(cluster: Cluster, layer: str, tmp_path: Path) -> None:
    """Named Pods at named ports, never a whole namespace."""
    knative = os.path.relpath(ROOT / "knative", tmp_path.resolve())
    whole = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
        "resources": [f"{knative}/base"], "components": [f"{knative}/components/networking-{layer}"],
    }  # fmt: skip
    (tmp_path / "kustomization.yaml").write_text(json.dumps(whole))
    made = list(yaml.safe_load_all(cluster.kubectl("kustomize", str(tmp_path))))
    policy = next(one["spec"] for one in made if one["metadata"]["name"] == "job-closed")

    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert not policy.get("ingress")
    assert all(rule.get("ports") for rule in policy["egress"])
    peers = [peer for rule in policy["egress"] for peer in rule["to"]]
    assert all("podSelector" in peer for peer in peers if "namespaceSelector" in peer)
    assert {port["port"] for port in policy["egress"][0]["ports"]} == {53}
    assert len(policy["egress"]) == 2


def test_the_namespace_enforces_the_restricted_standard(cluster: Cluster) -> None:
    labels = json.loads(cluster.kubectl("get", "namespace", NAMESPACE, "-o", "json"))["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
