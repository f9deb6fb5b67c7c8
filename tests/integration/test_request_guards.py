"""Refusals of requests: each test fails when its check is removed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import flask
import msgspec
import pytest

from admin.site import stream_limits
from admin.site.stream_limits import StreamLimits
from admin.tasks import logs
from functions.report_status import handler
from keruta.adapters.mongo.agent_access import MongoAgentAccess
from keruta.adapters.mongo.snapshots import MongoSnapshots
from keruta.adapters.results import Results
from keruta.adapters.tokens import Sessions, new_key
from keruta.domain.api.agents import AGENTS
from keruta.domain.naming import attempt_id
from keruta.domain.reports import Artifact, LogChunk, Suspended, Waiting
from keruta.domain.roles import PEOPLE
from keruta.domain.users import ApiKeyRequest
from keruta.http.function import Function
from keruta.services.task_commands import send_input
from keruta.settings import Settings
from tests.support.admin import Browser, filled, rules, signed_in
from tests.support.world import ANN, World, person

ADMIN = person("ada", "admin", "developer", "viewer")


@pytest.fixture
def ada(app: flask.Flask) -> Browser:
    return signed_in(app, ADMIN)


# ---------------------------------------------------------------- the API by a browser's cookie


def test_no_route_changes_anything_by_a_cookie_alone(app: flask.Flask, ada: Browser) -> None:
    """Another site's page can make a browser send its cookie, and not the token of a form of ours."""
    forged = "00" * 48
    asked = 0
    for rule, method in rules(app):
        view = app.view_functions[rule.endpoint]
        if method == "GET" or getattr(getattr(view, "route", None), "roles", None) is None:
            continue
        if not view.route.roles & PEOPLE or not rule.rule.startswith("/api/v1"):  # type: ignore[attr-defined]
            continue
        address = filled(rule, dict.fromkeys(rule.arguments, "x"))
        for headers in ({}, {"X-Form-Token": forged}, {"X-Form-Token": "none"}):
            answer = ada.client.open(address, method=method, headers=headers, json={"name": "x"})
            assert (answer.status_code, answer.get_json()["reason"]) == (403, "FormNotOurs"), (method, address)
        asked += 1

    assert asked > 30
    assert ada.client.get("/api/v1/queues").status_code == 200


def test_a_form_token_is_one_browsers(app: flask.Flask, ada: Browser) -> None:
    """Another person's opens nothing; their own does."""
    other = signed_in(app, person("eve", "admin"))
    body = {"name": "made"}

    refused = ada.client.post("/api/v1/queues", json=body, headers={"X-Form-Token": other.form_token})
    made = ada.client.post("/api/v1/queues", json=body, headers={"X-Form-Token": ada.form_token})

    assert (refused.status_code, made.status_code) == (403, 201)


# ---------------------------------------------------------------- the code of one machine


@pytest.mark.parametrize(("code", "typed", "status"), [("", "", 403), ("\n", " - ", 403), ("AB-12", "ab12", 303)])
def test_an_empty_code_signs_nobody_in(
    app: flask.Flask, ada: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, typed: str, status: int
) -> None:
    """A file that was cut short, by a full disk, is no code that someone could type."""
    (tmp_path / "code").write_text(code)
    (tmp_path / "token").write_text(ada.token)
    own = app.extensions["keruta"]()
    files = {"sign_in_code_file": tmp_path / "code", "sign_in_token_file": tmp_path / "token"}
    made = msgspec.structs.replace(own, settings=msgspec.structs.replace(own.settings, **files))
    monkeypatch.setattr("admin.sign_in.routes.ports", lambda: made)

    answer = app.test_client().post("/auth/code", data={"code": typed})

    assert answer.status_code == status


# ---------------------------------------------------------------- If-Match


ENTRIES: dict[str, dict[str, Any]] = {
    "queues": {},
    "profiles": {},
    "repositories": {"url": "https://example.com/a.git"},
    "documents": {"title": "x"},
    "credentials": {"type": "secret", "value": "x"},
}


@pytest.mark.parametrize("kind", ENTRIES)
@pytest.mark.usefixtures("world")
def test_an_entry_that_was_changed_since_is_not_deleted(ada: Browser, kind: str) -> None:
    """`If-Match` with an older ETag refuses; with the present one it goes."""
    headers = {"Authorization": f"Bearer {ada.token}"}
    address, spec = f"/api/v1/{kind}/one", {"name": "one", **ENTRIES[kind]}
    old = ada.client.post(f"/api/v1/{kind}", json=spec, headers=headers).headers["ETag"]
    changed = {**spec, "description" if kind != "documents" else "title": "changed"}
    newer = ada.client.put(address, json=changed, headers={**headers, "If-Match": old}).headers["ETag"]

    late = ada.client.delete(address, headers={**headers, "If-Match": old})
    strange = ada.client.delete(address, headers={**headers, "If-Match": "yesterday's"})
    still = ada.client.get(address, headers=headers)
    gone = ada.client.delete(address, headers={**headers, "If-Match": newer})

    assert [one.status_code for one in (late, strange, still, gone)] == [412, 422, 200, 204]


# ---------------------------------------------------------------- while the provider is away


class Away:
    """An issuer's keys as they are known, while the issuer can't be reached."""

    def __init__(self, keys: Any) -> None:
        self.key = keys.key
        self.known_away_since = datetime.now(UTC)

    def away_since(self) -> datetime:
        return self.known_away_since


def test_whose_token_ran_out_while_the_provider_is_away_reads_and_changes_nothing(
    app: flask.Flask, ada: Browser
) -> None:
    """Whatever their roles were; the refusal says why."""
    verifier = app.extensions["keruta"]().verifier
    headers = {"Authorization": f"Bearer {ada.token}"}
    assert ada.client.get("/api/v1/me", headers=headers).status_code == 200
    verifier._keys, now = Away(verifier._keys), verifier._now
    verifier._now = lambda: now() + 2 * 3600

    me = ada.client.get("/api/v1/me", headers=headers)
    listed = ada.client.get("/api/v1/queues", headers=headers)
    only_admins_read = ada.client.get("/api/v1/users", headers=headers)
    made = ada.client.post("/api/v1/queues", json={"name": "made"}, headers=headers)

    assert (me.get_json()["roles"], me.get_json()["offline"], listed.status_code) == (["viewer"], True, 200)
    assert [(one.status_code, one.get_json()["reason"]) for one in (only_admins_read, made)] == [
        (403, "OfflineReadOnly")
    ] * 2


# ---------------------------------------------------------------- files of attempts


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(new_key())


@pytest.fixture
def agents(world: World, settings: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> flask.Flask:
    """report_status, as far as files go."""
    monkeypatch.setattr("keruta.logs.configure", lambda *_: None)
    unused: Any = None
    ports = handler.Ports(
        settings=settings, verifier=unused, sessions=sessions, access=MongoAgentAccess(world.database),
        reports=world.reports, results=Results(settings.results_dir), snapshots=MongoSnapshots(world.database, 60),
        mint=lambda found: found, document_text=unused, check=unused, dependencies=unused,
    )  # fmt: skip
    function = Function("report_status", settings, lambda _: ports, AGENTS, handler.HANDLERS)
    served = flask.Flask("report_status")
    served.add_url_rule(
        "/<path:path>", view_func=lambda path: function(flask.request._get_current_object()),  # type: ignore[attr-defined]
        methods=["PUT", "GET"], provide_automatic_options=False,
    )  # fmt: skip
    return served


def put(agents: flask.Flask, task: str, number: int | str, token: str | None, data: bytes) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    address = f"/agent/v1/tasks/{task}/attempts/{number}/artifacts/out/a.txt"
    answer = agents.test_client().put(address, data=data, headers=headers)
    return answer.status_code, (answer.get_json() or {}).get("reason", "")


def test_only_an_attempt_that_runs_stores_files_and_only_its_own(
    world: World, settings: Settings, agents: flask.Flask, sessions: Sessions, app: flask.Flask
) -> None:
    """Neither without a token of keruta's, nor with another attempt's, nor after the end: what is there stays."""
    mine, other = world.submit(), world.submit()
    world.worker(slots=2)
    world.assign()
    world.start(mine)
    times: dict[str, Any] = {"timeout_seconds": 3600, "lease_seconds": 30}
    token = sessions.for_attempt(attempt_id(mine, 1), **times)
    others = sessions.for_attempt(attempt_id(other, 1), **times)
    forged = Sessions(new_key()).for_attempt(attempt_id(mine, 1), **times)
    stored = settings.results_dir / mine / "1" / "out" / "a.txt"
    assert put(agents, mine, 1, token, b"first") == (204, "")

    refused = [
        put(agents, mine, 1, None, b"x"),
        put(agents, mine, 1, forged, b"x"),
        put(agents, mine, 1, signed_in(app, ADMIN).token, b"x"),
        put(agents, mine, 1, others, b"x"),
        put(agents, mine, 2, token, b"x"),
        put(agents, mine, "１", token, b"x"),
    ]
    world.end(mine)
    late = put(agents, mine, 1, token, b"late")

    assert [status for status, _ in refused] == [401, 401, 401, 403, 404, 404]
    assert late == (403, "AttemptEnded")
    assert stored.read_bytes() == b"first"
    assert [path.name for path in settings.results_dir.rglob("*.txt")] == ["a.txt"]


def test_a_stored_session_is_for_the_attempt_that_resumes_it(
    world: World, agents: flask.Flask, sessions: Sessions
) -> None:
    """Neither the attempt that stored it, nor another task's, nor a person gets it; nor is there a way to its key."""
    task, other = (world.submit(prompt="Do it.", profile="claude-code") for _ in range(2))
    world.worker(slots=2)
    world.assign()
    times: dict[str, Any] = {"timeout_seconds": 3600, "lease_seconds": 30}

    def token(of: str, number: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {sessions.for_attempt(attempt_id(of, number), **times)}"}

    def at(of: str, number: int, rest: str = "/snapshot") -> str:
        return f"/agent/v1/tasks/{of}/attempts/{number}{rest}"

    client = agents.test_client()
    for one in (task, other):
        world.start(one)
    assert client.put(at(task, 1), data=b"sealed", headers=token(task, 1)).status_code == 204
    assert client.get(at(task, 1), headers=token(task, 1)).status_code == 404
    own = client.get(at(task, 1, ""), headers=token(task, 1)).get_json()["snapshot_keys"]
    assert "snapshot_keys" not in client.get(at(task, 1, "?minted=false"), headers=token(task, 1)).get_json()
    world.report("w1", Waiting(task=task, attempt=1, execution="x1", question="?"))
    world.report("w1", Suspended(task=task, attempt=1, execution="x1", question="?", commit="c" * 40))
    assert client.put(at(task, 1), data=b"late", headers=token(task, 1)).status_code == 403
    send_input(world.commands, ANN, task, "Yes")
    world.assign()

    found = client.get(at(task, 2), headers=token(task, 2))
    resuming = client.get(at(task, 2, ""), headers=token(task, 2)).get_json()["snapshot_keys"]

    assert (found.status_code, found.data) == (200, b"sealed")
    assert resuming["resumed"] == own["own"] != resuming["own"]
    assert "resumed" not in client.get(at(other, 1, ""), headers=token(other, 1)).get_json()["snapshot_keys"]
    assert client.get(at(task, 2), headers=token(other, 1)).status_code == 403
    assert client.get(at(other, 1), headers=token(other, 1)).status_code == 404
    assert client.get(at(task, 2)).status_code == 401
    assert own["own"] not in str(list(world.database["tasks"].find()) + list(world.database["snapshots"].find()))


# ---------------------------------------------------------------- answers that take as long as their reader likes


@pytest.mark.parametrize("what", ["text/plain", "application/x-ndjson", "text/event-stream", "export"])
def test_nobody_holds_more_threads_than_their_share(
    world: World, app: flask.Flask, ada: Browser, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A log in each of its forms, and an export, count as open until they are closed; others have their own share."""
    monkeypatch.setattr(stream_limits, "LIMITS", StreamLimits(per_person=2, per_process=3))
    task = world.submit()
    world.worker()
    world.assign()
    world.start(task)
    world.end(task)
    paths = {"export": "/api/v1/export"}
    eve, zoe = (signed_in(app, person(name, "admin")) for name in ("eve", "zoe"))

    def ask(who: Browser) -> Any:
        headers = {"Authorization": f"Bearer {who.token}", "Accept": what if "/" in what else "*/*"}
        return who.client.get(paths.get(what, f"/api/v1/tasks/{task}/logs"), headers=headers, buffered=False)

    held = [ask(ada), ask(ada)]
    refused, others, full = ask(ada), ask(eve), ask(zoe)
    held[0].close()
    again = ask(ada)

    assert [one.status_code for one in held] == [200, 200]
    assert (refused.status_code, others.status_code, full.status_code, again.status_code) == (429, 200, 503, 200)
    assert refused.headers["Retry-After"]
    for one in (held[1], others, again):
        one.close()


def left_file(world: World, settings: Settings) -> str:
    """The address of a file that an attempt left."""
    task = world.submit()
    world.worker()
    world.assign()
    world.start(task)
    world.end(task, artifacts=[Artifact(path="a.txt", size_bytes=1_000_000, sha256="e" * 64)])
    directory = settings.results_dir / task / "1"
    directory.mkdir(parents=True)
    (directory / "a.txt").write_bytes(b"0123456789" * 100_000)
    return f"/api/v1/tasks/{task}/artifacts/a.txt"


def open_files(settings: Settings) -> list[str]:
    """Return the files of attempts that this process has open."""
    paths = [os.path.realpath(entry.path) for entry in os.scandir("/proc/self/fd")]
    return [path for path in paths if path.startswith(str(settings.results_dir))]


FILE_REQUESTS: dict[str, tuple[str, dict[str, str], int]] = {
    "whole": ("GET", {}, 200),
    "part": ("GET", {"Range": "bytes=10-19"}, 206),
    "no such part": ("GET", {"Range": "bytes=9999999-"}, 416),
    "the end": ("GET", {"Range": "bytes=-1"}, 206),
    "no range at all": ("GET", {"Range": "bytes=x"}, 200),
    "an end before its beginning": ("GET", {"Range": "bytes=9-2"}, 200),
    "several parts": ("GET", {"Range": "bytes=0-0,2-2"}, 200),
    "a part in another unit": ("GET", {"Range": "items=0-1"}, 200),
    "a part of what it was": ("GET", {"Range": "bytes=0-0", "If-Range": '"other"'}, 200),
    "head": ("HEAD", {}, 200),
    "not since then": ("GET", {"If-None-Match": f'"{"e" * 64}"'}, 304),
    "only of another time": ("GET", {"If-Match": '"other"'}, 412),
}


@pytest.mark.parametrize("how", FILE_REQUESTS)
def test_a_file_is_closed_and_counts_no_more_when_its_answer_is(
    world: World, app: flask.Flask, ada: Browser, settings: Settings, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Whatever part of it was asked for, and whether or not it was read to its end."""
    monkeypatch.setattr(stream_limits, "LIMITS", limits := StreamLimits(per_person=2, per_process=3))
    address, (method, more, status) = left_file(world, settings), FILE_REQUESTS[how]
    headers = {"Authorization": f"Bearer {ada.token}", **more}

    answers = []
    for _ in range(4):
        answer = ada.client.open(address, method=method, headers=headers, buffered=False)
        answers.append(answer.status_code)
        answer.close()

    assert answers == [status] * 4
    assert limits._open == {}
    assert open_files(settings) == []


def test_a_file_counts_while_it_is_read_and_is_not_left_open_by_a_refusal(
    world: World, app: flask.Flask, ada: Browser, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more than its reader's share is refused; the others are open until they are closed."""
    monkeypatch.setattr(stream_limits, "LIMITS", StreamLimits(per_person=2, per_process=3))
    address, headers = left_file(world, settings), {"Authorization": f"Bearer {ada.token}"}

    held = [ada.client.get(address, headers=headers, buffered=False) for _ in range(2)]
    refused = ada.client.get(address, headers=headers, buffered=False)
    left = len(open_files(settings))
    for one in held:
        one.close()
    again = ada.client.get(address, headers=headers, buffered=True)

    assert ([one.status_code for one in held], refused.status_code, again.status_code) == ([200, 200], 429, 200)
    assert (left, len(again.data), open_files(settings)) == (2, 1_000_000, [])


# ---------------------------------------------------------------- streams


def reading(world: World, browser: Browser, headers: dict[str, str]) -> Iterator[bytes]:
    """A log's stream of a task that runs, of which the first chunk was read."""
    task = world.submit()
    world.worker()
    world.assign()
    world.start(task)
    chunk = LogChunk(task=task, attempt=1, sequence=0, offset_bytes=0, at=datetime.now(UTC), data=b"hello\n")
    world.report("w1", chunk)
    answer = browser.client.get(f"/api/v1/tasks/{task}/logs", headers={**headers, "Accept": "text/event-stream"})
    assert answer.status_code == 200
    events = iter(answer.response)
    while b"hello" not in next(events):
        pass
    return events


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["key revoked", "token ran out", "signed out", "disabled", "roles taken"])
def test_a_stream_ends_with_what_opened_it(
    world: World, app: flask.Flask, ada: Browser, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """And says nothing more of the log."""
    monkeypatch.setattr(logs, "COMMENT_EVERY_SECONDS", 0.05)
    ports = app.extensions["keruta"]()
    ports.verifier.verify(ada.token)
    key = ports.accounts.make_key(ADMIN, ApiKeyRequest(name="k", roles=["viewer"]))
    headers = {"Authorization": f"Bearer {key.key if how in ('key revoked', 'roles taken') else ada.token}"}
    events = reading(world, ada, {} if how == "signed out" else headers)

    match how:
        case "key revoked":
            ports.accounts.revoke(ADMIN, key.shown.id)
        case "token ran out":
            now = ports.verifier._now
            ports.verifier._now = lambda: now() + 2 * 3600
        case "signed out":
            ports.browsers.end(ada.client.get_cookie("keruta-session").value)  # type: ignore[union-attr]
        case "roles taken":
            ports.accounts.note_roles(person("eve", "admin"), ADMIN.subject, [])
        case _:
            ports.accounts.set_disabled(person("eve", "admin"), ADMIN.subject, disabled=True)
    rest = b"".join(events)

    told = [part for part in rest.split(b"\n\n") if part not in (b": still here", b"")]
    assert len(told) == 1
    assert told[0].startswith(
        b'event: closed\ndata: {"reason":"SignInEnded","message":"This view is no longer updated: '
    )
