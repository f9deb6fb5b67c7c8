"""The REST API of Gitea and Forgejo, which is GitHub's with a few differences.

Source: https://docs.gitea.com/api (1.26)
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from keruta.adapters.forges.github import GitHub
from keruta.adapters.forges.rest import commit_of, list_of, named, segment
from keruta.domain.catalog.forges import ForgeRepository
from keruta.domain.forge_answers import ForgeError
from keruta.domain.forge_posts import Posted, PullRequestText, Thread

PAGE = 50  # the most that it gives by default


class Gitea(GitHub):
    """`keruta.ports.forges.ForgeApi` on Gitea."""

    accept = "application/json"
    scheme = "token"
    hook_type = "gitea"
    hook_events: ClassVar[dict[str, tuple[str, ...]]] = {
        "push": ("push",), "tag": ("push",),
        "pull_request": ("pull_request", "pull_request_sync", "pull_request_label"),
        "comment": ("issue_comment", "pull_request_comment"), "issue": ("issues", "issue_label"),
        "review_comment": ("pull_request_review",), "check_failed": ("status",),
    }  # fmt: skip

    def repositories(self, page: int) -> list[ForgeRepository]:
        found = self.ask("GET", "/user/repos", query={"limit": PAGE, "page": page})
        return [self._repository(one) for one in list_of(found)]

    def _hook_field(self) -> str:
        return "type"

    def _hooks_query(self) -> dict[str, str | int]:
        return {"limit": PAGE}

    def _comments_query(self, page: int) -> dict[str, str | int]:
        return {}  # all of them at once

    def find_comment(self, thread: Thread, marker: str) -> Posted | None:
        own = self.account().login
        for one in list_of(self.ask("GET", self._comments(thread), of=thread.repository)):
            if isinstance(one, dict) and marker in str(one.get("body")) and (one.get("user") or {}).get("login") == own:
                return self._posted(one, "id")
        return None

    page_size = PAGE

    def page(self, page: int) -> dict[str, str | int]:
        return {"limit": PAGE, "page": page}

    def _branch_commit(self, branch: Any) -> str | None:
        return commit_of(branch, "commit", "id")

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
        is_open = isinstance(found, dict) and found.get("state") == "open"
        return self._posted(found, "number") if is_open else None

    def _words(self, wanted: PullRequestText) -> dict[str, Any]:
        title = f"WIP: {wanted.title}" if wanted.draft else wanted.title
        return {"title": title, "body": wanted.body}

    def _draft(self, wanted: PullRequestText) -> dict[str, Any]:
        return {}
