"""Sends the notices that are due by e-mail, in a thread of its own: a slow server delays nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable

from keruta.adapters.background import Background
from keruta.errors import KerutaError

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
PAUSE_SECONDS = 60.0  # after the server did not take an e-mail


class MailSender:
    """Looks for what is due every five seconds.

    Args:
        send: sends it; returns False where the server does not take e-mails. Raises KerutaError.
    """

    def __init__(self, send: Callable[[], bool]) -> None:
        self._send = send
        self._seconds = LOOK_SECONDS
        self._work: Background[None] = Background(
            "mails", lambda _: None, limit=1, look=self._look, look_seconds=lambda: self._seconds
        )

    def start(self) -> None:
        self._work.start()

    def _look(self) -> None:
        self._seconds = PAUSE_SECONDS
        try:
            if self._send():
                self._seconds = LOOK_SECONDS
        except KerutaError as error:
            log.warning("e-mails wait: %s", type(error).__name__, extra={"action": "mails_wait"})
            self._seconds = LOOK_SECONDS
