"""The page of API keys: a new one is shown once, on the page that made it."""

from __future__ import annotations

from collections.abc import Sequence

import flask

from admin.auth import paging, principal
from admin.ports import ports
from admin.site import forms
from admin.site.pages import go, page, shows, taken
from keruta.domain.decode import convert
from keruta.domain.users import ApiKeyMade, ApiKeyRequest
from keruta.errors import Conflict, Fault, Forbidden, fault
from keruta.services.users import make_key

blueprint = flask.Blueprint("api_keys_pages", __name__)

NAME = forms.Field(path="name", kind="text", required=True)
DAYS = forms.Field(path="days", kind="number", default="90")


@shows(blueprint, "list_api_keys", "/api-keys")
def keys() -> flask.Response:
    return _page()


@shows(blueprint, "create_api_key", "/api-keys", "POST")
def create() -> flask.Response:
    form = flask.request.form
    wanted, faults = convert({**forms.document((NAME, DAYS), form), "roles": form.getlist("roles")}, ApiKeyRequest)
    if wanted is None:
        return _page(faults=faults)
    try:
        return taken(_page(made=make_key(principal(), wanted, accounts=ports().accounts)))
    except (Conflict, Forbidden) as error:
        return _page(faults=[fault("", error.message)])


@shows(blueprint, "revoke_api_key", "/api-keys/<id>/revoke", "POST")
def revoke(id: str) -> flask.Response:
    ports().accounts.revoke(principal(), id)
    return go("/api-keys", "revoked")


def _page(made: ApiKeyMade | None = None, faults: Sequence[Fault] = ()) -> flask.Response:
    return page(
        "api_keys/list.html", 422 if faults else 200, found=ports().accounts.keys(principal(), **paging()), made=made,
        told=forms.told((NAME, DAYS), faults), fields=(NAME, DAYS), values=dict(flask.request.form) if faults else {},
        mine=sorted(principal().roles & {"viewer", "developer", "admin"}),
    )  # fmt: skip
