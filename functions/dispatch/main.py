"""The function behind the Trigger and the tick: wiring, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

import flask
import functions_framework

from functions.deliveries import delivery_ports
from functions.dispatch.handler import Ports
from functions.dispatch.handler import dispatch as handle
from keruta.adapters.cloudevents import decode, event_sender
from keruta.adapters.http_client import answers
from keruta.adapters.identity.events import delivery_verifier
from keruta.adapters.mongo.assignments import MongoAssignment
from keruta.adapters.mongo.client import Database, connect, ping
from keruta.adapters.mongo.expiry import MongoExpiry
from keruta.adapters.mongo.outbox import MongoOutbox
from keruta.adapters.mongo.pool_state import MongoPool
from keruta.adapters.mongo.provenance import MongoProvenance
from keruta.adapters.mongo.retention import MongoRetention
from keruta.adapters.mongo.schedules import MongoSchedules
from keruta.adapters.mongo.spending import MongoSpending
from keruta.adapters.mongo.task_store import MongoTaskStore
from keruta.adapters.mongo.users import MongoKeyStore, make_verifier
from keruta.adapters.nudges import HttpNudges
from keruta.adapters.signatures import FileSigner
from keruta.adapters.tracing import tracing
from keruta.adapters.worker_providers import provider
from keruta.domain.api.platform import PLATFORM
from keruta.http.function import Function
from keruta.services.autoscaler import resize
from keruta.services.changes import TaskPorts
from keruta.services.deliveries import process_due
from keruta.services.provenance import publish_key, sign_due
from keruta.services.schedules import note_times
from keruta.services.ticks import TickPorts
from keruta.settings import PoolSettings, Settings, load


def make_ports(settings: Settings) -> Ports:
    database = connect(settings)
    verifier = make_verifier(database, settings)
    MongoRetention(database, settings).apply_settings()
    outbox = MongoOutbox(database, event_sender(settings).send)
    traced = tracing(settings, "dispatch")
    changes = TaskPorts(tasks=MongoTaskStore(database), outbox=outbox, tracing=traced)
    nudges = HttpNudges(settings.worker_addresses)
    deliveries = delivery_ports(database, settings, outbox, changes, nudges, traced)
    schedules = MongoSchedules(database)
    return Ports(
        settings=settings,
        decode_event=decode,
        verifier=verifier,
        deliveries=delivery_verifier(settings, verifier, MongoKeyStore(database)),
        ticks=TickPorts(
            changes=changes,
            expiry=MongoExpiry(database, settings),
            assignment=MongoAssignment(database, settings),
            outbox=outbox,
            nudges=nudges,
            reports_arrive=lambda: answers(f"{settings.agent_url}/agent/v1/readyz"),
            note_times=lambda: note_times(schedules, deliveries.store, datetime.now(UTC)),
            process_deliveries=lambda: process_due(deliveries),
            sign_provenance=make_signing(database, settings),
            settle_budgets=MongoSpending(database).settle,
            size_pool=make_pool(database, settings, load(os.environ, PoolSettings)),
            lease_seconds=settings.lease_seconds,
        ),
        check=lambda: ping(database),
    )


def make_signing(database: Database, settings: Settings) -> Callable[[], object]:
    """Return the function that signs due provenance statements."""
    store, signer = MongoProvenance(database), FileSigner(settings.provenance_key)
    publish_key(store, signer)
    return lambda: sign_due(store, signer, builder=settings.public_url)


def make_pool(database: Database, settings: Settings, pool: PoolSettings) -> Callable[[], None]:
    """Return the function that sizes the pool of workers; it does nothing if the pool has a fixed size."""
    workers = provider(pool)
    if workers is None:
        return lambda: None
    store = MongoPool(database, settings)
    return lambda: resize(store, workers, pool.bounds)


function = Function("dispatch", load(os.environ), make_ports, PLATFORM, {"dispatch": handle})


@functions_framework.http
def dispatch(request: flask.Request) -> flask.Response:
    return function(request)
