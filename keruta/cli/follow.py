"""A task's log on the terminal, until the task has ended."""

from __future__ import annotations

from keruta.cli import output
from keruta.client import Client


def follow_to_end(client: Client, task_id: str, *, as_json: bool, attempt: int | None = None) -> int:
    """Shows the log until the task has ended; returns the code to end with.

    0 if it succeeded; the script's or the check's own code if that failed; 1 for every other end.
    """
    try:
        for event in client.follow(task_id, attempt=attempt):
            output.event(event, as_json=as_json)
    except KeyboardInterrupt:
        output.note(f"the task goes on: keruta logs {task_id} --follow")
        return 130
    task = client.task(task_id)
    output.verdict(task, as_json=as_json)
    return 0 if task.status == "succeeded" else (task.exit_code or 1)
