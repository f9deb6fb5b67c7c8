"""Limits on answers that stay open for long: for each person, and for this process.

How long such an answer takes is up to who reads it, and it holds a thread: a log, a file, an export.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import flask
from werkzeug.wsgi import ClosingIterator

from keruta.domain.messages import message
from keruta.domain.principal import Principal
from keruta.errors import KerutaError, TooManyRequests, Unavailable

PER_PERSON = 20
PER_PROCESS = 400  # of the threads that serve (640 in a cluster): the rest is for pages and health checks
AGAIN_SECONDS = 5


class StreamLimits:
    """Counts open streams."""

    def __init__(self, per_person: int = PER_PERSON, per_process: int = PER_PROCESS) -> None:
        self._per_person, self._per_process = per_person, per_process
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, subject: str) -> Callable[[], None]:
        """One more stream of someone; call what is returned when it is closed.

        Raises:
            TooManyRequests: this one has too many open.
            Unavailable: this process has.
        """
        with self._lock:
            if self._open[subject] >= self._per_person:
                said = message("stream_too_many", limit=self._per_person)
                raise TooManyRequests(said, retry_after_seconds=AGAIN_SECONDS)
            if self._open.total() >= self._per_process:
                raise Unavailable(message("stream_no_room"))
            self._open[subject] += 1
        given_back = threading.Lock()

        def give_back() -> None:
            if given_back.acquire(blocking=False):  # once, however often it is called
                with self._lock:
                    self._open[subject] -= 1
                    if not self._open[subject]:
                        del self._open[subject]

        return give_back


LIMITS = StreamLimits()


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
