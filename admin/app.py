"""The app: errors as problems, and the features' blueprints."""

from __future__ import annotations

from collections.abc import Callable

import flask

from admin.activity import favourites, notices
from admin.activity import pages as activity_pages
from admin.api_docs import pages as api_docs
from admin.api_keys import pages as api_keys_pages
from admin.api_keys import routes as api_keys
from admin.audit import pages as audit_pages
from admin.audit import routes as audit
from admin.badges import pages as badges_pages
from admin.catalog import pages as catalog_pages
from admin.catalog import routes as catalog
from admin.circuits import pages as circuits_pages
from admin.circuits import routes as circuits
from admin.credentials import pages as credentials_pages
from admin.credentials import routes as credentials
from admin.dead_letters import pages as dead_letters_pages
from admin.dead_letters import routes as dead_letters
from admin.documents import pages as documents_pages
from admin.documents import routes as documents
from admin.forges import pages as forges_pages
from admin.forges import routes as forges
from admin.health import routes as health
from admin.overview import pages as overview_pages
from admin.overview import routes as overview
from admin.ports import Lazily, Ports
from admin.queues import pages as queues_pages
from admin.queues import routes as queues
from admin.repositories import pages as repositories_pages
from admin.repositories import routes as repositories
from admin.retention import routes as retention
from admin.settings import routes as settings_routes
from admin.sign_in import routes as sign_in
from admin.site import assets, pages
from admin.site.stream_limits import count_body
from admin.tasks import comparison as tasks_comparison
from admin.tasks import files as tasks_files
from admin.tasks import log_search as tasks_log_search
from admin.tasks import needs as tasks_needs
from admin.tasks import new as tasks_new
from admin.tasks import pages as tasks_pages
from admin.tasks import palette as tasks_palette
from admin.tasks import results as tasks_results
from admin.tasks import routes as tasks
from admin.templates import pages as templates_pages
from admin.templates import routes as templates
from admin.transfer import routes as transfer
from admin.triggers import pages as triggers_pages
from admin.triggers import routes as triggers
from admin.users import pages as users_pages
from admin.users import routes as users
from admin.webhooks import pages as webhooks_pages
from admin.webhooks import routes as webhooks
from admin.workers import pages as workers_pages
from admin.workers import routes as workers
from keruta import logs
from keruta.domain.naming import new_id
from keruta.http.answers import count_request
from keruta.http.problems import as_problem, note_refusal, problem_answer
from keruta.http.requests import address_of
from keruta.settings import Settings

API_DOCS = "/api/docs"
NOT_PAGES = ("/api/", "/events/", "/agent/", "/healthz", "/readyz", "/metrics", assets.PREFIX)


def make_app(settings: Settings, make_ports: Callable[[Settings], Ports]) -> flask.Flask:
    """Make the app; its ports are made in the process that serves."""
    logs.configure("admin", settings.log_level)
    app = flask.Flask("admin", static_folder=None, template_folder=".")
    app.url_map.strict_slashes = True
    app.extensions["keruta"] = Lazily(settings, make_ports)
    for feature in (
        tasks, catalog, repositories, documents, queues, circuits, transfer, retention, audit, dead_letters, users,
        api_keys, health, overview, workers, webhooks, settings_routes, assets, sign_in,
        overview_pages, tasks_new, tasks_files, tasks_palette, tasks_results,
        tasks_comparison, tasks_log_search, tasks_needs, tasks_pages, catalog_pages,
        repositories_pages, documents_pages, queues_pages, circuits_pages, workers_pages, users_pages, audit_pages,
        dead_letters_pages, api_keys_pages, webhooks_pages, templates, templates_pages, triggers, triggers_pages,
        forges, forges_pages, credentials, credentials_pages, api_docs, favourites, notices, activity_pages,
        badges_pages,
    ):  # fmt: skip
        app.register_blueprint(feature.blueprint)

    pages.prepare(app)

    @app.before_request
    def begin() -> None:
        flask.g.request_id = new_id()
        flask.g.logged = logs.bind(request=flask.g.request_id, address=address_of(flask.request))
        flask.g.logged.__enter__()
        flask.g.body_over = count_body(flask.request, address_of(flask.request))

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        if (bound := flask.g.pop("logged", None)) is not None:
            bound.__exit__(None, None, None)
        if (body_over := flask.g.pop("body_over", None)) is not None:
            body_over()

    @app.errorhandler(Exception)
    def problem(error: Exception) -> flask.Response:
        told = as_problem(error)
        if told.status == 403:
            route = (flask.request.endpoint or "").rpartition(".")[2]
            note_refusal(app.extensions["keruta"]().catalogs.audit, route, told)
        if flask.request.path.startswith(NOT_PAGES) and flask.request.path != API_DOCS:
            return problem_answer(told, flask.g.request_id)
        return pages.problem_page(told, flask.g.request_id)

    @app.after_request
    def finish(response: flask.Response) -> flask.Response:
        response.headers["X-Request-Id"] = flask.g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        count_request((flask.request.endpoint or "none").rpartition(".")[2], response)
        return response

    return app
