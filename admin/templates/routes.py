"""Runs of templates, in the API."""

from __future__ import annotations

import flask

from admin.auth import principal, serves
from admin.ports import ports
from keruta.domain.catalog.templates import TemplateRun
from keruta.domain.task import BODY_LIMIT_BYTES
from keruta.http.answers import json_answer
from keruta.http.requests import idempotency_key, read_body
from keruta.ports import Accepted
from keruta.services import templates as service

blueprint = flask.Blueprint("templates", __name__)


def run(name: str, wanted: TemplateRun, key: str | None) -> Accepted:
    """Run a template for the person of this request."""
    found = ports().catalogs["template"].show(principal(), name)
    return service.run_template(
        found, wanted, principal(), lookup=ports().lookup, intake=ports().intake, tracing=ports().tracing,
        settings=ports().settings, credentials=ports().catalogs["credential"], key=key,
    )  # fmt: skip


@serves(blueprint, "run_template")
def run_template(name: str) -> flask.Response:
    accepted = run(name, read_body(flask.request, TemplateRun, BODY_LIMIT_BYTES), idempotency_key(flask.request))
    location = f"{ports().settings.public_url}/api/v1/tasks/{accepted.task.id}"
    return json_answer(accepted.task, 200 if accepted.repeated else 201, {"Location": location})
