"""Values that a process keeps for some seconds."""

from __future__ import annotations

import pytest

from keruta.remembered import Remembered


def test_a_value_is_found_once_until_it_is_too_old() -> None:
    """Its age counts from when it was asked for."""
    now, found = [0.0], iter(["first", "second"])
    memory: Remembered[str, str] = Remembered(5.0, 10, clock=lambda: now[0])

    seen = []
    for now[0] in (0.0, 4.9, 5.0):
        seen.append(memory.of("key", lambda: next(found)))

    assert seen == ["first", "first", "second"]


def test_a_forgotten_value_is_found_anew() -> None:
    """One alone, or all."""
    found = iter(range(10))
    memory: Remembered[str, int] = Remembered(5.0, 10, clock=lambda: 0.0)
    first = [memory.of(key, lambda: next(found)) for key in ("a", "b")]

    memory.forget("a")
    second = [memory.of(key, lambda: next(found)) for key in ("a", "b")]
    memory.clear()

    assert (first, second, memory.of("b", lambda: next(found))) == ([0, 1], [2, 1], 3)


def test_no_more_values_are_kept_than_allowed() -> None:
    """One more clears the others."""
    found = iter(range(10))
    memory: Remembered[str, int] = Remembered(5.0, 2, clock=lambda: 0.0)

    assert [memory.of(key, lambda: next(found)) for key in ("a", "b", "c", "c", "a")] == [0, 1, 2, 2, 3]


def test_what_could_not_be_found_is_not_kept() -> None:
    """The next one to ask finds it."""
    memory: Remembered[str, int] = Remembered(5.0, 2, clock=lambda: 0.0)

    with pytest.raises(ZeroDivisionError):
        memory.of("a", lambda: 1 // 0)

    assert memory.of("a", lambda: 7) == 7
