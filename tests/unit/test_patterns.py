"""Regular expressions that people give: only such as end soon on any line."""

from __future__ import annotations

import io
import time

import pytest

from agent.attempt.usage import measure
from keruta.domain.catalog.patterns import pattern_fault
from keruta.domain.catalog.profiles import UsageRule


@pytest.mark.parametrize(
    "pattern",
    [
        r"Tokens: ([\d.,]+[kM]?) sent",
        r"Tokens: .*?([\d.,]+[kM]?) received",
        r"Cost: .*?\$([\d.]+) session",
        r"(?:in|out): (\d+)",
        r"(\d{1,3}(?:,\d{3}){0,4})",
        r"^(?:total |sum )?cost (\d+)$",
    ],
)
def test_a_pattern_for_a_number_is_taken(pattern: str) -> None:
    """Patterns as profiles use them are no fault."""
    assert pattern_fault(pattern) is None


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+b", r"(a*)*b", r"((a+)b?)*c", r"(a|a)*b", r"(a|aa)+b", r"(?:x(y|z)+)+", r"(.*)\1", r"(\w+\s?)*!",
        r"(a*)a*a*a*b", r"(?:(\d+)|x){2,}y", r"(?=(a+)+b)", r"((((a{1,100}){1,100}){1,100}){1,100})",
    ],
)  # fmt: skip
def test_a_pattern_that_can_take_very_long_is_refused(pattern: str) -> None:
    """A pattern that repeats a repeat or an alternative, refers back or repeats too often is a fault."""
    said = pattern_fault(pattern)

    assert said is not None
    assert said.code == "field_pattern_slow"


@pytest.mark.parametrize(
    ("pattern", "code"), [("(", "field_expression"), ("x", "field_no_group"), ("(?P<a", "field_expression")]
)
def test_what_is_no_pattern_is_told(pattern: str, code: str) -> None:
    """An expression that can't be compiled, or has no group, is told as such."""
    said = pattern_fault(pattern)

    assert said is not None
    assert said.code == code


def test_a_slow_pattern_from_before_reads_nothing() -> None:
    """A stored profile with such a pattern does not hold its worker."""
    rule = UsageRule(measure="cost_usd", pattern=r"(a+)+b")
    began = time.thread_time()

    assert measure(io.BytesIO(b"a" * 400 + b"\n"), [rule]) == {}
    assert time.thread_time() - began < 1
