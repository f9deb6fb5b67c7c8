"""Tells those who follow a log that there is more: one change stream per process, however many follow.

A follower is told only *that* something came; it reads from the collection what it has not seen. So a stream that broke
and was taken up elsewhere loses nothing. What many of them are to read is read once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pymongo.errors import PyMongoError

from keruta.adapters.mongo.client import Database

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0


T = TypeVar("T")


class Shared:
    """Reads shared by all followers of one task: one of them reads for all, once for each change."""

    def __init__(self) -> None:
        self._number = self._of = 0
        self._made: dict[object, Any] = {}
        self._lock = threading.Lock()

    def changed(self) -> None:
        """Mark all earlier reads as outdated."""
        self._number += 1

    def once(self, key: object, read: Callable[[], T]) -> T:
        """Return the result read since the last change, or read it now. Other threads wait for the one that reads."""
        with self._lock:
            number = self._number
            if self._of != number:
                self._made.clear()
                self._of = number
            if key not in self._made:
                self._made[key] = read()
            made: T = self._made[key]
            return made


class Told(threading.Event):
    """Set whenever the task or its log has changed; with what its followers share."""

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self.shared = shared


class MongoTail:
    """Followers by task. The stream runs while there are any."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followers: dict[str, set[Told]] = {}
        self._lock = threading.Lock()
        self._running = False
        self._open = threading.Event()

    @contextmanager
    def follow(self, task_id: str) -> Iterator[Told]:
        """Gives an event that is set whenever the task or its log has changed (and now and then for nothing)."""
        with self._lock:
            others = self._followers.setdefault(task_id, set())
            told = Told(next(iter(others)).shared if others else Shared())
            others.add(told)
            if not self._running:
                self._running = True
                self._open.clear()
                threading.Thread(target=self._run, name="tail", daemon=True).start()
        self._open.wait(5)
        try:
            yield told
        finally:
            with self._lock:
                self._followers[task_id].discard(told)
                if not self._followers[task_id]:
                    del self._followers[task_id]

    def _run(self) -> None:
        while True:
            try:
                self._watch()
            except PyMongoError as error:
                log.warning("tail broke off: %s", str(error)[:200], extra={"action": "tail_broken"})
                time.sleep(_AGAIN_SECONDS)
                self._tell_all()
            else:
                return

    def _watch(self) -> None:
        # An insert of a chunk, or a change of a task: only their names are fetched.
        stages: list[dict[str, Any]] = [
            {
                "$match": {
                    "ns.coll": {"$in": ["logs", "tasks"]},
                    "operationType": {"$in": ["insert", "update", "replace"]},
                }
            },
            {"$project": {"documentKey": 1}},
        ]
        with self._database.watch(stages, max_await_time_ms=1000) as stream:
            self._open.set()
            self._tell_all()
            while stream.alive:
                change = stream.try_next()
                with self._lock:
                    if not self._followers:
                        self._running = False
                        return
                    if change is not None:
                        _tell(self._followers.get(str(change["documentKey"]["_id"])[:26], ()))
        raise PyMongoError("the change stream ended")

    def _tell_all(self) -> None:
        with self._lock:
            for followers in self._followers.values():
                _tell(followers)


def _tell(followers: Iterable[Told]) -> None:
    for number, told in enumerate(followers):
        if number == 0:
            told.shared.changed()  # before any of them looks
        told.set()
