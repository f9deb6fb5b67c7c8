"""Every route, and every parameter that it reads, with the worst that a client can send.

The routes come from the app; which parameters one reads is seen when it is asked, so new ones are walked without being
named here.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import Any
from urllib.parse import quote

import flask
import pytest

from admin.documents.pages import markdown
from keruta.adapters.tokens import Sessions, new_key
from keruta.domain.api.agents import AGENTS
from keruta.domain.roles import AGENT
from tests.support import functions
from tests.support.admin import Browser, Noted, filled, rules, signed_in
from tests.support.world import World, person

ADMIN = person("ada", "admin", "developer", "viewer")
SECONDS = 3.0  # of CPU time, for one request; the worst ones took 8 s and more
YAML_SECONDS = 15.0  # of an import, which administrators alone may send: its reading is in proportion to its length
ANSWER_BYTES = 1024 * 1024
ESCAPED = 6  # how long a character of what was typed may be on a page
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
QUERY_VALUES = (*NUMBERS[:4], *TEXTS)
PAGING, FULLY, SHARE = ("limit", "cursor"), 3, 4
NAMES = ("x" * 3000, "%00", "..%2f..%2fetc", "１", "$where", "%ff%fe", "-1", "9" * 300)
BODIES: tuple[bytes, ...] = (
    b"", b"null", b"[" * 200_000, b'{"a":' * 100_000, b'{"name":"\\u0000","\\u0000":1}', b"\xff\xfe", b"9" * 100_000,
    b"{" + b",".join(b'"field-%d":1' % number for number in range(20_000)) + b"}",
    b'{"name":"' + b"x" * 200_000 + b'"}',
)  # fmt: skip


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
    sent = sum(map(len, data.values())) if isinstance(data := options.get("data"), dict) else 0
    assert size < ANSWER_BYTES + ESCAPED * sent, (asked, size)  # a form that is refused comes back as it was typed
    return answer.status_code


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("world")
def test_every_parameter_of_every_route_has_a_bound(app: flask.Flask, ada: Browser) -> None:
    """No value in a query or a path breaks a route, or makes it long or slow."""
    walked, read = 0, Counter[str]()
    for rule, method in rules(app):
        if method != "GET" or rule.rule == "/metrics":
            continue
        address = filled(rule, {name: "1" if name in ("version", "n") else "shell" for name in rule.arguments})
        Noted.names.clear()
        ask(ada, "GET", address)
        for name in sorted(Noted.names):
            read[name] += 1
            few = name in PAGING and read[name] > FULLY  # one function reads them for all lists
            for value in QUERY_VALUES[read[name] % SHARE :: SHARE] if few else QUERY_VALUES:
                ask(ada, "GET", f"{address}?{name}={quote(value)}")
                walked += 1
        for value in NAMES if rule.arguments else ():
            ask(ada, "GET", filled(rule, dict.fromkeys(rule.arguments, value)))

    assert walked > 300


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


FORMS: tuple[str, ...] = (
    "", "x" * 9000, "(" * 9000, "[" * 9000, "- " * 4000, "&a [*a]", "a: &a [1]\nb: [*a, *a]", "!!python/object:x {}",
    "1" + ":1" * 4000, "9" * 9000, "\0", "\ud7ff￿", "=" * 9000, '"' * 9000, "\n" * 9000, "1e999", "-1", "nan",
)  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("world")
def test_every_form_has_a_bound(app: flask.Flask, ada: Browser) -> None:
    """Any text in any field of any form gives neither an error of ours nor a long or slow page."""
    forms = fields = 0
    large = (b"a=" + b"x" * 2_000_000, b"&".join(b"a%d=1" % number for number in range(50_000)), b"=&" * 50_000)
    for rule, method in rules(app):
        if method != "POST" or rule.rule.startswith("/api/v1"):
            continue
        address = filled(rule, {name: "1" if name in ("version", "n") else "shell" for name in rule.arguments})
        Noted.names.clear()
        ask(ada, "POST", address, data={})
        names = sorted(Noted.names)
        for value in FORMS[forms % 2 :: 2]:
            ask(ada, "POST", address, data={**dict.fromkeys(names, value), "name": "made"})
        body = large[forms % len(large)]  # all forms are read by one function: each has one of them
        ask(ada, "POST", address, data=body, content_type="application/x-www-form-urlencoded")
        forms, fields = forms + 1, fields + len(names)

    assert forms > 20
    assert fields > 50


AGENT_ANSWER_BYTES = 4 * 1024 * 1024  # an outcome for each of 10,000 entries
REPORTS: tuple[bytes, ...] = (
    b'{"entries":[' + b",".join([b"{}"] * 10_000) + b"]}", b'{"entries":[' + b",".join([b"{}"] * 10_001) + b"]}",
    b'{"entries":[' + b",".join([b'{"kind":"x"}'] * 9_000) + b"]}", b'{"entries":[' + b"[" * 100_000 + b"]}",
    b'{"attempts":[' + b",".join([b'"' + b"x" * 80 + b'"'] * 50_000) + b"]}",
    b'{"held":[' + b",".join([b'{"task":"%026d","attempt":1}' % number for number in range(10_000)]) + b"]}",
    b'{"slots":1,"boot":"' + b"x" * 1_000_000 + b'"}', b'{"slots":9999999999999999999999,"boot":"x"}',
)  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", ["create_task", "report_status"])
def test_every_body_of_the_functions_has_a_bound(world: World, app: flask.Flask, part: str) -> None:
    """The same for what people submit and what agents report."""
    verifier = app.extensions["keruta"]().verifier
    world.worker()
    sessions = Sessions(new_key())
    worker = person("worker", "worker")
    if part == "create_task":
        function, routes = functions.create_task(world, verifier), functions.SUBMITS
    else:
        function, routes = functions.report_status(world, verifier, sessions), AGENTS
    walked = 0
    for route in routes:
        if route.method in ("GET", "DELETE"):
            continue
        address = re.sub(r"\{(\w+)\}", lambda found: "1" if found[1] == "n" else "w1", route.path)
        for body in (*BODIES, *REPORTS):
            token = signed_in(app, ADMIN if part == "create_task" else worker).token
            if route.roles == AGENT:
                token = sessions.for_worker("w1", world.sessions["w1"])[0]
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "k"}
            began = time.process_time()
            answer = function.test_client().open(
                address, method=route.method, data=body, content_type="application/json", headers=headers
            )
            asked = (route.name, body[:60], answer.status_code, answer.text[:300])
            assert answer.status_code < 500, asked
            assert time.process_time() - began < SECONDS, asked
            assert len(answer.data) < (AGENT_ANSWER_BYTES if route.name == "report" else ANSWER_BYTES), asked
            walked += 1

    assert walked >= len(BODIES)


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
    """A text that would take long is shown as it is."""
    began = time.process_time()

    shown = markdown(text)

    assert time.process_time() - began < SECONDS
    assert len(shown) < 20 * len(text) + 1000
