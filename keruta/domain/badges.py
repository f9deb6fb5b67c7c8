"""Badges: small pictures of how the last task on a repository ended, for pages outside of keruta. Pure."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keruta.domain.catalog.common import Problems
from keruta.domain.messages import message
from keruta.domain.naming import holds_control

BADGE_ID = re.compile(r"[A-Za-z0-9_-]{32}")  # 192 random bits
BADGES_OF_ONE = 20  # repository
State = Literal["succeeded", "failed", "unknown"]


class BadgeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A badge to be made.

    Args:
        label: its left half; without one the repository's name.
        task: the name of the tasks that it shows; without one all on the repository.
    """

    label: Annotated[str, Meta(max_length=40)] = ""
    task: Annotated[str, Meta(max_length=200)] = ""

    def faults(self) -> Problems:
        for field in ("label", "task"):
            if holds_control(getattr(self, field)):
                yield f"/{field}", message("field_control_characters")


class Badge(msgspec.Struct, frozen=True, kw_only=True):
    """A badge. Whoever knows its id sees the state, without signing in."""

    id: str
    repository: str
    label: str
    task: str
    created_by: str
    created_at: datetime


class BadgeState(msgspec.Struct, frozen=True, kw_only=True):
    """Text and colour of a badge."""

    label: str
    state: State


UNKNOWN = BadgeState(label="keruta", state="unknown")  # for every id that shows nothing, whatever the reason
