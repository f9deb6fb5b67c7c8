"""Texts of keruta's posts at a forge, the same for every forge."""

from __future__ import annotations

from typing import Literal

import msgspec

StatusState = Literal["queued", "running", "succeeded", "failed", "cancelled", "unknown"]
Permission = Literal["none", "read", "write", "admin"]


class PullRequestHead(msgspec.Struct, frozen=True, kw_only=True):
    """The place where a pull request is now.

    Args:
        ref: the branch that it comes from; `base` the one that it is to be merged into.
        fork: whether the branch is in another repository, or one that is gone.
    """

    commit: str | None
    ref: str
    base: str
    fork: bool
    open: bool


class Thread(msgspec.Struct, frozen=True, kw_only=True):
    """An issue, or a pull request, that comments belong to."""

    repository: str
    number: int
    pull_request: bool


class CommitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of a commit: `context` names which of several it is."""

    state: StatusState
    context: str
    description: str
    url: str


class Posted(msgspec.Struct, frozen=True, kw_only=True):
    """A comment or pull request as it is at the forge."""

    id: int
    url: str = ""
    text: str = ""


class PullRequestText(msgspec.Struct, frozen=True, kw_only=True):
    """A pull request that is to be there."""

    head: str
    base: str
    title: str
    body: str
    draft: bool = False
    labels: list[str] = []
    reviewers: list[str] = []


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that is to be there. `repr` does not show its secret."""

    address: str
    secret: str
    events: list[str]

    def __repr__(self) -> str:
        return f"Hook(address={self.address!r})"
