"""The routes that every part has, and those that the broker delivers events to."""

from __future__ import annotations

from keruta.domain.api.route import Route
from keruta.domain.roles import ANYONE, DISPATCHER

PLATFORM: tuple[Route, ...] = (
    Route(
        name="openapi", method="GET", path="/api/v1/openapi.json", summary="This document", roles=ANYONE,
        answer="application/json",
    ),
    Route(
        name="healthz", method="GET", path="/healthz", summary="The process is alive", roles=ANYONE,
        answer="text/plain",
    ),
    Route(
        name="readyz", method="GET", path="/readyz", summary="The database answers", roles=ANYONE, answer="text/plain",
        problems=(503,),
    ),
    Route(
        name="agent_readyz", method="GET", path="/agent/v1/readyz", summary="Reports are taken", roles=ANYONE,
        answer="text/plain", problems=(503,),
    ),
    Route(
        name="metrics", method="GET", path="/metrics", roles=ANYONE, answer="text/plain",
        summary="What this part has counted, for Prometheus; the gateway lets no one to it", inside=True,
    ),
    Route(
        name="dead_letters", method="POST", path="/events/dead-letters", roles=DISPATCHER, status=204,
        summary="An event that could not be delivered", problems=(422,),
    ),
    Route(
        name="sweep", method="POST", path="/events/sweep", roles=DISPATCHER, status=204,
        summary="Time to remove what is older than the settings say", problems=(422,),
    ),
    Route(
        name="dispatch", method="POST", path="/", summary="An event from the broker", roles=DISPATCHER, status=204,
        problems=(422,),
    ),
)  # fmt: skip
