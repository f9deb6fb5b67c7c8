"""Ports for taking deliveries and making tasks of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from keruta.domain.catalog.common import Page
from keruta.domain.catalog.triggers import Provider, TriggerSpec
from keruta.domain.deliveries import DeliveryView, Due, State
from keruta.domain.forges import ForgeEvent
from keruta.domain.messages import Message
from keruta.domain.principal import Principal
from keruta.domain.task import TaskView
from keruta.domain.trigger_rights import RunsAs


class KnownTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """The form of a trigger's events, and the secrets that may sign its deliveries."""

    provider: Provider
    secrets: Sequence[str]


class OwnAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The account that keruta acts as at a forge, by the forge's own number.

    Args:
        known: whether the forge need not be asked: it has answered, or keruta does not sign in there.
    """

    known: bool
    id: int | None = None


class DeliveryStore(Protocol):
    """Storage of deliveries. Every method raises Unavailable."""

    def trigger(self, name: str) -> KnownTrigger | None: ...

    def provider(self, spec: TriggerSpec) -> Provider:
        """Return the form of a trigger's events, by itself or its forge."""
        ...

    def triggers_of_source(self, source: str) -> list[str]:
        """Return the triggers that allow the source of a CloudEvent."""
        ...

    def add(self, trigger: str, delivery: str, event: ForgeEvent, body: bytes) -> tuple[str, bool]:
        """Store a delivery in one durable insert; return its id, and whether it is a new one.

        Raises:
            Conflict: the trigger has a delivery of that name with another body.
        """
        ...

    def take(self, identity: str | None = None, *, asks: bool = False) -> Due | None:
        """Return a delivery that is due, or that one if it is, for this process alone for a minute.

        Args:
            asks: one of those that were put aside for a process that asks the forge.
        """
        ...

    def put_aside(self, due: Due) -> None:
        """Leave a delivery to a process that asks the forge."""
        ...

    def account(self, spec: TriggerSpec) -> OwnAccount:
        """Return what is known of keruta's own account at a trigger's forge."""
        ...

    def note_account(self, forge: str, identity: int | None) -> None:
        """Note the account that the forge's present credential signs in as; None where that can't be told."""
        ...

    def rests(self, forge: str) -> bool:
        """Say whether a forge is to be left alone for now."""
        ...

    def rest(self, forge: str, seconds: float) -> None:
        """Leave a forge alone for a while."""
        ...

    def level(self, event: ForgeEvent) -> int | None:
        """Return the level of the task that has caused an event, by its mark or what it pushed; None if none has."""
        ...

    def close(self, spec: TriggerSpec, event: ForgeEvent) -> list[str]:
        """Note that a pull request or a group is closed; return the trigger's open tasks for it from before."""
        ...

    def closed(self, trigger: str, event: ForgeEvent) -> bool:
        """Say whether an event's pull request or group was closed at or after it."""
        ...

    def conversation(self, spec: TriggerSpec, event: ForgeEvent, who: Principal) -> TaskView | None:
        """Return the last task of a coding agent that pushed the event's branch, and has ended."""
        ...

    def finish(
        self, due: Due, state: State, said: Message, task: str | None = None, *, owes_status: bool = False
    ) -> None:
        """Note what came of a delivery.

        Args:
            owes_status: whether the forge is to be told that it was skipped.
        """
        ...

    def take_skipped(self) -> Due | None:
        """Return a delivery of whose skipping the forge is to be told, for this process alone for a minute."""
        ...

    def has_status(self, due: Due) -> bool:
        """Say whether a task of the trigger speaks of the delivery's commit."""
        ...

    def skip_told(self, due: Due, again_seconds: float | None) -> None:
        """Note that nothing more is to be told of a delivery, or that it is again after a while."""
        ...

    def again(self, due: Due, seconds: float) -> None:
        """Have a delivery taken again after a while."""
        ...

    def claim(self, due: Due, task: str) -> tuple[str | None, bool]:
        """Return the id of the one task that this event makes of its trigger, and whether this delivery makes it.

        None: another delivery of the event has made none.
        """
        ...

    def in_group(self, group: str) -> str | None:
        """Return the last task of a trigger's group; empty where that could not be made."""
        ...

    def enter_group(self, group: str, before: str | None, task: str) -> bool:
        """Make a task a group's last one, if `before` still is; return whether it was."""
        ...

    def leave_group(self, group: str, task: str) -> None:
        """Note that a group's last task could not be made."""
        ...

    def replaced(self, group: str) -> list[str]:
        """Return the earlier tasks of a group that are still to be cancelled."""
        ...

    def not_replaced(self, group: str, task: str) -> None:
        """Note that an earlier task needs no cancelling any more."""
        ...

    def open_task(self, task: str) -> bool:
        """Say whether a task has not ended, or is still to be made."""
        ...

    def runs_as(self, spec: TriggerSpec, editor: str | None) -> RunsAs:
        """Return as whom a trigger runs, by the rights of now.

        Args:
            editor: the subject of whoever saved these words of the trigger; None for its last editor.
        """
        ...

    def repository_url(self, name: str) -> str | None: ...

    def at_forge(self, spec: TriggerSpec, url: str | None = None) -> str | None:
        """Return the owner and name of a trigger's repository at its forge; None where keruta reports nothing there.

        Args:
            url: the repository's address, where it is known already.
        """
        ...


class Scheduled(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger of whose schedule a time has come: `at` is that time, as the expression says it."""

    spec: TriggerSpec
    at: datetime


class ScheduleStore(Protocol):
    """The next time of each trigger's schedule. Every method raises Unavailable."""

    def come(self, now: datetime) -> list[Scheduled]:
        """Return triggers of whose schedule a time has come, those first that are due longest."""
        ...

    def advance(self, due: Scheduled, now: datetime) -> None:
        """Note which time is the next after `now`, unless that was done, or the schedule changed."""
        ...


class Deliveries(Protocol):
    """Deliveries as people see them, and their actions. What someone may not read does not exist: NotFound."""

    def page(self, who: Principal, trigger: str, *, limit: int, cursor: str | None) -> Page[DeliveryView]: ...

    def body(self, who: Principal, trigger: str, delivery: str) -> bytes:
        """Return a delivery as it came. Raises NotFound."""
        ...

    def runnable(self, who: Principal, trigger: str) -> TriggerSpec:
        """Return a trigger that someone may run. Raises NotFound, Forbidden."""
        ...

    def run(self, who: Principal, trigger: str) -> DeliveryView:
        """Have a trigger start its task now. Raises NotFound, Forbidden."""
        ...

    def replay(self, who: Principal, trigger: str, delivery: str) -> DeliveryView:
        """Process a delivery once more, as a new event. Raises NotFound, Forbidden."""
        ...

    def held(self, who: Principal, *, limit: int) -> list[tuple[str, DeliveryView]]:
        """Return the newest deliveries that wait for an approval of this person's, each with its trigger."""
        ...

    def approve(self, who: Principal, trigger: str, delivery: str) -> DeliveryView:
        """Let a delivery that is held start its task. Raises NotFound, Forbidden, Conflict."""
        ...
