"""One running system with leases of 6 s, and tasks under way for each fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.load import ENVIRON, Load, quick_manifests
from tests.support.system import RunningSystem


@pytest.fixture(scope="session")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return quick_manifests(tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory, manifests: Path) -> Iterator[RunningSystem]:
    with RunningSystem(tmp_path_factory.mktemp("machine") / "home", ENVIRON, manifests) as up:
        yield up


@pytest.fixture
def load(system: RunningSystem, repository: str, tmp_path: Path) -> Load:
    return Load(system, repository, tmp_path)
