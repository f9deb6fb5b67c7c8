"""A coding agent's stream made readable: line by line, the same after a restart, whatever was written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.coding_agents.adapter import Reader
from agent.coding_agents.claude_code import ClaudeReader
from agent.coding_agents.codex import CodexReader
from agent.coding_agents.transcript import LINE_LIMIT_BYTES, Transcript

INIT = b'{"type":"system","subtype":"init","model":"made-up","session_id":"s"}\n'
USE = b'{"type":"tool_use","name":"Bash","input":{"command":"ls"}}'
TOOL = b'{"type":"assistant","message":{"id":"m","content":[' + USE + b"]}}\n"


class Output:
    """A script's output, and transcripts of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.raw = root / "output"
        self.raw.touch()
        self.reader: Reader = ClaudeReader()

    def write(self, data: bytes) -> None:
        with self.raw.open("ab") as file:
            file.write(data)

    def transcript(self) -> Transcript:
        self.reader = ClaudeReader()
        return Transcript(self.raw.open("rb"), self.root, self.reader, json=True)

    @property
    def readable(self) -> str:
        return (self.root / "readable").read_bytes().decode("utf-8", "replace")


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(tmp_path)


def test_records_become_lines_as_they_come(output: Output) -> None:
    """A record is read when its line is whole, and not before."""
    transcript = output.transcript()
    output.write(INIT + TOOL[:20])
    transcript.pump()
    assert output.readable == "● made-up\n"

    output.write(TOOL[20:])
    transcript.pump()
    transcript.close()

    assert output.readable == "● made-up\n▶ Bash: ls\n"


def test_text_between_records_stays(output: Output) -> None:
    """Output of set-up and check stays as printed, including bytes that are not text."""
    transcript = output.transcript()
    output.write(b"plain \xff\n{not json\n[1]\n" + INIT + b"no end")
    transcript.pump(all_=True)
    transcript.close()

    assert (output.root / "readable").read_bytes() == b"plain \xff\n{not json\n[1]\n\xe2\x97\x8f made-up\nno end\n"


@pytest.mark.parametrize("lost", [0, 3, len("▶ Bash: ls\n".encode())])
def test_restart_makes_the_same_text(output: Output, lost: int) -> None:
    """An agent that ended while it added a line adds the rest of it, once, and its reader knows all of it."""
    transcript = output.transcript()
    output.write(INIT)
    transcript.pump()
    output.write(TOOL)
    transcript.pump()
    transcript.close()
    os.truncate(output.root / "readable", (output.root / "readable").stat().st_size - lost)

    again = output.transcript()
    again.pump(all_=True)
    again.close()

    assert output.readable == "● made-up\n▶ Bash: ls\n"
    assert (output.reader.model, output.reader.usage.turns) == ("made-up", 1)


def test_restart_keeps_what_was_said_between(output: Output) -> None:
    """Lines of keruta's own, between those that were read, stay where they are."""
    transcript = output.transcript()
    output.write(INIT)
    transcript.pump()
    with (output.root / "readable").open("a") as file:
        file.write("[keruta] said\n")
    transcript.close()

    again = output.transcript()
    output.write(TOOL)
    again.pump()
    again.close()

    assert output.readable == "● made-up\n[keruta] said\n▶ Bash: ls\n"


def test_record_that_is_too_long_is_left_out(output: Output) -> None:
    """A line above the limit is named by its size, and what follows it is read."""
    transcript = output.transcript()
    output.write(b'{"type":"' + b"a" * LINE_LIMIT_BYTES + b'"}\n' + INIT)
    transcript.pump()
    transcript.close()

    assert f"a line of {LINE_LIMIT_BYTES + 11} bytes is left out" in output.readable
    assert output.readable.endswith("● made-up\n")


@pytest.mark.parametrize("reader", [ClaudeReader(), CodexReader()], ids=["claude", "codex"])
@pytest.mark.parametrize(
    "value", [None, 1, "x", [], [1], {}, {"content": 5}, {"content": [{"type": "text", "text": 3}]}, {"usage": -1}]
)
@pytest.mark.parametrize(
    "kind", ["system", "assistant", "user", "result", "item.completed", "turn.completed", "turn.failed", "error"]
)
def test_records_of_any_shape_are_read(reader: ClaudeReader | CodexReader, kind: str, value: object) -> None:
    """A record that somebody else made up stops nothing."""
    fields = dict.fromkeys(("message", "item", "usage", "error", "result", "permission_denials", "num_turns"), value)

    lines = reader.record({"type": kind, "subtype": "init", **fields})

    assert all(isinstance(line, str) for line in lines)
    assert reader.usage.tokens >= 0
