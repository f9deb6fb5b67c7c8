"""Recent events at GitLab, read from its lists as they would have been delivered.

Sources: https://docs.gitlab.com/api/rest/, https://docs.gitlab.com/user/project/integrations/webhook_events/
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from keruta.adapters.forges.rest import (
    PAGE,
    Rest,
    commit_of,
    commits_by_name,
    is_since,
    list_of,
    number_of,
    segment,
    set_later,
    text_of,
)
from keruta.ports.forges import NamedPayload


class GitLabFound(Rest):
    """The part of `keruta.ports.forges.ForgeApi` that reads what GitLab may not have delivered."""

    pull_request_event = "Merge Request Hook"
    comment_event = "Note Hook"

    def branches(self, repository: str) -> dict[str, str] | None:
        return commits_by_name(self.pages(f"{project(repository)}/repository/branches", {}), "commit", "id")

    def tags(self, repository: str) -> dict[str, str] | None:
        return commits_by_name(self.pages(f"{project(repository)}/repository/tags", {}), "commit", "id")

    def push_payload(self, repository: str, ref: str, before: str, after: str) -> dict[str, Any]:
        # Which files it changed is not known: it is let through by paths.
        return {
            "object_kind": "tag_push" if ref.startswith("refs/tags/") else "push", "ref": ref, "before": before,
            "after": after, "commits": [], "total_commits_count": 1, "checkout_sha": after,
            "project": {"path_with_namespace": repository},
        }  # fmt: skip

    def open_pull_requests(self, repository: str) -> list[tuple[int, str, dict[str, Any]]] | None:
        found = self.pages(f"{project(repository)}/merge_requests", {"state": "opened"})
        if found is None:
            return None
        return [
            (number_of(one, "iid"), commit, _merge_request_payload(repository, one, commit))
            for one in found
            if (commit := commit_of(one, "sha")) is not None
        ]

    def closed_payload(self, repository: str, number: int, at: datetime) -> dict[str, Any]:
        own = {"iid": number, "action": "close", "updated_at": at.astimezone(UTC).isoformat()}
        return {
            "object_kind": "merge_request", "project": {"path_with_namespace": repository}, "object_attributes": own
        }  # fmt: skip

    def labels_put(self, repository: str, number: int, at: datetime) -> list[str]:
        return []  # each event says what it has changed

    def comments_since(self, repository: str, since: datetime, *, labels: bool = False) -> list[dict[str, Any]]:
        """GitLab lists comments of one issue or merge request alone: of those that were changed since."""
        found = []
        for kind, subject in (("issues", "issue"), ("merge_requests", "merge_request")):
            path = f"{project(repository)}/{kind}"
            for thread in self._changed(path, since):
                query: dict[str, str | int] = {"order_by": "created_at", "sort": "desc", "per_page": PAGE}
                for note in list_of(self.ask("GET", f"{path}/{number_of(thread, 'iid')}/notes", query=query)):
                    if isinstance(note, dict) and _is_public(note) and is_since(note, "created_at", since):
                        found.append(_note_payload(repository, subject, thread, note))
        return found

    def _changed(self, path: str, since: datetime) -> list[dict[str, Any]]:
        """Return the hundred issues or merge requests that were changed last, of those that were since."""
        query: dict[str, str | int] = {"updated_after": since.astimezone(UTC).isoformat(), "order_by": "updated_at"}
        threads = list_of(self.ask("GET", path, query={**query, "sort": "desc", "per_page": PAGE}))
        return [one for one in threads if isinstance(one, dict)]

    def issues_since(self, repository: str, since: datetime) -> list[NamedPayload]:
        """GitLab lists who was assigned for people alone, in words."""
        path, found = f"{project(repository)}/issues", []
        for issue in self._changed(path, since):
            whole = self.pages(f"{path}/{number_of(issue, 'iid')}/resource_label_events", {}) or []
            put = [one for one in whole if isinstance(one, dict) and text_of(one, "action") == "add"]
            labels = set_later(issue, [(text_of(one, "label", "name"), one) for one in put])
            if is_since(issue, "created_at", since):
                found.append(_issue_payload(repository, issue, "open", issue, without=set(labels)))
            times: dict[str, list[str]] = {}
            for name, one in labels.items():
                if is_since(one, "created_at", since):
                    times.setdefault(text_of(one, "created_at"), []).append(name)
            for at, names in times.items():
                done = {"created_at": at, "user": labels[names[0]].get("user")}
                found.append(_issue_payload(repository, issue, "update", done, added=names))
        return [("Issue Hook", one) for one in found]

    def reviews_since(self, repository: str, since: datetime) -> list[NamedPayload]:
        return []  # they are among the comments

    def redeliver(self, repository: str, address: str, since: datetime) -> int:
        return 0


def project(name: str) -> str:
    return f"/projects/{segment(name)}"


def _is_public(note: dict[str, Any]) -> bool:
    """Say whether a person wrote a note for all who see the thread: of others no event is sent that keruta takes."""
    return not (note.get("system") or note.get("internal") or note.get("confidential"))


def _note_payload(repository: str, subject: str, thread: dict[str, Any], note: dict[str, Any]) -> dict[str, Any]:
    """Return the payload that is sent of a new comment on an issue or a merge request.

    Source: https://docs.gitlab.com/user/project/integrations/webhook_events/#comment-events
    """
    kept = ("iid", "title", "source_branch", "target_branch", "source_project_id", "target_project_id")
    of = {name: thread[name] for name in kept if name in thread}
    labels = [{"title": name} for name in thread.get("labels") or () if isinstance(name, str)]
    last = {"last_commit": {"id": thread.get("sha")}} if subject == "merge_request" else {}
    own = {
        "id": note.get("id"), "note": note.get("body"), "type": note.get("type"), "action": "create",
        "created_at": note.get("created_at"), "updated_at": note.get("updated_at"),
        "url": f"{text_of(thread, 'web_url')}#note_{number_of(note, 'id')}",
    }  # fmt: skip
    return {
        "object_kind": "note", "project": {"path_with_namespace": repository}, "user": note.get("author"),
        "object_attributes": own, subject: {**of, **last, "labels": labels},
    }  # fmt: skip


def _merge_request_payload(repository: str, found: Any, commit: str) -> dict[str, Any]:
    """Return the payload that is sent of an open merge request."""
    kept = ("iid", "title", "source_branch", "target_branch", "source_project_id", "target_project_id", "updated_at",
            "description")  # fmt: skip
    own = {name: found.get(name) for name in kept}
    return {
        "object_kind": "merge_request", "project": {"path_with_namespace": repository}, "user": found.get("author"),
        "labels": [{"title": name} for name in found.get("labels") or () if isinstance(name, str)],
        "object_attributes": {**own, "action": "open", "last_commit": {"id": commit}, "url": found.get("web_url")},
    }  # fmt: skip


def _issue_payload(
    repository: str, issue: dict[str, Any], action: str, done: dict[str, Any], *, added: Sequence[str] = (),
    without: Collection[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return the payload that is sent of an issue that was opened, or on which labels were put."""
    labels = [{"title": name} for name in issue.get("labels") or () if isinstance(name, str) and name not in without]
    own = {name: issue.get(name) for name in ("iid", "title", "description")}
    changes = {"labels": {"previous": [], "current": [{"title": name} for name in added]}}
    return {
        "object_kind": "issue", "project": {"path_with_namespace": repository}, "labels": labels,
        "user": done.get("user") or done.get("author"), **({"changes": changes} if added else {}),
        "object_attributes": {
            **own, "action": action, "updated_at": done.get("created_at"), "url": issue.get("web_url"),
        },
    }  # fmt: skip
