"""Alive, ready, and the API's own description."""

from __future__ import annotations

import flask

from admin.auth import serves
from admin.ports import ports
from keruta.http.answers import json_answer, metrics_answer, ready_answer
from keruta.openapi import document

blueprint = flask.Blueprint("health", __name__)


@serves(blueprint, "healthz")
def healthz() -> flask.Response:
    return flask.Response("ok\n", content_type="text/plain")


@serves(blueprint, "readyz")
def readyz() -> flask.Response:
    ports().check()
    return ready_answer(ports().verifier.issuer_away_since)


@serves(blueprint, "metrics")
def metrics() -> flask.Response:
    """Return this process's metrics, and the database's metrics of the whole system."""
    return metrics_answer(ports().figures)


@serves(blueprint, "openapi")
def openapi() -> flask.Response:
    return json_answer(document())
