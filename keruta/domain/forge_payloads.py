"""Events as forges write them: reads payloads of which any part may be missing, or of another type.

Sources: https://docs.github.com/en/webhooks/webhook-events-and-payloads,
https://docs.gitlab.com/user/project/integrations/webhook_events/,
https://docs.gitea.com/usage/webhooks
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from keruta.domain.catalog.triggers import EventKind, Provider
from keruta.domain.forges import CONTEXT, ForgeEvent
from keruta.domain.naming import TASK_ID
from keruta.domain.payload_parts import (
    comment_identity,
    commit_of,
    has_mark,
    labels_of,
    link_at,
    list_of,
    moment_of,
    name_at,
    number_at,
    part,
    paths_of,
    task_at,
    text_at,
    written_at,
)

GITHUB_COMMITS = 2048  # so many are named of a push at most
FAILED = frozenset({"failure", "failed", "error", "timed_out", "action_required", "startup_failure"})

# The forges' own words for what happened, in one word for all of them; others are as they are.
CHANGES = {
    "open": "opened", "reopen": "reopened", "synchronize": "synchronized", "close": "closed", "merge": "closed",
    "reviewed": "created",
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
        "repository": name_at(payload, "repository", "full_name") or "",
        "sender": text_at(payload, "sender", "login"),
        "sender_id": number_at(payload, "sender", "id"),
        "action": text_at(payload, "action"),
    }
    if name == "push":
        commits = list_of(payload.get("commits"))
        total = payload.get("total_commits")
        whole = len(commits) < GITHUB_COMMITS if total is None else total == len(commits)
        # An annotated tag is an object of its own; the commit that it is on is said beside it.
        tagged = commit_of(text_at(payload, "head_commit", "id"))
        return _push(payload, common, commits if whole else None, tagged)
    if name in ("pull_request", "pull_request_label", "pull_request_sync"):
        added = _added(provider, payload, common["action"])
        done = _done(provider, payload, "pull_request", common["action"], added)
        return _pull_request(payload, {**common, "added": added}, done)
    if name in REVIEWS and "pull_request" in payload:
        return _review(name, payload, common)
    if name == "merge_group":
        return _merge_group(payload, common)
    if name in ("check_run", "status"):
        return _check(name, payload, common)
    if name in ("issue_comment", "pull_request_comment"):
        at = text_at(payload, "comment", "updated_at") or text_at(payload, "comment", "created_at")
        return ForgeEvent(
            **common, kind="comment",
            number=number_at(payload, "issue", "number"), title=text_at(payload, "issue", "title"),
            labels=labels_of(part(payload, "issue", "labels")), at=moment_of(at),
            pull_request=part(payload, "issue", "pull_request") is not None,
            url=link_at(payload, "comment", "html_url"),
            identity=comment_identity(payload, "comment", common["action"], at),
            **written_at(payload, "comment", "body"),
        )  # fmt: skip
    if name in ("issues", "issue_label", "issue_assign"):
        number, at = number_at(payload, "issue", "number"), text_at(payload, "issue", "updated_at")
        added = _added(provider, payload, common["action"])
        return ForgeEvent(
            **common, kind="issue", number=number, title=text_at(payload, "issue", "title"), added=added,
            labels=labels_of(part(payload, "issue", "labels")), at=moment_of(at),
            url=link_at(payload, "issue", "html_url"),
            identity=f"issue {number} {_done(provider, payload, 'issue', common['action'], added)} {at}",
        )  # fmt: skip
    return ForgeEvent(**common)


def _done(provider: Provider, payload: Mapping[str, Any], of: str, action: str | None, added: list[str] | None) -> str:
    """Return what was done to an issue or a pull request, as a part of the event's identity.

    Gitea tells of the labels that one was opened with a second time. Of others it names all that are there now, and
    two may come in one second.
    """
    if provider == "gitea" and action == "label_updated":
        if text_at(payload, of, "created_at") == text_at(payload, of, "updated_at"):
            return "opened "
        added = labels_of(part(payload, of, "labels"))
    return f"{action} {','.join(added or ())}"


def _added(provider: Provider, payload: Mapping[str, Any], action: str | None) -> list[str] | None:
    """The labels that an event has put on; None where it does not say, or is not about labels.

    GitHub tells of each label of a new issue by an event of its own.
    """
    if provider != "github" or action not in ("opened", "labeled"):
        return None
    return labels_of([payload.get("label")]) if action == "labeled" else []


def _pull_request(payload: Mapping[str, Any], common: dict[str, Any], done: str) -> ForgeEvent:
    head, base = ("pull_request", "head"), ("pull_request", "base")
    commit = commit_of(text_at(payload, *head, "sha"))
    at, number = text_at(payload, "pull_request", "updated_at"), number_at(payload, "pull_request", "number")
    # A head without a repository is a fork that was deleted.
    return ForgeEvent(
        **common, kind="pull_request", number=number, title=text_at(payload, "pull_request", "title"), commit=commit,
        ref=name_at(payload, *head, "ref"), base=name_at(payload, *base, "ref"),
        labels=labels_of(part(payload, "pull_request", "labels")),
        fork=number_at(payload, *head, "repo", "id") is None
        or number_at(payload, *head, "repo", "id") != number_at(payload, *base, "repo", "id"),
        at=moment_of(at), pull_request=True, url=link_at(payload, "pull_request", "html_url"),
        own=common["action"] == "opened" and has_mark(payload, "pull_request", "body"),
        task=task_at(payload, "pull_request", "body"),
        identity=f"pull_request {number} {done} {commit} {at}",
    )  # fmt: skip


REVIEWS = frozenset({
    "pull_request_review", "pull_request_review_comment", "pull_request_comment", "pull_request_approved",
    "pull_request_rejected",
})  # fmt: skip


def _review(name: str, payload: Mapping[str, Any], common: dict[str, Any]) -> ForgeEvent:
    """Read a review of a pull request, or one comment on a line of it; Gitea's review has no number of its own."""
    of = "comment" if "comment" in payload else "review"
    text = "content" if isinstance(part(payload, of, "content"), str) else "body"
    at = text_at(payload, of, "updated_at") or text_at(payload, of, "submitted_at")
    number = number_at(payload, of, "id")
    found = _pull_request(payload, {**common, "added": None}, "")
    # GitHub tells of a review's comments one by one beside it: a review without words of its own adds nothing. Gitea
    # does not, so it adds nothing there if it approves.
    told = number is not None or common["action"] != "reviewed" or name == "pull_request_approved"
    silent = of == "review" and told and not (part(payload, of, text) or "").strip()
    return msgspec.structs.replace(
        found, kind="review_comment", at=moment_of(at) or found.at, url=link_at(payload, of, "html_url") or found.url,
        change="silent" if silent else {"submitted": "created"}.get(common["action"] or ""),
        # A review and a comment may have the same number.
        identity=f"review {comment_identity(payload, of, common['action'], at, of)}" if number is not None else "",
        **written_at(payload, of, text),
    )  # fmt: skip


def _merge_group(payload: Mapping[str, Any], common: dict[str, Any]) -> ForgeEvent:
    """Read GitHub's question for the checks of a group that waits to be merged."""
    of = "merge_group"
    ref, base = name_at(payload, of, "head_ref") or "", name_at(payload, of, "base_ref") or ""
    commit = commit_of(text_at(payload, of, "head_sha"))
    return ForgeEvent(
        **common, kind="merge_group", ref=ref.removeprefix("refs/heads/"), base=base.removeprefix("refs/heads/"),
        commit=commit, identity=f"merge_group {common['action']} {ref} {commit}",
    )  # fmt: skip


def _check(name: str, payload: Mapping[str, Any], common: dict[str, Any]) -> ForgeEvent:
    """Read the end of a check: `change` is `failed`, or another word."""
    at: str | None
    if name == "check_run":
        of, commit = "check_run", text_at(payload, "check_run", "head_sha")
        check, ended = text_at(payload, of, "name"), common["action"] == "completed"
        failed = ended and text_at(payload, of, "conclusion") in FAILED
        at, url = text_at(payload, of, "completed_at"), link_at(payload, of, "html_url")
        ref, number = name_at(payload, of, "check_suite", "head_branch"), number_at(payload, of, "id")
    else:
        commit, check = text_at(payload, "sha"), text_at(payload, "context")
        failed = text_at(payload, "state") in FAILED
        at, url, number = text_at(payload, "updated_at"), link_at(payload, "target_url"), number_at(payload, "id")
        ref = next((name_at(one, "name") for one in list_of(payload.get("branches"))), None)
    return _checked(common, check, failed, commit, ref, url, at, f"{name} {number}")


def _checked(
    common: dict[str, Any], check: str | None, failed: bool, commit: str | None, ref: str | None, url: str | None,
    at: str | None, identity: str,
) -> ForgeEvent:  # fmt: skip
    own = (check or "").startswith(CONTEXT)
    last = (url or "").rpartition("/")[2]
    return ForgeEvent(
        **{**common, "action": "failed" if failed else "other"}, kind="check_failed", check=check, ref=ref, base=ref,
        commit=commit_of(commit), url=url, own=own, task=last if own and TASK_ID.fullmatch(last) else None,
        at=moment_of(at), identity=f"check {identity}",
    )  # fmt: skip


def _push(
    payload: Mapping[str, Any], common: dict[str, Any], commits: list[Any] | None, tagged: str | None
) -> ForgeEvent:
    """A push of a branch or of a tag; GitLab's has the same fields for these.

    Args:
        commits: None where the payload does not name all of them.
        tagged: the commit that a pushed tag is on.
    """
    full, before, after = name_at(payload, "ref") or "", text_at(payload, "before"), text_at(payload, "after")
    kind: EventKind = "tag" if full.startswith("refs/tags/") else "push"
    ref = full.removeprefix("refs/tags/").removeprefix("refs/heads/")
    deleted = after is not None and set(after) == {"0"}
    commit = (tagged if kind == "tag" else None) or commit_of(after)
    return ForgeEvent(
        **common, kind=kind, ref=ref, base=ref, commit=None if deleted else commit, deleted=deleted,
        url=link_at(payload, "compare_url") or link_at(payload, "compare"),
        paths=paths_of(commits) if commits is not None else None,
        identity=f"{kind} {common['repository']} {full} {before} {after}",
    )  # fmt: skip


# ---------------------------------------------------------------- GitLab


def _gitlab(payload: Mapping[str, Any]) -> ForgeEvent:
    kind = text_at(payload, "object_kind")
    common: dict[str, Any] = {
        "repository": name_at(payload, "project", "path_with_namespace") or "",
        "sender": text_at(payload, "user_username") or text_at(payload, "user", "username"),
        "sender_id": next(
            (found for path in (("user_id",), ("user", "id")) if (found := number_at(payload, *path)) is not None), None
        ),
        "action": text_at(payload, "object_attributes", "action"),
    }
    own = ("object_attributes",)
    number, at = number_at(payload, *own, "iid"), text_at(payload, *own, "updated_at")
    if kind in ("push", "tag_push"):
        commits = list_of(payload.get("commits"))
        total = payload.get("total_commits_count")
        tagged = commit_of(text_at(payload, "checkout_sha"))
        return _push(payload, common, commits if total == len(commits) else None, tagged)
    if kind == "merge_request":
        commit = commit_of(text_at(payload, *own, "last_commit", "id"))
        source, target = number_at(payload, *own, "source_project_id"), number_at(payload, *own, "target_project_id")
        return ForgeEvent(
            **common, kind="pull_request", number=number, title=text_at(payload, *own, "title"), commit=commit,
            ref=name_at(payload, *own, "source_branch"), base=name_at(payload, *own, "target_branch"),
            labels=labels_of(payload.get("labels")), fork=source is None or source != target, **_updated(payload),
            pull_request=True, url=link_at(payload, *own, "url"),
            own=common["action"] == "open" and has_mark(payload, *own, "description"),
            task=task_at(payload, *own, "description"),
            at=moment_of(at), identity=f"pull_request {number} {common['action']} {commit} {at}",
        )  # fmt: skip
    if kind == "pipeline":
        failed = text_at(payload, *own, "status") in FAILED
        return _checked(
            common, "pipeline", failed, text_at(payload, *own, "sha"), name_at(payload, *own, "ref"),
            link_at(payload, *own, "url"), text_at(payload, *own, "finished_at"),
            f"pipeline {number_at(payload, *own, 'id')}",
        )  # fmt: skip
    if kind == "note":
        subject = "merge_request" if part(payload, "merge_request") else "issue"
        on_lines = text_at(payload, *own, "type") in ("DiffNote", "DiscussionNote") and subject == "merge_request"
        return ForgeEvent(
            **common, kind="review_comment" if on_lines else "comment",
            number=number_at(payload, subject, "iid"), title=text_at(payload, subject, "title"),
            labels=labels_of(part(payload, subject, "labels")), at=moment_of(at),
            pull_request=subject == "merge_request", url=link_at(payload, *own, "url"),
            change=None if common["action"] else "created",  # GitLab before 16 told of new ones alone
            identity=comment_identity(payload, own[0], common["action"] or "create", at),
            **(_on_branch(payload) if on_lines else {}), **written_at(payload, *own, "note"),
        )  # fmt: skip
    if kind == "issue":
        return ForgeEvent(
            **common, kind="issue", number=number, title=text_at(payload, *own, "title"),
            labels=labels_of(payload.get("labels")), at=moment_of(at), url=link_at(payload, *own, "url"),
            **_updated(payload), identity=f"issue {number} {common['action']} {at}",
        )  # fmt: skip
    return ForgeEvent(**common)


def _on_branch(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the branches and the commit of the merge request that a note is on."""
    of = ("merge_request",)
    source, target = number_at(payload, *of, "source_project_id"), number_at(payload, *of, "target_project_id")
    return {
        "ref": name_at(payload, *of, "source_branch"), "base": name_at(payload, *of, "target_branch"),
        "commit": commit_of(text_at(payload, *of, "last_commit", "id")), "fork": source is None or source != target,
    }  # fmt: skip


def _updated(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the action behind GitLab's `update`: new commits, labels, a draft that is ready, or a changed text."""
    if text_at(payload, "object_attributes", "action") != "update":
        return {}
    if text_at(payload, "object_attributes", "oldrev"):
        return {"change": "synchronized"}
    changes = part(payload, "changes") or {}
    if part(changes, "draft", "current") is False:
        return {"change": "ready"}
    before, after = (labels_of(part(changes, "labels", when)) for when in ("previous", "current"))
    if added := [label for label in after if label not in before]:
        return {"change": "labeled", "added": added}
    return {"change": "unlabeled" if before != after else "edited"}
