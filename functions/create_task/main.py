"""The HTTP function that accepts tasks: wiring, and nothing else."""

from __future__ import annotations

import os

import flask
import functions_framework

from functions.create_task.handler import Ports
from functions.create_task.handler import create_task as handle
from keruta.adapters.cloudevents import event_sender
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.catalog_lookup import MongoLookup
from keruta.adapters.mongo.client import connect, ping
from keruta.adapters.mongo.outbox import MongoOutbox
from keruta.adapters.mongo.submissions import MongoIntake
from keruta.adapters.mongo.users import make_verifier
from keruta.adapters.tracing import tracing
from keruta.domain.api.tasks import TASKS
from keruta.http.function import Function
from keruta.settings import Settings, load


def make_ports(settings: Settings) -> Ports:
    database = connect(settings)
    events = event_sender(settings)
    return Ports(
        settings=settings,
        verifier=make_verifier(database, settings),
        lookup=MongoLookup(database),
        intake=MongoIntake(database, MongoOutbox(database, events.send)),
        audit=MongoAudit(database),
        tracing=tracing(settings, "create_task"),
        check=lambda: ping(database),
    )


function = Function("create_task", load(os.environ), make_ports, TASKS, {"create_task": handle})


@functions_framework.http
def create_task(request: flask.Request) -> flask.Response:
    return function(request)
