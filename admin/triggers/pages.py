"""The page of a trigger's deliveries: what came of each, with a replay and an approval."""

from __future__ import annotations

import flask

from admin.auth import paging, principal
from admin.ports import ports
from admin.site.language import gettext, marked
from admin.site.pages import go, page, shows

blueprint = flask.Blueprint("triggers_pages", __name__)

_STATES = {
    "received": marked("received"), "started": marked("started a task"), "held": marked("waits for approval"),
    "skipped": marked("skipped"), "repeated": marked("repeated"), "ignored": marked("ignored"),
    "ended": marked("ended tasks"), "failed": marked("failed"),
}  # fmt: skip
_COLOURS = {"started": "succeeded", "failed": "failed", "received": "queued"}


@shows(blueprint, "list_trigger_deliveries", "/triggers/<name>/deliveries")
def deliveries(name: str) -> flask.Response:
    found = ports().forge_deliveries.page(principal(), name, **paging())
    return page(
        "triggers/deliveries.html", name=name, found=found, address=f"{ports().settings.public_url}/events/v1/{name}",
        state_name=lambda state: gettext(_STATES[state]), state_colour=lambda state: _COLOURS.get(state, "waiting"),
    )  # fmt: skip


@shows(blueprint, "run_trigger", "/triggers/<name>/run", "POST")
def run(name: str) -> flask.Response:
    ports().forge_deliveries.run(principal(), name)
    return go(f"/triggers/{name}/deliveries", "trigger_run")


@shows(blueprint, "replay_delivery", "/triggers/<name>/deliveries/<id>/replay", "POST")
def replay(name: str, id: str) -> flask.Response:
    ports().forge_deliveries.replay(principal(), name, id)
    return go(f"/triggers/{name}/deliveries", "delivery_replayed")


@shows(blueprint, "approve_delivery", "/triggers/<name>/deliveries/<id>/approve", "POST")
def approve(name: str, id: str) -> flask.Response:
    ports().forge_deliveries.approve(principal(), name, id)
    return go(f"/triggers/{name}/deliveries", "delivery_approved")
