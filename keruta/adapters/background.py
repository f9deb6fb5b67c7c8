"""Work that is done after the answer has gone out: one class for every background thread of the server."""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


def _nothing() -> None:
    return None


class Background(Generic[T]):
    """One thread per process that does one thing after another. It is made on first use: after the server has forked.

    What `do` or `look` raises is logged, and the thread goes on with the next.

    Args:
        name: of the thread.
        do: does one thing.
        limit: how many things may wait.
        look: is called after each thing, and when none came for `look_seconds`.
        look_seconds: says how long to wait for the next thing before looking; None is for ever.
    """

    def __init__(
        self,
        name: str,
        do: Callable[[T], None],
        *,
        limit: int,
        look: Callable[[], None] = _nothing,
        look_seconds: Callable[[], float | None] = _nothing,
    ) -> None:
        self._name = name
        self._do = do
        self._look = look
        self._look_seconds = look_seconds
        self._limit = limit
        self._waiting: queue.Queue[T] = queue.Queue(limit)
        self._lock = threading.Lock()
        self._process = 0

    def put(self, thing: T) -> bool:
        """Have a thing done. Never waits; returns False, and forgets it, when too many wait already."""
        self.start()
        try:
            self._waiting.put_nowait(thing)
        except queue.Full:
            return False
        return True

    def start(self) -> None:
        """Start the thread, if this process has none yet."""
        if self._process == os.getpid():
            return
        with self._lock:
            if self._process != os.getpid():
                self._process = os.getpid()
                threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                self._round()
            except Exception:  # the next thing may well be done
                log.exception("background work failed", extra={"action": "background_failed", "of": self._name})

    def _round(self) -> None:
        try:
            thing = self._waiting.get(timeout=self._look_seconds())
        except queue.Empty:
            pass
        else:
            self._do(thing)
        self._look()
