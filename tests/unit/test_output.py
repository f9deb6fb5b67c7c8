"""The command line's own output."""

from __future__ import annotations

import msgspec
import pytest

from agent.attempt.outputs import parse_outputs
from keruta.cli import output
from keruta.cli.errors import Failure, tell_failure
from keruta.cli.printable import printable
from keruta.domain.catalog.common import Page as CatalogPage
from keruta.domain.task import Artifact


class Spec(msgspec.Struct):
    """An entry of a catalog."""

    description: str


@pytest.mark.parametrize(
    "value", ["1", "", "a=b", "one\ntwo\n", "\n", "EOF\nEOF1", "日本\n\nline=4", "\x1b[31mred\x1b[0m", "a\rb", "\u2028"]
)
def test_outputs_are_written_as_a_script_writes_them(value: str, capfd: pytest.CaptureFixture[str]) -> None:
    """In a pipe, what `keruta outputs` writes can be appended to $KERUTA_OUTPUTS: every value comes back."""
    output.outputs({"name": value, "next": "2"}, as_json=False)

    assert parse_outputs(capfd.readouterr().out) == ({"name": value, "next": "2"}, [])


@pytest.mark.parametrize("text", ["\x1b]0;title\x07", "a\x9bb", "\u202etxt", "a\rb", "\x00", "\u2028"])
def test_what_controls_a_terminal_is_written_out(text: str) -> None:
    assert printable(text).isascii()
    assert printable(text).isprintable()


def test_what_others_wrote_does_nothing_to_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """Titles in lists, descriptions of entries, names of files and words of errors are written by others."""
    text = "\x1b[2Jred\u202e\x9b"
    page = CatalogPage[dict[str, str]](items=[])

    output.table(page, ["NAME"], [[text]], as_json=False)
    output.entry(Spec(description=text), as_json=False)
    output.artifacts([Artifact(path=text, size_bytes=1, sha256="f" * 64)], as_json=False)
    output.fail(text)
    tell_failure(Failure(reason="A", message=text, faults=[{}, {"at": text, "message": text}]), as_json=False)

    said = capfd.readouterr()
    for written in (said.out, said.err):
        assert "\\x1b[2Jred\\u202e\\x9b" in written
        assert not set("\x1b\u202e\x9b") & set(written)


def test_what_is_only_text_is_left() -> None:
    text = "日本\tが 👩\u200d💻\n"

    assert printable(text) == text
