"""Lists as columns: whole in a pipe, and as wide as the terminal on one."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Callable, Collection, Sequence

import click

from keruta.cli.printable import printable

LEAST = 8  # columns of a terminal that a cell keeps when it is cut
GAP = "  "


def write(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, whole: Collection[str] = (), optional: Sequence[str] = (),
    ends: Collection[str] = (), style: Callable[[str, str], str] = lambda _head, cell: cell,
) -> None:  # fmt: skip
    """Write rows under their heads.

    In a pipe nothing is cut or left out. A terminal that is too narrow cuts the widest cells, with `…` at their end,
    and then leaves columns out.

    Args:
        whole: heads of columns that are never cut.
        optional: heads of columns that are left out, the first one first.
        ends: heads of columns whose cells keep their end when they are cut.
        style: colours a padded cell, by its column's head.
    """
    cells = [[printable(cell.replace("\n", " ")) for cell in row] for row in rows]
    shown = list(range(len(heads)))
    widths = [max(map(width, column)) for column in zip(heads, *cells, strict=True)]
    if sys.stdout.isatty():
        room = shutil.get_terminal_size().columns
        shown, widths = _fitted(list(heads), widths, room, whole, optional)
    click.secho(_line([padded(heads[at], widths[at]) for at in shown]), dim=True)
    for row in cells:
        click.echo(_line([style(heads[at], padded(row[at], widths[at], end=heads[at] in ends)) for at in shown]))


def _fitted(
    heads: Sequence[str], widths: Sequence[int], room: int, whole: Collection[str], optional: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Return which columns are shown, and the width of each."""
    shown = list(range(len(heads)))
    for head in (None, *optional):
        shown = [at for at in shown if heads[at] != head]
        fitted = list(widths)
        while _total(fitted, shown) > room:
            cut = [at for at in shown if heads[at] not in whole and fitted[at] > max(LEAST, width(heads[at]))]
            if not cut:
                break
            fitted[max(cut, key=fitted.__getitem__)] -= 1
        if _total(fitted, shown) <= room:
            return shown, fitted
    return shown, list(widths)  # lines will wrap, and nothing more is lost


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[at] for at in shown) + len(GAP) * (len(shown) - 1)


def _line(cells: Sequence[str]) -> str:
    return GAP.join(cells).rstrip()


def width(text: str) -> int:
    """Return a text's width in terminal columns: two for a wide character such as a kanji, none for a combining one."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def padded(text: str, columns: int, *, end: bool = False) -> str:
    """Return the text in so many columns: filled with blanks, or cut and marked with `…`.

    Args:
        end: whether the text's end is kept, and not its beginning.
    """
    if width(text) > columns:
        while width(text) > columns - 1:
            text = text[1:] if end else text[:-1]
        text = f"…{text}" if end else f"{text}…"
    return text + " " * (columns - width(text))
