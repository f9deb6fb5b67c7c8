"""Notices that a person wants: a choice of their own, for the page of notices and for e-mails. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from keruta.domain.favourites import Favourite

FACETS_MOST = 60
# How favourites are named among a task's facets.
_WATCHED = {"repository=": "repository", "queue=": "queue", "label=template=": "template"}


class NoticeChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A person's choice of the tasks of whose ends they are notified.

    Args:
        mine: those that they submitted.
        watched: those on their favourite repositories and queues, and of their favourite templates.
        failures_only: of these, the ones that failed or whose end is not known.
        mail: whether they are told by e-mail, too.
        language: of the e-mails.
    """

    mine: bool = False
    watched: bool = False
    failures_only: bool = False
    mail: bool = False
    language: Literal["en", "ja"] = "en"

    @property
    def statuses(self) -> list[str]:
        return ["failed", "unknown"] if self.failures_only else ["succeeded", "failed", "cancelled", "unknown"]

    def facets(self, subject: str, favourites: Sequence[Favourite]) -> list[str]:
        """Return the facets of the tasks that are meant; none where nothing was chosen."""
        found = [f"owner={subject}"] if self.mine else []
        if self.watched:
            found += [
                f"{begin}{one.name}" for begin, kind in _WATCHED.items() for one in favourites if one.kind == kind
            ]
        return found[:FACETS_MOST]

    def means(self, subject: str, favourites: Sequence[Favourite], facets: Iterable[str], status: str) -> bool:
        """Return whether a task of these facets that ended so is one of those that are meant."""
        return status in self.statuses and not set(facets).isdisjoint(self.facets(subject, favourites))


def watched_by(facets: Iterable[str]) -> list[Favourite]:
    """Return the favourites by which a task of these facets is watched."""
    return [
        Favourite(kind=kind, name=facet.removeprefix(begin))
        for facet in facets for begin, kind in _WATCHED.items() if facet.startswith(begin)
    ]  # fmt: skip
