"""Findings of `keruta doctor` on a machine, and the worker's notes for it."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at; `mend` says what to do."""

    state: Literal["ok", "note", "wrong"]
    what: str
    mend: str = ""


class Isolation(msgspec.Struct, frozen=True, kw_only=True):
    """A local worker's note about the fence around its scripts, written when it starts.

    Args:
        pid: the worker's process, so that what an earlier worker wrote is not taken for this one's.
        kind: `none` means that scripts have all rights of the worker's user.
        why: why there is no fence; empty where there is one.
    """

    pid: int
    kind: Literal["bubblewrap", "none"]
    why: str = ""


ISOLATION_FILE = "isolation.json"  # in the worker's directory
