"""Grants on repositories and queues: what may not be seen does not exist, what may not be run or changed is refused."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keruta.adapters.encryption import CannotOpenError
from keruta.adapters.mongo.access_propagation import Spreading
from keruta.adapters.mongo.credential_lookup import MongoOpening
from keruta.adapters.mongo.schema import _addresses
from keruta.adapters.mongo.transfer import MongoTransfer
from keruta.domain.catalog.access import Access, CredentialAccess
from keruta.domain.catalog.credentials import CredentialSpec
from keruta.domain.catalog.documents import DocumentSpec
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.principal import Principal
from keruta.domain.repository import DEFAULT_TRANSPORTS
from keruta.domain.submission import grant_missing, make_task
from keruta.domain.task import RepositoryAsk, TaskRequest
from keruta.domain.task_list import TaskFilter
from keruta.errors import Conflict, Forbidden, InvalidRequest, NotFound
from keruta.services.task_commands import cancel, retry
from tests.support.world import World

URL = "https://example.com/app.git"


def person(name: str, *roles: str, groups: tuple[str, ...] = ()) -> Principal:
    return Principal(subject=f"id-of-{name}", name=name, roles=frozenset(roles), groups=frozenset(groups))


ADMIN = person("ada", "admin")
READER = person("rae", "developer", groups=("readers",))
RUNNER = person("rob", "developer")
KEEPER = person("kim", "developer")
STRANGER = person("sam", "developer")
ACCESS = Access(read=["group:readers"], run=["name:rob"], manage=["user:id-of-kim"])


def repository(world: World, access: Access | None = ACCESS) -> None:
    world.catalogs["repository"].create(ADMIN, RepositorySpec(name="app", url=URL, access=access))


def submit(world: World, who: Principal, **fields: Any) -> str:
    request = TaskRequest(repository="app", script="true", **fields)
    found = world.lookup.find(who.names, request)
    task, faults = make_task("", request, who.subject, found, DEFAULT_TRANSPORTS)
    assert task is not None, faults
    assert grant_missing(found, who.names) is None
    return world.submit(owner=who.subject, repository="app", lookup_as=who.names, **fields)


def listed(world: World, who: Principal, **wanted: Any) -> list[str]:
    page = world.reading.page(who, TaskFilter(**wanted), limit=50, cursor=None)
    return [item.id for item in page.items]


def test_who_may_run_no_more_retries_nothing(world: World) -> None:
    """Their own failed task on an entry whose grants were changed since."""
    repository(world)
    task_id = submit(world, RUNNER)
    world.worker()
    world.assign()
    world.start(task_id)
    world.end(task_id, status="failed", reason="ScriptFailed", message="x", exit_code=1)
    world.catalogs["repository"].replace(
        ADMIN, "app", RepositorySpec(name="app", url=URL, access=Access(run=["name:sam"])), None
    )

    with pytest.raises(Forbidden):
        retry(world.commands, RUNNER, task_id)
    assert world.task(task_id).status == "failed"
    retry(world.commands, ADMIN, task_id)
    assert world.task(task_id).status == "queued"


def test_what_may_not_be_seen_does_not_exist(world: World) -> None:
    """Neither the entry, nor its tasks: in lists, by their identity, by their log."""
    repository(world)
    task_id = submit(world, RUNNER)

    for who in (ADMIN, READER, RUNNER, KEEPER):
        assert world.catalogs["repository"].show(who, "app").name == "app"
        assert listed(world, who) == [task_id]
        assert listed(world, who, facets=["repository=app"]) == [task_id]
        assert world.reading.task(who, task_id).id == task_id
    with pytest.raises(NotFound):
        world.catalogs["repository"].show(STRANGER, "app")
    assert listed(world, STRANGER) == []
    assert listed(world, STRANGER, status="queued") == []
    for look in (world.reading.task, lambda who, one: world.reading.log_attempt(who, one, None)):
        with pytest.raises(NotFound):
            look(STRANGER, task_id)


def test_who_may_see_and_not_run(world: World) -> None:
    repository(world)
    request = TaskRequest(repository="app", script="true")

    missing = {who.name: grant_missing(world.lookup.find(who.names, request), who.names) for who in
               (ADMIN, READER, RUNNER, KEEPER)}  # fmt: skip

    assert [name for name, said in missing.items() if said] == ["rae"]
    assert missing["rae"] is not None
    assert "not run tasks on it" in str(missing["rae"])


def test_a_task_is_its_submitters_and_theirs_who_manage_what_it_is_on(world: World) -> None:
    world.catalogs["queue"].create(ADMIN, QueueSpec(name="slow", access=Access(manage=["name:quin"])))
    repository(world, None)
    keeper_of_queue = person("quin", "developer")
    allowed = []
    for who in (ADMIN, READER, RUNNER, KEEPER, STRANGER, keeper_of_queue):
        task_id = world.submit(owner=RUNNER.subject, repository="app", queue="slow", lookup_as=ADMIN.names)
        try:
            cancel(world.commands, who, task_id)
            allowed.append(who.name)
        except (Forbidden, NotFound):  # the queue's grants hide it from some
            continue

    assert allowed == ["ada", "rob", "quin"]


def test_without_grants_a_developer_cancels_their_own_only(world: World) -> None:
    repository(world, None)
    task_id = submit(world, RUNNER)

    with pytest.raises(Forbidden, match="its submitter"):
        cancel(world.commands, STRANGER, task_id)
    cancel(world.commands, RUNNER, task_id)

    assert world.task(task_id).status == "cancelled"


def test_who_manages_an_entry_changes_it_and_others_do_not(world: World) -> None:
    repository(world)
    catalog = world.catalogs["repository"]
    for who in (READER, RUNNER):
        with pytest.raises(Forbidden):
            catalog.replace(who, "app", RepositorySpec(name="app", url=URL), None)
        with pytest.raises(Forbidden):
            catalog.delete(who, "app", None, force=True)
    with pytest.raises(NotFound):
        catalog.delete(STRANGER, "app", None, force=True)

    spec = RepositorySpec(name="app", url=URL, description="x", access=ACCESS)
    changed = catalog.replace(KEEPER, "app", spec, None)

    assert (changed.description, changed.meta.updated_by) == ("x", "kim")


def test_a_change_of_grants_reaches_the_tasks_that_are_there(world: World) -> None:
    """Those that ended long ago, too; and back again."""
    repository(world, None)
    task_id = submit(world, RUNNER)
    before = world.document(task_id)
    catalog = world.catalogs["repository"]

    catalog.replace(ADMIN, "app", RepositorySpec(name="app", url=URL, access=ACCESS), None)
    hidden = [who.name for who in (ADMIN, READER, RUNNER, KEEPER, STRANGER) if not listed(world, who)]
    managed = world.document(task_id)["managers"]
    found = listed(world, READER, facets=["queue=default"])
    catalog.replace(ADMIN, "app", RepositorySpec(name="app", url=URL), None)

    assert hidden == ["sam"]
    assert set(managed) == {"role:admin", "user:id-of-rob", "user:id-of-kim"}
    assert found == [task_id]
    assert listed(world, STRANGER) == [task_id]
    assert world.document(task_id)["seen_by"] == before["seen_by"]


def test_a_change_that_was_cut_short_is_finished(world: World) -> None:
    """As if the process had died between the entry and its tasks."""
    repository(world, None)
    task_id = submit(world, RUNNER)
    world.database["repositories"].update_one(
        {"_id": "app"}, {"$set": {"spec.access": {"read": ["name:rae"]}, "spreads": True}}
    )
    seen = listed(world, STRANGER)

    done = Spreading(world.database).finish()

    assert (seen, done, listed(world, STRANGER)) == ([task_id], 1, [])
    assert Spreading(world.database).finish() == 0


def test_a_queues_grants_hold_where_the_repository_has_none(world: World) -> None:
    world.catalogs["queue"].create(ADMIN, QueueSpec(name="secret", access=Access(run=["name:rob"])))
    repository(world, None)
    task_id = submit(world, RUNNER, queue="secret")

    assert (listed(world, RUNNER), listed(world, STRANGER)) == ([task_id], [])
    world.catalogs["queue"].replace(ADMIN, "secret", QueueSpec(name="secret"), None)
    assert listed(world, STRANGER) == [task_id]


# ---------------------------------------------------------------- credentials and addresses

TOKEN = CredentialSpec(
    name="bot", type="token", username="bot", token="s3cret-of-the-bot", hosts=["example.com"],
    access=CredentialAccess(read=["name:kim"], use=["name:rob"]),
)  # fmt: skip


def with_credential(world: World, spec: CredentialSpec = TOKEN) -> None:
    world.catalogs["credential"].create(ADMIN, spec)
    world.catalogs["repository"].create(
        ADMIN, RepositorySpec(name="app", url=URL, read_credential="bot", access=ACCESS)
    )


def test_who_manages_a_repository_does_not_send_its_credential_elsewhere(world: World) -> None:
    """Neither by another address, nor by naming somebody else's credential; the rest is theirs to change."""
    with_credential(world)
    catalog = world.catalogs["repository"]

    def change(**fields: Any) -> Any:
        spec = RepositorySpec(**{"name": "app", "url": URL, "read_credential": "bot", "access": ACCESS, **fields})
        return catalog.replace(KEEPER, "app", spec, None)

    for fields in ({"url": "https://evil.example.org/app.git"}, {"url": "https://example.com/other.git"},
                   {"push_credential": "bot"}):  # fmt: skip
        with pytest.raises(Forbidden):
            change(**fields)
    assert change(description="ours").description == "ours"
    assert change(read_credential=None).read_credential is None
    with pytest.raises(Forbidden):
        change()


def test_a_credential_stays_with_its_hosts_whoever_asks(world: World) -> None:
    """An administrator's entry, an import and a specification refuse another host, too."""
    with_credential(world)
    elsewhere = "https://evil.example.org/app.git"
    with pytest.raises(InvalidRequest) as caught:
        world.catalogs["repository"].replace(
            ADMIN, "app", RepositorySpec(name="app", url=elsewhere, read_credential="bot"), None
        )
    transfer = MongoTransfer(world.database, world.catalogs)
    for dry_run in (True, False):
        with pytest.raises(InvalidRequest):
            transfer.bring_in(
                ADMIN, f"kind: repository\nname: other\nurl: {elsewhere}\nread_credential: bot\n", dry_run=dry_run
            )
    world.worker()
    world.database["repositories"].update_one({"_id": "app"}, {"$set": {"spec.url": elsewhere}})
    submit(world, RUNNER)
    world.assign()
    specification = world.assigned("w1")[0].specification
    assert specification is not None
    assert specification.fault is not None

    assert caught.value.faults[0]["at"] == "/read_credential"
    assert (specification.fault.reason, specification.read) == ("CredentialMissing", None)
    with pytest.raises(CannotOpenError, match="may not be sent"):
        MongoOpening(world.database, world.sealer).of("bot", elsewhere)


def test_an_address_is_one_repositorys(world: World) -> None:
    """However it is written; the other is named to those who may see it only."""
    repository(world)
    catalog = world.catalogs["repository"]
    catalog.create(
        ADMIN, RepositorySpec(name="mine", url="https://example.com/mine.git", access=Access(manage=["name:sam"]))
    )

    for url in ("https://EXAMPLE.com:443/app/", "https://example.com/x/../app.git"):
        with pytest.raises(Conflict, match="app") as shown:
            catalog.create(ADMIN, RepositorySpec(name="thief", url=url))
        with pytest.raises(Conflict) as hidden:
            catalog.replace(
                STRANGER, "mine", RepositorySpec(name="mine", url=url, access=Access(manage=["name:sam"])), None
            )
        assert "repository app " in str(shown.value)
        assert "repository app " not in str(hidden.value)


def test_a_submit_by_address_takes_no_entry_that_its_submitter_may_not_run(world: World) -> None:
    """Whoever has it; who may run it gets it, however the address is written."""
    repository(world)
    request = TaskRequest(repository=RepositoryAsk(url="https://EXAMPLE.com/app/"), script="true")

    chosen = {who.name: world.lookup.find(who.names, request).repository for who in (RUNNER, READER, STRANGER)}

    assert {name for name, found in chosen.items() if found is not None} == {"rob"}


@pytest.mark.own_database
def test_entries_of_one_address_that_are_there_already_are_found_by_name(world: World) -> None:
    """The oldest has the address; none is lost."""
    repository(world, None)
    world.database["repositories"].drop_index("address")
    row = world.database["repositories"].find_one({"_id": "app"})
    assert row is not None
    world.database["repositories"].insert_one({**row, "_id": "later", "spec": {**row["spec"], "name": "later"},
                                               "created_at": row["created_at"] + timedelta(days=1)})  # fmt: skip
    world.database["repositories"].update_many({}, {"$unset": {"address": ""}})

    for _ in range(2):
        _addresses(world.database)

    found = world.database["repositories"].find({"address": {"$exists": True}}).distinct("_id")
    assert found == ["app"]
    assert world.catalogs["repository"].show(ADMIN, "later").name == "later"


def test_documents_and_credentials_can_be_hidden(world: World) -> None:
    """With grants they are theirs alone who have one, in every version."""
    documents = world.catalogs["document"]
    documents.create(ADMIN, DocumentSpec(name="plans", title="Plans", text="one"))
    documents.replace(ADMIN, "plans", DocumentSpec(name="plans", title="Plans", access=Access(read=["name:rae"])), None)
    world.catalogs["credential"].create(ADMIN, TOKEN)

    assert documents.show(READER, "plans").name == "plans"
    assert world.catalogs["credential"].show(RUNNER, "bot").name == "bot"
    for look in (
        lambda: documents.show(STRANGER, "plans"),
        lambda: world.catalogs.documents.versions(STRANGER, "plans", limit=5, cursor=None),
        lambda: world.catalogs.documents.version(STRANGER, "plans", 1),
        lambda: documents.replace(STRANGER, "plans", DocumentSpec(name="plans", title="x"), None),
        lambda: world.catalogs["credential"].show(STRANGER, "bot"),
    ):
        with pytest.raises(NotFound):
            look()


def test_an_entry_that_may_not_be_seen_can_not_be_named(world: World) -> None:
    """The refusal is the same as for a missing entry."""
    with_credential(world)
    spec = RepositorySpec(name="app", url=URL, read_credential="bot", push_credential="hidden", access=ACCESS)
    hidden = CredentialSpec(name="hidden", type="token", username="x", token="y", hosts=["example.com"],
                            access=CredentialAccess(use=["name:olga"]))  # fmt: skip

    def said() -> str:
        with pytest.raises(InvalidRequest) as caught:
            world.catalogs["repository"].replace(KEEPER, "app", spec, None)
        return str(caught.value)

    before = said()
    world.catalogs["credential"].create(ADMIN, hidden)
    assert said() == before
