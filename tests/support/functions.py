"""The HTTP functions in this process, with real ports but for those that no test asks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import flask
from werkzeug.serving import make_server

from functions.create_task import handler as submits
from functions.report_status import handler as reports
from keruta.adapters.dependency_uploads import DependencyUploads
from keruta.adapters.mongo.agent_access import MongoAgentAccess
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.snapshots import MongoSnapshots
from keruta.adapters.results import Results
from keruta.adapters.tokens import Sessions
from keruta.adapters.tracing import SILENT
from keruta.domain.api.agents import AGENTS
from keruta.domain.api.route import Route
from keruta.domain.api.tasks import TASKS
from keruta.http.function import Function
from tests.support.world import World

METHODS = ["GET", "POST", "PUT", "DELETE"]
SUBMITS: tuple[Route, ...] = tuple(route for route in TASKS if route.name == "create_task")


def served(function: Function[Any]) -> flask.Flask:
    app = flask.Flask("function")
    app.add_url_rule(
        "/<path:path>", view_func=lambda path: function(flask.request._get_current_object()),  # type: ignore[attr-defined]
        methods=METHODS, provide_automatic_options=False,
    )  # fmt: skip
    return app


def create_task(world: World, verifier: Any) -> flask.Flask:
    ports = submits.Ports(
        settings=world.settings, verifier=verifier, lookup=world.lookup, intake=world.intake, tracing=SILENT,
        audit=MongoAudit(world.database), check=lambda: None,
    )  # fmt: skip
    handlers = {"create_task": submits.create_task}
    return served(Function("create_task", world.settings, lambda _: ports, TASKS, handlers))


def report_status(
    world: World, verifier: Any, sessions: Sessions, *, cache_bytes: int | None = None
) -> flask.Flask:  # fmt: skip
    """Return the function, whose dependency caches hold so many bytes."""
    most = world.settings.dependency_cache_bytes if cache_bytes is None else cache_bytes
    ports = reports.Ports(
        settings=world.settings, verifier=verifier, sessions=sessions, access=MongoAgentAccess(world.database),
        reports=world.reports, results=Results(world.settings.results_dir),
        snapshots=MongoSnapshots(world.database, 60), mint=lambda found: found,
        document_text=lambda name, version: None, check=lambda: None,
        dependencies=DependencyUploads(world.settings.results_dir, most),
    )  # fmt: skip
    return served(Function("report_status", world.settings, lambda _: ports, AGENTS, reports.HANDLERS))


@contextmanager
def serving(app: flask.Flask) -> Iterator[str]:
    """Serve an app over HTTP, and give its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
