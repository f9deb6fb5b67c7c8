"""Deliveries turned into tasks from the record, each event into one task.

Every step can be repeated: a process that dies between two of them leaves a delivery that is due, and whoever takes it
next finds the task's id under the event's key, and the task under that id.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import msgspec

from keruta.domain.deliveries import (
    CAUSE_TRIES,
    LEVELS_MOST,
    TRIES_MOST,
    Due,
    Verdict,
    closes,
    continued_request,
    group_of,
    is_of,
    origin_of,
    owes_status,
    request_of,
    verdict,
)
from keruta.domain.forge_answers import ForgeError
from keruta.domain.forge_facts import Facts
from keruta.domain.messages import Message, as_message, message
from keruta.domain.naming import new_id
from keruta.domain.principal import Principal
from keruta.domain.task import EarlierSession
from keruta.errors import Conflict, NotFound, Problem, Unavailable
from keruta.ports import Intake, Lookup, SubmitTrace
from keruta.ports.deliveries import DeliveryStore
from keruta.ports.forges import Forges
from keruta.services.forge_questions import ASK_AGAIN_SECONDS, ask, must_ask
from keruta.services.submit import submit
from keruta.services.task_commands import CommandPorts, cancel
from keruta.settings import Settings

log = logging.getLogger(__name__)

Asked = Callable[[Due], tuple[Facts | None, int | None]]  # the forge's answers, and keruta's account there
AT_ONCE = 200  # deliveries of one tick
GROUP_TRIES = 20


class DeliveryPorts(msgspec.Struct, frozen=True, kw_only=True):
    """The ports for making tasks of deliveries.

    Args:
        forges: None in a process that asks no forge: it leaves what must be asked to one that does.
    """

    settings: Settings
    store: DeliveryStore
    lookup: Lookup
    intake: Intake
    tracing: SubmitTrace
    commands: CommandPorts
    forges: Forges | None = None


def process_due(ports: DeliveryPorts) -> int:
    """Process what is due; return how many they were."""
    count, asks = 0, ports.forges is not None
    while count < AT_ONCE and (due := ports.store.take(asks=asks)) is not None:
        process(ports, due)
        count += 1
    return count


def process_one(ports: DeliveryPorts, identity: str) -> None:
    """Process one delivery, if it is due."""
    due = ports.store.take(identity)
    if due is not None:
        process(ports, due)


def process(ports: DeliveryPorts, due: Due) -> None:
    """Make the task that an event starts, or note why it starts none. What can't be done now is done later."""
    try:
        _process(ports, due)
    except Unavailable:
        ports.store.again(due, 5.0)
    except Problem as error:
        # What is wrong with the task: the first fault says more than the summary.
        said = as_message(error.faults[0]["message"]) if error.faults else error.message
        ports.store.finish(due, "failed", message("delivery_refused", why=said))
    except Exception as error:
        log.exception("delivery failed", extra={"action": "delivery_failed", "delivery": due.id})
        if due.tries >= TRIES_MOST:
            ports.store.finish(due, "failed", message("delivery_failed", error=type(error).__name__))
        else:
            ports.store.again(due, 5.0 * 2**due.tries)


def _process(ports: DeliveryPorts, due: Due) -> None:
    spec, store = due.spec, ports.store
    url = store.repository_url(spec.repository) if spec is not None else None
    if spec is None or url is None:
        store.finish(due, "ignored", message("delivery_trigger_gone"))
        return
    if due.late and due.replay == 0:
        store.finish(due, "repeated", message("delivery_late"))
        return
    due = msgspec.structs.replace(due, at_forge=store.at_forge(spec, url))
    ended = _end_closed(ports, due) if closes(due.event) and is_of(due.event, url, due.at_forge) else 0
    asked = partial(_asked, ports, ports.forges) if ports.forges is not None else None
    due, found = decide(store, due, url, asked)
    if found is None:
        return
    if found.state == "ask":
        store.put_aside(due)
        return
    if found.state != "start":
        if ended:
            store.finish(due, "ended", message("delivery_ended", count=ended))
        else:
            owed = owes_status(spec, found, due.event)
            store.finish(due, found.state, found.said or message("delivery_paused"), owes_status=owed)
        return
    due = msgspec.structs.replace(due, event=found.event or due.event)
    if store.closed(spec.name, due.event) and not closes(due.event):
        store.finish(due, "ignored", message("delivery_closed", number=due.event.number or 0))
        return
    level = _level(ports, due)
    if level is not None:
        _start(ports, due, level, without_secrets=found.without_secrets)


def decide(store: DeliveryStore, due: Due, url: str, asked: Asked | None) -> tuple[Due, Verdict | None]:
    """Decide what a trigger does with a delivery, with what its forge says.

    Args:
        due: with what its repository is called at the forge.
        url: the address of the trigger's repository.
        asked: asks the forge; None in a process that asks none.

    Returns:
        The delivery with who caused it, and the decision: `ask` where the forge would have to be asked and is not, None
        where it gave no answer.
    """
    spec = due.spec
    assert spec is not None
    account = store.account(spec)
    due = _known_by(due, account.id)
    decided = partial(verdict, spec, url=url, approved=due.approved, replayed=due.replay > 0, at_forge=due.at_forge)
    found = decided(due.event)
    if not must_ask(found, due.event, account):
        return due, found
    if asked is None:
        return due, Verdict(state="ask")
    facts, identity = asked(due)
    if facts is None:
        return due, None
    due = _known_by(due, identity)
    return due, decided(due.event, facts=facts)


def _known_by(due: Due, account: int | None) -> Due:
    """Return a delivery whose event says whether keruta's own account has caused it: where it is known, a mark in a
    text counts for nothing.
    """
    if account is None or due.event.sender_id is None:
        return due
    own = due.event.sender_id == account
    return msgspec.structs.replace(due, event=msgspec.structs.replace(due.event, own=own))


def _asked(ports: DeliveryPorts, forges: Forges, due: Due) -> tuple[Facts | None, int | None]:
    """Ask the forge. No facts: it did not answer, and is asked again later, or nothing is started."""
    store, spec = ports.store, due.spec
    assert spec is not None
    assert spec.forge is not None
    if store.rests(spec.forge):
        store.again(due, ASK_AGAIN_SECONDS[0])
        return None, None
    try:
        return ask(store, forges, spec, due)
    except (NotFound, Conflict) as error:
        said, lasting = error.message, True
    except ForgeError as error:
        said, lasting = error.message, error.lasting
        if not lasting:
            store.rest(spec.forge, error.again_seconds or ASK_AGAIN_SECONDS[0])
    if lasting or due.tries > len(ASK_AGAIN_SECONDS):
        store.finish(due, "failed", message("delivery_not_asked", why=said))
    else:
        store.again(due, ASK_AGAIN_SECONDS[due.tries - 1])
    return None, None


def _level(ports: DeliveryPorts, due: Due) -> int | None:
    """Return how many tasks of keruta's own lead to this one; None if there are too many, or that is not known yet."""
    store, event = ports.store, due.event
    # Who is named beside a pull request's new commit may be its author alone, where it was found by comparison.
    pushed = event.kind == "push" or (event.kind == "pull_request" and event.change == "synchronized")
    if not event.own and not pushed:
        return 0
    cause = store.level(event)
    if cause is None:
        if not event.own:
            return 0
        if due.tries <= CAUSE_TRIES:
            store.again(due, 2.0 * due.tries)
        else:
            store.finish(due, "ignored", message("delivery_cause_unknown"))
        return None
    assert due.spec is not None
    if not due.spec.from_keruta:
        store.finish(due, "ignored", message("delivery_own"))
        return None
    if cause >= LEVELS_MOST:
        store.finish(due, "ignored", message("delivery_levels", count=LEVELS_MOST))
        return None
    return cause + 1


def _start(ports: DeliveryPorts, due: Due, level: int, *, without_secrets: bool) -> None:
    """Make the task of an event."""
    store, spec = ports.store, due.spec
    assert spec is not None
    rights = store.runs_as(spec, due.editor)
    if rights.stopped is not None or rights.principal is None:
        store.finish(due, "failed", rights.stopped or message("delivery_editor"))
        return
    who = rights.principal
    task, own = store.claim(due, new_id())
    if task is None or not own:
        said = message("delivery_repeated", task=task) if task else message("delivery_repeated_none")
        store.finish(due, "repeated", said, task)
        return
    if (instead := _enter_group(ports, due, who, task)) is not None:
        store.finish(due, "skipped", *instead)
        return
    _submit(ports, due, who, task, level, without_secrets=without_secrets)
    _cancel_replaced(ports, due, who, task)
    if store.closed(spec.name, due.event) and not closes(due.event):
        _cancel(ports, who, task)
    store.finish(due, "started", message("delivery_started", task=task), task)


def _end_closed(ports: DeliveryPorts, due: Due) -> int:
    """Cancel what still runs for a pull request that was closed or merged; return how many tasks they were."""
    assert due.spec is not None
    who = ports.store.runs_as(due.spec, due.editor).principal
    tasks = ports.store.close(due.spec, due.event)
    for task in tasks if who is not None else ():
        _cancel(ports, who, task)  # type: ignore[arg-type]
    return len(tasks)


def _submit(
    ports: DeliveryPorts, due: Due, who: Principal, task: str, level: int, *, without_secrets: bool
) -> None:  # fmt: skip
    """Make the task. If it can't be made, its group goes on without it."""
    assert due.spec is not None
    origin = origin_of(due.spec, due.event, due.at_forge, level)
    request, session = request_of(due.spec, due.event, without_secrets=without_secrets), None
    if due.event.kind == "review_comment" and due.spec.prompt is not None and not due.event.fork:
        earlier = ports.store.conversation(due.spec, due.event, who)
        if earlier is not None:
            request = continued_request(due.spec, earlier, request)
            if earlier.attempts and earlier.owner == who.subject:
                last = earlier.attempts[-1].number
                session = EarlierSession(task=earlier.id, attempt=last, prompt=due.spec.prompt)
    try:
        submit(
            request, who, lookup=ports.lookup, intake=ports.intake, tracing=ports.tracing,
            settings=ports.settings, identity=task, origin=origin, session=session,
        )  # fmt: skip
    except Unavailable:
        raise
    except Problem:
        ports.store.leave_group(group_of(due.spec, due.event), task)
        raise


def _enter_group(ports: DeliveryPorts, due: Due, who: Principal, task: str) -> tuple[Message, str] | None:
    """Make a task its group's last one, and cancel the earlier ones where the trigger replaces them.

    The group is changed by one guarded update, so of two events at once one comes after the other. An earlier task that
    is not made yet is cancelled by whoever makes it, who looks at the group afterwards.

    Returns:
        None; or why the task is not to be made, and the task that is there in its place.
    """
    assert due.spec is not None
    if due.spec.concurrency == "allow":
        return None
    group = group_of(due.spec, due.event)
    for _ in range(GROUP_TRIES):
        before = ports.store.in_group(group)
        if before == task:
            break
        if before and ports.store.open_task(before):
            if due.spec.concurrency == "skip":
                return message("delivery_skipped", task=before), before
            if before > task:
                return message("delivery_superseded", task=before), before
        if ports.store.enter_group(group, before, task):
            break
    else:
        raise Unavailable(message("task_moved"))
    for earlier in ports.store.replaced(group):
        if due.spec.concurrency == "replace":
            _cancel(ports, who, earlier)
        ports.store.not_replaced(group, earlier)
    return None


def _cancel_replaced(ports: DeliveryPorts, due: Due, who: Principal, task: str) -> None:
    """Cancel a task that was just made, if a newer one has taken its place meanwhile."""
    assert due.spec is not None
    if due.spec.concurrency == "replace" and ports.store.in_group(group_of(due.spec, due.event)) != task:
        _cancel(ports, who, task)


def _cancel(ports: DeliveryPorts, who: Principal, task: str) -> None:
    try:
        cancel(ports.commands, who, task)
    except Unavailable:
        raise
    except Problem as error:
        # It has ended, is not made yet, or is not this one's to cancel: then it goes on beside the new one.
        log.info("earlier task not cancelled: %s", error.reason, extra={"task": task, "action": "not_replaced"})
