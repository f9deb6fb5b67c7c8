"""A log as text, as NDJSON, or as a stream of server-sent events that goes on until the attempt has ended.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import functools
import itertools
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator

import flask
import msgspec

from admin.ports import Ports
from admin.site.stream_limits import counted
from keruta.domain.log_text import LogDecoder
from keruta.domain.messages import Message, message
from keruta.domain.principal import Principal
from keruta.domain.task import TaskView
from keruta.domain.task_list import Chunk
from keruta.errors import KerutaError, NotFound, Unavailable
from keruta.http.answers import language_asked
from keruta.ports.watching import Follower
from keruta.translations import in_language, render

COMMENT_EVERY_SECONDS = 15.0
Reader = Callable[[], Principal | None]
_EVENT_ID = re.compile(r"(\d{1,7})-(\d{1,8})")


class NotReadableError(KerutaError):
    """The reader's token has run out or was revoked, or the task is no longer theirs to read.

    Args:
        message: the sentence for them; the task goes on.
        reason: a stable word for it.
    """

    def __init__(self, message: Message, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def answer(ports: Ports, reader: Reader, task: str, attempt: int, *, pinned: bool) -> flask.Response:
    """The log as the request's Accept asks for it.

    Args:
        reader: who reads, asked again while the stream goes on.
        attempt: which attempt's, 0 before there is one.
        pinned: whether the client named the attempt: then its end is the stream's end.
    """
    kind = flask.request.accept_mimetypes.best_match(["text/plain", "application/x-ndjson", "text/event-stream"])
    if kind == "text/event-stream":
        seen = flask.request.headers.get("Last-Event-ID", "")  # read now: the generator outlives the request's context
        events = _events(ports, reader, task, attempt, seen=seen, pinned=pinned, language=language_asked())
        return stream(events, flask.g.principal)
    chunks = ports.reading.chunks(task, attempt) if attempt else iter(())
    if kind == "application/x-ndjson":
        lines = (msgspec.json.encode(line) + b"\n" for line in _lines(chunks))
        return counted(flask.Response(lines, content_type=kind), flask.g.principal)
    text = (chunk.data for chunk in chunks)
    return counted(flask.Response(text, content_type="text/plain; charset=utf-8"), flask.g.principal)


class LogText:
    """Makes text of one attempt's chunks in order: a character that two chunks share comes with the second.

    Args:
        before: the data of the chunks before the first one, where reading begins in the middle.
    """

    def __init__(self, before: bytes = b"") -> None:
        self._decoder = LogDecoder(before)
        self._last: Chunk | None = None

    def line(self, chunk: Chunk) -> dict[str, object]:
        """Return a chunk as the API shows it. Bytes that are not UTF-8 are there in `base64`, too."""
        self._last = chunk
        return self._described(chunk, self._decoder.decode(chunk.data))

    def rest(self) -> dict[str, object] | None:
        """Return what the last chunk left unfinished, as more of it."""
        text = self._decoder.finish()
        return self._described(self._last, text) if text and self._last is not None else None

    def _described(self, chunk: Chunk, text: str) -> dict[str, object]:
        raw = self._decoder.raw
        place = {"attempt": chunk.attempt, "sequence": chunk.sequence, "at": chunk.at, "system": chunk.system}
        exact = {} if text.encode() == raw else {"base64": b64encode(raw).decode()}
        return {**place, "text": text, **exact}


def _lines(chunks: Iterable[Chunk]) -> Iterator[dict[str, object]]:
    text = LogText()
    yield from map(text.line, chunks)
    if (rest := text.rest()) is not None:
        yield rest


def watch(
    ports: Ports, reader: Reader, task: str, attempt: int, *, after: int = -1, pinned: bool
) -> Iterator[Chunk | TaskView | None]:
    """A task's changes of status and its log's chunks as they come; None where nothing came for a while.

    It ends when no more can come; the last thing it gives is the task as it is then.

    Raises:
        NotReadableError: its reader may not read it any more.
    """
    current: TaskView | None = None
    with ports.tail.follow(task) as told:
        while True:
            told.clear()
            try:
                principal = reader()
                if principal is None:
                    raise NotReadableError(message("stream_sign_in_over"), "SignInEnded")
                asked = attempt if pinned else None
                number, more, status = told.shared.once(
                    ("state", tuple(principal.readers), asked),
                    functools.partial(ports.reading.log_attempt, principal, task, asked),
                )
                attempt = attempt or number
                if current is None or current.status != status:  # the whole of it is read only when it has changed
                    current = ports.reading.task(principal, task)
                    yield current
                if attempt:
                    for chunk in _since(ports, told, task, attempt, after):
                        after = chunk.sequence
                        yield chunk
            except NotFound as error:
                raise NotReadableError(message("stream_task_gone"), "TaskNotFound") from error
            except Unavailable:  # the database is away for now: the client keeps what it has
                told.wait(1)
                told.shared.changed()
                yield None
                continue
            if attempt < number and not pinned:
                attempt, after = attempt + 1, -1
                continue
            if not more:
                yield ports.reading.task(principal, task)
                return
            if not told.wait(COMMENT_EVERY_SECONDS):
                told.shared.changed()  # as far as anybody knows
                yield None


def _since(ports: Ports, told: Follower, task: str, attempt: int, after: int) -> Iterable[Chunk]:
    """The chunks after one; who has all that came before shares what is new with the others who have."""
    if after < 0:
        return ports.reading.chunks(task, attempt, after)
    return told.shared.once((attempt, after), lambda: list(ports.reading.chunks(task, attempt, after)))


def resumed(seen: str, attempt: int, *, pinned: bool) -> tuple[int, int]:
    """Return the attempt and the chunk after which a client goes on that has seen an event of that identity."""
    last = _EVENT_ID.fullmatch(seen)
    if last is not None and int(last[1]) == attempt:
        return attempt, int(last[2])
    if last is not None and not pinned and 0 < int(last[1]) < attempt:
        return int(last[1]), int(last[2])
    return attempt, -1


def _events(
    ports: Ports, reader: Reader, task: str, attempt: int, *, seen: str, pinned: bool, language: str
) -> Iterator[bytes]:
    """Chunks as they come (`log`), changes of status (`status`), and at last `end`.

    Where the reader may read no more, `closed` comes instead of `end`, with the reason: the task goes on.
    """
    attempt, after = resumed(seen, attempt, pinned=pinned)
    current: TaskView | None = None
    text, text_of = LogText(_before(ports, task, attempt, after)), attempt
    yield b": keruta\n\n"
    try:
        for found in watch(ports, reader, task, attempt, after=after, pinned=pinned):
            if found is None:
                yield b": still here\n\n"
            elif isinstance(found, Chunk):
                if found.attempt != text_of:
                    yield from _rest(text)
                    text, text_of = LogText(), found.attempt
                yield event("log", text.line(found), f"{found.attempt}-{found.sequence}")
            elif current is None or found.status != current.status:
                current = found
                yield event("status", {**status_of(found, language), "attempt": len(found.attempts)})
    except NotReadableError as error:
        yield from _rest(text)
        yield closed(error, language)
        return
    if current is not None:
        yield from _rest(text)
        yield event("end", status_of(current, language))


def status_of(task: TaskView, language: str) -> dict[str, object]:
    """Return a task's state for a stream: its message in a language, beside its code and arguments."""
    said = in_language(task, language)
    names = ("status", "reason", "message", "message_code", "message_arguments", "exit_code")
    return {name: getattr(said, name) for name in names}


def _before(ports: Ports, task: str, attempt: int, after: int) -> bytes:
    """Return the end of what a client has seen: what it needs of a character that goes on in the next chunk."""
    if after < 0:
        return b""
    seen = (chunk for chunk in ports.reading.chunks(task, attempt, max(after - 4, -1)) if chunk.sequence <= after)
    return b"".join(chunk.data for chunk in itertools.islice(seen, 4))


def _rest(text: LogText) -> Iterator[bytes]:
    if (rest := text.rest()) is not None:
        yield event("log", rest)


def closed(error: NotReadableError, language: str) -> bytes:
    """The event that says why a reader gets no more."""
    return event("closed", {"reason": error.reason, "message": render(error.message, language)})


def stream(events: Iterator[bytes], reader: Principal) -> flask.Response:
    """An answer that goes on; no proxy is to hold any of it back. Raises TooManyRequests, Unavailable."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = flask.Response(events, content_type="text/event-stream; charset=utf-8", headers=headers)
    return counted(response, reader)


def event(kind: str, value: object, identity: str | None = None) -> bytes:
    """One server-sent event."""
    name = f"id: {identity}\n".encode() if identity else b""
    return name + f"event: {kind}\n".encode() + b"data: " + msgspec.json.encode(value) + b"\n\n"
