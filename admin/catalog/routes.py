"""Lists, adds, shows, changes and deletes entries of every kind, all in the same way.

A change says which version it was made from (`If-Match`), so that what came between is not lost.
Source: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1
"""

from __future__ import annotations

import re
from typing import Any

import flask

from admin.auth import flag, paging, principal, serves
from admin.ports import ports
from admin.site.pages import View
from keruta.domain.catalog.common import Page, Wanted
from keruta.domain.catalog.kinds import KINDS, Kind
from keruta.domain.messages import message
from keruta.errors import InvalidRequest, PreconditionRequired, fault
from keruta.http.answers import json_answer
from keruta.http.requests import read_body
from keruta.ports.catalog import Catalog
from keruta.services import catalog as service

blueprint = flask.Blueprint("catalog", __name__)

_ETAG = re.compile(r'"(\d{1,9})"')


def entry_answer(view: Any, status: int = 200, location: str | None = None) -> flask.Response:
    """An entry with its ETag."""
    headers = {"ETag": f'"{view.meta.revision}"', **({"Location": location} if location else {})}
    return json_answer(view, status, headers)


def revision_asked(*, required: bool) -> int | None:
    """The revision that `If-Match` names; None for `*`, or where it is not there and need not be.

    Raises:
        PreconditionRequired, InvalidRequest.
    """
    given = flask.request.headers.get("If-Match")
    if given is None:
        if required:
            raise PreconditionRequired(message("http_if_match"))
        return None
    if given.strip() == "*":
        return None
    match = _ETAG.fullmatch(given.strip().removeprefix("W/"))
    if match is None:
        raise InvalidRequest(message("http_etag_not_found"), faults=[fault("If-Match", message("http_etag"))])
    return int(match[1])


def _views(kind: Kind) -> dict[str, View]:
    def catalog() -> Catalog:
        return ports().catalogs[kind.name]

    def listed() -> flask.Response:
        query = flask.request.args
        wanted = Wanted(
            filters={field: query[name] for name, field in kind.filters.items() if name in query},
            search=query.get("q"),
            sort=query.get("sort", "name"),
            **paging(),
        )
        items, after = catalog().page(principal(), wanted)
        return json_answer(Page(items=items, next=after))

    def create() -> flask.Response:
        spec = read_body(flask.request, kind.spec, kind.body_limit_bytes)
        made = service.create(principal(), spec, catalog=catalog())
        return entry_answer(made, 201, f"{ports().settings.public_url}/api/v1/{kind.path}/{made.name}")

    def show(name: str) -> flask.Response:
        view = catalog().show(principal(), name)
        response = entry_answer(view)
        response.make_conditional(flask.request)
        return response

    def replace(name: str) -> flask.Response:
        revision = revision_asked(required=True)
        spec = read_body(flask.request, kind.spec, kind.body_limit_bytes)
        return entry_answer(service.replace(principal(), name, spec, revision, catalog=catalog()))

    def delete(name: str) -> flask.Response:
        force = flag("force")
        revision = revision_asked(required=False)
        service.delete(principal(), name, revision, force=force, catalog=catalog(), commands=ports().commands)
        return flask.Response(status=204)

    one, many = kind.name, kind.collection
    return {
        f"list_{many}": listed,
        f"create_{one}": create,
        f"show_{one}": show,
        f"replace_{one}": replace,
        f"delete_{one}": delete,
    }


for _kind in KINDS.values():
    for _name, _view in _views(_kind).items():
        serves(blueprint, _name)(_view)
