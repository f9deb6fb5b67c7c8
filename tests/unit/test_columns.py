"""Lists on terminals and in pipes."""

from __future__ import annotations

import os

import click
import pytest

from keruta.cli import columns

HEADS = ["ID", "NAME", "OWNER"]
ROW = ["01jz0000000000000000000000", "日本語の長い名前です" * 3, "somebody@example.com"]


def _terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((width, 24)))


def test_a_pipe_gets_every_cell_whole(capsys: pytest.CaptureFixture[str]) -> None:
    columns.write(HEADS, [ROW], whole=["ID"], optional=["OWNER"])

    out = capsys.readouterr().out
    assert [cell for cell in (*HEADS, *ROW) if cell not in out] == []


@pytest.mark.parametrize("width", [50, 60, 80, 100])
def test_lines_fit_the_terminal_and_a_cut_is_marked(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kanji takes two columns, and the id is never cut."""
    _terminal(monkeypatch, width)

    columns.write(HEADS, [ROW], whole=["ID"], optional=["OWNER"])

    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert max(map(columns.width, lines)) <= width
    assert ROW[0] in lines[1]
    assert "…" in lines[1]


def test_an_address_keeps_its_end(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    _terminal(monkeypatch, 40)

    columns.write(HEADS[:2], [[ROW[0], "git.example.com/team/ledger"]], whole=["ID"], ends=["NAME"])

    assert capsys.readouterr().out.splitlines()[1] == f"{ROW[0]}  …team/ledger"


def test_a_terminal_too_narrow_for_all_columns_leaves_optional_ones_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _terminal(monkeypatch, 40)

    columns.write(HEADS, [ROW], whole=["ID"], optional=["OWNER"])

    head = capsys.readouterr().out.splitlines()[0]
    assert "NAME" in head
    assert "OWNER" not in head


def test_a_terminal_that_is_too_narrow_for_the_rest_loses_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _terminal(monkeypatch, 10)

    columns.write(HEADS[:2], [ROW[:2]], whole=["ID"])

    assert ROW[1] in capsys.readouterr().out


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("", 0)])
def test_widths_are_in_columns_of_a_terminal(text: str, width: int) -> None:
    assert columns.width(text) == width
    assert columns.width(columns.padded(text, 10)) == 10
