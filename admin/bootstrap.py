"""Makes admin's adapters, and the app with them."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import flask

from admin.app import make_app
from admin.ports import Ports
from keruta.adapters.cloudevents import decode, event_sender
from keruta.adapters.encryption import Sealer
from keruta.adapters.forge_sender import ForgeSender
from keruta.adapters.git.remote_check import GitRemoteCheck
from keruta.adapters.identity.events import delivery_verifier
from keruta.adapters.identity.keycloak_roles import KeycloakRoles
from keruta.adapters.identity.provider import Provider
from keruta.adapters.identity.service_account import ClientCredentials
from keruta.adapters.mail_sender import MailSender
from keruta.adapters.mongo.access_propagation import Spreading
from keruta.adapters.mongo.accounts import MongoAccounts
from keruta.adapters.mongo.activity import MongoActivity
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.badges import MongoBadges
from keruta.adapters.mongo.browser_sessions import BrowserSessions
from keruta.adapters.mongo.catalog_kinds import Catalogs
from keruta.adapters.mongo.catalog_lookup import MongoLookup
from keruta.adapters.mongo.client import connect, ping
from keruta.adapters.mongo.credential_lookup import MongoOpening
from keruta.adapters.mongo.dead_letters import MongoDeadLetters
from keruta.adapters.mongo.deliveries import MongoDeliveries
from keruta.adapters.mongo.favourites import MongoFavourites
from keruta.adapters.mongo.forge_lookup import MongoForges
from keruta.adapters.mongo.forge_recovery import MongoRecovery
from keruta.adapters.mongo.forge_reports import MongoReports
from keruta.adapters.mongo.log_tail import MongoTail
from keruta.adapters.mongo.metrics import Figures
from keruta.adapters.mongo.model_check import MongoModelCheck
from keruta.adapters.mongo.notice_mails import MongoNoticeMails
from keruta.adapters.mongo.notices import MongoNotices
from keruta.adapters.mongo.outbox import MongoOutbox
from keruta.adapters.mongo.overview import MongoOverview
from keruta.adapters.mongo.provenance import MongoProvenance
from keruta.adapters.mongo.rate_limits import MongoRates
from keruta.adapters.mongo.retention import MongoRetention
from keruta.adapters.mongo.seen_deliveries import MongoSeenDeliveries
from keruta.adapters.mongo.submissions import MongoIntake
from keruta.adapters.mongo.task_queries import MongoReading
from keruta.adapters.mongo.task_store import MongoTaskStore
from keruta.adapters.mongo.transfer import MongoTransfer
from keruta.adapters.mongo.users import MongoKeyStore, editors, make_verifier
from keruta.adapters.mongo.webhooks import MongoWebhooks
from keruta.adapters.nudges import HttpNudges
from keruta.adapters.results import Results
from keruta.adapters.smtp import SmtpMailer
from keruta.adapters.tracing import tracing
from keruta.adapters.webhooks import WebhookSender
from keruta.services.changes import TaskPorts
from keruta.services.deliveries import DeliveryPorts, process_due
from keruta.services.forge_recovery import recover
from keruta.services.forge_reports import ReportPorts, tell_due
from keruta.services.notice_mails import MailPorts, send_due
from keruta.services.skipped_reports import report_skipped
from keruta.services.task_commands import CommandPorts
from keruta.settings import Settings, load
from keruta.translations import render


def create_app(settings: Settings | None = None) -> flask.Flask:
    """Make the app; without settings, from the environment."""
    return make_app(settings or load(os.environ), make_ports)


def make_ports(settings: Settings) -> Ports:
    database = connect(settings, maxPoolSize=200)
    verifier = make_verifier(database, settings)
    sealer = Sealer(settings.credentials_key)
    catalogs = Catalogs(
        database, sealer, keeps_values=settings.credentials_store == "sealed", editors=editors(database, settings),
        coding_agent_images=settings.images_of_coding_agents,
    )  # fmt: skip
    events = event_sender(settings)
    outbox = MongoOutbox(database, events.send)
    traced = tracing(settings, "admin")
    told = MongoWebhooks(database, sealer, public_url=settings.public_url)
    sender = WebhookSender(told, settings.webhook_networks)
    sender.start()
    forges, told_forges = MongoForges(database, sealer), MongoReports(database)
    report_ports = ReportPorts(store=told_forges, forges=forges, public_url=settings.public_url)
    commands = CommandPorts(
        changes=TaskPorts(tasks=MongoTaskStore(database), outbox=outbox, tracing=traced),
        audit=MongoAudit(database),
        nudges=HttpNudges(settings.worker_addresses),
    )
    taken, lookup = MongoDeliveries(database, sealer, editors(database, settings)), MongoLookup(database)
    intake = MongoIntake(database, outbox)
    asking = DeliveryPorts(
        settings=settings, store=taken, lookup=lookup, intake=intake, tracing=traced, commands=commands, forges=forges
    )
    compared = MongoRecovery(database)

    def at_forges() -> None:
        process_due(asking)
        tell_due(report_ports)
        report_skipped(taken, forges, settings.public_url)

    def compare() -> None:
        recover(compared, taken, forges, datetime.now(UTC), settings.public_url)

    ForgeSender(at_forges, compare).start()
    mailer = SmtpMailer(settings) if settings.smtp_url else None
    if mailer is not None:
        mails = MailPorts(
            record=MongoNoticeMails(database), people=editors(database, settings), mailer=mailer,
            render=render, public_url=settings.public_url, per_hour=settings.mails_per_hour,
        )  # fmt: skip
        MailSender(lambda: send_due(mails)).start()
    return Ports(
        settings=settings,
        check=lambda: ping(database),
        figures=Figures(database, settings.lease_seconds),
        decode_event=decode,
        verifier=verifier,
        deliveries=delivery_verifier(settings, verifier, MongoKeyStore(database)),
        reading=MongoReading(database, settings),
        commands=commands,
        tail=MongoTail(database),
        results=Results(settings.results_dir),
        provenance=MongoProvenance(database),
        catalogs=catalogs,
        model_check=MongoModelCheck(database, sealer),
        remote_check=GitRemoteCheck(MongoOpening(database, sealer), settings),
        transfer=MongoTransfer(database, catalogs),
        retention=MongoRetention(database, settings),
        dead_letters=MongoDeadLetters(database, events.send),
        webhooks=told,
        forges=forges,
        posts=told_forges,
        delivery_store=taken,
        forge_deliveries=MongoSeenDeliveries(database, taken),
        webhook_sender=sender,
        overview=MongoOverview(database, settings.lease_seconds),
        activities=MongoActivity(database),
        badges=MongoBadges(database),
        lookup=lookup,
        intake=intake,
        tracing=traced,
        accounts=MongoAccounts(database),
        favourites=MongoFavourites(database),
        notices=MongoNotices(database),
        notice_mails=MongoNoticeMails(database),
        mailer=mailer,
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
