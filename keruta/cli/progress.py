"""`keruta wait` and `keruta watch`: what becomes of tasks, until they have ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence

import click

from keruta.cli import output, task_ids
from keruta.cli.connection import connect
from keruta.cli.context import Context, json_option, pass_context
from keruta.cli.follow import exit_code
from keruta.client import Client
from keruta.domain.lifecycle import ENDED
from keruta.domain.task import TaskPage, TaskView

LOOK_SECONDS = 0.5
LOOK_MOST_SECONDS = 5.0
WATCH_SECONDS = 2.0
TIMED_OUT = 124  # as timeout(1) has it
WATCHED_MOST = 100


@click.command("wait")
@click.argument("given", metavar="ID...", nargs=-1, required=True)
@click.option("--timeout", type=click.IntRange(1), metavar="SECONDS", help="Stop waiting after this time, with 124.")
@json_option
@pass_context
def wait(context: Context, given: tuple[str, ...], timeout: int | None) -> None:
    """Wait until tasks have ended, and exit with 0 if all have succeeded."""
    client = connect()
    ids = [task_ids.find(client, one) for one in given]
    last = time.monotonic() + timeout if timeout is not None else None
    code = 0
    for task_id in ids:
        task = _ended(client, task_id, last)
        if task is None:
            output.note(f"{task_id} has not ended within {timeout} seconds")
            sys.exit(TIMED_OUT)
        output.changed(task, as_json=context.json)
        code = code or exit_code(task.status, task.exit_code)
    sys.exit(code)


def _ended(client: Client, task_id: str, last: float | None) -> TaskView | None:
    """Return the task when it has ended; None where the time is over before."""
    pause = LOOK_SECONDS
    while (task := client.task(task_id)).status not in ENDED:
        left = pause if last is None else min(pause, last - time.monotonic())
        if left <= 0:
            return None
        time.sleep(left)
        pause = min(pause * 1.3, LOOK_MOST_SECONDS)
    return task


@click.command("watch")
@click.argument("given", metavar="[ID...]", nargs=-1)
@json_option
@pass_context
def watch(context: Context, given: tuple[str, ...]) -> None:
    """Show tasks and how they change, until all have ended. Without an ID: your own tasks that have not ended.

    A terminal shows them as a list that is kept up to date; a pipe gets a line for each change.
    """
    client = connect()
    live = sys.stdout.isatty() and not context.json
    shown: dict[str, TaskView] = {}
    for tasks in _looks(client, [task_ids.find(client, one) for one in given]):
        if live:
            click.clear()
            output.page(TaskPage(items=[task.summary for task in tasks]), as_json=False)
        for task in tasks:
            before = shown.get(task.id)
            if not live and (before is None or (before.status, before.message) != (task.status, task.message)):
                output.changed(task, as_json=context.json)
            shown[task.id] = task
    if not shown:
        output.note("no tasks")


def _looks(client: Client, ids: Sequence[str]) -> Iterator[list[TaskView]]:
    """Yield the tasks as they are, again and again, until all of them have ended."""
    if not ids:
        open_ = client.tasks(owner=client.me().name, status="open", limit=WATCHED_MOST).items
        ids = [one.id for one in open_]
    tasks: dict[str, TaskView] = {}
    while ids:
        for task_id in ids:
            if task_id not in tasks or tasks[task_id].status not in ENDED:
                tasks[task_id] = client.task(task_id)
        yield list(tasks.values())
        if all(task.status in ENDED for task in tasks.values()):
            return
        time.sleep(WATCH_SECONDS)


COMMANDS = (wait, watch)
