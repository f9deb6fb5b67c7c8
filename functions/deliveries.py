"""The ports for making tasks of deliveries, for the function that takes them and for the one that ticks."""

from __future__ import annotations

from keruta.adapters.encryption import Sealer
from keruta.adapters.mongo.audit import MongoAudit
from keruta.adapters.mongo.catalog_lookup import MongoLookup
from keruta.adapters.mongo.client import Database
from keruta.adapters.mongo.deliveries import MongoDeliveries
from keruta.adapters.mongo.submissions import MongoIntake
from keruta.adapters.mongo.users import editors
from keruta.ports import Nudges, Outbox, SubmitTrace
from keruta.services.changes import TaskPorts
from keruta.services.deliveries import DeliveryPorts
from keruta.services.task_commands import CommandPorts
from keruta.settings import Settings


def delivery_ports(
    database: Database, settings: Settings, outbox: Outbox, changes: TaskPorts, nudges: Nudges, tracing: SubmitTrace
) -> DeliveryPorts:
    return DeliveryPorts(
        settings=settings,
        store=MongoDeliveries(database, Sealer(settings.credentials_key), editors(database, settings)),
        lookup=MongoLookup(database),
        intake=MongoIntake(database, outbox),
        tracing=tracing,
        commands=CommandPorts(changes=changes, audit=MongoAudit(database), nudges=nudges),
    )
