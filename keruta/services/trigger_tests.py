"""Tries a trigger with an event: decides as for a delivery, asks the forge, and starts nothing."""

from __future__ import annotations

from datetime import datetime

import msgspec

from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.deliveries import Due, closes, group_of, is_of, request_of, too_old
from keruta.domain.forge_answers import ForgeError
from keruta.domain.messages import Message, fields_of, message
from keruta.domain.principal import Principal
from keruta.domain.trigger_tests import TriggerTest, TriggerTried, guessed
from keruta.errors import Conflict, InvalidRequest, NotFound
from keruta.ports.deliveries import Deliveries, DeliveryStore
from keruta.ports.forges import Forges
from keruta.services.deliveries import decide
from keruta.services.forge_questions import ask
from keruta.services.receiving import event_from


def try_trigger(
    who: Principal, name: str, test: TriggerTest, now: datetime, *, seen: Deliveries, store: DeliveryStore,
    forges: Forges,
) -> TriggerTried:  # fmt: skip
    """Say what a trigger would do with an event, and why.

    Raises:
        NotFound, Forbidden: the trigger, or its repository, is not theirs to run.
        InvalidRequest: the event's name is missing, and can't be guessed.
        Unavailable.
    """
    spec = seen.runnable(who, name)
    provider = store.provider(spec)
    called = test.event or ("" if provider in ("gitlab", "generic") else guessed(test.payload))
    if not called and provider not in ("gitlab", "generic"):
        raise InvalidRequest(message("trigger_test_event"), reason="EventUnknown")
    event = event_from(provider, called, "test", test.payload)
    due = Due(id="", event=event, replay=0, approved=False, tries=99, spec=spec)
    return _tried(due, spec, now, store, forges)


def _tried(due: Due, spec: TriggerSpec, now: datetime, store: DeliveryStore, forges: Forges) -> TriggerTried:
    url = store.repository_url(spec.repository)
    if url is None:
        return _answer(due, "ignored", message("delivery_trigger_gone"))
    due = msgspec.structs.replace(due, at_forge=store.at_forge(spec, url))
    if too_old(due.event, now):
        return _answer(due, "failed", message("forge_old"))
    try:
        due, found = decide(store, due, url, lambda due: ask(store, forges, spec, due))
    except (ForgeError, Conflict, NotFound) as error:
        return _answer(due, "failed", message("delivery_not_asked", why=error.message))
    assert found is not None
    if found.state != "start":
        if closes(due.event) and is_of(due.event, url, due.at_forge):
            return _answer(due, "ended", message("trigger_test_closes"))
        return _answer(due, found.state, found.said or message("delivery_paused"))
    due = msgspec.structs.replace(due, event=found.event or due.event)
    if store.closed(spec.name, due.event) and not closes(due.event):
        return _answer(due, "ignored", message("delivery_closed", number=due.event.number or 0))
    if (stopped := store.runs_as(spec, None).stopped) is not None:
        return _answer(due, "failed", stopped)
    before = store.in_group(group_of(spec, due.event)) if spec.concurrency != "allow" else None
    if before and spec.concurrency == "skip" and store.open_task(before):
        return _answer(due, "skipped", message("delivery_skipped", task=before))
    tried = _answer(due, "started", message("trigger_test_starts"))
    return msgspec.structs.replace(
        tried, starts=True, task=request_of(spec, due.event, without_secrets=found.without_secrets)
    )


def _answer(due: Due, state: str, said: Message) -> TriggerTried:
    return TriggerTried(starts=False, state=state, event=due.event.name, read=due.event, **fields_of(said))
