"""One machine's keruta for these tests, as `keruta up` starts it, and one browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Reader, reading, running_browser
from tests.support.repositories import make_repository
from tests.support.system import RunningSystem


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    home = tmp_path_factory.mktemp("machine") / "home"
    with RunningSystem(home, {"KERUTA_GRACE_SECONDS": "2", "KERUTA_SIGN_INS_PER_MINUTE": "0"}) as up:
        yield up


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture(scope="session")
def another_repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One that goes into the catalog: a task on its address is then one on the entry."""
    directory = tmp_path_factory.mktemp("another") / "b.git"
    make_repository(directory)
    return directory.as_uri()


@pytest.fixture(params=["en", "ja"])
def reader(browser: Browser, system: RunningSystem, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """This machine's person, who reads English, and who reads Japanese."""
    with reading(browser, system, language=request.param) as one:
        yield one
