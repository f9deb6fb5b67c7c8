"""The outputs of a script, read from the text that it wrote."""

from __future__ import annotations

import pytest

from agent.attempt.outputs import parse_outputs
from agent.attempt.script_environment import shell_text


@pytest.mark.parametrize(
    ("text", "outputs"),
    [
        ("a=1\nb=2\n", {"a": "1", "b": "2"}),
        ("a=1\na=2", {"a": "2"}),
        ("a=\n", {"a": ""}),
        ("a=b=c\n", {"a": "b=c"}),
        ("a=x\u2028y\x0cz\x0b\x85\u2029.\n", {"a": "x\u2028y\x0cz\x0b\x85\u2029."}),
        ("a=1\r\nb=2\r\n", {"a": "1", "b": "2"}),
        ("a<<EOF\none\n\n  two=2\nEOF\nb=3\n", {"a": "one\n\n  two=2", "b": "3"}),
        ("a<<EOF\nEOF\n", {"a": ""}),
        ("a<<EOF\r\none\r\nEOF\r\n", {"a": "one"}),
        ("a<<EOF\nEOF2\n EOF\nEOF\n", {"a": "EOF2\n EOF"}),
        ("a<<区切り\nあ\n区切り\n", {"a": "あ"}),
        ("a=x<<EOF\n", {"a": "x<<EOF"}),
    ],
)
def test_outputs_are_read_as_written(text: str, outputs: dict[str, str]) -> None:
    """A value of one line or several stays whole, whatever characters it holds."""
    assert parse_outputs(text) == (outputs, [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense\n", "line 1: not name=value"),
        ("a=1\n1a=2\n", "line 2: not name=value"),
        ("a<<EOF\none\n", "line 1: no line EOF ends the value of a"),
        (f"a={'x' * 65_537}\n", "line 1: the value of a is longer than 65536 characters"),
        (f"a<<EOF\n{'x' * 40_000}\n{'x' * 40_000}\nEOF\n", "line 1: the value of a is longer than 65536 characters"),
    ],
)
def test_a_line_that_is_no_output_is_named(text: str, said: str) -> None:
    """An unreadable line is named by its number; the rest is kept."""
    outputs, wrong = parse_outputs(text + "b=2\n")

    assert said in str(wrong[0])
    assert outputs["b"] == "2"


def test_an_unfinished_value_of_many_openings_takes_little_time() -> None:
    """Many openings without an end are told, the first twenty by line."""
    outputs, wrong = parse_outputs("a<<E\n" * 50_000)

    assert outputs == {}
    assert len(wrong) == 21


@pytest.mark.parametrize("text", ["echo a\r\necho b\r\n", "\ufeffecho a\necho b\n", "echo a\necho b\n"])
def test_a_script_from_another_system_is_the_same_script(text: str) -> None:
    """A byte order mark and carriage returns at line ends do not reach the shell."""
    assert shell_text(text) == "echo a\necho b\n"
