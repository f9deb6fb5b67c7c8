"""One connection pool per process, made on first use, and pymongo's errors in keruta's terms."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import pymongo
from pymongo.errors import ConfigurationError, PyMongoError

from keruta.adapters.mongo.schema import ensure_schema
from keruta.domain.messages import message
from keruta.errors import SettingsError, Unavailable
from keruta.ports import Document
from keruta.settings import Settings

Database = pymongo.database.Database[Document]
Collection = pymongo.collection.Collection[Document]
log = logging.getLogger(__name__)

FIND_SECONDS = 5  # for a primary; a function's liveness probe allows for it


def connect(settings: Settings, **options: Any) -> Database:
    """Opens the database; its indexes are there when this returns.

    Raises:
        SettingsError: the URL is malformed.
        Unavailable: no primary answered within 5 s.
    """
    chosen: dict[str, Any] = {
        "w": "majority",
        "retryWrites": True,
        "retryReads": True,
        "tz_aware": True,
        "serverSelectionTimeoutMS": 1000 * FIND_SECONDS,
        "connectTimeoutMS": 3000,
        "socketTimeoutMS": 20000,
        "appname": "keruta",
        **options,
    }
    try:
        client: pymongo.MongoClient[Document] = pymongo.MongoClient(settings.mongo_url, **chosen)
    except ConfigurationError as error:
        raise SettingsError(message("http_mongo_address", error=str(error))) from error
    database = client[settings.mongo_database]
    with translated():
        ensure_schema(database)
    return database


def ping(database: Database) -> None:
    """The database answers. Raises Unavailable."""
    with translated():
        database.command("ping")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns what pymongo raises into `Unavailable`: every fault that is left here is the database's, for now."""
    try:
        yield
    except PyMongoError as error:
        log.warning("database: %s", str(error)[:300], extra={"action": "database_failed"})
        raise Unavailable(message("http_database_away")) from error
