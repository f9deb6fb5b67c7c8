"""The API as its own document describes it, and what it does with bad input."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
from typing import Any

import msgspec
import pytest
import schemathesis
import urllib3
from hypothesis import HealthCheck, Phase, given, settings

from keruta.domain.api.table import ROUTES
from keruta.domain.naming import new_id
from keruta.domain.roles import AGENT, ANYONE
from keruta.local.state import State
from tests.support.system import KERUTA, RunningSystem, eventually

CASES_EACH = 20
_pool = urllib3.PoolManager(retries=False, timeout=20.0)


def ask(
    system: RunningSystem, method: str, path: str, body: Any = None, *, token: str | None = "", **headers: str
) -> urllib3.BaseHTTPResponse:
    if token is not None:
        headers["Authorization"] = f"Bearer {token or system.running.token}"
    if body is not None:
        headers.setdefault("Content-Type", "application/json")
        body = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return _pool.request(method, system.running.url + path, body=body, headers=headers)


def problem(answer: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.json()  # type: ignore[no-any-return]


def token_for(state: State, *roles: str) -> str:
    from datetime import timedelta

    return state.issuer().issue("someone", list(roles), lifetime=timedelta(minutes=5))


def test_a_submit_is_201_with_its_location_and_a_repeat_200(system: RunningSystem, repository: str) -> None:
    body = {"repository": {"url": repository}, "script": "true"}
    key = new_id()

    first = ask(system, "POST", "/api/v1/tasks", body, **{"Idempotency-Key": key})
    again = ask(system, "POST", "/api/v1/tasks", body, **{"Idempotency-Key": key})
    other = ask(system, "POST", "/api/v1/tasks", {**body, "priority": 1}, **{"Idempotency-Key": key})

    assert (first.status, again.status, other.status) == (201, 200, 422)
    assert first.json()["id"] == again.json()["id"]
    assert problem(other)["reason"] == "IdempotencyKeyReused"
    location = first.headers["Location"].removeprefix(system.running.url)
    assert ask(system, "GET", location).json()["id"] == first.json()["id"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[" * 200_000, 400),
        (b"x" * (1024 * 1024 + 1), 413),
        (b'{"script": 1}', 422),
        (b"null", 422),
        (b"", 400),
    ],
)
def test_bad_bodies_get_a_problem_and_change_nothing(system: RunningSystem, body: bytes, status: int) -> None:
    answer = ask(system, "POST", "/api/v1/tasks", body)

    assert answer.status == status
    told = problem(answer)
    assert told["detail"]
    assert told["request_id"] == answer.headers["X-Request-Id"]
    assert "Traceback" not in answer.data.decode()


def test_a_packed_body_is_refused_and_not_read_in_part(system: RunningSystem) -> None:
    """Two gzip members: who unpacks the first alone takes half of it for all."""
    body = gzip.compress(b'{"repository": {"url": "https://example.com/a.git"}, ') + gzip.compress(b'"script": "true"}')
    for path, kind in (("/api/v1/tasks", "application/json"), ("/api/v1/import", "application/yaml")):
        answer = ask(system, "POST", path, body, **{"Content-Type": kind, "Content-Encoding": "gzip"})
        assert (answer.status, problem(answer)["message_code"]) == (415, "http_content_encoding")


def test_another_content_type_is_refused(system: RunningSystem) -> None:
    assert ask(system, "POST", "/api/v1/tasks", b"a=b", **{"Content-Type": "text/plain"}).status == 415


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.roles != ANYONE and route.path != "/"], ids=lambda r: r.name
)
def test_every_route_demands_a_token_of_its_roles(system: RunningSystem, route: Any) -> None:
    """None: 401. A stranger's, or one for something else: 401. One without the role: 403."""
    path = route.path.replace("{id}", "0" * 26).replace("{n}", "1").replace("{path}", "x")
    body = {} if route.body else None

    without = ask(system, route.method, path, body, token=None)
    forged = ask(system, route.method, path, body, token="eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.")
    roleless = ask(system, route.method, path, body, token=token_for(system.state, "nobody"))

    assert (without.status, forged.status) == (401, 401)
    assert without.headers["WWW-Authenticate"].startswith("Bearer")
    assert roleless.status in (401, 403)
    assert "eyJ" not in without.data.decode() + forged.data.decode() + roleless.data.decode()


@pytest.mark.parametrize("route", [route for route in ROUTES if route.path != "/"], ids=lambda r: r.name)
def test_each_role_may_do_what_the_table_says(system: RunningSystem, route: Any) -> None:
    """The full product of routes and roles: the role is missing where the table has it not, and nowhere else."""
    if route.inside or route.roles == ANYONE:
        return
    path = re.sub(r"\{\w+\}", "1", route.path)
    body = {} if route.body else None
    for role in ("viewer", "developer", "admin", "worker", "dispatcher"):
        answer = ask(system, route.method, path, body, token=token_for(system.state, role))
        if route.roles == AGENT:
            assert answer.status == 401, role
        elif role in route.roles:
            assert answer.status != 401, role
            assert answer.status != 403 or problem(answer)["reason"] != "RoleMissing", role
        else:
            assert (answer.status, problem(answer)["reason"]) == (403, "RoleMissing"), role


def test_a_viewer_reads_and_nothing_more(system: RunningSystem, repository: str) -> None:
    viewer = token_for(system.state, "viewer")
    task_id = system.submit(repository, "true")

    assert ask(system, "GET", f"/api/v1/tasks/{task_id}", token=viewer).status == 200
    answer = ask(system, "POST", f"/api/v1/tasks/{task_id}/cancel", token=viewer)
    assert (answer.status, problem(answer)["reason"]) == (403, "RoleMissing")
    assert "admin or developer" in problem(answer)["detail"]


def test_a_batch_with_bad_entries_is_answered_entry_by_entry(system: RunningSystem) -> None:
    """Unreadable entries get an outcome each and do not change the batch's status."""
    worker_token = (system.state.root / "tokens" / "worker").read_text()
    session = ask(system, "PUT", "/agent/v1/workers/test-worker", {"slots": 0}, token=worker_token)
    assert session.status == 200
    entries = [
        {"kind": "preparing", "task": "0" * 26, "attempt": 1},
        {"kind": "no such kind"},
        17,
        {"kind": "log", "task": "0" * 26, "attempt": 1, "sequence": -1, "offset_bytes": 0, "data": "", "at": "x"},
        {"kind": "ended", "task": "0" * 26, "attempt": 1, "status": "failed"},
    ]

    answer = ask(system, "POST", "/agent/v1/reports", {"entries": entries}, token=session.json()["token"])

    assert answer.status == 200
    reasons = [outcome["reason"] for outcome in answer.json()["outcomes"]]
    assert reasons == ["NoSuchTask", "InvalidEntry", "InvalidEntry", "InvalidEntry", "NoSuchTask"]


def test_artifacts_have_ranges_and_safe_names(system: RunningSystem, repository: str) -> None:
    task_id = system.submit(
        repository, 'printf 0123456789 > "$KERUTA_ARTIFACTS/a b.html"; ln -s /etc/passwd "$KERUTA_ARTIFACTS/link"'
    )
    task = system.ended(task_id)
    path = f"/api/v1/tasks/{task_id}/artifacts/a%20b.html"

    whole = ask(system, "GET", path)
    part = ask(system, "GET", path, Range="bytes=2-4")
    beyond = ask(system, "GET", path, Range="bytes=50-60")

    assert [artifact.path for artifact in task.artifacts] == ["a b.html", "log.gz"]
    assert (whole.status, whole.data) == (200, b"0123456789")
    assert whole.headers["Content-Type"] == "application/octet-stream"
    assert whole.headers["Content-Disposition"].startswith("attachment")
    assert (part.status, part.data, part.headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")
    assert beyond.status == 416
    for wrong in ("link", "../../../keys/session.pem", "%2e%2e/%2e%2e/x", "none"):
        assert ask(system, "GET", f"/api/v1/tasks/{task_id}/artifacts/{wrong}").status == 404


def test_each_attempt_keeps_its_times_files_and_outputs(system: RunningSystem, repository: str) -> None:
    """A retry by hand changes nothing of the attempt before it, whose files and outputs can still be fetched."""
    script = 'n=$KERUTA_ATTEMPT; echo "try $n" > "$KERUTA_ARTIFACTS/a.txt"; echo "n=$n" >> "$KERUTA_OUTPUTS"; exit 3'
    task_id = system.submit(repository, script)
    first = system.ended(task_id).attempts[0]
    assert ask(system, "POST", f"/api/v1/tasks/{task_id}/retry").status == 200
    eventually(lambda: len(system.client.task(task_id).attempts) == 2)
    task = system.ended(task_id)
    path = f"/api/v1/tasks/{task_id}/artifacts"

    earlier = ask(system, "GET", f"{path}?attempt=1").json()

    assert task.attempts[0] == first
    assert [one.exit_code for one in task.attempts] == [3, 3]
    assert [one.outputs for one in task.attempts] == [{"n": "1"}, {"n": "2"}]
    assert all(one.log_bytes for one in task.attempts)
    assert task.outputs == {"n": "2"}
    assert earlier["outputs"] == {"n": "1"}
    assert ask(system, "GET", f"{path}/a.txt?attempt=1").data == b"try 1\n"
    assert ask(system, "GET", f"{path}/a.txt").data == b"try 2\n"
    assert ask(system, "GET", f"{path}/a.txt?attempt=3").status == 404
    assert ask(system, "GET", f"{path}/a.txt?attempt=x").status == 422


def test_lists_are_paged_and_filtered(system: RunningSystem, repository: str) -> None:
    ids = [system.submit(repository, "true", labels={"page": "of-this-test"}) for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        page = ask(system, "GET", f"/api/v1/tasks?label=page%3Dof-this-test&limit=2{cursor}").json()
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next']}"

    assert seen == sorted(ids, reverse=True)
    assert page["next"] is None
    for wrong in ("limit=0", "limit=x", "cursor=x", "status=none", "label=x"):
        assert ask(system, "GET", f"/api/v1/tasks?{wrong}").status == 422


def test_a_dead_letter_is_kept(system: RunningSystem) -> None:
    token = (system.state.root / "tokens" / "events").read_text()
    headers = {"ce-specversion": "1.0", "ce-id": new_id(), "ce-type": "t", "ce-source": "/s"}

    answer = ask(system, "POST", "/events/dead-letters", {}, token=token, **headers)
    refused = ask(system, "POST", "/events/dead-letters", {}, token=token)

    assert (answer.status, refused.status) == (204, 422)


def test_every_part_says_what_it_has_counted_and_to_those_inside_alone(system: RunningSystem, repository: str) -> None:
    system.ended(system.submit(repository, "true"))
    ports = system.state.ports_in_use()
    told = {}
    for part in ("create-task", "dispatch", "report-status", "admin"):
        answer = _pool.request("GET", f"http://127.0.0.1:{ports[part]}/metrics")
        told[part] = answer.data.decode()
        assert answer.status == 200

    assert 'keruta_http_requests_total{route="create_task",status="201"}' in told["create-task"]
    assert 'keruta_http_requests_total{route="dispatch",status="204"}' in told["dispatch"]
    assert 'keruta_attempts_ended_total{reason="",status="succeeded"}' in told["report-status"]
    assert 'keruta_tasks{status="queued"}' in told["admin"]
    for part in ("create-task", "dispatch", "report-status"):  # as a Job would ask, through Knative's gateway
        through = {"X-Forwarded-For": "10.244.0.9"}
        answer = _pool.request("GET", f"http://127.0.0.1:{ports[part]}/metrics", headers=through)
        assert answer.status == 404
    for path in ("/metrics", "/metrics/", "/metrics/x"):
        answer = _pool.request("GET", system.running.url + path, redirect=False)
        assert (answer.status, answer.headers["Location"]) == (302, "/")


def test_every_route_of_the_servers_is_in_the_table() -> None:
    """And every route of the table is served by one of them."""
    import importlib
    import logging

    from admin.bootstrap import create_app
    from keruta.settings import Settings

    root = logging.getLogger()
    handlers = root.handlers[:], root.level
    try:
        app = create_app(Settings())
        anyones = ("sign_in.", "assets.", "badges_pages.badge")
        pages = [rule for rule in app.url_map.iter_rules() if ".page_" in rule.endpoint]
        # A page is for those who may use the route that it names.
        assert all(app.view_functions[rule.endpoint].route in ROUTES for rule in pages)
        rules = {
            (method, rule.rule.replace("<path:path>", "{path}").replace("<", "{").replace(">", "}"))
            for rule in app.url_map.iter_rules()
            for method in rule.methods - {"HEAD", "OPTIONS"}
            if rule not in pages and not rule.endpoint.startswith(anyones)
        }
        served = set(rules) | {("GET", "/agent/v1/readyz"), ("GET", "/metrics")}
        for name in ("create_task", "dispatch", "report_status", "receive_event"):
            module = importlib.import_module(f"functions.{name}.main")
            served |= {(route.method, route.path) for route, _, _ in module.function._routes}
    finally:
        root.handlers[:], root.level = handlers
    assert os.environ.get("KERUTA_URL") is None
    assert served == {(route.method, route.path) for route in ROUTES}


@pytest.mark.timeout(280)
def test_every_operation_keeps_to_the_document(system: RunningSystem, repository: str) -> None:
    """40 made-up requests for each of its operations, with every check that schemathesis has but two."""
    task_id = system.submit(repository, "echo x")
    eventually(lambda: system.ended(task_id))
    document = json.loads(ask(system, "GET", "/api/v1/openapi.json").data)
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=system.running.url)
    left_out = [
        schemathesis.checks.CHECKS.get_by_names([name])[0]
        for name in (
            "unsupported_method",  # a function answers 405 where admin, under the same address, serves the method
            "positive_data_acceptance",  # what the document can't say: which repository addresses are good ones
        )
    ]
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.startswith("/agent"):
            continue  # tokens that keruta signs itself: tested above

        def one(case: Any) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(
                headers={"Authorization": f"Bearer {system.running.token}"}, excluded_checks=left_out, timeout=20
            )

        run = settings(
            max_examples=CASES_EACH, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        run(given(case=operation.as_strategy())(one))()
    print(f"schemathesis: {tried} cases")
    assert tried >= 400


def test_refusals_are_on_record_with_from_where_and_by_which_request(system: RunningSystem, repository: str) -> None:
    viewer = token_for(system.state, "viewer")
    submit = ask(system, "POST", "/api/v1/tasks", {"repository": {"url": repository}, "script": "true"}, token=viewer)
    users = ask(system, "GET", "/api/v1/users", token=viewer)
    assert (submit.status, users.status) == (403, 403)

    page = ask(system, "GET", "/api/v1/audit?kind=route&limit=10").json()["items"]
    whole = ask(system, "GET", "/api/v1/audit?kind=route", Accept="application/x-ndjson").data.splitlines()

    mine = {one["of"]: one for one in page if one["who"] == "someone"}
    assert mine["create_task"]["refused"] == "RoleMissing"
    assert mine["list_users"]["request"] == users.headers["X-Request-Id"]
    assert mine["list_users"]["address"] == "127.0.0.1"
    assert {json.loads(line)["of"] for line in whole} >= {"create_task", "list_users"}


def test_an_api_key_works_until_it_is_revoked(system: RunningSystem) -> None:
    made = ask(system, "POST", "/api/v1/api-keys", {"name": "ci", "roles": ["viewer"]})
    key = made.json()["key"]

    assert made.status == 201
    assert ask(system, "GET", "/api/v1/tasks", token=key).status == 200
    assert ask(system, "POST", "/api/v1/tasks", {}, token=key).status == 403
    listed = ask(system, "GET", "/api/v1/api-keys").json()["items"]
    assert key not in json.dumps(listed)
    assert ask(system, "DELETE", f"/api/v1/api-keys/{made.json()['shown']['id']}").status == 204
    assert ask(system, "GET", "/api/v1/tasks", token=key).status == 401


def test_a_developer_may_not_cancel_anothers_task(system: RunningSystem, repository: str) -> None:
    task_id = system.submit(repository, "sleep 30")
    stranger = token_for(system.state, "developer")

    refused = ask(system, "POST", f"/api/v1/tasks/{task_id}/cancel", token=stranger)

    assert (refused.status, problem(refused)["reason"]) == (403, "GrantMissing")
    assert ask(system, "POST", f"/api/v1/tasks/{task_id}/cancel").status == 200


def test_keruta_token_makes_one_for_trying_out(system: RunningSystem) -> None:
    env = {**os.environ, "KERUTA_HOME": str(system.state.root)}
    done = subprocess.run([*KERUTA, "token", "--role", "viewer"], env=env, capture_output=True, text=True, check=True)

    assert ask(system, "GET", "/api/v1/me", token=done.stdout.strip()).json()["roles"] == ["viewer"]
