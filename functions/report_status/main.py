"""The HTTP function that agents report to: wiring, and nothing else."""

from __future__ import annotations

import os

import flask
import functions_framework

from functions.report_status import handler
from keruta.adapters.cloudevents import event_sender
from keruta.adapters.dependency_uploads import DependencyUploads
from keruta.adapters.github import mint
from keruta.adapters.mongo.agent_access import MongoAgentAccess
from keruta.adapters.mongo.assignments import MongoAssignment
from keruta.adapters.mongo.catalog_kinds import Documents
from keruta.adapters.mongo.circuits import MongoCircuits
from keruta.adapters.mongo.client import connect, ping
from keruta.adapters.mongo.logs import MongoLogs
from keruta.adapters.mongo.outbox import MongoOutbox
from keruta.adapters.mongo.reports import MongoReportStore
from keruta.adapters.mongo.snapshots import MongoSnapshots
from keruta.adapters.mongo.specifications import MongoSpecifications
from keruta.adapters.mongo.task_store import MongoTaskStore
from keruta.adapters.mongo.users import make_verifier
from keruta.adapters.nudges import HttpNudges
from keruta.adapters.results import Results
from keruta.adapters.tokens import Sessions
from keruta.adapters.tracing import tracing
from keruta.domain.api.agents import AGENTS
from keruta.http.function import Function
from keruta.services.changes import TaskPorts
from keruta.services.reports import ReportPorts
from keruta.settings import Settings, load


def make_ports(settings: Settings) -> handler.Ports:
    database = connect(settings)
    specifications = MongoSpecifications(database, settings)
    outbox = MongoOutbox(database, event_sender(settings).send)
    return handler.Ports(
        settings=settings,
        verifier=make_verifier(database, settings),
        sessions=Sessions.from_file(settings.session_key),
        access=MongoAgentAccess(database),
        reports=ReportPorts(
            changes=TaskPorts(
                tasks=MongoTaskStore(database), outbox=outbox, tracing=tracing(settings, "report_status")
            ),
            store=MongoReportStore(database, settings),
            logs=MongoLogs(database, settings.log_days),
            circuits=MongoCircuits(database),
            assignment=MongoAssignment(database, settings),
            nudges=HttpNudges(settings.worker_addresses),
            lease_seconds=settings.lease_seconds,
            log_limit_bytes=settings.log_limit_bytes,
            suspend_seconds=settings.suspend_days * 86400,
        ),
        results=Results(settings.results_dir),
        dependencies=DependencyUploads(settings.results_dir, settings.dependency_cache_bytes),
        snapshots=MongoSnapshots(database, (settings.suspend_days + 1) * 86400),
        mint=lambda specification: specifications.minted(specification, mint),
        document_text=Documents(database).text,
        check=lambda: ping(database),
    )


function = Function("report_status", load(os.environ), make_ports, AGENTS, handler.HANDLERS)


@functions_framework.http
def report_status(request: flask.Request) -> flask.Response:
    return function(request)
