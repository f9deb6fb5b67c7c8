"""Times of schedules that have come become deliveries, which are processed as those of forges are.

Each time is stored under its own name before the trigger goes on to the next one, so two processes at once, or one that
dies between, leave one delivery.
"""

from __future__ import annotations

import logging
from datetime import datetime

from keruta.domain.deliveries import event_of_time
from keruta.domain.forges import TIME
from keruta.domain.schedules import MISSED_AFTER, latest, offset
from keruta.errors import Unavailable
from keruta.ports.deliveries import DeliveryStore, Scheduled, ScheduleStore

log = logging.getLogger(__name__)


def note_times(schedules: ScheduleStore, deliveries: DeliveryStore, now: datetime) -> int:
    """Make a delivery for each trigger of whose schedule a time has come; return how many triggers they were.

    Of several times that came since the last tick, the last one counts.
    """
    due = schedules.come(now)
    for one in due:
        try:
            _note(schedules, deliveries, one, now)
        except Unavailable:
            raise
        except Exception:
            # Such as a time zone that this machine does not have: the other triggers are not held up.
            log.exception("schedule failed", extra={"action": "schedule_failed", "trigger": one.spec.name})
    return len(due)


def _note(schedules: ScheduleStore, deliveries: DeliveryStore, due: Scheduled, now: datetime) -> None:
    spec = due.spec
    assert spec.schedule is not None
    come = now - offset(spec.name, spec.jitter_seconds)
    at = latest(spec.schedule, spec.time_zone, due.at, come)
    deliveries.add(spec.name, at.strftime(TIME), event_of_time(at, missed=come - at > MISSED_AFTER), b"")
    schedules.advance(due, now)
