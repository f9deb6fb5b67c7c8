"""One system for all of these tests, and a repository to work on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.coding_agents import place
from tests.support.system import RunningSystem


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    home = tmp_path_factory.mktemp("machine") / "home"
    path = f"{place('codex') / 'bin'}:{os.environ['PATH']}"
    with RunningSystem(home, {"KERUTA_GRACE_SECONDS": "2", "PATH": path}) as up:
        yield up
