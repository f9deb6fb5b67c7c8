"""What `keruta doctor` finds on a machine, and what the worker there wrote down for it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at; `mend` says what to do."""

    state: Literal["ok", "note", "wrong"]
    what: str
    mend: str = ""


class Isolation(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker on one machine writes down when it starts, about the fence around its scripts.

    Args:
        pid: the worker's process, so that what an earlier worker wrote is not taken for this one's.
        kind: `none` means that scripts have all rights of the worker's user.
        why: why there is no fence; empty where there is one.
    """

    pid: int
    kind: Literal["bubblewrap", "none"]
    why: str = ""


ISOLATION_FILE = "isolation.json"  # in the worker's directory
