"""GitHub's REST API.

Source: https://docs.github.com/en/rest (2022-11-28)
"""

from __future__ import annotations

from typing import Any, ClassVar

from keruta.adapters.forges.github_found import GitHubFound
from keruta.adapters.forges.rest import PAGE, commit_of, list_of, named, number_of, part_of, segment, text_of
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


class GitHub(GitHubFound):
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

    # ------------------------------------------------------------ webhooks

    def put_hook(self, repository: str, hook: Hook) -> bool:
        path = f"/repos/{named(repository)}/hooks"
        wanted = self._hook(hook)
        for one in list_of(self.ask("GET", path, of=repository, query=self._hooks_query())):
            if text_of(one, "config", "url") == hook.address:
                self.ask("PATCH", f"{path}/{number_of(one, 'id')}", wanted, of=repository)
                return False
        self.ask("POST", path, {self._hook_field(): self.hook_type, **wanted}, of=repository)
        return True

    def _hook(self, hook: Hook) -> dict[str, Any]:
        config = {"url": hook.address, "content_type": "json", "secret": hook.secret}
        return {"config": config, "events": self._hook_events(hook), "active": True}

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
        return next((self._posted(one, "number") for one in found if is_own(one)), None)

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


def is_own(pull: Any) -> bool:
    """Say whether a pull request's branch is the repository's own, and not of the same name in a fork."""
    return bool(part_of(pull, "base", "repo", "id") == part_of(pull, "head", "repo", "id"))


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
