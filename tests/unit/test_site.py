"""Properties of every page that need no database: security headers, cookies for https only, safe addresses."""

from __future__ import annotations

import gzip

import flask
import pytest

from admin.bootstrap import create_app
from admin.site import assets, sessions
from admin.site.pages import _notice, here
from admin.site.safe_text import visible
from keruta.domain.catalog.kinds import KINDS
from keruta.settings import Settings


def test_over_https_a_cookie_is_for_this_host_alone() -> None:
    app = create_app(Settings(public_url="https://keruta.example.com"))
    with app.test_request_context():
        response = flask.Response()
        sessions.set_cookie(response, "session", "x", 60)
        sessions.drop_cookie(response, "sign-in")

    for header in response.headers.getlist("Set-Cookie"):
        assert header.startswith("__Host-keruta-")
        for part in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"):
            assert part in header.split("; ")
        assert "Domain" not in header


def test_every_answer_is_guarded() -> None:
    client = create_app(Settings(public_url="https://keruta.example.com")).test_client()
    for path in ("/nowhere", "/healthz", "/api/v1/nowhere", "/assets/x/keruta.css"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Request-Id"]


def test_pages_are_gzipped_when_accepted() -> None:
    client = create_app(Settings()).test_client()

    plain = client.get("/nowhere")
    packed = client.get("/nowhere", headers={"Accept-Encoding": "br, gzip"})
    refused = client.get("/nowhere", headers={"Accept-Encoding": "gzip;q=0"})

    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.data) < len(plain.data) * 0.6
    assert gzip.decompress(packed.data).decode().endswith(plain.text[-100:])
    for answer in (plain, refused):
        assert "Content-Encoding" not in answer.headers
        assert "Accept-Encoding" in answer.headers["Vary"]


@pytest.mark.parametrize("name", [*assets.PACKAGED, *(path.name for path in assets.OWN.iterdir())])
def test_every_file_has_a_kind_and_goes_packed(name: str) -> None:
    client = create_app(Settings()).test_client()
    with client.application.test_request_context():
        address = assets.address(name)

    answer = client.get(address, headers={"Accept-Encoding": "gzip"})

    assert answer.mimetype == {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}[name.split(".")[-1]]
    assert gzip.decompress(answer.data) == client.get(address).data


@pytest.mark.parametrize(
    "elsewhere",
    ["//evil.example", "https://evil.example", "javascript:alert(1)", "/\\evil.example", "/a\r\nX: y", "evil", "",
     "/auth/start"],
)  # fmt: skip
def test_nobody_is_sent_elsewhere(elsewhere: str) -> None:
    assert here(elsewhere) == "/"


def test_a_path_of_this_site_is_kept() -> None:
    assert here("/tasks?status=failed&q=a%2Fb") == "/tasks?status=failed&q=a%2Fb"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("done", ["created", "changed", "deleted"])
def test_a_notice_names_the_entry(kind: str, done: str) -> None:
    with create_app(Settings()).test_request_context():
        assert "website" in _notice(f"{done}_{kind}:website")


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize(
    "forged", ["", "created_queue:Call 555", "created_queue:", "created_queue", "sent:x", "nothing", ":a"]
)
def test_a_forged_notice_is_not_shown(forged: str, language: str) -> None:
    """The cookie may come from elsewhere, or not be there: only known sentences with a valid name are shown."""
    with create_app(Settings()).test_request_context(headers={"Accept-Language": language}):
        assert _notice(forged) == ""


def test_what_hides_in_a_text_is_told() -> None:
    assert visible("invoice\u202egpj.exe") == "invoice⟨202E⟩gpj.exe"
    assert visible("a\x1b[31m\u200b日本語\n\t") == "a⟨1B⟩[31m⟨200B⟩日本語\n\t"
