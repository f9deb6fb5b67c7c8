"""When a Git that gets next to nothing from its server is given up."""

from __future__ import annotations

import pytest

from keruta.adapters.git.slowness import Slowness


class Times:
    """A clock that a test moves, and a process group whose work it decides."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.work: dict[int, tuple[int, float]] = {7: (0, 0.0)}
        self.slow = Slowness(7, 600.0, clock=lambda: self.now, measure=lambda _: dict(self.work))

    def seconds_until_given_up(self, written: float, cpu: float, most: int = 3000) -> float | None:
        """Go on second by second, with so many bytes and so much CPU in each."""
        began = self.now
        for _ in range(most):
            self.now += 1
            bytes_before, cpu_before = self.work[7]
            self.work = {7: (int(bytes_before + written), cpu_before + cpu)}
            if self.slow.reached():
                return self.now - began
        return None


@pytest.fixture
def times() -> Times:
    return Times()


def test_a_byte_a_second_is_given_up_after_the_time(times: Times) -> None:
    """Each byte is passed on from process to process."""
    assert times.seconds_until_given_up(written=4, cpu=0.001) == 600


@pytest.mark.parametrize(("written", "cpu"), [(5000, 0.0), (0, 0.5)])
def test_a_slow_line_and_a_busy_git_are_waited_for(times: Times, written: float, cpu: float) -> None:
    """Five kilobytes a second are slow; a Git that resolves deltas waits for nobody."""
    assert times.seconds_until_given_up(written, cpu) is None


def test_what_came_before_does_not_count(times: Times) -> None:
    """A server that sent much and then almost nothing."""
    assert times.seconds_until_given_up(written=1_000_000, cpu=0.1, most=900) is None

    given_up = times.seconds_until_given_up(written=1, cpu=0.0)

    assert given_up is not None
    assert 600 <= given_up <= 660


def test_a_process_that_ended_takes_nothing_away(times: Times) -> None:
    """What the next one does counts from nothing."""
    times.work = {7: (10**9, 1.0)}
    times.now += 60
    assert not times.slow.reached()
    times.work = {8: (0, 0.0)}

    for _ in range(9):
        times.now += 60
        assert not times.slow.reached()


def test_where_the_kernel_tells_nothing_nothing_is_given_up(times: Times) -> None:
    times.work = {}
    times.now += 6000

    assert not times.slow.reached()
