"""Tells forges what is due, beside the answers to people: in threads, so that a slow forge holds up no other."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from keruta.adapters.background import Background
from keruta.errors import KerutaError

log = logging.getLogger(__name__)

SENDERS = 3
COMPARERS = 2
LOOK_SECONDS = 2.0


class ForgeSender:
    """Looks for what is due every two seconds.

    Args:
        tell: tells each forge that nobody else speaks to; raises KerutaError.
        compare: compares a repository with its forge, which takes minutes where that is slow, so it has threads of its
            own; raises KerutaError.
    """

    def __init__(self, tell: Callable[[], object], compare: Callable[[], object]) -> None:
        work = [("forges", tell)] * SENDERS + [("comparisons", compare)] * COMPARERS
        self._senders: list[Background[None]] = [
            Background(
                f"{name}-{number}", lambda _: None, limit=1, look=partial(_look, of), look_seconds=lambda: LOOK_SECONDS
            )
            for number, (name, of) in enumerate(work)
        ]  # fmt: skip

    def start(self) -> None:
        for sender in self._senders:
            sender.start()


def _look(of: Callable[[], object]) -> None:
    try:
        of()
    except KerutaError as error:
        log.warning("forges wait: %s", type(error).__name__, extra={"action": "forges_wait"})
