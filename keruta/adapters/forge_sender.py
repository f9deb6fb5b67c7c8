"""Tells forges what is due, beside the answers to people: in threads, so that a slow forge holds up no other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from keruta.adapters.background import Background
from keruta.errors import KerutaError

log = logging.getLogger(__name__)

SENDERS = 3
COMPARERS = 2
LOOK_SECONDS = 2.0


class ForgeSender:
    """Looks for what is due every two seconds. While one thread is held up by a slow forge, another one looks.

    Args:
        tell: tells each forge that nobody else speaks to; raises KerutaError.
        compare: compares a repository with its forge, which takes minutes where that is slow, so it has threads of its
            own; raises KerutaError.
    """

    def __init__(self, tell: Callable[[], object], compare: Callable[[], object]) -> None:
        work = [("forges", _Look(tell))] * SENDERS + [("comparisons", _Look(compare))] * COMPARERS
        self._senders: list[Background[None]] = [
            Background(f"{name}-{number}", lambda _: None, limit=1, look=look, look_seconds=lambda: LOOK_SECONDS)
            for number, (name, look) in enumerate(work)
        ]

    def start(self) -> None:
        for sender in self._senders:
            sender.start()


class _Look:
    """A look for what is due, which several threads repeat: together once in two seconds."""

    def __init__(self, do: Callable[[], object]) -> None:
        self._do = do
        self._lock = threading.Lock()
        self._begun_at = -LOOK_SECONDS

    def __call__(self) -> None:
        if not self._is_due():
            return
        try:
            self._do()
        except KerutaError as error:
            log.warning("forges wait: %s", type(error).__name__, extra={"action": "forges_wait"})

    def _is_due(self) -> bool:
        """Return whether no thread has begun to look just now. This one does, then."""
        now = time.monotonic()
        with self._lock:
            if now - self._begun_at < LOOK_SECONDS / 2:
                return False
            self._begun_at = now
            return True
