"""Statements on attempts: asked for in three places, signed once after an end, read, and checked by another program."""

from __future__ import annotations

import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import flask
import msgspec
import pytest

from keruta import structs
from keruta.adapters.mongo.provenance import MongoProvenance
from keruta.adapters.signatures import FileSigner, verify
from keruta.adapters.tokens import new_key
from keruta.domain.catalog.profiles import ProfileSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.naming import attempt_id
from keruta.domain.provenance import Envelope, PublicKeys, pre_authentication_encoding
from keruta.domain.reports import ImageSeen, Running
from keruta.domain.task import Artifact, RepositoryAsk
from keruta.services.provenance import publish_key, sign_due
from keruta.services.task_commands import retry
from tests.support.admin import signed_in
from tests.support.world import ANN, World, person

ARTIFACT = Artifact(path="out.txt", size_bytes=3, sha256="a" * 64)


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    (tmp_path / "provenance.pem").write_bytes(new_key())
    return FileSigner(tmp_path / "provenance.pem")


@pytest.fixture
def store(world: World) -> MongoProvenance:
    return MongoProvenance(world.database)


def run(world: World, *, status: str = "succeeded", **fields: Any) -> str:
    task = world.submit(**fields)
    world.worker()
    world.assign()
    world.start(task)
    world.end(task, status=status, artifacts=[ARTIFACT], commit="c" * 40)
    return task


def sign(store: MongoProvenance, signer: FileSigner) -> int:
    return sign_due(store, signer, builder="https://keruta.example.com")


def statement(store: MongoProvenance, signer: FileSigner, task: str, number: int = 1) -> dict[str, Any]:
    envelope = store.envelope(attempt_id(task, number))
    assert envelope is not None
    return verify(msgspec.json.encode(envelope), [signer.public()])[0]


def test_an_attempt_that_ended_gets_its_statement_once(
    world: World, store: MongoProvenance, signer: FileSigner
) -> None:
    """From what is on record of it; a second look finds nothing to do."""
    task = run(world, provenance=True)

    assert (sign(store, signer), sign(store, signer)) == (1, 0)

    found = statement(store, signer, task)
    assert found["subject"] == [{"name": "out.txt", "digest": {"sha256": "a" * 64}}]
    assert found["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"] == {"gitCommit": "c" * 40}
    assert found["predicate"]["runDetails"]["metadata"]["keruta_outcome"]["outcome"] == "succeeded"
    assert "provenance_due" not in world.document(task)


def test_nothing_is_signed_that_was_not_asked_for(world: World, store: MongoProvenance, signer: FileSigner) -> None:
    """Nor before an attempt has ended."""
    run(world)
    other = world.submit(provenance=True)
    world.assign()
    world.start(other)

    assert sign(store, signer) == 0
    assert world.database["tasks"].count_documents({"provenance_due": {"$exists": True}}) == 0


def test_the_first_statement_of_an_attempt_stays(world: World, store: MongoProvenance, signer: FileSigner) -> None:
    """Two that sign at the same time keep one; a retry signs its own attempt alone, with the new key."""
    task = run(world, provenance=True, status="failed")
    due = store.due()
    sign(store, signer)
    first = store.envelope(attempt_id(task, 1))
    store.keep(due[0], [(attempt_id(task, 1), signer.sign({"another": "statement"}))])
    retry(world.commands, ANN, task)
    world.assign()
    world.start(task, execution="x2")
    world.end(task, execution="x2")

    assert sign(store, signer) == 1

    assert store.envelope(attempt_id(task, 1)) == first
    metadata = statement(store, signer, task, 2)["predicate"]["runDetails"]["metadata"]
    assert metadata["invocationId"] == attempt_id(task, 2)


def test_an_end_that_comes_while_another_is_signed_stays_due(
    world: World, store: MongoProvenance, signer: FileSigner
) -> None:
    """What is no longer due is so only of the ends that were looked at."""
    task = run(world, provenance=True, status="failed")
    (looked_at,) = store.due()
    world.database["tasks"].update_one({"_id": task}, [{"$set": {"provenance_due": {"$add": ["$provenance_due", 5]}}}])

    store.keep(looked_at, [])

    assert "provenance_due" in world.document(task)


def test_a_statement_waits_for_the_image_that_the_worker_reports(
    world: World, store: MongoProvenance, signer: FileSigner
) -> None:
    """The worker is asked for it until it is on record, also after the end; where none comes, it is not waited for."""
    task, other = (world.submit(provenance=True) for _ in range(2))
    world.worker()
    world.assign()
    for name in (task, other):
        world.report("w1", Running(task=name, attempt=1, execution="x1", commit="c" * 40, image="python:3.12"))
    assert [one.wants_image for one in world.assigned("w1")] == [True, True]
    for name in (task, other):
        world.end(name)
    assert sign(store, signer) == 0

    (outcome,) = world.report("w1", ImageSeen(task=task, attempt=1, image_id=f"python@sha256:{'e' * 64}"))

    assert (outcome.accepted, sign(store, signer)) == (True, 1)
    image = statement(store, signer, task)["predicate"]["buildDefinition"]["resolvedDependencies"][1]
    assert image["digest"] == {"sha256": "e" * 64}
    earlier = [{"$set": {"attempt.ended_at": {"$subtract": ["$attempt.ended_at", 16_000]}}}]
    world.database["tasks"].update_one({"_id": other}, earlier)
    assert sign(store, signer) == 1
    assert "digest" not in statement(store, signer, other)["predicate"]["buildDefinition"]["resolvedDependencies"][1]


def test_a_lost_attempt_and_its_successor_each_get_one(
    world: World, store: MongoProvenance, signer: FileSigner
) -> None:
    """The attempt at work is left alone until it has ended."""
    task = world.submit(provenance=True)
    world.worker()
    world.assign()
    world.lease_runs_out(task)
    world.tick()
    again = [{"$set": {"claim": "$lane"}}, {"$unset": ["not_before", "blocked_by"]}]
    world.database["tasks"].update_one({"_id": task}, again)
    world.assign()

    assert sign(store, signer) == 1
    assert store.envelope(attempt_id(task, 2)) is None


@pytest.mark.parametrize(
    ("asked", "repository", "profile", "wanted"),
    [
        (None, None, None, False), (None, None, True, True), (None, True, None, True), (True, None, None, True),
        (False, True, True, False), (None, False, True, False), (True, False, False, True),
    ],
)  # fmt: skip
def test_the_task_says_else_the_repository_else_the_profile(
    world: World, asked: bool | None, repository: bool | None, profile: bool | None, wanted: bool
) -> None:
    """Whether a statement is wanted is fixed at the submit."""
    url = "https://example.com/app.git"
    world.catalogs["repository"].create(ANN, RepositorySpec(name="app", url=url, provenance=repository))
    world.catalogs["profile"].create(ANN, ProfileSpec(name="release", provenance=profile))

    task = world.submit(repository=RepositoryAsk(name="app"), profile="release", provenance=asked)

    assert world.task(task).provenance is wanted


def test_without_a_key_statements_stay_due(world: World, store: MongoProvenance, tmp_path: Path) -> None:
    """And are signed once there is one."""
    task = run(world, provenance=True)
    path = tmp_path / "later.pem"

    assert sign(store, FileSigner(path)) == 0
    path.write_bytes(new_key())
    assert sign(store, FileSigner(path)) == 1
    assert store.envelope(attempt_id(task, 1)) is not None


def test_old_keys_stay_published(
    app: flask.Flask, world: World, store: MongoProvenance, signer: FileSigner, tmp_path: Path
) -> None:
    """To everyone, without a token; a new key signs at once, and a statement of the old one is verified by these."""
    task = run(world, provenance=True)
    publish_key(store, signer)
    old = signer.public()
    sign(store, signer)
    (tmp_path / "provenance.pem").write_bytes(new_key())
    other = run(world, provenance=True)
    sign(store, signer)

    keys = structs.from_json(app.test_client().get("/api/v1/provenance/keys").data, type=PublicKeys).keys

    assert [key.keyid for key in keys] == [old.keyid, signer.public().keyid]
    for number, one in enumerate((task, other)):
        envelope = store.envelope(attempt_id(one, 1))
        assert verify(msgspec.json.encode(envelope), keys)[1].keyid == keys[number].keyid


def test_openssl_verifies_what_the_route_gives(
    app: flask.Flask, world: World, store: MongoProvenance, signer: FileSigner, tmp_path: Path
) -> None:
    """Another program agrees on signature and key, and refuses other bytes."""
    task = run(world, provenance=True)
    asks = signed_in(app, ANN)
    early = asks.ask("GET", f"/api/v1/tasks/{task}/provenance")
    sign(store, signer)

    status, answer = asks.ask("GET", f"/api/v1/tasks/{task}/provenance")

    assert (early[0], status) == (404, 200)
    assert "not signed yet" in early[1]
    envelope = structs.from_json(answer, type=Envelope)
    payload = b64decode(envelope.payload)
    (key,) = store.keys()
    (tmp_path / "key.pem").write_text(key.public_key)
    (tmp_path / "signature").write_bytes(b64decode(envelope.signatures[0].sig))
    for signed, ends in ((payload, 0), (payload + b" ", 1)):
        (tmp_path / "signed").write_bytes(pre_authentication_encoding(envelope.payload_type, signed))
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "signed"]
        found = subprocess.run([*command, "-sigfile", "signature"], cwd=tmp_path, capture_output=True, check=False)
        assert found.returncode == ends, found


def test_who_may_not_see_a_task_does_not_see_its_statement(
    app: flask.Flask, world: World, store: MongoProvenance, signer: FileSigner
) -> None:
    """Nor without a token."""
    task = run(world, provenance=True)
    sign(store, signer)
    world.database["tasks"].update_one({"_id": task}, {"$set": {"readers": ["user:ann"]}})

    assert signed_in(app, person("eve", "viewer")).ask("GET", f"/api/v1/tasks/{task}/provenance")[0] == 404
    assert app.test_client().get(f"/api/v1/tasks/{task}/provenance").status_code == 401
