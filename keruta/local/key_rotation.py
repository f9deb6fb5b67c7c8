"""A new key for this machine's credentials: added first, everything sealed by it, then the old ones dropped.

Killed in between, both keys are there and everything opens; run again, it ends what was begun.
"""

from __future__ import annotations

import os

from keruta.adapters.encryption import Sealer, new_sealing_key
from keruta.adapters.mongo.catalog_kinds import Credentials
from keruta.adapters.mongo.circuits import MongoCircuits
from keruta.adapters.mongo.client import connect
from keruta.errors import KerutaError
from keruta.files import write_private
from keruta.local.installation import start_command
from keruta.local.state import State
from keruta.settings import Settings


def rotate(state: State) -> int:
    """Returns how many credentials are sealed anew. Raises KerutaError where no keruta runs on this directory."""
    if state.running() is None:
        raise KerutaError(f"no keruta is running here: its database is needed; start it with `{start_command()}`")
    mongo_url = os.environ.get("KERUTA_MONGO_URL") or state.mongo_url()
    old = state.sealing_key.read_bytes()
    new = new_sealing_key()
    write_private(state.sealing_key, new + old)
    database = connect(Settings(mongo_url=mongo_url))
    try:
        count = Credentials(
            database, Sealer(state.sealing_key), MongoCircuits(database), keeps_values=True
        ).seal_again()
    finally:
        database.client.close()
    write_private(state.sealing_key, new)
    return count
