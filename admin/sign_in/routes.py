"""Sign-in by the identity provider, or on one machine by the code that it shows; and signing out, by either side.

What is between leaving for the identity provider and coming back is in a cookie of this browser alone: whoever comes
back without it, or with another's code, is not signed in.
Source: https://www.rfc-editor.org/rfc/rfc9700 (what a sign-in by code must see to)
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import secrets
import time

import flask
import msgspec

from admin.ports import ports
from admin.site import sessions
from admin.site.language import COOKIE, LANGUAGES, gettext, language
from admin.site.pages import go, here, page
from admin.site.time_zone import CHOSEN, known_zone
from keruta import structs
from keruta.domain.messages import message
from keruta.domain.sign_in import Tokens
from keruta.errors import KerutaError, Problem, ProviderAwayError, ProviderRefusedError, Unauthenticated
from keruta.http.requests import address_of

log = logging.getLogger(__name__)
blueprint = flask.Blueprint("sign_in", __name__)

UNDER_WAY_SECONDS = 600
LOCAL_SECONDS = 30 * 86400.0
CODE_LIMIT = 20_000
FORM_LIMIT_BYTES = 64 * 1024


class UnderWay(msgspec.Struct, frozen=True):
    """A sign-in that is under way, as its browser's cookie holds it."""

    state: str
    nonce: str
    verifier: str
    next: str


@blueprint.get("/auth/sign-in", provide_automatic_options=False)
def sign_in() -> flask.Response:
    return _page(flask.request.args.get("next", "/"))


@blueprint.get("/auth/start", provide_automatic_options=False)
def start() -> flask.Response:
    """Redirect to the identity provider, which redirects back to `callback`."""
    _count_attempt()
    under_way = UnderWay(
        state=secrets.token_urlsafe(24), nonce=secrets.token_urlsafe(24), verifier=secrets.token_urlsafe(48),
        next=here(flask.request.args.get("next", "/")),
    )  # fmt: skip
    try:
        address = ports().provider.sign_in_address(
            redirect_uri=_callback(), state=under_way.state, nonce=under_way.nonce, verifier=under_way.verifier,
            language=language(),
        )  # fmt: skip
    except (ProviderAwayError, ProviderRefusedError) as error:
        return _failed(error, under_way.next)
    response = go(address)
    sessions.set_cookie(response, "sign-in", msgspec.json.encode(under_way).hex(), UNDER_WAY_SECONDS)
    return response


@blueprint.get("/auth/callback", provide_automatic_options=False)
def callback() -> flask.Response:
    """Back from the identity provider, with a code that is good once."""
    _count_attempt()
    query = flask.request.args
    under_way = _under_way(query.get("state", ""))
    if under_way is None:
        return _page("/", gettext("This sign-in was not begun in this browser, or took too long. Try again."), 400)
    if "code" not in query:
        said = gettext("The identity provider did not sign you in: %(why)s", why=query.get("error", "?")[:100])
        return _page(under_way.next, said, 403)
    client = ports().provider.client
    try:
        tokens = ports().provider.exchange(query["code"], redirect_uri=_callback(), verifier=under_way.verifier)
        subject, provider_session = ports().verifier.signed_in(tokens.id_token, client=client, nonce=under_way.nonce)
        principal = ports().verifier.verify(tokens.access_token)
        if principal.subject != subject:
            raise Unauthenticated(message("identity_two_people"))
    except (Problem, KerutaError) as error:
        return _failed(error, under_way.next)
    response = _signed_in(tokens, subject, provider_session, under_way.next)
    sessions.drop_cookie(response, "sign-in")
    return response


@blueprint.post("/auth/code", provide_automatic_options=False)
def by_code() -> flask.Response:
    """Sign in on one machine: by the code that it shows where it was started, or by a token of its issuer's."""
    _count_attempt()
    settings = ports().settings
    flask.request.max_content_length = FORM_LIMIT_BYTES
    wanted = here(flask.request.form.get("next", "/"))
    given = flask.request.form.get("code", "").strip()[:CODE_LIMIT]
    if settings.sign_in_code_file is None or settings.sign_in_token_file is None or not _same_origin():
        return _page(wanted, gettext("Here you sign in at the identity provider."), 403)
    try:
        code = settings.sign_in_code_file.read_text().strip()
        if _plain(code) and hmac.compare_digest(_plain(given), _plain(code)):  # a file cut short is no code
            given = settings.sign_in_token_file.read_text().strip()
    except OSError:
        return _page(wanted, gettext("The code's file can't be read; see the log of admin."), 503)
    try:
        principal = ports().verifier.verify(given)
    except Unauthenticated:
        return _page(wanted, gettext("That is not the code that keruta showed when it was started."), 403)
    now = time.time()
    tokens = Tokens(access_token=given, expires_at=now + LOCAL_SECONDS, ends_at=now + LOCAL_SECONDS)
    return _signed_in(tokens, principal.subject, "", wanted)


@blueprint.post("/auth/sign-out", provide_automatic_options=False)
def sign_out() -> flask.Response:
    """Here, and at the identity provider, which tells all else where its sign-in was used."""
    session = sessions.current()
    if session is not None:
        sessions.check_form_token()
        ports().browsers.end(session.secret)
        if session.tokens.refresh_token:
            try:
                ports().provider.sign_out(session.tokens)
            except (ProviderAwayError, ProviderRefusedError) as error:
                log.warning("not signed out there: %s", error, extra={"action": "sign_out_not_told"})
    if not sessions.cookie("session"):
        return go("/auth/sign-in")  # another site's form brings no cookie, and is not to take it away either
    response = go("/auth/sign-in", "signed_out")
    sessions.drop_cookie(response, "session")
    return response


@blueprint.post("/auth/backchannel-logout", provide_automatic_options=False)
def ended_elsewhere() -> flask.Response:
    """The identity provider says that a sign-in is over.

    Source: https://openid.net/specs/openid-connect-backchannel-1_0.html#BCRequest
    """
    flask.request.max_content_length = FORM_LIMIT_BYTES
    token = flask.request.form.get("logout_token", "")
    headers = {"Cache-Control": "no-store"}
    try:
        subject, session = ports().verifier.signed_out(token, client=ports().provider.client)
    except Unauthenticated:
        return flask.Response("not a logout token for keruta\n", 400, headers, content_type="text/plain")
    count = ports().browsers.end_all(subject=subject, provider_session=session)
    log.info("%d sessions ended by the identity provider", count, extra={"action": "signed_out_elsewhere"})
    return flask.Response("ok\n", 200, headers, content_type="text/plain")


@blueprint.get("/auth/session", provide_automatic_options=False)
def session() -> flask.Response:
    """Tell a page of ours, before it sends a form, whether its reader is still signed in, as whom, and a form token."""
    headers = {"Cache-Control": "no-store"}
    who = None
    if _same_origin():
        with contextlib.suppress(Unauthenticated):
            who = ports().verifier.verify(sessions.access_token())
    if who is None:
        return flask.Response("{}", 401, headers, content_type="application/json")
    told = {"me": who.subject, "name": who.name, "token": sessions.form_token()}
    return flask.Response(msgspec.json.encode(told), 200, headers, content_type="application/json")


@blueprint.post("/auth/language", provide_automatic_options=False)
def choose_language() -> flask.Response:
    """A reader's own choice, kept in their browser."""
    chosen = flask.request.form.get("language", "")
    response = go(here(flask.request.form.get("next", "/")))
    if chosen in LANGUAGES:
        response.set_cookie(COOKIE, chosen, max_age=365 * 86400, samesite="Lax", secure=sessions.is_secure())
    return response


@blueprint.post("/auth/zone", provide_automatic_options=False)
def choose_zone() -> flask.Response:
    """Take a reader's own choice of a time zone, kept in their browser; an empty one leaves it to the browser."""
    chosen, wanted = flask.request.form.get("zone", "").strip(), here(flask.request.form.get("next", "/"))
    if not chosen:
        response = go(wanted, "zone_of_browser")
        response.delete_cookie(CHOSEN, samesite="Lax", secure=sessions.is_secure())
        return response
    if known_zone(chosen) is None:
        return go(wanted, "zone_unknown")
    response = go(wanted, "zone_chosen")
    response.set_cookie(CHOSEN, chosen, max_age=365 * 86400, samesite="Lax", secure=sessions.is_secure())
    return response


def _under_way(state: str) -> UnderWay | None:
    """The sign-in that this browser has begun, when what came back is of that one."""
    try:
        found = structs.from_json(bytes.fromhex(sessions.cookie("sign-in")), type=UnderWay)
    except (ValueError, msgspec.DecodeError):
        return None
    return found if hmac.compare_digest(found.state.encode(), state.encode()) else None


def _count_attempt() -> None:
    """Raises TooManyRequests."""
    ports().sign_in_rates.take(f"sign-in {address_of(flask.request)}")


def _signed_in(tokens: Tokens, subject: str, provider_session: str, wanted: str) -> flask.Response:
    """A session that is new: whatever cookie the browser came with opens nothing of it."""
    if (old := sessions.current()) is not None:
        ports().browsers.end(old.secret)
    session = ports().browsers.begin(tokens, subject=subject, provider_session=provider_session)
    response = go(wanted)
    sessions.set_cookie(response, "session", session.secret, None)
    return response


def _page(wanted: str, wrong: str = "", status: int = 200) -> flask.Response:
    settings = ports().settings
    return page(
        "sign_in/sign_in.html", status, next=here(wanted), wrong=wrong,
        by_code=settings.sign_in_code_file is not None, away_since=ports().verifier.issuer_away_since,
    )  # fmt: skip


def _failed(error: KerutaError, wanted: str) -> flask.Response:
    log.warning("not signed in: %s", error, extra={"action": "sign_in_failed"})
    if isinstance(error, ProviderAwayError):
        return _page(wanted, gettext("The identity provider can't be reached; tried just now."), 503)
    if isinstance(error, Problem) and error.status == 403:
        return _page(wanted, gettext("This account was disabled; ask an administrator of keruta."), 403)
    return _page(wanted, gettext("The identity provider's answer was not valid; try again."), 403)


def _callback() -> str:
    return f"{ports().settings.public_url.rstrip('/')}/auth/callback"


def _same_origin() -> bool:
    """A form of another site signs nobody in. Source: https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header"""
    return flask.request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")


def _plain(code: str) -> bytes:
    """Return the code without dashes, blanks and case."""
    return code.replace("-", "").replace(" ", "").upper().encode()
