"""GitHub's REST API.

Source: https://docs.github.com/en/rest (2022-11-28)
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from keruta.adapters.forges.rest import PAGE, Rest, commit_of, list_of, named, number_of, segment, text_of
from keruta.domain.catalog.forges import ForgeAccount, ForgeRepository
from keruta.domain.forge_posts import CommitStatus, Hook, Permission, Posted, PullRequestHead, PullRequestText, Thread

COMMENT_PAGES = 20
DESCRIPTION_LETTERS = 140
STATES = {
    "queued": "pending", "running": "pending", "succeeded": "success", "failed": "failure", "cancelled": "error",
    "unknown": "error",
}  # fmt: skip
PERMISSIONS: dict[str, Permission] = {
    "admin": "admin", "owner": "admin", "maintain": "write", "write": "write", "triage": "read", "read": "read",
}  # fmt: skip


class GitHub(Rest):
    """`keruta.ports.forges.ForgeApi` on GitHub, for a token."""

    accept = "application/vnd.github+json"
    hook_type = "web"
    hook_events: ClassVar[dict[str, tuple[str, ...]]] = {
        "push": ("push",), "tag": ("push",), "pull_request": ("pull_request",), "comment": ("issue_comment",),
        "issue": ("issues",), "merge_group": ("merge_group",), "check_failed": ("check_run", "status"),
        "review_comment": ("pull_request_review", "pull_request_review_comment"),
    }  # fmt: skip

    def account(self) -> ForgeAccount:
        found = self.ask("GET", "/user")
        return ForgeAccount(login=text_of(found, "login"), id=number_of(found, "id"))

    def _own_login(self) -> str:
        return self.account().login

    def repositories(self, page: int) -> list[ForgeRepository]:
        found = self.ask("GET", "/user/repos", query={"per_page": PAGE, "page": page, "sort": "full_name"})
        return [self._repository(one) for one in list_of(found)]

    def repository(self, name: str) -> ForgeRepository:
        return self._repository(self.ask("GET", f"/repos/{named(name)}", of=name))

    def _repository(self, found: Any) -> ForgeRepository:
        return ForgeRepository(
            repository=text_of(found, "full_name"), url=text_of(found, "clone_url"),
            default_branch=text_of(found, "default_branch") or None, private=found.get("private") is True,
        )  # fmt: skip

    def permission(self, repository: str, login: str, identity: int | None) -> Permission:
        path = f"/repos/{named(repository)}/collaborators/{segment(login)}/permission"
        found = self.found(path, of=repository)
        same = identity is None or found is None or number_of(found.get("user"), "id") == identity
        return PERMISSIONS.get(text_of(found, "permission"), "none") if same else "none"

    def pull_request_head(self, repository: str, number: int) -> PullRequestHead | None:
        found = self.found(f"/repos/{named(repository)}/pulls/{number}", of=repository)
        if found is None:
            return None
        own, of = ((found.get(side) or {}).get("repo") or {} for side in ("base", "head"))
        return PullRequestHead(
            commit=commit_of(found, "head", "sha"), ref=text_of(found, "head", "ref"),
            base=text_of(found, "base", "ref"), open=found.get("state") == "open",
            fork=own.get("id") is None or own.get("id") != of.get("id"),
        )  # fmt: skip

    def branches_at(self, repository: str, commit: str, ref: str | None) -> list[str]:
        path = f"/repos/{named(repository)}/commits/{segment(commit)}/branches-where-head"
        found = self.found(path, of=repository)
        return [text_of(one, "name") for one in list_of(found or []) if text_of(one, "name")]

    # ------------------------------------------------------------ what there is, as it would have been delivered

    pull_request_event = "pull_request"
    comment_event = "issue_comment"

    def branches(self, repository: str) -> dict[str, str] | None:
        found = self.pages(f"/repos/{named(repository)}/branches", {}, of=repository)
        if found is None:
            return None
        commit = {text_of(one, "name"): self._branch_commit(one) for one in found}
        return {name: head for name, head in commit.items() if name and head is not None}

    def _branch_commit(self, branch: Any) -> str | None:
        return commit_of(branch, "commit", "sha")

    def push_payload(self, repository: str, branch: str, before: str, after: str) -> dict[str, Any]:
        # Which files it changed is not known: it is let through by paths.
        return {
            "ref": f"refs/heads/{branch}", "before": before, "after": after, "total_commits": 1, "commits": [],
            "repository": {"full_name": repository},
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

    def comments_since(self, repository: str, since: datetime) -> list[dict[str, Any]]:
        at = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        found = self.pages(f"/repos/{named(repository)}/issues/comments", {"since": at}, of=repository) or []
        return [
            _comment(repository, one) for one in found if isinstance(one, dict) and text_of(one, "created_at") >= at
        ]

    def redeliver(self, repository: str, address: str, since: datetime) -> int:
        hooks = f"/repos/{named(repository)}/hooks"
        own = [one for one in list_of(self.ask("GET", hooks, of=repository, query=self._hooks_query()))
               if text_of(one, "config", "url") == address]  # fmt: skip
        count, at = 0, since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
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

    # ------------------------------------------------------------ webhooks

    def put_hook(self, repository: str, hook: Hook) -> bool:
        path = f"/repos/{named(repository)}/hooks"
        config = {"url": hook.address, "content_type": "json", "secret": hook.secret}
        wanted = {"config": config, "events": self._hook_events(hook), "active": True}
        for one in list_of(self.ask("GET", path, of=repository, query=self._hooks_query())):
            if text_of(one, "config", "url") == hook.address:
                self.ask("PATCH", f"{path}/{number_of(one, 'id')}", wanted, of=repository)
                return False
        self.ask("POST", path, {self._hook_field(): self.hook_type, **wanted}, of=repository)
        return True

    def _hook_events(self, hook: Hook) -> list[str]:
        return list(dict.fromkeys(name for event in hook.events for name in self.hook_events.get(event, ())))

    def _hook_field(self) -> str:
        return "name"

    def _hooks_query(self) -> dict[str, str | int]:
        return {"per_page": PAGE}

    # ------------------------------------------------------------ statuses and comments

    def set_status(self, repository: str, commit: str, status: CommitStatus) -> None:
        body = {
            "state": STATES[status.state], "target_url": status.url, "context": status.context,
            "description": status.description[:DESCRIPTION_LETTERS],
        }  # fmt: skip
        self.ask("POST", f"/repos/{named(repository)}/statuses/{commit}", body, of=repository)

    def find_comment(self, thread: Thread, marker: str) -> Posted | None:
        own = self._own_login()
        for page in range(1, COMMENT_PAGES + 1):
            found = list_of(self.ask(
                "GET", self._comments(thread), of=thread.repository, query=self._comments_query(page),
            ))  # fmt: skip
            for one in found:
                if marker in text_of(one, "body") and text_of(one, "user", "login") == own:
                    return self._posted(one, "id")
            if len(found) < PAGE:
                break
        return None

    def _comments(self, thread: Thread) -> str:
        return f"/repos/{named(thread.repository)}/issues/{thread.number}/comments"

    def _comments_query(self, page: int) -> dict[str, str | int]:
        return {"per_page": PAGE, "page": page}

    def add_comment(self, thread: Thread, text: str) -> Posted:
        return self._posted(self.ask("POST", self._comments(thread), {"body": text}, of=thread.repository), "id")

    def change_comment(self, thread: Thread, comment: int, text: str) -> None:
        path = f"/repos/{named(thread.repository)}/issues/comments/{comment}"
        self.ask("PATCH", path, {"body": text}, of=thread.repository)

    # ------------------------------------------------------------ pull requests

    def find_pull_request(self, repository: str, head: str, base: str) -> Posted | None:
        owner = repository.partition("/")[0]
        query = {"head": f"{owner}:{head}", "base": base, "state": "open"}
        found = list_of(self.ask("GET", f"/repos/{named(repository)}/pulls", of=repository, query=query))
        return self._posted(found[0], "number") if found else None

    def add_pull_request(self, repository: str, wanted: PullRequestText) -> Posted:
        body = {**self._words(wanted), "head": wanted.head, "base": wanted.base, **self._draft(wanted)}
        return self._posted(self.ask("POST", f"/repos/{named(repository)}/pulls", body, of=repository), "number")

    def change_pull_request(self, repository: str, number: int, wanted: PullRequestText) -> None:
        self.ask("PATCH", f"/repos/{named(repository)}/pulls/{number}", self._words(wanted), of=repository)

    def dress_pull_request(self, repository: str, number: int, wanted: PullRequestText) -> None:
        if wanted.labels:
            path = f"/repos/{named(repository)}/issues/{number}/labels"
            self.ask("POST", path, {"labels": wanted.labels}, of=repository)
        if wanted.reviewers:
            path = f"/repos/{named(repository)}/pulls/{number}/requested_reviewers"
            self.ask("POST", path, {"reviewers": wanted.reviewers}, of=repository)

    def _words(self, wanted: PullRequestText) -> dict[str, Any]:
        return {"title": wanted.title, "body": wanted.body}

    def _draft(self, wanted: PullRequestText) -> dict[str, Any]:
        return {"draft": wanted.draft}

    def _posted(self, found: Any, number: str) -> Posted:
        return Posted(id=number_of(found, number), url=text_of(found, "html_url"), text=text_of(found, "body"))


class GitHubApp(GitHub):
    """The same for an App's installation.

    Args:
        login: the App's own, such as `keruta[bot]`.
    """

    def __init__(self, api: str, token: Any, login: Any) -> None:
        super().__init__(api, token)
        self._login = login

    def account(self) -> ForgeAccount:
        login = self._login()
        # What the App does is done by a user of its own.
        return ForgeAccount(login=login, id=number_of(self.ask("GET", f"/users/{segment(login)}"), "id"))

    def _own_login(self) -> str:
        return str(self._login())

    def repositories(self, page: int) -> list[ForgeRepository]:
        found = self.ask("GET", "/installation/repositories", query={"per_page": PAGE, "page": page})
        return [self._repository(one) for one in list_of(found.get("repositories"))]


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
