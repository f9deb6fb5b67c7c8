"""The gate of benchmark ratios, with figures that are made up."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.figure import Figure, report
from bench.gate import RATIOS, Kept, compare, keep, main, read_history
from docs.history import draw


def figure(value: float, low: float | None = None, high: float | None = None) -> Figure:
    return Figure(
        value=value, spread=(value if low is None else low, value if high is None else high), unit="x", runs=3
    )


def kept(name: str, measured_on: str = "2026-01-01", **figures: Figure) -> Kept:
    return Kept(name=name, measured_on=measured_on, machine="made up", figures=figures)


def said(history: list[Kept], **now: Figure) -> dict[str, tuple[str, bool]]:
    return {one.name: (one.said, one.worse) for one in compare(now, history)}


@pytest.mark.parametrize(
    ("name", "now", "expected"),
    [
        ("throughput_ratio", 0.91, ("as before", False)), ("throughput_ratio", 0.89, ("WORSE", True)),
        ("throughput_ratio", 1.11, ("better", False)), ("cpu_ratio", 1.09, ("as before", False)),
        ("cpu_ratio", 1.11, ("WORSE", True)), ("cpu_ratio", 0.89, ("better", False)),
    ],
)  # fmt: skip
def test_a_ratio_may_differ_by_its_spread(name: str, now: float, expected: tuple[str, bool]) -> None:
    """By more it is worse, or better: throughput is better when it is higher, CPU when it is lower."""
    history = [kept("one", **{name: figure(1.0, 0.96, 1.06)})]

    assert said(history, **{name: figure(now)}) == {name: expected}


def test_a_spread_is_never_less_than_a_twentieth() -> None:
    """Three runs in a row can be alike to the last digit; another day's are not."""
    history = [kept("one", create_ratio=figure(1.0))]

    assert said(history, create_ratio=figure(0.96)) == {"create_ratio": ("as before", False)}
    assert said(history, create_ratio=figure(0.94)) == {"create_ratio": ("WORSE", True)}


def test_the_last_that_is_kept_counts() -> None:
    """Of each ratio, also where the last run did not measure it; what is new is no fault, what is missing is one."""
    history = [
        kept("two", "2026-02-01", throughput_ratio=figure(2.0)),
        kept("one", "2026-01-01", throughput_ratio=figure(1.0), cpu_ratio=figure(1.0)),
    ]
    ordered = sorted(history, key=lambda one: one.measured_on)

    assert said(ordered, throughput_ratio=figure(1.5), create_ratio=figure(1.0)) == {
        "throughput_ratio": ("WORSE", True), "cpu_ratio": ("not measured", True), "create_ratio": ("new", False),
    }  # fmt: skip


def test_milliseconds_are_not_compared() -> None:
    """They depend on the machine."""
    assert said([kept("one", page_ms=figure(1.0))], page_ms=figure(100.0)) == {}


def test_a_run_is_kept_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From what `python -m bench` writes; what is kept does not change, and the exit code says what is worse."""
    monkeypatch.setattr("bench.gate.HISTORY", tmp_path / "history")
    (tmp_path / "history").mkdir()
    out = tmp_path / "out.json"
    report({"cpu_ratio": figure(1.5, 1.4, 1.6), "page_ms": figure(3.0)}, {}, out)

    keep({"cpu_ratio": figure(1.5, 1.4, 1.6), "page_ms": figure(3.0)}, "one", tmp_path / "history")
    with pytest.raises(FileExistsError):
        keep({}, "one", tmp_path / "history")

    [found] = read_history(tmp_path / "history")
    assert found.figures == {"cpu_ratio": figure(1.5, 1.4, 1.6)}
    monkeypatch.setattr("bench.gate.read_history", lambda: [found])
    assert main([str(out)]) == 0
    report({"cpu_ratio": figure(1.8)}, {}, out)
    assert main([str(out)]) == 1


def test_what_is_kept_in_the_repository_can_be_read() -> None:
    """Each run has ratios that are known."""
    for one in read_history():
        assert one.figures
        assert set(one.figures) <= set(RATIOS)


def test_the_picture_is_drawn() -> None:
    """A point for each value, and the last one's number; a ratio that a run lacks is left out."""
    history = [
        kept("one", cpu_ratio=figure(2.0, 1.9, 2.1)),
        kept("two", cpu_ratio=figure(1.5, 1.4, 1.6), throughput_ratio=figure(0.5)),
    ]
    root = ET.fromstring(draw(history))

    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    texts = ["".join(one.itertext()) for one in root.findall("{http://www.w3.org/2000/svg}text")]
    assert len(circles) == 3
    assert {"1.5", "0.5"} <= set(texts)
