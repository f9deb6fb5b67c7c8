"""Search in the logs of many tasks, newest first, within bounds that the page states.

Logs have no index of words: one would cost each line that is written more than it is worth. A request looks through the
logs of up to `TASKS_READ` tasks that match the filter, up to `BYTES_READ` in all and `LOG_BYTES` of each from its
beginning, and for no longer than `SECONDS`; the next request goes on where it stopped. Text is found whatever its case
and width, in any script, since nothing is parted into words, and whatever encoding the log is in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import flask
import msgspec
from markupsafe import Markup

from admin.auth import principal
from admin.ports import ports
from admin.site.pages import page, shows
from admin.site.safe_text import visible
from admin.tasks.escapes import without_escapes
from admin.tasks.filter_dates import date_shown, zone_of_dates
from admin.tasks.query import task_filter
from keruta.domain.lifecycle import Status
from keruta.domain.log_text import GuessingDecoder
from keruta.domain.messages import Message
from keruta.domain.task import TaskSummary
from keruta.domain.task_list import TaskFilter
from keruta.domain.words import normalized
from keruta.errors import InvalidRequest

blueprint = flask.Blueprint("tasks_log_search", __name__)

TASKS_READ = 200
BYTES_READ, LOG_BYTES = 16 * 1024 * 1024, 2 * 1024 * 1024
SECONDS = 2.0
LINES_SHOWN, TASKS_SHOWN = 5, 50
TEXT_LETTERS = 200
AROUND = 120  # letters beside what was found


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line that has the text."""

    number: int
    attempt: int
    shown: Markup


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A task in whose log the text is. `count`: lines that have it."""

    task: TaskSummary
    lines: Sequence[Line]
    count: int


class Search(msgspec.Struct, kw_only=True):
    """The result of one request.

    Args:
        next: where the next request goes on; None where everything was looked through.
        oldest: when the last task that was looked through was submitted.
        cut: logs that are longer than is looked through.
    """

    found: list[Found]
    looked_through: int = 0
    size_bytes: int = 0
    cut: int = 0
    next: str | None = None
    oldest: datetime | None = None


@shows(blueprint, "task_logs", "/logs")
def search_logs() -> flask.Response:
    text = flask.request.args.get("text", "").strip()[:TEXT_LETTERS]
    wrong: Message | None = None
    done: Search | None = None
    of_dates = zone_of_dates()
    if text:
        try:
            done = search(text, task_filter(of_dates), flask.request.args.get("cursor"))
        except InvalidRequest as error:
            wrong = error.message
    names = ports().accounts.names([one.task.owner for one in done.found]) if done is not None else {}
    return page(
        "tasks/logs.html", 422 if wrong else 200, text=text, looked=done, wrong=wrong, names=names,
        statuses=list(Status), zone=str(of_dates), log_bytes=LOG_BYTES,
        dates={name: date_shown(name, of_dates) for name in ("since", "until")},
    )  # fmt: skip


def search(text: str, wanted: TaskFilter, cursor: str | None, clock: Callable[[], float] = time.monotonic) -> Search:
    """Look through logs for a text, newest task first. Raises InvalidRequest."""
    until, done, needle = clock() + SECONDS, Search(found=[]), _folded(text)
    tasks = ports().reading.page(principal(), wanted, limit=TASKS_READ, cursor=cursor)
    last = None
    for task in tasks.items:
        if done.looked_through and (done.size_bytes >= BYTES_READ or len(done.found) >= TASKS_SHOWN or clock() > until):
            done.next = last
            return done
        last, done.oldest = task.id, task.created_at
        done.looked_through += 1
        if (found := _in_task(task, needle, done)) is not None:
            done.found.append(found)
    done.next = tasks.next
    return done


def _in_task(task: TaskSummary, needle: str, done: Search) -> Found | None:
    lines: list[Line] = []
    count = 0
    for attempt, log in _logs(task.id, done):
        if "\x1b" not in log and needle not in _folded(log):  # escape sequences may stand within the text
            continue
        for at, line in enumerate(log.split("\n"), start=1):
            if needle in _folded(plain := without_escapes(line)):
                count += 1
                if len(lines) < LINES_SHOWN:
                    lines.append(Line(number=at, attempt=attempt, shown=_marked(plain, needle)))
    return Found(task=task, lines=lines, count=count) if count else None


def _logs(task: str, done: Search) -> Iterator[tuple[int, str]]:
    """Return the text of each attempt's log, as far as it is looked through."""
    beyond: int | None = None
    while True:
        attempt, content = 0, bytearray()
        for chunk in ports().reading.every_chunk(task, beyond=beyond):
            attempt = attempt or chunk.attempt
            if chunk.attempt != attempt or len(content) > LOG_BYTES:
                break
            content += chunk.data
        if not content:
            return
        yield attempt, _text(content, done)
        if done.size_bytes >= BYTES_READ:
            done.cut += 1
            return
        beyond = attempt


def _text(content: bytearray, done: Search) -> str:
    done.cut += len(content) > LOG_BYTES
    done.size_bytes += min(len(content), LOG_BYTES)
    return GuessingDecoder().decode(bytes(content[:LOG_BYTES]))


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else normalized(text)


def _marked(line: str, needle: str) -> Markup:
    """Return the line around what was found, which is marked where folding has not moved it."""
    at = _folded(line).find(needle)
    if len(_folded(line)) != len(line):
        return Markup("{}").format(visible(line[: 2 * AROUND]) + ("…" if len(line) > 2 * AROUND else ""))
    begin, end = max(at - AROUND, 0), at + len(needle)
    before = ("…" if begin else "") + line[begin:at]
    behind = line[end : end + AROUND] + ("…" if len(line) > end + AROUND else "")
    return Markup("{}<mark>{}</mark>{}").format(visible(before), visible(line[at:end]), visible(behind))
