"""Events that the broker could not deliver, as the API shows them."""

from __future__ import annotations

from datetime import datetime

import msgspec


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One event: what it was, where it was to go, what was answered there, and whether it was sent once more.

    What it said is on record in its task, too: the tick has seen to it, or will. A replay only spares the wait.
    """

    id: str
    at: datetime
    event: str
    type: str
    subject: str | None
    destination: str | None
    code: str | None
    replayed_at: datetime | None = None
    replayed_by: str | None = None
