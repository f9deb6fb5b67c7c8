"""gunicorn's worker as keruta uses it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from unittest.mock import patch

import pytest
from gunicorn.workers.gthread import ThreadWorker

from keruta.http.serving import LOOK_SECONDS, Worker


@pytest.fixture
def signs() -> Iterator[list[float]]:
    """When gunicorn was given a sign of life."""
    given: list[float] = []
    with patch.object(ThreadWorker, "notify", lambda self: given.append(time.monotonic())):
        yield given


def test_signs_of_life_are_given_at_most_once_in_a_second(signs: list[float]) -> None:
    worker = Worker.__new__(Worker)
    now = 100.0
    with patch("time.monotonic", lambda: now):
        for _ in range(50):
            worker.notify()
        assert len(signs) == 1
        now += LOOK_SECONDS
        worker.notify()
        assert len(signs) == 2
