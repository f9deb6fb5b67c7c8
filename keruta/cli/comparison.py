"""`keruta rerun` and `keruta diff`: a task once more, and what differs between two runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
import msgspec

from keruta.cli import output, task_ids
from keruta.cli.connection import connect
from keruta.cli.context import Context, json_option, pass_context
from keruta.cli.follow import follow_to_end
from keruta.cli.printable import printable
from keruta.client import Client
from keruta.domain.differences import Line, differing
from keruta.domain.resubmission import request_of
from keruta.domain.run_comparison import artifacts_text, end_text, outputs_text, settings_text
from keruta.domain.task import TaskView

LOG_LIMIT_BYTES = 8 << 20
EARLIER_MOST = 200
_COLOURS = {"-": "red", "+": "green", "@": "cyan"}


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Differences in one part of two tasks: `settings`, `end`, `outputs`, `artifacts` or `log`."""

    part: str
    lines: list[Line]


@click.command("rerun")
@click.argument("given", metavar="ID...", nargs=-1, required=True)
@click.option("--follow", "-f", is_flag=True, help="Show the log until the task ends, and exit with its exit code.")
@json_option
@pass_context
def rerun(context: Context, given: tuple[str, ...], follow: bool) -> None:
    """Submit tasks once more, each as a new task with the same settings. To try a failed task again: keruta retry."""
    if follow and len(given) > 1:
        raise click.UsageError("--follow takes one task")
    client = connect()
    for one in [client.task(task_ids.find(client, one)) for one in given]:
        task = client.submit(request_of(one))
        if follow:
            if not context.json:
                output.note(f"task {task.id}")
            sys.exit(follow_to_end(client, task.id, as_json=context.json))
        output.task(task, as_json=True) if context.json else click.echo(task.id)


@click.command("diff")
@click.argument("first", metavar="ID")
@click.argument("second", metavar="[OTHER]", required=False)
@json_option
@pass_context
def diff(context: Context, first: str, second: str | None) -> None:
    """Show what differs between two tasks: settings, end, outputs, artifacts, log.

    Without OTHER, ID is compared with the task before it on the same repository and with the same name.
    """
    client = connect()
    task = client.task(task_ids.find(client, first))
    old, new = (_before(client, task), task) if second is None else (task, client.task(task_ids.find(client, second)))
    found = [Difference(part=part, lines=lines) for part, lines in _differences(client, old, new) if lines]
    if context.json:
        for difference in found:
            click.echo(msgspec.json.encode(difference))
        return
    click.secho(printable(f"--- {_heading(old)}"), fg="red")
    click.secho(printable(f"+++ {_heading(new)}"), fg="green")
    for difference in found:
        click.secho(f"\n{difference.part}", bold=True)
        for line in difference.lines:
            text = printable(line.text if line.sign == "@" else line.sign + line.text)
            click.secho(text, fg=_COLOURS.get(line.sign))
    if not found:
        output.note("no difference")


def _before(client: Client, task: TaskView) -> TaskView:
    """Return the newest earlier task on the same repository and with the same name."""
    where = task.repository.name or task.repository.url
    earlier = client.tasks(repository=where, until=task.created_at.isoformat(), limit=EARLIER_MOST)
    for one in earlier.items:
        if one.id != task.id and one.name == task.name:
            return client.task(one.id)
    raise click.ClickException(
        f"among the {EARLIER_MOST} tasks on {where} before {task.id}, none has the same name; name the other task, too"
    )


def _heading(task: TaskView) -> str:
    """Return a task's id, end and time, as a line."""
    why = f" ({task.reason})" if task.reason else ""
    return f"{task.id}  {task.status}{why}  {task.created_at:%Y-%m-%d %H:%M:%S} UTC  {task.name or ''}".rstrip()


def _differences(client: Client, old: TaskView, new: TaskView) -> Iterator[tuple[str, list[Line]]]:
    yield "settings", differing(settings_text(old), settings_text(new))
    yield "end", differing(end_text(old), end_text(new))
    yield "outputs", differing(outputs_text(old.outputs), outputs_text(new.outputs))
    yield "artifacts", differing(artifacts_text(old), artifacts_text(new))
    yield "log", differing(_log(client, old), _log(client, new))


def _log(client: Client, task: TaskView) -> str:
    """Return the log's text, or its first 8 MiB where it is larger."""
    if not task.log.bytes:
        return ""
    content = bytearray()
    for block in client.logs(task.id):
        content += block
        if len(content) > LOG_LIMIT_BYTES:
            output.note(f"only the first {LOG_LIMIT_BYTES >> 20} MiB of the log of {task.id} are compared")
            break
    return bytes(content[:LOG_LIMIT_BYTES]).decode("utf-8", "replace")


COMMANDS = (rerun, diff)
