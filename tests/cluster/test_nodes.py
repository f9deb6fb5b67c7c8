"""Many nodes, simulated by KWOK: where Jobs go, and what is said of those that find no node or lose theirs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from keruta.client import ApiError
from tests.support.cluster import NAMESPACE, Cluster, eventually, lab

NODES = 6  # two in each of three zones
ZONE = "topology.kubernetes.io/zone"
TOLERATED = [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]
LOST_SECONDS = 300 + 120  # a Pod tolerates a node that does not answer for five minutes
# By profile: what it asks of nodes, and words of the sentence that a task then ends with.
NO_NODE: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nodes-zone": ({"node_selector": {ZONE: "zone-9"}, "tolerations": TOLERATED}, (f"{ZONE}=zone-9", "0/7 nodes")),
    "nodes-taint": ({"node_selector": {"type": "kwok"}}, ("type=kwok", "untolerated taint")),
    "nodes-affinity": (
        {"pod": {"node_affinity": [{"key": ZONE, "operator": "In", "values": ["zone-8", "zone-9"]}]}},
        (f"{ZONE} In zone-8 zone-9",),
    ),
}


@pytest.fixture(scope="module")
def nodes(cluster: Cluster) -> Iterator[None]:
    lab("nodes", "up", str(NODES))
    disk = {"ephemeral-storage": "100Gi"}  # which Jobs ask for
    status = json.dumps({"status": {"capacity": disk, "allocatable": disk}})
    try:
        for number in range(1, NODES + 1):
            cluster.kubectl("patch", "node", f"fake-{number}", "--subresource=status", "-p", status)
        yield
    finally:
        lab("nodes", "down")
        cluster.kubectl("delete", "nodes", "-l", "type=kwok", "--wait=false")


def pods(cluster: Cluster, ids: list[str]) -> list[dict[str, Any]]:
    found = cluster.get("pods", "-l", f"keruta.dev/task in ({','.join(ids)})")["items"]
    return [pod for pod in found if pod["spec"].get("nodeName")]


@pytest.mark.usefixtures("nodes")
def test_a_task_without_a_node_is_told_what_was_looked_for(cluster: Cluster, repository: str) -> None:
    """Taints in the scheduler's own words; zones and other labels as the profile asks for them; others go on."""
    for name, (fields, _) in NO_NODE.items():
        cluster.client.create("profile", {"name": name, **fields})
    cluster.client.create(
        "profile", {"name": "nodes-spread", "node_selector": {"type": "kwok"}, "tolerations": TOLERATED}
    )
    ids = {name: cluster.submit(repository, "true", profile=name, retry={"policy": "never"}) for name in NO_NODE}
    spread = [cluster.submit(repository, "true", profile="nodes-spread") for _ in range(NODES)]

    try:
        placed = eventually("Pods on nodes", lambda: (p := pods(cluster, spread), len(p) == NODES and p)[1], 120)
        assert len({pod["spec"]["nodeName"] for pod in placed}) >= NODES / 2
    finally:
        for task_id in spread:
            with contextlib.suppress(ApiError):  # one that has ended
                cluster.client.cancel(task_id)
    for name, (_, words) in NO_NODE.items():
        task = cluster.ended(ids[name])
        assert (task.status, task.reason) == ("failed", "Unschedulable"), task.message
        assert all(word in (task.message or "") for word in words), task.message


@pytest.mark.release  # seven minutes: as long as Kubernetes believes in a node
@pytest.mark.usefixtures("nodes")
def test_a_node_that_is_lost_with_jobs_is_told_as_that(cluster: Cluster, repository: str) -> None:
    profile = {"name": "nodes-lost", "node_selector": {"type": "kwok"}, "tolerations": TOLERATED}
    cluster.client.create("profile", profile)
    ids = [
        cluster.submit(repository, "true", profile="nodes-lost", retry={"policy": "never"}, timeout_seconds=1200)
        for _ in range(3)
    ]
    eventually("Pods at work", lambda: [pod["status"]["phase"] for pod in pods(cluster, ids)] == ["Running"] * 3, 120)

    lab("nodes", "down")

    for task_id in ids:
        task = cluster.ended(task_id, LOST_SECONDS)
        assert (task.status, task.reason) == ("failed", "NodeLost"), (task.reason, task.message)


def test_no_part_reads_nodes_however_many_there_are(cluster: Cluster) -> None:
    """Nothing of keruta's own watches or lists them, so three hundred cost it as much as one."""
    accounts = [one["metadata"]["name"] for one in cluster.get("serviceaccounts")["items"]]
    assert "keruta-worker" in accounts
    for account in accounts:
        who = f"--as=system:serviceaccount:{NAMESPACE}:{account}"
        assert cluster.kubectl("auth", "can-i", "list", "nodes", who, check=False).strip() == "no", account
