"""API keys: made, listed, revoked."""

from __future__ import annotations

import flask

from admin.asking import number, ports, principal, serves
from admin.catalog.routes import LIMIT_DEFAULT, LIMIT_MOST
from keruta.domain.people import ApiKeyRequest
from keruta.edge import json_answer, read_body

blueprint = flask.Blueprint("api_keys", __name__)

BODY_LIMIT_BYTES = 4096


@serves(blueprint, "list_api_keys")
def list_api_keys() -> flask.Response:
    page = ports().accounts.keys(
        principal(), limit=number("limit", LIMIT_DEFAULT, LIMIT_MOST), cursor=flask.request.args.get("cursor")
    )
    return json_answer(page)


@serves(blueprint, "create_api_key")
def create_api_key() -> flask.Response:
    made = ports().accounts.make_key(principal(), read_body(flask.request, ApiKeyRequest, BODY_LIMIT_BYTES))
    return json_answer(made, 201, {"Cache-Control": "no-store"})


@serves(blueprint, "revoke_api_key")
def revoke_api_key(id: str) -> flask.Response:
    ports().accounts.revoke(principal(), id)
    return flask.Response(status=204)
