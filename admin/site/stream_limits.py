"""Limits on what stays open for long: for each person, and for this process.

How long an answer such as a log, a file or an export takes is up to who reads it, and how long a request with a body
takes is up to who sends it. Each holds a thread.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable

import flask
from werkzeug.wsgi import ClosingIterator

from keruta.domain.messages import Message, message
from keruta.domain.principal import Principal
from keruta.errors import KerutaError, TooManyRequests, Unavailable

PER_PERSON = 20
PER_PROCESS = 400  # of the threads that serve (640 in a cluster): the rest is for pages and health checks
BODIES_PER_PERSON = 50
AGAIN_SECONDS = 5


class StreamLimits:
    """Counts open streams."""

    def __init__(self, per_person: int = PER_PERSON, per_process: int = PER_PROCESS) -> None:
        self._per_person, self._per_process = per_person, per_process
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def many(self) -> Message:
        """The sentence for whoever has too many open."""
        return message("stream_too_many", limit=self._per_person)

    def full(self) -> Message:
        """The sentence for a process that has too many."""
        return message("stream_no_room")

    def take(self, subject: str) -> Callable[[], None]:
        """One more stream of someone; call what is returned when it is closed.

        Raises:
            TooManyRequests: this one has too many open.
            Unavailable: this process has.
        """
        with self._lock:
            if self._open[subject] >= self._per_person:
                raise TooManyRequests(self.many(), retry_after_seconds=AGAIN_SECONDS)
            if self._open.total() >= self._per_process:
                raise Unavailable(self.full())
            self._open[subject] += 1
        given_back = threading.Lock()

        def give_back() -> None:
            if given_back.acquire(blocking=False):  # once, however often it is called
                with self._lock:
                    self._open[subject] -= 1
                    if not self._open[subject]:
                        del self._open[subject]

        return give_back


class BodyLimits(StreamLimits):
    """Counts requests with a body that have not been answered."""

    def many(self) -> Message:
        return message("body_too_many", limit=self._per_person)

    def full(self) -> Message:
        return message("body_no_room")


LIMITS = StreamLimits()
BODIES = BodyLimits(BODIES_PER_PERSON)


def count_body(request: flask.Request, address: str) -> Callable[[], None]:
    """Count a request with a body, by its sender's token, cookie or address; call what is returned when it is over.

    Events are the broker's, which sends as many at once as it is set to.

    Raises:
        TooManyRequests, Unavailable: too many of them are on their way.
    """
    if request.method in ("GET", "HEAD") or request.path.startswith("/events/"):
        return lambda: None
    sender = request.headers.get("Authorization") or request.headers.get("Cookie") or address
    return BODIES.take(hashlib.sha256(sender.encode("utf-8", "replace")).hexdigest())


def counted(response: flask.Response, reader: Principal) -> flask.Response:
    """An answer whose reader decides how long it takes; it counts until it is closed.

    Raises:
        TooManyRequests, Unavailable: too many of them are open.
    """
    try:
        give_back = LIMITS.take(reader.subject)
    except KerutaError:
        response.close()
        raise
    # Not by `call_on_close`: of a file that is passed on as it is, the server closes the iterator alone.
    response.response = ClosingIterator(response.response, give_back)  # type: ignore[arg-type]
    return response
