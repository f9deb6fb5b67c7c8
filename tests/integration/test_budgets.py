"""Budgets of queues on a real database: reserved with the assignment, settled after the end."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import OperationFailure

from keruta.adapters.mongo.overview import MongoOverview
from keruta.adapters.mongo.spending import MongoSpending
from keruta.domain.catalog.budgets import Budget
from keruta.domain.catalog.profiles import ProfileSpec
from keruta.domain.catalog.queues import QueueSpec, QueueView
from keruta.domain.scheduling import Choice
from keruta.ports import PlanOutdated
from tests.support.admin import signed_in
from tests.support.world import ANN, World

USED = {"input_tokens": 10.0, "output_tokens": 5.0}


@pytest.fixture
def agents(world: World) -> World:
    """A queue for 100 tokens a day, 40 for each task; two workers' worth of slots."""
    world.catalogs["profile"].create(ANN, ProfileSpec(name="agent", coding_agent="claude-code"))
    budget(world, tokens_per_day=100, task_tokens=40)
    world.worker(slots=8)
    return world


def budget(world: World, **fields: Any) -> None:
    spec = QueueSpec(name="default", budget=Budget(**fields) if fields else None)
    world.catalogs["queue"].replace(ANN, "default", spec, None)


def submit(world: World, **fields: Any) -> str:
    return world.submit(**{"profile": "agent", "prompt": "Do it.", "script": None, **fields})


def ledger(world: World) -> list[tuple[float, bool]]:
    return [(row["tokens"], "open" in row) for row in world.database["spending"].find().sort("_id", 1)]


def settle(world: World) -> int:
    return MongoSpending(world.database).settle()


def statuses(world: World, tasks: list[str]) -> list[str]:
    return [world.task(task).status for task in tasks]


def test_a_task_waits_until_the_budget_covers_it(agents: World) -> None:
    """What a task has not used of its reservation is there for the next."""
    tasks = [submit(agents) for _ in range(3)]
    agents.assign()
    assert statuses(agents, tasks) == ["assigned", "assigned", "queued"]
    waiting = agents.task(tasks[2]).waiting
    assert waiting is not None
    assert waiting.message_code == "waiting_budget"

    agents.start(tasks[0])
    agents.end(tasks[0], usage=USED)
    assert (settle(agents), settle(agents)) == (1, 0)
    assert ledger(agents) == [(15.0, False), (40.0, True)]
    agents.assign()
    assert statuses(agents, tasks[2:]) == ["assigned"]


def test_scripts_and_other_queues_spend_nothing(agents: World) -> None:
    agents.catalogs["queue"].create(ANN, QueueSpec(name="other"))
    tasks = [agents.submit(), submit(agents, queue="other"), submit(agents), submit(agents), agents.submit()]
    agents.assign()

    assert statuses(agents, tasks) == ["assigned"] * 5
    assert ledger(agents) == [(40.0, True), (40.0, True)]


def test_each_submitter_has_a_share(agents: World) -> None:
    budget(agents, submitter_tokens_per_day=40, task_tokens=40)
    tasks = [submit(agents, owner="ann"), submit(agents, owner="ann"), submit(agents, owner="bob")]
    agents.assign()

    assert statuses(agents, tasks) == ["assigned", "queued", "assigned"]
    waiting = agents.task(tasks[1]).waiting
    assert waiting is not None
    assert waiting.message_code == "waiting_submitter_budget"


def test_the_next_day_begins_with_the_whole_budget(agents: World) -> None:
    tasks = [submit(agents) for _ in range(3)]
    agents.assign()
    agents.database["spending"].update_many({}, {"$set": {"day": "2000-01-01"}})
    agents.assign()

    assert statuses(agents, tasks) == ["assigned"] * 3


def test_an_assigner_that_was_overtaken_reserves_nothing(agents: World) -> None:
    """The reservation is in the assignment's own transaction."""
    task = submit(agents)
    epoch = agents.store.take_assigner()
    assert epoch is not None
    with pytest.raises(PlanOutdated):
        agents.store.write(epoch - 1, [Choice(task=task, worker="w1", spends=True)])
    assert ledger(agents) == []

    agents.store.write(epoch, [Choice(task=task, worker="w1", spends=True)], release=True)
    assert ledger(agents) == [(40.0, True)]


def test_what_could_not_be_reserved_is_not_assigned(agents: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise OperationFailure("no", 1)

    monkeypatch.setattr(MongoSpending, "reserve", fails)
    task = submit(agents)
    with pytest.raises(Exception):  # noqa: B017
        agents.assign()

    assert agents.document(task)["status"] == "queued"


@pytest.mark.parametrize(("started", "usage", "tokens"), [(False, {}, 0.0), (True, {}, 40.0), (True, USED, 15.0)])
def test_an_attempt_that_was_lost_counts_as_reserved(
    agents: World, started: bool, usage: dict[str, float], tokens: float
) -> None:
    """Unless it never started, or had said what it used."""
    task = submit(agents)
    agents.assign()
    if started:
        agents.start(task)
    agents.database["tasks"].update_one(
        {"_id": task}, {"$set": {"status": "failed", "attempt.outcome": "lost", "attempt.usage": usage}}
    )
    settle(agents)

    assert ledger(agents) == [(tokens, False)]


def test_a_task_that_is_gone_leaves_its_reservation(agents: World) -> None:
    task = submit(agents)
    agents.assign()
    agents.database["tasks"].delete_one({"_id": task})

    assert settle(agents) == 1
    assert ledger(agents) == [(40.0, False)]


def test_an_attempt_may_use_no_more_than_is_reserved(agents: World) -> None:
    """The agent's proxy keeps to it, whatever the coding agent does."""
    agents.submit()
    submit(agents)
    agents.assign()
    made = [one.specification for one in agents.assigned("w1")]
    limits = {one.prompt: one.coding_agent and one.coding_agent.max_tokens for one in made if one is not None}

    assert limits == {None: None, "Do it.": 40}


def test_it_is_shown_and_warned_of(agents: World, app: Any) -> None:
    """From 80 % on: in the API, on the queue's page and in the list of queues."""

    def shown() -> QueueView:
        found: QueueView = agents.catalogs["queue"].show(ANN, "default")
        return found

    submit(agents)
    agents.assign()
    spent = shown().spent_today
    assert spent is not None
    assert (spent.tokens, spent.used, spent.warns) == (40.0, 0.4, False)
    submit(agents)
    agents.assign()
    assert shown().spent_today.warns  # type: ignore[union-attr]

    browser = signed_in(app, ANN)
    assert "80 tokens" in browser.ask("GET", "/queues/default")[1].replace("80.0", "80")
    (today,) = MongoOverview(agents.database, 30.0).of(ANN).budgets
    assert (today.queue, today.used, today.tokens_left, today.usd_left, today.warns) == (
        "default",
        0.8,
        20.0,
        None,
        True,
    )
    overview = browser.ask("GET", "/")[1]
    assert "80 %" in overview
    assert "nearly used up" in overview
    assert "budget 80 %" in browser.ask("GET", "/queues")[1]
    budget(agents)
    assert shown().spent_today is None
