"""Findings of `keruta doctor --cluster`, from documents as kubectl gives them."""

from __future__ import annotations

from typing import Any

import pytest

from keruta.cli.cluster_doctor import TYPES, examine
from keruta.cli.kubectl import ClusterAwayError

Document = dict[str, Any]


class FakeCluster:
    """A cluster in which everything is as it should be, until something is taken away or changed."""

    def __init__(self) -> None:
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        secrets = {"volumes": [{"secret": {"secretName": "keruta-session-key"}}], "containers": []}
        service = {"kind": "Service", "metadata": {"name": "dispatch"}, "spec": {"template": {"spec": secrets}}}
        worker = {"kind": "Deployment", "metadata": {"name": "worker"}, "spec": {"template": {"spec": {}}}}
        self.things: dict[tuple[str, str], Document] = {
            **{("crd", name): {} for name in TYPES},
            ("configmap", "config-features"): {"data": {"authentication-oidc": "enabled"}},
            ("namespace", "keruta"): {},
            ("secret", "keruta-session-key"): {},
            ("secret", "keruta-worker-token"): {},
            ("validatingadmissionpolicybinding", "keruta-jobs"): {},
            ("validatingadmissionpolicybinding", "keruta-job-secrets"): {},
        }
        self.lists: dict[str, list[Document]] = {
            "configmaps": [{"data": {"KERUTA_ISSUER": "keruta-local"}}],
            "ksvc": [{**service, "status": ready}],
            "deployment": [{**worker, "status": {"readyReplicas": 1}}],
            "nodes": [{}],
            "pvc": [
                {
                    "metadata": {"name": "keruta-shared"},
                    "spec": {"accessModes": ["ReadWriteOnce"]},
                    "status": {"phase": "Bound"},
                }
            ],
            "httproute": [
                {
                    "metadata": {"name": "keruta"},
                    "status": {"parents": [{"conditions": [{"type": "Accepted", "status": "True"}]}]},
                }
            ],
        }
        self.minor = "34"
        self.logs: dict[str, str] = {}

    def get(self, kind: str, *rest: str) -> Document | None:
        name = rest[0] if rest and not rest[0].startswith("-") else ""
        return self.things.get((kind, name)) if name else {"items": self.lists.get(kind, [])}

    def log(self, *selected: str) -> str:
        return self.logs.get(selected[-1], "")

    def wrong(self) -> list[tuple[str, str]]:
        version = {"serverVersion": {"minor": self.minor, "gitVersion": f"v1.{self.minor}.0"}}
        return [(one.what, one.mend) for one in examine(self.get, lambda: version, self.log) if one.state == "wrong"]


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def test_nothing_is_wrong_where_everything_is_there(cluster: FakeCluster) -> None:
    assert cluster.wrong() == []


@pytest.mark.parametrize(
    ("kind", "name", "what", "mend"),
    [
        ("crd", "services.serving.knative.dev", "does not know services.serving", "install Knative Serving"),
        ("crd", "httproutes.gateway.networking.k8s.io", "does not know httproutes", "Gateway API implementation"),
        ("namespace", "keruta", "The namespace keruta is missing", "kubectl apply -k knative/persistent"),
        ("secret", "keruta-session-key", "dispatch can't start without it", "keruta secrets"),
        ("secret", "keruta-worker-token", "workers can't register", "keruta secrets"),
        ("validatingadmissionpolicybinding", "keruta-jobs", "admission policy keruta-jobs", "kubectl apply -k"),
    ],
)
def test_what_is_missing_is_said_with_how_to_mend_it(
    cluster: FakeCluster, kind: str, name: str, what: str, mend: str
) -> None:
    del cluster.things[kind, name]

    [(said, how)] = cluster.wrong()

    assert what in said
    assert mend in how


def test_deliveries_that_are_not_signed_are_said_with_the_command(cluster: FakeCluster) -> None:
    cluster.things["configmap", "config-features"] = {"data": {}}

    [(said, how)] = cluster.wrong()

    assert "dispatch takes no event" in said
    assert how.startswith("kubectl patch configmap -n knative-eventing config-features")


def test_an_image_that_knative_can_not_look_up_is_said_with_both_ways_out(cluster: FakeCluster) -> None:
    said = 'Revision "dispatch-00001" failed with message: Unable to fetch image "keruta-functions": …'
    cluster.lists["ksvc"][0]["status"] = {"conditions": [{"type": "Ready", "status": "False", "message": said}]}

    [(_, how)] = cluster.wrong()

    assert "registry" in how
    assert "dev.local/" in how


def test_a_pod_without_its_image_is_said(cluster: FakeCluster) -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    status = {"containerStatuses": [{"name": "admin", "image": "keruta-functions:1", "state": waiting}]}
    cluster.lists["pods"] = [{"metadata": {"name": "admin-1"}, "status": status}]

    [(said, how)] = cluster.wrong()

    assert "the image keruta-functions:1 can't be had: not found" in said
    assert "make images" in how


def test_an_issuer_that_is_an_example_is_said(cluster: FakeCluster) -> None:
    cluster.lists["configmaps"] = [{"data": {"KERUTA_ISSUER": "https://auth.keruta.example.com/realms/keruta"}}]

    [(said, how)] = cluster.wrong()

    assert "is an example" in said
    assert "sign-in-by-code" in how


def test_a_route_that_no_gateway_took_is_said(cluster: FakeCluster) -> None:
    cluster.lists["httproute"][0]["status"] = {}

    assert "No Gateway has taken the HTTPRoute keruta" in cluster.wrong()[0][0]


def test_an_old_kubernetes_is_said(cluster: FakeCluster) -> None:
    cluster.minor = "27+"

    assert "v1.27+.0 is too old" in cluster.wrong()[0][0]


def test_a_cluster_that_does_not_answer_is_one_sentence() -> None:
    def away() -> Document:
        raise ClusterAwayError("The cluster does not answer: connection refused")

    [finding] = examine(lambda *_: None, away)

    assert finding.state == "wrong"
    assert "connection refused" in finding.what


def test_one_node_alone_for_jobs_is_noted_unless_they_upload_their_results(cluster: FakeCluster) -> None:
    """Where the volume can't be written from many nodes."""
    env = [{"name": "KERUTA_JOB_RESULTS_CLAIM", "value": "keruta-shared"}]
    worker: Document = {"spec": {"template": {"spec": {"containers": [{"name": "worker", "env": env}]}}}}
    cluster.things["deployment", "worker"] = worker
    cluster.lists["nodes"] = [{}, {}]

    def noted() -> list[str]:
        found = examine(cluster.get, lambda: {"serverVersion": {"minor": "34"}}, cluster.log)
        return [one.mend for one in found if one.state == "note"]

    assert any("results-upload" in mend for mend in noted())
    env.clear()
    assert noted() == []


# ------------------------------------------------------------ what a mend must fit


def test_a_worker_token_is_made_again_with_the_keys_that_it_fits(cluster: FakeCluster) -> None:
    """`keruta secrets` makes other keys each time: a token of one call is refused by the keys of another."""
    cluster.things["secret", "keruta-trusted-keys"] = {}
    del cluster.things["secret", "keruta-worker-token"]

    [(_, how)] = cluster.wrong()

    assert "delete secret -n keruta --ignore-not-found keruta-trusted-keys keruta-worker-token keruta-sign-in" in how


def test_another_password_of_the_database_needs_its_restart(cluster: FakeCluster) -> None:
    """MongoDB's helper gives keruta's user the password that is in the Secret when it starts."""
    mongo = {"containers": [{"envFrom": [{"secretRef": {"name": "keruta-mongo"}}]}]}
    cluster.lists["ksvc"][0]["spec"]["template"]["spec"] = mongo
    cluster.things["secret", "keruta-mongodb"] = {}

    [(said, how)] = cluster.wrong()

    assert "The Secret keruta-mongo is missing" in said
    assert "rollout restart -n keruta statefulset/mongodb" in how


def test_the_keepers_password_is_not_made_again(cluster: FakeCluster) -> None:
    cluster.lists["ksvc"][0]["spec"]["template"]["spec"]["volumes"][0]["secret"]["secretName"] = "keruta-mongodb"
    cluster.things["pvc", "data-mongodb-0"] = {}

    assert "backup" in cluster.wrong()[0][1]


def test_keys_that_the_settings_name_are_needed(cluster: FakeCluster) -> None:
    """The volume of that Secret is optional, since most installations ask their provider."""
    cluster.lists["configmaps"][0]["data"]["KERUTA_TRUSTED_KEYS"] = "/keys/trusted.json"

    assert "The Secret keruta-trusted-keys is missing; admin, the functions can't start" in cluster.wrong()[0][0]


def test_the_settings_that_count_are_those_that_admin_reads(cluster: FakeCluster) -> None:
    """A ConfigMap of an earlier version stays beside the newer one."""
    old = {"metadata": {"name": "keruta-a"}, "data": {"KERUTA_ISSUER": "https://auth.keruta.example.com"}}
    cluster.lists["configmaps"] = [old, {"metadata": {"name": "keruta-b"}, "data": {"KERUTA_ISSUER": "keruta-local"}}]
    cluster.things["deployment", "admin"] = {"envFrom": [{"configMapRef": {"name": "keruta-b"}}]}

    assert cluster.wrong() == []


def test_an_issuer_that_did_not_make_the_codes_tokens_is_said(cluster: FakeCluster) -> None:
    cluster.lists["configmaps"][0]["data"] = {"KERUTA_ISSUER": "https://auth.test", "KERUTA_SIGN_IN_CODE_FILE": "/code"}

    assert "are of keruta-local" in cluster.wrong()[0][0]


def test_a_worker_whose_token_is_refused_is_said(cluster: FakeCluster) -> None:
    """It runs, so the cluster calls it ready; only its newest line tells."""
    said = '"message":"not registered: answered 401: …","action":"not_registered"'
    cluster.logs["app=worker"] = f'{{"time":"2","level":"WARNING","part":"worker",{said}}}'
    [(said, how)] = cluster.wrong()

    cluster.logs["app=worker"] += '\n{"time":"3","level":"INFO","part":"worker","action":"worker_registered"}'

    assert "A worker can't register: not registered: answered 401" in said
    assert "keruta-worker-token" in how
    assert cluster.wrong() == []


def test_what_is_not_ready_is_said_with_its_log(cluster: FakeCluster) -> None:
    """Without the driver's long words; for a password that the database refuses, with the mend."""
    worker = {"kind": "Deployment", "metadata": {"name": "admin"}, "spec": {"template": {"spec": {}}}, "status": {}}
    cluster.lists["deployment"] = [worker]
    words = "database: Authentication failed., full error: {'ok': 0.0}"
    cluster.logs["deployment/admin"] = f'starting\n{{"level":"WARNING","message":"{words}"}}\nno line of keruta\'s'

    [(said, how)] = cluster.wrong()

    assert said == "Deployment admin: 0 of 1 are ready; its log says: database: Authentication failed."
    assert "keruta-mongo" in how


def test_pods_that_wait_for_a_volume_are_not_told_to_make_room(cluster: FakeCluster) -> None:
    said = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    condition = {"type": "PodScheduled", "status": "False", "message": said}
    cluster.lists["pods"] = [{"metadata": {"name": "admin-1"}, "status": {"conditions": [condition]}}]

    assert "default StorageClass" in cluster.wrong()[0][1]


def test_a_container_that_was_never_made_has_no_log_to_look_at(cluster: FakeCluster) -> None:
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": 'configmap "keruta-1" not found'}}
    status = {"containerStatuses": [{"name": "admin", "image": "keruta-functions:1", "state": waiting}]}
    cluster.lists["pods"] = [{"metadata": {"name": "admin-1"}, "status": status}]

    assert cluster.wrong()[0][1] == "kubectl describe pod -n keruta admin-1"


def test_knatives_own_deployments_are_not_told_beside_their_service(cluster: FakeCluster) -> None:
    made = {"name": "dispatch-00001-deployment", "labels": {"serving.knative.dev/revision": "dispatch-00001"}}
    one = {"kind": "Deployment", "metadata": made, "spec": {"template": {"spec": {}}}, "status": {}}
    cluster.lists["deployment"].append(one)

    assert cluster.wrong() == []
