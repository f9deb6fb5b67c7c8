"""Webhooks out: whoever is to know of a task's end is told, signed, until they have taken it."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest
import urllib3

from keruta.adapters.webhooks import Message, WebhookSender
from keruta.domain.webhooks import signature
from tests.support.system import RunningSystem, eventually

pytestmark = pytest.mark.timeout(120)


class Receiver(ThreadingHTTPServer):
    """A webhook's receiver; `answers` are the statuses of the next answers, then 204."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 204)
        self.send_header("Content-Length", "0")
        self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Nothing is said."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(system: RunningSystem, method: str, path: str, body: Any = None, token: str = "") -> Any:
    headers = {"Authorization": f"Bearer {token or system.running.token}"}
    data = None
    if body is not None:
        headers["Content-Type"], data = "application/json", json.dumps(body)
    answer = urllib3.request(method, f"{system.running.url}/api/v1{path}", headers=headers, body=data)
    return answer.status, json.loads(answer.data) if answer.data else None


def good(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """The receiver's own check, as the specification says it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.digest(key, said, "sha256")).decode()
    return hmac.compare_digest(headers["webhook-signature"], wanted)


def test_an_end_is_told_signed_and_once(system: RunningSystem, repository: str, receiver: Receiver) -> None:
    status, made = ask(
        system, "POST", "/webhooks", {"name": "once", "url": receiver.url, "events": ["succeeded", "failed"]}
    )
    assert status == 201
    try:
        task = system.submit(repository, "exit 3", name="told")
        system.ended(task)
        eventually(lambda: receiver.got, 20, "the telling")
        headers, body = receiver.got[0]
        told = json.loads(body)

        assert good(made["secret"], headers, body)
        assert not good(made["secret"], headers, body + b" ")
        assert (told["type"], told["data"]["id"], told["data"]["reason"]) == ("task.failed", task, "ScriptFailed")
        assert "script" not in told["data"], "what is told is no more than a list says"
        rows = eventually(
            lambda: [
                row for row in ask(system, "GET", "/webhook-deliveries?webhook=once")[1]["items"] if row["status"]
            ],
            10,
        )
        assert [(row["state"], row["status"], row["tries"]) for row in rows] == [("delivered", 204, 1)]
        assert made["secret"] not in json.dumps(ask(system, "GET", "/webhooks")[1])
        ask(system, "POST", f"/webhook-deliveries/{rows[0]['id']}/send")
        eventually(lambda: len(receiver.got) == 2, 10, "the second telling")
        assert receiver.got[1][0]["webhook-id"] == headers["webhook-id"]
    finally:
        assert ask(system, "DELETE", "/webhooks/once")[0] == 204


def test_what_was_not_taken_is_told_again(system: RunningSystem, repository: str, receiver: Receiver) -> None:
    """A server's error and a redirect are no taking; five seconds later it is tried again."""
    receiver.answers = [302]
    ask(system, "POST", "/webhooks", {"name": "again", "url": receiver.url, "events": ["succeeded"]})
    try:
        system.ended(system.submit(repository, "true"))
        eventually(lambda: len(receiver.got) == 2, 30, "the second try")
        row = eventually(lambda: _delivered(system, "again"), 10, "its answer")
        assert row["tries"] == 2
    finally:
        ask(system, "DELETE", "/webhooks/again")


def _delivered(system: RunningSystem, webhook: str) -> Any:
    rows = ask(system, "GET", f"/webhook-deliveries?webhook={webhook}")[1]["items"]
    return next((row for row in rows if row["state"] == "delivered"), None)


def test_signatures_are_those_of_the_specifications_own_examples() -> None:
    """Source: https://github.com/standard-webhooks/standard-webhooks (the libraries' tests)"""
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'
    said = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)

    assert said == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_bad_webhooks_are_refused(system: RunningSystem) -> None:
    for url in ("ftp://a.example", "https://", "https://u:p@a.example", "nothing", "http://[::1"):
        status, said = ask(system, "POST", "/webhooks", {"name": "bad", "url": url})
        assert (status, said["faults"][0]["at"]) == (422, "/url"), url
    assert ask(system, "POST", "/webhooks", {"name": "bad", "url": "https://a.example", "events": ["queued"]})[0] == 422
    token = system.state.issuer().issue("d", ["developer"], lifetime=timedelta(minutes=5))
    assert ask(system, "GET", "/webhooks", token=token)[0] == 403


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "https://localhost:1/", "https://[::1]:1/", "https://[::ffff:127.0.0.1]:1/",
     "https://169.254.169.254/latest", "https://10.0.0.1/", "https://0.0.0.0/", "http://0x7f000001/"],
)  # fmt: skip
def test_nothing_is_sent_to_what_is_inside(url: str, receiver: Receiver) -> None:
    sender = WebhookSender(_Nothing(), ())
    answer = sender.send(Message(id="m", url=url, secret="whsec_" + "A" * 44, body=b"{}", tries=1))

    assert answer.status is None
    assert answer.said.code in ("webhook_private_address", "webhook_plain_http")
    allowed = WebhookSender(_Nothing(), ("127.0.0.0/8",))
    told = allowed.send(Message(id="m", url=receiver.url, secret="whsec_" + "A" * 44, body=b"{}", tries=1))
    assert told.status == 204


class _Nothing:
    def take(self, busy: Sequence[str]) -> Message | None:
        return None

    def answered(self, message: Message, answer: object) -> None:
        raise AssertionError(msgspec.json.encode(str(answer)))
