"""A value with many followers is read once for each change, and is never outdated."""

from __future__ import annotations

import threading

import pytest

from keruta.adapters.mongo.log_tail import Shared
from keruta.errors import Unavailable


def test_followers_share_one_reading_until_something_changes() -> None:
    shared, reads = Shared(), []

    def read() -> int:
        reads.append(1)
        return len(reads)

    together = threading.Barrier(8)
    found: list[int] = []

    def follow() -> None:
        together.wait()
        found.append(shared.once("log", read))

    threads = [threading.Thread(target=follow) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [1] * 8
    shared.changed()
    assert shared.once("log", read) == 2
    assert shared.once("another", read) == 3


def test_what_changes_while_it_is_read_is_read_again() -> None:
    """A reading that began before a change may not hold it."""
    shared = Shared()

    def read() -> str:
        shared.changed()
        return "perhaps old"

    assert shared.once("log", read) == "perhaps old"
    assert shared.once("log", lambda: "new") == "new"


def test_a_reading_that_failed_is_not_kept() -> None:
    shared = Shared()

    def fail() -> str:
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        shared.once("log", fail)
    assert shared.once("log", lambda: "back") == "back"
