"""Forges' APIs: what keruta asks GitHub is what GitHub describes; GitLab is asked as its documentation says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from keruta.adapters.forges.gitea import Gitea
from keruta.adapters.forges.github import GitHub
from keruta.adapters.forges.github_app import app
from keruta.adapters.forges.gitlab import GitLab
from keruta.domain.forge_answers import ForgeError
from keruta.domain.forge_payloads import read_event
from keruta.domain.forge_posts import CommitStatus, Hook, PullRequestText, Thread
from tests.support.github import GitHubApi
from tests.support.github_api import DescribedGitHub
from tests.support.serving import Quiet, Serving

STATUS = CommitStatus(state="running", context="keruta/t", description="Running", url="https://keruta.example.com/t")
PULL = PullRequestText(head="fix", base="main", title="T", body="B", draft=True, labels=["bug"], reviewers=["dana"])
HOOK = Hook(address="https://keruta.example.com/events/v1/t", secret="s", events=["push", "tag", "comment"])
THREAD = Thread(repository="octocat/Hello-World", number=7, pull_request=True)
COMMIT = "a" * 40


@pytest.fixture
def github() -> Iterator[DescribedGitHub]:
    with DescribedGitHub() as server:
        yield server


def test_every_request_to_github_is_allowed_by_its_description(github: DescribedGitHub) -> None:
    api, name = GitHub(github.url, lambda _: "token"), "octocat/Hello-World"

    assert api.account().login == "octocat"
    assert api.repositories(1)[0].repository == "octocat/Hello-World"
    assert api.repository(name).default_branch == "master"
    assert api.permission(name, "octocat", 1) == "admin"
    assert api.permission(name, "octocat", 2) == "none", "the login is somebody else's by now"
    assert api.pull_request_head(name, 1347) is not None
    assert api.branches_at(name, COMMIT, None) == ["branch_5"]
    assert api.put_hook(name, HOOK)
    api.set_status(name, COMMIT, STATUS)
    assert api.find_comment(THREAD, "Me too") is not None
    assert api.add_comment(THREAD, "text").id == 1
    api.change_comment(THREAD, 1, "text")
    assert api.find_pull_request(name, "fix", "main") is not None
    assert api.add_pull_request(name, PULL).url.startswith("https://github.com/octocat/Hello-World/pull/")
    api.change_pull_request(name, 1347, PULL)
    api.dress_pull_request(name, 1347, PULL)

    assert github.faults == []
    made = next(body for method, path, body in github.asked if (method, path[-6:]) == ("POST", "/hooks"))
    assert made["events"] == ["push", "issue_comment"]


def test_a_webhook_that_is_there_is_brought_up_to_date(github: DescribedGitHub) -> None:
    path = "/repos/octocat/Hello-World/hooks"
    github.answers["GET", path] = (200, [{"id": 3, "config": {"url": HOOK.address}}], {})

    assert not GitHub(github.url, lambda _: "token").put_hook("octocat/Hello-World", HOOK)

    assert github.asked[-1][:2] == ("PATCH", f"{path}/3")
    assert github.faults == []


def test_another_accounts_comment_with_keruta_s_marker_is_not_taken_for_its_own(github: DescribedGitHub) -> None:
    path = "/repos/octocat/Hello-World/issues/7/comments"
    github.answers["GET", path] = (200, [{"id": 3, "body": "marker", "user": {"login": "mallory"}}], {})

    assert GitHub(github.url, lambda _: "token").find_comment(THREAD, "marker") is None


def test_an_app_signs_in_for_one_repository_at_a_time() -> None:
    with DescribedGitHub() as github, GitHubApi("made") as keys:
        spec = {"app_id": "7", "installation_id": "8"}
        api = app(github.url, spec, keys.private_key)

        api.set_status("octocat/Hello-World", COMMIT, STATUS)
        api.set_status("octocat/Hello-World", COMMIT, STATUS)

        assert github.faults == []
        minted = [body for _, path, body in github.asked if path == "/app/installations/8/access_tokens"]
        assert minted == [{"repositories": ["Hello-World"]}]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "again"),
    [
        (401, {}, "unauthorized", None), (403, {}, "refused", None), (404, {}, "missing", None),
        (403, {"Retry-After": "17"}, "limited", 17), (429, {"Retry-After": "17"}, "limited", 17),
        (403, {"X-RateLimit-Remaining": "0"}, "limited", 60), (422, {}, "refused", None), (302, {}, "refused", None),
        (500, {}, "away", None), (502, {}, "away", None), (503, {"Retry-After": "9"}, "away", 9),
    ],
)  # fmt: skip
def test_what_a_forge_answers_is_told_apart(
    github: DescribedGitHub, status: int, headers: dict[str, str], kind: str, again: float | None
) -> None:
    github.answers["GET", "/user"] = (status, {"message": "no <b>way</b>\u202e"}, headers)

    with pytest.raises(ForgeError) as found:
        GitHub(github.url, lambda _: "token").account()

    assert (found.value.kind, found.value.again_seconds) == (kind, again)
    assert "token" not in str(found.value) or kind == "unauthorized"
    assert str(found.value).isprintable()


@pytest.mark.parametrize("answer", [b"<html>", b"[1]", b'{"login": 7, "id": "x"}', b"\xff"])
def test_an_answer_that_is_no_such_thing_is_told_as_that(github: DescribedGitHub, answer: bytes) -> None:
    github.answers["GET", "/user"] = (200, answer, {})

    with pytest.raises(ForgeError):
        GitHub(github.url, lambda _: "token").account()


class GitLabApi(Serving):
    """Answers as GitLab's documentation shows, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.status_answer: tuple[int, Any] = (201, {"id": 1})
        api = self

        class Handler(Quiet):
            def _handle(self) -> None:
                path = urlsplit(self.path).path
                text = self.body()
                api.asked.append((self.command, path, json.loads(text) if text else None))
                self.answer(*api.reply(self.command, path))

            do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

        super().__init__(Handler)

    def reply(self, method: str, path: str) -> tuple[int, Any]:
        path = unquote(path)
        if "/statuses/" in path:
            return self.status_answer
        if path.endswith("/user"):
            return 200, {"id": 5, "username": "keruta"}
        if path.endswith("/users"):
            return 200, [{"id": 9}]
        if path.endswith("/notes") and method == "GET":
            return 200, [{"id": 3, "body": "a marker", "author": {"username": "keruta"}}]
        if "/members/all/" in path:
            return 200, {"access_level": 30}
        if path.endswith("/merge_requests"):
            one = {
                "iid": 4,
                "sha": COMMIT,
                "source_branch": "fix",
                "target_branch": "main",
                "labels": ["bug"],
                "web_url": "https://gitlab.example.com/mr/4",
                "description": "B",
            }
            return (200, [one]) if method == "GET" else (201, one)
        if "/merge_requests/" in path and method == "GET":
            return 200, {"sha": COMMIT, "source_project_id": 2, "target_project_id": 1, "state": "opened"}
        if path.endswith("/repository/branches"):
            return 200, [{"name": "main", "commit": {"id": COMMIT}}]
        if path.endswith("/branches/fix"):
            return 200, {"name": "fix", "commit": {"id": COMMIT}}
        if path.endswith("/hooks") and method == "GET":
            return 200, []
        project = {"path_with_namespace": "team/app", "http_url_to_repo": "https://x/team/app.git", "id": 1, "iid": 4}
        return 200, [project] if path.endswith("/projects") else project


def test_gitlab_is_asked_in_its_own_words() -> None:
    with GitLabApi() as server:
        api, thread = GitLab(server.url, lambda _: "token"), Thread(repository="team/app", number=4, pull_request=True)

        assert api.account().login == "keruta"
        assert api.repositories(1)[0].repository == "team/app"
        assert api.permission("team/app", "dana", None) == "write"
        assert api.permission("team/app", "dana", 9) == "write"
        head = api.pull_request_head("team/app", 4)
        assert (head and head.commit, head and head.fork, head and head.open) == (COMMIT, True, True)
        assert api.branches_at("team/app", COMMIT, "fix") == ["fix"]
        assert api.branches_at("team/app", "b" * 40, "fix") == api.branches_at("team/app", COMMIT, None) == []
        assert api.put_hook("team/app", HOOK)
        api.set_status("team/app", COMMIT, STATUS)
        found = api.find_comment(thread, "marker")
        assert found is not None
        assert found.id == 3
        api.change_comment(thread, 3, "text")
        assert api.add_pull_request("team/app", PULL).id == 4
        api.dress_pull_request("team/app", 4, PULL)

    asked = {(method, path): body for method, path, body in server.asked}
    project = "/projects/team%2Fapp"
    assert asked["POST", f"{project}/statuses/{COMMIT}"]["state"] == "running"
    assert asked["POST", f"{project}/hooks"]["tag_push_events"] is True
    assert asked["POST", f"{project}/hooks"]["issues_events"] is False
    assert asked["POST", f"{project}/merge_requests"]["title"] == "Draft: T"
    assert asked["PUT", f"{project}/merge_requests/4"] == {"add_labels": "bug", "reviewer_ids": [9]}
    assert ("PUT", f"{project}/merge_requests/4/notes/3") in asked


def test_what_there_is_at_gitlab_is_read_as_if_it_had_been_delivered() -> None:
    with GitLabApi() as server:
        api = GitLab(server.url, lambda _: "token")
        pushed = read_event("gitlab", "Push Hook", api.push_payload("team/app", "refs/heads/main", "0" * 40, COMMIT))
        ((number, commit, payload),) = api.open_pull_requests("team/app") or []
        opened = read_event("gitlab", api.pull_request_event, payload)
        closed = read_event("gitlab", api.pull_request_event, api.closed_payload("team/app", 4, datetime.now(UTC)))

        assert api.branches("team/app") == {"main": COMMIT}
        assert (pushed.kind, pushed.ref, pushed.commit, pushed.paths) == ("push", "main", COMMIT, None)
        assert (number, commit, opened.change, opened.ref, opened.labels) == (4, COMMIT, "opened", "fix", ["bug"])
        assert (closed.number, closed.change) == (4, "closed")


def test_new_comments_at_gitlab_are_read_as_if_they_had_been_delivered() -> None:
    """Of issues and merge requests that changed; under its own identity, so the event itself is a repeat."""
    since = datetime(2026, 1, 2, 12, tzinfo=UTC)
    author = {"id": 9, "username": "dana"}
    notes = [
        {"id": 8, "body": "/keruta fix", "type": "DiffNote", "author": author, "created_at": "2026-01-02T12:00:01.000Z",
         "updated_at": "2026-01-02T12:00:01.000Z", "system": False},
        {"id": 7, "body": "closed", "author": author, "created_at": "2026-01-02T12:00:00.500Z", "system": True},
        {"id": 9, "body": "among us", "author": author, "created_at": "2026-01-02T12:00:09.000Z", "internal": True},
        {"id": 6, "body": "old", "author": author, "created_at": "2026-01-02T11:59:59.000Z", "system": False},
        {"id": 5, "body": "no time", "author": author, "system": False},
    ]  # fmt: skip
    pull = {"iid": 4, "title": "T", "sha": COMMIT, "source_branch": "fix", "target_branch": "main", "labels": ["bug"],
            "source_project_id": 2, "target_project_id": 1, "web_url": "https://gitlab.example.com/mr/4"}  # fmt: skip
    with GitLabApi() as server:
        lists = {"/notes": notes, "/merge_requests": [pull], "/issues": [{"iid": 3, "title": "I", "labels": []}]}

        def reply(method: str, path: str) -> tuple[int, Any]:
            return 200, next(found for end, found in lists.items() if path.endswith(end))

        server.reply = reply  # type: ignore[method-assign]
        api = GitLab(server.url, lambda _: "token")
        issue, review = (read_event("gitlab", api.comment_event, one) for one in api.comments_since("team/app", since))

    assert (issue.kind, issue.number, issue.pull_request) == ("comment", 3, False)
    assert (review.kind, review.number, review.commit, review.fork) == ("review_comment", 4, COMMIT, True)
    assert (review.ref, review.base, review.labels) == ("fix", "main", ["bug"])
    assert (review.sender, review.sender_id, review.change, review.commands) == ("dana", 9, "created", ["/keruta fix"])
    assert review.identity == "comment 8 created"


def test_what_was_done_to_issues_at_gitlab_is_read_as_if_it_had_been_delivered() -> None:
    """Labels that an issue was opened with are among its own; others that were put on at once are one event."""
    since, user = datetime(2026, 1, 2, 12, tzinfo=UTC), {"id": 9, "username": "dana"}
    events = [
        {"action": action, "label": {"name": name}, "user": user, "created_at": f"2026-01-02T{at}Z"}
        for action, name, at in (("add", "bug", "12:00:01"), ("add", "a", "12:05:00"), ("add", "b", "12:05:00"),
                                 ("remove", "bug", "12:06:00"))
    ]  # fmt: skip
    issue = {"iid": 3, "title": "I", "labels": ["bug", "a", "b"], "author": user, "created_at": "2026-01-02T12:00:00Z"}
    with GitLabApi() as server:
        lists = {
            "/issues": [issue],
            "/resource_label_events": events,
            "/tags": [{"name": "v1", "commit": {"id": COMMIT}}],
        }
        server.reply = lambda method, path: (200, lists["/" + path.rpartition("/")[2]])  # type: ignore[method-assign]
        api = GitLab(server.url, lambda _: "token")
        tags = api.tags("team/app")
        opened, put = (read_event("gitlab", name, one) for name, one in api.issues_since("team/app", since))

    assert (opened.change, opened.labels, opened.sender_id) == ("opened", ["bug"], 9)
    assert (put.change, put.added, put.number) == ("labeled", ["a", "b"], 3)
    assert tags == {"v1": COMMIT}


def test_a_webhook_at_gitea_is_replaced() -> None:
    """Gitea's request for a change leaves the secret as it was."""
    hook = Hook(address="https://k.example.com/events/v1/t", secret="new", events=["push"])
    with GitLabApi() as server:
        there = [{"id": 7, "config": {"url": hook.address}}, {"id": 8, "config": {"url": "https://other.example.com"}}]
        server.reply = lambda method, path: (200, there if method == "GET" else None)  # type: ignore[method-assign]
        made = Gitea(server.url, lambda _: "token").put_hook("team/app", hook)
        asked = [(method, path, (body or {}).get("config", {}).get("secret")) for method, path, body in server.asked]

    assert made is False
    assert asked[1:] == [("POST", "/repos/team/app/hooks", "new"), ("DELETE", "/repos/team/app/hooks/7", None)]


def test_what_was_done_at_gitea_is_read_as_if_it_had_been_delivered() -> None:
    """An issue with its timeline, and a pull request with its reviews; times may be in any zone."""
    since, user = datetime(2026, 1, 2, 12, tzinfo=UTC), {"id": 9, "login": "dana"}

    def done(kind: str, minute: int, **more: Any) -> dict[str, Any]:
        return {"type": kind, "user": user, "created_at": f"2026-01-02T07:{minute:02}:00-05:00", **more}

    log = [done("label", 0, label={"name": "bug"}, body="1"), done("label", 5, label={"name": "late"}, body="1"),
           done("assignees", 6, assignee=user), done("assignees", 7, assignee=user, removed_assignee=True),
           done("label", 8, label={"name": "bug"}, body=""), done("reopen", 9),
           done("comment", 9, body="1")]  # fmt: skip
    issue = {**done("", 0), "number": 3, "labels": [{"name": "bug"}, {"name": "late"}]}
    pull = {"number": 7, "updated_at": "2026-01-02T07:10:00-05:00", "head": {"sha": COMMIT, "repo": {"id": 1}},
            "base": {"repo": {"id": 1}}}  # fmt: skip
    reviews = [{"id": 1, "state": state, "body": state, "user": user, "submitted_at": "2026-01-02T07:10:00-05:00"}
               for state in ("APPROVED", "COMMENT", "PENDING", "REQUEST_REVIEW")]  # fmt: skip
    with GitLabApi() as server:
        lists = {"issues": [issue], "timeline": log, "pulls": [pull], "reviews": reviews}
        server.reply = lambda method, path: (200, lists[path.rpartition("/")[2]])  # type: ignore[method-assign]
        api = Gitea(server.url, lambda _: "token")
        issues = [read_event("gitea", name, one) for name, one in api.issues_since("team/app", since)]
        said = [read_event("gitea", name, one) for name, one in api.reviews_since("team/app", since)]

    assert [(one.change, one.number, one.sender_id) for one in issues] == [
        ("opened", 3, 9), ("labeled", 3, 9), ("assigned", 3, 9), ("reopened", 3, 9)
    ]  # fmt: skip
    assert issues[0].labels == ["bug"]
    assert [(one.kind, one.change, one.comment, one.commit) for one in said] == [
        ("review_comment", "created", state, COMMIT) for state in ("APPROVED", "COMMENT")
    ]


def test_a_forks_branch_of_the_same_name_at_gitlab_is_not_the_repositorys() -> None:
    theirs = {"iid": 4, "source_project_id": 2, "target_project_id": 1}
    with GitLabApi() as server:
        server.reply = lambda method, path: (200, [theirs, {**theirs, "iid": 5, "source_project_id": 1}])  # type: ignore[method-assign]
        found = GitLab(server.url, lambda _: "token").find_pull_request("team/app", "fix", "main")

    assert found is not None
    assert found.id == 5


def test_a_gitea_that_gives_less_at_once_than_is_asked_for_is_read_whole() -> None:
    """By the number that it says the list has; a list that has no pages is read once. Null is an empty page."""
    branches = [{"name": f"b{number}", "commit": {"id": COMMIT, "sha": COMMIT}} for number in range(70)]
    asked: list[str] = []

    class Handler(Quiet):
        def do_GET(self) -> None:
            query = dict(parse_qsl(urlsplit(self.path).query))
            asked.append(query["page"])
            begin = (int(query["page"]) - 1) * 30
            found: Any = branches[begin : begin + 30] if "tags" not in self.path else branches[:30]
            if "issues" in self.path:
                found = [{"number": 3}] if "timeline" not in self.path else [{}] * 50 if query["page"] == "1" else None
            self.answer(200, found, {"X-Total-Count": "70" if "issues" not in self.path else "1"})

    with Serving(Handler) as server:
        api = Gitea(server.url, lambda _: "token")
        assert len(api.branches("team/app") or {}) == 70
        assert len(asked) == 3
        assert len(api.tags("team/app") or {}) == 30
        assert len(asked) == 5
        assert api.issues_since("team/app", datetime(2026, 1, 1, tzinfo=UTC)) == []
        assert asked[5:] == ["1", "1", "2"]


def test_gitea_says_which_label_was_put_on() -> None:
    """The last one up to the event's time, or those that were put on at once with it."""

    def done(name: str, second: int, put: str = "1") -> dict[str, Any]:
        at = f"2026-01-02T07:00:{second:02}-05:00"
        return {"type": "label", "label": {"name": name}, "body": put, "created_at": at}

    log = [done("old", 0), done("a", 20), done("b", 20), done("a", 21, ""), done("late", 40), {"type": "comment"}]
    with GitLabApi() as server:
        server.reply = lambda method, path: (200, log)  # type: ignore[method-assign]
        api = Gitea(server.url, lambda _: "token")
        at = datetime(2026, 1, 2, 12, tzinfo=UTC)
        put = [api.labels_put("team/app", 3, at + timedelta(seconds=second)) for second in (1, 20, 21, 40)]

    assert put == [["old"], ["a", "b"], ["a", "b"], ["late"]]


def test_the_same_status_once_more_is_no_fault_at_gitlab() -> None:
    with GitLabApi() as server:
        server.status_answer = (400, {"message": "Cannot transition status via :run from :running"})

        GitLab(server.url, lambda _: "token").set_status("team/app", COMMIT, STATUS)
