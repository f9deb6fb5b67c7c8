"""What forges are told of tasks: on a real database, and a GitHub that refuses what its description does not allow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import flask
import pytest

from keruta.adapters.mongo.forge_lookup import MongoForges
from keruta.adapters.mongo.forge_reports import MongoReports
from keruta.adapters.tracing import SILENT
from keruta.domain.catalog.credentials import CredentialSpec
from keruta.domain.catalog.forges import ForgeSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.forge_answers import ForgeError
from keruta.domain.forge_reports import AGAIN_SECONDS, PostView
from keruta.domain.task import Origin, RepositoryAsk, ResultBranch, TaskRequest
from keruta.services.forge_reports import ReportPorts, tell_due
from keruta.services.submit import submit
from tests.support.admin import signed_in
from tests.support.github_api import DescribedGitHub
from tests.support.world import ANN, World

COMMIT, NAME = "a" * 40, "octocat/Hello-World"
STATUSES = f"/repos/{NAME}/statuses/{COMMIT}"
COMMENTS = f"/repos/{NAME}/issues/7/comments"
PULLS = f"/repos/{NAME}/pulls"


class Town:
    """A forge with one repository and the trigger `t`, whose tasks are made here."""

    def __init__(self, world: World, github: DescribedGitHub) -> None:
        self.world, self.github = world, github
        catalogs, host = world.catalogs, github.url.partition("://")[2]
        catalogs["credential"].create(ANN, CredentialSpec(name="api", type="forge_token", token="t", hosts=[host]))
        catalogs["forge"].create(ANN, ForgeSpec(name="hub", type="github", url=github.url, credential="api"))
        catalogs["repository"].create(ANN, RepositorySpec(name="hello", url=f"{github.url}/{NAME}.git"))
        self.reports = MongoReports(world.database)
        self.ports = ReportPorts(
            store=self.reports, forges=MongoForges(world.database, world.sealer), public_url="https://k.example.com"
        )
        github.answers["GET", COMMENTS] = (200, [], {})
        github.answers["GET", PULLS] = (200, [], {})

    def trigger(self, **fields: Any) -> None:
        given: dict[str, Any] = {"events": ["push"], "webhook_secret": None, "script": "true", **fields}
        self.world.catalogs["trigger"].create(ANN, TriggerSpec(name="t", repository="hello", forge="hub", **given))

    def task(self, number: int | None = None, base: str | None = "main", **fields: Any) -> str:
        origin = Origin(
            trigger="t", event="push", forge="hub", repository=NAME, commit=COMMIT, number=number, ref="topic",
            base=base, sender="dana", url="https://git.example.com/x",
        )  # fmt: skip
        request = TaskRequest(repository=RepositoryAsk(name="hello"), script="true", **fields)
        return submit(
            request, ANN, lookup=self.world.lookup, intake=self.world.intake, tracing=SILENT,
            settings=self.world.settings, origin=origin,
        ).task.id  # fmt: skip

    def run(self, task: str, **end: Any) -> None:
        if not self.world.sessions:
            self.world.worker(slots=9)
        self.world.assign()
        self.world.start(task)
        self.world.end(task, **end)

    def tell(self) -> int:
        return tell_due(self.ports)

    def later(self) -> None:
        """As if all that waits were due, and the forge had rested."""
        past = [{"$set": {"forge_due": {"$subtract": ["$$NOW", 1000]}}}]
        self.world.database["tasks"].update_many({"forge_due": {"$exists": True}}, past)
        self.world.database["forge_turns"].update_many({}, {"$unset": {"rests_until": ""}})

    def asked(self, method: str, path: str) -> list[Any]:
        return [body for how, where, body in self.github.asked if (how, where) == (method, path)]

    def posts(self, task: str) -> dict[str, PostView]:
        return {one.kind: one for one in self.reports.of(task)}


@pytest.fixture
def town(world: World) -> Iterator[Town]:
    with DescribedGitHub() as github:
        yield Town(world, github)


def test_a_commits_status_follows_its_task(town: Town) -> None:
    """Queued, running with a link, and the end with its sentence; each is told once."""
    town.trigger()
    task = town.task()
    town.tell()
    town.world.worker()
    town.world.assign()
    town.tell()
    town.world.start(task)
    town.tell()
    town.tell()
    town.world.end(task, status="failed", reason="ScriptFailed", message="It broke.", exit_code=1)
    town.tell()

    told = town.asked("POST", STATUSES)
    assert [one["state"] for one in told] == ["pending", "pending", "failure"]
    assert told[0]["description"] == "Queued."
    assert told[1]["target_url"] == f"https://k.example.com/tasks/{task}"
    assert told[2]["description"].startswith("Failed. It broke.")
    assert {one["context"] for one in told} == {"keruta/t"}
    assert town.github.faults == []
    assert town.posts(task)["status"].state == "sent"


@pytest.mark.parametrize("status", ["cancelled", "unknown"])
def test_a_cancelled_task_and_one_without_known_end_are_told(town: Town, status: str) -> None:
    town.trigger()
    task = town.task()
    town.world.database["tasks"].update_one({"_id": task}, {"$set": {"status": status}})
    town.tell()

    (told,) = town.asked("POST", STATUSES)
    assert told["state"] == "error"
    assert told["description"].startswith("Cancelled" if status == "cancelled" else "Its outcome is not known")


def test_one_comment_is_updated_and_shows_no_remote_image(town: Town) -> None:
    town.trigger(report=["comment"])
    task = town.task(7)
    town.tell()
    answer = "Done ![x](https://evil.example.com/a.png) <img src=//evil> @dana"
    town.run(task, answer=answer, usage={"cost_usd": 0.5})
    town.tell()

    (made,) = town.asked("POST", COMMENTS)
    assert "Queued" in made["body"]
    changed = town.asked("PATCH", f"/repos/{NAME}/issues/comments/1")[-1]["body"]
    assert "Succeeded." in changed
    assert "0.50 USD" in changed
    assert f"https://k.example.com/tasks/{task}" in changed
    assert "![" not in changed
    assert "<img" not in changed
    assert "@dana" not in changed
    assert changed.endswith("<!-- keruta: t -->")
    assert town.github.faults == []


def test_a_comment_whose_answer_never_came_is_not_made_twice(town: Town) -> None:
    """And one that a process made that died before its record."""
    town.trigger(report=["comment"])
    task = town.task(7)
    town.github.answers["POST", COMMENTS] = (502, {}, {})
    town.tell()
    assert town.posts(task)["comment"].state == "waiting"
    there = {"id": 3, "body": "x <!-- keruta: t -->", "user": {"login": "octocat"}}
    town.github.answers["GET", COMMENTS] = (200, [there], {})
    town.later()
    town.tell()

    assert len(town.asked("POST", COMMENTS)) == 1
    assert len(town.asked("PATCH", f"/repos/{NAME}/issues/comments/3")) == 1
    assert town.posts(task)["comment"].state == "sent"


def test_a_pull_request_is_opened_from_the_result_branch(town: Town) -> None:
    template = {"title": "{name}", "body": "{answer}", "labels": ["bot"], "reviewers": ["dana"], "draft": True}
    town.trigger(report=[], result=ResultBranch(branch="fix"), pull_request=template)
    task = town.task(7, name="Mend it", result=ResultBranch(branch="fix"))
    town.run(task, answer="Mended.", result_branch="fix", result_commit="b" * 40)
    town.tell()

    (made,) = town.asked("POST", PULLS)
    assert (made["title"], made["head"], made["base"], made["draft"]) == ("Mend it", "fix", "main", True)
    assert made["body"].startswith("Mended.")
    assert town.asked("POST", f"/repos/{NAME}/issues/1347/labels") == [{"labels": ["bot"]}]
    assert town.asked("POST", f"{PULLS}/1347/requested_reviewers") == [{"reviewers": ["dana"]}]
    assert town.github.faults == []
    assert (town.posts(task)["pull_request"].url or "").endswith("/pull/1347")


def test_reviewers_are_asked_once_for_a_pull_request(town: Town) -> None:
    """The next task for its branch brings its words up to date."""
    town.trigger(report=[], result=ResultBranch(branch="fix"), pull_request={"reviewers": ["dana"]})
    first = town.task(result=ResultBranch(branch="fix"))
    town.run(first, result_branch="fix", result_commit="b" * 40)
    town.tell()
    there = {"number": 1347, "body": "<!-- keruta: t -->", "html_url": "https://x/pull/1347"}
    town.github.answers["GET", PULLS] = (200, [there], {})
    second = town.task(result=ResultBranch(branch="fix"))
    town.run(second, result_branch="fix", result_commit="c" * 40)
    town.tell()

    assert len(town.asked("POST", PULLS)) == len(town.asked("PATCH", f"{PULLS}/1347")) == 1
    assert len(town.asked("POST", f"{PULLS}/1347/requested_reviewers")) == 1


@pytest.mark.parametrize(("words", "changes"), [("by a person", 0), ("<!-- keruta: t -->", 1)])
def test_a_pull_request_that_is_there_is_updated_if_it_is_keruta_s(town: Town, words: str, changes: int) -> None:
    town.trigger(report=[], result=ResultBranch(branch="fix"), pull_request={})
    town.github.answers["GET", PULLS] = (200, [{"number": 5, "body": words, "html_url": "https://x/pull/5"}], {})
    task = town.task(result=ResultBranch(branch="fix"))
    town.run(task, result_branch="fix", result_commit="b" * 40)
    town.tell()

    assert town.asked("POST", PULLS) == []
    assert len(town.asked("PATCH", f"{PULLS}/5")) == changes
    assert town.posts(task)["pull_request"].url == "https://x/pull/5"


def test_a_forks_branch_of_the_same_name_is_not_keruta_s(town: Town) -> None:
    """Else whoever opens one first has keruta's words on theirs, and its own is never opened."""
    town.trigger(report=[], result=ResultBranch(branch="fix"), pull_request={})
    theirs = {"number": 5, "body": "<!-- keruta: t -->", "head": {"repo": {"id": 2}}, "base": {"repo": {"id": 1}}}
    town.github.answers["GET", PULLS] = (200, [theirs], {})
    task = town.task(result=ResultBranch(branch="fix"))
    town.run(task, result_branch="fix", result_commit="b" * 40)
    town.tell()

    assert (len(town.asked("POST", PULLS)), town.asked("PATCH", f"{PULLS}/5")) == (1, [])


def test_an_answer_like_no_other_holds_up_no_other_task(town: Town) -> None:
    """It is tried again, and shown in the end."""
    town.trigger(result=ResultBranch(branch="fix"), pull_request={})
    town.github.answers["GET", f"/repos/{NAME}"] = (200, [[]], {})
    branch = {"result": ResultBranch(branch="fix")}
    first, second = town.task(base=None, **branch), town.task(base=None, **branch)
    for task in (first, second):
        town.run(task, result_branch="fix", result_commit="b" * 40)
    town.tell()

    posts = town.posts(second)
    assert (posts["status"].state, posts["pull_request"].state) == ("sent", "waiting")
    assert town.world.database["tasks"].count_documents({"forge_due": {"$lte": datetime.now(UTC)}}) == 0


def test_the_requests_of_one_task_have_one_time_for_all(town: Town) -> None:
    """So that its turn, which another process takes then, is not over while they are still made."""
    api = town.ports.forges.open("hub", 0.0)
    with pytest.raises(ForgeError) as error:
        api.branches(NAME)

    assert error.value.kind == "away"
    assert town.github.asked == []


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_what_a_forge_does_not_take_now_is_told_in_the_end(town: Town, status: int) -> None:
    town.trigger()
    town.github.answers["POST", STATUSES] = (status, {"message": "no"}, {})
    task = town.task()
    town.tell()
    assert town.posts(task)["status"].state == "waiting"
    assert town.tell() == 0, "it is left alone for a while"
    del town.github.answers["POST", STATUSES]
    town.later()
    town.tell()

    assert town.posts(task)["status"].state == "sent"
    assert town.world.document(task).get("forge_due") is None


@pytest.mark.parametrize("status", [403, 404, 422])
def test_what_a_forge_refuses_is_shown_and_not_asked_again(town: Town, status: int) -> None:
    """A later state of the task is told anew, and the task itself goes on."""
    town.trigger()
    town.github.answers["POST", STATUSES] = (status, {"message": "no such thing"}, {})
    task = town.task()
    town.tell()
    town.later()
    town.tell()

    assert len(town.asked("POST", STATUSES)) == 1
    post = town.posts(task)["status"]
    assert (post.state, "no such thing" in (post.message or "")) == ("failed", True)
    del town.github.answers["POST", STATUSES]
    town.run(task)
    town.tell()
    assert town.posts(task)["status"].state == "sent"


def test_a_forge_that_never_answers_is_given_up_in_the_end(town: Town) -> None:
    town.trigger()
    town.github.answers["POST", STATUSES] = (500, {}, {})
    task = town.task()
    for _ in range(len(AGAIN_SECONDS) + 3):
        town.tell()
        town.later()

    assert town.posts(task)["status"].state == "failed"
    assert len(town.asked("POST", STATUSES)) == len(AGAIN_SECONDS) + 1


def test_a_limit_is_heeded_for_the_whole_forge(town: Town) -> None:
    town.trigger()
    town.github.answers["POST", STATUSES] = (403, {"message": "secondary rate limit"}, {"Retry-After": "40"})
    town.task()
    town.task()
    town.tell()

    assert len(town.asked("POST", STATUSES)) == 1
    (turn,) = town.world.database["forge_turns"].find()
    assert 35 <= (turn["rests_until"] - turn["until"]).total_seconds() <= 41


def test_an_older_task_says_nothing_after_a_newer_one_of_its_commit(town: Town) -> None:
    town.trigger()
    older, newer = town.task(), town.task()
    town.run(newer)
    town.tell()
    town.world.start(older)
    town.world.end(older, status="failed", reason="ScriptFailed", message="x", exit_code=1)
    town.tell()

    assert town.asked("POST", STATUSES)[-1]["state"] == "success"
    assert town.posts(older)["status"].state == "superseded"


def test_one_process_at_a_time_speaks_to_a_forge(town: Town) -> None:
    town.trigger()
    for _ in range(6):
        town.task()
    threads = [threading.Thread(target=town.tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    town.tell()

    assert len(town.asked("POST", STATUSES)) == 6


def test_a_forge_that_was_deleted_or_a_trigger_holds_nothing_up(town: Town) -> None:
    town.trigger()
    town.task()
    town.world.catalogs["trigger"].delete(ANN, "t", None, force=False)

    assert town.tell() == 1
    assert town.reports.due_forges() == []


def test_the_api_and_the_tasks_page_show_what_it_was_for_and_what_was_told(town: Town, app: flask.Flask) -> None:
    town.trigger()
    town.github.answers["POST", STATUSES] = (422, {"message": "No commit found"}, {})
    task = town.task(12)
    town.tell()
    browser = signed_in(app, ANN)

    assert '"state":"failed"' in browser.ask("GET", f"/api/v1/tasks/{task}/forge")[1].replace(" ", "")
    assert '"number":12' in browser.ask("GET", f"/api/v1/tasks/{task}")[1].replace(" ", "")
    page = browser.ask("GET", f"/tasks/{task}")[1]
    assert "No commit found" in page
    assert "#12" in page
    assert "https://git.example.com/x" in page
