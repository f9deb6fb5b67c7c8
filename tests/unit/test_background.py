"""Work in a background thread."""

from __future__ import annotations

import logging
import queue
import threading

import pytest

from keruta.adapters.background import Background


def test_things_are_done_in_order_by_one_thread_that_is_made_on_first_use() -> None:
    done: queue.Queue[tuple[int, str]] = queue.Queue()
    work: Background[int] = Background("work", lambda n: done.put((n, threading.current_thread().name)), limit=10)
    assert "work" not in [thread.name for thread in threading.enumerate()]

    assert all(work.put(number) for number in range(3))

    assert [done.get(timeout=5) for _ in range(3)] == [(number, "work") for number in range(3)]


def test_what_fails_does_not_stop_what_follows(caplog: pytest.LogCaptureFixture) -> None:
    """The failure is logged."""
    done: queue.Queue[int] = queue.Queue()

    def do(number: int) -> None:
        if number == 0:
            raise ValueError("no")
        done.put(number)

    work: Background[int] = Background("work", do, limit=10)
    with caplog.at_level(logging.ERROR):
        for number in range(2):
            work.put(number)
        assert done.get(timeout=5) == 1

    assert "background work failed" in caplog.text


def test_too_many_things_are_refused_at_once() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def do(number: int) -> None:
        begun.set()
        go_on.wait(5)

    work: Background[int] = Background("work", do, limit=1)
    work.put(0)
    assert begun.wait(5)

    assert work.put(1)
    assert not work.put(2)
    go_on.set()


def test_it_looks_after_each_thing_and_when_none_comes() -> None:
    looked: queue.Queue[str] = queue.Queue()
    work: Background[int] = Background(
        "work",
        lambda n: looked.put("done"),
        limit=1,
        look=lambda: looked.put("looked"),
        look_seconds=lambda: 0.01 if looked.qsize() < 5 else None,
    )

    work.start()
    assert looked.get(timeout=5) == "looked"
    work.put(0)

    assert "done" in iter(lambda: looked.get(timeout=5), "")
