"""Port for the record of what forges have told, by which it is found what they have not."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.forges import ForgeEvent


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger that is to be compared with its forge.

    Args:
        since: when it was compared last; None for the first time, of which nothing is missed.
        tags: whether its tags were compared before, too.
    """

    spec: TriggerSpec
    since: datetime | None = None
    tags: bool = False


class RecoveryStore(Protocol):
    """Record of the branches, tags and pull requests that triggers were told of. Every method raises Unavailable."""

    def due(self, now: datetime) -> Compared | None:
        """Return the trigger that waits longest to be compared, for this process alone; None if none is due."""
        ...

    def changed(self, due: Compared, key: str, commit: str, now: datetime) -> str | None:
        """Return the commit before, if a branch, tag or pull request is at one that no delivery told of for a while."""
        ...

    def heard(self, trigger: str, found: ForgeEvent) -> bool:
        """Say whether a delivery has told of what was found, if its identity alone does not show that."""
        ...

    def recovering(self, trigger: str, found: ForgeEvent) -> None:
        """Note that an event was found here, and not delivered."""
        ...

    def gone(self, due: Compared, prefix: str, there: set[str], now: datetime) -> list[str]:
        """Return, and forget, the keys of what is not there any more."""
        ...

    def compared(self, due: Compared, now: datetime) -> None: ...
