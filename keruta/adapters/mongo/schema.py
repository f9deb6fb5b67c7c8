"""Indexes and migrations, as code: applied once, safely by many at a time.

`tasks` has these fields that exist only while they matter, so that their partial indexes stay as small as what is
going on, whatever the history:

    claim        the lane, while the task may be assigned now
    not_before   while it waits out a backoff
    blocked_by   while its last attempt may still be at work
    holder       the worker, while an attempt is its own (leased or unknown)
    lease_until  while a lease runs
    answer_until  while a suspended task waits for its answer
    outbox_at    while an event waits to be sent
    provenance_due  while attempts that have ended await a signed statement
    forge_due    while its forge is to be told of it
    draws_on     the entries of the catalog that it needs, until it has ended
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import msgspec
from pymongo import ASCENDING, DESCENDING, TEXT, IndexModel, UpdateOne
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from keruta.adapters.mongo.catalog_entries import new_entry, seen_by
from keruta.adapters.mongo.default_entries import ready_entries
from keruta.adapters.mongo.task_search import search_fields
from keruta.domain.address import same_address
from keruta.domain.catalog.coding_agents import PLAIN_IMAGES
from keruta.domain.catalog.kinds import KINDS

log = logging.getLogger(__name__)

DAY_SECONDS = 86400
BATCH = 1000
Migration = Callable[[Database[dict[str, Any]]], None]


def _there(field: str) -> dict[str, Any]:
    return {"partialFilterExpression": {field: {"$exists": True}}}


TASK_INDEXES = [
    IndexModel([("claim", ASCENDING), ("priority", DESCENDING), ("_id", ASCENDING)], name="claim", **_there("claim")),
    IndexModel([("not_before", ASCENDING)], name="not_before", **_there("not_before")),
    IndexModel([("blocked_by.worker", ASCENDING)], name="blocked_by", **_there("blocked_by")),
    IndexModel([("holder", ASCENDING), ("status", ASCENDING), ("lane", ASCENDING)], name="holder", **_there("holder")),
    IndexModel([("lease_until", ASCENDING)], name="lease_until", **_there("lease_until")),
    IndexModel([("outbox_at", ASCENDING)], name="outbox_at", **_there("outbox_at")),
    # Who may see it is the first thing that every list asks.
    IndexModel([("seen_by", ASCENDING), ("_id", DESCENDING)], name="seen_by"),
    IndexModel([("readers", ASCENDING), ("status", ASCENDING), ("_id", DESCENDING)], name="readers_status"),
]


def _first(database: Database[dict[str, Any]]) -> None:
    database["tasks"].create_indexes(TASK_INDEXES)
    database["keys"].create_index("until", name="until", expireAfterSeconds=0)
    database["control"].update_one({"_id": "assigner"}, {"$setOnInsert": {"epoch": 0, "until": None}}, upsert=True)


def _logs(database: Database[dict[str, Any]]) -> None:
    database["logs"].create_index("expires_at", name="expires_at", expireAfterSeconds=0)
    database["audit"].create_index([("readers", ASCENDING), ("_id", DESCENDING)], name="readers")


def _dead_letters(database: Database[dict[str, Any]]) -> None:
    database["dead_letters"].create_index("at", name="at", expireAfterSeconds=14 * DAY_SECONDS)


def _listed(entries: Collection[dict[str, Any]]) -> None:
    """Add the indexes that a catalog's lists are read by."""
    entries.create_index([("seen_by", ASCENDING), ("_id", ASCENDING)], name="seen_by")
    by_time = [("seen_by", ASCENDING), ("updated_at", ASCENDING), ("_id", ASCENDING)]
    entries.create_index(by_time, name="seen_by_updated")


def _catalog(database: Database[dict[str, Any]]) -> None:
    for kind in KINDS.values():
        _listed(database[kind.collection])
    database["repositories"].create_index([("spec.url", ASCENDING), ("_id", ASCENDING)], name="url")
    for field in ("read_credential", "push_credential", "default_profile"):
        database["repositories"].create_index(f"spec.{field}", name=field, sparse=True)
    # No language: words are parted by `keruta.domain.words.grams` already.
    database["documents"].create_index(
        [("grams", TEXT), ("letters", TEXT)], name="text", default_language="none", language_override="none"
    )
    database["documents"].create_index("spec.tags", name="tags")
    database["document_versions"].create_index([("document", ASCENDING), ("version", DESCENDING)], name="versions")
    database["circuits"].create_index("open", name="open")
    database["tasks"].create_index("draws_on", name="draws_on", **_there("draws_on"))
    for field in ("who", "kind"):
        database["audit"].create_index([(field, ASCENDING), ("_id", DESCENDING)], name=field)


def _ready(database: Database[dict[str, Any]]) -> None:
    """The entries that keruta brings are there; what a person has made of them stays."""
    for kind, spec in ready_entries():
        fields = {
            "owner": "keruta",
            "readers": ["everyone"],
            "seen_by": seen_by(kind, ["everyone"], spec),
            "spec": msgspec.to_builtins(spec),
            "updated_by": "keruta",
        }
        database[kind.collection].update_one({"_id": fields["spec"]["name"]}, new_entry(fields), upsert=True)


def _ends(database: Database[dict[str, Any]]) -> None:
    database["tasks"].create_index(
        "ended_at",
        name="ended_at",
        expireAfterSeconds=366 * DAY_SECONDS,
        partialFilterExpression={"ended_at": {"$type": "date"}},
    )
    database["audit"].create_index("at", name="at", expireAfterSeconds=731 * DAY_SECONDS)


def _identity(database: Database[dict[str, Any]]) -> None:
    """Add `managers` and `facets`, by which lists find tasks, to existing tasks."""
    own = {"$concat": ["user:", "$owner"]}
    everyone = {"$filter": {"input": "$seen_by", "cond": {"$eq": [{"$indexOfBytes": ["$$this", "everyone "]}, 0]}}}
    facets = {"$map": {"input": everyone, "in": {"$substrBytes": ["$$this", 9, {"$strLenBytes": "$$this"}]}}}
    database["tasks"].update_many(
        {"managers": {"$exists": False}}, [{"$set": {"managers": ["role:admin", own], "facets": facets}}]
    )
    for kind in KINDS.values():
        managers = ["role:admin", *(f"role:{role}" for role in sorted(kind.writers - {"admin"}))]
        database[kind.collection].update_many({"managers": {"$exists": False}}, {"$set": {"managers": managers}})
    database["users"].create_index([("name", ASCENDING), ("_id", ASCENDING)], name="name")
    database["api_keys"].create_index([("owner", ASCENDING), ("_id", DESCENDING)], name="owner")
    database["rates"].create_index("until", name="until", expireAfterSeconds=0)
    database["sessions"].create_index("until", name="until", expireAfterSeconds=0)


def _browsers(database: Database[dict[str, Any]]) -> None:
    """Create indexes to end one sign-in, or all of a person's, at the identity provider's request."""
    for field in ("sid", "subject"):
        database["sessions"].create_index(field, name=field)


def _words(database: Database[dict[str, Any]]) -> None:
    """Do nothing: search by whole words was replaced by `_parts`."""


def _parts(database: Database[dict[str, Any]]) -> None:
    """Tasks are found by parts of their names and ids."""
    tasks = database["tasks"]
    tasks.create_index([("search", ASCENDING), ("_id", DESCENDING)], name="search")
    old = {"facets": "^word=", "seen_by": " word="}
    kept = {
        name: {"$filter": {"input": f"${name}", "cond": {"$not": {"$regexMatch": {"input": "$$this", "regex": words}}}}}
        for name, words in old.items()
    }
    changes: list[UpdateOne] = []

    def write() -> None:
        if changes:
            tasks.bulk_write(changes, ordered=False)
            changes.clear()

    for row in tasks.find({"search": {"$exists": False}}, ["name", "readers"]):
        found_by = search_fields(row["_id"], row.get("name"), row["readers"])
        fields = {name: {"$literal": value} for name, value in found_by.items()}
        # What was read must still hold: who may see it may change meanwhile.
        changes.append(UpdateOne({"_id": row["_id"], "readers": row["readers"]}, [{"$set": {**kept, **fields}}]))
        if len(changes) == BATCH:
            write()
    write()


def _webhooks(database: Database[dict[str, Any]]) -> None:
    """Create the indexes of webhook attempts: one for each event and webhook, found when due, deleted after 30 days."""
    deliveries = database["webhook_deliveries"]
    deliveries.create_index([("webhook", ASCENDING), ("event", ASCENDING)], name="once", unique=True)
    deliveries.create_index([("webhook", ASCENDING), ("_id", DESCENDING)], name="webhook")
    deliveries.create_index([("due_at", ASCENDING)], name="due_at", partialFilterExpression={"state": "waiting"})
    deliveries.create_index("created_at", name="created_at", expireAfterSeconds=30 * DAY_SECONDS)


def _names(database: Database[dict[str, Any]]) -> None:
    """Create indexes that find audit entries by their subject, and dead letters by their event."""
    database["audit"].create_index([("of", ASCENDING), ("_id", DESCENDING)], name="of")
    database["dead_letters"].create_index([("event.id", ASCENDING), ("destination", ASCENDING)], name="event")


def _no_scans(database: Database[dict[str, Any]]) -> None:
    """Index what every scrape of metrics, and every night's clean-up, asks of collections that grow."""
    for collection in ("repositories", "queues"):
        database[collection].create_index("spreads", name="spreads", **_there("spreads"))
    database["document_versions"].create_index("at", name="at")
    database["dead_letters"].create_index("replayed_at", name="replayed_at")


def _addresses(database: Database[dict[str, Any]]) -> None:
    """An address is one repository's. Of several that have it already, the oldest is found by it, others by name."""
    repositories = database["repositories"]
    repositories.create_index("address", name="address", unique=True, **_there("address"))
    for row in repositories.find({"address": {"$exists": False}}, ["spec.url"]).sort([("created_at", 1), ("_id", 1)]):
        try:
            repositories.update_one(
                {"_id": row["_id"], "spec.url": row["spec"]["url"]},
                {"$set": {"address": same_address(row["spec"]["url"])}},
            )
        except DuplicateKeyError:
            log.warning("the repository %s has the address of another one; tasks find it by its name only", row["_id"])


def _deleted_entries(database: Database[dict[str, Any]]) -> None:
    """A document that is made anew begins after the versions that are kept of a deleted one of its name."""
    last = [{"$group": {"_id": "$document", "revision": {"$max": "$version"}}}]
    there = set(database["documents"].distinct("_id"))
    for row in database["document_versions"].aggregate(last):
        if row["_id"] not in there:
            past = {"$max": {"revision": row["revision"]}}
            database["deleted_entries"].update_one({"_id": f"document:{row['_id']}"}, past, upsert=True)


def _provenance(database: Database[dict[str, Any]]) -> None:
    """Statements are found while they are due, and live as long as their tasks."""
    database["tasks"].create_index("provenance_due", name="provenance_due", **_there("provenance_due"))
    database["provenance"].create_index("signed_at", name="signed_at", expireAfterSeconds=366 * DAY_SECONDS)


def _triggers(database: Database[dict[str, Any]]) -> None:
    """Indexes of deliveries: each once to a trigger, found while it is due, gone after 30 days."""
    triggers, deliveries = database["triggers"], database["deliveries"]
    _listed(triggers)
    for field in ("repository", "webhook_secret", "profile", "queue"):
        triggers.create_index(f"spec.{field}", name=field, sparse=True)
    once = [("trigger", ASCENDING), ("delivery", ASCENDING), ("replay", ASCENDING)]
    deliveries.create_index(once, name="once", unique=True)
    deliveries.create_index([("trigger", ASCENDING), ("_id", DESCENDING)], name="trigger")
    due = [("due_at", ASCENDING), ("_id", ASCENDING)]
    deliveries.create_index(due, name="due_at", partialFilterExpression={"state": "received"})
    deliveries.create_index("received_at", name="received_at", expireAfterSeconds=30 * DAY_SECONDS)
    for collection in ("trigger_events", "trigger_groups"):
        database[collection].create_index("until", name="until", expireAfterSeconds=0)


def _schedules(database: Database[dict[str, Any]]) -> None:
    """Find the triggers of whose schedule a time has come."""
    database["triggers"].create_index("due_at", name="due_at", partialFilterExpression={"due_at": {"$type": "date"}})


def _parts_of_deliveries(database: Database[dict[str, Any]]) -> None:
    """Parts of large bodies go when their deliveries do."""
    database["delivery_parts"].create_index("received_at", name="received_at", expireAfterSeconds=30 * DAY_SECONDS)
    database["delivery_parts"].create_index("trigger", name="trigger")


def _forges(database: Database[dict[str, Any]]) -> None:
    """Lists of forges, and what names one."""
    forges = database["forges"]
    _listed(forges)
    for field in ("credential", "webhook_secret"):
        forges.create_index(f"spec.{field}", name=field, sparse=True)
    database["triggers"].create_index("spec.forge", name="forge", sparse=True)


def _suspended(database: Database[dict[str, Any]]) -> None:
    """Suspended tasks are found when nobody has answered in time."""
    database["tasks"].create_index("answer_until", name="answer_until", **_there("answer_until"))
    snapshots = database["snapshots"]
    snapshots.create_index([("upload", ASCENDING), ("number", ASCENDING)], name="upload", **_there("number"))
    snapshots.create_index("expires_at", name="expires_at", expireAfterSeconds=0)


def _forge_posts(database: Database[dict[str, Any]]) -> None:
    """Add the indexes of due and sent posts to forges."""
    due = [("origin.forge", ASCENDING), ("forge_due", ASCENDING)]
    database["tasks"].create_index(due, name="forge_due", **_there("forge_due"))
    posts = database["forge_posts"]
    posts.create_index([("task", ASCENDING), ("kind", ASCENDING)], name="task")
    posts.create_index([("key", ASCENDING), ("task", DESCENDING)], name="key")
    posts.create_index("updated_at", name="updated_at", expireAfterSeconds=366 * DAY_SECONDS)


def _pushed(database: Database[dict[str, Any]]) -> None:
    """Find the task that pushed a branch."""
    pushed = [("attempt.result_branch", ASCENDING), ("_id", DESCENDING)]
    there = {"attempt.result_branch": {"$type": "string"}}
    database["tasks"].create_index(pushed, name="result_branch", partialFilterExpression=there)


def _templates(database: Database[dict[str, Any]]) -> None:
    """Lists of templates, and what names one."""
    templates = database["templates"]
    _listed(templates)
    for field in ("repository", "profile", "queue"):
        templates.create_index(f"spec.{field}", name=field, sparse=True)


def _service_accounts(database: Database[dict[str, Any]]) -> None:
    """Lists of service accounts, and the triggers that run as one."""
    _listed(database["service_accounts"])
    database["triggers"].create_index("spec.service_account", name="service_account", sparse=True)


def _spending(database: Database[dict[str, Any]]) -> None:
    """Sum up a day's spending of a queue by an index alone, and find the reservations."""
    spending = database["spending"]
    day = [
        ("queue", ASCENDING),
        ("day", ASCENDING),
        ("submitter", ASCENDING),
        ("tokens", ASCENDING),
        ("usd", ASCENDING),
    ]
    spending.create_index(day, name="day")
    spending.create_index("open", name="open", **_there("open"))
    spending.create_index("at", name="at", expireAfterSeconds=400 * DAY_SECONDS)


def _sources(database: Database[dict[str, Any]]) -> None:
    """Find the triggers that CloudEvents start."""
    database["triggers"].create_index("spec.sources", name="sources", sparse=True)


def _comparisons(database: Database[dict[str, Any]]) -> None:
    """Find the triggers that are to be compared with their forges, and what each was told of."""
    due = {"compare_at": {"$type": "date"}}
    database["triggers"].create_index("compare_at", name="compare_at", partialFilterExpression=due)
    database["forge_heads"].create_index("trigger", name="trigger")
    database["forge_heads"].create_index("until", name="until", expireAfterSeconds=0)


def _held(database: Database[dict[str, Any]]) -> None:
    """Find the deliveries that wait for someone's approval."""
    held = [("_id", DESCENDING), ("state", ASCENDING)]
    database["deliveries"].create_index(held, name="held", partialFilterExpression={"state": "held"})


def _skipped(database: Database[dict[str, Any]]) -> None:
    """Find the deliveries of whose skipping a forge is to be told."""
    database["deliveries"].create_index("skip_due", name="skip_due", **_there("skip_due"))


def _badges(database: Database[dict[str, Any]]) -> None:
    """Find the badges of a repository."""
    database["badges"].create_index("repository", name="repository")


def _notice_mails(database: Database[dict[str, Any]]) -> None:
    """Find whom an e-mail is due to, and who watches a repository, a queue or a template."""
    database["notice_mails"].create_index("due_at", name="due_at", **_there("due_at"))
    database["favourites"].create_index("entries", name="entries")


def _agents_images(database: Database[dict[str, Any]]) -> None:
    """The ready profiles of coding agents name no image, where nobody has changed them: the settings say which."""
    for name, image in PLAIN_IMAGES.items():
        untouched = {"_id": name, "updated_by": "keruta", "revision": 1, "spec.image": image}
        database["profiles"].update_one(untouched, {"$set": {"spec.image": None}})


# In order; what has been released is never changed, only followed.
MIGRATIONS: tuple[Migration, ...] = (
    _first,
    _logs,
    _dead_letters,
    _catalog,
    _ready,
    _ends,
    _identity,
    _browsers,
    _words,
    _webhooks,
    _names,
    _no_scans,
    _addresses,
    _deleted_entries,
    _parts,
    _provenance,
    _triggers,
    _schedules,
    _parts_of_deliveries,
    _forges,
    _suspended,
    _forge_posts,
    _pushed,
    _templates,
    _sources,
    _comparisons,
    _held,
    _skipped,
    _service_accounts,
    _badges,
    _spending,
    _notice_mails,
    _agents_images,
)


def ensure_schema(database: Database[dict[str, Any]]) -> None:
    """Brings the database to this version's schema: at once if it is there already.

    Each migration may be run by several processes at a time and again after a crash: it is written so.
    """
    schema = database["schema"]
    version = _version(schema)
    if version >= len(MIGRATIONS):
        return
    for number in range(version, len(MIGRATIONS)):
        _again(functools.partial(MIGRATIONS[number], database))
        step = {"$max": {"version": number + 1}}
        _again(functools.partial(schema.update_one, {"_id": "schema"}, step, upsert=True))


def _version(schema: Any) -> int:
    found = schema.find_one({"_id": "schema"})
    return int(found["version"]) if found else 0


# Two processes that make the same document collide: again after 50 ms, six times in all, 250 ms together.
_again = Retrying(
    stop=stop_after_attempt(6), wait=wait_fixed(0.05), retry=retry_if_exception_type(DuplicateKeyError), reraise=True
)
