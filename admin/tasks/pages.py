"""The pages of tasks: the list, and one task with its log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, get_args

import flask
import msgspec

from admin.auth import number, paging, present_principal, principal
from admin.ports import Ports, ports
from admin.site.language import language
from admin.site.pages import go, here, page, shows
from admin.site.safe_text import visible
from admin.tasks import copying, coverage_results, logs, outcome_history, results, runs, words
from admin.tasks.filter_dates import date_shown, zone_of_dates
from admin.tasks.forge_addresses import forge_links
from admin.tasks.log_marks import Annotation, Read
from admin.tasks.query import task_filter
from admin.tasks.routes import continue_asked, task_asked
from admin.tasks.terminal import Terminal
from keruta.domain.continuation import ContinueRequest
from keruta.domain.decode import convert
from keruta.domain.lifecycle import ENDED, Status
from keruta.domain.messages import Message
from keruta.domain.naming import TASK_ID
from keruta.domain.task import IfExists, PushRequest, TaskView
from keruta.domain.task_list import Chunk, TaskFilter
from keruta.errors import Conflict, InvalidRequest, NotFound
from keruta.services import task_commands

blueprint = flask.Blueprint("tasks_pages", __name__)
blueprint.record(lambda state: state.app.jinja_env.globals.update(words.GLOBALS))

TAIL_LINES = 200
NOTES_SHOWN = 50
MANY_AT_ONCE = 200


@shows(blueprint, "list_tasks", "/tasks")
def tasks() -> flask.Response:
    asked = flask.request.args.get("q", "").strip().lower()
    if TASK_ID.fullmatch(asked):
        return go(f"/tasks/{asked}")
    wrong: Message | None = None
    of_dates = zone_of_dates()
    try:
        found = ports().reading.page(principal(), task_filter(of_dates), **paging())
    except InvalidRequest as error:
        wrong = error.message
        found = ports().reading.page(principal(), TaskFilter(), limit=50, cursor=None)
    template = "tasks/rows.html" if flask.request.headers.get("X-Part") == "rows" else "tasks/list.html"
    return page(
        template, 422 if wrong else 200, found=found, wrong=wrong, statuses=list(Status),
        names=ports().accounts.names([task.owner for task in found.items]), zone=str(of_dates),
        dates={name: date_shown(name, of_dates) for name in ("since", "until")},
    )  # fmt: skip


@shows(blueprint, "cancel_task", "/tasks/many", "POST")
def many() -> flask.Response:
    """Cancel, or try again, each of those that are marked, or the first that match the filter of the address.

    One that can't be changed is passed over, and counted.
    """
    form = flask.request.form
    done = left = 0
    marked, more = form.getlist("task")[:MANY_AT_ONCE], False
    if form.get("all"):
        wanted = task_filter(zone_of_dates())
        if wanted.status is None:
            wanted = msgspec.structs.replace(wanted, status="failed" if form.get("do") == "retry" else "open")
        found = ports().reading.page(principal(), wanted, limit=MANY_AT_ONCE, cursor=None)
        marked, more = [one.id for one in found.items], found.next is not None
    for task_id in marked:
        try:
            if form.get("do") == "retry":
                task_commands.retry(ports().commands, principal(), task_id)
            else:
                task_commands.cancel(ports().commands, principal(), task_id)
            done += 1
        except (Conflict, NotFound):
            left += 1
    said = "many_more" if done and more else "many_done" if done and not left else "many_part" if done else "many_none"
    return go(here(form.get("next", "/tasks")), said)


@shows(blueprint, "show_task", "/tasks/<id>")
def task(id: str) -> flask.Response:
    view = task_asked(id)
    asked = number("attempt", None, 1_000_000)
    attempt, _, _ = ports().reading.log_attempt(principal(), id, asked)
    tail, notes = _tail(view, attempt)
    follows = flask.request.headers.get("X-Part") == "page"  # what never changes is there already
    chosen = view.attempt(attempt or None)
    tests = results.tests(view.id, chosen)
    return page(
        "tasks/task.html", task=view, attempt=attempt, chosen=chosen,
        runs=runs.around(view),
        copies={} if follows else copying.forms(view, ports().settings.public_url.rstrip("/")),
        summary=results.summary(view.id, chosen), tests=tests, coverage=coverage_results.of(view, chosen),
        histories=outcome_history.histories(view, chosen, tests.report.cases[:results.CASES_SHOWN])
        if tests is not None and chosen is not None else {}, tail=tail, notes=notes,
        names=ports().accounts.names([view.owner]), ended=view.status in ENDED,
        may_change=ports().reading.may_change(principal(), id),
        forge=forge_links(view), posts=ports().posts.of(view.id) if view.origin is not None else [],
        stages=stages(view), if_exists=get_args(IfExists),
    )  # fmt: skip


@shows(blueprint, "task_logs", "/tasks/<id>/log")
def log_stream(id: str) -> flask.Response:
    """The log as lines of HTML, as it comes, and the changes of the task's status."""
    asked = number("attempt", None, 1_000_000)
    attempt, _, _ = ports().reading.log_attempt(principal(), id, asked)
    seen = flask.request.headers.get("Last-Event-ID", "")
    return logs.stream(
        _lines(ports(), present_principal("task_logs"), id, attempt, seen, pinned=asked is not None, spoken=language()),
        principal(),
    )


@shows(blueprint, "cancel_task", "/tasks/<id>/cancel", "POST")
def cancel(id: str) -> flask.Response:
    task_commands.cancel(ports().commands, principal(), id)
    return go(f"/tasks/{id}", "cancelled")


@shows(blueprint, "retry_task", "/tasks/<id>/retry", "POST")
def retry(id: str) -> flask.Response:
    task_commands.retry(ports().commands, principal(), id)
    return go(f"/tasks/{id}", "retried")


@shows(blueprint, "continue_task", "/tasks/<id>/continue", "POST")
def continue_(id: str) -> flask.Response:
    request, faults = convert({"prompt": flask.request.form.get("prompt", "").replace("\r\n", "\n")}, ContinueRequest)
    if request is None:
        raise InvalidRequest.of(faults)
    return go(f"/tasks/{continue_asked(id, request).id}", "submitted")


@shows(blueprint, "accept_task", "/tasks/<id>/accept", "POST")
def accept(id: str) -> flask.Response:
    task_commands.accept(ports().commands, principal(), id)
    return go(f"/tasks/{id}", "accepted")


@shows(blueprint, "push_task", "/tasks/<id>/push", "POST")
def push(id: str) -> flask.Response:
    asked = {name: text for name in ("branch", "if_exists") if (text := flask.request.form.get(name, "").strip())}
    request, faults = convert(asked, PushRequest)
    if request is None:
        raise InvalidRequest.of(faults)
    task_commands.push(ports().commands, principal(), id, request)
    return go(f"/tasks/{id}", "pushing")


@shows(blueprint, "send_input", "/tasks/<id>/input", "POST")
def send_input(id: str) -> flask.Response:
    text = flask.request.form.get("text", "").replace("\r\n", "\n")
    task_commands.send_input(ports().commands, principal(), id, text)
    return go(f"/tasks/{id}", "sent")


# ---------------------------------------------------------------- the log


def _tail(view: TaskView, attempt: int) -> tuple[list[str], list[Annotation]]:
    """Return the log's last lines and their errors, for a reader without scripts, and until the stream has come."""
    if attempt != len(view.attempts):
        return [], []
    terminal = Terminal()
    lines = terminal.feed(view.log.tail.encode("utf-8", "surrogatepass"))
    notes = [read.annotation for _, read in terminal.told if read.annotation is not None]
    return [*lines, *([terminal.partial] if terminal.partial else [])][-TAIL_LINES:], notes[-NOTES_SHOWN:]


def _lines(
    watched: Ports, me: logs.Reader, task_id: str, attempt: int, seen: str, *, pinned: bool, spoken: str
) -> Iterator[bytes]:
    """`lines`: some of the log, each line as HTML; `status`: what is said of the task; `end`, or `closed` with why.

    A reader who comes back gets nothing twice: what they have is gone through once more, since colours and a line that
    was not whole go on from there.
    """
    attempt, after = logs.resumed(seen, attempt, pinned=pinned)
    terminal, of = Terminal(), attempt
    yield b": keruta\n\n"
    last: TaskView | None = None
    try:
        for found in logs.watch(watched, me, task_id, attempt, pinned=pinned):
            if found is None:
                yield b": still here\n\n"
            elif isinstance(found, Chunk):
                if found.attempt != of:
                    terminal, of, after = Terminal(), found.attempt, -1
                lines = terminal.feed(found.data, marked=not found.system)
                if found.sequence > after:
                    yield _event(found, lines, terminal)
            else:
                if last is None or last.status != found.status:
                    yield logs.event("status", {"status": found.status, "attempt": len(found.attempts)})
                last = found
    except logs.NotReadableError as error:
        yield logs.closed(error, spoken)
        return
    if last is not None:
        yield logs.event("end", {"status": last.status})


def _event(chunk: Chunk, lines: Sequence[str], terminal: Terminal) -> bytes:
    value = {
        "attempt": chunk.attempt, "at": chunk.at, "system": chunk.system, "lines": lines, "partial": terminal.partial,
        "encoding": terminal.encoding, "marks": [[number, _mark(read)] for number, read in terminal.told],
    }  # fmt: skip
    return logs.event("lines", value, f"{chunk.attempt}-{chunk.sequence}")


def _mark(read: Read) -> dict[str, Any]:
    """Return what `log.js` needs of a line beside its text."""
    made: dict[str, Any] = msgspec.to_builtins(read)
    made.pop("text")
    if read.annotation is not None:
        made["annotation"] |= {"message": visible(read.annotation.message), "file": visible(read.annotation.file)}
    return made


# ---------------------------------------------------------------- what is shown of a task


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a task's life, for the timeline."""

    status: str
    begun: datetime
    ended: datetime | None
    attempt: int


def stages(view: TaskView) -> list[Stage]:
    """Its history with how long each part lasted; the last one goes on until it has ended."""
    found = []
    for entry, following in zip(view.history, [*view.history[1:], None], strict=True):
        over = following.at if following is not None else entry.at if entry.status in ENDED else None
        found.append(Stage(status=entry.status, begun=entry.at, ended=over, attempt=entry.attempt))
    return found
