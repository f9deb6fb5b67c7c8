"""keruta with the real Keycloak: roles, rotation, people who are disabled, and what goes on while it is away."""

from __future__ import annotations

import json
import re
import statistics
import threading
import time
from collections import Counter
from typing import Any

import msgspec
import pytest
import urllib3

from tests.support.keycloak import Keycloak
from tests.support.processes import command_line
from tests.support.system import RunningSystem, eventually

pytestmark = pytest.mark.timeout(300)
_pool = urllib3.PoolManager(maxsize=16, retries=False, timeout=20.0)


def ask(system: RunningSystem, method: str, path: str, token: str, body: Any = None) -> urllib3.BaseHTTPResponse:
    headers = {"Authorization": f"Bearer {token}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    data = None if body is None else msgspec.json.encode(body)
    return _pool.request(method, system.running.url + path, body=data, headers=headers)


def submit(system: RunningSystem, token: str, repository: str, script: str = "true") -> urllib3.BaseHTTPResponse:
    return ask(system, "POST", "/api/v1/tasks", token, {"repository": {"url": repository}, "script": script})


def test_a_developer_runs_a_task_by_a_worker_that_signed_in_itself(
    system: RunningSystem, keycloak: Keycloak, repository: str
) -> None:
    """The worker's token came by client credentials, the person's from Keycloak."""
    answer = submit(system, keycloak.token("dev"), repository, "echo hello")
    assert answer.status == 201, answer.data
    where = f"/api/v1/tasks/{answer.json()['id']}"

    task = eventually(
        lambda: (seen := ask(system, "GET", where, keycloak.token("vera")).json())["status"] == "succeeded" and seen, 60
    )

    assert task["attempts"][0]["worker"] == "this-machine"


def test_roles_come_from_groups_and_count(system: RunningSystem, keycloak: Keycloak, repository: str) -> None:
    viewer, developer, admin = (keycloak.token(name) for name in ("vera", "dev", "ada"))
    missing = submit(system, viewer, repository)

    assert missing.status == 403
    assert missing.json()["reason"] == "RoleMissing"
    assert missing.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'
    assert submit(system, developer, repository).status == 201
    assert ask(system, "GET", "/api/v1/users", developer).status == 403
    people = {one["name"]: one for one in ask(system, "GET", "/api/v1/users", admin).json()["items"]}
    assert people["dev"]["groups"] == ["keruta-developers"]
    assert "developer" in people["dev"]["roles"]
    assert people["dev"]["mail"] == "dev@example.com"
    assert ask(system, "GET", "/api/v1/me", viewer).json()["name"] == "vera"


def test_a_developer_cancels_their_own_and_an_administrator_any(
    system: RunningSystem, keycloak: Keycloak, repository: str
) -> None:
    own, other = (submit(system, keycloak.token("dev"), repository, "sleep 60").json()["id"] for _ in range(2))

    refused = ask(system, "POST", f"/api/v1/tasks/{own}/cancel", keycloak.token("dana"))

    assert (refused.status, refused.json()["reason"]) == (403, "GrantMissing")
    assert ask(system, "POST", f"/api/v1/tasks/{own}/cancel", keycloak.token("dev")).status == 200
    assert ask(system, "POST", f"/api/v1/tasks/{other}/cancel", keycloak.token("ada")).status == 200


def test_a_role_that_is_taken_away_is_gone_with_the_next_token(system: RunningSystem, keycloak: Keycloak) -> None:
    person = keycloak.admin("GET", "/users?username=dana&exact=true")[0]["id"]
    group = next(one["id"] for one in keycloak.admin("GET", "/groups") if one["name"] == "keruta-developers")
    before = set(ask(system, "GET", "/api/v1/me", keycloak.token("dana")).json()["roles"])

    keycloak.admin("DELETE", f"/users/{person}/groups/{group}")
    try:
        after = ask(system, "GET", "/api/v1/me", keycloak.token("dana"))
    finally:
        keycloak.admin("PUT", f"/users/{person}/groups/{group}")

    assert "developer" in before
    assert (after.status, after.json()["reason"]) == (403, "RoleMissing")


def test_an_administrator_gives_and_takes_roles_at_keycloak(system: RunningSystem, keycloak: Keycloak) -> None:
    ada, token = keycloak.token("ada"), keycloak.token("vera")
    subject = ask(system, "GET", "/api/v1/me", token).json()["subject"]
    where = f"/api/v1/users/{subject}/roles"

    given = ask(system, "PUT", where, ada, {"roles": ["viewer", "developer"]})
    with_it = ask(system, "GET", "/api/v1/me", keycloak.token("vera")).json()["roles"]
    taken = ask(system, "PUT", where, ada, {"roles": ["viewer"]})
    without = ask(system, "GET", "/api/v1/me", keycloak.token("vera")).json()["roles"]
    of_group = ask(system, "PUT", where, ada, {"roles": []})
    me = ask(system, "GET", "/api/v1/me", ada).json()["subject"]

    assert (given.status, given.json()["roles"]) == (200, ["developer", "viewer"])
    assert with_it == ["developer", "viewer"]
    assert (taken.status, without) == (200, ["viewer"])
    assert (of_group.status, of_group.json()["reason"]) == (409, "RoleOfGroup")
    assert ask(system, "PUT", f"/api/v1/users/{me}/roles", ada, {"roles": []}).json()["reason"] == "OwnAccount"
    assert ask(system, "PUT", where, token, {"roles": ["admin"]}).status == 403
    seen = ask(system, "GET", "/api/v1/audit?kind=user", ada).json()["items"]
    assert [one for one in seen if one["action"] == "give_roles" and one["who"] == "ada"]


def test_someone_who_is_disabled_is_out_at_once(system: RunningSystem, keycloak: Keycloak) -> None:
    token = keycloak.token("dana")
    subject = ask(system, "GET", "/api/v1/me", token).json()["subject"]

    ask(system, "POST", f"/api/v1/users/{subject}/disable", keycloak.token("ada"))
    out = ask(system, "GET", "/api/v1/me", token)
    ask(system, "POST", f"/api/v1/users/{subject}/enable", keycloak.token("ada"))

    assert (out.status, out.json()["reason"]) == (403, "AccountDisabled")
    assert ask(system, "GET", "/api/v1/me", token).status == 200


def test_tokens_that_are_none_for_keruta(system: RunningSystem, keycloak: Keycloak) -> None:
    """An ID token, a refresh token, another client's, and one of the realm of administrators."""
    granted = keycloak.grant(grant_type="password", username="dev", password="c0rrect-horse-battery", scope="openid")

    for name in ("id_token", "refresh_token"):
        refused = ask(system, "GET", "/api/v1/tasks", granted[name])
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert ask(system, "GET", "/api/v1/tasks", granted["access_token"]).status == 200


def test_a_refresh_token_whose_answer_was_lost_works_once_more(keycloak: Keycloak) -> None:
    """As when Keycloak stalls in the middle of a renewal; once its successor was used it is void."""
    first = keycloak.grant(grant_type="password", username="dev", password="c0rrect-horse-battery")["refresh_token"]

    def renewed(token: str) -> dict[str, Any]:
        return keycloak.grant(grant_type="refresh_token", refresh_token=token)

    time.sleep(1.1)  # Keycloak tells older tokens from newer ones by the second in which they were made
    lost = renewed(first)
    got = renewed(first)
    assert "access_token" in lost
    assert "access_token" in got
    assert "access_token" in renewed(got["refresh_token"])
    with pytest.raises(AssertionError, match="invalid_grant"):
        renewed(first)


class Load:
    """Requests all the time."""

    def __init__(self, system: RunningSystem, keycloak: Keycloak, name: str) -> None:
        self._system, self._keycloak, self._name = system, keycloak, name
        self.statuses: Counter[int] = Counter()
        self.took: list[float] = []
        self.token = keycloak.token(name)
        self.fresh = True  # whether another token is fetched every other second
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]
        self._threads.append(threading.Thread(target=self._renew))

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _renew(self) -> None:
        while not self._stop.wait(2):
            if self.fresh:
                self.token = self._keycloak.token(self._name)

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            status = ask(self._system, "GET", "/api/v1/tasks?limit=1", self.token).status
            self.took.append(time.monotonic() - began)
            self.statuses[status] += 1


def test_keys_are_rotated_under_load_and_no_request_fails(system: RunningSystem, keycloak: Keycloak) -> None:
    with Load(system, keycloak, "dev") as load:
        time.sleep(3)
        for _ in range(2):
            keycloak.rotate()
            time.sleep(11)

    print(f"rotation: {sum(load.statuses.values())} requests, {dict(load.statuses)}")
    assert set(load.statuses) == {200}


def test_keycloak_is_away_for_a_minute(system: RunningSystem, keycloak: Keycloak, repository: str) -> None:
    """People at work read on, nothing is written, running tasks end, and when it is back all is as before."""
    token = keycloak.token("dev")
    running = submit(system, token, repository, "sleep 25; echo ended").json()["id"]
    with Load(system, keycloak, "vera") as load:
        time.sleep(2)
        load.fresh = False
        time.sleep(3)
        before = len(load.took)
        keycloak.freeze()
        try:
            eventually(lambda: "degraded" in _ready(system), 40, "degraded")
            eventually(lambda: submit(system, token, repository).json()["reason"] == "OfflineReadOnly", 30, "read only")
            late = ask(system, "GET", f"/api/v1/tasks/{running}", token)
            me = ask(system, "GET", "/api/v1/me", token).json()
            time.sleep(25)
            ended = ask(system, "GET", f"/api/v1/tasks/{running}", token).json()
        finally:
            keycloak.thaw()
        away = load.took[before:]
        eventually(lambda: "degraded" not in _ready(system, token), 60, "its return")
        load.fresh = True
        time.sleep(4)

    slow = sorted(away)[-5:]
    print(
        f"away: {len(away)} requests, {dict(load.statuses)}, p50 {statistics.median(away) * 1000:.0f} ms, "
        f"slowest {', '.join(f'{one:.2f}' for one in slow)} s"
    )
    assert (late.status, me["offline"], me["roles"]) == (200, True, ["viewer"])
    assert ended["status"] == "succeeded"
    assert sum(one > 1.5 for one in away) <= 12, "requests wait for Keycloak, each for itself"
    # Until it is noticed that Keycloak is away, a token that has run out is no more than that.
    assert load.statuses[200] > 0.8 * sum(load.statuses.values())
    assert set(load.statuses) <= {200, 401}
    assert submit(system, keycloak.token("dev"), repository).status == 201


def _ready(system: RunningSystem, token: str = "") -> str:
    if token:  # a token that ran out makes keruta look whether Keycloak is back
        ask(system, "GET", "/api/v1/me", token)
    return _pool.request("GET", f"{system.running.url}/readyz").data.decode()


def test_no_token_lies_anywhere(system: RunningSystem, keycloak: Keycloak, repository: str) -> None:
    """In no log, no document of the database, no command line: neither people's, nor services', nor attempts'."""
    token = keycloak.token("dev")
    done = submit(system, token, repository, "env; echo done").json()["id"]
    for wrong in (f"{token}x", token[:-5], f"{token}.{token}"):
        assert ask(system, "GET", "/api/v1/tasks", wrong).status == 401
    eventually(
        lambda: ask(system, "GET", f"/api/v1/tasks/{done}", keycloak.token("dev")).json()["status"] == "succeeded", 60
    )

    places = {path.name: path.read_text(errors="replace") for path in (system.state.root / "log").iterdir()}
    with system.database_client() as client:
        for name in client["keruta"].list_collection_names():
            places[f"collection {name}"] = json.dumps(list(client["keruta"][name].find()), default=str)
    for process in system.processes():
        places[f"process {process.pid}"] = " ".join(command_line(process))

    assert len(places) > 10
    found = [name for name, text in places.items() if re.search(r"eyJ[A-Za-z0-9_-]{10,}\.eyJ", text)]
    assert found == []
    assert not [name for name, text in places.items() if "w0rker-s3cret" in text]
