"""Values that were found not long ago, kept by a process for some seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """A bounded memory of values by their keys, for several threads.

    Args:
        seconds: how old a value may be.
        most: how many are kept; one more clears the others.
        clock: seconds that only go forward.
    """

    def __init__(self, seconds: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._known: dict[K, tuple[float, V]] = {}
        self._lock = threading.Lock()

    def of(self, key: K, find: Callable[[], V]) -> V:
        """Return the value of a key: the remembered one, or what `find` returns now. Raises what that raises."""
        now = self._clock()
        with self._lock:
            known = self._known.get(key)
        if known is not None and now - known[0] < self._seconds:
            return known[1]
        found = find()
        with self._lock:
            if len(self._known) >= self._most:
                self._known.clear()
            self._known[key] = now, found
        return found

    def forget(self, key: K) -> None:
        """Find this key's value anew the next time."""
        with self._lock:
            self._known.pop(key, None)

    def clear(self) -> None:
        """Find every value anew the next time."""
        with self._lock:
            self._known.clear()
