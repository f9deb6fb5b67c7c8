"""Deliveries of forges, through the function and the tick, on a real database: each event makes one task."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import flask
import pytest
from flask.testing import FlaskClient

from functions.receive_event import handler
from keruta.adapters.cloudevents import decode_foreign
from keruta.domain.api.triggers import TRIGGERS
from keruta.domain.catalog.access import Access, CredentialAccess
from keruta.domain.catalog.credentials import CredentialSpec
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.deliveries import BODY_LIMIT_BYTES, DeliveryView
from keruta.domain.principal import Principal
from keruta.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unauthenticated, Unavailable
from keruta.http.function import Function
from keruta.services.deliveries import process_due, process_one
from tests.support.functions import served
from tests.support.world import ANN, World, person

SECRET = "webhook-secret"
EDITOR = person("eve", "developer")
ACCESS = CredentialAccess(use=["name:eve"], read=["name:reader"])


class Dispatcher:
    """Takes any token for the broker's."""

    def verify(self, token: str) -> Principal:
        if token != "broker":
            raise Unauthenticated("no")
        return Principal(subject="broker", name="broker", roles=frozenset({"dispatcher"}))


class Forge:
    """A forge with one trigger `t` for team/app, whose deliveries go to the function in this process."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.database["users"].insert_one({
            "_id": EDITOR.subject, "name": EDITOR.name, "mail": "", "roles": sorted(EDITOR.roles), "groups": [],
            "last_seen_at": datetime.now(UTC),
        })  # fmt: skip
        world.catalogs["credential"].create(ANN, CredentialSpec(
            name="signing", type="webhook_secret", value=SECRET, access=ACCESS,
        ))  # fmt: skip
        world.catalogs["repository"].create(ANN, RepositorySpec(name="app", url="https://git.example.com/team/app.git"))
        ports = handler.Ports(
            settings=world.settings, verifier=None, store=world.deliveries,  # type: ignore[arg-type]
            later=lambda identity: None, check=lambda: None, decode_event=decode_foreign,
            deliveries=Dispatcher(),
        )  # fmt: skip
        handlers = {"receive_event": handler.receive_event, "receive_cloudevent": handler.receive_cloudevent}
        self.client: FlaskClient = served(
            Function("receive_event", world.settings, lambda _: ports, TRIGGERS, handlers)
        ).test_client()

    def trigger(self, who: Principal = EDITOR, **fields: Any) -> None:
        given: dict[str, Any] = {"events": ["push", "pull_request"], "script": "true", "provider": "gitea",
                                 "webhook_secret": "signing", **fields}  # fmt: skip
        self.world.catalogs["trigger"].create(who, TriggerSpec(name="t", repository="app", **given))

    def deliver(
        self, body: bytes, *, delivery: str = "d1", event: str = "push", secret: str = SECRET, to: str = "t",
        headers: dict[str, str] | None = None, signed: bytes | None = None, kind: str = "application/json",
    ) -> int:  # fmt: skip
        answer = self.client.post(
            f"/events/v1/{to}", data=body, content_type=kind,
            headers={
                "X-Gitea-Event": event, "X-Gitea-Delivery": delivery,
                "X-Gitea-Signature": hmac.new(secret.encode(), signed or body, hashlib.sha256).hexdigest(),
                **(headers or {}),
            },
        )  # fmt: skip
        return answer.status_code

    def push(self, number: int = 1, ref: str = "refs/heads/main", delivery: str | None = None) -> int:
        return self.deliver(push(number, ref), delivery=delivery or f"d{number}")

    def all_due(self) -> None:
        """As if the minute had passed for which a delivery is one process's."""
        deliveries = self.world.database["deliveries"]
        deliveries.update_many({"state": "received"}, [{"$set": {"due_at": "$received_at"}}])

    def process(self) -> int:
        return process_due(self.world.delivery_ports)

    def deliveries(self) -> list[DeliveryView]:
        """Oldest first."""
        return self.world.seen_deliveries.page(ANN, "t", limit=200, cursor=None).items[::-1]

    def tasks(self) -> list[dict[str, Any]]:
        return list(self.world.database["tasks"].find().sort("_id", 1))


def push(number: int = 1, ref: str = "refs/heads/main") -> bytes:
    return json.dumps({
        "ref": ref, "before": f"{number:040x}", "after": f"{number + 1:040x}", "commits": [], "total_commits": 0,
        "repository": {"full_name": "team/app"}, "sender": {"login": "dana"},
    }).encode()  # fmt: skip


def fork() -> bytes:
    return json.dumps({
        "action": "opened", "repository": {"full_name": "team/app"},
        "pull_request": {
            "number": 7, "title": "t", "head": {"ref": "fix", "sha": "a" * 40, "repo": {"id": 2}},
            "base": {"ref": "main", "repo": {"id": 1}},
        },
    }).encode()  # fmt: skip


@pytest.fixture
def forge(world: World) -> Forge:
    return Forge(world)


def test_a_push_becomes_a_task_at_the_events_commit(forge: Forge) -> None:
    forge.trigger(timeout_seconds=60)

    assert forge.push() == 202
    assert forge.tasks() == [], "the answer does not wait for the task"
    assert forge.process() == 1

    (task,), (delivery,) = forge.tasks(), forge.deliveries()
    assert (task["owner"], task["spec"]["repository"]["ref"]) == ("eve", f"{2:040x}")
    assert task["spec"]["env"]["KERUTA_PARAM_REF"] == "main"
    assert (delivery.state, delivery.task, delivery.sender) == ("started", task["_id"], "dana")
    assert forge.process() == 0


def test_a_delivery_that_comes_again_is_answered_and_makes_nothing_more(forge: Forge) -> None:
    """Under the same id, before and after its task; and under another id, as forges do."""
    forge.trigger()

    assert [forge.push(), forge.push()] == [202, 202]
    forge.process()
    assert [forge.push(), forge.push(delivery="other")] == [202, 202]
    forge.process()

    assert len(forge.tasks()) == 1
    assert [one.state for one in forge.deliveries()] == ["started", "repeated"]


def test_what_is_forged_truncated_or_replayed_with_another_body_is_refused(forge: Forge) -> None:
    forge.trigger()
    body = push()
    old = json.loads(fork())
    old["pull_request"]["updated_at"] = "2020-01-01T00:00:00Z"

    assert forge.deliver(body, secret="other") == 401
    assert forge.deliver(body[:-5], signed=body) == 401
    assert forge.deliver(body, headers={"X-Gitea-Signature": ""}) == 401
    assert forge.deliver(body, to="unknown") == 401
    assert forge.deliver(body, to="../t") in (401, 404)
    assert forge.deliver(b"[1]") == 422
    assert forge.deliver(b"{" + b"[" * 5000) == 422
    assert forge.deliver(b'{"\xff": 1}') == 422
    assert forge.deliver(body, delivery="") == 422
    assert forge.deliver(body, kind="text/plain") == 415
    assert forge.deliver(json.dumps(old).encode(), event="pull_request", delivery="old") == 422
    assert forge.deliveries() == []
    assert forge.deliver(body) == 202
    assert forge.deliver(push(9)) == 409


def test_a_body_that_is_too_large_is_refused(forge: Forge) -> None:
    forge.trigger()

    assert forge.deliver(bytes(BODY_LIMIT_BYTES + 1)) == 413


def test_another_triggers_secret_opens_nothing(forge: Forge) -> None:
    forge.trigger()
    catalogs = forge.world.catalogs
    catalogs["credential"].create(ANN, CredentialSpec(name="other", type="webhook_secret", value="theirs"))
    catalogs["trigger"].create(ANN, TriggerSpec(
        name="u", repository="app", provider="gitea", webhook_secret="other", events=["push"], script="true",
    ))  # fmt: skip

    assert forge.deliver(push(), secret="theirs") == 401
    assert forge.deliver(push(), secret="theirs", to="u") == 202


def test_a_secret_is_changed_without_a_delivery_lost(forge: Forge) -> None:
    """While it has two lines, either signs."""
    forge.trigger()
    spec = CredentialSpec(name="signing", type="webhook_secret", value=f"new\n{SECRET}\n", access=ACCESS)
    forge.world.catalogs["credential"].replace(ANN, "signing", spec, None)

    assert forge.push(1) == 202
    assert forge.deliver(push(2), secret="new", delivery="d2") == 202


def test_a_process_that_dies_after_any_write_leaves_one_task(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write of the store and of the intake is the last one once; the next process takes the delivery up."""
    forge.trigger(concurrency="skip")
    steps: tuple[tuple[Any, str], ...] = (
        (forge.world.deliveries, "claim"), (forge.world.deliveries, "enter_group"),
        (forge.world.intake, "accept"), (forge.world.deliveries, "finish"),
    )  # fmt: skip
    forge.push()
    for thing, name in steps:
        with monkeypatch.context() as patch:
            patch.setattr(thing, name, dies_after(getattr(thing, name)))
            forge.world.database["deliveries"].update_many(
                {"state": "received"}, [{"$set": {"due_at": "$received_at"}}]
            )
            with pytest.raises(KeyboardInterrupt):
                forge.process()
    forge.all_due()
    forge.process()

    assert len(forge.tasks()) == 1
    assert forge.deliveries()[0].state == "started"


def dies_after(function: Callable[..., Any]) -> Callable[..., Any]:
    def does_and_dies(*args: Any, **named: Any) -> Any:
        function(*args, **named)
        raise KeyboardInterrupt

    return does_and_dies


def test_two_processes_make_each_event_once(forge: Forge) -> None:
    forge.trigger()
    for number in range(40):
        assert forge.push(number) == 202
        assert forge.push(number, delivery=f"again{number}") == 202

    threads = [threading.Thread(target=forge.process) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(forge.tasks()) == 40
    assert {one.state for one in forge.deliveries()} == {"started", "repeated"}


def test_the_database_being_away_puts_a_delivery_off(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    forge.trigger()
    forge.push()

    def away(*_: Any) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(forge.world.intake, "accept", away)
        forge.process()
    assert forge.deliveries()[0].state == "received"
    forge.all_due()
    forge.process()

    assert forge.deliveries()[0].state == "started"


def test_skip_starts_none_while_an_earlier_task_of_its_branch_is_open(forge: Forge) -> None:
    forge.trigger(concurrency="skip")
    forge.push(1)
    forge.push(2)
    forge.push(3, "refs/heads/other")
    forge.process()

    first, second, third = forge.deliveries()
    assert [first.state, second.state, third.state] == ["started", "skipped", "started"]
    assert second.task == first.task
    forge.world.worker(slots=4)
    forge.world.assign()
    assert first.task is not None
    forge.world.start(first.task)
    forge.world.end(first.task)
    forge.push(4)
    forge.process()
    assert forge.deliveries()[-1].state == "started"


def test_replace_cancels_the_earlier_task(forge: Forge) -> None:
    forge.trigger(concurrency="replace")
    forge.push(1)
    forge.push(2)
    forge.process()

    assert [task["status"] for task in forge.tasks()] == ["cancelled", "queued"]


@pytest.mark.parametrize("policy", ["skip", "replace"])
def test_of_many_events_at_once_one_task_is_open(forge: Forge, policy: str) -> None:
    forge.trigger(concurrency=policy)
    for number in range(12):
        forge.push(number)
    threads = [threading.Thread(target=forge.process) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    forge.all_due()
    forge.process()

    assert [task["status"] for task in forge.tasks()].count("queued") == 1
    assert not [one for one in forge.deliveries() if one.state in ("received", "failed")]


def test_a_forks_pull_request_waits_for_approval(forge: Forge) -> None:
    forge.trigger()
    forge.deliver(fork(), event="pull_request")
    forge.process()
    (held,) = forge.deliveries()
    assert (held.state, forge.tasks()) == ("held", [])

    with pytest.raises(NotFound):
        forge.world.seen_deliveries.approve(ANN, "t", "0" * 26)
    forge.world.seen_deliveries.approve(ANN, "t", held.id)
    forge.process()

    (delivery,) = forge.deliveries()
    assert (delivery.state, delivery.approved_by) == ("started", "ann")
    with pytest.raises(Conflict):
        forge.world.seen_deliveries.approve(ANN, "t", held.id)


def test_a_forks_pull_request_runs_at_once_without_secrets(forge: Forge) -> None:
    """In the queue for it; and a replay of it too."""
    forge.world.catalogs["queue"].create(ANN, QueueSpec(name="forks"))
    forge.trigger(forks="without_secrets", fork_queue="forks")
    forge.deliver(fork(), event="pull_request")
    forge.process()
    (delivery,) = forge.deliveries()
    forge.world.seen_deliveries.replay(ANN, "t", delivery.id)
    forge.process()

    assert [(task["queue"], task["spec"].get("without_secrets")) for task in forge.tasks()] == [("forks", True)] * 2
    with pytest.raises(Conflict):
        forge.world.seen_deliveries.approve(ANN, "t", delivery.id)


def test_the_queue_for_forks_must_be_there_for_the_triggers_editor(forge: Forge) -> None:
    with pytest.raises(InvalidRequest):
        forge.trigger(forks="without_secrets", fork_queue="forks")


def test_a_replay_makes_a_new_task_and_no_approval_of_a_fork(forge: Forge) -> None:
    forge.trigger()
    forge.push()
    forge.deliver(fork(), event="pull_request", delivery="d2")
    forge.process()
    for one in forge.deliveries():
        forge.world.seen_deliveries.replay(ANN, "t", one.id)
    forge.process()

    assert len(forge.tasks()) == 2
    assert [(one.state, one.replay) for one in forge.deliveries()] == [
        ("started", 0), ("held", 0), ("started", 1), ("held", 1),
    ]  # fmt: skip


def test_those_without_the_right_can_neither_replay_nor_approve(forge: Forge) -> None:
    forge.trigger(access=Access(read=["name:reader"], manage=["name:eve"]))
    forge.push()
    (delivery,) = forge.deliveries()

    for act in (forge.world.seen_deliveries.replay, forge.world.seen_deliveries.approve):
        with pytest.raises(Forbidden):
            act(person("reader", "developer"), "t", delivery.id)
        with pytest.raises(NotFound):
            act(person("stranger", "developer"), "t", delivery.id)


@pytest.mark.parametrize("change", [{"disabled": True}, {"roles": ["viewer"]}])
def test_a_trigger_stops_when_its_editor_may_not_run_tasks(forge: Forge, change: dict[str, Any]) -> None:
    forge.trigger()
    forge.world.database["users"].update_one({"_id": EDITOR.subject}, {"$set": change})
    forge.push()
    forge.process()

    (delivery,) = forge.deliveries()
    assert (delivery.state, delivery.message_code, forge.tasks()) == ("failed", "delivery_editor", [])


def test_what_is_wrong_with_the_task_is_said(forge: Forge) -> None:
    forge.trigger(queue="default")
    forge.world.database["queues"].delete_one({"_id": "default"})
    forge.push()
    forge.process()

    (delivery,) = forge.deliveries()
    assert (delivery.state, delivery.message_code) == ("failed", "delivery_refused")
    assert "default" in (delivery.message or "")


def test_a_trigger_names_a_webhook_secret_that_its_editor_may_use(forge: Forge) -> None:
    forge.world.catalogs["credential"].create(ANN, CredentialSpec(name="plain", type="secret", value="x"))
    spec = TriggerSpec(
        name="v", repository="app", provider="gitea", webhook_secret="plain", events=["push"], script="true"
    )

    with pytest.raises(InvalidRequest):
        forge.world.catalogs["trigger"].create(ANN, spec)
    with pytest.raises(InvalidRequest):
        forge.trigger(person("mallory", "developer"))
    with pytest.raises(Forbidden):
        forge.trigger(person("reader", "developer"))


def test_one_delivery_is_processed_after_its_answer(forge: Forge) -> None:
    forge.trigger()
    forge.push()
    forge.push(2)
    first = forge.deliveries()[0]

    process_one(forge.world.delivery_ports, first.id)

    assert [one.state for one in forge.deliveries()] == ["started", "received"]


def test_a_trigger_is_exported_and_imported(forge: Forge, app: flask.Flask) -> None:
    """Without its secret's value."""
    forge.trigger(concurrency="skip")
    transfer = app.extensions["keruta"]().transfer

    text = transfer.export()
    assert "kind: trigger" in text
    assert SECRET not in text
    assert transfer.bring_in(ANN, text, dry_run=False).changed == 0


def test_a_repeat_of_an_event_that_started_no_task_names_none(forge: Forge) -> None:
    forge.trigger(concurrency="skip")
    forge.push(1)
    forge.push(2)
    forge.push(2, delivery="again")
    forge.process()

    repeat = forge.deliveries()[-1]
    assert (repeat.state, repeat.task, repeat.message_code) == ("repeated", None, "delivery_repeated_none")


def test_a_task_that_could_not_be_made_holds_up_no_later_event(forge: Forge) -> None:
    """Not even under `skip`."""
    forge.trigger(concurrency="skip")
    queues = forge.world.database["queues"]
    queue = queues.find_one_and_delete({"_id": "default"})
    forge.push(1)
    forge.process()
    queues.insert_one(queue or {})
    forge.push(2)
    forge.process()

    assert [one.state for one in forge.deliveries()] == ["failed", "started"]


def test_what_a_repositorys_events_say_is_for_its_readers_alone(forge: Forge) -> None:
    """A trigger without grants of its own opens nothing of a private repository, and starts nothing on it."""
    forge.trigger()
    forge.deliver(fork(), event="pull_request")
    forge.process()
    (held,) = forge.deliveries()
    seen, repositories = forge.world.seen_deliveries, forge.world.catalogs["repository"]
    url = "https://git.example.com/team/app.git"
    private = RepositorySpec(name="app", url=url, access=Access(read=["name:reader"], run=["name:eve"]))
    repositories.replace(ANN, "app", private, None)

    for name, refusal in (("stranger", NotFound), ("reader", Forbidden)):
        who = person(name, "developer")
        for act in (seen.replay, seen.approve):
            with pytest.raises(refusal):
                act(who, "t", held.id)
        with pytest.raises(refusal):
            seen.run(who, "t")
    with pytest.raises(NotFound):
        seen.page(person("stranger", "developer"), "t", limit=10, cursor=None)
    with pytest.raises(NotFound):
        seen.body(person("stranger", "developer"), "t", held.id)
    assert seen.body(person("reader", "developer"), "t", held.id) == fork()


def test_a_later_trigger_of_the_same_name_shows_nothing_of_the_earlier_one(forge: Forge) -> None:
    forge.trigger()
    forge.push()
    forge.world.catalogs["trigger"].delete(EDITOR, "t", None, force=False)
    forge.trigger()

    assert forge.deliveries() == []


def test_a_body_that_does_not_fit_a_document_is_stored_whole(forge: Forge) -> None:
    """And replayed. 23 MB that can't be compressed much."""
    forge.trigger()
    noise = base64.b64encode(random.Random(1).randbytes(17_000_000)).decode()
    body = json.dumps({**json.loads(push()), "noise": noise}).encode()

    assert forge.deliver(body) == 202
    forge.process()
    (delivery,) = forge.deliveries()
    assert delivery.state == "started"
    again = forge.world.seen_deliveries.replay(ANN, "t", delivery.id)
    assert forge.world.seen_deliveries.body(ANN, "t", again.id) == body
    forge.world.catalogs["trigger"].delete(EDITOR, "t", None, force=False)
    assert forge.world.database["delivery_parts"].count_documents({}) == 0


def test_two_events_of_an_older_gitlab_under_one_name_are_two(forge: Forge) -> None:
    forge.world.catalogs["trigger"].create(EDITOR, TriggerSpec(
        name="lab", repository="app", provider="gitlab", webhook_secret="signing", events=["push"], script="true",
    ))  # fmt: skip
    for number in (1, 2, 2):
        body = json.dumps({
            "object_kind": "push", "ref": "refs/heads/main", "before": "0" * 40, "after": f"{number:040x}",
            "project": {"path_with_namespace": "team/app"}, "commits": [], "total_commits_count": 0,
        }).encode()  # fmt: skip
        headers = {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Event-UUID": "same", "X-Gitlab-Token": SECRET}
        assert forge.deliver(body, to="lab", headers=headers) == 202
    forge.process()

    assert len(forge.tasks()) == 2


def test_a_webhook_of_anything_starts_a_task_with_its_payload(forge: Forge) -> None:
    """Signed as Standard Webhooks says, by an HMAC, or with the secret as a bearer token; each is one event."""
    forge.trigger(events=["event"], provider="generic")
    body = b'{"type": "alert.fired", "host": "db1"}'
    stamp = str(int(time.time()))
    mac = hmac.digest(SECRET.encode(), f"m1.{stamp}.".encode() + body, hashlib.sha256)
    standard = {
        "webhook-id": "m1", "webhook-timestamp": stamp,
        "webhook-signature": f"v1,AAAA v1,{base64.b64encode(mac).decode()}",
    }  # fmt: skip
    plain = {"X-Signature-256": "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}

    for headers in (standard, standard, plain, {"Authorization": f"Bearer {SECRET}", "Idempotency-Key": "k"}):
        answer = forge.client.post("/events/v1/t", data=body, content_type="application/json", headers=headers)
        assert answer.status_code == 202
    forge.process()

    tasks = forge.tasks()
    assert len(tasks) == 3
    env = tasks[0]["spec"]["env"]
    assert json.loads(env["KERUTA_PARAM_PAYLOAD"]) == json.loads(body)
    assert (env["KERUTA_PARAM_EVENT"], env["KERUTA_PARAM_ACTION"]) == ("event", "alert.fired")


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": "Bearer "}, {"Authorization": f"Basic {SECRET}"}, {"X-Signature-256": "sha256="},
        {"Authorization": f"Bearer {SECRET}", "X-Signature-256": "sha256=00"},
        {"webhook-id": "m", "webhook-timestamp": "1", "webhook-signature": "v1,x"},
        {"webhook-id": "m", "webhook-timestamp": "\u0663", "webhook-signature": "v1,x"},
    ],
)  # fmt: skip
def test_a_webhook_that_no_secret_stands_behind_is_refused(forge: Forge, headers: dict[str, str]) -> None:
    forge.trigger(events=["event"], provider="generic")
    encoded = {name: value.encode().decode("latin-1") for name, value in headers.items()}

    answer = forge.client.post("/events/v1/t", data=b"{}", content_type="application/json", headers=encoded)

    assert answer.status_code == 401


def test_an_old_signature_of_standard_webhooks_is_refused(forge: Forge) -> None:
    """Though it is right: it may have been taken from a log."""
    forge.trigger(events=["event"], provider="generic")
    stamp = str(int(time.time()) - 3600)
    mac = hmac.digest(SECRET.encode(), f"m.{stamp}.{{}}".encode(), hashlib.sha256)
    headers = {"webhook-id": "m", "webhook-timestamp": stamp,
               "webhook-signature": f"v1,{base64.b64encode(mac).decode()}"}  # fmt: skip

    answer = forge.client.post("/events/v1/t", data=b"{}", content_type="application/json", headers=headers)

    assert answer.status_code == 401


def cloudevent(source: str = "/apis/v1/namespaces/shop/kafkasources/orders", identity: str = "1", **more: str) -> Any:
    return {"ce-specversion": "1.0", "ce-id": identity, "ce-type": "order.paid", "ce-source": source,
            "Authorization": "Bearer broker", **more}  # fmt: skip


def test_a_cloudevent_starts_the_triggers_that_allow_its_source(forge: Forge) -> None:
    """Once, however often the broker brings it; keruta's own events start none that does not ask for them."""
    forge.trigger(events=["event"], provider=None, webhook_secret=None, sources=["*/kafkasources/*", "/keruta"])

    def bring(headers: dict[str, str], body: bytes = b'{"id": 7}') -> int:
        return forge.client.post("/events/v1", data=body, content_type="application/json", headers=headers).status_code

    assert [bring(cloudevent()), bring(cloudevent()), bring(cloudevent(), b"{}")] == [202, 202, 202]
    assert bring(cloudevent("/elsewhere")) == 202
    assert bring(cloudevent("/keruta", **{"ce-subject": "0" * 26})) == 202
    assert bring({**cloudevent(identity="2"), "Authorization": "Bearer other"}) == 401
    assert bring({"Authorization": "Bearer broker"}) == 422
    forge.process()

    (task,) = forge.tasks()
    assert json.loads(task["spec"]["env"]["KERUTA_PARAM_PAYLOAD"]) == {"id": 7}
    assert [one.state for one in forge.deliveries()] == ["started", "ignored"]
