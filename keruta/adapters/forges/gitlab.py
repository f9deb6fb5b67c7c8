"""GitLab's REST API, version 4.

Source: https://docs.gitlab.com/api/rest/
"""

from __future__ import annotations

from typing import Any

from keruta.adapters.forges.gitlab_found import GitLabFound, project
from keruta.adapters.forges.rest import PAGE, commit_of, list_of, number_of, part_of, segment, text_of
from keruta.domain.catalog.forges import ForgeAccount, ForgeRepository
from keruta.domain.forge_answers import ForgeError
from keruta.domain.forge_posts import CommitStatus, Hook, Permission, Posted, PullRequestHead, PullRequestText, Thread

COMMENT_PAGES = 20
DESCRIPTION_LETTERS = 255
LEVELS: tuple[tuple[int, Permission], ...] = ((40, "admin"), (30, "write"), (10, "read"))
STATES = {
    "queued": "pending", "running": "running", "succeeded": "success", "failed": "failed", "cancelled": "canceled",
    "unknown": "failed",
}  # fmt: skip
HOOK_EVENTS = {
    "push": "push_events", "tag": "tag_push_events", "pull_request": "merge_requests_events", "comment": "note_events",
    "issue": "issues_events", "review_comment": "note_events", "check_failed": "pipeline_events",
}  # fmt: skip


class GitLab(GitLabFound):
    """`keruta.ports.forges.ForgeApi` on GitLab."""

    def account(self) -> ForgeAccount:
        found = self.ask("GET", "/user")
        return ForgeAccount(login=text_of(found, "username"), id=number_of(found, "id"))

    def repositories(self, page: int) -> list[ForgeRepository]:
        query: dict[str, str | int] = {"membership": "true", "simple": "true", "order_by": "path", "sort": "asc"}
        query |= {"per_page": PAGE, "page": page}
        return [_repository(one) for one in list_of(self.ask("GET", "/projects", query=query))]

    def repository(self, name: str) -> ForgeRepository:
        return _repository(self.ask("GET", project(name)))

    def permission(self, repository: str, login: str, identity: int | None) -> Permission:
        if identity is None:
            people = list_of(self.ask("GET", "/users", query={"username": login}))
            if not people:
                return "none"
            identity = number_of(people[0], "id")
        found = self.found(f"{project(repository)}/members/all/{identity}")
        if found is None or found.get("state", "active") != "active":
            return "none"
        level = number_of(found, "access_level")
        return next((permission for least, permission in LEVELS if level >= least), "none")

    def pull_request_head(self, repository: str, number: int) -> PullRequestHead | None:
        found = self.found(f"{project(repository)}/merge_requests/{number}")
        if found is None:
            return None
        return PullRequestHead(
            commit=commit_of(found, "sha"), ref=text_of(found, "source_branch"), base=text_of(found, "target_branch"),
            fork=found.get("source_project_id") is None
            or found.get("source_project_id") != found.get("target_project_id"),
            open=found.get("state") == "opened",
        )  # fmt: skip

    def branches_at(self, repository: str, commit: str, ref: str | None) -> list[str]:
        if ref is None:
            return []
        found = self.found(f"{project(repository)}/repository/branches/{segment(ref)}")
        return [ref] if found is not None and text_of(found, "commit", "id") == commit else []

    def put_hook(self, repository: str, hook: Hook) -> bool:
        path = f"{project(repository)}/hooks"
        wanted: dict[str, Any] = dict.fromkeys(HOOK_EVENTS.values(), False)
        wanted |= {HOOK_EVENTS[event]: True for event in hook.events if event in HOOK_EVENTS}
        wanted |= {"url": hook.address, "token": hook.secret, "enable_ssl_verification": True}
        for one in list_of(self.ask("GET", path, query={"per_page": PAGE})):
            if text_of(one, "url") == hook.address:
                self.ask("PUT", f"{path}/{number_of(one, 'id')}", wanted)
                return False
        self.ask("POST", path, wanted)
        return True

    def set_status(self, repository: str, commit: str, status: CommitStatus) -> None:
        body = {
            "state": STATES[status.state], "target_url": status.url, "name": status.context,
            "description": status.description[:DESCRIPTION_LETTERS],
        }  # fmt: skip
        try:
            self.ask("POST", f"{project(repository)}/statuses/{commit}", body)
        except ForgeError as error:
            # The same state once more is refused: what was wanted is there.
            if "Cannot transition status" not in str(error):
                raise

    def find_comment(self, thread: Thread, marker: str) -> Posted | None:
        own = self.account().login
        for page in range(1, COMMENT_PAGES + 1):
            found = list_of(self.ask("GET", _notes(thread), query={"per_page": PAGE, "page": page, "sort": "asc"}))
            for one in found:
                if marker in text_of(one, "body") and text_of(one, "author", "username") == own:
                    return Posted(id=number_of(one, "id"), text=text_of(one, "body"))
            if len(found) < PAGE:
                break
        return None

    def add_comment(self, thread: Thread, text: str) -> Posted:
        found = self.ask("POST", _notes(thread), {"body": text})
        return Posted(id=number_of(found, "id"), text=text_of(found, "body"))

    def change_comment(self, thread: Thread, comment: int, text: str) -> None:
        self.ask("PUT", f"{_notes(thread)}/{comment}", {"body": text})

    def find_pull_request(self, repository: str, head: str, base: str) -> Posted | None:
        query = {"source_branch": head, "target_branch": base, "state": "opened"}
        found = list_of(self.ask("GET", f"{project(repository)}/merge_requests", query=query))
        # A fork's branch of that name is not the repository's own.
        own = [one for one in found if part_of(one, "source_project_id") == part_of(one, "target_project_id")]
        return _merge_request(own[0]) if own else None

    def add_pull_request(self, repository: str, wanted: PullRequestText) -> Posted:
        body = {**_words(wanted), "source_branch": wanted.head, "target_branch": wanted.base}
        return _merge_request(self.ask("POST", f"{project(repository)}/merge_requests", body))

    def change_pull_request(self, repository: str, number: int, wanted: PullRequestText) -> None:
        self.ask("PUT", f"{project(repository)}/merge_requests/{number}", _words(wanted))

    def dress_pull_request(self, repository: str, number: int, wanted: PullRequestText) -> None:
        dress: dict[str, Any] = {"add_labels": ",".join(wanted.labels)} if wanted.labels else {}
        if wanted.reviewers:
            found = [list_of(self.ask("GET", "/users", query={"username": name})) for name in wanted.reviewers]
            dress["reviewer_ids"] = [number_of(people[0], "id") for people in found if people]
        if dress:
            self.ask("PUT", f"{project(repository)}/merge_requests/{number}", dress)


def _notes(thread: Thread) -> str:
    kind = "merge_requests" if thread.pull_request else "issues"
    return f"{project(thread.repository)}/{kind}/{thread.number}/notes"


def _words(wanted: PullRequestText) -> dict[str, Any]:
    return {"title": f"Draft: {wanted.title}" if wanted.draft else wanted.title, "description": wanted.body}


def _repository(found: Any) -> ForgeRepository:
    return ForgeRepository(
        repository=text_of(found, "path_with_namespace"), url=text_of(found, "http_url_to_repo"),
        default_branch=text_of(found, "default_branch") or None, private=text_of(found, "visibility") != "public",
    )  # fmt: skip


def _merge_request(found: Any) -> Posted:
    return Posted(id=number_of(found, "iid"), url=text_of(found, "web_url"), text=text_of(found, "description"))
