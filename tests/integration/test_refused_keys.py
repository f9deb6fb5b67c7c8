"""A key that the model's server refuses: other tasks with that key wait, whatever profile names it."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import flask
import pytest

from keruta.adapters.mongo.model_check import MongoModelCheck
from keruta.domain.catalog.circuits import CircuitView
from keruta.domain.catalog.credentials import CredentialSpec
from keruta.domain.catalog.profiles import ProfileSpec
from keruta.services.catalog import check_key
from tests.support.admin import signed_in
from tests.support.world import ANN, World, person


@pytest.fixture
def agents(world: World) -> World:
    """Two profiles with one key, and one with another; a worker with slots enough."""
    for name in ("key", "other"):
        world.catalogs["credential"].create(ANN, CredentialSpec(
            name=name, type="secret", value="x", hosts=["api.anthropic.com"],
        ))  # fmt: skip
    for name, key in (("a", "key"), ("b", "key"), ("c", "other")):
        world.catalogs["profile"].create(ANN, ProfileSpec(name=name, coding_agent="claude-code", model_credential=key))
    world.worker(slots=8)
    return world


def submit(world: World, profile: str) -> str:
    return world.submit(profile=profile, prompt="Do it.", script=None)


def refused(world: World, profile: str = "a") -> str:
    """A task whose key was refused."""
    task = submit(world, profile)
    world.assign()
    world.start(task)
    world.end(task, status="failed", reason="ModelUnauthorized", message="no such key", exit_code=1,
              usage={"turns": 0.0})  # fmt: skip
    return task


def statuses(world: World, *tasks: str) -> list[str]:
    world.assign()
    return [world.task(task).status for task in tasks]


def circuit(world: World) -> CircuitView | None:
    found: CircuitView | None = world.catalogs["credential"].show(ANN, "key").circuit
    return found


def test_one_refusal_holds_the_other_tasks_with_the_key(agents: World) -> None:
    """Also those of another profile; tasks with another key, and without one, go on."""
    refused(agents)
    held, also_held, free, script = submit(agents, "a"), submit(agents, "b"), submit(agents, "c"), agents.submit()

    assert statuses(agents, held, also_held, free, script) == ["queued", "queued", "assigned", "assigned"]
    waiting = agents.task(also_held).waiting
    assert waiting is not None
    assert waiting.message_code == "waiting_circuit"
    assert "credential key" in waiting.why
    assert "no such key" in waiting.why


def test_a_new_value_lets_them_go_on(agents: World) -> None:
    refused(agents)
    held = submit(agents, "b")
    assert statuses(agents, held) == ["queued"]
    spec = CredentialSpec(name="key", type="secret", value="new", hosts=["api.anthropic.com"])
    agents.catalogs["credential"].replace(ANN, "key", spec, None)

    assert circuit(agents) is None
    assert statuses(agents, held) == ["assigned"]


def test_after_a_while_one_task_tries(agents: World) -> None:
    """One of all with that key; its answered requests let the others go on, and another refusal does not."""
    refused(agents)
    held = [submit(agents, "a"), submit(agents, "b")]
    for works in (False, True):
        agents.database["circuits"].update_many({"kind": "credential"}, {"$set": {"probe_at": datetime.now(UTC)}})
        assert sorted(statuses(agents, *held)) == ["assigned", "queued"]
        trial = next(task for task in held if agents.task(task).status == "assigned")
        agents.start(trial)
        if works:
            agents.end(trial, usage={"turns": 3.0})
        else:
            agents.end(trial, status="failed", reason="ModelUnauthorized", message="again", exit_code=1)
            held = [task for task in held if task != trial] + [submit(agents, "a")]
            assert statuses(agents, *held) == ["queued", "queued"]

    assert circuit(agents) is None
    assert "queued" not in statuses(agents, *held)


def test_a_script_that_ends_well_says_nothing_of_the_key(agents: World) -> None:
    script = agents.submit(profile="a")
    agents.assign()
    agents.start(script)
    refused(agents)
    agents.end(script)

    assert circuit(agents) is not None


def test_it_is_shown_and_closed_by_whoever_may_use_the_key(agents: World, app: flask.Flask) -> None:
    refused(agents)
    found = circuit(agents)
    assert found is not None
    assert (found.open, found.kind, found.reason) == (True, "credential", "ModelUnauthorized")
    browser = signed_in(app, ANN)
    assert "no such key" in browser.ask("GET", "/credentials/key")[1]

    assert browser.ask("POST", f"/api/v1/circuits/{found.id}/close", {})[0] in (200, 204)
    assert circuit(agents) is None


# ---------------------------------------------------------------- asking the model's server


class Models:
    """A model's server that lists models for one key, in the form of each API."""

    def __init__(self) -> None:
        self.key, self.status = "good", 200
        self.asked: list[tuple[str, str]] = []
        models = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                given = self.headers.get("x-api-key") or self.headers.get("Authorization", "").removeprefix("Bearer ")
                models.asked.append((self.path, given))
                status = models.status if given == models.key else 401
                body = json.dumps({"data": [{"id": "model-b"}, {"id": "model-a"}]} if status == 200 else {}).encode()
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class QuietHandler(http.server.BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def models() -> Iterator[Models]:
    made = Models()
    yield made
    made.server.shutdown()
    made.server.server_close()


def key_for(world: World, models: Models, value: str = "good", hosts: list[str] | None = None) -> None:
    spec = CredentialSpec(name="key", type="secret", value=value, hosts=hosts or [models.host])
    world.catalogs["credential"].replace(ANN, "key", spec, None)


def profile_at(world: World, name: str, agent: str, url: str) -> None:
    spec = ProfileSpec(name=name, coding_agent=agent, model_credential="key", base_url=url)  # type: ignore[arg-type]
    world.catalogs["profile"].replace(ANN, name, spec, None)


@pytest.mark.parametrize(("agent", "path"), [("claude-code", "/v1/models"), ("codex", "/v1/models")])
def test_the_models_server_says_whether_it_takes_the_key(agents: World, models: Models, agent: str, path: str) -> None:
    """Each API is asked in its own way, for the list of models; tasks that wait for the key go on."""
    check = MongoModelCheck(agents.database, agents.sealer)
    for name in ("a", "b"):
        profile_at(agents, name, agent, models.url)
    key_for(agents, models)
    refused(agents)
    held = submit(agents, "a")
    assert statuses(agents, held) == ["queued"]

    found = check_key(ANN, "key", catalogs=agents.catalogs, model_check=check)
    assert (found.accepted, found.reason, found.models) == (True, None, ["model-a", "model-b"])
    assert models.asked == [(path, "good")]
    assert statuses(agents, held) == ["assigned"]

    key_for(agents, models, "bad")
    found = check("key")
    assert (found.accepted, found.reason, found.message_code) == (False, "ModelUnauthorized", "model_key_refused")
    assert "bad" not in found.message


@pytest.mark.parametrize(
    ("status", "accepted", "code"),
    [(429, True, "model_key_limited"), (500, False, "model_key_fault"), (302, False, "model_key_fault")],
)
def test_other_answers_are_told_apart(agents: World, models: Models, status: int, accepted: bool, code: str) -> None:
    """A redirect is not followed: the key would go elsewhere."""
    for name in ("a", "b"):
        profile_at(agents, name, "claude-code", models.url)
    key_for(agents, models)
    models.status = status

    found = MongoModelCheck(agents.database, agents.sealer)("key")
    assert (found.accepted, found.message_code, len(models.asked)) == (accepted, code, 1)


def test_a_key_goes_to_its_own_hosts_alone(agents: World, models: Models) -> None:
    """And nowhere if no profile says for which server it is, or the server is away."""
    check = MongoModelCheck(agents.database, agents.sealer)
    for name in ("a", "b"):
        profile_at(agents, name, "claude-code", models.url)
    key_for(agents, models, hosts=["api.anthropic.com"])
    assert check("key").message_code == "credential_other_host"
    assert models.asked == []
    key_for(agents, models)
    models.server.shutdown()
    models.server.server_close()
    assert check("key").reason == "ModelNotReached"

    agents.catalogs["credential"].create(ANN, CredentialSpec(name="free", type="secret", value="x"))
    assert check("free").message_code == "model_key_unused"


def test_only_who_may_use_a_key_asks_with_it(agents: World, app: flask.Flask) -> None:
    """The key of no profile asks no server."""
    agents.catalogs["credential"].create(ANN, CredentialSpec(name="free", type="secret", value="x"))
    for name, status in (("ann", 200), ("dev", 403)):
        browser = signed_in(app, ANN if name == "ann" else person("dev", "developer"))
        assert browser.ask("POST", "/api/v1/credentials/free/validate", {})[0] == status
