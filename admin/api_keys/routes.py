"""API keys: made, listed, revoked."""

from __future__ import annotations

import flask

from admin.auth import paging, principal, serves
from admin.ports import ports
from keruta.domain.users import ApiKeyRequest
from keruta.http.answers import json_answer
from keruta.http.requests import read_body
from keruta.services.users import make_key

blueprint = flask.Blueprint("api_keys", __name__)

BODY_LIMIT_BYTES = 4096


@serves(blueprint, "list_api_keys")
def list_api_keys() -> flask.Response:
    return json_answer(ports().accounts.keys(principal(), **paging()))


@serves(blueprint, "create_api_key")
def create_api_key() -> flask.Response:
    wanted = read_body(flask.request, ApiKeyRequest, BODY_LIMIT_BYTES)
    made = make_key(principal(), wanted, accounts=ports().accounts)
    return json_answer(made, 201, {"Cache-Control": "no-store"})


@serves(blueprint, "revoke_api_key")
def revoke_api_key(id: str) -> flask.Response:
    ports().accounts.revoke(principal(), id)
    return flask.Response(status=204)
