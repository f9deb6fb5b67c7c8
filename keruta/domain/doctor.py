"""What a look at a machine finds."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at; `mend` says what to do."""

    state: Literal["ok", "note", "wrong"]
    what: str
    mend: str = ""
