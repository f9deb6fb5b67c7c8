"""The routes of those who look after the whole system: the overview, workers, settings."""

from __future__ import annotations

from keruta.domain.api.route import Route
from keruta.domain.catalog.common import Page
from keruta.domain.overview import Overview, WorkerView
from keruta.domain.roles import MANAGE, READ
from keruta.domain.settings_view import SettingView

WATCHING: tuple[Route, ...] = (
    Route(
        name="overview", method="GET", path="/api/v1/overview", roles=READ, answer=Overview,
        summary="How many tasks are where, how it went, who works, and what is wrong",
    ),
    Route(
        name="list_workers", method="GET", path="/api/v1/workers", roles=READ, answer=Page[WorkerView],
        summary="Who works, and what they hold",
    ),
    Route(
        name="drain_worker", method="POST", path="/api/v1/workers/{id}/drain", roles=MANAGE, answer=WorkerView,
        summary="Give a worker no new tasks; what it runs goes on", problems=(404,),
    ),
    Route(
        name="undrain_worker", method="POST", path="/api/v1/workers/{id}/undrain", roles=MANAGE, answer=WorkerView,
        summary="Give a worker tasks again", problems=(404,),
    ),
    Route(
        name="list_settings", method="GET", path="/api/v1/settings", roles=MANAGE, answer=Page[SettingView],
        summary="What is set, and where it comes from",
    ),
)  # fmt: skip
