"""Deliveries as forges send them: the headers that name and sign one, and the event in the same words for all of them.

Source: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from keruta.domain.catalog.triggers import Provider

HEADER_VALUE = re.compile(r"[\x21-\x7e]{1,200}")
WORD = re.compile(r"[A-Za-z0-9_ .-]{1,80}")
MARK = "<!-- keruta:"  # begins what keruta hides in its comments and pull requests
CONTEXT = "keruta/"  # begins the names of its commit statuses
TIME = "%Y-%m-%dT%H:%M:%SZ"

Cause = Literal[
    "push", "tag", "merge_group", "pull_request", "review_comment", "comment", "issue", "check_failed",
    "event", "schedule", "run",
]  # the last two are keruta's own  # fmt: skip


class Headers(msgspec.Struct, frozen=True, kw_only=True):
    """The headers of a provider that name an event, its delivery and its signature."""

    event: tuple[str, ...]
    delivery: tuple[str, ...]
    signature: str


HEADERS: Mapping[Provider, Headers] = {
    "github": Headers(event=("X-GitHub-Event",), delivery=("X-GitHub-Delivery",), signature="X-Hub-Signature-256"),
    "gitea": Headers(event=("X-Gitea-Event",), delivery=("X-Gitea-Delivery",), signature="X-Gitea-Signature"),
    "gitlab": Headers(
        event=("X-Gitlab-Event",), delivery=("Idempotency-Key", "X-Gitlab-Event-UUID"), signature="X-Gitlab-Token"
    ),
}  # fmt: skip


def headers_of(provider: Provider, headers: Mapping[str, str]) -> tuple[str, str, str]:
    """Return the event's name, the delivery's id and the signature; empty for what is missing.

    Args:
        headers: by their names in lower case.
    """
    named = HEADERS[provider]

    def first(names: Iterable[str]) -> str:
        return next((found for name in names if (found := headers.get(name.lower()))), "")

    return first(named.event), first(named.delivery), first((named.signature,))[:500]


class ForgeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event, in the same words for every forge, and for what keruta starts itself.

    Args:
        kind: None for an event that keruta does not know; `schedule` for a time, `run` for someone's wish.
        name: the forge's own word.
        identity: the event's own: the same for a repeat that comes under another delivery id.
        repository: its owner and name.
        action: the forge's own word for what happened; `change` is one word for all forges.
        ref: the branch or tag, without `refs/heads/` or `refs/tags/`; of a pull request, the branch it comes from.
        base: the branch that was pushed, or that a pull request is to be merged into.
        commit: what is checked out.
        paths: the files that a push changed; None where the payload does not name them all.
        added: the labels that the event put on it; None where that is not said.
        pull_request: whether the number is a pull request's.
        url: where people see it.
        sender_id: the number that the forge knows the sender by; a login can be given to somebody else.
        comment: its text, cut where it is long.
        commands: the lines of a comment that begin with a slash, outside quotes and code.
        check: the name of the check that failed.
        source: the source of a CloudEvent.
        payload: the JSON of an event that is no forge's, unless it is long.
        own: whether keruta's own account caused it, or it holds keruta's mark.
        task: the task that its text names as its cause, where it holds keruta's mark.
        at: when it happened, or which time it is, where the payload says so.
    """

    kind: Cause | None = None
    name: str = ""
    identity: str = ""
    action: str | None = None
    change: str | None = None
    repository: str = ""
    ref: str | None = None
    base: str | None = None
    commit: str | None = None
    deleted: bool = False
    paths: list[str] | None = None
    labels: list[str] = []
    added: list[str] | None = None
    number: int | None = None
    fork: bool = False
    sender: str | None = None
    sender_id: int | None = None
    title: str | None = None
    comment: str | None = None
    commands: list[str] = []
    check: str | None = None
    source: str | None = None
    payload: str | None = None
    pull_request: bool = False
    url: str | None = None
    own: bool = False
    task: str | None = None
    at: datetime | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """Return the event as variables of the script's environment."""
        said = {
            "EVENT": self.kind, "ACTION": self.action, "REF": self.ref, "BASE": self.base, "COMMIT": self.commit,
            "NUMBER": None if self.number is None else str(self.number), "SENDER": self.sender, "TITLE": self.title,
            "COMMENT": self.comment, "CHECK": self.check,
            "SOURCE": self.source, "PAYLOAD": self.payload,
            "TIME": self.at.astimezone(UTC).strftime(TIME) if self.at is not None and self.kind == "schedule" else None,
        }  # fmt: skip
        return {f"KERUTA_PARAM_{name}": value for name, value in said.items() if value is not None}


def signature_holds(provider: Provider, secrets: Iterable[str], given: str, body: bytes) -> bool:
    """Say whether one of the secrets signed this body, comparing in constant time.

    GitLab sends the secret itself; the others send the body's HMAC with SHA-256.
    """
    held = False
    for secret in secrets:
        if provider == "gitlab":
            wanted = secret
        else:
            prefix = "sha256=" if provider == "github" else ""
            wanted = prefix + hmac.digest(secret.encode(), body, hashlib.sha256).hex()
        held |= hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace"))
    return held


def glob_matches(pattern: str, name: str) -> bool:
    """Say whether a pattern such as `release/*` matches: `*` and `?` match a slash, too."""
    return _compiled(pattern).match(name) is not None


@functools.lru_cache(1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    # A pattern with few stars ends soon on a name of bounded length; runs of stars are one.
    return re.compile(fnmatch.translate(re.sub(r"\*+", "*", pattern)))
