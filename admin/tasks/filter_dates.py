"""Dates of a filter in the address: in which zone they are, and how their fields show them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import flask

from admin.site.time_zone import known_zone, zone


def zone_of_dates() -> ZoneInfo:
    """Return the zone of the filter's dates: the one in the address, so that a link means the same to everyone."""
    return known_zone(flask.request.args.get("zone", "")) or zone()


def date_shown(name: str, zone: ZoneInfo) -> str:
    """Return a date of the filter as its field takes it: without a zone; as it was given where it is none."""
    given = flask.request.args.get(name, "")
    try:
        at = datetime.fromisoformat(given)
        at = at.astimezone(zone) if at.tzinfo is not None else at
        return at.replace(tzinfo=None).isoformat(timespec="minutes")
    except (ValueError, OverflowError):
        return given
