"""A setting as it is shown."""

from __future__ import annotations

import msgspec


class SettingView(msgspec.Struct, frozen=True, kw_only=True):
    """One setting of admin's process. `given`: by the environment; otherwise it is the default."""

    name: str
    value: str
    given: bool
    means: str
