"""The example payloads that GitHub publishes: each ends as it should, and none of them is a surprise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.deliveries import verdict
from keruta.domain.forge_payloads import read_event
from tests.support.npm import document

STARTS: Mapping[str, set[str | None]] = {
    "push": {None},
    "pull_request": {"opened", "reopened", "synchronize", "ready_for_review"},
    "issue_comment": {"created"},
    "issues": {"opened", "reopened"},
    "pull_request_review": {"submitted"},
    "pull_request_review_comment": {"created"},
    "merge_group": {"checks_requested"},
}
KNOWN = {*STARTS, "check_run", "status"}
HELD = {"pull_request", "pull_request_review", "pull_request_review_comment"}


def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    for one in document("@octokit/webhooks-examples", "api.github.com/index.json"):
        yield from ((one["name"], payload) for payload in one["examples"])


def outcome(name: str, payload: dict[str, Any], **fields: Any) -> str:
    spec = TriggerSpec(
        name="t", repository="app", forge="hub", script="true", **fields,
        events=["push", "tag", "merge_group", "pull_request", "review_comment", "comment", "issue", "check_failed"],
    )  # fmt: skip
    url = f"https://github.com/{payload.get('repository', {}).get('full_name')}"
    found = verdict(spec, read_event("github", name, payload), url=url, approved=False)
    return found.said.code or "" if found.said is not None else found.state


def is_silent(name: str, payload: dict[str, Any]) -> bool:
    """Say whether it is a review without words of its own."""
    return name == "pull_request_review" and not payload["review"]["body"]


def test_each_example_starts_a_task_or_says_why_not() -> None:
    """Also deployment, workflow_run and the rest, which are ignored in words."""
    count = 0
    for name, payload in examples():
        found, count = outcome(name, payload), count + 1
        if name not in KNOWN:
            expected = {"delivery_unknown_event"}
        elif name in ("check_run", "status"):
            failed = payload.get("state") or payload["check_run"]["conclusion"]
            expected = {"ask"} if failed in ("failure", "error") else {"delivery_action"}
        elif payload.get("action") not in STARTS[name] or (
            name == "pull_request_review" and not payload["review"]["body"]
        ):
            expected = {"delivery_action"}
        elif payload.get("deleted"):
            expected = {"delivery_deleted"}
        else:
            expected = {"start", "delivery_fork"} if name in HELD else {"start"}
        assert found in expected, (name, payload.get("action"), found)
    assert count > 250


@pytest.mark.parametrize("name", ["push", "pull_request", "issue_comment", "issues"])
def test_what_an_example_says_is_read(name: str) -> None:
    """Its repository, its sender, its number or commit, and a time or an order of commits."""
    for _, payload in ((kind, payload) for kind, payload in examples() if kind == name):
        event = read_event("github", name, payload)
        assert event.repository == payload["repository"]["full_name"]
        assert event.sender == payload["sender"]["login"]
        subject = payload.get("pull_request") or payload.get("issue")
        if subject is not None:
            assert (event.number, event.at is not None) == (subject["number"], True)
        if name == "push" and not payload["deleted"]:
            assert event.commit == payload["head_commit"]["id"]
        if name == "pull_request":
            assert (event.commit, event.base) == (subject["head"]["sha"], subject["base"]["ref"])


def test_a_label_starts_what_asks_for_it_once() -> None:
    """GitHub tells of each label of a new issue by an event of its own, so that its opening does not count too."""
    issues = [payload for name, payload in examples() if name == "issues"]
    labeled = next(one for one in issues if one["action"] == "labeled" and one["label"]["name"])
    name = labeled["label"]["name"]
    opened = {**labeled, "action": "opened"}

    assert outcome("issues", labeled, labels=[name]) == "start"
    assert outcome("issues", labeled, labels=["another"]) == "delivery_labels"
    assert outcome("issues", opened, labels=[name]) == "delivery_labels"
