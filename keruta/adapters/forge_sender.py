"""Tells forges what is due, beside the answers to people: in threads, so that a slow forge holds up no other."""

from __future__ import annotations

import logging
from collections.abc import Callable

from keruta.adapters.background import Background
from keruta.errors import KerutaError

log = logging.getLogger(__name__)

SENDERS = 3
LOOK_SECONDS = 2.0


class ForgeSender:
    """Looks for what is due every two seconds.

    Args:
        tell: tells each forge that nobody else speaks to; raises KerutaError.
    """

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell
        self._senders: list[Background[None]] = [
            Background(
                f"forges-{number}", lambda _: None, limit=1, look=self._look, look_seconds=lambda: LOOK_SECONDS
            )
            for number in range(SENDERS)
        ]  # fmt: skip

    def start(self) -> None:
        for sender in self._senders:
            sender.start()

    def _look(self) -> None:
        try:
            self._tell()
        except KerutaError as error:
            log.warning("forges wait: %s", type(error).__name__, extra={"action": "forges_wait"})
