"""The REST API of Gitea and Forgejo, which is GitHub's with a few differences.

Source: https://docs.gitea.com/api (1.26)
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from keruta.adapters.forges.github import GitHub, is_own
from keruta.adapters.forges.rest import (
    AT_ONCE,
    is_since,
    list_of,
    named,
    number_of,
    segment,
    set_later,
    stamp,
    text_of,
)
from keruta.domain.catalog.forges import ForgeRepository
from keruta.domain.forge_answers import ForgeError
from keruta.domain.forge_posts import Hook, Posted, PullRequestText, Thread
from keruta.ports.forges import NamedPayload

LABELS_NEAR = timedelta(seconds=10)  # an issue's time and its timeline's differ by less
PAGE = 50  # the most that it gives by default
# What its timeline calls what was done to an issue, and a review, in the words of its events.
CHANGES = {"label": "label_updated", "assignees": "assigned", "reopen": "reopened"}
REVIEWS = {
    "APPROVED": "pull_request_approved", "REQUEST_CHANGES": "pull_request_rejected",
    "COMMENT": "pull_request_comment",
}  # fmt: skip


class Gitea(GitHub):
    """`keruta.ports.forges.ForgeApi` on Gitea."""

    accept = "application/json"
    branch_commit = ("commit", "id")
    scheme = "token"
    hook_type = "gitea"
    hook_events: ClassVar[dict[str, tuple[str, ...]]] = {
        "push": ("push",), "tag": ("push",),
        "pull_request": ("pull_request", "pull_request_sync", "pull_request_label"),
        "comment": ("issue_comment", "pull_request_comment"), "issue": ("issues", "issue_label", "issue_assign"),
        "review_comment": ("pull_request_review",), "check_failed": ("status",),
    }  # fmt: skip

    def repositories(self, page: int) -> list[ForgeRepository]:
        found = self.ask("GET", "/user/repos", query={"limit": PAGE, "page": page})
        return [self._repository(one) for one in list_of(found)]

    def put_hook(self, repository: str, hook: Hook) -> bool:
        """Replace what is there: Gitea changes a webhook, but leaves it the secret that it had."""
        path = f"/repos/{named(repository)}/hooks"
        found = list_of(self.ask("GET", path, of=repository, query=self._hooks_query()))
        earlier = [number_of(one, "id") for one in found if text_of(one, "config", "url") == hook.address]
        self.ask("POST", path, {self._hook_field(): self.hook_type, **self._hook(hook)}, of=repository)
        for identity in earlier:
            self.ask("DELETE", f"{path}/{identity}", of=repository)
        return not earlier

    def _hook_field(self) -> str:
        return "type"

    def _hooks_query(self) -> dict[str, str | int]:
        return {"limit": PAGE}

    def _comments_query(self, page: int) -> dict[str, str | int]:
        return {}  # all of them at once

    def find_comment(self, thread: Thread, marker: str) -> Posted | None:
        own = self.account().login
        for one in list_of(self.ask("GET", self._comments(thread), of=thread.repository)):
            if marker in text_of(one, "body") and text_of(one, "user", "login") == own:
                return self._posted(one, "id")
        return None

    page_size = PAGE

    def page(self, page: int) -> dict[str, str | int]:
        return {"limit": PAGE, "page": page}

    def labels_put(self, repository: str, number: int, at: datetime) -> list[str]:
        """Read them off the timeline, since an event names all labels that are there then."""
        path = f"/repos/{named(repository)}/issues/{number}/timeline"
        log = self.pages(path, {"since": stamp(at - LABELS_NEAR)}, of=repository) or []
        put = [one for one in log if text_of(one, "type") == "label" and text_of(one, "body") == "1"]
        told = [one for one in put if not is_since(one, "created_at", at + AT_ONCE)]
        last = text_of(told[-1], "created_at") if told else ""
        # Of labels that were put on at once there is one event.
        return [text_of(one, "label", "name") for one in told if text_of(one, "created_at") == last]

    def issues_since(self, repository: str, since: datetime) -> list[NamedPayload]:
        path, found = f"/repos/{named(repository)}/issues", []
        changed: dict[str, str | int] = {"since": stamp(since), "state": "all", "type": "issues"}
        for issue in self.pages(path, changed, of=repository) or []:
            log = self.pages(f"{path}/{number_of(issue, 'number')}/timeline", {}, of=repository) or []
            done = [(CHANGES.get(text_of(one, "type"), ""), one) for one in log if isinstance(one, dict)]
            put = [(text_of(one, "label", "name"), one) for change, one in done if change and one.get("body") == "1"]
            later = set_later(issue, put)
            if is_since(issue, "created_at", since):
                first = [one for one in issue.get("labels") or () if text_of(one, "name") not in later]
                found.append(_issue(repository, "opened", {**issue, "labels": first}, issue))
            found += [
                _issue(repository, change, issue, one) for change, one in done
                if is_since(one, "created_at", since) and _starts(change, one, later)
            ]  # fmt: skip
        return [("issues", one) for one in found]

    def reviews_since(self, repository: str, since: datetime) -> list[NamedPayload]:
        path, found = f"/repos/{named(repository)}/pulls", []
        recent: dict[str, str | int] = {"state": "open", "sort": "recentupdate"}
        for pull in self.newest(path, recent, "updated_at", since, of=repository):
            reviews = self.pages(f"{path}/{number_of(pull, 'number')}/reviews", {}, of=repository) or []
            for one in reviews:
                name = REVIEWS.get(text_of(one, "state"))
                if name is not None and is_since(one, "submitted_at", since):
                    of_then = {**pull, "updated_at": text_of(one, "submitted_at")}
                    said = {"type": name, "content": text_of(one, "body")}
                    found.append((name, {
                        "action": "reviewed", "repository": {"full_name": repository}, "pull_request": of_then,
                        "review": said, "sender": one.get("user"),
                    }))  # fmt: skip
        return found

    def redeliver(self, repository: str, address: str, since: datetime) -> int:
        return 0  # Gitea's API lists no deliveries

    def branches_at(self, repository: str, commit: str, ref: str | None) -> list[str]:
        heads = self.branches(repository) or {}
        return [name for name, head in heads.items() if head == commit]

    def find_pull_request(self, repository: str, head: str, base: str) -> Posted | None:
        try:
            path = f"/repos/{named(repository)}/pulls/{segment(base)}/{segment(head)}"
            found = self.ask("GET", path, of=repository)
        except ForgeError as error:
            if error.kind == "missing":
                return None
            raise
        return self._posted(found, "number") if text_of(found, "state") == "open" and is_own(found) else None

    def _words(self, wanted: PullRequestText) -> dict[str, Any]:
        title = f"WIP: {wanted.title}" if wanted.draft else wanted.title
        return {"title": title, "body": wanted.body}

    def _draft(self, wanted: PullRequestText) -> dict[str, Any]:
        return {}


def _starts(change: str, done: dict[str, Any], put: dict[str, dict[str, Any]]) -> bool:
    """Say whether an entry of an issue's timeline is an event that may start a task."""
    if change == "label_updated":
        return put.get(text_of(done, "label", "name")) is done
    return change == "reopened" or (change == "assigned" and done.get("removed_assignee") is not True)


def _issue(repository: str, action: str, issue: Any, done: dict[str, Any]) -> dict[str, Any]:
    """Return the payload that is sent of an issue to which something was done."""
    return {
        "action": action, "repository": {"full_name": repository}, "sender": done.get("user"),
        "issue": {**issue, "updated_at": text_of(done, "created_at")},
    }  # fmt: skip
