"""Objects that someone may not read do not exist for them: two worlds share one keruta, and every route of admin is
asked.

The routes come from the app itself, so a new one is asked without being named here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import flask
import pytest
from werkzeug.routing import Rule

from keruta.adapters.mongo.circuits import circuit_id
from keruta.domain.catalog.access import Access, CredentialAccess
from keruta.domain.catalog.circuits import QUEUE_OPENS_AFTER
from keruta.domain.catalog.credentials import CredentialSpec
from keruta.domain.catalog.documents import DocumentSpec
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.catalog.service_accounts import ServiceAccountSpec
from keruta.domain.catalog.templates import TemplateSpec
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.forges import ForgeEvent
from keruta.domain.messages import message
from keruta.domain.naming import new_id
from keruta.domain.reports import LogChunk
from keruta.domain.users import ApiKeyRequest
from tests.support.admin import Browser, Noted, filled, rules, signed_in
from tests.support.functions import SUBMITS, create_task
from tests.support.world import ANN, World, person

MINE, OTHER, NOWHERE = "crimson", "cobaltt", "nowhere"  # of one length: they must not change how a page is laid out
KINDS = ("repo", "queue", "doc", "cred", "trigger", "template", "account")
BODIES: dict[str, dict[str, Any]] = {
    "repositories": {"url": "https://free.example.com/a.git"}, "documents": {"title": "x"},
    "credentials": {"type": "secret", "value": "x"}, "queues": {}, "profiles": {}, "service-accounts": {},
    "templates": {"repository": "x", "script": "true"},
    "triggers": {
        "repository": "x", "provider": "gitea", "webhook_secret": "x", "events": ["push"], "script": "true",
    },
}  # fmt: skip
_VARIES = re.compile(r"[0-9a-f]{64,}|[0-9a-hjkmnp-tv-z]{26}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\"<&]*")


class Half:
    """One world: a person, and what only they may read."""

    def __init__(self, world: World, word: str) -> None:
        self.word = word
        self.me = person(f"{word}-person", "developer")
        mine = [f"name:{self.me.name}"]
        access, catalogs = Access(manage=mine), world.catalogs
        catalogs["credential"].create(ANN, CredentialSpec(
            name=f"{word}-cred", type="token", username="x", token="y", hosts=[f"{word}.example.com"],
            access=CredentialAccess(manage=mine),
        ))  # fmt: skip
        catalogs["repository"].create(ANN, RepositorySpec(
            name=f"{word}-repo", url=f"https://{word}.example.com/a.git", access=access, read_credential=f"{word}-cred",
        ))  # fmt: skip
        catalogs["queue"].create(ANN, QueueSpec(name=f"{word}-queue", access=access))
        catalogs["document"].create(ANN, DocumentSpec(name=f"{word}-doc", title=f"{word} title", access=access))
        self._trigger(world, access)
        self.task = self._task(world, word)
        catalogs["queue"].pause(self.me, f"{word}-queue", f"{word} reason")
        lane = {"repository": f"{word}-repo", "queue": f"{word}-queue", "profile": "shell"}
        for reason in ("CloneAuthFailed", "ProfileMissing") * 6:
            catalogs.circuits.failed(lane, self.task, reason, message("submission_no_queue", name=f"{word} broke"))
        self.waiting = self._waits_with_others(world)
        self.circuits = [circuit_id("repository", f"{word}-repo"), circuit_id("queue", f"{word}-queue")]

    def _trigger(self, world: World, access: Access) -> None:
        """A trigger with a secret and a delivery of its own, and a template."""
        word = self.word
        world.catalogs["credential"].create(ANN, CredentialSpec(
            name=f"{word}-secret", type="webhook_secret", value="x",
            access=CredentialAccess(manage=[f"name:{self.me.name}"]),
        ))  # fmt: skip
        world.catalogs["trigger"].create(ANN, TriggerSpec(
            name=f"{word}-trigger", repository=f"{word}-repo", provider="gitea", webhook_secret=f"{word}-secret",
            events=["push"], script="true", access=access,
        ))  # fmt: skip
        world.catalogs["template"].create(ANN, TemplateSpec(
            name=f"{word}-template", repository=f"{word}-repo", script="true", access=access,
        ))  # fmt: skip
        world.catalogs["service_account"].create(ANN, ServiceAccountSpec(
            name=f"{word}-account", access=CredentialAccess(manage=[f"name:{self.me.name}"]),
        ))  # fmt: skip
        event = ForgeEvent(name="push", identity=word, repository=f"{word}/a", ref=word)
        world.deliveries.add(f"{word}-trigger", f"{word}-delivery", event, b"{}")

    def _waits_with_others(self, world: World) -> list[str]:
        """Tasks that are held back by what both worlds use: an address, a profile, a queue; each failed here last."""
        word, shared = self.word, "https://shared.example.com/a.git"
        access = Access(manage=[f"name:{self.me.name}"])
        world.catalogs["queue"].create(ANN, QueueSpec(name=f"{word}-slow", access=access))
        world.catalogs["repository"].create(
            ANN, RepositorySpec(name=f"{word}-other", url=f"https://{word}.example.com/b.git", access=access)
        )
        asks: tuple[dict[str, Any], ...] = (
            {"url": shared, "queue": f"{word}-slow"},
            {"repository": f"{word}-other", "queue": "default"},
            {"repository": f"{word}-other", "queue": "common"},
        )
        said = message("submission_no_queue", name=f"{self.word} broke")
        for _ in range(QUEUE_OPENS_AFTER):
            world.catalogs.circuits.failed({"repository": shared}, self.task, "CloneAuthFailed", said)
            world.catalogs.circuits.failed({"queue": "common"}, self.task, "ProfileMissing", said)
        return [world.submit(owner=self.me.subject, lookup_as=self.me.names, **ask) for ask in asks]

    def _task(self, world: World, word: str) -> str:
        task = world.submit(
            owner=self.me.subject, repository=f"{word}-repo", queue=f"{word}-queue", documents=[f"{word}-doc"],
            lookup_as=self.me.names, labels={"team": word}, name=f"{word} task",
        )  # fmt: skip
        world.assign()
        world.start(task)
        chunk = LogChunk(
            task=task, attempt=1, sequence=0, offset_bytes=0, at=datetime.now(UTC), data=f"{word} log\n".encode()
        )
        world.report("w1", chunk)
        world.end(task, status="failed", reason="ScriptFailed", message=f"{word} failed", exit_code=1)
        return task


def names_for(rule: Rule, word: str, tasks: list[str], circuits: list[str]) -> Iterator[dict[str, str]]:
    """Values for a rule's parameters, of one world."""
    if not rule.arguments:
        yield {}
        return
    fixed = {"path": "x.txt", "version": "1", "digest": "x", "subject": f"{word}-person"}
    several = {"name": [f"{word}-{kind}" for kind in KINDS], "id": [*tasks, *circuits]}
    chosen = next((name for name in ("name", "id") if name in rule.arguments), None)
    for value in several[chosen] if chosen else [""]:
        yield {name: fixed.get(name, value) for name in rule.arguments}


def body_for(rule: Rule, method: str, values: dict[str, str]) -> Any:
    if method == "GET":
        return None
    collection = rule.rule.removeprefix("/api/v1/").strip("/").split("/")[0]
    extra = BODIES.get(collection, {}) if rule.rule.endswith("<name>") else {}
    return {"reason": "x", "text": "x"} if not extra and "name" not in values else {
        "name": values.get("name", "x"), **extra, **({"reason": "x"} if rule.rule.endswith("/pause") else {}),
    }  # fmt: skip


@pytest.mark.timeout(600)
def test_what_someone_may_not_read_does_not_exist_for_them(world: World, app: flask.Flask) -> None:
    """No route, page, stream, count or error tells a name of the other world, or that it is there at all."""
    world.worker(slots=4)
    world.catalogs["queue"].create(ANN, QueueSpec(name="common"))
    mine, other = Half(world, MINE), Half(world, OTHER)
    ports = app.extensions["keruta"]()
    me = signed_in(app, mine.me)
    for half in (mine, other):
        ports.verifier.verify(signed_in(app, half.me).token)
    wanted = {half.word: ApiKeyRequest(name=f"{half.word}-key", roles=["developer"]) for half in (mine, other)}
    keys = {half.word: ports.accounts.make_key(half.me, wanted[half.word]).shown.id for half in (mine, other)}

    app.request_class = Noted
    seen, asked = "", set[str]()
    for rule, method in rules(app):
        Noted.names.clear()
        if method == "GET":
            waiting = mine.waiting if rule.rule.endswith("/tasks/<id>") else []  # their streams would go on
            for values in names_for(rule, MINE, [mine.task, *waiting], mine.circuits):
                before = ""
                for accept in ("", "application/x-ndjson", "text/event-stream"):
                    _, said = me.ask("GET", filled(rule, values), accept=accept)
                    assert OTHER not in said, (rule.rule, values)
                    assert not [task for task in (other.task, *other.waiting) if task in said], (rule.rule, values)
                    seen += said
                    if accept and plain(said) == before:
                        break  # this route does not heed what is accepted
                    before = plain(said)
        if method == "GET" and not rule.arguments:
            for query in sorted(Noted.names - {"cursor"}):
                asked.add(query)
                for real, made_up in ((f"{OTHER}-repo", f"{NOWHERE}-repo"), (other.task, new_id()),
                                      (f"team={OTHER}", f"team={NOWHERE}"), (OTHER, NOWHERE)):  # fmt: skip
                    compare(me, "GET", f"{rule.rule}?{query}={real}", f"{rule.rule}?{query}={made_up}")
        strangers = names_for(rule, OTHER, [other.task, keys[OTHER]], other.circuits)
        made_up_values = names_for(rule, NOWHERE, [new_id(), new_id()], ["0" * 20, "1" * 20])
        for values, instead in zip(strangers, made_up_values, strict=True):
            if rule.arguments:
                compare(me, method, filled(rule, values), filled(rule, instead),
                        body_for(rule, method, values), body_for(rule, method, instead))  # fmt: skip

    assert asked >= {"q", "repository", "queue", "profile", "owner", "label", "tag", "of"}, asked
    for name in (*(f"{MINE}-{kind}" for kind in KINDS), mine.task, f"{MINE} log", f"{MINE}-key", f"{MINE} broke"):
        assert name in seen, name
    held_back = [world.reading.task(mine.me, task).waiting for task in mine.waiting]
    assert [one and one.message_code for one in held_back] == ["waiting_circuit_unsaid"] * 3
    assert world.database["circuits"].count_documents({"_id": {"$in": other.circuits}}) == 2


def compare(me: Browser, method: str, real: str, made_up: str, *bodies: Any) -> None:
    """Compare the answer about another's object with the answer about a missing one: they are the same."""
    if real.startswith("/metrics"):
        return  # the process's own figures, which no query changes
    (status, said), (status_of_none, said_of_none) = (
        me.ask(method, path, body) for path, body in zip((real, made_up), bodies or (None, None), strict=True)
    )
    assert status == status_of_none, (method, real)
    assert plain(said) == plain(said_of_none), (method, real)


def plain(text: str) -> str:
    text = _VARIES.sub("·", text.replace(OTHER, NOWHERE))
    return re.sub(r"\b[01]{20}\b|\b[0-9a-f]{20}\b", "·", text)


def submits() -> Iterator[tuple[str, dict[str, Any]]]:
    """Ways to name what is the other world's in a submit: each with `{}` where its word is."""
    plain: dict[str, Any] = {"repository": {"url": "https://free.example.com/a.git"}, "script": "true"}
    yield "repository", {**plain, "repository": "{}-repo"}
    yield "address", {**plain, "repository": {"url": "https://{}.example.com/a.git"}}
    yield "both", {**plain, "repository": {"name": "{}-repo", "url": "https://{}.example.com/a.git"}}
    yield "queue", {**plain, "queue": "{}-queue"}
    yield "profile", {**plain, "profile": "{}-profile"}
    yield "document", {**plain, "documents": ["{}-doc"]}
    yield "tag", {**plain, "documents": ["tag:{}-tag"]}
    yield "credential", {**plain, "repository": "{}-cred"}
    yield "everything", {**plain, "repository": "{}-repo", "queue": "{}-queue", "documents": ["{}-doc"], "prompt": "x"}


def test_a_submit_tells_nothing_of_the_other_world(world: World, app: flask.Flask) -> None:
    """Neither by what it refuses, nor by what it answers, nor by a key that the other has used."""
    world.worker(slots=4)
    world.catalogs["queue"].create(ANN, QueueSpec(name="common"))
    mine, other = Half(world, MINE), Half(world, OTHER)
    verifier = app.extensions["keruta"]().verifier
    function = create_task(world, verifier)
    tokens = {half.word: signed_in(app, half.me).token for half in (mine, other)}

    def submit(who: Half, body: dict[str, Any], key: str | None = None) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {tokens[who.word]}", **({"Idempotency-Key": key} if key else {})}
        answer = function.test_client().post("/api/v1/tasks", json=body, headers=headers)
        return answer.status_code, answer.text + answer.headers.get("Location", "")

    for route in SUBMITS:
        assert (route.method, route.path) == ("POST", "/api/v1/tasks")
    for what, body in submits():
        real, made_up = (json.loads(json.dumps(body).replace("{}", word)) for word in (OTHER, NOWHERE))
        for key in (None, f"key-{what}"):
            status, said = submit(mine, real, key)
            instead = submit(mine, made_up, f"{key}-none" if key else None)
            assert (status, plain_submit(said)) == (instead[0], plain_submit(instead[1])), what

    named = {"repository": f"{OTHER}-repo", "script": "true", "queue": "common"}
    first = submit(other, named, "shared-key")
    stranger = submit(mine, {"repository": f"{MINE}-repo", "script": "true", "queue": "common"}, "shared-key")
    assert (first[0], stranger[0]) == (201, 201)
    assert json.loads(first[1].rpartition("}")[0] + "}")["id"] not in stranger[1]
    assert OTHER not in stranger[1]
    for half in (mine, other):
        assert submit(half, {**named, "repository": f"{half.word}-repo", "queue": f"{half.word}-slow"})[0] == 201


def plain_submit(text: str) -> str:
    return plain(text).replace(f"{NOWHERE}", "·")
