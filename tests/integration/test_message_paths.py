"""Messages on their whole way: as an agent or an earlier version wrote them, as the API and the pages show them."""

from __future__ import annotations

import html
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import flask
import msgspec
import pytest

from functions.report_status import handler
from keruta.adapters.encryption import Sealer
from keruta.adapters.mongo.agent_access import MongoAgentAccess
from keruta.adapters.mongo.webhooks import MongoWebhooks
from keruta.adapters.results import Results
from keruta.adapters.tokens import Sessions, new_key
from keruta.adapters.webhooks import Answered, WebhookSender
from keruta.domain.api.agents import AGENTS
from keruta.domain.events import Event, task_event
from keruta.domain.messages import fields_of, message
from keruta.domain.webhooks import WebhookRequest
from keruta.http.function import Function
from keruta.settings import Settings
from tests.support.admin import Browser, signed_in
from tests.support.world import ANN, World

TIMED_OUT = message("script_timeout", seconds=90)
JAPANESE = "timeout_seconds の 90 秒を超えました。"
HOSTILE = "<script>alert(1)</script> {0.__class__} %(x)s"


@pytest.fixture
def browser(app: flask.Flask) -> Browser:
    return signed_in(app, ANN)


@pytest.fixture
def agent(world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Agent:
    return Agent(world, settings, monkeypatch)


class Agent:
    """An agent that speaks to report_status by HTTP, with entries as it likes them."""

    def __init__(self, world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("keruta.logs.configure", lambda *_: None)
        unused: Any = None
        self._world = world
        self._sessions = Sessions(new_key())
        ports = handler.Ports(
            settings=settings, verifier=unused, sessions=self._sessions, access=MongoAgentAccess(world.database),
            reports=world.reports, results=Results(settings.results_dir), snapshots=unused, mint=unused,
            document_text=unused, check=unused, dependencies=unused,
        )  # fmt: skip
        function = Function("report_status", settings, lambda _: ports, AGENTS, handler.HANDLERS)
        served = flask.Flask("report_status")
        served.add_url_rule(
            "/<path:path>", view_func=lambda path: function(flask.request._get_current_object()),  # type: ignore[attr-defined]
            methods=["POST"],
        )  # fmt: skip
        self._client = served.test_client()

    def fails(self, **said: Any) -> tuple[str, dict[str, Any]]:
        """A task runs and fails with these fields of a message. Returns its id and the entry's outcome."""
        task = self._world.submit()
        self._world.worker()
        self._world.assign()
        self._world.start(task)
        token, _ = self._sessions.for_worker("w1", self._world.sessions["w1"])
        fixed = {"task": task, "attempt": 1, "execution": "x1", "status": "failed", "reason": "ScriptFailed"}
        entry = {"kind": "ended", **fixed, **said}
        answer = self._client.post(
            "/agent/v1/reports", json={"entries": [entry]}, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 200, answer.text
        return task, answer.get_json()["outcomes"][0]


def shown(browser: Browser, task: str, language: str) -> tuple[dict[str, Any], str]:
    """A task as the API and its page show it to a reader of a language."""
    headers = {"Authorization": f"Bearer {browser.token}", "Accept-Language": language}
    answer = browser.client.get(f"/api/v1/tasks/{task}", headers=headers)
    assert answer.status_code == 200, answer.text
    page = browser.client.get(f"/tasks/{task}", headers={"Accept-Language": language})
    assert page.status_code == 200, page.text
    return answer.get_json(), page.text


def ask(browser: Browser, path: str, language: str, accept: str = "application/json") -> str:
    headers = {"Authorization": f"Bearer {browser.token}", "Accept-Language": language, "Accept": accept}
    answer = browser.client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.text


# ---------------------------------------------------------------- agents


@pytest.mark.parametrize("form", ["fields", "object"])
def test_an_agents_code_is_shown_in_the_readers_language(agent: Agent, browser: Browser, form: str) -> None:
    """Both forms of it; stored are code, arguments and the English text."""
    fields = fields_of(TIMED_OUT)
    said = {"message": {"code": TIMED_OUT.code, "arguments": {"seconds": 90}}} if form == "object" else fields
    task, outcome = agent.fails(**said)
    assert outcome == {"accepted": True}

    for language, text in (("en", TIMED_OUT.text), ("ja", JAPANESE)):
        view, page = shown(browser, task, language)
        assert (view["message"], view["message_code"], view["message_arguments"]) == (
            text, "script_timeout", {"seconds": 90},
        )  # fmt: skip
        assert view["attempts"][0]["message"] == text
        assert html.escape(text, quote=False) in page


def test_an_older_agents_text_is_shown_as_it_is(agent: Agent, browser: Browser) -> None:
    """An older agent's text has no code: it is marked as English on a Japanese page, and escaped."""
    task, outcome = agent.fails(message=HOSTILE)
    assert outcome == {"accepted": True}

    for language in ("en", "ja"):
        view, page = shown(browser, task, language)
        assert (view["message"], view["message_code"]) == (HOSTILE, None)
        assert "<script>alert(1)" not in page
        assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("of_the_future", {"seconds": 1}),
        ("script_timeout", {}),
        ("script_timeout", {"seconds": 1, "more": 2}),
        ("script_timeout", {"seconds": {"$gt": 1}}),
        ("script_timeout", {"seconds": [1] * 1000}),
        ("script_timeout", [1]),
        ("script_timeout", "x"),
        ("$where", {"$where": "1"}),
        ("x" * 10_000, {"a.b": 1}),
        ("", {}),
    ],
)
def test_a_code_that_is_not_understood_leaves_the_text(
    agent: Agent, browser: Browser, code: str, arguments: Any
) -> None:
    """A newer agent's, or a hostile one: the end counts, and everybody reads the text."""
    task, outcome = agent.fails(message="It failed.", message_code=code, message_arguments=arguments)
    assert outcome == {"accepted": True}

    for language in ("en", "ja"):
        view, page = shown(browser, task, language)
        assert view["status"] == "failed"
        assert view["message"] == "It failed."
        assert "It failed." in page


def test_hostile_arguments_are_text(agent: Agent, browser: Browser) -> None:
    """They are neither markup, nor a template, nor an expression of the database."""
    task, _ = agent.fails(
        message="t", message_code="script_timeout", message_arguments={"seconds": f"$status {HOSTILE}"}
    )

    for language in ("en", "ja"):
        view, page = shown(browser, task, language)
        assert f"$status {HOSTILE}" in view["message"]
        assert "<script>alert(1)" not in page


# ---------------------------------------------------------------- what an earlier version stored


def test_a_task_of_an_earlier_version_keeps_its_text(agent: Agent, world: World, browser: Browser) -> None:
    """Its document has a message and nothing of codes, in the task and in its attempts."""
    task, _ = agent.fails(**fields_of(TIMED_OUT))
    gone = dict.fromkeys(("message_code", "message_arguments"), "")
    world.database["tasks"].update_one(
        {"_id": task},
        {"$unset": {**gone, **{f"attempt.{name}": "" for name in gone}}, "$set": {"message": "As it was."}},
    )

    for language in ("en", "ja"):
        view, page = shown(browser, task, language)
        assert (view["message"], view["message_code"]) == ("As it was.", None)
        assert "As it was." in page


def test_a_document_with_hostile_fields_is_shown_all_the_same(agent: Agent, world: World, browser: Browser) -> None:
    """The text that is stored beside them stands."""
    task, _ = agent.fails(message="t")
    hostile = {"message": "The text.", "message_code": "script_timeout", "message_arguments": {"seconds": None}}
    world.database["tasks"].update_one({"_id": task}, {"$set": hostile})

    for language in ("en", "ja"):
        view, page = shown(browser, task, language)
        assert view["message"] == "The text."
        assert "The text." in page


# ---------------------------------------------------------------- the log's stream


def test_a_streams_end_has_the_tasks_message(agent: Agent, browser: Browser) -> None:
    """In the language that is asked for, with its code and arguments; so has a change of status."""
    task, _ = agent.fails(reason="Timeout", **fields_of(TIMED_OUT))

    for language, text in (("en", TIMED_OUT.text), ("ja", JAPANESE)):
        said = ask(browser, f"/api/v1/tasks/{task}/logs", language, "text/event-stream")
        for kind in ("status", "end"):
            told = json.loads(said.partition(f"event: {kind}\ndata: ")[2].partition("\n")[0])
            assert (told["status"], told["reason"], told["message"]) == ("failed", "Timeout", text)
            assert (told["message_code"], told["message_arguments"]) == ("script_timeout", {"seconds": 90})


# ---------------------------------------------------------------- the audit record

ENGLISH_ENTRY, JAPANESE_ENTRY = "ann changed the queue 'night'.", "ann がキュー 'night' を変更しました。"


def test_the_audit_record_is_sentences_with_codes(world: World, browser: Browser) -> None:
    """In pages and as lines, in the language that is asked for; stored are code, arguments and English."""
    world.catalogs.audit.record("ann", "change", "queue", "night", readers=["role:admin"])

    stored = world.database["audit"].find_one({"of": "night"})
    assert stored is not None
    assert (stored["message"], stored["message_code"]) == (ENGLISH_ENTRY, "audit_change")
    for language, text in (("en", ENGLISH_ENTRY), ("ja", JAPANESE_ENTRY)):
        (entry,) = json.loads(ask(browser, "/api/v1/audit?of=night", language))["items"]
        (line,) = ask(browser, "/api/v1/audit?of=night", language, "application/x-ndjson").splitlines()
        for found in (entry, json.loads(line)):
            assert (found["message"], found["message_code"]) == (text, "audit_change")
            assert found["message_arguments"]["of"] == "night"


def test_a_refusal_on_record_says_its_reason(world: World, browser: Browser) -> None:
    """A refusal is no action of its own."""
    world.catalogs.audit.refused("bob", "create_task", "GrantMissing")

    (entry,) = json.loads(ask(browser, "/api/v1/audit?who=bob", "en"))["items"]

    assert entry["message"] == "bob was refused the route of the API 'create_task': GrantMissing."
    assert entry["message_code"] == "audit_refused"


@pytest.mark.parametrize(
    ("more", "english", "japanese"),
    [
        ({}, ENGLISH_ENTRY, JAPANESE_ENTRY),
        ({"action": "of_the_future"}, "ann: of_the_future queue night", "ann: of_the_future queue night"),
        ({"kind": "future"}, "ann changed the future 'night'.", "ann がfuture 'night' を変更しました。"),
        ({"message": "Text.", "message_code": "audit_change", "message_arguments": {"who": "x"}}, "Text.", "Text."),
        ({"message": "Text.", "message_code": "no_such_code", "message_arguments": {}}, "Text.", "Text."),
    ],
)
def test_an_entry_of_another_version_is_put_into_words(
    world: World, browser: Browser, more: dict[str, Any], english: str, japanese: str
) -> None:
    """One without a message from its fields; one with a code that is not understood by its text."""
    entry = {"who": "ann", "action": "change", "kind": "queue", "of": "night", "at": datetime.now(UTC), **more}
    world.database["audit"].insert_one({"_id": "0" * 26, "changes": [], "readers": ["role:admin"], **entry})

    for language, text in (("en", english), ("ja", japanese)):
        (found,) = json.loads(ask(browser, "/api/v1/audit?who=ann", language))["items"]
        assert found["message"] == text
        browser.client.get("/audit", headers={"Accept-Language": language})


# ---------------------------------------------------------------- webhooks


@pytest.fixture
def webhooks(world: World, settings: Settings) -> MongoWebhooks:
    """Webhooks, with one that is told of every task, and a delivery that is due."""
    made = MongoWebhooks(world.database, Sealer(settings.credentials_key))
    made.create(ANN, WebhookRequest(name="hook", url="http://10.0.0.1/"), "whsec_" + "A" * 44)
    event = Event(id="e1", type=task_event("succeeded"), subject=world.submit())
    assert made.note(event) == 1
    return made


def test_an_attempt_that_is_not_made_says_why(webhooks: MongoWebhooks, browser: Browser) -> None:
    """By the API and on the page, in the reader's language; `answer` is the English as before."""
    due = webhooks.take([])
    assert due is not None
    webhooks.answered(due, WebhookSender(webhooks, ()).send(due))
    english = message("webhook_private_address").text

    for language, text in (("en", english), ("ja", "送信しませんでした。アドレスがプライベートアドレスです。")):
        (found,) = json.loads(ask(browser, "/api/v1/webhook-deliveries", language))["items"]
        assert found["message"].startswith(text)
        assert (found["message_code"], found["answer"]) == ("webhook_private_address", english)
        assert text in html.unescape(browser.client.get("/webhooks", headers={"Accept-Language": language}).text)


def test_an_attempt_that_was_answered_has_both_texts(webhooks: MongoWebhooks, browser: Browser) -> None:
    """The receiver's own answer is shown as it is, escaped."""
    due = webhooks.take([])
    assert due is not None
    webhooks.answered(due, Answered(status=500, text=HOSTILE, why=message("webhook_status", status=500)))

    (found,) = json.loads(ask(browser, "/api/v1/webhook-deliveries", "ja"))["items"]
    japanese = "500 が返されました。200 から 299 だけが配信済みになります。"
    assert (found["message"], found["message_code"]) == (japanese, "webhook_status")
    assert (found["status"], found["answer"]) == (500, HOSTILE)
    assert "<script>alert(1)" not in browser.client.get("/webhooks").text


def test_an_attempt_of_an_earlier_version_keeps_its_text(
    world: World, webhooks: MongoWebhooks, browser: Browser
) -> None:
    """It has an answer and no message."""
    old = {"answered_at": datetime.now(UTC), "status": None, "answer": "no answer: TimeoutError"}
    world.database["webhook_deliveries"].update_one({}, {"$set": old})

    (found,) = json.loads(ask(browser, "/api/v1/webhook-deliveries", "ja"))["items"]
    assert (found.get("message"), found["answer"]) == (None, "no answer: TimeoutError")
    assert "no answer: TimeoutError" in browser.client.get("/webhooks").text


def test_a_chat_is_told_in_its_own_format_and_language(world: World, settings: Settings, browser: Browser) -> None:
    """Its address, which lets anybody write there, is in no answer, page or row of the database."""
    made = MongoWebhooks(world.database, Sealer(settings.credentials_key), public_url="https://keruta.example.com/")
    address = "http://10.0.0.1/services/T0/secret-of-the-channel"
    wanted = WebhookRequest(name="chat", url=address, format="slack", language="ja")
    made.create(ANN, wanted, "")
    task = world.submit()
    assert made.note(Event(id="e1", type=task_event("failed"), subject=task)) == 1

    due = made.take([])

    assert due is not None
    assert (due.url, due.secret) == (address, "")
    assert f"<https://keruta.example.com/tasks/{task}|タスクを開く>" in due.body.decode()
    assert json.loads(due.body)["blocks"][0]["text"]["text"].startswith("失敗: ")
    seen = [
        json.dumps(list(world.database[name].find()), default=str)
        for name in ("webhooks", "webhook_deliveries", "audit")
    ]
    seen += [ask(browser, "/api/v1/webhooks", "en"), browser.client.get("/webhooks").text, repr(due)]
    assert not [one for one in seen if "secret-of-the-channel" in one]
    assert "http://10.0.0.1/…" in html.unescape(browser.client.get("/webhooks").text)


@pytest.mark.parametrize(("asked", "least"), [(900, 900), (0, 5)])
def test_a_receiver_that_asks_to_wait_is_tried_no_earlier(
    world: World, webhooks: MongoWebhooks, asked: int, least: int
) -> None:
    due = webhooks.take([])
    assert due is not None

    webhooks.answered(due, Answered(status=429, why=message("webhook_status", status=429), retry_after=asked))

    row = world.database["webhook_deliveries"].find_one({})
    assert row is not None
    assert timedelta(0) <= row["due_at"] - row["answered_at"] - timedelta(seconds=least) < timedelta(seconds=1)


def test_what_is_told_of_a_task_has_its_code(agent: Agent, world: World, webhooks: MongoWebhooks) -> None:
    """The body of a webhook has the English text, the code and the arguments."""
    task, _ = agent.fails(**fields_of(TIMED_OUT))
    assert webhooks.note(Event(id="e2", type=task_event("failed"), subject=task)) == 1

    row = world.database["webhook_deliveries"].find_one({"task": task})
    assert row is not None
    told = msgspec.json.decode(row["body"])["data"]
    assert (told["message"], told["message_code"], told["message_arguments"]) == (
        TIMED_OUT.text, "script_timeout", {"seconds": 90},
    )  # fmt: skip
