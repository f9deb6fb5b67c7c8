"""What a forge is asked before an event starts a task; on a real database, and a GitHub held to its description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from keruta.adapters.mongo.forge_lookup import MongoForges
from keruta.domain.catalog.credentials import CredentialSpec
from keruta.domain.catalog.forges import ForgeSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.deliveries import DeliveryView
from keruta.domain.forge_payloads import read_event
from keruta.domain.task import ResultBranch
from keruta.services.deliveries import process_due
from keruta.services.skipped_reports import report_skipped
from tests.support.github_api import DescribedGitHub
from tests.support.world import ANN, World

NAME, HEAD, OLD = "octocat/Hello-World", "a" * 40, "b" * 40
KERUTA, DANA = 1, 5
PULL = f"/repos/{NAME}/pulls/7"
MAY = f"/repos/{NAME}/collaborators/dana/permission"


class Town:
    """A forge with one repository, the trigger `t`, and what the forge answers about it."""

    def __init__(self, world: World, github: DescribedGitHub) -> None:
        self.world, self.github, self.count = world, github, 0
        catalogs, host = world.catalogs, github.url.partition("://")[2]
        world.database["users"].insert_one({
            "_id": ANN.subject, "name": ANN.name, "mail": "", "roles": sorted(ANN.roles), "groups": [],
            "last_seen_at": datetime.now(UTC),
        })  # fmt: skip
        catalogs["credential"].create(ANN, CredentialSpec(name="api", type="forge_token", token="t", hosts=[host]))
        catalogs["credential"].create(ANN, CredentialSpec(name="signing", type="webhook_secret", value="s"))
        catalogs["forge"].create(ANN, ForgeSpec(
            name="hub", type="github", url=github.url, credential="api", webhook_secret="signing",
        ))  # fmt: skip
        catalogs["repository"].create(ANN, RepositorySpec(name="hello", url=f"{github.url}/{NAME}.git"))
        self.forges = MongoForges(world.database, world.sealer)
        self.asking = msgspec.structs.replace(world.delivery_ports, forges=self.forges)
        self.pull()
        self.permission("write")

    def trigger(self, name: str = "t", **fields: Any) -> None:
        given: dict[str, Any] = {"script": "true", "events": ["comment"], "command": "/keruta fix", **fields}
        if "prompt" in given:
            given["script"] = None
        self.world.catalogs["trigger"].create(ANN, TriggerSpec(name=name, repository="hello", forge="hub", **given))

    def pull(self, *, fork: bool = False, state: str = "open", head: str = HEAD) -> None:
        answer = {
            "number": 7, "state": state, "head": {"sha": head, "ref": "fix", "repo": {"id": 2 if fork else 1}},
            "base": {"ref": "main", "repo": {"id": 1}},
        }  # fmt: skip
        self.github.answers["GET", PULL] = (200, answer, {})

    def permission(self, permission: str, status: int = 200, identity: int = DANA) -> None:
        self.github.answers["GET", MAY] = (status, {"permission": permission, "user": {"id": identity}}, {})

    def comment(self, text: str, *, on_pull: bool = True, action: str = "created", **fields: Any) -> None:
        issue = {"number": 7, **({"pull_request": {}} if on_pull else {})}
        number = fields.pop("number", self.count)
        words = {"id": number, "body": text, "updated_at": fields.pop("at", "2026-11-20T10:00:00Z")}
        self.deliver("issue_comment", action=action, issue=issue, comment=words, **fields)

    def pull_event(self, action: str, at: str = "2026-11-20T10:00:00Z", **fields: Any) -> None:
        pull = {
            "number": 7, "updated_at": at, "head": {"sha": HEAD, "ref": "fix", "repo": {"id": 1}},
            "base": {"ref": "main", "repo": {"id": 1}}, **fields.pop("pull", {}),
        }  # fmt: skip
        self.deliver("pull_request", action=action, pull_request=pull, **fields)

    def deliver(self, name: str, *, to: str = "t", sender: int = DANA, **payload: Any) -> None:
        self.count += 1
        payload = {"repository": {"full_name": NAME}, "sender": {"login": "dana", "id": sender}, **payload}
        event = read_event("github", name, payload)
        self.world.deliveries.add(to, f"d{self.count}", event, json.dumps(payload).encode())

    def process(self) -> None:
        """As a function and the tick do, and then a process that asks the forge."""
        process_due(self.world.delivery_ports)
        process_due(self.asking)

    def later(self) -> None:
        self.world.database["deliveries"].update_many({"state": "received"}, [{"$set": {"due_at": "$received_at"}}])
        self.world.database["forge_turns"].update_many({}, {"$unset": {"rests_until": ""}})
        self.process()

    def last(self, trigger: str = "t") -> DeliveryView:
        return self.world.seen_deliveries.page(ANN, trigger, limit=1, cursor=None).items[0]

    def said(self, trigger: str = "t") -> str:
        one = self.last(trigger)
        return one.message_code or one.state if one.state != "started" else "started"

    def tasks(self) -> list[dict[str, Any]]:
        return list(self.world.database["tasks"].find().sort("_id", 1))


@pytest.fixture
def town(world: World) -> Iterator[Town]:
    with DescribedGitHub() as github:
        yield Town(world, github)


def test_a_command_of_one_who_may_write_starts_a_task_at_the_pull_requests_commit(town: Town) -> None:
    """Its words reach the script as variables; every question is one that GitHub describes."""
    town.trigger()
    town.comment("/keruta fix the `tests` please")
    town.process()

    (task,) = town.tasks()
    env = task["spec"]["env"]
    assert (task["spec"]["repository"]["ref"], town.said()) == (HEAD, "started")
    assert (env["KERUTA_PARAM_COMMAND"], env["KERUTA_PARAM_ARGUMENTS"]) == ("/keruta fix", "the tests please")
    assert env["KERUTA_PARAM_COMMENT"] == "/keruta fix the `tests` please"
    assert (task["origin"]["commit"], task["origin"]["number"]) == (HEAD, 7)
    assert town.github.faults == []


@pytest.mark.parametrize("permission", ["none", "read", "triage"])
def test_a_command_of_one_who_may_not_write_starts_nothing(town: Town, permission: str) -> None:
    town.trigger()
    town.permission(permission)
    town.comment("/keruta fix")
    town.process()

    assert (town.said(), town.tasks()) == ("delivery_permission", [])


def test_a_login_that_has_become_somebody_elses_may_nothing(town: Town) -> None:
    town.trigger()
    town.permission("admin", identity=99)
    town.comment("/keruta fix")
    town.process()

    assert (town.said(), town.tasks()) == ("delivery_permission", [])


@pytest.mark.parametrize("status", [401, 403, 422, 429, 500])
def test_nothing_starts_when_the_forge_can_not_be_asked(town: Town, status: int) -> None:
    """It is asked again later, unless it refuses for good."""
    town.trigger()
    town.permission("admin", status)
    town.comment("/keruta fix")
    for _ in range(9):
        town.later()

    assert town.tasks() == []
    assert (town.last().state, town.said()) == ("failed", "delivery_not_asked")


def test_a_forge_that_comes_back_is_asked_again(town: Town) -> None:
    town.trigger()
    town.permission("admin", 500)
    town.comment("/keruta fix")
    town.process()
    assert town.last().state == "received"
    town.permission("admin")
    town.later()

    assert town.said() == "started"


@pytest.mark.parametrize(
    ("text", "action"), [("> /keruta fix", "created"), ("/keruta fix", "edited"), ("fix", "created")]
)
def test_a_comment_without_a_new_command_asks_nothing(town: Town, text: str, action: str) -> None:
    """Also with actions that let every comment through."""
    town.trigger(actions=["*"])
    town.comment(text, action=action)
    town.process()

    assert town.said() == "delivery_no_command"
    assert [path for _, path, _ in town.github.asked] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/keruta fix", "delivery_fork_command"), (f"/keruta fix {HEAD[:12]}", "delivery_fork_command"),
        (f"/keruta fix {OLD}", "delivery_other_commit"), (f"/keruta fix {HEAD}", "started"),
    ],
)  # fmt: skip
def test_on_a_forks_pull_request_a_command_names_the_commit(town: Town, text: str, said: str) -> None:
    """The one at which it is when the command is carried out: a push may have come between."""
    town.trigger()
    town.pull(fork=True)
    town.comment(text)
    town.process()

    assert town.said() == said
    assert len(town.tasks()) == (said == "started")


def test_forks_that_are_ignored_start_nothing_by_command_either(town: Town) -> None:
    town.trigger(forks="ignore")
    town.pull(fork=True)
    town.comment(f"/keruta fix {HEAD}")
    town.process()

    assert (town.said(), town.tasks()) == ("delivery_fork_ignored", [])


def test_a_command_on_a_closed_pull_request_starts_nothing(town: Town) -> None:
    town.trigger()
    town.pull(state="closed")
    town.comment("/keruta fix")
    town.process()

    assert (town.said(), town.tasks()) == ("delivery_closed", [])


def test_a_command_that_a_forge_sends_twice_is_carried_out_once(town: Town) -> None:
    """Also where the comment was edited meanwhile."""
    town.trigger()
    town.comment("/keruta fix", number=3)
    town.process()
    town.comment("/keruta fix", number=3, at="2026-11-20T11:00:00Z")
    town.process()

    assert (len(town.tasks()), town.last().state) == (1, "repeated")


def test_a_check_that_failed_counts_for_the_head_of_a_branch_alone(town: Town) -> None:
    """A fork's commit is the head of none of this repository's branches."""
    where = f"/repos/{NAME}/commits/{HEAD}/branches-where-head"
    town.trigger(events=["check_failed"], command=None, checks=["ci/*"], branches=["main"])
    run = {"name": "ci/test", "conclusion": "failure", "head_sha": HEAD, "check_suite": {"head_branch": "main"}}
    for names, said in (([], "delivery_no_head"), (["other"], "delivery_branch"), (["main"], "started")):
        town.github.answers["GET", where] = (200, [{"name": name} for name in names], {})
        town.deliver("check_run", action="completed", check_run={"id": len(names) + town.count, **run})
        town.process()
        assert town.said() == said
    town.deliver("check_run", action="completed", check_run={**run, "id": 99, "conclusion": "success"})
    town.process()
    assert town.said() == "delivery_action"
    assert town.tasks()[0]["spec"]["env"]["KERUTA_PARAM_CHECK"] == "ci/test"


def test_a_closed_pull_request_ends_what_still_runs_for_it(town: Town) -> None:
    """Its own tasks and those of commands on it; an event from before that comes later starts nothing."""
    town.trigger(events=["comment", "pull_request"])
    town.comment("/keruta fix")
    town.pull_event("opened")
    town.process()
    assert [task["status"] for task in town.tasks()] == ["queued", "queued"]
    town.pull_event("closed", at="2026-11-20T12:00:00Z")
    town.process()

    assert town.said() == "delivery_ended"
    assert [task["status"] for task in town.tasks()] == ["cancelled", "cancelled"]
    town.pull_event("synchronize", at="2026-11-20T11:00:00Z")
    town.process()
    assert (town.said(), len(town.tasks())) == ("delivery_closed", 2)
    town.pull_event("reopened", at="2026-11-20T13:00:00Z")
    town.process()
    assert (town.said(), len(town.tasks())) == ("started", 3)


def test_another_pull_requests_tasks_go_on(town: Town) -> None:
    town.trigger(events=["pull_request"], command=None)
    town.pull_event("opened")
    town.pull_event("closed", pull={"number": 8})
    town.process()

    assert [task["status"] for task in town.tasks()] == ["queued"]


def test_what_keruta_s_own_account_has_caused_starts_nothing(town: Town) -> None:
    """By the account's number, not by a mark: one that a person has copied makes no event keruta's."""
    town.trigger(events=["pull_request", "issue"], command=None)
    town.pull_event("opened", sender=KERUTA)
    town.process()
    assert (town.said(), town.tasks()) == ("delivery_own", [])
    town.pull_event("opened", pull={"number": 9, "body": "<!-- keruta: t -->"})
    town.process()
    assert town.said() == "started"


def test_a_forge_that_does_not_say_who_keruta_is_holds_up_no_push_for_long(town: Town) -> None:
    town.trigger(events=["pull_request"], command=None)
    town.github.answers["GET", "/user"] = (500, {}, {})
    town.pull_event("opened")
    for _ in range(4):
        town.later()

    assert town.said() == "started"


def test_own_events_start_what_asks_for_them_three_levels_deep(town: Town) -> None:
    """The task that caused one is known by what it has pushed."""
    branch = ResultBranch(branch="keruta/fix", if_exists="update")
    town.trigger(events=["pull_request"], command=None, from_keruta=True, result=branch)
    town.world.worker(slots=9)
    town.pull_event("opened")
    town.process()
    for level in range(5):
        task = town.tasks()[-1]
        if level > 3:
            break
        assert (len(town.tasks()), task["origin"].get("level", 0)) == (level + 1, level)
        commit = f"{level + 1:040x}"
        town.world.assign()
        town.world.start(task["_id"])
        town.world.end(task["_id"], result_branch="keruta/fix", result_commit=commit)
        head = {"head": {"sha": commit, "ref": "keruta/fix", "repo": {"id": 1}}}
        town.pull_event("synchronize", sender=KERUTA, pull=head)
        town.process()

    assert (len(town.tasks()), town.said()) == (4, "delivery_levels")


def test_an_own_event_that_no_task_is_known_to_have_caused_starts_nothing(town: Town) -> None:
    """It waits a while for the record of what was pushed."""
    town.trigger(events=["pull_request"], command=None, from_keruta=True)
    town.pull_event("opened", sender=KERUTA)
    for _ in range(7):
        town.later()

    assert (town.said(), town.tasks()) == ("delivery_cause_unknown", [])


def test_what_filters_have_skipped_gets_a_status_that_succeeded(town: Town) -> None:
    """So that a required check does not hang. Not what the filter of branches has skipped."""
    town.trigger(events=["push"], command=None, branches=["main"], paths=["src/*"], report_skipped=True)

    def push(after: str, file: str, ref: str = "main") -> None:
        commits = [{"added": [file], "modified": [], "removed": []}]
        town.deliver("push", ref=f"refs/heads/{ref}", before=OLD, after=after, commits=commits)
        town.process()
        report_skipped(town.world.deliveries, town.forges, "https://k.example.com")

    push(HEAD, "docs/a.md")
    push("c" * 40, "docs/a.md", "other")
    push("d" * 40, "src/a.py")
    posted = [(path, body) for method, path, body in town.github.asked if method == "POST"]
    told = [(path, body["state"]) for path, body in posted if "/statuses/" in path]

    assert told == [(f"/repos/{NAME}/statuses/{HEAD}", "success")]
    assert town.github.faults == []


def test_a_status_of_what_was_skipped_is_sent_again(town: Town) -> None:
    town.trigger(events=["push"], command=None, paths=["src/*"], report_skipped=True)
    where = f"/repos/{NAME}/statuses/{HEAD}"
    town.github.answers["POST", where] = (500, {}, {})
    commits = [{"added": ["docs/a.md"], "modified": [], "removed": []}]
    town.deliver("push", ref="refs/heads/main", before=OLD, after=HEAD, commits=commits)
    town.process()
    assert report_skipped(town.world.deliveries, town.forges, "") == 1
    del town.github.answers["POST", where]
    due = {"skip_due": {"$exists": True}}
    town.world.database["deliveries"].update_many(due, [{"$set": {"skip_due": "$received_at"}}])
    town.world.database["forge_turns"].update_many({}, {"$unset": {"rests_until": ""}})

    assert report_skipped(town.world.deliveries, town.forges, "") == 1
    assert report_skipped(town.world.deliveries, town.forges, "") == 0
    assert [path for method, path, _ in town.github.asked if method == "POST"] == [where, where]


def test_a_review_continues_the_coding_agents_conversation_on_its_branch(town: Town) -> None:
    """The reviewer's words reach it as a variable. A fork's branch of the same name continues nothing."""
    world = town.world
    town.trigger(
        events=["issue", "review_comment"], command=None, prompt="Read $KERUTA_PARAM_COMMENT.", profile="codex",
        result=ResultBranch(branch="keruta/fix", if_exists="update"),
    )  # fmt: skip
    town.deliver("issues", action="opened", issue={"number": 3, "title": "A fault"})
    town.process()
    (first,) = town.tasks()
    world.worker()
    world.assign()
    world.start(first["_id"])
    world.end(first["_id"], answer="I mended it.", result_branch="keruta/fix", result_commit=HEAD)

    def review(repository: int) -> dict[str, Any]:
        pull = {
            "number": 7, "head": {"sha": HEAD, "ref": "keruta/fix", "repo": {"id": repository}},
            "base": {"ref": "main", "repo": {"id": 1}},
        }  # fmt: skip
        words = {"id": 30 + repository, "body": "Also the test, please."}
        town.deliver("pull_request_review", action="submitted", pull_request=pull, review=words)
        town.process()
        return town.tasks()[-1]

    task = review(1)

    assert town.said() == "started"
    spec = task["spec"]
    assert [text in spec["prompt"] for text in ("I mended it.", "Read $KERUTA_PARAM_COMMENT.")] == [True, True]
    assert spec["env"]["KERUTA_PARAM_COMMENT"] == "Also the test, please."
    assert spec["session"]["task"] == first["_id"], "the session itself is resumed, where it is kept"
    assert (spec["repository"]["ref"], spec["result"]["branch"]) == ("keruta/fix", "keruta/fix")
    assert "KERUTA_PARAM_TITLE" not in spec["env"], "of the event before"
    review(2)
    assert (town.last().state, len(town.tasks())) == ("held", 2)
