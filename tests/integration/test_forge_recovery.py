"""What a forge did not deliver is found by comparison; on a real database, and a GitHub held to its description."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keruta.adapters.mongo.forge_recovery import EVERY, GRACE, MongoRecovery
from keruta.services.forge_recovery import recover
from tests.integration.test_forge_questions import HEAD, NAME, OLD, Town
from tests.support.github_api import DescribedGitHub
from tests.support.world import World

PUBLIC = "https://keruta.example.com"


class Compared(Town):
    """The same, with what is at the forge now, and a clock."""

    def __init__(self, world: World, github: DescribedGitHub) -> None:
        super().__init__(world, github)
        self.now = datetime.now(UTC)
        self.heads(main=OLD)
        self.pulls()
        self.comments()
        github.answers["GET", f"/repos/{NAME}/hooks"] = (200, [], {})

    def heads(self, **commits: str) -> None:
        found = [{"name": name, "commit": {"sha": commit}} for name, commit in commits.items()]
        self.github.answers["GET", f"/repos/{NAME}/branches"] = (200, found, {})

    def pulls(self, *numbers: int, head: str = HEAD) -> None:
        found = [{
            "number": number, "updated_at": self.now.isoformat(), "user": {"login": "dana", "id": 5},
            "head": {"sha": head, "ref": "fix", "repo": {"id": 1}}, "base": {"ref": "main", "repo": {"id": 1}},
        } for number in numbers]  # fmt: skip
        self.github.answers["GET", f"/repos/{NAME}/pulls"] = (200, found, {})

    def comments(self, *texts: str) -> None:
        found = [{
            "id": number, "body": text, "created_at": self.now.isoformat(), "user": {"login": "dana", "id": 5},
            "issue_url": f"https://api.github.com/repos/{NAME}/issues/7",
            "html_url": f"https://github.com/{NAME}/pull/7#issuecomment-{number}",
        } for number, text in enumerate(texts, 1)]  # fmt: skip
        self.github.answers["GET", f"/repos/{NAME}/issues/comments"] = (200, found, {})

    def compare(self, after: timedelta = EVERY) -> int:
        self.now += after
        forges = self.asking.forges
        assert forges is not None
        count = recover(MongoRecovery(self.world.database), self.world.deliveries, forges, self.now, PUBLIC)
        self.process()
        return count

    def push_event(self, before: str, after: str, ref: str = "main") -> None:
        self.deliver("push", ref=f"refs/heads/{ref}", before=before, after=after, commits=[], total_commits=0)


@pytest.fixture
def town(world: World) -> Iterator[Compared]:
    with DescribedGitHub() as github:
        yield Compared(world, github)


def commits(town: Town) -> list[str]:
    return [task["origin"]["commit"] for task in town.tasks()]


def test_a_push_that_was_not_delivered_is_found(town: Compared) -> None:
    """After the first comparison, and when it is there for a while: its delivery may be on its way."""
    town.trigger(events=["push"], command=None)
    assert town.compare() == 0
    town.heads(main=HEAD, topic=OLD)
    assert town.compare() == 0
    assert town.compare(GRACE) == 2
    assert town.compare() == 0

    assert sorted(commits(town)) == [HEAD, OLD]
    assert town.github.faults == []


def test_a_push_that_comes_late_makes_no_second_task(town: Compared) -> None:
    """Whichever commit was there before; the branch going back to it later is another event."""
    town.trigger(events=["push"], command=None)
    town.compare()
    town.heads(main=HEAD)
    town.compare()
    town.compare(GRACE)
    town.push_event("c" * 40, HEAD)
    town.process()
    assert (town.last().state, commits(town)) == ("repeated", [HEAD])
    town.push_event(HEAD, OLD)
    town.push_event(OLD, HEAD)
    town.process()

    assert commits(town) == [HEAD, OLD]
    town.push_event(OLD, "d" * 40)
    town.push_event("d" * 40, HEAD)
    town.process()
    assert commits(town) == [HEAD, OLD, "d" * 40, HEAD]


def test_what_was_delivered_meanwhile_is_not_missed(town: Compared) -> None:
    town.trigger(events=["push"], command=None)
    town.compare()
    town.heads(main=HEAD)
    town.compare()
    town.push_event(OLD, HEAD)

    assert town.compare(GRACE) == 0
    assert commits(town) == [HEAD]


def test_a_pull_request_that_was_not_delivered_is_found_and_so_is_its_end(town: Compared) -> None:
    town.trigger(events=["pull_request"], command=None)
    town.compare()
    town.pulls(7)
    town.compare()
    assert town.compare(GRACE) == 1
    assert [(task["origin"]["number"], task["status"]) for task in town.tasks()] == [(7, "queued")]
    town.pulls()
    town.compare()

    assert [task["status"] for task in town.tasks()] == ["cancelled"]


def test_a_pull_request_that_is_newer_than_the_list_is_not_taken_for_closed(town: Compared) -> None:
    town.trigger(events=["pull_request"], command=None)
    town.compare(timedelta())
    town.pull_event("opened")
    town.process()
    town.world.database["triggers"].update_one({"_id": "t"}, {"$set": {"compare_at": town.now}})
    town.compare(timedelta())

    assert [task["status"] for task in town.tasks()] == ["queued"]


def test_another_repositorys_branches_are_not_missed_pushes(town: Compared) -> None:
    """A trigger that is changed to one begins anew."""
    town.trigger(events=["push"], command=None)
    town.compare()
    town.compare()
    town.world.database["triggers"].update_one({"_id": "t"}, {"$set": {"spec.events": ["push", "tag"]}})
    town.heads(main=HEAD, other=OLD)
    for _ in range(3):
        assert town.compare() == 0


def test_a_comment_that_was_not_delivered_is_found(town: Compared) -> None:
    """Once; also if its delivery comes late."""
    town.trigger()
    town.compare()
    town.comments("/keruta fix")
    town.compare()
    town.compare()
    town.comment("/keruta fix", number=1)
    town.process()

    assert commits(town) == [HEAD]


def test_githubs_failed_deliveries_are_sent_again(town: Compared) -> None:
    town.trigger(events=["push"], command=None)
    town.compare()
    hooks = f"/repos/{NAME}/hooks"
    address = {"url": f"{PUBLIC}/events/v1/t"}
    at = town.now + timedelta(seconds=9)
    rows: list[dict[str, Any]] = [
        {"id": number, "guid": guid, "status_code": status, "delivered_at": at.isoformat()}
        for number, guid, status in ((1, "a", 502), (2, "b", 502), (3, "b", 202))
    ]
    town.github.answers["GET", hooks] = (200, [{"id": 9, "config": address}], {})
    town.github.answers["GET", f"{hooks}/9/deliveries"] = (200, rows, {})
    town.compare()

    sent = [path for method, path, _ in town.github.asked if method == "POST"]
    assert sent == [f"{hooks}/9/deliveries/1/attempts"]
    assert town.github.faults == []


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_a_forge_that_can_not_be_compared_is_left_alone_for_a_while(town: Compared, status: int) -> None:
    """Nothing is taken for gone."""
    town.trigger(events=["pull_request"], command=None)
    town.pull_event("opened")
    town.pulls(7)
    town.process()
    town.compare()
    town.github.answers["GET", f"/repos/{NAME}/pulls"] = (status, {}, {})
    town.compare()

    assert [task["status"] for task in town.tasks()] == ["queued"]
