"""Every route, and every parameter that it reads, with the worst that a client can send.

The routes come from the app; which parameters one reads is seen when it is asked, so new ones are walked without being
named here.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar
from urllib.parse import quote

import flask
import pytest
from werkzeug.datastructures import ImmutableMultiDict

from admin.documents.pages import markdown
from tests.support.admin import Browser, filled, rules, signed_in
from tests.support.world import person

ADMIN = person("ada", "admin", "developer", "viewer")
SECONDS = 3.0  # of CPU time, for one request; the worst ones took 8 s and more
YAML_SECONDS = 15.0  # of an import, which administrators alone may send: its reading is in proportion to its length
ANSWER_BYTES = 1024 * 1024
NUMBERS = ("000000001999999", "9" * 5000, "-1", "+1", " 1", "1 ", "1e3", "0x10", "１", "1_0", "٣", "NaN", "1.5")
TEXTS = (
    "x" * 60_000,
    "(" * 5000,
    "\0",
    "\ud7ff￿",
    "%",
    "$where",
    "a=b" * 5000,
    "[" * 5000,
    "*",
    "9999-99-99T99:99:99Z",
)
NAMES = ("x" * 3000, "%00", "..%2f..%2fetc", "１", "$where", "%ff%fe", "-1", "9" * 300)
BODIES: tuple[bytes, ...] = (
    b"", b"null", b"[" * 200_000, b'{"a":' * 100_000, b'{"name":"\\u0000","\\u0000":1}', b"\xff\xfe", b"9" * 100_000,
    b"{" + b",".join(b'"field-%d":1' % number for number in range(20_000)) + b"}",
    b'{"name":"' + b"x" * 200_000 + b'"}',
)  # fmt: skip


class Noted(flask.Request):
    """A request that notes which parameters are asked of it."""

    names: ClassVar[set[str]] = set()

    class Arguments(ImmutableMultiDict[str, str]):
        def get(self, key: str, *given: Any, **options: Any) -> Any:
            Noted.names.add(key)
            return super().get(key, *given, **options)

        def __getitem__(self, key: str) -> str:
            Noted.names.add(key)
            return super().__getitem__(key)

        def __contains__(self, key: object) -> bool:
            Noted.names.add(str(key))
            return super().__contains__(key)

        def getlist(self, key: str, *given: Any, **options: Any) -> Any:
            Noted.names.add(key)
            return super().getlist(key, *given, **options)

    parameter_storage_class = Arguments


@pytest.fixture
def ada(app: flask.Flask, monkeypatch: pytest.MonkeyPatch) -> Browser:
    monkeypatch.setattr(Noted, "names", set())
    app.request_class = Noted
    return signed_in(app, ADMIN)


def ask(who: Browser, method: str, address: str, **options: Any) -> int:
    """The status, once it was checked that time and size have a bound and that nothing broke."""
    began = time.process_time()
    headers = {"If-Match": "*", "X-Form-Token": who.form_token, **options.pop("headers", {})}
    if address.startswith("/api/v1"):
        headers["Authorization"] = f"Bearer {who.token}"
    answer = who.client.open(address, method=method, headers=headers, **options)
    size = len(answer.data)
    took = time.process_time() - began
    who.client.delete_cookie("keruta-said")
    asked = (method, address[:200], {name: str(value)[:80] for name, value in options.items()})
    assert answer.status_code < 500, (asked, answer.text[:500])
    assert took < (YAML_SECONDS if address.endswith("/import") else SECONDS), (asked, took)
    assert size < ANSWER_BYTES, (asked, size)
    return answer.status_code


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("world")
def test_every_parameter_of_every_route_has_a_bound(app: flask.Flask, ada: Browser) -> None:
    """No value in a query or a path breaks a route, or makes it long or slow."""
    walked = 0
    for rule, method in rules(app):
        if method != "GET" or rule.rule == "/metrics":
            continue
        address = filled(rule, {name: "1" if name in ("version", "n") else "shell" for name in rule.arguments})
        Noted.names.clear()
        ask(ada, "GET", address)
        for name in sorted(Noted.names):
            for value in (*NUMBERS[:4], *TEXTS):
                ask(ada, "GET", f"{address}?{name}={quote(value)}")
                walked += 1
        for value in NAMES if rule.arguments else ():
            ask(ada, "GET", filled(rule, dict.fromkeys(rule.arguments, value)))

    assert walked > 500


@pytest.mark.usefixtures("world")
def test_no_number_is_read_but_a_plain_one(ada: Browser) -> None:
    """No sign, space, exponent, other digits or leading zeros beyond nine places; each is refused with its place."""
    headers = {"Authorization": f"Bearer {ada.token}"}
    for value in NUMBERS:
        answer = ada.client.get(f"/api/v1/tasks?limit={quote(value)}", headers=headers)
        assert (answer.status_code, answer.get_json()["faults"][0]["at"]) == (422, "?limit"), value
    assert ada.client.get("/api/v1/tasks?limit=200", headers=headers).status_code == 200


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("world")
def test_every_body_has_a_bound(app: flask.Flask, ada: Browser) -> None:
    """Whatever is sent to whichever route that takes one: neither an error of ours, nor a long or slow answer."""
    for rule, method in rules(app):
        if method in ("GET", "DELETE") or not rule.rule.startswith("/api/v1"):
            continue
        address = filled(rule, {name: "1" if name in ("version", "n") else "shell" for name in rule.arguments})
        kind = "application/yaml" if rule.rule.endswith("/import") else "application/json"
        for body in BODIES:
            ask(ada, method, address, data=body, content_type=kind)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 262_144, "> " * 100_000 + "x", "- " * 50_000 + "x", "[a](" * 60_000, "*" * 262_144, "`" * 131_072,
        "_a" * 100_000, "<!--" * 60_000, "&amp;" * 50_000, "|a" * 100_000, "![" * 100_000,
        "\n".join("> " * depth for depth in range(500)),
    ],
    ids=lambda text: text[:6],
)  # fmt: skip
def test_no_text_makes_markdown_slow(text: str) -> None:
    """What would take long is shown as it is."""
    began = time.process_time()

    shown = markdown(text)

    assert time.process_time() - began < SECONDS
    assert len(shown) < 20 * len(text) + 1000
