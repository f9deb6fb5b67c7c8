"""The reader's time zone: as they chose, else as their browser says (`keruta.js`), else UTC. Every page names it."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import flask

from keruta.domain.schedules import zone_fault

COOKIE = "keruta-zone"  # set by the browser
CHOSEN = "keruta-zone-chosen"  # set by the reader
_UTC = ZoneInfo("UTC")


def known_zone(name: str) -> ZoneInfo | None:
    """Return the time zone of a name such as Asia/Tokyo; None where there is none."""
    return ZoneInfo(name) if name and zone_fault(name) is None else None


def chosen_zone() -> ZoneInfo | None:
    """Return the zone that the reader chose themselves."""
    return known_zone(flask.request.cookies.get(CHOSEN, ""))


def zone() -> ZoneInfo:
    """Return the reader's zone."""
    if "zone" not in flask.g:
        flask.g.zone = chosen_zone() or known_zone(flask.request.cookies.get(COOKIE, "")) or _UTC
    found = flask.g.zone
    assert isinstance(found, ZoneInfo)
    return found


def zone_name() -> str:
    return str(zone())


def local(at: datetime) -> datetime:
    """Return the time in the reader's zone."""
    try:
        return at.astimezone(zone())
    except OverflowError:  # the first or the last day that there is
        return at


def offset(at: datetime) -> str:
    """Return the distance from UTC at that time: UTC, UTC+09:00."""
    said = at.strftime("%z")
    return "UTC" if said in ("", "+0000") else f"UTC{said[:3]}:{said[3:5]}"


GLOBALS = {"zone_name": zone_name, "local": local, "chosen_zone": chosen_zone}
