"""Fixtures of every test: a real mongod and one database for the run, which is emptied before each test."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from keruta.adapters.encryption import new_sealing_key
from keruta.adapters.mongo.client import Database, connect
from keruta.domain.naming import new_id
from keruta.files import write_private
from keruta.settings import Settings
from tests.support import failures
from tests.support.databases import SharedDatabase
from tests.support.mongod import Mongod, in_memory
from tests.support.repositories import make_repository

# A machine that is busy is no fault of what is tested; and what CI says of a change, it says of it again.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


SHARED_NAME = os.environ.get("KERUTA_TESTS_DATABASE", "shared")  # another one where several runs share a mongod


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """The one whose port is in `KERUTA_TESTS_MONGOD`, for runs that follow each other; else one of this run's own."""
    if port := os.environ.get("KERUTA_TESTS_MONGOD"):
        yield Mongod(tmp_path_factory.mktemp("mongod"), port=int(port))
        return
    directory = in_memory(tmp_path_factory.mktemp("mongod"))
    try:
        with Mongod(directory) as running:
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_database(mongod: Mongod) -> Iterator[SharedDatabase]:
    shared = SharedDatabase(Settings(mongo_url=mongod.url, mongo_database=SHARED_NAME))
    yield shared
    shared.close()


@pytest.fixture
def settings(request: pytest.FixtureRequest, mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    results = tmp_path_factory.mktemp("results")
    key = results / "credentials.key"
    write_private(key, new_sealing_key())
    return Settings(
        mongo_url=mongod.url,
        mongo_database=f"t{new_id()}" if request.node.get_closest_marker("own_database") else SHARED_NAME,
        results_dir=results,
        lease_seconds=30,
        credentials_key=key,
        credentials_store="sealed",
    )


@pytest.fixture
def database(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Database]:
    """The run's database, empty but for what migrations insert; one of its own for a test marked `own_database`.

    A query of keruta that reads a growing collection whole fails the test.
    """
    if request.node.get_closest_marker("own_database"):
        database = connect(settings)
        yield database
        database.client.drop_database(database.name)
        database.client.close()
        return
    shared: SharedDatabase = request.getfixturevalue("shared_database")
    shared.empty()
    yield shared.database
    if faults := shared.faults():
        pytest.fail("\n".join(dict.fromkeys(faults)))


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a small repository on this machine."""
    directory = tmp_path_factory.mktemp("git") / "a.git"
    make_repository(directory)
    return directory.as_uri()


def pytest_configure(config: pytest.Config) -> None:
    failures.register(config)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shuffle", type=int, metavar="SEED", help="run the files, and the tests in each, in another order"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests that are for a release, and shuffle the order on request: no test depends on earlier ones."""
    if (seed := config.option.shuffle) is not None:
        _shuffle(items, random.Random(seed))
    if config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("release")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _shuffle(items: list[pytest.Item], chance: random.Random) -> None:
    """Put files into another order, and the tests of each; what a file's tests share is still made once."""
    by_file: dict[Path, list[pytest.Item]] = {}
    for item in items:
        by_file.setdefault(item.path, []).append(item)
    files = list(by_file.values())
    chance.shuffle(files)
    for tests in files:
        chance.shuffle(tests)
    items[:] = [item for tests in files for item in tests]
