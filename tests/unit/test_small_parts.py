"""Names, retry, settings, masking, manifests: small parts that others stand on."""

from __future__ import annotations

import logging
import random
import re
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agent.log.masking import Masker
from agent.settings import ClusterSettings, WorkerSettings
from agent.worker import Worker
from keruta import logs
from keruta.adapters.cloudevents import HttpEvents
from keruta.adapters.identity.service_account import TokenFile
from keruta.adapters.mongo.client import FIND_SECONDS
from keruta.adapters.results import Results, safe_parts
from keruta.domain.events import Event, task_event
from keruta.domain.naming import TASK_ID, attempt_id, new_id, parse_attempt_id
from keruta.domain.retry import BACKOFF_MOST_SECONDS, REASONS, backoff_seconds, may_retry
from keruta.errors import NotFound, SettingsError
from keruta.http.problems import as_problem
from keruta.local.manifests import load as load_manifests
from keruta.settings import PoolSettings, Settings, load

ROOT = Path(__file__).parents[2]


def test_identities_sort_by_time_and_are_valid_in_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for at in (1, 10**15, 1_700_000_000_000_000_000, 1_800_000_000_000_000_000):
        monkeypatch.setattr("time.time_ns", lambda at=at: at)
        ids.append(new_id())

    assert ids == sorted(ids)
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", attempt_id(one, 1)) for one in ids)
    assert all(TASK_ID.fullmatch(one) for one in ids)
    assert parse_attempt_id(attempt_id(ids[0], 12)) == (ids[0], 12)


@pytest.mark.parametrize("name", ["", "x", "../../etc-1", "0" * 26, f"{'0' * 26}-", f"{'0' * 26}-x", f"{'0' * 26}-１"])
def test_what_names_no_attempt(name: str) -> None:
    with pytest.raises(ValueError, match="not an attempt"):
        parse_attempt_id(name)


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("policy", ["never", "if_not_started", "always"])
@pytest.mark.parametrize("started", [True, False])
def test_who_gets_another_try(reason: str, policy: str, started: bool) -> None:
    """Ours, unless the policy forbids it; the user's never; and not after the last attempt."""
    again = may_retry(reason, policy=policy, started=started, attempt=1, max_attempts=3)

    assert again == (REASONS[reason].retried and policy != "never" and (not started or policy == "always"))
    assert not may_retry(reason, policy=policy, started=started, attempt=3, max_attempts=3)


def test_an_unknown_reason_is_the_users_own() -> None:
    assert not may_retry("NeverHeardOf", policy="always", started=False, attempt=1, max_attempts=9)


@given(st.integers(1, 1000), st.randoms())
def test_backoffs_grow_to_a_limit(attempt: int, rng: random.Random) -> None:
    assert 2.5 <= backoff_seconds(attempt, rng=rng) <= BACKOFF_MOST_SECONDS


def test_settings_tell_every_fault_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load({"KERUTA_LEASE_SECONDS": "soon", "KERUTA_LOG_LIMIT_BYTES": "1.5", "KERUTA_OWN_GIT": "perhaps"})

    assert all(name in str(caught.value) for name in ("LEASE_SECONDS", "LOG_LIMIT_BYTES", "OWN_GIT"))
    with pytest.raises(SettingsError, match="TRANSPORTS"):
        load({"KERUTA_TRANSPORTS": "https,ext"})


def test_images_of_coding_agents_are_named_by_them() -> None:
    """And nothing else is: a typing error would be found at the first task."""
    known = load({"KERUTA_CODING_AGENT_IMAGES": "codex=r.test/a/keruta-codex:1, aider=b@sha256:12"}, Settings)

    assert known.images_of_coding_agents == {"codex": "r.test/a/keruta-codex:1", "aider": "b@sha256:12"}
    assert load({"KERUTA_CODING_AGENT_IMAGES": ""}, Settings).images_of_coding_agents == {}
    for wrong in ("r.test/keruta-codex:1", "codx=a:1", "codex=", "codex=a b"):
        with pytest.raises(SettingsError, match="CODING_AGENT_IMAGES"):
            load({"KERUTA_CODING_AGENT_IMAGES": wrong}, Settings)


def test_every_setting_says_what_it_is() -> None:
    """A docstring beneath each field."""
    for cls, path in (
        (Settings, "keruta/settings.py"), (PoolSettings, "keruta/settings.py"), (WorkerSettings, "agent/settings.py"),
    ):  # fmt: skip
        source = (ROOT / path).read_text()
        for name in cls.__struct_fields__:
            assert re.search(rf"^    {name}: .*\n    \"\"\"", source, re.MULTILINE), name


def test_the_heartbeat_goes_with_the_lease() -> None:
    assert Settings().heartbeat == 5
    assert Settings(lease_seconds=6).heartbeat == 2


@given(st.lists(st.text("ab-", min_size=4, max_size=9).map(str.encode), min_size=1, max_size=3), st.data())
def test_no_secret_leaves_wherever_the_log_is_cut(secrets: list[bytes], data: st.DataObject) -> None:
    masker = Masker(secrets)
    text = b" ".join(data.draw(st.lists(st.sampled_from([*secrets, b"x", b"\n", b"a", b"ab"]), max_size=8)))
    out = kept = b""
    for at in range(0, len(text), step := data.draw(st.integers(1, 9))):
        kept += text[at : at + step]
        cut = len(kept) - masker.held_back(kept)
        out, kept = out + masker.mask(kept[:cut]), kept[cut:]
    out += masker.mask(kept)

    assert not [secret for secret in secrets if secret in out]


def test_short_values_are_not_masked() -> None:
    assert Masker([b"a"]).mask(b"a cat") == b"a cat"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", "a/./../b", "x" * 2000, "a\0b"])
def test_paths_that_lead_elsewhere(path: str, tmp_path: Path) -> None:
    assert safe_parts(path) is None
    with pytest.raises(NotFound):
        Results(tmp_path).open(attempt_id(new_id(), 1), path)


def test_a_link_among_the_results_is_not_followed(tmp_path: Path) -> None:
    results = Results(tmp_path)
    attempt = attempt_id(new_id(), 1)
    directory = results.directory(attempt)
    directory.mkdir(parents=True)
    (directory / "link").symlink_to("/etc/passwd")
    (directory / "inner").symlink_to("/etc")
    (directory / "real").write_text("real")

    with results.open(attempt, "real") as file:
        assert file.read() == b"real"
    for path in ("link", "inner/passwd", "none", "real/x"):
        with pytest.raises(NotFound):
            results.open(attempt, path)


def test_a_log_line_is_json_with_its_context(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        logs.configure("test")
        with logs.bind(task="t1", attempt=2):
            logging.getLogger("x").info("said %s", "so", extra={"action": "test_said"})
    finally:
        root.handlers[:], root.level = before[0], before[1]

    line = msgspec.json.decode(capsys.readouterr().err)
    assert line | {"time": None} == {
        "time": None, "level": "INFO", "part": "test", "message": "said so", "task": "t1", "attempt": 2,
        "action": "test_said",
    }  # fmt: skip


# ---------------------------------------------------------------- manifests


def test_a_wrong_setting_is_logged_as_its_sentence(caplog: pytest.LogCaptureFixture) -> None:
    """Once for each request that fails by it: a traceback each time would hide it."""
    as_problem(SettingsError("KERUTA_TRUSTED_KEYS: /keys is not a readable JWKS file"))

    (record,) = caplog.records
    assert record.getMessage() == "request failed: KERUTA_TRUSTED_KEYS: /keys is not a readable JWKS file"
    assert record.exc_info is None


def test_a_worker_that_is_refused_says_why_and_not_each_second(caplog: pytest.LogCaptureFixture) -> None:
    """It asks once a second, for as long as it takes."""
    worker = Worker(WorkerSettings(), ClusterSettings())
    for said in ("answered 401", "answered 401", "answered 503", "answered 401"):
        worker.say_unregistered(said)

    logged = [record.getMessage() for record in caplog.records]
    assert logged == ["not registered: answered 401", "not registered: answered 503", "not registered: answered 401"]


def test_what_jobs_can_not_end_without_goes_before_them_on_a_full_node() -> None:
    """MongoDB, admin and workers; the class is of the installation's own, since none may be there."""
    documents = [
        one
        for name in ("base/priority.yaml", "base/admin.yaml", "base/worker.yaml", "components/mongodb/mongodb.yaml")
        for one in yaml.safe_load_all((ROOT / "knative" / name).read_text())
    ]
    (made,) = [one for one in documents if one["kind"] == "PriorityClass"]
    named = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"].get("priorityClassName")
        for one in documents
        if one["kind"] in ("Deployment", "StatefulSet")
    }

    assert made["value"] > 0
    assert named == dict.fromkeys(("admin", "worker", "mongodb"), made["metadata"]["name"])


def test_functions_live_on_while_requests_wait_for_mongodb() -> None:
    """Their probe waits behind requests, each of which waits for as long as MongoDB may take to be found."""
    for name in ("create-task", "dispatch", "receive-event", "report-status"):
        service = next(yaml.safe_load_all((ROOT / f"knative/base/{name}.yaml").read_text()))
        probe = service["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
        assert probe["timeoutSeconds"] >= 3 * FIND_SECONDS, name


def test_the_one_address_sends_each_request_where_it_belongs() -> None:
    manifests = load_manifests(ROOT / "knative" / "base")

    def to(method: str, path: str) -> str:
        rule = manifests.route(method, path)
        assert rule is not None
        return rule.service

    assert to("POST", "/api/v1/tasks") == "create-task"
    assert to("GET", "/api/v1/tasks") == "admin"
    assert to("POST", "/api/v1/tasks/x/cancel") == "admin"
    assert to("POST", "/agent/v1/reports") == "report-status"
    assert to("POST", "/agent/v1x") == "admin"
    assert manifests.route("GET", "/api/v1/tasks/x/logs").stream  # type: ignore[union-attr]


def test_the_threads_of_a_function_are_what_its_concurrency_lets_in() -> None:
    services = [
        document
        for path in (ROOT / "knative" / "base").glob("*.yaml")
        for document in yaml.safe_load_all(path.read_text())
        if document["apiVersion"].startswith("serving.knative.dev")
    ]
    assert len(services) == 4
    for service in services:
        spec = service["spec"]["template"]["spec"]
        env = {entry["name"]: entry["value"] for entry in spec["containers"][0]["env"]}
        assert int(env["THREADS"]) == spec["containerConcurrency"]


def test_what_the_stand_in_does_not_understand_it_refuses(tmp_path: Path) -> None:
    (tmp_path / "tick.yaml").write_text(
        "kind: PingSource\napiVersion: v1\nmetadata: {name: t}\n"
        "spec: {schedule: '0 1 2 3 * *', sink: {ref: {name: dispatch}}}\n"
    )
    with pytest.raises(SettingsError, match="knows"):
        load_manifests(tmp_path)


def test_the_types_of_events_that_somebody_takes_are_known(tmp_path: Path) -> None:
    """Those of all Triggers; where one takes every type there is no list of them."""
    shipped = load_manifests(ROOT / "knative" / "base")
    assert task_event("queued") in shipped.event_types
    assert task_event("running") not in shipped.event_types

    (tmp_path / "all.yaml").write_text(
        "apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {name: all}\n"
        "spec: {broker: default, subscriber: {ref: {name: admin}}}\n"
    )
    assert load_manifests(tmp_path).event_types == frozenset()


def test_an_event_that_nobody_takes_is_not_sent() -> None:
    """It counts as sent; any other goes to the broker, which is not there."""
    account = TokenFile(Path("/nowhere"))
    events = HttpEvents("http://127.0.0.1:1/", account, frozenset({task_event("queued")}))

    assert events.send(Event(id="1", type=task_event("running")))
    assert not events.send(Event(id="2", type=task_event("queued")))


def test_the_clock_of_one_machine_ticks_as_the_manifests_say() -> None:
    pings = {
        ping.name: (ping.every_seconds, ping.sink, ping.path) for ping in load_manifests(ROOT / "knative/base").pings
    }

    assert pings == {"tick": (10, "dispatch", "/"), "sweep": (6 * 3600, "admin", "/events/sweep")}
