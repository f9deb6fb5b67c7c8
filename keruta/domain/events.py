"""The events between keruta's parts: their types and the little that each says. Events are hints."""

from __future__ import annotations

from datetime import datetime

import msgspec

TICK = "dev.keruta.dispatch.tick.v1"
PING = "dev.knative.sources.ping"  # what a PingSource sends; its type can't be chosen
TICKS = frozenset({TICK, PING})
WORKER_READY = "dev.keruta.worker.ready.v1"
TASK_ASSIGNED = "dev.keruta.task.assigned.v1"
TASK_QUEUED = "dev.keruta.task.queued.v1"


def task_event(status: str) -> str:
    """Names the event that a task's change to a status is told by."""
    return f"dev.keruta.task.{status}.v1"


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent's worth: the same `id` is the same event, however often it is sent.

    Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
    """

    id: str
    type: str
    subject: str | None = None
    time: datetime | None = None
    source: str = "/keruta"
    data: dict[str, str | int | None] = {}
