"""The catalog on a real database: entries and their revisions, references, versions, search, import and export."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from keruta.adapters.encryption import CannotOpenError, Sealer, new_sealing_key
from keruta.adapters.mongo.transfer import MongoTransfer
from keruta.domain.catalog.common import Wanted
from keruta.domain.catalog.credentials import CredentialSpec
from keruta.domain.catalog.documents import DocumentSpec
from keruta.domain.catalog.profiles import ProfileSpec
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.errors import Conflict, InvalidRequest, NotFound, PreconditionFailed
from keruta.files import write_private
from keruta.services.task_commands import refuse_queued
from tests.support.world import ANN, BOB, READERS, World, person

SECRET = "s3cr3t-value-of-this-test"
READY_PROFILES = ["aider", "claude-code", "codex", "node", "python", "shell"]


def names(world: World, kind: str, **wanted: Any) -> list[str]:
    return [item.name for item in world.catalogs[kind].page(ANN, Wanted(**wanted))[0]]


def queue(name: str = "nightly", **fields: Any) -> QueueSpec:
    return QueueSpec(name=name, **fields)


# ---------------------------------------------------------------- entries and revisions


def test_what_a_new_installation_has(world: World) -> None:
    """The ready profiles and the default queue, as entries like any other."""
    assert names(world, "profile") == READY_PROFILES
    assert names(world, "queue") == ["default"]
    taking = [name for name in READY_PROFILES if world.catalogs["profile"].show(ANN, name).coding_agent is not None]
    assert taking == ["aider", "claude-code", "codex"]


def test_an_entry_lives_from_create_to_delete(world: World) -> None:
    queues = world.catalogs["queue"]

    made = queues.create(ANN, queue(max_running=3))
    changed = queues.replace(BOB, "nightly", queue(max_running=5), made.meta.revision)
    queues.delete(ANN, "nightly", changed.meta.revision, force=False)

    assert (made.meta.revision, changed.meta.revision) == (1, 2)
    assert (changed.max_running, changed.meta.updated_by) == (5, "bob")
    assert changed.meta.updated_at >= changed.meta.created_at
    with pytest.raises(NotFound):
        queues.show(ANN, "nightly")
    record = world.catalogs.audit.page(who=None, kind="queue", of="nightly", limit=9, cursor=None).items
    assert [(entry.who, entry.action, entry.changes) for entry in record] == [
        ("ann", "delete", []),
        ("bob", "change", ["max_running"]),
        ("ann", "create", []),
    ]


def test_two_people_edit_one_entry(world: World) -> None:
    """The second is told, with the differences named, and nothing is lost."""
    queues = world.catalogs["queue"]
    queues.create(ANN, queue())
    queues.replace(ANN, "nightly", queue(max_running=3), 1)

    with pytest.raises(PreconditionFailed) as caught:
        queues.replace(BOB, "nightly", queue(weight=2.0), 1)

    assert caught.value.etag == '"2"'
    assert "ann changed it meanwhile, to revision 2" in caught.value.message.text
    assert {fault["at"]: fault["message"] for fault in caught.value.faults} == {
        "/max_running": "You have null; the current value is 3.",
        "/weight": "You have 2.0; the current value is 1.0.",
    }
    assert queues.show(ANN, "nightly").max_running == 3


def test_of_many_who_change_one_revision_at_once_one_wins(world: World) -> None:
    queues = world.catalogs["queue"]
    queues.create(ANN, queue())
    outcomes: list[str] = []

    def change(number: int) -> None:
        try:
            queues.replace(person(f"p{number}"), "nightly", queue(max_running=number), 1)
            outcomes.append("won")
        except PreconditionFailed:
            outcomes.append("told")

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["told"] * 7 + ["won"]
    assert queues.show(ANN, "nightly").meta.revision == 2


def test_a_change_that_changes_nothing(world: World) -> None:
    """Neither the revision nor the audit record moves."""
    queues = world.catalogs["queue"]
    queues.create(ANN, queue(max_running=3))

    again = queues.replace(BOB, "nightly", queue(max_running=3), None)

    assert again.meta.revision == 1
    assert len(world.catalogs.audit.page(who="bob", kind=None, of=None, limit=9, cursor=None).items) == 0


def test_a_name_is_taken_once(world: World) -> None:
    world.catalogs["queue"].create(ANN, queue(max_running=1))

    with pytest.raises(Conflict, match="already"):
        world.catalogs["queue"].create(BOB, queue(max_running=2))

    assert world.catalogs["queue"].show(ANN, "nightly").max_running == 1


def test_what_is_named_must_be_there(world: World) -> None:
    """An entry that names another says where, and changes nothing."""
    with pytest.raises(InvalidRequest) as caught:
        world.catalogs["repository"].create(
            ANN,
            RepositorySpec(name="app", url="https://example.com/a.git", read_credential="none", default_profile="no"),
        )

    assert [fault["at"] for fault in caught.value.faults] == ["/read_credential", "/default_profile"]
    assert names(world, "repository") == []


def test_what_is_used_can_not_be_deleted(world: World) -> None:
    """A credential says what uses it; force does not help."""
    world.catalogs["credential"].create(ANN, CredentialSpec(name="bot", type="secret", value=SECRET))
    world.catalogs["profile"].create(ANN, ProfileSpec(name="agent", secrets={"API_KEY": "bot"}))
    world.catalogs["repository"].create(
        ANN, RepositorySpec(name="app", url="https://example.com/a.git", default_profile="agent")
    )

    assert world.catalogs["credential"].show(ANN, "bot").used_by == ["profile agent"]
    for kind, name, user in (("credential", "bot", "profile agent"), ("profile", "agent", "repository app")):
        with pytest.raises(Conflict) as caught:
            world.catalogs[kind].delete(ANN, name, None, force=True)
        assert [fault["at"] for fault in caught.value.faults] == [user]


def test_a_page_of_credentials_says_of_each_what_uses_it(world: World) -> None:
    """By any field of any kind, each user once, and nothing of another's."""
    for name in ("bot", "deploy", "idle"):
        world.catalogs["credential"].create(ANN, CredentialSpec(name=name, type="token", token=SECRET))
    world.catalogs["profile"].create(ANN, ProfileSpec(name="agent", secrets={"A": "bot", "B": "bot"}))
    for name, fields in (
        ("app", {"read_credential": "bot", "push_credential": "bot"}),
        ("site", {"read_credential": "bot", "push_credential": "deploy"}),
    ):
        url = f"https://example.com/{name}.git"
        world.catalogs["repository"].create(ANN, RepositorySpec(name=name, url=url, **fields))

    items, _ = world.catalogs["credential"].page(ANN, Wanted())

    assert {item.name: item.used_by for item in items} == {
        "bot": ["profile agent", "repository app", "repository site"],
        "deploy": ["repository site"],
        "idle": [],
    }


def test_deleting_what_queued_tasks_need(world: World) -> None:
    """Refused with their count; with force those tasks fail with a reason, and others are left alone."""
    world.catalogs["repository"].create(ANN, RepositorySpec(name="app", url="https://example.com/a.git"))
    needing = [world.submit(repository="app") for _ in range(3)]
    other = world.submit(url="https://example.com/b.git")
    with pytest.raises(Conflict, match="3 tasks"):
        world.catalogs["repository"].delete(ANN, "app", None, force=False)

    world.catalogs["repository"].delete(ANN, "app", None, force=True)
    refused = refuse_queued(world.commands, ANN, "repository", "app")

    assert refused == 3
    for task_id in needing:
        task = world.task(task_id)
        assert (task.status, task.reason) == ("failed", "ResourceDeleted")
        assert "deleted by ann" in (task.message or "")
    assert world.task(other).status == "queued"


def test_lists_go_page_by_page_in_every_order(world: World) -> None:
    for number in (3, 1, 2, 5, 4):
        world.catalogs["queue"].create(ANN, queue(f"q{number}"))
    world.catalogs["queue"].replace(ANN, "q1", queue("q1", weight=9), None)

    def all_of(sort: str) -> list[str]:
        found: list[str] = []
        cursor = None
        while True:
            items, cursor = world.catalogs["queue"].page(ANN, Wanted(sort=sort, limit=2, cursor=cursor))
            found += [item.name for item in items]
            if cursor is None:
                return found

    assert all_of("name") == ["default", "q1", "q2", "q3", "q4", "q5"]
    assert all_of("-name") == ["q5", "q4", "q3", "q2", "q1", "default"]
    assert all_of("updated") == ["default", "q3", "q2", "q5", "q4", "q1"]
    assert all_of("-updated") == ["q1", "q4", "q5", "q2", "q3", "default"]
    for wrong in ({"cursor": "x"}, {"cursor": "W10"}, {"sort": "no"}):
        with pytest.raises(InvalidRequest):
            world.catalogs["queue"].page(ANN, Wanted(**wrong))


# ---------------------------------------------------------------- credentials


def test_a_credential_is_sealed_and_never_shown(world: World) -> None:
    credentials = world.catalogs["credential"]
    made = credentials.create(ANN, CredentialSpec(name="bot", type="token", username="bot", token=SECRET))

    assert SECRET not in repr(made) + repr(CredentialSpec(name="x", type="secret", value=SECRET))
    for name in world.database.list_collection_names(filter={"name": {"$not": {"$regex": "^system"}}}):
        for row in world.database[name].find():
            assert SECRET not in repr(row), name
    assert made.fingerprint
    row = world.database["credentials"].find_one({"_id": "bot"})
    assert row is not None
    assert world.sealer.open("bot", row["sealed"]) == {"token": SECRET}


def test_a_change_without_the_value_keeps_it(world: World) -> None:
    """A write-only value can't be sent back; a new value makes a new revision, which only says that it changed."""
    credentials = world.catalogs["credential"]
    first = credentials.create(ANN, CredentialSpec(name="bot", type="token", username="bot", token=SECRET))

    kept = credentials.replace(ANN, "bot", CredentialSpec(name="bot", type="token", username="b2"), 1)
    other = credentials.replace(
        ANN, "bot", CredentialSpec(name="bot", type="token", username="b2", token="another-value"), 2
    )

    assert kept.fingerprint == first.fingerprint
    assert (other.meta.revision, other.fingerprint == first.fingerprint) == (3, False)
    entry = world.catalogs.audit.page(who=None, kind="credential", of="bot", limit=1, cursor=None).items[0]
    assert entry.changes == ["token"]


def test_a_value_of_another_kind_is_not_kept(world: World) -> None:
    world.catalogs["credential"].create(ANN, CredentialSpec(name="bot", type="secret", value=SECRET))

    with pytest.raises(InvalidRequest, match="/token"):
        world.catalogs["credential"].replace(ANN, "bot", CredentialSpec(name="bot", type="token", username="bot"), None)


def test_one_sealed_value_can_not_stand_in_for_another(world: World) -> None:
    """Whoever can write to the database can't have a value opened under another name."""
    for name in ("mine", "theirs"):
        world.catalogs["credential"].create(ANN, CredentialSpec(name=name, type="secret", value=SECRET + name))
    stolen = world.database["credentials"].find_one({"_id": "theirs"})
    assert stolen is not None

    with pytest.raises(CannotOpenError, match="sealed for another"):
        world.sealer.open("mine", stolen["sealed"])


def test_a_key_is_replaced(world: World) -> None:
    """Sealed anew by the first key; then the old one may go."""
    world.catalogs["credential"].create(ANN, CredentialSpec(name="bot", type="secret", value=SECRET))
    path = world.settings.credentials_key
    old, new = path.read_bytes(), new_sealing_key()
    write_private(path, new + old)

    assert world.catalogs.credentials.seal_again() == 1
    write_private(path, new)

    row = world.database["credentials"].find_one({"_id": "bot"})
    assert row is not None
    assert Sealer(path).open("bot", row["sealed"]) == {"value": SECRET}
    write_private(path, old)
    with pytest.raises(CannotOpenError):
        Sealer(path).open("bot", row["sealed"])


# ---------------------------------------------------------------- documents


def document(name: str, text: str, title: str = "A title", **fields: Any) -> DocumentSpec:
    return DocumentSpec(name=name, title=title, text=text, **fields)


def test_every_version_of_a_document_is_kept(world: World) -> None:
    documents = world.catalogs["document"]
    documents.create(ANN, document("style", "first"))
    documents.replace(BOB, "style", document("style", "second"), 1)

    versions = world.catalogs.documents.versions(ANN, "style", limit=10, cursor=None).items

    assert [(one.version, one.by) for one in versions] == [(2, "bob"), (1, "ann")]
    assert world.catalogs.documents.version(ANN, "style", 1).text == "first"
    assert documents.show(ANN, "style").text == "second"


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("東京", ["tokyo"]),
        ("京都", ["kyoto"]),  # 東京都庁 holds 京都 as well, in a row: see below
        ("都庁", ["tokyo"]),
        ("コーディング規約", ["style"]),
        ("規約 テスト", ["style"]),
        ("猫", ["cat"]),
        ("がき", ["gaki"]),
        ("かき", ["kaki"]),
        ("ＡＰＩ", ["style"]),
        ("review", ["english"]),
        ("Review testing", ["english"]),
        ("reviewer", []),
        ("안녕", ["korean"]),
    ],
)
def test_documents_are_found_by_their_words_in_any_script(world: World, search: str, found: list[str]) -> None:
    """Scripts without spaces are found by any part; full-width is as half-width; が is not か."""
    texts = {
        "tokyo": "新宿の東京 都庁に行く",
        "kyoto": "京都の寺",
        "style": "コーディング規約。テストを書く。API の名前は英語で。",
        "cat": "吾輩は猫である",
        "gaki": "がきの使い",
        "kaki": "かきの料理",
        "english": "How we review and what testing means",
        "korean": "안녕하세요",
    }
    for name, text in texts.items():
        world.catalogs["document"].create(ANN, document(name, text))

    expected = sorted({*found, *(["tokyo"] if search == "京都" and "東京都" in texts["tokyo"] else [])})
    assert names(world, "document", search=search) == expected


def test_ten_thousand_documents(world: World) -> None:
    """Pages by an index; no page reads more than it shows."""
    world.catalogs["document"].create(ANN, document("d", "text", tags=["a"]))
    model = world.database["documents"].find_one({"_id": "d"})
    assert model is not None
    copies = [{**model, "_id": f"d{n:05}", "spec": {**model["spec"], "name": f"d{n:05}"}} for n in range(10_000)]
    world.database["documents"].insert_many(copies, ordered=False)

    assert len(names(world, "document", limit=200)) == 200
    assert len(names(world, "document", filters={"tags": "a"}, sort="-updated", limit=50)) == 50

    plan = world.database.command(
        "explain",
        {
            "find": "documents",
            "filter": {"seen_by": {"$in": [f"{reader} tags=a" for reader in READERS]}},
            "sort": {"updated_at": -1, "_id": -1},
            "hint": "seen_by_updated",
            "limit": 51,
        },
        verbosity="executionStats",
    )
    assert plan["executionStats"]["totalDocsExamined"] <= 51
    assert "'SORT'" not in str(plan["queryPlanner"]["winningPlan"])


# ---------------------------------------------------------------- import and export


@pytest.fixture
def transfer(world: World) -> MongoTransfer:
    return MongoTransfer(world.database, world.catalogs)


def test_what_was_exported_comes_in_again_and_changes_nothing(world: World, transfer: MongoTransfer) -> None:
    world.catalogs["credential"].create(ANN, CredentialSpec(name="bot", type="token", username="bot", token=SECRET))
    world.catalogs["document"].create(ANN, document("style", "# 規約\n\n  - two: lines\n", tags=["x"]))
    world.catalogs["repository"].create(
        ANN, RepositorySpec(name="app", url="https://example.com/a.git", read_credential="bot", setup=["make deps\n"])
    )

    text = transfer.export()
    result = transfer.bring_in(BOB, text, dry_run=False)

    assert SECRET not in text
    assert "規約" in text
    assert (result.created, result.changed) == (0, 0)
    assert result.unchanged == 4 + len(READY_PROFILES)
    assert transfer.export() == text


def test_an_import_does_all_of_it(world: World, transfer: MongoTransfer) -> None:
    """In any order: what it names may come with it."""
    text = """
kind: repository
name: app
url: https://example.com/a.git
default_profile: go
---
kind: profile
name: go
image: golang:1.22
---
kind: queue
name: default
weight: 2
"""
    dry = transfer.bring_in(ANN, text, dry_run=True)
    assert (dry.created, dry.changed, names(world, "repository")) == (2, 1, [])

    done = transfer.bring_in(ANN, text, dry_run=False)
    again = transfer.bring_in(ANN, text, dry_run=False)

    assert [(one.action, one.kind, one.name) for one in done.entries] == [
        ("create", "profile", "go"),
        ("create", "repository", "app"),
        ("change", "queue", "default"),
    ]
    assert (again.created, again.changed, again.unchanged) == (0, 0, 3)
    assert world.catalogs["queue"].show(ANN, "default").weight == 2


def test_a_wrong_document_changes_nothing_and_names_every_line(world: World, transfer: MongoTransfer) -> None:
    text = """kind: queue
name: good
---
kind: queue
name: ../x
weight: heavy
---
kind: profile
name: p
setup:
  - ok
  - 3
colour: red
---
kind: nothing
"""
    with pytest.raises(InvalidRequest) as caught:
        transfer.bring_in(ANN, text, dry_run=False)

    assert [fault["at"] for fault in caught.value.faults] == [
        "line 5: /name",
        "line 6: /weight",
        "line 13: /colour",
        "line 12: /setup/1",
        "line 15",
    ]
    assert names(world, "queue") == ["default"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("kind: queue\nname: a\nname: b\n", "line 3", "twice"),
        ("kind: queue\nname: a\n---\nkind: queue\nname: a\n", "line 4", "already"),
        ("a: [1\n", "line 2", "not YAML"),
        ("- 1\n", "line 1", "Expected an entry"),
        ("kind: &a queue\nname: *a\n", "line 1", "Anchors"),
        ("kind: !!python/object:os.system x\n", "line 1", "tags"),
        ("kind: queue\n? [a]\n: b\nname: q\n", "line 2", "key must be a text"),
        (
            "kind: repository\nname: r\nurl: https://a/b.git\nread_credential: c\n",
            "line 4: /read_credential",
            "no cred",
        ),
        ("kind: credential\nname: c\nkind_: x\n", "line 3: /kind_", "no such field"),
    ],
)
def test_what_no_import_takes(world: World, transfer: MongoTransfer, text: str, line: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        transfer.bring_in(ANN, text, dry_run=False)

    assert any(fault["at"] == line and said in fault["message"] for fault in caught.value.faults), caught.value.faults
