"""How many mutants of whole folders the unit tests alone notice. `python -m tests.mutants --unit`.

All unit tests are collected once, and run once to learn which of them runs which lines. Then each mutant gets a process
of its own, forked from there, in which the changed function takes the place of the real one and the tests that run the
changed lines are run, the most special ones first. A mutant of what is computed on import gets a new process.
"""

from __future__ import annotations

import argparse
import ast
import gc
import os
import pickle
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import CodeType, FunctionType

import pytest

from tests import mutants
from tests.mutants import ROOT, Mutant

FOLDERS = ["keruta/domain", "keruta/services"]
# Tables without rules: sentences, each of which the tests of messages ask for, and the API's routes, which the tests of
# the OpenAPI document hold.
TABLES = ("keruta/domain/messages/texts/", "keruta/domain/api/")
SEED = 13
TIMEOUT_SECONDS = 120.0
PYTEST = ["-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", "tests/unit"]
ON_IMPORT_LIMIT = 6  # so many test files, those that use the module most, for what is computed on import
Covered = dict[str, dict[int, set[str]]]  # path, line: the tests that run it


def chosen(folders: Sequence[str], sample: int | None) -> dict[str, list[Mutant]]:
    """The mutants of each module, all or so many of each by a fixed seed."""
    found = {}
    for folder in folders:
        paths = [ROOT / folder] if folder.endswith(".py") else sorted((ROOT / folder).rglob("*.py"))
        for path in paths:
            name = str(path.relative_to(ROOT))
            if name.startswith(TABLES):
                continue
            made = list(mutants.mutants(name, path.read_text("utf-8")))
            if sample is not None and len(made) > sample:
                made = random.Random(f"{SEED} {name}").sample(made, sample)
            if made:
                found[name] = made
    return found


class Learn:
    """A pytest plugin that runs all tests once and writes down which of them runs which lines of some modules."""

    def __init__(self, paths: Iterable[str], told: Path) -> None:
        self._paths = list(paths)
        self._told = told

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        covered: Covered = {str(ROOT / path): {} for path in self._paths}
        running = [""]
        _note_lines(covered, running)
        failed = _first_failure(session.items, running)
        by_path = {str(Path(path).relative_to(ROOT)): lines for path, lines in covered.items()}
        self._told.write_bytes(pickle.dumps((failed, len(session.items), by_path)))
        return True


class Notice:
    """A pytest plugin that runs mutants of functions in place of the tests."""

    def __init__(self, made: Sequence[Mutant], covered: Covered) -> None:
        self._made = made
        self._covered = covered
        self._items: dict[str, pytest.Item] = {}
        self.left: list[Mutant] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._items = {item.nodeid: item for item in session.items}
        self.left = _survivors(self._made, self._start)
        return True

    def _start(self, mutant: Mutant) -> int:
        """Fork a process that ends with 0 if no test notices the mutant."""
        pid = os.fork()
        if pid:
            return pid
        code = 99
        try:
            os.setsid()
            _silent()
            _put_in_place(mutant)
            weight = _weight(self._covered[mutant.path])
            tests = self._covered[mutant.path][mutant.statement]
            ordered = sorted(tests, key=lambda test: (weight[test], test))
            code = 0 if _first_failure([self._items[name] for name in ordered]) is None else 1
        finally:
            os._exit(code)


def _survivors(made: Sequence[Mutant], start: Callable[[Mutant], int]) -> list[Mutant]:
    return mutants.survivors(made, start, timeout_seconds=TIMEOUT_SECONDS, pause_seconds=0.005)


def _first_failure(items: Iterable[pytest.Item], running: list[str] | None = None) -> str | None:
    """Run tests until one fails; return its name."""
    for item in items:
        if running is not None:
            running[:] = [item.nodeid]
        if any(report.failed for report in _protocol(item)):
            return str(item.nodeid)
    return None


def _weight(lines: Mapping[int, set[str]]) -> Counter[str]:
    """How many lines of a module each test runs."""
    return Counter(test for tests in lines.values() for test in tests)


def _files_of(path: str, lines: Mapping[int, set[str]]) -> list[str]:
    """The test files that name a module, and those that run most of it."""
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    files = sorted((ROOT / "tests/unit").glob("*.py"))
    naming = [str(one.relative_to(ROOT)) for one in files if module in one.read_text("utf-8")]
    counted: Counter[str] = Counter()
    for test, count in _weight(lines).items():
        counted[test.partition("::")[0]] += count
    most = [name for name, _ in counted.most_common()]
    return list(dict.fromkeys([*naming, *most]))[:ON_IMPORT_LIMIT] or ["tests/unit"]


def _protocol(item: pytest.Item) -> list[pytest.TestReport]:
    from _pytest.runner import runtestprotocol

    return runtestprotocol(item, log=False, nextitem=None)


class _Noting(ast.NodeTransformer):
    """Has every statement of every function call `__ran__` with its line first."""

    def __init__(self) -> None:
        self._inside = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        before, self._inside = self._inside, True
        self.generic_visit(node)
        self._inside = before
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if self._inside:
            for field, value in ast.iter_fields(node):
                if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                    noted = (([_noted(one.lineno), one]) for one in value)
                    setattr(node, field, [one for pair in noted for one in pair])
        return node


def _noted(line: int) -> ast.stmt:
    return ast.Expr(ast.Call(ast.Name("__ran__", ast.Load()), [ast.Constant(line)], []))


def _note_lines(covered: Covered, running: list[str]) -> None:
    """Have the functions of these modules note which of their lines the test that runs now runs."""
    for path, lines in covered.items():
        tree = ast.fix_missing_locations(_Noting().visit(ast.parse(Path(path).read_text("utf-8"))))
        codes = _codes(compile(tree, path, "exec"))

        def ran(line: int, lines: dict[int, set[str]] = lines) -> None:
            lines.setdefault(line, set()).add(running[0])

        for one in _functions(path):
            one.__globals__["__ran__"] = ran
            one.__code__ = codes[one.__code__.co_qualname]


def _functions(path: str) -> list[FunctionType]:
    """Every function object of a module that is no function's own."""
    found = [one for one in gc.get_objects() if isinstance(one, FunctionType) and one.__code__.co_filename == path]
    return [one for one in found if "<" not in one.__code__.co_qualname]


def _put_in_place(mutant: Mutant) -> None:
    """Have every function object of this name, wherever it is held, run the changed code."""
    changed = _codes(compile(mutant.source, mutant.path, "exec"))
    found = [one for one in _functions(str(ROOT / mutant.path)) if one.__code__.co_qualname == mutant.function]
    assert found, mutant.function
    for one in found:
        one.__code__ = changed[one.__code__.co_qualname]


def _codes(code: CodeType) -> dict[str, CodeType]:
    found = {}
    for one in code.co_consts:
        if isinstance(one, CodeType):
            found[one.co_qualname] = one
            found |= {name: inner for name, inner in _codes(one).items() if name not in found}
    return found


def _silent() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


def _say(text: str) -> None:
    print(text, file=sys.__stdout__, flush=True)


def _learned(paths: Iterable[str]) -> Covered:
    """Run all tests once in a process of their own: this one imports nothing that is changed later."""
    began = time.monotonic()
    with tempfile.NamedTemporaryFile() as told:
        pid = os.fork()
        if not pid:
            _silent()
            os._exit(int(pytest.main(PYTEST, [Learn(paths, Path(told.name))])))
        os.waitpid(pid, 0)
        failed, count, covered = pickle.loads(Path(told.name).read_bytes())
    if failed:
        raise SystemExit(f"fails without any change: {failed}")
    _say(f"{count} tests, run once in {time.monotonic() - began:.0f} s")
    found: Covered = covered
    return found


def _report(of: Mapping[str, Sequence[Mutant]], survived: Sequence[Mutant]) -> int:
    """Say what was noticed, by module and in all; return how many were not, and have no reason."""
    known, total, bad = mutants.accepted(), 0, 0
    for path, made in of.items():
        left = [one for one in survived if one.path == path]
        new = [one for one in left if one.name not in known]
        count = len(made) - len(new)
        _say(f"{path}: {count} of {len(made)} ({count / len(made):.0%}), {len(left) - len(new)} of them accepted")
        for mutant in sorted(new, key=lambda mutant: mutant.line):
            _say(f"  line {mutant.line}: {mutant.name.partition(' ')[2]}")
        total, bad = total + len(made), bad + len(new)
    _say(f"all: {total - bad} of {total} mutants noticed or accepted ({(total - bad) / max(total, 1):.1%})")
    return bad


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants --unit")
    parser.add_argument("--modules", nargs="+", default=FOLDERS)
    parser.add_argument("--sample", type=int, help="so many mutants of each module, by a fixed seed; without it all")
    asked = parser.parse_args(arguments)
    of = chosen(asked.modules, asked.sample)
    how = f"at most {asked.sample} of each module, seed {SEED}" if asked.sample is not None else "all of them"
    made = [one for some in of.values() for one in some]
    _say(f"{len(made)} mutants of {len(of)} modules: {how}")
    covered = _learned(of)
    called = [one for one in made if one.function is not None and one.statement in covered[one.path]]
    imported = [one for one in made if one not in called]
    left = _survivors(imported, lambda one: mutants._run(one, _files_of(one.path, covered[one.path])))
    plugin = Notice(called, covered)
    code = int(pytest.main([*PYTEST, "-s"], [plugin]))
    return code or (1 if _report(of, [*left, *plugin.left]) else 0)
