"""A log as text, as NDJSON, or as a stream of server-sent events that goes on until the attempt has ended.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import flask
import msgspec

from keruta.adapters.mongo.log_tail import Told
from keruta.adapters.mongo.task_queries import Chunk
from keruta.domain.principal import Principal
from keruta.domain.task import TaskView
from keruta.errors import KerutaError

if TYPE_CHECKING:
    from admin.app import Ports

COMMENT_EVERY_SECONDS = 15.0
_EVENT_ID = re.compile(r"(\d{1,7})-(\d{1,8})")


def answer(ports: Ports, principal: Principal, task: str, attempt: int, *, pinned: bool) -> flask.Response:
    """The log as the request's Accept asks for it.

    Args:
        attempt: which attempt's, 0 before there is one.
        pinned: whether the client named the attempt: then its end is the stream's end.
    """
    kind = flask.request.accept_mimetypes.best_match(["text/plain", "application/x-ndjson", "text/event-stream"])
    if kind == "text/event-stream":
        seen = flask.request.headers.get("Last-Event-ID", "")  # read now: the generator outlives the request's context
        return stream(_events(ports, principal, task, attempt, seen=seen, pinned=pinned))
    chunks = ports.reading.chunks(task, attempt) if attempt else iter(())
    if kind == "application/x-ndjson":
        return flask.Response((msgspec.json.encode(_line(c)) + b"\n" for c in chunks), content_type=kind)
    return flask.Response((chunk.data for chunk in chunks), content_type="text/plain; charset=utf-8")


def _line(chunk: Chunk) -> dict[str, object]:
    return {
        "attempt": chunk.attempt,
        "sequence": chunk.sequence,
        "at": chunk.at,
        "system": chunk.system,
        "text": chunk.data.decode("utf-8", "replace"),
    }


def watch(
    ports: Ports, principal: Principal, task: str, attempt: int, *, after: int = -1, pinned: bool
) -> Iterator[Chunk | TaskView | None]:
    """A task's changes of status and its log's chunks as they come; None where nothing came for a while.

    It ends when no more can come; the last thing it gives is the task as it is then.
    """
    current: TaskView | None = None
    with ports.tail.follow(task) as told:
        while True:
            told.clear()
            try:
                if not ports.verifier.still_welcome(principal):
                    return
                asked = attempt if pinned else None
                number, more, status = told.shared.once(
                    ("state", tuple(principal.readers), asked),
                    functools.partial(ports.reading.log_attempt, principal.readers, task, asked),
                )
                attempt = attempt or number
                if current is None or current.status != status:  # the whole of it is read only when it has changed
                    current = ports.reading.task(principal.readers, task)
                    yield current
                if attempt:
                    for chunk in _since(ports, told, task, attempt, after):
                        after = chunk.sequence
                        yield chunk
            except KerutaError:  # the database is away for now: the client keeps what it has
                told.wait(1)
                told.shared.changed()
                yield None
                continue
            if attempt < number and not pinned:
                attempt, after = attempt + 1, -1
                continue
            if not more:
                yield ports.reading.task(principal.readers, task)
                return
            if not told.wait(COMMENT_EVERY_SECONDS):
                told.shared.changed()  # as far as anybody knows
                yield None


def _since(ports: Ports, told: Told, task: str, attempt: int, after: int) -> Iterable[Chunk]:
    """The chunks after one; who has all that came before shares what is new with the others who have."""
    if after < 0:
        return ports.reading.chunks(task, attempt, after)
    return told.shared.once((attempt, after), lambda: list(ports.reading.chunks(task, attempt, after)))


def resumed(seen: str, attempt: int, *, pinned: bool) -> tuple[int, int]:
    """From which attempt and after which chunk a client goes on that has seen an event of that identity."""
    last = _EVENT_ID.fullmatch(seen)
    if last is not None and int(last[1]) == attempt:
        return attempt, int(last[2])
    if last is not None and not pinned and 0 < int(last[1]) < attempt:
        return int(last[1]), int(last[2])
    return attempt, -1


def _events(ports: Ports, principal: Principal, task: str, attempt: int, *, seen: str, pinned: bool) -> Iterator[bytes]:
    """Chunks as they come (`log`), changes of status (`status`), and at last `end`."""
    attempt, after = resumed(seen, attempt, pinned=pinned)
    current: TaskView | None = None
    yield b": keruta\n\n"
    for found in watch(ports, principal, task, attempt, after=after, pinned=pinned):
        if found is None:
            yield b": still here\n\n"
        elif isinstance(found, Chunk):
            yield event("log", _line(found), f"{found.attempt}-{found.sequence}")
        elif current is None or found.status != current.status:
            current = found
            said = {"status": found.status, "reason": found.reason, "message": found.message}
            number = len(found.attempts)
            yield event("status", {**said, "exit_code": found.exit_code, "attempt": number})
    if current is not None:
        yield event("end", {"status": current.status, "exit_code": current.exit_code})


def stream(events: Iterator[bytes]) -> flask.Response:
    """An answer that goes on; no proxy is to hold any of it back."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return flask.Response(events, content_type="text/event-stream; charset=utf-8", headers=headers)


def event(kind: str, value: object, identity: str | None = None) -> bytes:
    """One server-sent event."""
    name = f"id: {identity}\n".encode() if identity else b""
    return name + f"event: {kind}\n".encode() + b"data: " + msgspec.json.encode(value) + b"\n\n"
