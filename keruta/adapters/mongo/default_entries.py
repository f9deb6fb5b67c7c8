"""The entries that keruta brings: profiles and a queue, as data in `default_entries.yaml`."""

from __future__ import annotations

from importlib.resources import files

import msgspec

from keruta.domain.catalog.kinds import KINDS, Kind
from keruta.errors import KerutaError


def ready_entries() -> list[tuple[Kind, msgspec.Struct]]:
    """Each as (its kind, its spec). Raises KerutaError if the file is wrong, which a test sees."""
    from keruta.domain.catalog.transfer import parse

    entries, faults = parse(files(__package__).joinpath("default_entries.yaml").read_text())
    if faults:
        raise KerutaError(f"default_entries.yaml: {faults}")
    return [(KINDS[entry.kind], entry.spec) for entry in entries]
