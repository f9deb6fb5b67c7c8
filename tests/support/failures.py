"""The tests of one run that failed, written to a file: `tests.parts` tries them a second time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FAILED_TO = "KERUTA_TESTS_FAILED_TO"  # environment variable: path of the file, one test's id per line


class Failures:
    """Plugin of pytest that collects the ids of failed tests, those of errors in a set-up or a clean-up too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failed: dict[str, None] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed[report.nodeid] = None

    def pytest_sessionfinish(self) -> None:
        self._path.write_text("".join(f"{test}\n" for test in self._failed))


def register(config: pytest.Config) -> None:
    """Add the plugin where `FAILED_TO` is set; a worker of pytest-xdist leaves it to its controller."""
    if (path := os.environ.get(FAILED_TO)) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Failures(Path(path)))
