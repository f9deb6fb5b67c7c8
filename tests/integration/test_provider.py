"""Renewal of tokens at an identity provider whose refresh tokens work once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from admin.site.sessions import token_of
from keruta.adapters.identity.provider import Provider
from keruta.adapters.mongo.browser_sessions import BrowserSessions
from keruta.adapters.mongo.client import Database
from keruta.domain.sign_in import BrowserSession, Tokens
from keruta.errors import ProviderAwayError
from tests.support.serving import Quiet, Serving


class Issuer(Serving):
    """A provider that notes the forms it is sent, and can be away."""

    def __init__(self) -> None:
        self.away = False
        self.sent: list[str] = []
        issuer = self

        class Handler(Quiet):
            def do_GET(self) -> None:
                answer = {"issuer": issuer.url, "token_endpoint": f"{issuer.url}/token"}
                self.answer(503) if issuer.away else self.answer(200, answer)

            def do_POST(self) -> None:
                issuer.sent.append(self.body().decode())
                self.answer(200, {"access_token": "new", "refresh_token": "next", "expires_in": 60})

        super().__init__(Handler)


class Overtaken(BrowserSessions):
    """Sessions of which a request reads one as it was a moment ago."""

    stale: BrowserSession | None = None

    def find(self, secret: str) -> BrowserSession | None:
        stale, self.stale = self.stale, None
        return stale or super().find(secret)


def tokens(refresh: str) -> Tokens:
    """Return tokens that have run out, with this refresh token."""
    return Tokens(access_token="old", refresh_token=refresh, expires_at=time.time() - 1, ends_at=time.time() + 3600)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as serving:
        yield serving


def test_a_provider_that_does_not_answer_is_sent_no_refresh_token(issuer: Issuer) -> None:
    """It would take it once it answers again, though nobody waits for the new one any more."""
    provider = Provider(issuer.url, "keruta-admin")
    assert provider.renew("first").refresh_token == "next"
    issuer.away, issuer.sent = True, []

    with pytest.raises(ProviderAwayError):
        provider.renew("next")

    assert issuer.sent == []
    issuer.away = False
    assert provider.renew("next").access_token == "new"


def test_a_request_that_was_overtaken_renews_by_the_present_token(issuer: Issuer, database: Database) -> None:
    """It has read its session before another request renewed it; the token that it read works no more."""
    browsers = Overtaken(database)
    session = browsers.begin(tokens("first"), subject="s-1")
    browsers.stale = browsers.find(session.secret)
    browsers.renewed(session.secret, tokens("second"))
    needs: Any = SimpleNamespace(
        browsers=browsers,
        provider=Provider(issuer.url, "keruta-admin"),
        verifier=SimpleNamespace(issuer_away_since=None),
    )

    assert token_of(needs, session.secret) == "new"

    assert [form for form in issuer.sent if "refresh_token=first" in form] == []
    assert "refresh_token=second" in issuer.sent[0]
