from __future__ import annotations

import pytest

from keruta.adapters.mongo.client import Database
from keruta.settings import Settings
from tests.support.world import World


@pytest.fixture
def world(database: Database, settings: Settings) -> World:
    return World(database, settings)
