"""Alive, ready, and the API's own description."""

from __future__ import annotations

import flask

from admin.asking import ports, serves
from keruta.adapters.mongo.client import ping
from keruta.edge import json_answer
from keruta.openapi import document

blueprint = flask.Blueprint("health", __name__)


@serves(blueprint, "healthz")
def healthz() -> flask.Response:
    return flask.Response("ok\n", content_type="text/plain")


@serves(blueprint, "readyz")
def readyz() -> flask.Response:
    ping(ports().database)
    return flask.Response("ok\n", content_type="text/plain")


@serves(blueprint, "openapi")
def openapi() -> flask.Response:
    return json_answer(document())
