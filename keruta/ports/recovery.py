"""Port for the record of what forges have told, by which it is found what they have not."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from keruta.domain.catalog.triggers import TriggerSpec


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger that is to be compared with its forge.

    Args:
        since: when it was compared last; None for the first time, of which nothing is missed.
    """

    spec: TriggerSpec
    since: datetime | None = None


class RecoveryStore(Protocol):
    """Record of the branches and pull requests that triggers were told of. Every method raises Unavailable."""

    def due(self, now: datetime) -> Compared | None:
        """Return the trigger that waits longest to be compared, for this process alone; None if none is due."""
        ...

    def changed(self, due: Compared, key: str, commit: str, now: datetime) -> str | None:
        """Return the commit before, if a branch or pull request is at one that no delivery told of for a while."""
        ...

    def recovering(self, trigger: str, key: str, commit: str | None) -> None:
        """Note that a commit was found here, and not delivered."""
        ...

    def gone(self, due: Compared, prefix: str, there: set[str], now: datetime) -> list[str]:
        """Return, and forget, the keys of what is not there any more."""
        ...

    def compared(self, due: Compared, now: datetime) -> None: ...
