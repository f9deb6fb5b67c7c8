"""What a person wants to be told of: a choice of their own, by which the page of notices is filled. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from keruta.domain.favourites import Favourite

FACETS_MOST = 60


class NoticeChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Of which tasks' ends a person wants to be told.

    Args:
        mine: those that they submitted.
        watched: those on their favourite repositories and queues, and of their favourite templates.
        failures_only: of these, the ones that failed or whose end is not known.
    """

    mine: bool = False
    watched: bool = False
    failures_only: bool = False

    @property
    def statuses(self) -> list[str]:
        return ["failed", "unknown"] if self.failures_only else ["succeeded", "failed", "cancelled", "unknown"]

    def facets(self, subject: str, favourites: Sequence[Favourite]) -> list[str]:
        """Return the facets of the tasks that are meant; none where nothing was chosen."""
        found = [f"owner={subject}"] if self.mine else []
        if self.watched:
            found += [f"{one.kind}={one.name}" for one in favourites if one.kind in ("repository", "queue")]
            found += [f"label=template={one.name}" for one in favourites if one.kind == "template"]
        return found[:FACETS_MOST]
