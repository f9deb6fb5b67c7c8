"""The routes of triggers: what forges deliver to them, and what starts them by hand."""

from __future__ import annotations

from keruta.domain.api.route import PAGED, Parameter, Route
from keruta.domain.catalog.common import Page
from keruta.domain.deliveries import DeliveryView
from keruta.domain.roles import ANYONE, DISPATCHER, READ, RUN
from keruta.domain.trigger_tests import TriggerTest, TriggerTried

SIGNED = Parameter(name="X-Hub-Signature-256", description="GitHub's; X-Gitea-Signature and X-Gitlab-Token count too")

TRIGGERS: tuple[Route, ...] = (
    Route(
        name="receive_event", method="POST", path="/events/v1/{name}", roles=ANYONE, status=202,
        summary="A forge delivers an event to a trigger, signed with the trigger's secret", headers=(SIGNED,),
        problems=(401, 409, 413, 415, 422, 503), inside=True,
    ),
    Route(
        name="receive_cloudevent", method="POST", path="/events/v1", roles=DISPATCHER, status=202,
        summary="A CloudEvent from the broker or a Knative source, for every trigger that allows its source",
        problems=(413, 422, 503), inside=True,
    ),
    Route(
        name="list_trigger_deliveries", method="GET", path="/api/v1/triggers/{name}/deliveries", roles=READ,
        summary="What started a trigger, or did not, newest first: events, times, people; and what came of each",
        answer=Page[DeliveryView], query=PAGED, problems=(404, 422),
    ),
    Route(
        name="show_delivery_body", method="GET", path="/api/v1/triggers/{name}/deliveries/{id}/body", roles=READ,
        summary="The body that the forge sent, as it came", answer="application/json", problems=(404,),
    ),
    Route(
        name="run_trigger", method="POST", path="/api/v1/triggers/{name}/run", roles=RUN,
        summary="Start a trigger's task now, also while the trigger is paused", answer=DeliveryView, problems=(404,),
    ),
    Route(
        name="try_trigger", method="POST", path="/api/v1/triggers/{name}/test", roles=RUN, body=TriggerTest,
        summary="Say what a trigger would do with an event, and why; nothing is started", answer=TriggerTried,
        problems=(400, 404, 413, 415, 422),
    ),
    Route(
        name="replay_delivery", method="POST", path="/api/v1/triggers/{name}/deliveries/{id}/replay", roles=RUN,
        summary="Process a delivery once more; a task that it starts is a new one", answer=DeliveryView,
        problems=(404,),
    ),
    Route(
        name="approve_delivery", method="POST", path="/api/v1/triggers/{name}/deliveries/{id}/approve", roles=RUN,
        summary="Let a fork's pull request start its task, for this commit alone", answer=DeliveryView,
        problems=(404, 409),
    ),
)  # fmt: skip
