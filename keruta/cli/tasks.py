"""Commands on tasks that were submitted: list and show them, decide about them, wait for them, get what they left."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from keruta.cli import output, task_ids
from keruta.cli.connection import connect
from keruta.cli.context import Context, json_option, pass_context
from keruta.cli.errors import failure_of, tell_failure
from keruta.cli.follow import follow_to_end
from keruta.cli.printable import printable
from keruta.client import Client
from keruta.domain.file_names import as_bytes
from keruta.domain.task import AttemptView, IfExists, TaskView
from keruta.errors import KerutaError

TASK_LIMIT = 200
Action = Callable[[Client, str], TaskView]
COMMANDS: list[click.Command] = []

_SPAN = re.compile(r"(\d{1,6})(min|[smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Since(click.ParamType[str]):
    """A time, or how long ago: `2h`, `3d`, `2026-11-01`, `2026-11-01T09:00+09:00`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            if (span := _SPAN.fullmatch(value)) is not None:
                return (datetime.now(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})).isoformat()
            at = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time: write 2h, 3d, 2026-11-01 or 2026-11-01T09:00", param, ctx)
        return at.astimezone().isoformat()  # without a zone: this machine's


def add_to(cli: click.Group) -> None:
    """Add every command on tasks."""
    for command in COMMANDS:
        cli.add_command(command)


def _command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    def add(function: Callable[..., Any]) -> click.Command:
        command = click.command(name)(function)
        COMMANDS.append(command)
        return command

    return add


@_command("list")
@click.option("--status", help="Only tasks in this status; open: tasks that have not ended.")
@click.option("--queue", help="Only tasks of this queue.")
@click.option("--repo", "repository", help="Only tasks on this repository.")
@click.option("--label", help="Only tasks with this label, as KEY=VALUE.")
@click.option("--owner", help="Only tasks of this submitter.")
@click.option("--mine", is_flag=True, help="Only your own tasks.")
@click.option("-q", "--search", "q", help="Words, or parts of words, that the name or id must contain.")
@click.option("--since", type=Since(), help="Only tasks submitted since then: 2h, 3d, 2026-11-01.")
@click.option("--until", type=Since(), help="Only tasks submitted before then.")
@click.option("--limit", type=click.IntRange(1, TASK_LIMIT), default=20, show_default=True)
@click.option("--cursor", help="Show the next page: the cursor that the previous page printed.")
@json_option
@pass_context
def list_(context: Context, /, mine: bool, **filters: Any) -> None:
    """List tasks, newest first."""
    client = connect()
    if mine:
        if filters["owner"] is not None:
            raise click.UsageError("--mine and --owner exclude each other")
        filters["owner"] = client.me().name
    output.page(client.tasks(**filters), as_json=context.json)


def _for_tasks(name: str, help_: str) -> Callable[[Action], Action]:
    """Add a command on one or more tasks: each is tried, and the command fails if one of them was refused."""

    def add(action: Action) -> Action:
        @_command(name)
        @click.argument("given", metavar="ID...", nargs=-1, required=True)
        @json_option
        @pass_context
        def command(context: Context, given: tuple[str, ...]) -> None:
            client = connect()
            if len(given) == 1:
                output.task(action(client, task_ids.find(client, given[0])), as_json=context.json)
                return
            sys.exit(_each(client, given, action, as_json=context.json))

        command.help = help_
        return action

    return add


def _each(client: Client, given: tuple[str, ...], action: Action, *, as_json: bool) -> int:
    code = 0
    for one in given:
        try:
            output.changed(action(client, task_ids.find(client, one)), as_json=as_json)
        except (KerutaError, click.ClickException) as error:
            failure = failure_of(error)
            tell_failure(msgspec.structs.replace(failure, message=f"{one}: {failure.message}"), as_json=as_json)
            code = 1
    return code


@_command("show")
@click.argument("task_id", metavar="ID")
@click.option("--web", is_flag=True, help="Open its page in the browser.")
@json_option
@pass_context
def show(context: Context, task_id: str, web: bool) -> None:
    """Show a task: its state and reason, its attempts, its outputs and files."""
    client = connect()
    found = task_ids.find(client, task_id)
    if web:
        sys.exit(_open(client, f"/tasks/{found}", as_json=context.json))
    output.task(client.task(found), as_json=context.json)


@_for_tasks("cancel", "Cancel tasks.")
def cancel(client: Client, task_id: str) -> TaskView:
    return client.cancel(task_id)


@_for_tasks("retry", "Start another attempt of tasks that failed, were cancelled, or whose end is unknown.")
def retry(client: Client, task_id: str) -> TaskView:
    return client.retry(task_id)


@_for_tasks("accept", "Mark tasks whose end is unknown as succeeded.")
def accept(client: Client, task_id: str) -> TaskView:
    return client.accept(task_id)


@_command("open")
@click.argument("task_id", metavar="[ID]", required=False)
@json_option
@pass_context
def open_(context: Context, task_id: str | None) -> None:
    """Open a task's page, or the list of tasks, in the browser."""
    client = connect()
    place = "/" if task_id is None else f"/tasks/{task_ids.find(client, task_id)}"
    sys.exit(_open(client, place, as_json=context.json))


def _open(client: Client, place: str, *, as_json: bool) -> int:
    """Open a page of this keruta in the browser; return the exit code."""
    address = client.address.rstrip("/") + place
    output.document({"url": address}) if as_json else output.note(address)
    return click.launch(address)


def _text(given: str) -> str:
    """Return a text from the command line, or standard input's for `-`."""
    return sys.stdin.read() if given == "-" else given


def _show_or_follow(context: Context, client: Client, task: TaskView, *, follow: bool) -> None:
    """Show a task, or its log until its end; the process then exits with its code."""
    if follow:
        sys.exit(follow_to_end(client, task.id, as_json=context.json))
    output.task(task, as_json=context.json)


@_command("continue")
@click.argument("task_id", metavar="ID")
@click.argument("prompt")
@click.option("--follow", "-f", is_flag=True, help="Show the log until the task ends, and exit with its exit code.")
@json_option
@pass_context
def continue_(context: Context, task_id: str, prompt: str, follow: bool) -> None:
    """Continue a coding agent's finished task: a new task on its branch. PROMPT: what to do next."""
    client = connect()
    task = client.continue_task(task_ids.find(client, task_id), _text(prompt))
    _show_or_follow(context, client, task, follow=follow)


@_command("push")
@click.argument("task_id", metavar="ID")
@click.argument("branch", required=False)
@click.option("--if-exists", type=click.Choice(get_args(IfExists)), help="What to do if the branch exists.")
@click.option("--follow", "-f", is_flag=True, help="Show the log until the task ends, and exit with its exit code.")
@json_option
@pass_context
def push(context: Context, task_id: str, branch: str | None, if_exists: str | None, follow: bool) -> None:
    """Push the work that was kept of a task, to BRANCH or to the task's result branch."""
    client = connect()
    task = client.push(task_ids.find(client, task_id), branch=branch, if_exists=if_exists)
    _show_or_follow(context, client, task, follow=follow)


@_command("logs")
@click.argument("task_id", metavar="[ID]", required=False)
@click.option("--follow", "-f", is_flag=True, help="Show the log until the task ends, and exit with its exit code.")
@click.option("--attempt", type=click.IntRange(1), help="The attempt's number; by default the last one.")
@click.option(
    "--failed", is_flag=True, help="The log of the newest failed attempt; without ID: of your last failed task."
)
@json_option
@pass_context
def logs(context: Context, task_id: str | None, follow: bool, attempt: int | None, failed: bool) -> None:
    """Show a task's log."""
    if failed and (follow or attempt is not None):
        raise click.UsageError("--failed goes with neither --follow nor --attempt")
    if task_id is None and not failed:
        raise click.UsageError("name a task: an ID, its beginning, or last")
    client = connect()
    found = task_ids.find(client, task_id) if task_id is not None else _last_failed(client)
    if failed:
        attempt = _failed_attempt(client.task(found))
        output.note(f"task {found}, attempt {attempt}")
    if follow:
        sys.exit(follow_to_end(client, found, as_json=context.json, attempt=attempt))
    kind = "application/x-ndjson" if context.json else "text/plain"
    for block in client.logs(found, kind=kind, attempt=attempt):
        sys.stdout.buffer.write(block)
    sys.stdout.flush()


def _last_failed(client: Client) -> str:
    newest = client.tasks(owner=client.me().name, status="failed", limit=1).items
    if not newest:
        raise click.ClickException("none of your tasks has failed")
    return newest[0].id


def _failed_attempt(task: TaskView) -> int:
    """Return the number of the newest attempt that did not succeed."""
    for attempt in reversed(task.attempts):
        if attempt.outcome not in (None, "succeeded"):
            return attempt.number
    raise click.ClickException(f"no attempt of {task.id} has failed; the task is {task.status}")


@_command("input")
@click.argument("task_id", metavar="ID")
@click.argument("text")
@json_option
@pass_context
def input_(context: Context, task_id: str, text: str) -> None:
    """Send a line to a script that waits for input."""
    client = connect()
    task = client.input(task_ids.find(client, task_id), text)
    if context.json:
        output.task(task, as_json=True)


@_command("answer")
@click.argument("task_id", metavar="ID")
@click.argument("text")
@click.option("--follow", "-f", is_flag=True, help="Show the log until the task ends, and exit with its exit code.")
@json_option
@pass_context
def answer(context: Context, task_id: str, text: str, follow: bool) -> None:
    """Answer the question of a task that waits or is suspended. TEXT: the answer; - for standard input."""
    client = connect()
    task = client.input(task_ids.find(client, task_id), _text(text))
    _show_or_follow(context, client, task, follow=follow)


@_command("artifacts")
@click.argument("task_id", metavar="ID")
@click.argument("path", required=False)
@click.option("--attempt", type=click.IntRange(1), help="The attempt's number; by default the last one.")
@click.option(
    "--all", "directory", type=click.Path(path_type=Path, file_okay=False), metavar="DIRECTORY",
    help="Write every artifact into this new or empty directory.",
)  # fmt: skip
@json_option
@pass_context
def artifacts(context: Context, task_id: str, path: str | None, attempt: int | None, directory: Path | None) -> None:
    """List a task's artifacts, write one of them to standard output, or all into a directory."""
    client = connect()
    task_id = task_ids.find(client, task_id)
    if path is not None and directory is not None:
        raise click.UsageError("PATH and --all exclude each other")
    if path is not None:
        client.artifact(task_id, path, sys.stdout.buffer, attempt=attempt)
        sys.stdout.flush()
        return
    found = _left_by(client.task(task_id), attempt).artifacts
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise click.ClickException(f"{directory} is not empty; name a new directory")
        for artifact in found:
            _download(client, task_id, artifact.path, directory, attempt)
    output.artifacts(found, as_json=context.json)


def _download(client: Client, task_id: str, path: str, directory: Path, attempt: int | None) -> None:
    """Write one artifact below the directory, which was empty: no link of anybody's can lead out of it.

    It gets the name that the script gave it, byte for byte.
    """
    parts = os.fsdecode(as_bytes(path)).split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise click.ClickException(f"{printable(path)} is no path below a directory; get it alone, by its path")
    target = directory.joinpath(*parts)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        client.artifact(task_id, path, file, attempt=attempt)


@_command("outputs")
@click.argument("task_id", metavar="ID")
@click.option("--attempt", type=click.IntRange(1), help="The attempt's number; by default the last one.")
@json_option
@pass_context
def outputs(context: Context, task_id: str, attempt: int | None) -> None:
    """List a task's outputs."""
    client = connect()
    output.outputs(_left_by(client.task(task_ids.find(client, task_id)), attempt).outputs, as_json=context.json)


def _left_by(task: TaskView, attempt: int | None) -> TaskView | AttemptView:
    """Return the object that has a script's files and outputs: the task, for its last attempt, or one of its
    attempts.
    """
    if attempt is None:
        return task
    found = next((one for one in task.attempts if one.number == attempt), None)
    if found is None:
        raise click.ClickException(f"{task.id} has no attempt {attempt}; it has {len(task.attempts)}")
    return found
