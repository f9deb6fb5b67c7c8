"""Signs in at forges, lists and adds their repositories, and makes webhooks for triggers, in the API."""

from __future__ import annotations

import flask

from admin.auth import principal, serves
from admin.ports import ports
from keruta.domain.catalog.common import Page
from keruta.domain.catalog.forges import AddRepository, ConnectRequest, ForgeCheck
from keruta.http.answers import json_answer
from keruta.http.requests import read_body
from keruta.services import forges as service

blueprint = flask.Blueprint("forges", __name__)

BODY_LIMIT_BYTES = 64 * 1024


@serves(blueprint, "validate_forge")
def validate_forge(name: str) -> flask.Response:
    return json_answer(check(name))


@serves(blueprint, "list_forge_repositories")
def list_forge_repositories(name: str) -> flask.Response:
    cursor = flask.request.args.get("cursor")
    return json_answer(service.found_repositories(principal(), name, cursor, forges=ports().forges))


@serves(blueprint, "add_forge_repository")
def add_forge_repository(name: str) -> flask.Response:
    wanted = read_body(flask.request, AddRepository, BODY_LIMIT_BYTES)
    made = service.add_repository(
        principal(), name, wanted, forges=ports().forges, catalog=ports().catalogs["repository"]
    )
    return json_answer(made, 201)


@serves(blueprint, "connect_trigger")
def connect_trigger(name: str) -> flask.Response:
    wanted = read_body(flask.request, ConnectRequest, BODY_LIMIT_BYTES)
    return json_answer(service.connect(
        principal(), name, wanted.trigger, forges=ports().forges, catalogs=ports().catalogs,
        public_url=ports().settings.public_url,
    ))  # fmt: skip


@serves(blueprint, "list_task_posts")
def list_task_posts(id: str) -> flask.Response:
    task = ports().reading.task(principal(), id)
    return json_answer(Page(items=ports().posts.of(task.id)))


def check(name: str) -> ForgeCheck:
    """Sign in at a forge. Raises NotFound, Forbidden."""
    return service.check_forge(principal(), name, forges=ports().forges, public_url=ports().settings.public_url)
