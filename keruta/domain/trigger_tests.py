"""A trigger tried with an event: what would happen, and why."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from keruta.domain.forges import ForgeEvent
from keruta.domain.task import TaskRequest


class TriggerTest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event that a trigger is tried with.

    Args:
        event: the forge's own word for it, as its header says; without it, it is guessed from the payload.
        payload: the body that the forge would send.
    """

    payload: dict[str, Any]
    event: Annotated[str, Meta(max_length=80, pattern="^[A-Za-z0-9_ .-]+$")] | None = None


class TriggerTried(msgspec.Struct, frozen=True, kw_only=True):
    """The result of trying a trigger: nothing was started.

    Args:
        starts: whether a task would start; `state` is that of the delivery.
        read: the event as keruta reads it, with what the forge said of it.
        task: the task that would be submitted.
    """

    starts: bool
    state: str
    message: str
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None
    event: str = ""
    read: ForgeEvent | None = None
    task: TaskRequest | None = None


def guessed(payload: dict[str, Any]) -> str:
    """Return the name of the event that GitHub or Gitea sends with such a payload; empty where none is known."""
    names = (
        ("check_run", "check_run"), ("merge_group", "merge_group"), ("review", "pull_request_review"),
        ("workflow_run", "workflow_run"),
    )  # fmt: skip
    for field, name in names:
        if isinstance(payload.get(field), dict):
            return name
    if "comment" in payload:
        return "issue_comment" if "issue" in payload else "pull_request_review_comment"
    if "pull_request" in payload:
        return "pull_request"
    if "issue" in payload:
        return "issues"
    if "sha" in payload and "state" in payload:
        return "status"
    return "push" if "ref" in payload and "after" in payload else ""
