"""Requests that an agent's token allows, and the moment from which it allows none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keruta.adapters.mongo.agent_access import MongoAgentAccess
from keruta.domain.naming import attempt_id
from keruta.domain.principal import Sender
from keruta.domain.reports import Held, LogChunk, Outcome, Report
from keruta.errors import Forbidden, NotFound, Unauthenticated
from keruta.services.reports import apply
from tests.support.world import World


@pytest.fixture
def access(world: World) -> MongoAgentAccess:
    return MongoAgentAccess(world.database)


def running(world: World) -> str:
    task_id = world.submit()
    world.worker()
    world.assign()
    world.start(task_id)
    return task_id


def chunk(task_id: str, sequence: int, data: bytes = b"x\n") -> LogChunk:
    return LogChunk(task=task_id, attempt=1, sequence=sequence, offset_bytes=0, at=datetime.now(UTC), data=data)


def by_attempt(world: World, task_id: str, *entries: LogChunk) -> list[Outcome]:
    sender = Sender(attempt=attempt_id(task_id, 1))
    return apply(world.reports, sender, Report(entries=list(entries), held=[])).outcomes


def test_a_replaced_session_fetches_nothing(world: World, access: MongoAgentAccess) -> None:
    """Neither a specification, nor a document, nor which attempts are over."""
    task_id = running(world)
    old = Sender(worker="w1", session=world.sessions["w1"])
    access.check_attempt(old, task_id, 1)

    world.worker()

    with pytest.raises(Unauthenticated):
        access.check_attempt(old, task_id, 1)
    with pytest.raises(Unauthenticated):
        access.check_session(old)
    access.check_attempt(Sender(worker="w1", session=world.sessions["w1"]), task_id, 1)


def test_a_token_speaks_for_its_own_attempt(world: World, access: MongoAgentAccess) -> None:
    """Not for another worker's, another attempt's, or one that never was."""
    task_id, other = running(world), world.submit()
    world.worker("w2")
    world.assign()
    assert world.document(other)["attempt"]["worker"] in ("w1", "w2")
    mine = Sender(worker="w2", session=world.sessions["w2"])

    with pytest.raises(Forbidden):
        access.check_attempt(mine, task_id, 1)
    with pytest.raises(Forbidden):
        access.check_attempt(Sender(attempt=attempt_id(other, 1)), task_id, 1)
    with pytest.raises(NotFound):
        access.check_attempt(Sender(attempt=attempt_id(task_id, 1)), task_id, 2)
    with pytest.raises(NotFound):
        access.check_attempt(Sender(attempt=attempt_id("0" * 26, 1)), "0" * 26, 1)
    access.check_attempt(Sender(attempt=attempt_id(task_id, 1)), task_id, 1)


def test_after_the_end_a_token_fetches_and_stores_nothing(world: World, access: MongoAgentAccess) -> None:
    """Its attempt may still repeat what is on record; one that was lost may come back."""
    task_id = running(world)
    sender = Sender(attempt=attempt_id(task_id, 1))
    assert by_attempt(world, task_id, chunk(task_id, 0))[0].accepted
    world.lease_runs_out(task_id)
    world.tick()
    assert world.task(task_id).status == "unknown"
    access.check_attempt(sender, task_id, 1)
    world.end(task_id)

    with pytest.raises(Forbidden) as caught:
        access.check_attempt(sender, task_id, 1)
    again, more = by_attempt(world, task_id, chunk(task_id, 0), chunk(task_id, 1, b"forged\n"))

    assert caught.value.reason == "AttemptEnded"
    assert (again.accepted, again.repeat) == (True, True)
    assert (more.accepted, more.reason) == (False, "AttemptEnded")
    assert b"".join(one.data for one in world.reading.chunks(task_id, 1)) == b"x\n"


def test_a_heartbeat_renews_only_what_its_sender_holds(world: World) -> None:
    """Neither another worker's attempt, nor another attempt's by an attempt's token."""
    task_id = running(world)
    world.worker("w2")
    past = {"$set": {"lease_until": datetime(2020, 1, 1, tzinfo=UTC)}}
    world.database["tasks"].update_one({"_id": task_id}, past)
    held = Held(task=task_id, attempt=1, execution="x1")
    world.database["workers"].update_many({}, {"$set": {"seen_at": datetime(2020, 1, 1, tzinfo=UTC)}})

    world.report("w2", held=[held])
    other = world.submit()
    apply(world.reports, Sender(attempt=attempt_id(other, 1)), Report(entries=[], held=[held]))
    still = world.document(task_id)["lease_until"]
    apply(world.reports, Sender(attempt=attempt_id(task_id, 1)), Report(entries=[], held=[held]))

    assert still.year == 2020
    assert world.document(task_id)["lease_until"].year > 2020
