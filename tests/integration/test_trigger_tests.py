"""A trigger tried with an event: the answer is what a delivery would come to, and nothing is started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import flask
import pytest

from keruta.domain.catalog.access import Access
from tests.integration.test_forge_questions import HEAD, NAME, Town
from tests.support.admin import signed_in
from tests.support.github_api import DescribedGitHub
from tests.support.world import ANN, World, person


@pytest.fixture
def town(world: World) -> Iterator[Town]:
    with DescribedGitHub() as github:
        yield Town(world, github)


def push(ref: str = "refs/heads/main") -> dict[str, Any]:
    return {"ref": ref, "before": "0" * 40, "after": HEAD, "repository": {"full_name": NAME}, "commits": [],
            "sender": {"login": "dana", "id": 5}}  # fmt: skip


def test_what_would_happen_is_said_and_why(town: Town, app: flask.Flask) -> None:
    """With the task that would be submitted; the event's name is guessed where it is not given."""
    town.trigger(events=["push"], command=None, branches=["main"])
    browser = signed_in(app, ANN)

    def tried(payload: dict[str, Any], **more: Any) -> dict[str, Any]:
        status, text = browser.ask("POST", "/api/v1/triggers/t/test", {"payload": payload, **more})
        assert status == 200, text
        return dict(json.loads(text))

    starts = tried(push())
    assert (starts["starts"], starts["state"], starts["message_code"]) == (True, "started", "trigger_test_starts")
    assert starts["task"]["repository"]["ref"] == HEAD
    assert tried(push("refs/heads/other"))["message_code"] == "delivery_branch"
    assert tried(push(), event="star")["message_code"] == "delivery_unknown_event"
    assert browser.ask("POST", "/api/v1/triggers/t/test", {"payload": {}})[0] == 422
    assert browser.ask("POST", "/api/v1/triggers/none/test", {"payload": push()})[0] == 404
    assert town.tasks() == []
    assert town.world.database["deliveries"].count_documents({}) == 0


def test_the_forge_is_asked_as_for_a_delivery(town: Town, app: flask.Flask) -> None:
    town.trigger()
    comment = {"action": "created", "issue": {"number": 7, "pull_request": {}}, "repository": {"full_name": NAME},
               "comment": {"id": 1, "body": "/keruta fix"}, "sender": {"login": "dana", "id": 5}}  # fmt: skip
    browser = signed_in(app, ANN)
    _, text = browser.ask("POST", "/api/v1/triggers/t/test", {"payload": comment})
    assert json.loads(text)["task"]["repository"]["ref"] == HEAD
    town.permission("read")

    answer = json.loads(browser.ask("POST", "/api/v1/triggers/t/test", {"payload": comment})[1])

    assert (answer["starts"], answer["message_code"]) == (False, "delivery_permission")


def test_those_who_may_not_run_it_may_not_try_it(town: Town, app: flask.Flask) -> None:
    town.trigger(events=["push"], command=None, access=Access(read=["name:reader"]))

    for name, status in (("reader", 403), ("stranger", 404)):
        browser = signed_in(app, person(name, "developer"))
        assert browser.ask("POST", "/api/v1/triggers/t/test", {"payload": push()})[0] == status
