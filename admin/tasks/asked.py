"""Which tasks a query asks for: the same words for the API and for the page."""

from __future__ import annotations

from datetime import UTC, datetime

import flask

from admin.auth import refuse
from keruta.domain.lifecycle import Status
from keruta.domain.messages import message
from keruta.domain.task_list import TaskFilter, parse_label
from keruta.domain.words import grams

FACETS = ("queue", "repository", "profile", "owner")


def filter_asked() -> TaskFilter:
    """Of the query. Raises InvalidRequest."""
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
    words = grams(query.get("q", "")).split()
    if query.get("q") and not words:
        refuse("q", message("http_no_word"))
    facets[:0] = [f"word={word}" for word in words]
    return TaskFilter(
        status=status, facets=facets, oldest_first=sort == "created", since=_moment("since"), until=_moment("until")
    )


def _moment(name: str) -> datetime | None:
    text = flask.request.args.get(name)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        refuse(name, message("http_time"))
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
