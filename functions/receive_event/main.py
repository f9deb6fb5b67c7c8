"""The HTTP function that forges deliver to: wiring, and nothing else."""

from __future__ import annotations

import os

import flask
import functions_framework

from functions.deliveries import delivery_ports
from functions.receive_event.handler import Ports, receive_cloudevent
from functions.receive_event.handler import receive_event as handle
from keruta.adapters.background import Background
from keruta.adapters.cloudevents import decode_foreign, event_sender
from keruta.adapters.identity.events import delivery_verifier
from keruta.adapters.mongo.client import connect, ping
from keruta.adapters.mongo.outbox import MongoOutbox
from keruta.adapters.mongo.task_store import MongoTaskStore
from keruta.adapters.mongo.users import MongoKeyStore, make_verifier
from keruta.adapters.nudges import HttpNudges
from keruta.adapters.tracing import tracing
from keruta.domain.api.triggers import TRIGGERS
from keruta.http.function import Function
from keruta.services.changes import TaskPorts
from keruta.services.deliveries import process_one
from keruta.settings import Settings, load

WAITING_MOST = 1000  # more are left to the tick


def make_ports(settings: Settings) -> Ports:
    database = connect(settings)
    outbox = MongoOutbox(database, event_sender(settings).send)
    traced = tracing(settings, "receive_event")
    changes = TaskPorts(tasks=MongoTaskStore(database), outbox=outbox, tracing=traced)
    ports = delivery_ports(database, settings, outbox, changes, HttpNudges(settings.worker_addresses), traced)
    background = Background[str]("deliveries", lambda identity: process_one(ports, identity), limit=WAITING_MOST)
    verifier = make_verifier(database, settings)
    return Ports(
        settings=settings,
        verifier=verifier,
        deliveries=delivery_verifier(settings, verifier, MongoKeyStore(database)),
        decode_event=decode_foreign,
        store=ports.store,
        later=background.put,
        check=lambda: ping(database),
    )


HANDLERS = {"receive_event": handle, "receive_cloudevent": receive_cloudevent}
function = Function("receive_event", load(os.environ), make_ports, TRIGGERS, HANDLERS)


@functions_framework.http
def receive_event(request: flask.Request) -> flask.Response:
    return function(request)
