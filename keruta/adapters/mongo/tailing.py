"""Tells those who follow a log that there is more: one change stream per process, however many follow.

A follower is told only *that* something came; it reads from the collection what it has not seen. So a stream that broke
and was taken up elsewhere loses nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo.errors import PyMongoError

from keruta.adapters.mongo.client import Database

log = logging.getLogger(__name__)

_AGAIN_SECONDS = 1.0


class MongoTail:
    """Followers by task. The stream runs while there are any."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followers: dict[str, set[threading.Event]] = defaultdict(set)
        self._lock = threading.Lock()
        self._running = False
        self._open = threading.Event()

    @contextmanager
    def follow(self, task_id: str) -> Iterator[threading.Event]:
        """Gives an event that is set whenever the task or its log has changed (and now and then for nothing)."""
        told = threading.Event()
        with self._lock:
            self._followers[task_id].add(told)
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
                        for told in self._followers.get(str(change["documentKey"]["_id"])[:26], ()):
                            told.set()
        raise PyMongoError("the change stream ended")

    def _tell_all(self) -> None:
        with self._lock:
            for followers in self._followers.values():
                for told in followers:
                    told.set()
