"""The app: what it needs from the world, who asks, errors as problems, and the features' blueprints."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import flask
import msgspec

from admin.api_docs import pages as api_docs
from admin.api_keys import pages as api_keys_pages
from admin.api_keys import routes as api_keys
from admin.audit import pages as audit_pages
from admin.audit import routes as audit
from admin.catalog import pages as catalog_pages
from admin.catalog import routes as catalog
from admin.circuits import pages as circuits_pages
from admin.circuits import routes as circuits
from admin.dead_letters import pages as dead_letters_pages
from admin.dead_letters import routes as dead_letters
from admin.documents import pages as documents_pages
from admin.documents import routes as documents
from admin.health import routes as health
from admin.overview import pages as overview_pages
from admin.overview import routes as overview
from admin.people import pages as people_pages
from admin.people import routes as people
from admin.queues import pages as queues_pages
from admin.queues import routes as queues
from admin.repositories import pages as repositories_pages
from admin.repositories import routes as repositories
from admin.retention import routes as retention
from admin.settings import routes as settings_routes
from admin.signing_in import routes as signing_in
from admin.site import assets, pages
from admin.tasks import files as tasks_files
from admin.tasks import new as tasks_new
from admin.tasks import pages as tasks_pages
from admin.tasks import routes as tasks
from admin.transfer import routes as transfer
from admin.webhooks import pages as webhooks_pages
from admin.webhooks import routes as webhooks
from admin.workers import pages as workers_pages
from admin.workers import routes as workers
from keruta import logs
from keruta.adapters.cloudevents import event_sender
from keruta.adapters.encryption import Sealer
from keruta.adapters.identity.events import delivery_verifier
from keruta.adapters.identity.keycloak_roles import KeycloakRoles
from keruta.adapters.identity.provider import Provider
from keruta.adapters.identity.service_account import ClientCredentials
from keruta.adapters.identity.verifier import Verifier
from keruta.adapters.mongo.access_propagation import Spreading
from keruta.adapters.mongo.accounts import MongoAccounts
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.browser_sessions import BrowserSessions
from keruta.adapters.mongo.catalog_kinds import Catalogs
from keruta.adapters.mongo.catalog_lookup import MongoLookup
from keruta.adapters.mongo.client import Database, connect
from keruta.adapters.mongo.credential_lookup import MongoOpening
from keruta.adapters.mongo.dead_letters import MongoDeadLetters
from keruta.adapters.mongo.log_tail import MongoTail
from keruta.adapters.mongo.outbox import MongoOutbox
from keruta.adapters.mongo.overview import MongoOverview
from keruta.adapters.mongo.rate_limits import MongoRates
from keruta.adapters.mongo.retention import MongoRetention
from keruta.adapters.mongo.submissions import MongoIntake
from keruta.adapters.mongo.task_queries import MongoReading
from keruta.adapters.mongo.task_store import MongoTaskStore
from keruta.adapters.mongo.transfer import MongoTransfer
from keruta.adapters.mongo.users import MongoKeyStore, make_verifier
from keruta.adapters.mongo.webhooks import MongoWebhooks
from keruta.adapters.nudges import HttpNudges
from keruta.adapters.results import Results
from keruta.adapters.tracing import Tracing, tracing
from keruta.adapters.webhooks import WebhookSender
from keruta.domain.naming import new_id
from keruta.http.answers import count_request
from keruta.http.problems import as_problem, note_refusal, problem_answer
from keruta.http.requests import address_of
from keruta.ports import Verifying
from keruta.services.changes import TaskPorts
from keruta.services.task_commands import CommandPorts
from keruta.settings import Settings, load

API_DOCS = "/api/docs"
NOT_PAGES = ("/api/", "/events/", "/agent/", "/healthz", "/readyz", "/metrics", assets.PREFIX)


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """What admin needs from the world."""

    settings: Settings
    verifier: Verifier
    deliveries: Verifying
    database: Database
    reading: MongoReading
    commands: CommandPorts
    tail: MongoTail
    results: Results
    catalogs: Catalogs
    opening: MongoOpening
    transfer: MongoTransfer
    retention: MongoRetention
    dead_letters: MongoDeadLetters
    webhooks: MongoWebhooks
    webhook_sender: WebhookSender
    overview: MongoOverview
    lookup: MongoLookup
    intake: MongoIntake
    tracing: Tracing
    accounts: MongoAccounts
    provider: Provider
    keycloak_roles: KeycloakRoles | None
    browsers: BrowserSessions
    sign_in_rates: MongoRates
    spreading: Spreading


def make_ports(settings: Settings) -> Ports:
    database = connect(settings, maxPoolSize=200)
    verifier = make_verifier(database, settings)
    sealer = Sealer(settings.credentials_key)
    catalogs = Catalogs(database, sealer, keeps_values=settings.credentials_store == "sealed")
    events = event_sender(settings)
    outbox = MongoOutbox(database, events.send)
    traced = tracing(settings, "admin")
    told = MongoWebhooks(database, sealer)
    sender = WebhookSender(told, settings.webhook_networks)
    sender.start()
    return Ports(
        settings=settings,
        verifier=verifier,
        deliveries=delivery_verifier(settings, verifier, MongoKeyStore(database)),
        database=database,
        reading=MongoReading(database, settings),
        commands=CommandPorts(
            changes=TaskPorts(tasks=MongoTaskStore(database), outbox=outbox, tracing=traced),
            audit=MongoAudit(database),
            nudges=HttpNudges(settings.worker_addresses),
        ),
        tail=MongoTail(database),
        results=Results(settings.results_dir),
        catalogs=catalogs,
        opening=MongoOpening(database, sealer),
        transfer=MongoTransfer(database, catalogs),
        retention=MongoRetention(database, settings),
        dead_letters=MongoDeadLetters(database, events.send),
        webhooks=told,
        webhook_sender=sender,
        overview=MongoOverview(database, settings.lease_seconds),
        lookup=MongoLookup(database),
        intake=MongoIntake(database, outbox),
        tracing=traced,
        accounts=MongoAccounts(database),
        provider=Provider(
            settings.issuer,
            settings.admin_client_id,
            url=settings.issuer_url,
            secret_file=settings.admin_client_secret_file,
        ),
        keycloak_roles=_keycloak_roles(settings),
        browsers=BrowserSessions(database),
        sign_in_rates=MongoRates(database, settings.sign_ins_per_minute),
        spreading=Spreading(database),
    )


def _keycloak_roles(settings: Settings) -> KeycloakRoles | None:
    if not settings.people_client_id or settings.people_client_secret_file is None:
        return None
    url = settings.issuer_url or settings.issuer
    account = ClientCredentials(url, settings.people_client_id, settings.people_client_secret_file)
    return KeycloakRoles(url, account)


class Lazily:
    """Makes the ports on first use: gunicorn loads the app before it forks."""

    def __init__(self, settings: Settings, make: Callable[[Settings], Ports]) -> None:
        self.settings, self._make = settings, make
        self._made: Ports | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Ports:
        if self._made is None:
            with self._lock:
                if self._made is None:
                    self._made = self._make(self.settings)
        return self._made


def create_app(settings: Settings | None = None) -> flask.Flask:
    """Makes the app; without settings, from the environment."""
    settings = settings or load(os.environ)
    logs.configure("admin", settings.log_level)
    app = flask.Flask("admin", static_folder=None, template_folder=".")
    app.url_map.strict_slashes = True
    app.extensions["keruta"] = Lazily(settings, make_ports)
    for feature in (
        tasks, catalog, repositories, documents, queues, circuits, transfer, retention, audit, dead_letters, people,
        api_keys, health, overview, workers, webhooks, settings_routes, assets, signing_in,
        overview_pages, tasks_new, tasks_files, tasks_pages, catalog_pages, repositories_pages, documents_pages,
        queues_pages, circuits_pages, workers_pages, people_pages, audit_pages, dead_letters_pages, api_keys_pages,
        webhooks_pages, api_docs,
    ):  # fmt: skip
        app.register_blueprint(feature.blueprint)

    pages.prepare(app)

    @app.before_request
    def begin() -> None:
        flask.g.request_id = new_id()
        flask.g.logged = logs.bind(request=flask.g.request_id, address=address_of(flask.request))
        flask.g.logged.__enter__()

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        if (bound := flask.g.pop("logged", None)) is not None:
            bound.__exit__(None, None, None)

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
