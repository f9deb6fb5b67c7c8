"""A traceback in the log of a system under test is found."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from keruta.logs import JsonLines
from tests.support import system


def logged(path: Path, *, as_json: bool) -> Path:
    try:
        raise ValueError("what was not foreseen")
    except ValueError as error:
        if as_json:
            import logging
            import sys

            record = logging.LogRecord("x", logging.ERROR, "x", 1, "failed", None, sys.exc_info())
            path.write_text(JsonLines("worker").format(record) + "\n")
        else:
            path.write_text("started\n" + "".join(traceback.format_exception(error)))
    return path


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_in_a_log_is_found(tmp_path: Path, as_json: bool) -> None:
    """As keruta writes it, on one line, and as Python writes it."""
    (found,) = system.tracebacks([logged(tmp_path / "worker.log", as_json=as_json)])

    assert found.startswith("worker.log: ")
    assert "what was not foreseen" in found


def test_a_traceback_that_is_allowed_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "ALLOWED_TRACEBACKS", {"what was not foreseen": "it is foreseen here"})

    assert system.tracebacks([logged(tmp_path / "worker.log", as_json=True)]) == []


def test_a_log_without_one_and_a_log_that_is_not_there_have_none(tmp_path: Path) -> None:
    (tmp_path / "admin.log").write_text('{"message": "started"}\n')

    assert system.tracebacks([tmp_path / "admin.log", tmp_path / "none.log"]) == []
