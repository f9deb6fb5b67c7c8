"""What a forge did not deliver is found by comparison; on a real database, and a GitHub held to its description."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keruta.adapters.mongo.forge_recovery import EVERY, GRACE, MongoRecovery
from keruta.domain.task import ResultBranch
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
        self.tags()
        self.issues()
        self.reviews()
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

    def tags(self, **commits: str) -> None:
        found = [{"name": name, "commit": {"sha": commit}} for name, commit in commits.items()]
        self.github.answers["GET", f"/repos/{NAME}/tags"] = (200, found, {})

    def issues(self, *changes: dict[str, Any]) -> None:
        """One issue, opened now if there is one, and what was done to it."""
        opened = {"number": 3, "title": "Fault", "labels": [], "created_at": self.now.isoformat(), "user": {"id": 5}}
        self.github.answers["GET", f"/repos/{NAME}/issues"] = (200, [opened] if changes else [], {})
        done = [{"created_at": self.now.isoformat(), "issue": opened, "actor": {"login": "dana", "id": 5}, **one}
                for one in changes]  # fmt: skip
        self.github.answers["GET", f"/repos/{NAME}/issues/events"] = (200, done, {})

    def reviews(self, *, reviews: tuple[str, ...] = (), comments: tuple[str, ...] = ()) -> None:
        at, user = self.now.isoformat(), {"login": "dana", "id": 5}
        for kind, texts, field in (("reviews", reviews, "submitted_at"), ("comments", comments, "created_at")):
            found = [{"id": number, "body": text, "user": user, field: at} for number, text in enumerate(texts, 1)]
            self.github.answers["GET", f"/repos/{NAME}/pulls/7/{kind}"] = (200, found, {})

    def compare(self, after: timedelta = EVERY) -> int:
        self.now += after
        forges = self.asking.forges
        assert forges is not None
        count = recover(MongoRecovery(self.world.database), self.world.deliveries, forges, self.now, PUBLIC)
        self.process()
        return count

    def compare_soon(self) -> int:
        """Compare once more within the time of which everything is read twice."""
        self.world.database["triggers"].update_one({"_id": "t"}, {"$set": {"compare_at": self.now}})
        return self.compare(timedelta(minutes=1))

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


def test_branches_with_long_names_are_told_apart(town: Compared) -> None:
    """Each push to one is an event of its own, however long its name."""
    town.trigger(events=["push"], command=None)
    town.compare()
    for commit in (HEAD, "c" * 40):
        town.heads(main=OLD, **{"dependabot/" + "x" * 180: commit})
        town.compare()
        town.compare(GRACE)

    assert commits(town) == [HEAD, "c" * 40]


@pytest.mark.parametrize("path", ["hooks", "pulls", "issues/comments"])
def test_what_a_token_may_not_see_hides_nothing_else(town: Compared, path: str) -> None:
    """Such as the repository's webhooks, or issues that are switched off."""
    town.trigger(events=["push", "pull_request", "comment"], command=None)
    town.compare()
    town.github.answers["GET", f"/repos/{NAME}/{path}"] = (404, {"message": "Not Found"}, {})
    town.heads(main=HEAD)
    town.compare()
    town.compare(GRACE)

    assert commits(town) == [HEAD]


def test_what_keruta_has_pushed_to_a_pull_request_starts_nothing_when_it_is_found(town: Compared) -> None:
    """The list names the pull request's author, who did not push it."""
    town.trigger(events=["pull_request"], command=None, result=ResultBranch(branch="keruta/other"))
    town.compare()
    town.pulls(7)
    town.compare()
    town.compare(GRACE)
    (task,) = town.tasks()
    pushed = {"attempt.result_branch": "fix", "attempt.result_commit": "c" * 40, "status": "succeeded"}
    town.world.database["tasks"].update_one({"_id": task["_id"]}, {"$set": pushed})
    town.pulls(7, head="c" * 40)
    town.compare()
    town.compare(GRACE)

    assert len(town.tasks()) == 1
    assert town.said() == "delivery_own"


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


def test_a_comment_that_was_not_delivered_counts_by_the_labels_of_what_it_is_on(town: Compared) -> None:
    town.trigger(labels=["agent"])
    town.github.answers["GET", f"/repos/{NAME}/issues/7"] = (200, {"number": 7, "labels": [{"name": "agent"}]}, {})
    town.compare()
    town.comments("/keruta fix")
    town.compare()

    assert commits(town) == [HEAD]
    assert town.github.faults == []


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


def test_a_tag_that_was_not_delivered_is_found(town: Compared) -> None:
    """Once, though an annotated one's delivery names another object. Those from before are not missed."""
    town.trigger(events=["tag"], command=None)
    town.tags(v1=OLD)
    town.compare()
    town.tags(v1=OLD, v2=HEAD)
    town.compare()
    assert town.compare(GRACE) == 1
    town.deliver("push", ref="refs/tags/v2", before="0" * 40, after="c" * 40, head_commit={"id": HEAD}, commits=[])
    town.process()

    assert (commits(town), town.last().state) == ([HEAD], "repeated")
    assert town.github.faults == []


def test_tags_from_before_they_were_compared_are_not_missed(town: Compared) -> None:
    """As where an older version has compared the branches alone."""
    town.trigger(events=["push", "tag"], command=None)
    town.compare()
    town.world.database["triggers"].update_one({"_id": "t"}, {"$unset": {"compared_tags": ""}})
    town.tags(v1=OLD)

    assert [town.compare() for _ in range(3)] == [0, 0, 0]


def test_a_branch_that_is_gone_is_missed_when_it_is_there_again(town: Compared) -> None:
    """At the same commit. What was seen once, and then no more, has the forge asked no oftener."""
    town.trigger(events=["push"], command=None)
    town.heads(main=OLD, topic=HEAD)
    town.compare()
    town.heads(main=OLD, brief=HEAD)
    town.compare()
    town.heads(main=OLD)
    town.compare()
    due = town.world.database["triggers"].find_one({"_id": "t"}) or {}
    assert due["compare_at"] - due["compared_at"] == EVERY
    town.heads(main=OLD, topic=HEAD)
    town.compare()
    assert town.compare(GRACE) == 1
    assert commits(town) == [HEAD]


def test_what_was_done_to_an_issue_is_found(town: Compared) -> None:
    """Once each; also if its delivery comes late, of which the time differs by a second."""
    town.trigger(events=["issue"], command=None, actions=["opened", "labeled", "assigned"])
    town.compare(timedelta())
    at = (town.now + timedelta(seconds=1)).isoformat()
    town.issues(
        {"event": "labeled", "label": {"name": "bug"}}, {"event": "assigned", "assignee": {"id": 1}},
        {"event": "locked"}, {"event": "labeled", "issue": {"number": 4, "pull_request": {}}},
    )  # fmt: skip
    assert [town.compare_soon(), town.compare_soon()] == [3, 0]
    for action in ("labeled", "assigned", "opened"):
        town.deliver("issues", action=action, issue={"number": 3, "updated_at": at}, label={"name": "bug"})
        town.process()
        assert town.last().state == "repeated"
    town.deliver("issues", action="labeled", issue={"number": 3, "updated_at": at}, label={"name": "urgent"})
    town.process()

    assert [task["spec"]["env"]["KERUTA_PARAM_ACTION"] for task in town.tasks()] == [
        "opened", "labeled", "assigned", "labeled",
    ]  # fmt: skip
    assert town.github.faults == []


def test_what_was_told_of_an_issue_is_not_missed(town: Compared) -> None:
    town.trigger(events=["issue"], command=None, labels=["bug"])
    town.compare(timedelta())
    town.issues({"event": "labeled", "label": {"name": "bug"}})
    at = (town.now + timedelta(seconds=1)).isoformat()
    town.deliver("issues", action="labeled", issue={"number": 3, "updated_at": at}, label={"name": "bug"})
    town.deliver("issues", action="opened", issue={"number": 3, "updated_at": at})

    assert town.compare_soon() == 0
    assert len(town.tasks()) == 1


def test_a_label_that_is_put_on_once_more_soon_after_is_another_event(town: Compared) -> None:
    town.trigger(events=["issue"], command=None, labels=["bug"])
    town.compare(timedelta())
    town.deliver("issues", action="labeled", issue={"number": 3, "updated_at": town.now.isoformat()},
                 label={"name": "bug"})  # fmt: skip
    later = (town.now + timedelta(seconds=30)).isoformat()
    town.issues({"event": "labeled", "label": {"name": "bug"}, "created_at": later})
    town.compare_soon()

    assert len(town.tasks()) == 2


def test_reviews_and_their_comments_that_were_not_delivered_are_found(town: Compared) -> None:
    """Once each, though both have the same number; also if their deliveries come late, and if one is edited."""
    town.trigger(events=["review_comment"], command=None)
    town.compare(timedelta())
    town.pulls(7)
    town.reviews(reviews=("Please fix it.", ""), comments=("Here.",))
    town.compare_soon()
    town.reviews(reviews=("Please fix it!", ""), comments=("Here.",))
    town.compare_soon()
    pull = {"number": 7, "head": {"sha": HEAD, "ref": "fix", "repo": {"id": 1}}, "base": {"repo": {"id": 1}}}
    town.deliver("pull_request_review", action="submitted", review={"id": 1, "body": "Please fix it."},
                 pull_request=pull)  # fmt: skip
    town.deliver("pull_request_review_comment", action="created", comment={"id": 1, "body": "Here."},
                 pull_request=pull)  # fmt: skip
    town.process()

    assert [task["spec"]["env"]["KERUTA_PARAM_COMMENT"] for task in town.tasks()] == ["Please fix it.", "Here."]
    assert town.github.faults == []
