"""Removes what is older than the settings say: at a person's word, and at the clock's."""

from __future__ import annotations

import flask

from admin.auth import flag, principal, serves
from admin.ports import ports
from keruta.http.answers import json_answer

blueprint = flask.Blueprint("retention", __name__)


@serves(blueprint, "prune")
def prune() -> flask.Response:
    dry_run = flag("dry_run")
    pruned = ports().retention.prune(dry_run=dry_run)
    if not dry_run:
        ports().catalogs.audit.record(principal().name, "prune", "storage", "results", readers=["everyone"])
    return json_answer(pruned)


@serves(blueprint, "sweep")
def sweep() -> flask.Response:
    """The clock's own: an event of a PingSource. What a process that died left half done of grants is done, too."""
    ports().decode_event(dict(flask.request.headers), flask.request.get_data())
    ports().spreading.finish()
    ports().retention.prune(dry_run=False)
    return flask.Response(status=204)
