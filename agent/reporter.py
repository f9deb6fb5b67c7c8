"""Reports to keruta: entries in order, in batches, until each is answered; and heartbeats.

One thread posts; while a post is under way, what comes up waits for the next one, so a busy worker's requests hold many
entries each. Nothing is dropped: what keruta does not take now is sent again.
"""

from __future__ import annotations

import logging
import math
import random
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, Protocol

import msgspec
import urllib3

from agent.problem_documents import detail_of
from keruta import structs
from keruta.domain.reports import AnyEntry, Held, LogChunk, Outcome, Preparing, Report, ReportAnswer, Running
from keruta.network import Pools

log = logging.getLogger(__name__)

BATCH_BYTES = 4 * 1024 * 1024
BATCH_ENTRIES = 1000
BACKED_UP_BYTES = 8 * 1024 * 1024
LINGER_SECONDS = 0.25  # what is not urgent may wait so long for company
QUIET_LOG_LINGER_SECONDS = 1.0  # lines of keruta's own, which go with the script's first output
LOG_LINGER_SECONDS = 0.1  # as little as nobody sees who follows a log; a short script's output goes with its end
AGAIN_FIRST_SECONDS, AGAIN_MOST_SECONDS = 0.1, 2.0


class SessionVoid(Exception):  # noqa: N818
    """keruta does not know this session; register again."""


class _Waiting(msgspec.Struct, eq=False):
    entry: AnyEntry
    size: int
    due_at: float
    asked: threading.Event | None = None
    outcome: Outcome | None = None


class Transport(Protocol):
    """Posts a report. Raises OSError when there is no answer now, and SessionVoid."""

    def __call__(self, body: bytes) -> ReportAnswer: ...


class Reporter:
    """See the module. `agent.attempt.attempt.Reporting` for the jobs.

    Args:
        post: sends one report.
        held: what this agent has in hand.
        anxious: whether word is wanted soon.
        answered: told each answer, and what had been held when its report was made.
        heartbeat_seconds: how long may pass without a report.
    """

    def __init__(
        self,
        post: Transport,
        *,
        held: Callable[[], list[Held]],
        anxious: Callable[[], bool],
        answered: Callable[[ReportAnswer, Sequence[Held]], None],
        heartbeat_seconds: float = 5.0,
    ) -> None:
        self._post = post
        self._held = held
        self._anxious = anxious
        self._answered = answered
        self.heartbeat_seconds = heartbeat_seconds
        self._waiting: deque[_Waiting] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._due_at = math.inf  # the earliest of what waits, by the monotonic clock
        self._nudged = False
        self._ending = False
        self._rng = random.Random()  # noqa: S311  it only spreads retries

    # ------------------------------------------------------------ for the jobs

    def send(self, entry: AnyEntry, *, urgent: bool = False) -> None:
        if isinstance(entry, LogChunk):
            seconds = LOG_LINGER_SECONDS if urgent else QUIET_LOG_LINGER_SECONDS
        else:
            seconds = 0.0 if urgent else LINGER_SECONDS
        self._add(_Waiting(entry, _size(entry), time.monotonic() + seconds))

    def ask(self, entry: AnyEntry, stop: threading.Event) -> Outcome | None:
        waiting = _Waiting(entry, _size(entry), time.monotonic(), threading.Event())
        self._add(waiting)
        assert waiting.asked is not None
        while not waiting.asked.wait(0.2):
            if stop.is_set() or self._ending:
                with self._changed:
                    if waiting in self._waiting:
                        self._waiting.remove(waiting)
                        self._bytes -= waiting.size
                return None
        return waiting.outcome

    @property
    def backed_up(self) -> bool:
        return self._bytes > BACKED_UP_BYTES

    def nudge(self) -> None:
        """Report now, since keruta may have something for this worker."""
        with self._changed:
            self._nudged = True
            self._changed.notify()

    def _add(self, waiting: _Waiting) -> None:
        with self._changed:
            self._waiting.append(waiting)
            self._bytes += waiting.size
            if waiting.due_at < self._due_at:
                self._due_at = waiting.due_at
                self._changed.notify()

    # ------------------------------------------------------------ the thread

    def run(self) -> None:
        """Reports until `end`. Raises SessionVoid when keruta wants a new registration."""
        pause = AGAIN_FIRST_SECONDS
        while True:
            batch = self._next()
            if batch is None:
                return
            try:
                self._report(batch)
                pause = AGAIN_FIRST_SECONDS
            except OSError as error:
                if self._ending:  # the next worker of this name tells what could not be told
                    return
                log.warning("no answer: %s; again in %.1f s", error, pause, extra={"action": "report_failed"})
                with self._changed:
                    self._nudged = True
                    self._changed.wait_for(lambda: self._ending, pause * (0.5 + self._rng.random()))
                pause = min(pause * 2, AGAIN_MOST_SECONDS)

    def end(self) -> None:
        """Make `run` send the waiting entries once more, if possible, and return."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def _next(self) -> list[_Waiting] | None:
        """Waits until there is something to report; None when it is time to end and nothing is left."""
        with self._changed:
            beat = min(2.0, self.heartbeat_seconds) if self._anxious() else self.heartbeat_seconds
            until = time.monotonic() + beat
            while not (self._nudged or self._ending):
                left = min(until, self._due_at) - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if self._ending and not self._waiting:
                return None
            everything, self._nudged = self._nudged or self._ending, False
            return self._batch(math.inf if everything else time.monotonic())

    def _batch(self, now: float) -> list[_Waiting]:
        """Take the entries of every attempt of which one is due, in order; what follows in an attempt goes with it.

        A start alone does not take the log along: a script waits for its answer.
        """
        due = {_attempt_of(waiting) for waiting in self._waiting if waiting.due_at <= now}
        with_log = {
            _attempt_of(waiting) for waiting in self._waiting
            if waiting.due_at <= now and not isinstance(waiting.entry, Preparing | Running)
        }  # fmt: skip
        batch: list[_Waiting] = []
        size, later = 0, math.inf
        full = False
        for waiting in self._waiting:
            full = full or bool(batch and (size + waiting.size > BATCH_BYTES or len(batch) >= BATCH_ENTRIES))
            ready = with_log if isinstance(waiting.entry, LogChunk) else due
            if full or _attempt_of(waiting) not in ready:
                later = min(later, waiting.due_at)
                continue
            batch.append(waiting)
            size += waiting.size
        self._due_at = later
        return batch

    def _report(self, batch: list[_Waiting]) -> None:
        held = self._held()
        report = Report(entries=[waiting.entry for waiting in batch], held=held)
        answer = self._post(msgspec.json.encode(report))
        with self._changed:
            sent = set(map(id, batch))
            self._waiting = deque(waiting for waiting in self._waiting if id(waiting) not in sent)
            self._bytes = sum(waiting.size for waiting in self._waiting)
        for waiting, outcome in zip(batch, answer.outcomes, strict=False):
            if not outcome.accepted:
                told = {"action": "entry_refused", "task": waiting.entry.task, "attempt": waiting.entry.attempt}
                log.warning("refused: %s", outcome.reason, extra=told)
            waiting.outcome = outcome
            if waiting.asked is not None:
                waiting.asked.set()
        self._answered(answer, held)


def _attempt_of(waiting: _Waiting) -> tuple[str, int]:
    return waiting.entry.task, waiting.entry.attempt


def _size(entry: AnyEntry) -> int:
    """About how many bytes an entry has in a report."""
    return len(entry.data) * 4 // 3 + 200 if isinstance(entry, LogChunk) else len(msgspec.json.encode(entry))


class HttpTransport:
    """Posts reports with a session's token.

    Args:
        url: keruta's address, without `/agent/v1`.
        token: the session's, or an attempt's.
    """

    def __init__(self, url: str, token: str = "") -> None:
        self._url = url.rstrip("/")
        self.token = token
        self._pool = Pools(maxsize=4, retries=False, timeout=urllib3.Timeout(connect=3, read=30))

    def to(self, url: str) -> ElsewhereRequests:
        """Return requests to another address, with the token that this has then; to this one's if it is empty."""
        return ElsewhereRequests(self, url)

    def __call__(self, body: bytes) -> ReportAnswer:
        response = self.request("POST", "/agent/v1/reports", body)
        if response.status in (401, 403):
            raise SessionVoid
        if response.status != 200:
            raise OSError(f"answered {response.status}: {_said(response.data)}")
        try:
            return structs.from_json(response.data, type=ReportAnswer)
        except msgspec.DecodeError as error:
            raise OSError("the answer is none of keruta's") from error

    def request(
        self, method: str, path: str, body: bytes | BinaryIO | None, token: str | None = None, *,
        length: int | None = None, headers: Mapping[str, str] | None = None, url: str = "",
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        """One request. Raises OSError when there is no answer.

        Args:
            length: of a file that is sent as it is.
            url: another address of keruta's.
        """
        sent = {"Authorization": f"Bearer {token or self.token}", "Content-Type": "application/json", **(headers or {})}
        if length is not None:
            sent |= {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        try:
            return self._pool.request(method, (url or self._url) + path, body=body, headers=sent, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise OSError(type(error).__name__) from error

    def download(self, path: str, to: BinaryIO, *, url: str = "") -> int:
        """Write an answer's content to a file, if it is 200; return its status. Raises OSError when it ends early."""
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            with self._pool.request(
                "GET", (url or self._url) + path, headers=headers, redirect=False, preload_content=False
            ) as response:
                if response.status == 200:
                    shutil.copyfileobj(response, to, 1 << 20)
                return response.status
        except urllib3.exceptions.HTTPError as error:
            raise OSError(type(error).__name__) from error


class ElsewhereRequests:
    """Requests with a transport's token to another address of keruta's."""

    def __init__(self, transport: HttpTransport, url: str) -> None:
        self._transport, self._url = transport, url.rstrip("/")

    def request(
        self, method: str, path: str, body: bytes | None, *, headers: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        return self._transport.request(method, path, body, headers=headers, url=self._url)

    def download(self, path: str, to: BinaryIO) -> int:
        return self._transport.download(path, to, url=self._url)


def _said(answer: bytes) -> str:
    said = detail_of(answer)
    return "no problem document" if said is None else said[:300]
