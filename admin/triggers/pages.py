"""The page of a trigger's deliveries: what came of each, with a replay and an approval."""

from __future__ import annotations

import flask

from admin.auth import paging, principal
from admin.catalog.beside import state_colour, state_name
from admin.ports import ports
from admin.site.pages import go, page, shows

blueprint = flask.Blueprint("triggers_pages", __name__)


@shows(blueprint, "list_trigger_deliveries", "/triggers/<name>/deliveries")
def deliveries(name: str) -> flask.Response:
    found = ports().forge_deliveries.page(principal(), name, **paging())
    return page(
        "triggers/deliveries.html", name=name, found=found, address=f"{ports().settings.public_url}/events/v1/{name}",
        state_name=state_name, state_colour=state_colour,
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
