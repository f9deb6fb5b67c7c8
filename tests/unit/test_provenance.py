"""Statements on attempts: what they say, and how they are signed and checked."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from keruta.adapters.signatures import FileSigner, NotVerifiedError, read_keys, verify
from keruta.adapters.tokens import new_key
from keruta.cli.commands import cli
from keruta.cli.reading import READ_LIMIT_BYTES
from keruta.domain.catalog.documents import DocumentRef
from keruta.domain.provenance import Envelope, PublicKeys, awaits_image, pre_authentication_encoding, statement
from keruta.domain.task import Artifact, AttemptView, RepositoryRef, RetryPolicy, TaskView
from keruta.errors import SettingsError
from keruta.local.state import State

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
IMAGE = f"registry.example.com/python@sha256:{'d' * 64}"


def attempt(**fields: Any) -> AttemptView:
    known = {
        "number": 2, "worker": "w1", "assigned_at": AT, "started_at": AT, "ended_at": AT, "commit": "c" * 40,
        "profile_revision": 7, "outcome": "succeeded", "exit_code": 0, "image": IMAGE,
    }  # fmt: skip
    return AttemptView(**known | fields)


def task(**fields: Any) -> TaskView:
    known = {
        "id": "t" * 26, "status": "succeeded", "name": None, "owner": "ann", "queue": "default", "priority": 0,
        "labels": {}, "repository": RepositoryRef(url="https://example.com/app.git", ref="main"), "profile": "python",
        "documents": [DocumentRef(name="style", version=3, title="Style")], "retry": RetryPolicy(),
        "timeout_seconds": 60, "created_at": AT, "changed_at": AT, "script": "make 日本\n", "check": "make check",
        "env": {"B": "2", "A": "1"},
    }  # fmt: skip
    return TaskView(**known | fields)


def said(of: TaskView | None = None, by: AttemptView | None = None) -> dict[str, Any]:
    return statement(of or task(), by or attempt(), builder="https://keruta.example.com", version="1.2.3")


@pytest.fixture
def signer(tmp_path: Path) -> FileSigner:
    (tmp_path / "provenance.pem").write_bytes(new_key())
    return FileSigner(tmp_path / "provenance.pem")


def test_a_statement_says_what_ran_and_what_it_made() -> None:
    """In the fields of in-toto Statement v1 and SLSA Provenance v1."""
    made = attempt(
        result_branch="r/1", result_commit="e" * 40, artifacts=[Artifact(path="a/b.txt", size_bytes=1, sha256="f" * 64)]
    )

    found = said(by=made)

    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert found["subject"] == [
        {"name": "git+https://example.com/app.git@refs/heads/r/1", "digest": {"gitCommit": "e" * 40}},
        {"name": "a/b.txt", "digest": {"sha256": "f" * 64}},
    ]
    definition, run = found["predicate"]["buildDefinition"], found["predicate"]["runDetails"]
    asked = definition["externalParameters"]
    assert asked["script"] == {"sha256": hashlib.sha256("make 日本\n".encode()).hexdigest()}
    assert asked["check"] == {"sha256": hashlib.sha256(b"make check").hexdigest()}
    assert asked["env"] == {"sha256": hashlib.sha256(b'{"A":"1","B":"2"}').hexdigest()}
    assert asked["documents"] == [{"name": "style", "version": 3}]
    assert asked["submitter"] == "ann"
    assert definition["internalParameters"] == {"profile": "python", "profileRevision": 7}
    assert definition["resolvedDependencies"] == [
        {"name": "repository", "uri": "git+https://example.com/app.git@main", "digest": {"gitCommit": "c" * 40}},
        {"name": "image", "uri": f"docker://{IMAGE}", "digest": {"sha256": "d" * 64}},
    ]
    assert run["builder"] == {"id": "https://keruta.example.com", "version": {"keruta": "1.2.3"}}
    assert run["metadata"]["invocationId"] == "t" * 26 + "-2"
    assert run["metadata"]["finishedOn"] == "2026-01-02T03:04:05Z"
    assert run["metadata"]["keruta_outcome"]["outcome"] == "succeeded"


def test_texts_are_told_by_their_hashes_alone() -> None:
    """A statement may be published: the script, the prompt, the command and variables are not in it."""
    found = json.dumps(said(task(script=None, command=["secret-command", "x"], prompt="secret-prompt", check=None)))

    assert "secret" not in found
    assert hashlib.sha256(b'["secret-command","x"]').hexdigest() in found


@pytest.mark.parametrize(
    ("url", "uri"),
    [
        ("https://example.com/a.git", "git+https://example.com/a.git"),
        ("ssh://git@example.com:22/a.git", "git+ssh://git@example.com:22/a.git"),
        ("git@example.com:team/a.git", "git+ssh://git@example.com/team/a.git"),
    ],
)
def test_repositories_are_written_as_uris(url: str, uri: str) -> None:
    """With the scheme git+, also those of the short form of ssh."""
    found = said(task(repository=RepositoryRef(url=url)))

    assert found["predicate"]["buildDefinition"]["externalParameters"]["repository"] == uri


def test_an_attempt_that_made_nothing_is_its_own_subject() -> None:
    """A statement needs a subject, and the commit that was checked out was not made by it."""
    (subject,) = said(by=attempt(outcome="failed"))["subject"]

    name = "t" * 26 + "-2"
    digest = {"sha256": hashlib.sha256(name.encode()).hexdigest()}
    assert subject == {"name": f"urn:keruta:attempt:{name}", "digest": digest}


def test_an_attempt_that_pushed_kept_work_claims_no_script() -> None:
    """The statement names the attempt whose work was pushed."""
    asked = said(by=attempt(pushes=1))["predicate"]["buildDefinition"]["externalParameters"]

    assert asked["pushedWorkOf"] == "t" * 26 + "-1"
    assert "script" not in asked


def test_an_image_by_its_tag_has_no_digest() -> None:
    """Nothing is claimed that is not known."""
    dependencies = said(by=attempt(image="python:3.12"))["predicate"]["buildDefinition"]["resolvedDependencies"]

    assert dependencies[1] == {"name": "image", "uri": "docker://python:3.12"}


@pytest.mark.parametrize(
    ("image_id", "digest"),
    [
        (f"docker.io/library/python@sha256:{'e' * 64}", {"digest": {"sha256": "e" * 64}}),
        (f"sha256:{'e' * 64}", {}),  # the hash of the image's configuration, by which no registry gives it
    ],
)
def test_an_image_by_its_tag_has_the_digest_that_the_cluster_names(image_id: str, digest: dict[str, Any]) -> None:
    """With the cluster's own words beside it."""
    found = said(by=attempt(image="python:3.12", image_id=image_id))["predicate"]["buildDefinition"]

    expected = {"name": "image", "uri": "docker://python:3.12", "annotations": {"imageID": image_id}, **digest}
    assert found["resolvedDependencies"][1] == expected


@pytest.mark.parametrize(
    ("fields", "seconds", "waits"),
    [
        ({}, 14, True),
        ({}, 16, False),
        ({"image_id": "sha256:1"}, 1, False),
        ({"image": None}, 1, False),  # a process, or a script that never started
        ({"ended_at": None}, 1, False),
    ],
)
def test_a_statement_waits_some_seconds_for_the_image(fields: dict[str, Any], seconds: int, waits: bool) -> None:
    """A short script is over before the cluster shows what its image was resolved to."""
    assert awaits_image(attempt(**fields), AT + timedelta(seconds=seconds)) is waits


def test_the_encoding_that_is_signed_is_that_of_dsse() -> None:
    """The example of its specification."""
    assert pre_authentication_encoding("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_what_was_signed_is_verified(signer: FileSigner) -> None:
    """By the key itself, whatever ids are named, and in both alphabets of base64."""
    envelope = signer.sign(said())
    sig = b64decode(envelope.signatures[0].sig)
    other = msgspec.structs.replace(envelope.signatures[0], sig=urlsafe_b64encode(sig).decode(), keyid="other")

    for one in (envelope, msgspec.structs.replace(envelope, signatures=[other])):
        found, key = verify(msgspec.json.encode(one), [signer.public()])
        assert (found, key) == (said(), signer.public())


@pytest.mark.parametrize("change", ["payload", "payload_type", "signature", "none", "key", "not_an_envelope", "deep"])
def test_what_was_changed_is_refused(signer: FileSigner, tmp_path: Path, change: str) -> None:
    """Each part of an envelope counts."""
    good = signer.sign(said())
    keys = [signer.public()]
    bad: Any = good
    match change:
        case "payload":
            text = b64decode(good.payload).replace(b"succeeded", b"succeedee")
            bad = msgspec.structs.replace(good, payload=b64encode(text).decode())
        case "payload_type":
            bad = msgspec.structs.replace(good, payload_type="text/plain")
        case "signature":
            wrong = msgspec.structs.replace(good.signatures[0], sig=b64encode(b"x" * 64).decode())
            bad = msgspec.structs.replace(good, signatures=[wrong])
        case "none":
            bad = msgspec.structs.replace(good, signatures=[])
        case "key":
            (tmp_path / "other.pem").write_bytes(new_key())
            keys = [FileSigner(tmp_path / "other.pem").public()]
    data = {"not_an_envelope": b"{}", "deep": b"[" * 100_000}.get(change) or msgspec.json.encode(bad)

    with pytest.raises(NotVerifiedError):
        verify(data, keys)


def test_only_statements_with_slsa_provenance_are_verified(signer: FileSigner) -> None:
    """A good signature over something else proves nothing of an attempt."""
    envelope = signer.sign({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://example.com/other"})

    with pytest.raises(NotVerifiedError, match="not an in-toto statement"):
        verify(msgspec.json.encode(envelope), [signer.public()])


def test_keys_are_read_from_pem_and_from_json(signer: FileSigner, tmp_path: Path) -> None:
    """Several at once; a key's id is worked out from the key."""
    (tmp_path / "other.pem").write_bytes(new_key())
    keys = [signer.public(), FileSigner(tmp_path / "other.pem").public()]
    lying = [msgspec.structs.replace(key, keyid="0") for key in keys]

    assert read_keys("".join(key.public_key for key in keys).encode()) == keys
    assert read_keys(msgspec.json.encode(PublicKeys(keys=lying))) == keys


@pytest.mark.parametrize("data", [b"", b"nothing", b"-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----\n"])
def test_what_is_no_key_is_said(data: bytes) -> None:
    """In place of a traceback."""
    with pytest.raises(NotVerifiedError):
        read_keys(data)


@pytest.mark.parametrize("content", [None, b"", b"no key"])
def test_a_missing_or_broken_private_key_is_a_setting_that_is_wrong(tmp_path: Path, content: bytes | None) -> None:
    """The setting is named, and the key's text is not."""
    path = tmp_path / "provenance.pem"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingsError, match="KERUTA_PROVENANCE_KEY"):
        FileSigner(path).sign({})


def test_a_rotated_key_still_verifies(tmp_path: Path) -> None:
    """On one machine the public halves of all earlier keys are kept, and the next statement has the new key."""
    state = State(root=tmp_path / ".keruta")
    state.make()
    state.key("provenance")
    signer = FileSigner(state.provenance_key)
    envelopes = []
    for _ in range(3):
        envelopes.append(signer.sign(said()))
        state.rotate_provenance_key()

    signed_by = [verify(msgspec.json.encode(one), state.provenance_keys())[1].keyid for one in envelopes]

    assert signed_by == [key.keyid for key in state.provenance_keys()[:3]]
    assert len({key.keyid for key in state.provenance_keys()}) == 4
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / ".keruta" / "keys").iterdir())


def test_verify_says_what_a_statement_is_about(signer: FileSigner, tmp_path: Path) -> None:
    """Offline, with the keys of a file; and that an artifact is the one that was made."""
    artifact = tmp_path / "app.bin"
    artifact.write_bytes(b"built")
    made = Artifact(path="app\x1b[2J.bin", size_bytes=5, sha256=hashlib.sha256(b"built").hexdigest())
    statement_, keys = _written(signer, signer.sign(said(by=attempt(artifacts=[made]))), tmp_path)
    asked = ["verify", str(statement_), "--key", str(keys), "--artifact", str(artifact)]

    good = CliRunner().invoke(cli, asked)
    artifact.write_bytes(b"other")
    bad = CliRunner().invoke(cli, asked)

    assert good.exit_code == 0, good.output
    assert "succeeded" in good.output
    assert "\x1b" not in good.output
    assert bad.exit_code != 0
    assert "app.bin is not in the statement" in bad.output


def test_verify_reads_an_artifact_of_any_size(signer: FileSigner, tmp_path: Path) -> None:
    """Only what is kept in memory has a limit."""
    artifact = tmp_path / "image.tar"
    with artifact.open("wb") as file:
        file.truncate(READ_LIMIT_BYTES + 1)
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
    made = Artifact(path="image.tar", size_bytes=READ_LIMIT_BYTES + 1, sha256=digest)
    statement_, keys = _written(signer, signer.sign(said(by=attempt(artifacts=[made]))), tmp_path)

    done = CliRunner().invoke(cli, ["verify", str(statement_), "--key", str(keys), "--artifact", str(artifact)])

    assert done.exit_code == 0, done.output


def _written(signer: FileSigner, envelope: Envelope, directory: Path) -> tuple[Path, Path]:
    paths = directory / "statement.json", directory / "keys.pem"
    paths[0].write_bytes(msgspec.json.encode(envelope))
    paths[1].write_text(signer.public().public_key)
    return paths
