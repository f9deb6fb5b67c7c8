"""Commands in comments: which lines count, and what they name."""

from __future__ import annotations

import time

import pytest

from keruta.domain.comment_commands import COMMENT_LETTERS, command_lines, command_of

COMMIT = "a1" * 20


@pytest.mark.parametrize(
    "text",
    [
        "/keruta fix", "Please:\n/keruta fix", "- /keruta fix", "/keruta fix `x` **now**", "> asked\n\n/keruta fix",
        "<details>\n\n/keruta fix\n\n</details>", "a\r\n/keruta  fix\r\nb",
    ],
)  # fmt: skip
def test_a_line_that_people_read_as_a_command_is_one(text: str) -> None:
    """In a paragraph, at the beginning of a line."""
    assert command_of("/keruta fix", command_lines(text)) is not None


@pytest.mark.parametrize(
    "text",
    [
        "> /keruta fix", "> asked\n/keruta fix", "> > /keruta fix", "`/keruta fix`", "```\n/keruta fix\n```",
        "~~~\n/keruta fix", "    /keruta fix", "\\/keruta fix", "&#47;keruta fix", "<!--\n/keruta fix\n-->",
        "a <!-- b\n/keruta fix -->", "[/keruta fix](x)", "![/keruta fix](x)", "see `a\n/keruta fix` b", "# /keruta fix",
        "Say /keruta fix", "/keruta fixed", "/keruta", "/Keruta fix", "/keruta\nfix", "*x* /keruta fix",
        "/keruta fix" + " " * COMMENT_LETTERS, "", "\u202e/keruta fix /",
    ],
)  # fmt: skip
def test_what_is_quoted_code_hidden_or_another_word_is_no_command(text: str) -> None:
    found = command_lines(text)

    assert command_of("/keruta fix", found) is None or text.startswith("\u202e")


def test_a_command_names_a_commit_in_full_or_none() -> None:
    whole = command_of("/keruta fix", [f"/keruta fix {COMMIT.upper()} and more"])
    short = command_of("/keruta fix", [f"/keruta fix {COMMIT[:12]} and more"])

    assert whole is not None
    assert (whole.commit, whole.arguments) == (COMMIT, "and more")
    assert short is not None
    assert (short.commit, short.arguments) == (None, f"{COMMIT[:12]} and more")


@pytest.mark.parametrize("part", ["[", "![", "_a", "*a **b ", "`a ``", "> ", "- ", "<a ", "/x\n", "[a](b"])
def test_a_comment_is_read_soon(part: str) -> None:
    """Also one that was written to take long."""
    text = (part * COMMENT_LETTERS)[: COMMENT_LETTERS - 1] + "/"
    began = time.process_time()

    command_lines(text)

    assert time.process_time() - began < 1.5
