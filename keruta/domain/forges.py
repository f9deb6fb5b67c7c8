"""Deliveries as forges send them: the headers that name and sign one, and the event in its payload.

Sources: https://docs.github.com/en/webhooks/webhook-events-and-payloads,
https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries,
https://docs.gitlab.com/user/project/integrations/webhook_events/,
https://docs.gitea.com/usage/webhooks
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from keruta.domain.catalog.triggers import EventKind, Provider

COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
HEADER_VALUE = re.compile(r"[\x21-\x7e]{1,200}")
WORD = re.compile(r"[A-Za-z0-9_ .-]{1,80}")
TEXT_LETTERS = 500
TIME = "%Y-%m-%dT%H:%M:%SZ"
PATHS_MOST = 50_000
GLOB_LETTERS = 4096


Cause = Literal["push", "tag", "pull_request", "comment", "issue", "schedule", "run"]  # the last two are keruta's own


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
        ref: the branch or tag, without `refs/heads/` or `refs/tags/`; of a pull request, the branch it comes from.
        base: the branch that was pushed, or that a pull request is to be merged into.
        commit: what is checked out.
        paths: the files that a push changed; None where the payload does not name them all.
        at: when it happened, or which time it is, where the payload says so.
    """

    kind: Cause | None = None
    name: str = ""
    identity: str = ""
    action: str | None = None
    repository: str = ""
    ref: str | None = None
    base: str | None = None
    commit: str | None = None
    deleted: bool = False
    paths: list[str] | None = None
    labels: list[str] = []
    number: int | None = None
    fork: bool = False
    sender: str | None = None
    title: str | None = None
    at: datetime | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """Return the event as variables of the script's environment."""
        said = {
            "EVENT": self.kind, "ACTION": self.action, "REF": self.ref, "BASE": self.base, "COMMIT": self.commit,
            "NUMBER": None if self.number is None else str(self.number), "SENDER": self.sender, "TITLE": self.title,
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


def read_event(provider: Provider, name: str, payload: Mapping[str, Any]) -> ForgeEvent:
    """Read a payload. What is missing or of another type is as if it were not said; raises nothing."""
    found = _gitlab(payload) if provider == "gitlab" else _github(name, payload)
    if found.kind is None or not found.identity:
        digest = hashlib.sha256(msgspec.json.encode(payload, order="deterministic")).hexdigest()
        found = msgspec.structs.replace(found, identity=f"{name} {digest}")
    return msgspec.structs.replace(found, name=name)


# ---------------------------------------------------------------- GitHub, and Gitea, which sends the same fields


def _github(name: str, payload: Mapping[str, Any]) -> ForgeEvent:
    common: dict[str, Any] = {
        "repository": _text(payload, "repository", "full_name") or "",
        "sender": _text(payload, "sender", "login"),
        "action": _text(payload, "action"),
    }
    if name == "push":
        commits = _list(payload.get("commits"))
        total = payload.get("total_commits")
        whole = not isinstance(total, int) or total <= len(commits)
        return _push(payload, common, commits if whole else None)
    if name in ("pull_request", "pull_request_label", "pull_request_sync"):
        return _pull_request(payload, common)
    if name in ("issue_comment", "pull_request_comment"):
        return ForgeEvent(
            **common, kind="comment",
            number=_number(payload, "issue", "number"), title=_text(payload, "issue", "title"),
            labels=_labels(_at(payload, "issue", "labels")), at=_moment(payload, "comment", "created_at"),
            identity=f"comment {_number(payload, 'comment', 'id')} {common['action']}",
        )  # fmt: skip
    if name in ("issues", "issue_label", "issue_assign"):
        number, at = _number(payload, "issue", "number"), _text(payload, "issue", "updated_at")
        return ForgeEvent(
            **common, kind="issue", number=number, title=_text(payload, "issue", "title"),
            labels=_labels(_at(payload, "issue", "labels")), at=_moment(payload, "issue", "updated_at"),
            identity=f"issue {number} {common['action']} {at}",
        )  # fmt: skip
    return ForgeEvent(**common)


def _pull_request(payload: Mapping[str, Any], common: dict[str, Any]) -> ForgeEvent:
    head, base = ("pull_request", "head"), ("pull_request", "base")
    commit = _commit(_text(payload, *head, "sha"))
    at, number = _text(payload, "pull_request", "updated_at"), _number(payload, "pull_request", "number")
    # A head without a repository is a fork that was deleted.
    return ForgeEvent(
        **common, kind="pull_request", number=number, title=_text(payload, "pull_request", "title"), commit=commit,
        ref=_text(payload, *head, "ref"), base=_text(payload, *base, "ref"),
        labels=_labels(_at(payload, "pull_request", "labels")),
        fork=_number(payload, *head, "repo", "id") is None
        or _number(payload, *head, "repo", "id") != _number(payload, *base, "repo", "id"),
        at=_moment(payload, "pull_request", "updated_at"),
        identity=f"pull_request {number} {common['action']} {commit} {at}",
    )  # fmt: skip


def _push(payload: Mapping[str, Any], common: dict[str, Any], commits: list[Any] | None) -> ForgeEvent:
    """A push of a branch or of a tag; GitLab's has the same fields for these."""
    full, before, after = _text(payload, "ref") or "", _text(payload, "before"), _text(payload, "after")
    kind: EventKind = "tag" if full.startswith("refs/tags/") else "push"
    ref = full.removeprefix("refs/tags/").removeprefix("refs/heads/")
    deleted = after is not None and set(after) == {"0"}
    return ForgeEvent(
        **common, kind=kind, ref=ref, base=ref, commit=None if deleted else _commit(after), deleted=deleted,
        paths=_paths(commits) if commits is not None else None,
        identity=f"{kind} {common['repository']} {full} {before} {after}",
    )  # fmt: skip


# ---------------------------------------------------------------- GitLab


def _gitlab(payload: Mapping[str, Any]) -> ForgeEvent:
    kind = _text(payload, "object_kind")
    common: dict[str, Any] = {
        "repository": _text(payload, "project", "path_with_namespace") or "",
        "sender": _text(payload, "user_username") or _text(payload, "user", "username"),
        "action": _text(payload, "object_attributes", "action"),
    }
    own = ("object_attributes",)
    number, at = _number(payload, *own, "iid"), _text(payload, *own, "updated_at")
    if kind in ("push", "tag_push"):
        commits = _list(payload.get("commits"))
        total = payload.get("total_commits_count")
        return _push(payload, common, commits if total == len(commits) else None)
    if kind == "merge_request":
        commit = _commit(_text(payload, *own, "last_commit", "id"))
        source, target = _number(payload, *own, "source_project_id"), _number(payload, *own, "target_project_id")
        return ForgeEvent(
            **common, kind="pull_request", number=number, title=_text(payload, *own, "title"), commit=commit,
            ref=_text(payload, *own, "source_branch"), base=_text(payload, *own, "target_branch"),
            labels=_labels(payload.get("labels")), fork=source is None or source != target,
            at=_moment(payload, *own, "updated_at"), identity=f"pull_request {number} {common['action']} {commit} {at}",
        )  # fmt: skip
    if kind == "note":
        subject = "merge_request" if _at(payload, "merge_request") else "issue"
        return ForgeEvent(
            **common, kind="comment", number=_number(payload, subject, "iid"), title=_text(payload, subject, "title"),
            labels=_labels(_at(payload, subject, "labels")), at=_moment(payload, *own, "created_at"),
            identity=f"comment {_number(payload, *own, 'id')} {common['action']} {at}",
        )  # fmt: skip
    if kind == "issue":
        return ForgeEvent(
            **common, kind="issue", number=number, title=_text(payload, *own, "title"),
            labels=_labels(payload.get("labels")), at=_moment(payload, *own, "updated_at"),
            identity=f"issue {number} {common['action']} {at}",
        )  # fmt: skip
    return ForgeEvent(**common)


# ---------------------------------------------------------------- reading what may be of any type


def _at(payload: Any, *path: str) -> Any:
    for part in path:
        payload = payload.get(part) if isinstance(payload, Mapping) else None
    return payload


def _text(payload: Any, *path: str) -> str | None:
    """A text without control characters, cut where it is too long."""
    found = _at(payload, *path)
    if not isinstance(found, str):
        return None
    return "".join(one for one in found[:TEXT_LETTERS] if one.isprintable())


def _number(payload: Any, *path: str) -> int | None:
    found = _at(payload, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**63 else None


def _moment(payload: Any, *path: str) -> datetime | None:
    found = _text(payload, *path) or ""
    try:
        # GitLab writes "2026-01-01 10:00:00 UTC" in some events.
        at = datetime.fromisoformat(found.removesuffix(" UTC"))
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _commit(text: str | None) -> str | None:
    return text if text is not None and COMMIT.fullmatch(text) else None


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _labels(found: Any) -> list[str]:
    names = [_text(one, "name") or _text(one, "title") for one in _list(found)[:200]]
    return [name for name in names if name]


def _paths(commits: list[Any]) -> list[str] | None:
    """The files that commits changed; None where they are too many, or not said."""
    found: dict[str, None] = {}
    for commit in commits:
        for part in ("added", "modified", "removed"):
            names = _at(commit, part)
            if not isinstance(names, list):
                return None
            found |= dict.fromkeys(name[:GLOB_LETTERS] for name in names if isinstance(name, str))
        if len(found) > PATHS_MOST:
            return None
    return list(found)


def glob_matches(pattern: str, name: str) -> bool:
    """Say whether a pattern such as `release/*` matches: `*` and `?` match a slash, too."""
    return _compiled(pattern).match(name) is not None


@functools.lru_cache(1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    # A pattern with few stars ends soon on a name of bounded length; runs of stars are one.
    return re.compile(fnmatch.translate(re.sub(r"\*+", "*", pattern)))
