"""The browser's session: its cookie, the token that it stands for, and what a form of ours carries to show that it is.

Tokens are made new behind the requests' back before they run out. While the identity provider is away they stay what
they are, and `keruta.adapters.identity.verifier` says what they are still good for.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import threading
import time
from typing import cast

import flask

from admin.ports import Ports, ports
from keruta.domain.messages import message
from keruta.domain.sign_in import BrowserSession
from keruta.errors import Forbidden, ProviderAwayError, ProviderRefusedError, Unauthenticated, Unavailable

log = logging.getLogger(__name__)

RENEW_WHEN_LEFT_SECONDS = 20.0
WAIT_FOR_ANOTHER_SECONDS = 5.0
TOKEN_FIELD, TOKEN_HEADER = "form_token", "X-Form-Token"
_MASK_BYTES = 16


def _cookie_name(of: str) -> str:
    """Over https, one that no other host can set. Source: https://www.rfc-editor.org/rfc/rfc6265#section-4.1.1 and
    https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Set-Cookie (`__Host-`)
    """
    return f"__Host-keruta-{of}" if is_secure() else f"keruta-{of}"


def is_secure() -> bool:
    """Return whether clients connect over https, by the public address in the settings."""
    return str(flask.current_app.extensions["keruta"].settings.public_url).startswith("https://")


def set_cookie(response: flask.Response, of: str, value: str, seconds: float | None) -> None:
    """A cookie that scripts can't read and other sites' forms don't bring."""
    response.set_cookie(
        _cookie_name(of), value, max_age=None if seconds is None else int(seconds),
        httponly=True, secure=is_secure(), samesite="Lax", path="/",
    )  # fmt: skip


def drop_cookie(response: flask.Response, of: str) -> None:
    response.delete_cookie(
        _cookie_name(of), httponly=True, secure=is_secure(), samesite="Lax", path="/"
    )  # fmt: skip


def cookie(of: str) -> str:
    return flask.request.cookies.get(_cookie_name(of), "")


def current() -> BrowserSession | None:
    """The session that this request's browser has; None when it is not signed in."""
    if "session" not in flask.g:
        secret = cookie("session")
        flask.g.session = ports().browsers.find(secret) if secret else None
    return cast("BrowserSession | None", flask.g.session)


def access_token() -> str:
    """The signed-in person's token. Raises Unauthenticated when nobody is signed in, or the sign-in is over."""
    session = current()
    if session is None:
        raise Unauthenticated(message("identity_not_signed_in"), reason="SignInNeeded")
    left = session.tokens.expires_at - time.time()
    if not session.tokens.refresh_token or left > RENEW_WHEN_LEFT_SECONDS:
        return session.tokens.access_token
    if left > 0:
        _behind(ports(), session)
        return session.tokens.access_token
    if ports().verifier.issuer_away_since is not None:
        _behind(ports(), session)
        return session.tokens.access_token  # the verifier says what it is still good for
    session = flask.g.session = _renewed(ports(), session)
    if session is None:
        raise Unauthenticated(message("identity_signed_out"), reason="SignInNeeded")
    return session.tokens.access_token


def token_of(needs: Ports, secret: str) -> str | None:
    """The token of a session as it is now, renewed if it has to be; None when the sign-in is over.

    For answers that go on for long: it needs no request.
    """
    session = needs.browsers.find(secret)
    if session is None:
        return None
    left = session.tokens.expires_at - time.time()
    if session.tokens.refresh_token and left < RENEW_WHEN_LEFT_SECONDS:
        if left > 0 or needs.verifier.issuer_away_since is not None:
            _behind(needs, session)
        else:
            session = _renewed(needs, session)
    return session.tokens.access_token if session is not None else None


def _behind(needs: Ports, session: BrowserSession) -> None:
    if needs.browsers.take_turn(session.secret):
        threading.Thread(target=_renew, args=(needs, session.secret), name="renew", daemon=True).start()


def _renewed(needs: Ports, session: BrowserSession) -> BrowserSession | None:
    """Return a session with valid tokens, renewed by this request or by another one at the same time."""
    if needs.browsers.take_turn(session.secret):
        _renew(needs, session.secret)
        return needs.browsers.find(session.secret)
    until = time.monotonic() + WAIT_FOR_ANOTHER_SECONDS
    while True:
        found = needs.browsers.find(session.secret)
        if found is None or found.tokens.expires_at > time.time() or time.monotonic() > until:
            return found
        time.sleep(0.05)


def _renew(needs: Ports, secret: str) -> None:
    """Renew a session's tokens, by who has the turn: another request may have renewed them since this one read them."""
    try:
        session = needs.browsers.find(secret)
        if session is not None:
            needs.browsers.renewed(secret, needs.provider.renew(session.tokens.refresh_token))
    except ProviderRefusedError as error:
        log.warning("not renewed: %s", error, extra={"action": "session_ended"})
        needs.browsers.end(secret)
    except (ProviderAwayError, Unavailable) as error:
        log.warning("not renewed: %s", type(error).__name__, extra={"action": "session_not_renewed"})


# ---------------------------------------------------------------- forms


def form_token() -> str:
    """Return a token for a form. It differs each time, so that compression of the page does not reveal it."""
    session = current()
    if session is None:
        return ""
    mask = secrets.token_bytes(_MASK_BYTES)
    return mask.hex() + hmac.digest(session.form_key, mask, "sha256").hex()


def check_form_token() -> None:
    """The request comes from a page of ours that this browser was shown. Raises Forbidden."""
    session = current()
    given = flask.request.headers.get(TOKEN_HEADER) or flask.request.form.get(TOKEN_FIELD, "")
    try:
        raw = bytes.fromhex(given)
    except ValueError:
        raw = b""
    mask, told = raw[:_MASK_BYTES], raw[_MASK_BYTES:]
    if session is None or not hmac.compare_digest(hmac.digest(session.form_key, mask, "sha256"), told):
        raise Forbidden(message("http_form_expired"), reason="FormNotOurs")
