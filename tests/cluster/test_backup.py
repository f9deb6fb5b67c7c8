"""An operator's work on a whole installation: back up, remove, restore."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bson
import pymongo
import pytest
from pymongo.uri_parser import parse_uri

from tests.support.cluster import NAMESPACE, Cluster, eventually

# What is of a namespace itself, or was there before the overlay was applied.
STAYS = {
    "persistentvolumeclaims", "secrets", "configmap/kube-root-ca.crt", "serviceaccount/default", "events",
    "events.events.k8s.io",
}  # fmt: skip
# They are of `knative/persistent`.
KEPT_POLICIES = {
    "validatingadmissionpolicy.admissionregistration.k8s.io/keruta-parameters",
    "validatingadmissionpolicybinding.admissionregistration.k8s.io/keruta-parameters",
}


@contextmanager
def mongo(cluster: Cluster) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    """The cluster's MongoDB, by its Pod's address and keruta's own user."""
    secret = cluster.get("secret", "keruta-mongo")["data"]["KERUTA_MONGO_URL"]
    user = parse_uri(base64.b64decode(secret).decode())
    pod = cluster.get("pod", "mongodb-0")["status"]["podIP"]
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
        pod, 27017, username=user["username"], password=user["password"], authSource="admin", directConnection=True
    )
    try:
        yield client
    finally:
        client.close()


def test_keruta_uses_its_own_database_and_no_other(cluster: Cluster) -> None:
    with mongo(cluster) as client:
        assert client["keruta"]["tasks"].estimated_document_count() >= 0
        with pytest.raises(pymongo.errors.OperationFailure, match="not authorized"):
            client["other"]["x"].insert_one({})
        with pytest.raises(pymongo.errors.OperationFailure, match="not authorized"):
            client.admin.command("createUser", "x", pwd="x", roles=["root"])
    anyone: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
        cluster.get("pod", "mongodb-0")["status"]["podIP"], 27017, directConnection=True
    )
    with anyone, pytest.raises(pymongo.errors.OperationFailure, match="requires authentication"):
        anyone["keruta"]["tasks"].find_one()


def test_a_dump_that_is_restored_goes_on_with_its_queue(cluster: Cluster, repository: str) -> None:
    """Into a database that has nothing: what waited runs, what had ended is known, with its log."""
    done = cluster.submit(repository, "echo kept")
    assert cluster.ended(done).status == "succeeded"
    with cluster.workers(0), mongo(cluster) as client:
        waiting = [cluster.submit(repository, "echo from the dump") for _ in range(3)]
        database = client["keruta"]
        dump = {
            name: b"".join(bson.encode(row) for row in database[name].find())
            for name in database.list_collection_names()
        }

        for name in dump:
            database.drop_collection(name)
        cluster.kubectl("delete", "pod", "-n", NAMESPACE, "-l", "serving.knative.dev/service", "--wait=false")
        cluster.kubectl("delete", "pod", "-n", NAMESPACE, "-l", "app=admin", "--wait=false")
        eventually("a schema made anew", lambda: database["schema"].find_one({"_id": "schema"}), 180)
        assert database["tasks"].count_documents({}) == 0
        for name, rows in dump.items():
            database[name].delete_many({})
            if documents := bson.decode_all(rows):
                # Written over what functions that start meanwhile wrote: the schema, a tick.
                database[name].bulk_write(
                    [pymongo.ReplaceOne({"_id": row["_id"]}, row, upsert=True) for row in documents]
                )

    for task_id in waiting:
        assert cluster.ended(task_id, 300).status == "succeeded"
        assert "from the dump" in cluster.text(task_id)
    assert cluster.reaches(done, "succeeded").id == done
    assert "kept" in cluster.text(done)


def test_what_is_deleted_leaves_nothing_and_can_be_put_back(cluster: Cluster, repository: str) -> None:
    """Nothing but the volumes and the namespace's own; put back, it knows its tasks."""
    before = cluster.submit(repository, "echo kept; echo file > $KERUTA_ARTIFACTS/file")
    assert cluster.ended(before).status == "succeeded"
    running = cluster.submit(repository, "sleep 300", timeout_seconds=400)
    cluster.reaches(running, "running")

    cluster.kubectl("delete", "-k", "knative/overlays/lab", "--wait=false")
    try:
        eventually("its end", lambda: not left(cluster), 240)
        scoped = cluster.kubectl("get", "validatingadmissionpolicies,validatingadmissionpolicybindings", "-o", "name")
        assert {name for name in scoped.split() if "/keruta" in name} == KEPT_POLICIES
    finally:
        cluster.bring_up()

    assert cluster.reaches(before, "succeeded").id == before
    assert [artifact.path for artifact in cluster.client.task(before).artifacts] == ["file", "log.gz"]
    assert cluster.ended(cluster.submit(repository, "true"), 180).status == "succeeded"
    assert cluster.reaches(running, "unknown", "failed", seconds=180)


def left(cluster: Cluster) -> set[str]:
    """Everything in the namespace that is not of its own, as `kind/name`."""
    kinds = cluster.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    # A list of several kinds names each object as `kind/name`, with the kind as the API server spells it.
    listed = [kind for kind in kinds if kind not in STAYS]
    said = cluster.kubectl("get", ",".join(listed), "-n", NAMESPACE, "-o", "name", "--ignore-not-found", check=False)
    return {one for one in said.split() if one not in STAYS}
