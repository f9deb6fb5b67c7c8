"""Open streams: bounded for each person and for the process."""

from __future__ import annotations

import pytest

from admin.site.stream_limits import StreamLimits
from keruta.errors import TooManyRequests, Unavailable


def test_one_person_can_not_take_all_streams() -> None:
    """Beyond their own bound they are told when to try again; others still have room."""
    limits = StreamLimits(per_person=2, per_process=3)
    first, _ = limits.take("ann"), limits.take("ann")

    with pytest.raises(TooManyRequests) as caught:
        limits.take("ann")
    limits.take("bob")
    with pytest.raises(Unavailable):
        limits.take("cleo")
    first()
    first()  # a stream is closed once, however often that is said

    assert caught.value.retry_after_seconds > 0
    limits.take("ann")
    with pytest.raises(Unavailable):
        limits.take("cleo")
