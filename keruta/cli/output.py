"""Output for people and programs: colour and progress in a terminal, plain text in a pipe, JSON when asked."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from keruta.cli import columns
from keruta.cli.printable import printable
from keruta.client import LogEvent
from keruta.domain.doctor import Finding
from keruta.domain.task import Artifact, AttemptView, TaskPage, TaskSummary, TaskView

LIST_HEADS = ["ID", "STATUS", "AGE", "TOOK", "NAME", "REPOSITORY", "QUEUE", "OWNER", "REASON"]
LIST_OPTIONAL = ["QUEUE", "OWNER", "TOOK", "REASON"]  # a narrow terminal leaves these out, the first one first

COLOURS = {
    "succeeded": "green",
    "failed": "red",
    "unknown": "yellow",
    "waiting": "yellow",
    "suspended": "yellow",
    "running": "cyan",
    "preparing": "cyan",
    "assigned": "cyan",
    "ok": "green",
    "wrong": "red",
    "note": "yellow",
}


def note(text: str) -> None:
    """A word beside the output: on standard error, dim in a terminal."""
    click.secho(printable(text), err=True, dim=True)


def document(value: Mapping[str, object]) -> None:
    """Print a document as one line of JSON."""
    click.echo(msgspec.json.encode(value))


def fail(text: str) -> None:
    click.secho("keruta: ", err=True, fg="red", nl=False)
    click.echo(printable(text), err=True)


def coloured(word: str) -> str:
    return click.style(word, fg=COLOURS.get(word))


def event(event: LogEvent, *, as_json: bool) -> None:
    """One thing that a follower was told."""
    if as_json:
        click.echo(msgspec.json.encode(event))
    elif event.kind == "log":
        if not sys.stdout.isatty():
            sys.stdout.flush()
            sys.stdout.buffer.write(event.data)  # byte for byte what the script wrote
            sys.stdout.buffer.flush()
            return
        if event.system:
            click.secho(event.text, dim=True, nl=False)
        else:
            sys.stdout.write(event.text)
        sys.stdout.flush()
    elif event.kind in ("waiting", "lost", "closed"):
        note(event.message or "")
    elif event.kind == "status" and event.status not in ("succeeded", "failed", "cancelled"):
        why = f": {event.message}" if event.message else ""
        note(f"{event.status}{why}")


def verdict(task: TaskView, attempt: AttemptView | None, *, as_json: bool) -> None:
    """Print the end of a task or of one attempt as a line; in JSON always the whole task."""
    if as_json:
        click.echo(msgspec.json.encode(task))
        return
    of = attempt or task
    status = task.status if attempt is None else attempt.outcome or task.status
    why = f": {printable(of.message)}" if of.message else ""
    took = f" in {_seconds(of)}" if of.started_at and of.ended_at else ""
    click.echo(f"{coloured(status)}{took}{why}", err=True)


def page(tasks: TaskPage, *, as_json: bool) -> None:
    """Print a list of tasks, a line for each."""
    if as_json:
        for item in tasks.items:
            click.echo(msgspec.json.encode(item))
        return
    if tasks.items:
        columns.write(
            LIST_HEADS,
            [_row(item) for item in tasks.items],
            whole=LIST_HEADS[:4],
            optional=LIST_OPTIONAL,
            ends=["REPOSITORY"],
            style=_status_style,
        )
    if tasks.next:
        note(f"more: --cursor {tasks.next}")
    elif not tasks.items:
        note("no tasks")


def _row(task: TaskSummary) -> list[str]:
    repository = task.repository.name or task.repository.url.partition("://")[2] or task.repository.url
    return [
        task.id, task.status, _span(task.created_at, datetime.now(UTC)), _took(task), task.name or "-", repository,
        task.queue, task.owner, task.reason or "-",
    ]  # fmt: skip


def _took(task: TaskSummary) -> str:
    """Return the time that the last attempt has run; of a task that did not start, a dash."""
    return "-" if task.started_at is None else _span(task.started_at, task.ended_at or datetime.now(UTC))


def _status_style(head: str, cell: str) -> str:
    return click.style(cell, fg=COLOURS.get(cell.strip())) if head == "STATUS" else cell


def changed(task: TaskView, *, as_json: bool) -> None:
    """Print the state of one of several tasks as a line."""
    if as_json:
        click.echo(msgspec.json.encode(task))
        return
    why = f"  {printable(task.message)}" if task.message else ""
    click.echo(f"{task.id}  {coloured(task.status)}{why}")


def task(task: TaskView, *, as_json: bool) -> None:
    """All there is to say of one task."""
    if as_json:
        click.echo(msgspec.json.encode(task))
        return
    lines = [
        ("task", task.id + (f"  {task.name}" if task.name else "")),
        ("status", coloured(task.status) + (f" ({task.reason})" if task.reason else "")),
        ("", task.message),
        ("waits", f"{task.waiting.position} before it. {task.waiting.why}" if task.waiting else None),
        ("asks", task.question),
        ("repository", _repository(task)),
        ("profile", task.profile),
        ("documents", ", ".join(f"{one.name} (version {one.version})" for one in task.documents)),
        ("submitted", f"{task.created_at:%Y-%m-%d %H:%M:%S} UTC by {task.owner}, queue {task.queue}"),
        ("took", _seconds(task) if task.started_at and task.ended_at else None),
        ("exit code", None if task.exit_code is None else str(task.exit_code)),
        *(line for a in task.attempts for line in _attempt(a)),
        *(("output", _shown(f"{name}={value}")) for name, value in task.outputs.items()),
        *(("artifact", f"{a.path} ({a.size_bytes} bytes)") for a in task.artifacts),
        ("log", f"{task.log.bytes} bytes" if task.log.bytes else None),
    ]
    for name, value in lines:
        if value:
            click.echo(f"{name:<11} {value if name == 'status' else printable(value)}")
    if task.answer:
        click.echo(f"\n{printable(task.answer)}")


def artifacts(found: Sequence[Artifact], *, as_json: bool) -> None:
    """Print artifacts."""
    for artifact in found:
        if as_json:
            click.echo(msgspec.json.encode(artifact))
        else:
            click.echo(f"{artifact.size_bytes:>12}  {artifact.sha256[:12]}  {printable(artifact.path)}")
    if not found and not as_json:
        note("nothing")


def outputs(found: Mapping[str, str], *, as_json: bool) -> None:
    """A script's outputs, as a script writes them: name=value, or a block where a value has several lines."""
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for name, value in found.items():
        text = _written(name, value)
        click.echo(printable(text) if sys.stdout.isatty() else text, color=True)  # as it is, whatever it holds
    if not found:
        note("nothing")


def _written(name: str, value: str) -> str:
    """Return an output as $KERUTA_OUTPUTS takes it."""
    if "\n" not in value and "\r" not in value:
        return f"{name}={value}"
    lines = re.split(r"\r?\n", value)
    end = next(word for number in itertools.count() if (word := "EOF" + str(number or "")) not in lines)
    return f"{name}<<{end}\n{value}\n{end}"


def _shown(text: str) -> str:
    """Return a text's first line, and how many more it has."""
    first, *rest = text.splitlines() or [""]
    return printable(first) + (f" (and {len(rest)} more line{'s' * (len(rest) > 1)})" if rest else "")


def table(page: msgspec.Struct, heads: list[str], rows: list[list[str]], *, as_json: bool) -> None:
    """A list as columns, as wide as what stands in them; in JSON, one item a line."""
    items = getattr(page, "items", None)
    if as_json:
        for one in items if isinstance(items, list) else [page]:
            click.echo(msgspec.json.encode(one))
        return
    if rows:
        columns.write(heads, rows, whole=heads[:1])
    elif isinstance(items, list):
        note("nothing")
    if after := getattr(page, "next", None):
        note(f"more: --cursor {after}")


def entry(entry: msgspec.Struct, *, as_json: bool) -> None:
    """One thing, a line for each field that says something."""
    if as_json:
        click.echo(msgspec.json.encode(entry))
        return
    plain = _said(msgspec.to_builtins(entry))
    meta = plain.pop("meta", None)
    for name, value in plain.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        click.echo(f"{name:<18} {printable(text)}")
    if meta:
        click.echo(f"{'revision':<18} {meta['revision']}, {meta['updated_at'][:19]} UTC by {meta['updated_by']}")


def _said(value: Any) -> Any:
    """The same without what says nothing, however deep it lies."""
    if isinstance(value, list):
        return [_said(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _said(one) for name, one in value.items()}
    return {name: one for name, one in kept.items() if one not in (None, "", [], {})}


def findings(found: list[Finding]) -> None:
    """Print the findings of `keruta doctor`."""
    for finding in found:
        mend = f"\n         {finding.mend}" if finding.mend else ""
        click.echo(f"{click.style(f'{finding.state:<6}', fg=COLOURS[finding.state])} {finding.what}{mend}")


def _repository(task: TaskView) -> str:
    named, ref = task.repository.name, task.repository.ref
    return f"{named}, " * bool(named) + task.repository.url + (f" at {ref}" if ref else "")


def _attempt(attempt: AttemptView) -> list[tuple[str, str]]:
    """Return an attempt's labelled lines: its course, its usage, and deviations from its profile."""
    parts = [
        f"{attempt.outcome or 'at work'} on {attempt.worker}",
        attempt.reason or "",
        f"commit {attempt.commit[:12]}" if attempt.commit else "",
        f"pushes the work of attempt {attempt.pushes}" if attempt.pushes else "",
        f"pushed {attempt.result_branch}" if attempt.result_branch else "",
        attempt.model,
        *(f"{value:g} {name.replace('_', ' ')}" for name, value in attempt.usage.items()),
    ]
    said = ", ".join(part for part in parts if part)
    return [(f"attempt {attempt.number}", said), *(("", note) for note in attempt.notes)]


def _seconds(task: TaskView | AttemptView) -> str:
    assert task.started_at is not None
    assert task.ended_at is not None
    return f"{(task.ended_at - task.started_at).total_seconds():.1f} s"


def _span(since: datetime, until: datetime) -> str:
    """Return a time span as a short text, with two units at most: `41s`, `3m20s`, `2h5m`, `6d`."""
    seconds = max(0, int((until - since).total_seconds()))
    minutes, hours = seconds // 60, seconds // 3600
    if minutes == 0:
        return f"{seconds}s"
    if hours == 0:
        return f"{minutes}m{seconds % 60}s"
    return f"{hours}h{minutes % 60}m" if hours < 24 else f"{hours // 24}d"
