"""One system for all of these tests, and a repository to work on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repositories import make_repository
from tests.support.system import RunningSystem


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    home = tmp_path_factory.mktemp("machine") / "home"
    with RunningSystem(home, {"KERUTA_GRACE_SECONDS": "2"}) as up:
        yield up


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory: Path = tmp_path_factory.mktemp("git") / "a.git"
    make_repository(directory)
    return directory.as_uri()
