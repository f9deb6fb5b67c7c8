"""MongoDB of three members: a step-down and the loss of one, while tasks are submitted and run."""

from __future__ import annotations

import base64
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pymongo
import pytest

from keruta.adapters.mongo.replica_set import KEEPER
from tests.support.cluster import NAMESPACE, Cluster, eventually
from tests.support.gates import Gate

pytestmark = pytest.mark.release  # about five minutes, most of it until three members are there
MEMBERS = 3
OWN = ["-n", NAMESPACE]


def member(number: int) -> str:
    return f"mongodb-{number}.mongodb.{NAMESPACE}.svc.cluster.local:27017"


def hello(cluster: Cluster, number: int, **login: Any) -> dict[str, Any]:
    """What a member says of itself, or nothing while it is away."""
    with contextlib.suppress(AssertionError, KeyError, pymongo.errors.PyMongoError):
        address = cluster.get("pod", f"mongodb-{number}")["status"]["podIP"]
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            address, 27017, directConnection=True, serverSelectionTimeoutMS=3000
        )
        with client:
            return client.admin.command("hello")
    return {}


def primary(cluster: Cluster) -> int | None:
    found = [number for number in range(MEMBERS) if hello(cluster, number).get("isWritablePrimary")]
    return found[0] if len(found) == 1 else None


def whole(cluster: Cluster) -> bool:
    """Return whether one member is the primary and the others follow it."""
    said = [hello(cluster, number) for number in range(MEMBERS)]
    followers = sum(bool(one.get("secondary")) for one in said)
    return followers == MEMBERS - 1 and sum(bool(one.get("isWritablePrimary")) for one in said) == 1


@pytest.fixture(scope="module")
def three(cluster: Cluster) -> None:
    """The set grown to three members, and every part told of all of them."""
    url = base64.b64decode(cluster.get("secret", "keruta-mongo")["data"]["KERUTA_MONGO_URL"]).decode()
    hosts = ",".join(map(member, range(MEMBERS)))
    value = base64.b64encode(url.replace(member(0), hosts).encode()).decode()
    cluster.kubectl("patch", "secret", *OWN, "keruta-mongo", "-p", f'{{"data": {{"KERUTA_MONGO_URL": "{value}"}}}}')
    cluster.kubectl("set", "env", *OWN, "statefulset/mongodb", "-c", "replica-set", f"MEMBERS={MEMBERS}")
    cluster.kubectl("scale", *OWN, "statefulset", "mongodb", f"--replicas={MEMBERS}")
    eventually("three members", lambda: whole(cluster), 300)
    cluster.kubectl("delete", "pod", *OWN, "-l", "serving.knative.dev/service", "--wait=false")
    cluster.kubectl("rollout", "restart", *OWN, "deployment/admin")


@contextlib.contextmanager
def load(cluster: Cluster, repository: str) -> Iterator[list[str]]:
    """Tasks are submitted meanwhile, one after the other; their ids are in the list, which grows."""
    ids: list[str] = []
    over = threading.Event()

    def submit() -> None:
        while not over.wait(1.0):
            ids.append(cluster.submit(repository, "echo once"))

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield ids
    finally:
        over.set()
        thread.join()


def step_down(cluster: Cluster, number: int) -> None:
    password = base64.b64decode(cluster.get("secret", "keruta-mongodb")["data"]["password"]).decode()
    address = cluster.get("pod", f"mongodb-{number}")["status"]["podIP"]
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
        address, 27017, directConnection=True, username=KEEPER, password=password, authSource="admin"
    )
    with client, contextlib.suppress(pymongo.errors.AutoReconnect):
        client.admin.command("replSetStepDown", 60, secondaryCatchUpPeriodSecs=10)


def lose(cluster: Cluster, number: int) -> None:
    cluster.kubectl("delete", "pod", *OWN, f"mongodb-{number}", "--force", "--grace-period=0", "--wait=false")


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("fault", [step_down, lose], ids=["step-down", "loss"])
def test_the_primary_goes_while_tasks_run_and_are_submitted(
    cluster: Cluster, repository: str, gate: Gate, fault: Any
) -> None:
    """Another member takes over; every task runs once, to its end, and none is refused or lost."""
    running = [cluster.submit(repository, gate.script()) for _ in range(3)]
    for task_id in running:
        cluster.reaches(task_id, "running")
    before = eventually("a primary", lambda: (primary(cluster),) if primary(cluster) is not None else None, 120)[0]
    assert before is not None

    with load(cluster, repository) as submitted:
        eventually("load", lambda: len(submitted) >= 2, 120)
        fault(cluster, before)
        eventually("another primary", lambda: primary(cluster) not in (None, before) or fault is lose, 120)
        since = len(submitted)
        eventually("load afterwards", lambda: len(submitted) >= since + 3, 180)
    gate.goes_on(running)
    gate.open()

    for task_id in (*running, *submitted):
        task = cluster.ended(task_id, 300)
        assert (task.status, len(task.attempts)) == ("succeeded", 1), (task.reason, task.message, task.history)
    assert all(cluster.text(task_id).count("once") == 1 for task_id in submitted)
    eventually("a whole set", lambda: whole(cluster), 300)
