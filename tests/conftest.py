"""What every test may use: a real mongod for the run, and a database of its own for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from keruta.adapters.encryption import new_sealing_key
from keruta.adapters.mongo.client import Database, connect
from keruta.domain.naming import new_id
from keruta.local.state import write_private
from keruta.settings import Settings
from tests.support.mongod import Mongod
from tests.support.repositories import make_repository

# A machine that is busy is no fault of what is tested; and what CI says of a change, it says of it again.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(scope="session")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    with Mongod(tmp_path_factory.mktemp("mongod")) as running:
        yield running


@pytest.fixture
def settings(mongod: Mongod, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    results = tmp_path_factory.mktemp("results")
    key = results / "credentials.key"
    write_private(key, new_sealing_key())
    return Settings(
        mongo_url=mongod.url,
        mongo_database=f"t{new_id()}",
        results_dir=results,
        lease_seconds=30,
        credentials_key=key,
        credentials_store="sealed",
    )


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = connect(settings)
    yield database
    database.client.drop_database(database.name)
    database.client.close()


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a small repository on this machine."""
    directory = tmp_path_factory.mktemp("git") / "a.git"
    make_repository(directory)
    return directory.as_uri()
