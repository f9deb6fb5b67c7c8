"""The small use cases: sizing the pool, submitting, the catalog, people and their keys, webhooks."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from keruta.adapters.mongo.tasks import new_document, to_view
from keruta.domain.catalog.access import Access
from keruta.domain.catalog.profiles import ProfileSpec
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import Validation
from keruta.domain.events import Event
from keruta.domain.messages import Message, message
from keruta.domain.principal import Principal
from keruta.domain.scaling import Bounds, WorkerState
from keruta.domain.submission import Found
from keruta.domain.task import NewTask, RepositoryAsk, TaskRequest
from keruta.domain.users import ApiKeyRequest
from keruta.domain.webhooks import SECRET_PREFIX, WebhookRequest
from keruta.errors import Conflict, Forbidden, InvalidRequest, NotFound, PoolError
from keruta.ports import Accepted, IdempotencyKey
from keruta.services import catalog, users, webhooks
from keruta.services.autoscaler import resize
from keruta.services.submit import submit
from keruta.settings import Settings
from tests.support.memory import START, RecordedTracing
from tests.support.memory_world import ANN, MemoryWorld

ADMIN = Principal(subject="root", name="Root", roles=frozenset({"admin", "developer"}))


class Recorder:
    """Stands for a port: remembers each call, and answers with what it is given."""

    def __init__(self, **answers: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        def called(*arguments: Any, **more: Any) -> Any:
            self.calls.append((name, *arguments, *more.values()))
            answer = self._answers.get(name)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return called


# ---------------------------------------------------------------- the pool


class Pool:
    """A pool's store and its provider at once."""

    def __init__(self, tasks: int = 0, *, turn: bool = True, fails: bool = False) -> None:
        self.count, self.turn, self.fails = tasks, turn, fails
        self.peak = 0
        self.sized: list[int] = []
        self.drained: list[list[str]] = []
        self.ended: list[tuple[int, Message | None]] = []

    def take_turn(self) -> bool:
        return self.turn

    def end_turn(self, wanted: int, problem: Message | None) -> None:
        self.ended.append((wanted, problem))

    def tasks(self, most: int) -> int:
        return min(self.count, most)

    def highest(self, wanted: int, seconds: float) -> int:
        return max(wanted, self.peak)

    def workers(self) -> Mapping[str, WorkerState]:
        return {"w1": WorkerState(id="w1")}

    def drain(self, workers: Collection[str]) -> None:
        self.drained.append(list(workers))

    def resize(self, wanted: int, workers: Mapping[str, WorkerState]) -> Collection[str]:
        if self.fails:
            raise PoolError(message("task_moved"))
        self.sized.append(wanted)
        return list(workers)


BOUNDS = Bounds(least=1, most=4, slots=2, calm_seconds=60)


@pytest.mark.parametrize(("tasks", "wanted"), [(0, 1), (2, 1), (3, 2), (8, 4), (9, 4), (100, 4)])
def test_the_pool_is_as_large_as_its_tasks_need_within_bounds(tasks: int, wanted: int) -> None:
    """Workers that the provider gives up are drained; the turn ends without a problem."""
    pool = Pool(tasks)

    resize(pool, pool, BOUNDS)

    assert pool.sized == [wanted]
    assert pool.drained == [["w1"]]
    assert pool.ended == [(wanted, None)]


def test_the_pool_shrinks_only_after_a_while() -> None:
    """A recent larger need still counts."""
    pool = Pool(0)
    pool.peak = 3

    resize(pool, pool, BOUNDS)

    assert pool.sized == [3]


def test_another_turn_is_left_alone() -> None:
    """Nothing is asked, and nothing put on record."""
    pool = Pool(5, turn=False)

    resize(pool, pool, BOUNDS)

    assert (pool.sized, pool.ended) == ([], [])


def test_what_stands_against_sizing_is_on_record() -> None:
    """Nobody is drained; the next round tries again."""
    pool = Pool(5, fails=True)

    resize(pool, pool, BOUNDS)

    ((wanted, problem),) = pool.ended
    assert wanted == 3
    assert problem is not None
    assert problem.code == "task_moved"
    assert pool.drained == []


# ---------------------------------------------------------------- submitting


class Intake:
    """Takes tasks in; says of each whether it had been there."""

    def __init__(self) -> None:
        self.taken: list[tuple[NewTask, IdempotencyKey | None]] = []
        self.repeated = False

    def accept(self, new: NewTask, key: IdempotencyKey | None) -> Accepted:
        self.taken.append((new, key))
        times = {"created_at": START, "changed_at": START}
        return Accepted(task=to_view({**new_document(new), **times}), repeated=self.repeated)


class Lookup:
    """A catalog's entries, and the names for which it was asked."""

    def __init__(self, **found: Any) -> None:
        self.found = Found(**{"queue": QUEUE, "profile": SHELL, **found})
        self.readers: list[Sequence[str]] = []

    def find(self, readers: Sequence[str], request: TaskRequest) -> Found:
        self.readers.append(readers)
        return self.found


QUEUE = QueueSpec(name="default")
SHELL = ProfileSpec(name="shell")
REQUEST = TaskRequest(repository=RepositoryAsk(url="https://example.com/a.git"), script="true")


def submitted(lookup: Lookup, intake: Intake, tracing: RecordedTracing, **more: Any) -> Accepted:
    request = more.pop("request", REQUEST)
    return submit(request, ANN, lookup=lookup, intake=intake, tracing=tracing, settings=Settings(), **more)


def test_a_task_is_stored_for_its_submitter_and_traced() -> None:
    """The entries it names are looked up for the submitter; no key is needed."""
    lookup, intake, tracing = Lookup(), Intake(), RecordedTracing()

    accepted = submitted(lookup, intake, tracing)

    ((task, key),) = intake.taken
    assert (task.owner, key) == ("ann", None)
    assert lookup.readers == [ANN.readers]
    assert tracing.submitted_ids == [accepted.task.id] == [task.id]


def test_a_repeat_is_not_traced_again() -> None:
    """Its life began with the first."""
    intake, tracing = Intake(), RecordedTracing()
    intake.repeated = True

    assert submitted(Lookup(), intake, tracing, key="k").repeated
    assert tracing.submitted_ids == []


def test_a_key_is_its_subjects_and_of_one_body() -> None:
    """The same request has the same hash, another has another."""
    intake = Intake()
    other = TaskRequest(repository=REQUEST.repository, script="false")

    for request in (REQUEST, REQUEST, other):
        submitted(Lookup(), intake, RecordedTracing(), key="k", request=request)

    keys = [key for _, key in intake.taken if key is not None]
    assert [(key.subject, key.key) for key in keys] == [("ann", "k")] * 3
    assert keys[0].body_hash == keys[1].body_hash != keys[2].body_hash


def test_every_fault_is_told_and_nothing_stored() -> None:
    """A queue and a profile that are not there, both at once."""
    intake = Intake()

    with pytest.raises(InvalidRequest) as raised:
        submitted(Lookup(queue=None, profile=None), intake, RecordedTracing())

    assert sorted(one["at"] for one in raised.value.faults) == ["/profile", "/queue"]
    assert intake.taken == []


def test_what_is_not_theirs_to_run_on_is_refused() -> None:
    """They may see it, and no more."""
    intake = Intake()
    hidden = QueueSpec(name="default", access=Access(read=["user:ann"], run=["user:bob"]))

    with pytest.raises(Forbidden) as raised:
        submitted(Lookup(queue=hidden), intake, RecordedTracing())

    assert raised.value.reason == "GrantMissing"
    assert intake.taken == []


# ---------------------------------------------------------------- the catalog


@pytest.mark.parametrize("force", [True, False])
def test_only_a_forced_deletion_fails_the_tasks_that_need_an_entry(force: bool) -> None:
    """Others stay in the queue."""
    world = MemoryWorld()
    task = world.add()
    entries = Recorder()
    entries.kind = Recorder()
    entries.kind.name = "queue"

    catalog.delete(ANN, "default", 3, force=force, catalog=entries, commands=world.commands)

    assert entries.calls == [("delete", ANN, "default", 3, force)]
    assert world.status(task) == ("failed" if force else "queued")


def test_an_entry_is_made_and_changed_by_the_catalog() -> None:
    """With the revision that was seen."""
    entries = Recorder(create="made", replace="changed")

    assert catalog.create(ANN, "spec", catalog=entries) == "made"
    assert catalog.replace(ANN, "a", "spec", 2, catalog=entries) == "changed"
    assert entries.calls == [("create", ANN, "spec"), ("replace", ANN, "a", "spec", 2)]


class Catalogs(dict[str, Any]):
    """The catalogs of all kinds."""

    def __init__(self, circuits: Recorder, **kinds: Any) -> None:
        super().__init__(kinds)
        self.circuits, self.audit = circuits, Recorder()
        self.documents: Any = None


def test_queues_are_held_and_resumed() -> None:
    """With the reason that was given."""
    queues = Recorder(pause="held", resume="goes on")
    catalogs = Catalogs(Recorder(), queue=queues)

    assert catalog.pause(ANN, "default", "maintenance", catalogs=catalogs) == "held"
    assert catalog.resume(ANN, "default", catalogs=catalogs) == "goes on"
    assert queues.calls == [("pause", ANN, "default", "maintenance"), ("resume", ANN, "default")]


def test_a_circuit_that_is_closed_is_put_on_record() -> None:
    """For administrators."""
    closed = Recorder()
    closed.kind, closed.name = "queue", "default"
    catalogs = Catalogs(Recorder(close=closed))

    catalog.close_circuit(ANN, "c1", catalogs=catalogs)

    assert catalogs.audit.calls == [("record", "Ann", "close_circuit", "queue", "default", ["role:admin"])]


@pytest.mark.parametrize("reason", [None, "RepositoryNotFound"])
def test_a_repository_that_works_lets_its_tasks_run_again(reason: str | None) -> None:
    """One that does not stays as it is."""
    catalogs = Catalogs(Recorder(), repository=Recorder(show="its view"))
    asked: list[Any] = []
    found = Validation(reachable=True, authenticated=True, message="", reason=reason)

    def look(repository: Any) -> Validation:
        asked.append(repository)
        return found

    assert catalog.check_repository(ANN, "app", catalogs=catalogs, remote_check=look) is found
    assert asked == ["its view"]
    assert catalogs.circuits.calls == ([] if reason else [("close_of", ANN, "repository", "app")])


def test_a_document_is_brought_in_as_it_is_asked() -> None:
    """To try it, or for good."""
    transfer = Recorder(bring_in="result")

    assert catalog.bring_in(ANN, "yaml", dry_run=True, transfer=transfer) == "result"
    assert transfer.calls == [("bring_in", ANN, "yaml", True)]


# ---------------------------------------------------------------- people


def test_nobody_shuts_out_themselves() -> None:
    """But may let themselves in, and shut out others."""
    accounts = Recorder(set_disabled="view")

    with pytest.raises(Conflict) as raised:
        users.set_disabled(ADMIN, "root", disabled=True, accounts=accounts)
    assert raised.value.reason == "OwnAccount"
    assert users.set_disabled(ADMIN, "root", disabled=False, accounts=accounts) == "view"
    assert users.set_disabled(ADMIN, "ann", disabled=True, accounts=accounts) == "view"
    assert accounts.calls == [("set_disabled", ADMIN, "root", False), ("set_disabled", ADMIN, "ann", True)]


def test_roles_are_given_at_the_identity_provider_and_noted() -> None:
    """As the provider says them afterwards."""
    accounts, store = Recorder(note_roles="view"), Recorder(change=["developer"])

    assert users.give_roles(ADMIN, "ann", ["developer"], accounts=accounts, role_store=store) == "view"
    assert store.calls == [("change", "ann", ["developer"])]
    assert accounts.calls == [("user", "ann"), ("note_roles", ADMIN, "ann", ["developer"])]


def test_roles_of_one_who_is_not_there_or_of_oneself_are_not_given() -> None:
    """Nor where another than keruta gives them."""
    store = Recorder()

    missing = Recorder(user=NotFound(message("task_missing")))
    with pytest.raises(NotFound):
        users.give_roles(ADMIN, "nobody", [], accounts=missing, role_store=store)
    for who, subject, role_store, reason in (
        (ADMIN, "root", store, "OwnAccount"),
        (ADMIN, "ann", None, "RolesElsewhere"),
    ):
        with pytest.raises(Conflict) as raised:
            users.give_roles(who, subject, ["viewer"], accounts=Recorder(), role_store=role_store)
        assert raised.value.reason == reason
    assert store.calls == []


def test_a_key_has_no_more_roles_than_its_owner() -> None:
    """And a key makes none."""
    accounts = Recorder(make_key="made")
    wanted = ApiKeyRequest(name="ci", roles=["developer"])
    by_key = msgspec.structs.replace(ADMIN, key="k1")

    assert users.make_key(ADMIN, wanted, accounts=accounts) == "made"
    for who, reason in ((ANN, "RoleMissing"), (by_key, "KeyNotAllowed")):
        with pytest.raises(Forbidden) as raised:
            users.make_key(who, wanted, accounts=accounts)
        assert raised.value.reason == reason
    assert accounts.calls == [("make_key", ADMIN, wanted)]


# ---------------------------------------------------------------- webhooks


def test_a_webhook_has_a_secret_of_its_own() -> None:
    """Of 32 random bytes, in the form that receivers' libraries read."""
    store = Recorder()
    wanted = WebhookRequest(name="ci", url="https://example.com/hook")

    for _ in range(2):
        webhooks.create(ANN, wanted, webhooks=store)

    secrets = [call[3] for call in store.calls]
    assert secrets[0] != secrets[1]
    assert all(secret.startswith(SECRET_PREFIX) for secret in secrets)
    assert len(base64.b64decode(secrets[0].removeprefix(SECRET_PREFIX))) == 32


def test_a_chat_s_webhook_has_no_secret() -> None:
    store = Recorder()

    webhooks.create(ANN, WebhookRequest(name="ci", url="https://example.com/hook", format="teams"), webhooks=store)

    assert store.calls[0][3] == ""


@pytest.mark.parametrize("noted", [0, 2])
def test_the_sender_wakes_only_for_what_someone_wants_to_hear(noted: int) -> None:
    """An event that no webhook wants is none of its business."""
    store, alarm = Recorder(note=noted), Recorder()

    webhooks.tell(Event(id="e", type="t"), webhooks=store, alarm=alarm)

    assert alarm.calls == ([("wake",)] if noted else [])


def test_what_is_sent_again_is_sent_at_once() -> None:
    """The sender wakes."""
    store, alarm = Recorder(again="delivery"), Recorder()

    assert webhooks.send_again(ANN, "d1", webhooks=store, alarm=alarm) == "delivery"
    assert store.calls == [("again", ANN, "d1")]
    assert alarm.calls == [("wake",)]
