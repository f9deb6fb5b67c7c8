"""Times that a cron expression names in a time zone.

A fixed time that a change of the clock leaves out comes at the change, one that comes twice counts the first time only,
and what has a `*` in its minute or hour follows the clock on the wall: the rules of Debian's cron, by `cronsim`.
"""

from __future__ import annotations

import functools
import hashlib
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError
from cronsim.cronsim import FIELD_NAMES

from keruta.domain.messages import Message, message

FIELDS = 5
SHOWN = 5  # times that are shown of those to come
MISSED_AFTER = timedelta(minutes=5)  # a time that could not be noted for so long was missed
_HOUR = timedelta(hours=1)
_START = datetime(2000, 1, 1, tzinfo=UTC)
_OF_THE_MACHINE = frozenset({"localtime", "posixrules", "Factory"})


def expression_fault(expression: str) -> Message | None:
    """Return what is wrong with a cron expression."""
    fields = expression.split()
    if len(fields) != FIELDS:
        return message("schedule_fields", count=len(fields))
    try:
        never = next(CronSim(expression, _START), None) is None
    except (CronSimError, ValueError) as error:
        name = str(error).removeprefix("Bad ")
        number = FIELD_NAMES.index(name) if name in FIELD_NAMES else 0
        if not number:
            return message("schedule_never")
        if name == "day-of-month" and fields[2].replace(",", "").replace("-", "").isdigit() and _days_good(fields[2]):
            return message("schedule_never")
        return message("schedule_field", number=number, value=fields[number - 1])
    return message("schedule_never") if never else None


def _days_good(field: str) -> bool:
    """Say whether the days are possible in a month with 31 of them, so that the months are at fault."""
    try:
        CronSim(f"0 0 {field} 1 *", _START)
    except (CronSimError, ValueError):
        return False
    return True


def zone_fault(zone: str) -> Message | None:
    """Return what is wrong with the name of a time zone."""
    return None if zone in _zones() else message("schedule_zone", zone=zone)


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones()) - _OF_THE_MACHINE


def next_after(expression: str, zone: str, after: datetime) -> datetime | None:
    """Return the first time after a moment; None where there is none in 50 years."""
    for found in CronSim(expression, after.astimezone(zoneinfo.ZoneInfo(zone))):
        # In the hour that comes twice, the library may begin with one of the first.
        at: datetime = found.astimezone(UTC)
        if at > after:
            return at
    return None


def latest(expression: str, zone: str, first: datetime, now: datetime) -> datetime:
    """Return the last time that has come by now; `first` is one that has. Few steps, however long ago that was."""
    low, high = first, now
    while high - low > _HOUR:
        middle = low + (high - low) / 2
        found = next_after(expression, zone, middle)
        if found is not None and found <= now:
            low = found
        else:
            high = middle
    while (found := next_after(expression, zone, low)) is not None and found <= now:
        low = found
    return low


def offset(name: str, jitter_seconds: int) -> timedelta:
    """Return how much later than its expression says a trigger starts: always the same, from 0 to the jitter."""
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return timedelta(seconds=drawn % (jitter_seconds + 1))


def upcoming(expression: str, zone: str, late: timedelta, now: datetime) -> list[datetime]:
    """Return the next times, each as much later as the trigger starts."""
    minute = (now - late).replace(second=0, microsecond=0)
    times = _following(expression, zone, minute)
    return [at + late for at in times if at + late > now][:SHOWN]


@functools.lru_cache(4096)
def _following(expression: str, zone: str, minute: datetime) -> tuple[datetime, ...]:
    """One more than are shown: the first may be this minute, and past."""
    return tuple(_times(expression, zone, minute - timedelta(seconds=1)))


def _times(expression: str, zone: str, after: datetime) -> Iterator[datetime]:
    for _ in range(SHOWN + 1):
        found = next_after(expression, zone, after)
        if found is None:
            return
        yield found
        after = found
