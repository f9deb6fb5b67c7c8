"""Facts about an event that only the forge knows, and which of them a trigger needs. Pure."""

from __future__ import annotations

import msgspec

from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.comment_commands import Command, command_of
from keruta.domain.forge_posts import Permission, PullRequestHead
from keruta.domain.forges import ForgeEvent
from keruta.domain.messages import Message, message

RANK: dict[Permission, int] = {"none": 0, "read": 1, "write": 2, "admin": 3}


class Questions(msgspec.Struct, frozen=True, kw_only=True):
    """The facts that a trigger needs of an event.

    Args:
        permission: what the event's sender may do with the repository.
        pull_request: which commit a pull request is at now.
        branches: of which branches the event's commit is the head.
        labels: which labels were just put on, where an event names all that are there.
    """

    permission: bool = False
    pull_request: bool = False
    branches: bool = False
    labels: bool = False

    @property
    def any(self) -> bool:
        return self.needed or self.labels

    @property
    def needed(self) -> bool:
        """Return whether nothing may start without an answer."""
        return self.permission or self.pull_request or self.branches


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The forge's answers to what was asked. `labels` is None where it does not say."""

    permission: Permission | None = None
    pull_request: PullRequestHead | None = None
    branches: list[str] = []
    labels: list[str] | None = None


def questions(spec: TriggerSpec, event: ForgeEvent) -> Questions:
    """Return what the forge must be asked before the trigger starts a task for an event."""
    return Questions(
        permission=spec.wanted_permission is not None and event.kind not in ("schedule", "run", "event"),
        pull_request=command_in(spec, event) is not None and event.pull_request,
        branches=event.kind == "check_failed",
        labels=bool(spec.labels) and spec.forge is not None and event.change == "labeled" and event.added is None
        and event.number is not None and event.at is not None,
    )  # fmt: skip


def command_in(spec: TriggerSpec, event: ForgeEvent) -> Command | None:
    """Return the trigger's command in an event's comment."""
    if spec.command is None or event.kind not in ("comment", "review_comment"):
        return None
    return command_of(spec.command, event.commands)


def completed(event: ForgeEvent, asked: Questions, facts: Facts) -> ForgeEvent:
    """Return an event with what the forge says of its pull request, of its commit's branches, or of its labels."""
    if asked.labels and facts.labels is not None:
        event = msgspec.structs.replace(event, added=facts.labels)
    if asked.pull_request and (head := facts.pull_request) is not None:
        return msgspec.structs.replace(event, commit=head.commit, ref=head.ref, base=head.base, fork=head.fork)
    if asked.branches and facts.branches:
        ref = event.ref if event.ref in facts.branches else sorted(facts.branches)[0]
        return msgspec.structs.replace(event, ref=ref, base=ref)
    return event


def refusal(spec: TriggerSpec, event: ForgeEvent, asked: Questions, facts: Facts) -> Message | None:
    """Return why the forge's answers stand against a task; None if they do not.

    Args:
        event: as `completed` returns it.
    """
    wanted = spec.wanted_permission
    if asked.permission and wanted is not None and RANK[facts.permission or "none"] < RANK[wanted]:
        return message("delivery_permission", sender=event.sender or "", permission=wanted)
    if asked.branches and not facts.branches:
        return message("delivery_no_head", commit=(event.commit or "")[:12])
    command = command_in(spec, event)
    if asked.pull_request and command is not None:
        head = facts.pull_request
        if head is None or head.commit is None or not head.open:
            return message("delivery_closed", number=event.number or 0)
        if head.fork and command.commit is None:
            return message("delivery_fork_command", command=command.name)
        if command.commit not in (None, head.commit):
            return message("delivery_other_commit", commit=(command.commit or "")[:12], head=head.commit[:12])
    return None
