"""Commands of people about a task: cancel, retry, accept, input. Each is audited."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from keruta.domain.catalog import access
from keruta.domain.decisions.commands import (
    Accept,
    Cancel,
    Command,
    Input,
    Push,
    Rerun,
    on_command,
    on_resource_deleted,
)
from keruta.domain.decisions.values import Decision, Standing
from keruta.domain.lifecycle import LEASED
from keruta.domain.messages import kind_word, message
from keruta.domain.principal import Principal
from keruta.domain.task import PushRequest
from keruta.errors import Conflict, Forbidden, NotFound
from keruta.ports import Audit, Changed, Nudges
from keruta.services.changes import TaskPorts, settle, write


class CommandPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Ports that commands need."""

    changes: TaskPorts
    audit: Audit
    nudges: Nudges


def cancel(ports: CommandPorts, by: Principal, task_id: str) -> None:
    """Cancel a task, or have its agent cancel it.

    Raises:
        NotFound, Forbidden.
        Conflict: it has ended already.
    """
    now = _carry_out(ports, by, task_id, Cancel())
    if now.task.status in LEASED:
        _nudge(ports, now.task)


def retry(ports: CommandPorts, by: Principal, task_id: str) -> None:
    """Queue another attempt.

    Raises:
        NotFound, Forbidden.
        Conflict: it has succeeded, is still on its way, or what it needs of the catalog was deleted.
    """

    def check(task: Standing) -> None:
        _check_may_run(ports, by, task)
        for kind, name in ports.changes.tasks.without_entries(task_id):
            raise Conflict(message("task_needs_gone", kind=kind_word(kind), name=name), reason="ResourceDeleted")

    _carry_out(ports, by, task_id, Rerun(), check)


def accept(ports: CommandPorts, by: Principal, task_id: str) -> None:
    """Count a task whose end is not known as done. Raises NotFound, Forbidden, Conflict."""
    _carry_out(ports, by, task_id, Accept())


def push(ports: CommandPorts, by: Principal, task_id: str, request: PushRequest) -> None:
    """Queue an attempt that pushes the work which is kept. Raises NotFound, Forbidden, Conflict: there is none."""
    command = Push(branch=request.branch, if_exists=request.if_exists)
    _carry_out(ports, by, task_id, command, lambda task: _check_may_run(ports, by, task))


def send_input(ports: CommandPorts, by: Principal, task_id: str, text: str) -> None:
    """Send a line to the running script. Raises NotFound, Forbidden, Conflict: no script is running."""
    now = _carry_out(ports, by, task_id, Input(text=text))
    _nudge(ports, now.task)


def refuse_queued(ports: CommandPorts, by: Principal, kind: str, name: str) -> int:
    """Fail the queued tasks that need an entry of the catalog that was deleted; return how many they were."""
    decision = on_resource_deleted(kind, name, by)
    waiting = ports.changes.tasks.queued_drawing_on(f"{kind}:{name}")
    return sum(write(ports.changes, task_id, decision) is not None for task_id in waiting)


def _check_may_run(ports: CommandPorts, by: Principal, task: Standing) -> None:
    """Check that whoever has a task as its submitter may still run tasks on what it names. Raises Forbidden."""
    if not (set(task.managers) - {f"user:{by.subject}"}).isdisjoint(by.names):
        return
    for kind, name, granted in ports.changes.tasks.grants(task.id):
        if not access.may_run(granted, by.names):
            said = message("submission_not_permitted", kind=kind_word(kind), name=name)
            raise Forbidden(said, reason="GrantMissing")


def _carry_out(
    ports: CommandPorts, by: Principal, task_id: str, command: Command,
    check: Callable[[Standing], None] = lambda _: None,
) -> Changed:  # fmt: skip
    """Decide and write; `check` is asked in between, of a task that the command is possible for."""

    def decide(task: Standing | None) -> Decision:
        if task is None:
            raise NotFound(message("task_missing"), reason="TaskNotFound")
        decision = on_command(task, command, by)
        check(task)
        return decision

    changed: Changed = settle(
        lambda: ports.changes.tasks.standing(task_id, by.readers),
        decide,
        lambda decision: write(ports.changes, task_id, decision),
    )
    ports.audit.record(by.name, command.action, "task", task_id, readers=changed.task.readers)
    return changed


def _nudge(ports: CommandPorts, task: Standing) -> None:
    worker = ports.changes.tasks.worker(task.holder) if task.holder is not None else None
    if worker is not None:
        ports.nudges.nudge(worker, [task.id])
