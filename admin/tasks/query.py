"""The task filter of a query: the same words for the API and the page."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

import flask

from admin.auth import refuse
from keruta.domain.lifecycle import Status
from keruta.domain.messages import message
from keruta.domain.task_list import TaskFilter, parse_label
from keruta.domain.words import terms

TERMS = 50
TERM_LETTERS = 1000  # longer than any name; MongoDB takes no longer expression than 32 KiB
FACETS = ("queue", "repository", "profile", "owner")


def task_filter(zone: tzinfo = UTC) -> TaskFilter:
    """Return the filter that the query asks for. Raises InvalidRequest.

    Args:
        zone: of times that name none.
    """
    query = flask.request.args
    status = query.get("status")
    if status is not None and status not in {*Status, "open"}:
        refuse("status", message("http_statuses", known=", ".join(Status)))
    sort = query.get("sort", "-created")
    if sort not in ("created", "-created"):
        refuse("sort", message("http_sort", known="created, -created"))
    facets = [f"{name}={query[name]}" for name in FACETS if name in query]
    if "label" in query:
        facets.insert(0, parse_label(query["label"]))
    wanted = terms(query.get("q", ""))
    if query.get("q") and not wanted:
        refuse("q", message("http_no_word"))
    found = [term[:TERM_LETTERS] for term in wanted[:TERMS]]
    return TaskFilter(
        status=status, facets=facets, terms=found, oldest_first=sort == "created", since=_moment("since", zone),
        until=_moment("until", zone),
    )  # fmt: skip


def _moment(name: str, zone: tzinfo) -> datetime | None:
    text = flask.request.args.get(name)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=zone)
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        refuse(name, message("http_time"))
