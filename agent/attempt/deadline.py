"""The deadline of an attempt, which the time of a coding agent's questions does not bring nearer."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """One attempt's.

    Args:
        at: Unix time.
        moved: told the later deadline, once a question is answered.
    """

    def __init__(self, at: float, moved: Callable[[float], None]) -> None:
        self.at = at
        self._moved = moved
        self._looked_at = time.monotonic()
        self._waited = False

    def look(self, *, waits: bool) -> None:
        """Note whether the attempt waits for a person now; called again and again."""
        now = time.monotonic()
        if waits:
            self.at += now - self._looked_at
        elif self._waited:
            self._moved(self.at)
        self._looked_at, self._waited = now, waits
