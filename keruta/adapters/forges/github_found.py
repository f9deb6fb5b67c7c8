"""Recent events at GitHub, read from its lists as they would have been delivered.

Sources: https://docs.github.com/en/rest (2022-11-28), https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keruta.adapters.forges.rest import (
    PAGE,
    Rest,
    commit_of,
    commits_by_name,
    is_since,
    list_of,
    named,
    number_of,
    stamp,
    text_of,
)
from keruta.ports.forges import NamedPayload

ISSUE_CHANGES = frozenset({"reopened", "labeled", "assigned"})


class GitHubFound(Rest):
    """The part of `keruta.ports.forges.ForgeApi` that reads what GitHub may not have delivered."""

    pull_request_event = "pull_request"
    comment_event = "issue_comment"
    branch_commit = ("commit", "sha")  # where a branch of its list has the commit's id

    def branches(self, repository: str) -> dict[str, str] | None:
        found = self.pages(f"/repos/{named(repository)}/branches", {}, of=repository)
        return commits_by_name(found, *self.branch_commit)

    def tags(self, repository: str) -> dict[str, str] | None:
        return commits_by_name(self.pages(f"/repos/{named(repository)}/tags", {}, of=repository), "commit", "sha")

    def push_payload(self, repository: str, ref: str, before: str, after: str) -> dict[str, Any]:
        # Which files it changed is not known: it is let through by paths.
        return {
            "ref": ref, "before": before, "after": after, "head_commit": {"id": after}, "total_commits": 1,
            "commits": [], "repository": {"full_name": repository},
        }  # fmt: skip

    def open_pull_requests(self, repository: str) -> list[tuple[int, str, dict[str, Any]]] | None:
        found = self.pages(f"/repos/{named(repository)}/pulls", {"state": "open"}, of=repository)
        if found is None:
            return None
        whole = {"repository": {"full_name": repository}, "action": "synchronize"}
        return [
            (number_of(one, "number"), commit, {**whole, "pull_request": one, "sender": one.get("user")})
            for one in found
            if isinstance(one, dict) and (commit := commit_of(one, "head", "sha")) is not None
        ]

    def closed_payload(self, repository: str, number: int, at: datetime) -> dict[str, Any]:
        pull = {"number": number, "updated_at": at.astimezone(UTC).isoformat()}
        return {"action": "closed", "pull_request": pull, "repository": {"full_name": repository}}

    def labels_put(self, repository: str, number: int, at: datetime) -> list[str]:
        return []  # each event names one

    def comments_since(self, repository: str, since: datetime, *, labels: bool = False) -> list[dict[str, Any]]:
        changed: dict[str, str | int] = {"since": stamp(since)}
        found = self.pages(f"/repos/{named(repository)}/issues/comments", changed, of=repository) or []
        said = [_comment(repository, one) for one in found if is_since(one, "created_at", since)]
        return self._labelled(repository, said) if labels else said

    def _labelled(self, repository: str, comments: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return comments with title and labels of what they are on, which the list of comments does not say."""
        issues: dict[int, Any] = {}
        for number in {one["issue"]["number"] for one in comments} - {None}:
            issues[number] = self.found(f"/repos/{named(repository)}/issues/{number}", of=repository)
        return [
            {**one, "issue": {**one["issue"], **{
                name: issue[name] for name in ("title", "labels") if isinstance(issue, dict) and name in issue
            }}}
            for one in comments for issue in [issues.get(one["issue"]["number"])]
        ]  # fmt: skip

    def issues_since(self, repository: str, since: datetime) -> list[NamedPayload]:
        path = f"/repos/{named(repository)}/issues"
        changed: dict[str, str | int] = {"since": stamp(since), "state": "all"}
        found = self.pages(path, changed, of=repository) or []
        done = [("opened", one, one) for one in found if is_since(one, "created_at", since)]
        later = self.newest(f"{path}/events", {}, "created_at", since, of=repository)
        done += [(text_of(one, "event"), one.get("issue"), one) for one in later if one.get("event") in ISSUE_CHANGES]
        return [
            ("issues", _issue(repository, action, issue, one)) for action, issue, one in done
            if isinstance(issue, dict) and issue.get("pull_request") is None
        ]  # fmt: skip

    def reviews_since(self, repository: str, since: datetime) -> list[NamedPayload]:
        path, found = f"/repos/{named(repository)}/pulls", []
        recent: dict[str, str | int] = {"state": "open", "sort": "updated", "direction": "desc"}
        for pull in self.newest(path, recent, "updated_at", since, of=repository):
            whole = {"repository": {"full_name": repository}, "pull_request": pull}
            own = f"{path}/{number_of(pull, 'number')}"
            for one in self.pages(f"{own}/reviews", {}, of=repository) or []:
                if is_since(one, "submitted_at", since):
                    said = {**whole, "action": "submitted", "review": one, "sender": one.get("user")}
                    found.append(("pull_request_review", said))
            for one in self.pages(f"{own}/comments", {"since": stamp(since)}, of=repository) or []:
                if is_since(one, "created_at", since):
                    said = {**whole, "action": "created", "comment": one, "sender": one.get("user")}
                    found.append(("pull_request_review_comment", said))
        return found

    def redeliver(self, repository: str, address: str, since: datetime) -> int:
        hooks = f"/repos/{named(repository)}/hooks"
        own = [one for one in list_of(self.ask("GET", hooks, of=repository, query={"per_page": PAGE}))
               if text_of(one, "config", "url") == address]  # fmt: skip
        count, at = 0, stamp(since)
        for hook in own[:1]:
            path = f"{hooks}/{number_of(hook, 'id')}/deliveries"
            found = list_of(self.ask("GET", path, of=repository, query={"per_page": PAGE}))
            taken = {text_of(one, "guid") for one in found if 200 <= number_of(one, "status_code") < 300}
            failed = {text_of(one, "guid"): number_of(one, "id") for one in found
                      if text_of(one, "delivered_at") >= at and text_of(one, "guid") not in taken}  # fmt: skip
            for identity in failed.values():
                self.ask("POST", f"{path}/{identity}/attempts", of=repository)
                count += 1
        return count


def _comment(repository: str, comment: dict[str, Any]) -> dict[str, Any]:
    """Return the payload that is sent of a new comment."""
    link = text_of(comment, "issue_url") or text_of(comment, "pull_request_url")
    number = link.rpartition("/")[2]
    # .../OWNER/NAME/pull/7#issuecomment-1 at GitHub, and .../pulls/7#… at Gitea.
    kind = text_of(comment, "html_url").partition("#")[0].rsplit("/", 2)
    on_pull = len(kind) == 3 and kind[1] in ("pull", "pulls")
    issue: dict[str, Any] = {"number": int(number) if number.isascii() and number.isdigit() else None}
    if on_pull:
        issue["pull_request"] = {}
    return {
        "action": "created", "repository": {"full_name": repository}, "issue": issue, "comment": comment,
        "sender": comment.get("user"),
    }  # fmt: skip


def _issue(repository: str, action: str, issue: Any, done: dict[str, Any]) -> dict[str, Any]:
    """Return the payload that is sent of an issue to which something was done."""
    at, by = text_of(done, "created_at"), done.get("assigner") or done.get("actor") or done.get("user")
    more: dict[str, Any] = {name: done[name] for name in ("label", "assignee") if name in done}
    return {
        "action": action, "repository": {"full_name": repository}, "issue": {**issue, "updated_at": at}, "sender": by,
        **more,
    }  # fmt: skip
