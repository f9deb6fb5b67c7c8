"""A task's log on the terminal, until the task has ended."""

from __future__ import annotations

from keruta.cli import output
from keruta.client import Client


def follow_to_end(client: Client, task_id: str, *, as_json: bool, attempt: int | None = None) -> int:
    """Show the log until the task, or the attempt that is named, has ended; return the exit code.

    0 if it succeeded; the script's or the check's own code if that failed; 1 for every other end.
    """
    try:
        for event in client.follow(task_id, attempt=attempt):
            output.event(event, as_json=as_json)
    except KeyboardInterrupt:
        output.note(f"the task is still running; to see its log: keruta logs {task_id} --follow")
        return 130
    task = client.task(task_id)
    named = task.attempt(attempt) if attempt is not None else None
    output.verdict(task, named, as_json=as_json)
    ended, code = (task.status, task.exit_code) if named is None else (named.outcome or task.status, named.exit_code)
    return exit_code(ended, code)


def exit_code(status: str, code: int | None) -> int:
    """Return the exit code for a task's or attempt's end: 0 if it succeeded, else its script's own, or 1."""
    return 0 if status == "succeeded" else (code or 1)
