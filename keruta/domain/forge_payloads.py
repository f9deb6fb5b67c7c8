"""Events as forges write them: reads payloads of which any part may be missing, or of another type.

Sources: https://docs.github.com/en/webhooks/webhook-events-and-payloads,
https://docs.gitlab.com/user/project/integrations/webhook_events/,
https://docs.gitea.com/usage/webhooks
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from keruta.domain.catalog.triggers import EventKind, Provider
from keruta.domain.forges import MARK, ForgeEvent

COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
TEXT_LETTERS = 500
UNPRINTABLE = "\ufffd"
PATHS_MOST = 50_000
PATHS_LETTERS_MOST = 1_000_000  # beside the body, in a document of 16 MiB; a letter has up to four bytes
GLOB_LETTERS = 4096
GITHUB_COMMITS = 2048  # so many are named of a push at most

# The forges' own words for what happened, in one word for all of them; others are as they are.
CHANGES = {
    "open": "opened", "reopen": "reopened", "synchronize": "synchronized", "close": "closed", "merge": "closed",
    "label_updated": "labeled", "label_cleared": "unlabeled", "ready_for_review": "ready", "create": "created",
}  # fmt: skip


def read_event(provider: Provider, name: str, payload: Mapping[str, Any]) -> ForgeEvent:
    """Read a payload. What is missing or of another type is as if it were not said; raises nothing."""
    found = _gitlab(payload) if provider == "gitlab" else _github(provider, name, payload)
    if found.kind is None or not found.identity:
        digest = hashlib.sha256(msgspec.json.encode(payload, order="deterministic")).hexdigest()
        found = msgspec.structs.replace(found, identity=f"{name} {digest}")
    change = found.change or CHANGES.get(found.action or "", found.action)
    return msgspec.structs.replace(found, name=name, change=change)


# ---------------------------------------------------------------- GitHub, and Gitea, which sends the same fields


def _github(provider: Provider, name: str, payload: Mapping[str, Any]) -> ForgeEvent:
    common: dict[str, Any] = {
        "repository": _name(payload, "repository", "full_name") or "",
        "sender": _text(payload, "sender", "login"),
        "action": _text(payload, "action"),
    }
    if name == "push":
        commits = _list(payload.get("commits"))
        total = payload.get("total_commits")
        whole = len(commits) < GITHUB_COMMITS if total is None else total == len(commits)
        # An annotated tag is an object of its own; the commit that it is on is said beside it.
        tagged = _commit(_text(payload, "head_commit", "id"))
        return _push(payload, common, commits if whole else None, tagged)
    if name in ("pull_request", "pull_request_label", "pull_request_sync"):
        return _pull_request(payload, {**common, "added": _added(provider, payload, common["action"])})
    if name in ("issue_comment", "pull_request_comment"):
        at = _text(payload, "comment", "updated_at") or _text(payload, "comment", "created_at")
        return ForgeEvent(
            **common, kind="comment",
            number=_number(payload, "issue", "number"), title=_text(payload, "issue", "title"),
            labels=_labels(_at(payload, "issue", "labels")), at=_moment(at),
            pull_request=bool(_at(payload, "issue", "pull_request")), url=_link(payload, "comment", "html_url"),
            own=_is_own(payload, "comment", "body"),
            identity=f"comment {_number(payload, 'comment', 'id')} {common['action']} {at}",
        )  # fmt: skip
    if name in ("issues", "issue_label", "issue_assign"):
        number, at = _number(payload, "issue", "number"), _text(payload, "issue", "updated_at")
        added = _added(provider, payload, common["action"])
        return ForgeEvent(
            **common, kind="issue", number=number, title=_text(payload, "issue", "title"), added=added,
            labels=_labels(_at(payload, "issue", "labels")), at=_moment(at), url=_link(payload, "issue", "html_url"),
            identity=f"issue {number} {common['action']} {','.join(added or ())} {at}",
        )  # fmt: skip
    return ForgeEvent(**common)


def _added(provider: Provider, payload: Mapping[str, Any], action: str | None) -> list[str] | None:
    """The labels that an event has put on; None where it does not say, or is not about labels.

    GitHub tells of each label of a new issue by an event of its own.
    """
    if provider != "github" or action not in ("opened", "labeled"):
        return None
    return _labels([payload.get("label")]) if action == "labeled" else []


def _pull_request(payload: Mapping[str, Any], common: dict[str, Any]) -> ForgeEvent:
    head, base = ("pull_request", "head"), ("pull_request", "base")
    commit, added = _commit(_text(payload, *head, "sha")), common["added"]
    at, number = _text(payload, "pull_request", "updated_at"), _number(payload, "pull_request", "number")
    # A head without a repository is a fork that was deleted.
    return ForgeEvent(
        **common, kind="pull_request", number=number, title=_text(payload, "pull_request", "title"), commit=commit,
        ref=_name(payload, *head, "ref"), base=_name(payload, *base, "ref"),
        labels=_labels(_at(payload, "pull_request", "labels")),
        fork=_number(payload, *head, "repo", "id") is None
        or _number(payload, *head, "repo", "id") != _number(payload, *base, "repo", "id"),
        at=_moment(at), pull_request=True, url=_link(payload, "pull_request", "html_url"),
        own=common["action"] == "opened" and _is_own(payload, "pull_request", "body"),
        identity=f"pull_request {number} {common['action']} {','.join(added or ())} {commit} {at}",
    )  # fmt: skip


def _push(
    payload: Mapping[str, Any], common: dict[str, Any], commits: list[Any] | None, tagged: str | None
) -> ForgeEvent:
    """A push of a branch or of a tag; GitLab's has the same fields for these.

    Args:
        commits: None where the payload does not name all of them.
        tagged: the commit that a pushed tag is on.
    """
    full, before, after = _name(payload, "ref") or "", _text(payload, "before"), _text(payload, "after")
    kind: EventKind = "tag" if full.startswith("refs/tags/") else "push"
    ref = full.removeprefix("refs/tags/").removeprefix("refs/heads/")
    deleted = after is not None and set(after) == {"0"}
    commit = (tagged if kind == "tag" else None) or _commit(after)
    return ForgeEvent(
        **common, kind=kind, ref=ref, base=ref, commit=None if deleted else commit, deleted=deleted,
        url=_link(payload, "compare_url") or _link(payload, "compare"),
        paths=_paths(commits) if commits is not None else None,
        identity=f"{kind} {common['repository']} {full} {before} {after}",
    )  # fmt: skip


# ---------------------------------------------------------------- GitLab


def _gitlab(payload: Mapping[str, Any]) -> ForgeEvent:
    kind = _text(payload, "object_kind")
    common: dict[str, Any] = {
        "repository": _name(payload, "project", "path_with_namespace") or "",
        "sender": _text(payload, "user_username") or _text(payload, "user", "username"),
        "action": _text(payload, "object_attributes", "action"),
    }
    own = ("object_attributes",)
    number, at = _number(payload, *own, "iid"), _text(payload, *own, "updated_at")
    if kind in ("push", "tag_push"):
        commits = _list(payload.get("commits"))
        total = payload.get("total_commits_count")
        tagged = _commit(_text(payload, "checkout_sha"))
        return _push(payload, common, commits if total == len(commits) else None, tagged)
    if kind == "merge_request":
        commit = _commit(_text(payload, *own, "last_commit", "id"))
        source, target = _number(payload, *own, "source_project_id"), _number(payload, *own, "target_project_id")
        return ForgeEvent(
            **common, kind="pull_request", number=number, title=_text(payload, *own, "title"), commit=commit,
            ref=_name(payload, *own, "source_branch"), base=_name(payload, *own, "target_branch"),
            labels=_labels(payload.get("labels")), fork=source is None or source != target, **_updated(payload),
            pull_request=True, url=_link(payload, *own, "url"),
            own=common["action"] == "open" and _is_own(payload, *own, "description"),
            at=_moment(at), identity=f"pull_request {number} {common['action']} {commit} {at}",
        )  # fmt: skip
    if kind == "note":
        subject = "merge_request" if _at(payload, "merge_request") else "issue"
        return ForgeEvent(
            **common, kind="comment", number=_number(payload, subject, "iid"), title=_text(payload, subject, "title"),
            labels=_labels(_at(payload, subject, "labels")), at=_moment(at),
            pull_request=subject == "merge_request", url=_link(payload, *own, "url"),
            own=_is_own(payload, *own, "note"),
            change=None if common["action"] else "created",  # GitLab before 16 told of new ones alone
            identity=f"comment {_number(payload, *own, 'id')} {common['action']} {at}",
        )  # fmt: skip
    if kind == "issue":
        return ForgeEvent(
            **common, kind="issue", number=number, title=_text(payload, *own, "title"),
            labels=_labels(payload.get("labels")), at=_moment(at), url=_link(payload, *own, "url"), **_updated(payload),
            identity=f"issue {number} {common['action']} {at}",
        )  # fmt: skip
    return ForgeEvent(**common)


def _updated(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the action behind GitLab's `update`: new commits, labels, a draft that is ready, or a changed text."""
    if _text(payload, "object_attributes", "action") != "update":
        return {}
    if _text(payload, "object_attributes", "oldrev"):
        return {"change": "synchronized"}
    changes = _at(payload, "changes") or {}
    if _at(changes, "draft", "current") is False:
        return {"change": "ready"}
    before, after = (_labels(_at(changes, "labels", when)) for when in ("previous", "current"))
    if added := [label for label in after if label not in before]:
        return {"change": "labeled", "added": added}
    return {"change": "unlabeled" if before != after else "edited"}


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


def _name(payload: Any, *path: str) -> str | None:
    """A name with a mark in place of what is not printable: so it is no other name, such as a protected branch's."""
    found = _at(payload, *path)
    if not isinstance(found, str):
        return None
    return "".join(one if one.isprintable() else UNPRINTABLE for one in found[:TEXT_LETTERS])


def _link(payload: Any, *path: str) -> str | None:
    """An address that a page may link to."""
    found = _text(payload, *path) or ""
    return found if found.startswith(("https://", "http://")) else None


def _is_own(payload: Any, *path: str) -> bool:
    """Say whether a text holds keruta's mark, so that it does not answer itself."""
    found = _at(payload, *path)
    return isinstance(found, str) and MARK in found


def _number(payload: Any, *path: str) -> int | None:
    found = _at(payload, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 2**63 else None


def _moment(text: str | None) -> datetime | None:
    try:
        # GitLab writes "2026-01-01 10:00:00 UTC" in some events.
        at = datetime.fromisoformat((text or "").removesuffix(" UTC"))
        return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


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
    letters = 0
    for commit in commits:
        for part in ("added", "modified", "removed"):
            names = _at(commit, part)
            if not isinstance(names, list):
                return None
            those = [name[:GLOB_LETTERS] for name in names if isinstance(name, str)]
            letters += sum(len(name) for name in those)
            found |= dict.fromkeys(those)
        if len(found) > PATHS_MOST or letters > PATHS_LETTERS_MOST:
            return None
    return list(found)
