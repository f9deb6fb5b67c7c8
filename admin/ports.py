"""The ports that admin needs, and access to them within a request."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import cast

import flask
import msgspec
from prometheus_client.registry import Collector

from keruta.ports import EventDecoder, FileStore, Intake, Lookup, Statements, SubmitTrace, Verifying
from keruta.ports.catalog import Catalogs, ModelCheck, RemoteCheck, Transfer
from keruta.ports.deliveries import Deliveries, DeliveryStore
from keruta.ports.forges import Forges, Posts
from keruta.ports.people import (
    Accounts,
    Favourites,
    IdentityProvider,
    Mailer,
    NoticeMails,
    Notices,
    Rates,
    RoleStore,
    Sessions,
    SignInVerifier,
)
from keruta.ports.watching import (
    AccessSpreading,
    Activities,
    Badges,
    DeadLetters,
    LogTail,
    Retention,
    SystemOverview,
    TaskQueries,
    WebhookAlarm,
    Webhooks,
)
from keruta.services.task_commands import CommandPorts
from keruta.settings import Settings


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """The ports and settings that admin needs."""

    settings: Settings
    check: Callable[[], None]
    figures: Collector
    decode_event: EventDecoder
    verifier: SignInVerifier
    deliveries: Verifying
    reading: TaskQueries
    commands: CommandPorts
    tail: LogTail
    results: FileStore
    provenance: Statements
    catalogs: Catalogs
    remote_check: RemoteCheck
    model_check: ModelCheck
    transfer: Transfer
    retention: Retention
    dead_letters: DeadLetters
    webhooks: Webhooks
    forge_deliveries: Deliveries
    delivery_store: DeliveryStore
    forges: Forges
    posts: Posts
    webhook_sender: WebhookAlarm
    overview: SystemOverview
    activities: Activities
    badges: Badges
    lookup: Lookup
    intake: Intake
    tracing: SubmitTrace
    accounts: Accounts
    favourites: Favourites
    notices: Notices
    notice_mails: NoticeMails
    mailer: Mailer | None
    provider: IdentityProvider
    keycloak_roles: RoleStore | None
    browsers: Sessions
    sign_in_rates: Rates
    spreading: AccessSpreading


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


def ports() -> Ports:
    """Return this process's ports, made when they are first asked for."""
    return cast("Lazily", flask.current_app.extensions["keruta"])()
