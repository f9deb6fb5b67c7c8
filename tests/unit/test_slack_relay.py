"""The relay of docs/how-to/slack.md, run as the page shows it, with a server in Slack's place."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3

from keruta.domain.webhooks import signature

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "slack.md"
SECRET = "whsec_" + "A" * 44
BODY = json.dumps(
    {"type": "task.failed", "data": {"id": "01a", "name": "a <b> & c", "status": "failed", "message": "Exit code 1."}}
).encode()


class _Slack(BaseHTTPRequestHandler):
    texts: list[str]
    statuses: list[int]

    def do_POST(self) -> None:
        self.texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
        self.send_response(self.statuses.pop(0) if self.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Write nothing."""


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def slack() -> type[_Slack]:
    return type("Slack", (_Slack,), {"texts": [], "statuses": []})


@pytest.fixture
def relay(slack: type[_Slack], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the page's relay."""
    with _serving(slack) as address:
        monkeypatch.setenv("KERUTA_WEBHOOK_SECRET", SECRET)
        monkeypatch.setenv("SLACK_WEBHOOK_URL", address)
        monkeypatch.setenv("KERUTA_URL", "https://keruta.example.com/")
        (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        names: dict[str, Any] = {"__name__": "slack_relay"}
        exec(compile(code, "slack_relay.py", "exec"), names)  # the page's own code
        names["Relay"].log_message = _Slack.log_message
        with _serving(names["Relay"]) as own:
            yield own


def send(relay: str, identity: str = "m1", body: bytes = BODY, at: int | None = None, signed: bytes = BODY) -> int:
    now = int(time.time()) if at is None else at
    headers = {
        "webhook-id": identity, "webhook-timestamp": str(now),
        "webhook-signature": signature(SECRET, identity, now, signed),
    }  # fmt: skip
    return urllib3.request("POST", relay, body=body, headers=headers, retries=False).status


def test_a_signed_message_becomes_one_escaped_line(relay: str, slack: type[_Slack]) -> None:
    """A message that comes twice is posted once."""
    assert send(relay) == 204
    assert send(relay) == 204

    assert slack.texts == [
        "failed: a &lt;b&gt; &amp; c. Exit code 1. <https://keruta.example.com/tasks/01a|Open the task>"
    ]


def test_forged_and_old_messages_are_refused(relay: str, slack: type[_Slack]) -> None:
    assert send(relay, signed=b"another") == 401
    assert send(relay, at=int(time.time()) - 400) == 401

    assert slack.texts == []


def test_a_message_that_slack_refused_is_posted_when_it_comes_again(relay: str, slack: type[_Slack]) -> None:
    slack.statuses = [500]

    assert send(relay) == 502
    assert send(relay) == 204

    assert len(slack.texts) == 2
