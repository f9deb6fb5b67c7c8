"""The sentences that the core says to people, read from its code, each as a shape with named places.

A sentence is written once, in English, where it is said: `f"There is no queue {request.queue}."`. Here it becomes
`There is no queue %(queue)s.`, by which the web admin knows it again, and says it in the reader's language.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What no page shows: the words of the command line, of metrics and documents, and what is said to workers.
_NOT_OF_PAGES = (
    "keruta/cli", "keruta/local", "keruta/metrics.py", "keruta/openapi.py", "keruta/testing.py",
    "keruta/domain/messages", "keruta/domain/retry.py", "keruta/adapters/cloudevents.py",
    "keruta/adapters/mongo/metrics.py", "keruta/adapters/mongo/outcomes.py", "keruta/adapters/mongo/reports.py",
    "functions/report_status", "agent/settings.py", "agent/runners/kubernetes/sidecar.py",
)  # fmt: skip
_TRANSLATED = {"marked", "gettext", "ngettext", "_"}
# A sentence begins with a capital letter or a value, and ends with a full stop, or with what someone else said.
_SENTENCE = re.compile(r"(?:[A-Z]|%\(\w+\)s ).*\s.*(?:\.|: %\(\w+\)s)", re.DOTALL)


def sentences() -> Iterator[tuple[str, str]]:
    """Every shape, and the file that says it."""
    for part in ("keruta", "agent", "functions", "admin"):
        for path in sorted((ROOT / part).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(_NOT_OF_PAGES):
                for shape in _of_module(ast.parse(path.read_text("utf-8"))):
                    yield shape, name


def _of_module(module: ast.Module) -> Iterator[str]:
    apart: set[ast.AST] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Expr):  # a docstring, or one of a field
            apart.add(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in _TRANSLATED:
            apart.update(ast.walk(node))
        elif isinstance(node, ast.JoinedStr):
            apart.update(node.values)
    for node in ast.walk(module):
        if node not in apart and (shape := _shape(node)) and _SENTENCE.fullmatch(shape):
            yield shape


def _shape(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("%", "%%")
    if not isinstance(node, ast.JoinedStr):
        return None
    parts, places = [], set[str]()
    for value in node.values:
        if isinstance(value, ast.FormattedValue):
            place = _place(value.value)
            while place in places:
                place += "_too"
            places.add(place)
            parts.append(f"%({place})s")
        elif isinstance(value, ast.Constant):
            parts.append(str(value.value).replace("%", "%%"))
    return "".join(parts)


def _place(value: ast.expr) -> str:
    """What a value is called: the last name in what computes it."""
    names = re.findall(r"[a-z]\w*", ast.unparse(value), re.IGNORECASE)
    return names[-1].strip("_").lower() if names else "value"
