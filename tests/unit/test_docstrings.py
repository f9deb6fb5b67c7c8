"""Docstrings open with an imperative or a noun phrase: a question word leaves the reader to guess the subject."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VAGUE = {"What", "Who", "Whose", "Whether", "Which", "Where", "It"}
MOST = 0.03
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def docstrings(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each docstring below a folder."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, Documented) and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", text


@pytest.mark.parametrize("folder", ["keruta", "admin", "functions", "agent"])
def test_few_docstrings_open_with_a_question_word(folder: str) -> None:
    """At most 3 % of each folder's."""
    found = dict(docstrings(ROOT / folder))
    vague = [place for place, text in found.items() if text.split()[0] in VAGUE]

    assert len(found) > 10
    assert len(vague) <= MOST * len(found), vague
