"""Provenance of an attempt as a statement that others can verify: in-toto Statement v1 with SLSA Provenance v1, in
DSSE.

Sources:
    https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
    https://slsa.dev/spec/v1.0/provenance
    https://github.com/secure-systems-lab/dsse/blob/master/protocol.md
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from keruta.domain.naming import attempt_id
from keruta.domain.task import AttemptView, TaskView

PAYLOAD_TYPE = "application/vnd.in-toto+json"
ENVELOPE_TYPE = "application/vnd.dsse.envelope.v1+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:keruta:task:v1"
UNNAMED_BUILDER = "urn:keruta"
IMAGE_SECONDS = 15.0  # as long as a statement waits for the image that the cluster names
_PINNED = re.compile(r"@sha256:([0-9a-f]{64})$")


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """One signature: `sig` in base64, and which key made it."""

    sig: str
    keyid: str = ""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A DSSE envelope: `payload` in base64."""

    payload_type: str
    payload: str
    signatures: list[Signature]


class PublicKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that statements are or were signed with.

    Args:
        keyid: the SHA-256 of the key's DER form (SubjectPublicKeyInfo).
        public_key: PEM.
    """

    keyid: str
    public_key: str
    since: datetime | None = None


class PublicKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Every key that was ever used, the oldest first."""

    keys: list[PublicKey]


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that are signed: DSSE's PAE."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def statement(task: TaskView, attempt: AttemptView, *, builder: str, version: str) -> dict[str, Any]:
    """Return the statement on an attempt that has ended, from what is on record of it.

    Args:
        builder: the address of the keruta that ran it.
        version: that keruta's version.
    """
    return {
        "_type": STATEMENT_TYPE,
        "subject": _subjects(task, attempt),
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": _parameters(task, attempt),
                "internalParameters": {"profile": task.profile, "profileRevision": attempt.profile_revision},
                "resolvedDependencies": list(_dependencies(task, attempt)),
            },
            "runDetails": {
                "builder": {"id": builder or UNNAMED_BUILDER, "version": {"keruta": version}},
                "metadata": {
                    "invocationId": attempt_id(task.id, attempt.number),
                    **_times(attempt),
                    "keruta_outcome": {
                        "outcome": attempt.outcome, "reason": attempt.reason, "exitCode": attempt.exit_code,
                        "signal": attempt.signal,
                    },
                },
            },
        },
    }  # fmt: skip


def awaits_image(attempt: AttemptView, now: datetime) -> bool:
    """Return whether the image that an attempt has run in may still be reported: its worker reads it off the Pod."""
    if attempt.image is None or attempt.image_id is not None or attempt.ended_at is None:
        return False
    return (now - attempt.ended_at).total_seconds() < IMAGE_SECONDS


def _subjects(task: TaskView, attempt: AttemptView) -> list[dict[str, Any]]:
    """Return the attempt's products: pushed commit and artifacts.

    If there are none, its own id, since one subject is required.
    """
    made: list[dict[str, Any]] = []
    if attempt.result_commit is not None:
        branch = _repository_uri(task, f"refs/heads/{attempt.result_branch}")
        made.append({"name": branch, "digest": {"gitCommit": attempt.result_commit}})
    made += [{"name": one.path, "digest": {"sha256": one.sha256}} for one in attempt.artifacts]
    if not made:
        name = attempt_id(task.id, attempt.number)
        made.append({"name": f"urn:keruta:attempt:{name}", "digest": {"sha256": _sha256(name)}})
    return made


def _parameters(task: TaskView, attempt: AttemptView) -> dict[str, Any]:
    """Return the submitter's parameters, with texts as hashes. An attempt that only pushes kept work has no script."""
    asked: dict[str, Any] = {"repository": _repository_uri(task, task.repository.ref), "submitter": task.owner}
    if attempt.pushes is not None:
        return {**asked, "pushedWorkOf": attempt_id(task.id, attempt.pushes)}
    for name in ("script", "prompt", "check"):
        if (text := getattr(task, name)) is not None:
            asked[name] = {"sha256": _sha256(text)}
    if task.command is not None:
        asked["command"] = {"sha256": hashlib.sha256(msgspec.json.encode(task.command)).hexdigest()}
    if task.env:
        asked["env"] = {"sha256": hashlib.sha256(msgspec.json.encode(dict(sorted(task.env.items())))).hexdigest()}
    if task.documents:
        asked["documents"] = [{"name": one.name, "version": one.version} for one in task.documents]
    return asked


def _dependencies(task: TaskView, attempt: AttemptView) -> list[dict[str, Any]]:
    """Return the attempt's inputs: the commit that was checked out, and the image.

    The image's digest is the one that the profile pins, or else the one that the cluster has resolved its name to.
    """
    found: list[dict[str, Any]] = []
    if attempt.commit is not None:
        source = _repository_uri(task, task.repository.ref)
        found.append({"name": "repository", "uri": source, "digest": {"gitCommit": attempt.commit}})
    if attempt.image is not None:
        pinned = _PINNED.search(attempt.image) or _PINNED.search(attempt.image_id or "")
        image: dict[str, Any] = {"name": "image", "uri": f"docker://{attempt.image}"}
        image |= {"digest": {"sha256": pinned[1]}} if pinned else {}
        found.append(image | ({"annotations": {"imageID": attempt.image_id}} if attempt.image_id else {}))
    return found


def _times(attempt: AttemptView) -> dict[str, str]:
    times = {"startedOn": attempt.started_at or attempt.preparing_at, "finishedOn": attempt.ended_at}
    return {name: f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for name, at in times.items() if at is not None}


def _repository_uri(task: TaskView, ref: str | None) -> str:
    """The repository as SPDX and SLSA write one: git+https://…, git+ssh://…, with `@` and the ref."""
    url = task.repository.url
    if "://" not in url:
        host, _, path = url.partition(":")
        url = f"ssh://{host}/{path.lstrip('/')}"
    return f"git+{url}@{ref}" if ref is not None else f"git+{url}"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
