"""Finds guards that no test misses: changes one at a time and runs the tests concerned. `python -m tests.mutants`.

A guard is what decides or refuses: a comparison, an `and`, `or` or `not`, a condition that leads to `return` or
`raise`, a key of a filter or update, a keyword that makes a guard narrower. Each is flipped or taken out, in memory; a
mutant that the tests do not notice has survived. A survivor that changes nothing has its reason in `ACCEPTED`.

    python -m tests.mutants                               every module of TARGETS
    python -m tests.mutants keruta/domain/waiting.py      one of them
    python -m tests.mutants keruta/http/problems.py tests/integration/test_http.py    any module, with its tests
    python -m tests.mutants --unit [--sample N] [--modules keruta/domain keruta/services]

The last changes every module of these folders, has the unit tests alone notice, and says of each module, and of all,
how many of its mutants were noticed; see `tests/unit_mutants.py`.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
ACCEPTED = Path(__file__).with_name("mutants_accepted.txt")
AT_ONCE = os.cpu_count() or 1
TIMEOUT_SECONDS = 300.0

# Which tests must notice a change in which module: the quick ones.
TARGETS: dict[str, list[str]] = {
    "keruta/domain/decisions/commands.py": [
        "tests/unit/test_command_decisions.py", "tests/unit/test_results_room.py",
        "tests/unit/test_suspended_decisions.py",
    ],
    "keruta/domain/decisions/leases.py": [
        "tests/unit/test_lease_decisions.py", "tests/unit/test_suspended_decisions.py",
    ],
    "keruta/domain/decisions/ends.py": [
        "tests/unit/test_report_decisions.py", "tests/unit/test_suspended_decisions.py",
    ],
    "keruta/domain/decisions/reports.py": [
        "tests/unit/test_report_decisions.py", "tests/unit/test_suspended_decisions.py",
    ],
    "keruta/domain/decisions/values.py": [
        "tests/unit/test_command_decisions.py", "tests/unit/test_lease_decisions.py",
        "tests/unit/test_report_decisions.py",
    ],
    "keruta/domain/waiting.py": ["tests/unit/test_waiting.py"],
    "keruta/domain/lifecycle.py": ["tests/unit/test_lifecycle.py", "tests/unit/test_docs.py"],
    "keruta/domain/permissions.py": ["tests/unit/test_permissions.py"],
    "keruta/services/reports.py": ["tests/unit/test_report_service.py"],
}  # fmt: skip

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
# What takes the place of a keyword that is left out changes what is checked; of any other call it would be an error.
_GUARDS = frozenset({"Guard", "from_sources", "_guard", "update_one", "update_many"})
_LOADED_FIRST = ("pytest", "msgspec", "hypothesis", "schemathesis.pytest.plugin", "pytest_timeout", "tenacity", "flask")


@dataclass(frozen=True)
class Mutant:
    """A module with one guard changed. `name` says where and what, and stays the same when lines move.

    `statement` is the line where the changed statement begins. `function` is the outermost function in whose body it
    is; none for what is computed on import.
    """

    path: str
    line: int
    name: str
    make_source: Callable[[], str]
    statement: int = 0
    function: str | None = None

    @property
    def source(self) -> str:
        return self.make_source()


def mutants(path: str, source: str) -> Iterator[Mutant]:
    """Every way to change one guard of a module."""
    tree = ast.parse(source)
    owners = _owners(tree)
    bodies = _bodies(tree)
    begins = {node: one.lineno for one in ast.walk(tree) if isinstance(one, ast.stmt) for node in ast.walk(one)}
    of_classes = {word.value for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for word in node.keywords}
    logged = {inner for node in ast.walk(tree) if _is_log_line(node) for inner in ast.walk(node)}
    nodes = [node for node in ast.walk(tree) if not _is_typing(node) and node not in of_classes and node not in logged]
    for node in nodes:
        for new in _changes(node):
            before, after = ast.unparse(node), ast.unparse(new)
            name = f"{path} {owners.get(node, 'module')}: {_short(before)} -> {_short(after)}"
            make = functools.partial(_source, tree, node, new)
            yield Mutant(path, getattr(node, "lineno", 0), name, make, begins.get(node, 0), bodies.get(node))


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=[op]) if type(op) in _FLIPPED:
            yield ast.Compare(node.left, [_FLIPPED[type(op)]()], node.comparators)
        case ast.BoolOp():
            yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
            for number in range(len(node.values)):
                left = node.values[:number] + node.values[number + 1 :]
                yield left[0] if len(left) == 1 else ast.BoolOp(node.op, left)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.If(body=[*_, ast.Return() | ast.Raise() | ast.Continue()]) | ast.IfExp():
            for value in (True, False):
                new = copy.copy(node)
                new.test = ast.Constant(value)
                yield new
        case ast.Dict() if node.keys:
            for number in range(len(node.keys)):
                yield ast.Dict(
                    node.keys[:number] + node.keys[number + 1 :], node.values[:number] + node.values[number + 1 :]
                )
        case ast.Call() if _called(node) in _GUARDS:
            for number in range(len(node.keywords)):
                yield ast.Call(node.func, node.args, node.keywords[:number] + node.keywords[number + 1 :])
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _is_log_line(node: ast.AST) -> bool:
    """Recognise `log.info(…)`: the fields of a log line decide nothing."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="log"))):
            return True
    return False


def _owners(tree: ast.Module) -> dict[ast.AST, str]:
    """The innermost function or class of each node."""
    found: dict[ast.AST, str] = {}
    for owner in ast.walk(tree):
        if isinstance(owner, ast.FunctionDef | ast.ClassDef):
            found |= dict.fromkeys(ast.walk(owner), owner.name)
    return found


def _bodies(tree: ast.Module) -> dict[ast.AST, str]:
    """The qualified name of the outermost function in whose body a node is."""
    found: dict[ast.AST, str] = {}

    def walk(owner: ast.Module | ast.ClassDef, prefix: str) -> None:
        for node in owner.body:
            if isinstance(node, ast.ClassDef):
                walk(node, f"{prefix}{node.name}.")
            elif isinstance(node, ast.FunctionDef):
                inner = (one for statement in node.body for one in ast.walk(statement))
                found.update(dict.fromkeys(inner, f"{prefix}{node.name}"))

    walk(tree, "")
    return found


def _with(tree: ast.Module, old: ast.AST, new: ast.AST) -> ast.Module:
    """A copy of the tree in which one node is another. All else is shared."""

    def copied(node: ast.AST) -> ast.AST:
        if node is old:
            return new
        fresh = copy.copy(node)
        for field, value in ast.iter_fields(node):
            if isinstance(value, ast.AST):
                setattr(fresh, field, copied(value))
            elif isinstance(value, list):
                setattr(fresh, field, [copied(one) if isinstance(one, ast.AST) else one for one in value])
        return fresh

    made = ast.fix_missing_locations(copied(tree))
    assert isinstance(made, ast.Module)
    return made


def _source(tree: ast.Module, old: ast.AST, new: ast.AST) -> str:
    return ast.unparse(_with(tree, old, new))


def _short(text: str) -> str:
    return " ".join(text.split())[:160]


# ---------------------------------------------------------------- running the tests


class _Loader(importlib.abc.SourceLoader):
    """Loads one module from a changed source; nothing is cached."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def get_filename(self, fullname: str) -> str:
        return str(ROOT / self._mutant.path)

    def get_data(self, path: str) -> bytes:
        if path != self.get_filename(""):
            raise OSError(path)
        return self._mutant.source.encode()


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._module = mutant.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._module:
            return None
        return importlib.util.spec_from_loader(fullname, _Loader(self._mutant))


def _run(mutant: Mutant | None, tests: Sequence[str]) -> int:
    """Fork a process that runs the tests on a mutant, or on the code as it is. Returns its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        os.setsid()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        os.environ["KERUTA_TESTS_DATABASE"] = f"m{os.getpid()}"
        if mutant is not None:
            sys.meta_path.insert(0, _Finder(mutant))
        import pytest

        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--assert=plain", *tests]))
    finally:
        os._exit(code)


def survivors(
    found: Sequence[Mutant], start: Callable[[Mutant], int], *, timeout_seconds: float, pause_seconds: float
) -> list[Mutant]:
    """Return the mutants under which the tests pass as if nothing were changed. One that hangs counts as noticed.

    Args:
        start: starts a process that runs the tests on a mutant, in a process group of its own; returns its id.
    """
    waiting, left = list(reversed(found)), []
    running: dict[int, tuple[Mutant, float]] = {}
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            mutant = waiting.pop()
            running[start(mutant)] = mutant, time.monotonic()
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid in running:
            mutant, _ = running.pop(pid)
            if os.waitstatus_to_exitcode(status) == 0:
                left.append(mutant)
            continue
        for hung in [one for one, (_, began) in running.items() if time.monotonic() - began > timeout_seconds]:
            os.killpg(hung, signal.SIGKILL)
        time.sleep(pause_seconds)
    return left


def accepted() -> dict[str, str]:
    """The survivors that are right, and why."""
    found = {}
    for line in ACCEPTED.read_text("utf-8").splitlines() if ACCEPTED.exists() else ():
        if line.strip() and not line.startswith("#"):
            name, _, reason = line.partition("  # ")
            found[name.strip()] = reason
    return found


def main(arguments: Sequence[str]) -> int:
    os.chdir(ROOT)
    if "--unit" in arguments:
        from tests import unit_mutants

        return unit_mutants.main([one for one in arguments if one != "--unit"])
    for name in _LOADED_FIRST:
        importlib.import_module(name)
    chosen = {arguments[0]: list(arguments[1:]) or TARGETS[arguments[0]]} if arguments else TARGETS
    with _database(any("tests/integration" in test for tests in chosen.values() for test in tests)):
        return _look(chosen)


@contextlib.contextmanager
def _database(needed: bool) -> Iterator[None]:
    """A mongod for all runs together: starting one takes longer than most tests."""
    if not needed:
        yield
        return
    from tests.support.mongod import Mongod, in_memory

    with tempfile.TemporaryDirectory() as otherwise:
        directory = in_memory(Path(otherwise))
        try:
            with Mongod(directory) as mongod:
                os.environ["KERUTA_TESTS_MONGOD"] = str(mongod.port)
                yield
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _look(chosen: Mapping[str, Sequence[str]]) -> int:
    known, bad, total = accepted(), 0, 0
    for path, tests in chosen.items():
        _, status = os.waitpid(_run(None, tests), 0)
        if os.waitstatus_to_exitcode(status) != 0:
            print(f"{path}: its tests fail without any change")
            return 2
        found = list(mutants(path, (ROOT / path).read_text("utf-8")))
        start = functools.partial(_run, tests=tests)
        left = survivors(found, start, timeout_seconds=TIMEOUT_SECONDS, pause_seconds=0.02)
        new = [mutant for mutant in left if mutant.name not in known]
        said = f"{path}: {len(found)} mutants, {len(left)} survived, {len(left) - len(new)} of them accepted"
        print(said, flush=True)
        for mutant in sorted(new, key=lambda mutant: mutant.line):
            print(f"  line {mutant.line}: {mutant.name.partition(' ')[2]}")
        bad, total = bad + len(new), total + len(found)
    print(f"{total} mutants, {bad} survived without a reason")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
