"""The pages of a trigger and of a repository: what started tasks there, which tasks, and which pull requests."""

from __future__ import annotations

from collections.abc import Iterator

import flask
import pytest

from keruta.domain.catalog.access import Access
from keruta.domain.catalog.repositories import RepositorySpec
from tests.integration.test_forge_questions import NAME, Town
from tests.support.admin import signed_in
from tests.support.github_api import DescribedGitHub
from tests.support.world import ANN, World, person


@pytest.fixture
def town(world: World) -> Iterator[Town]:
    with DescribedGitHub() as github:
        made = Town(world, github)
        made.trigger(events=["pull_request"], command=None, branches=["main"])
        made.pull_event("opened")
        made.pull_event("opened", pull={"number": 8, "title": "<b>&", "base": {"ref": "other", "repo": {"id": 1}}})
        made.process()
        yield made


def test_a_triggers_page_shows_its_last_deliveries_and_what_came_of_them(town: Town, app: flask.Flask) -> None:
    status, text = signed_in(app, ANN).ask("GET", "/triggers/t")

    (task,) = town.tasks()
    assert status == 200
    assert f'href="/tasks/{task["_id"]}"' in text
    assert "No pattern of the trigger fits the branch other." in text
    assert "/triggers/t/deliveries" in text


def test_a_repositorys_page_shows_its_triggers_tasks_and_pull_requests(town: Town, app: flask.Flask) -> None:
    (task,) = town.tasks()
    town.world.database["forge_posts"].insert_one({
        "_id": f"{task['_id']}/pull_request", "task": task["_id"], "kind": "pull_request", "key": "k", "state": "sent",
        "url": "https://github.com/octocat/Hello-World/pull/9",
    })  # fmt: skip
    status, text = signed_in(app, ANN).ask("GET", "/repositories/hello/activity")

    assert status == 200
    for link in ("/triggers/t", f"/tasks/{task['_id']}", "https://github.com/octocat/Hello-World/pull/9"):
        assert f'href="{link}"' in text


def test_a_page_shows_nothing_of_what_someone_may_not_read(town: Town, app: flask.Flask) -> None:
    """A trigger whose repository is private has no deliveries for others."""
    private = RepositorySpec(name="hello", url=f"{town.github.url}/{NAME}.git", access=Access(read=["name:reader"]))
    town.world.catalogs["repository"].replace(ANN, "hello", private, None)
    (task,) = town.tasks()
    stranger = signed_in(app, person("stranger", "developer"))

    status, text = stranger.ask("GET", "/triggers/t")

    assert status == 200
    assert task["_id"] not in text
    assert stranger.ask("GET", "/repositories/hello")[0] == 404
    assert stranger.ask("GET", "/repositories/hello/activity")[0] == 404
