"""Serving of pages: who may see one, the tokens in its forms, and what every page shows."""

from __future__ import annotations

import functools
import gzip
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

import flask
import msgspec
from markupsafe import Markup
from werkzeug.exceptions import HTTPException

from admin.ports import ports
from admin.site import assets, field_names, problems, reasons, sentences, sessions, template_filters, time_zone
from admin.site.compression import pack
from admin.site.forms import SECRET
from admin.site.language import LANGUAGES, gettext, language, marked, ngettext
from keruta import logs
from keruta.domain.api.table import BY_NAME
from keruta.domain.naming import NAME
from keruta.errors import Problem, Unauthenticated
from keruta.http.authentication import authorize

View = Callable[..., flask.Response]

SAID_SECONDS = 30
DRAFT_FIELD = "draft_id"
_DRAFT = re.compile(r"[0-9a-z]{8,32}")
PACKED_LEVEL = 3
FORM_LIMIT_BYTES = 2 * 1024 * 1024
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the navigation, for those who may use a route; `group` is the heading that it stands below."""

    address: str
    name: str
    route: str
    group: str = ""


_CATALOG, _OPERATIONS = marked("Catalog"), marked("Operations")
NAVIGATION = (
    Place(address="/", name=marked("Overview"), route="overview"),
    Place(address="/tasks", name=marked("Tasks"), route="list_tasks"),
    Place(address="/needs-you", name=marked("Needs you"), route="list_tasks"),
    Place(address="/notices", name=marked("Notices"), route="list_tasks"),
    Place(address="/repositories", name=marked("Repositories"), route="list_repositories", group=_CATALOG),
    Place(address="/templates", name=marked("Templates"), route="list_templates", group=_CATALOG),
    Place(address="/triggers", name=marked("Triggers"), route="list_triggers", group=_CATALOG),
    Place(address="/forges", name=marked("Forges"), route="list_forges", group=_CATALOG),
    Place(address="/queues", name=marked("Queues"), route="list_queues", group=_CATALOG),
    Place(address="/profiles", name=marked("Profiles"), route="list_profiles", group=_CATALOG),
    Place(address="/documents", name=marked("Documents"), route="list_documents", group=_CATALOG),
    Place(address="/credentials", name=marked("Credentials"), route="list_credentials", group=_CATALOG),
    Place(
        address="/service-accounts",
        name=marked("Service accounts"),
        route="list_service_accounts",
        group=_CATALOG,
    ),
    Place(address="/workers", name=marked("Workers"), route="list_workers", group=_OPERATIONS),
    Place(address="/users", name=marked("Users"), route="list_users", group=_OPERATIONS),
    Place(address="/audit", name=marked("Audit"), route="list_audit", group=_OPERATIONS),
    Place(
        address="/dead-letters",
        name=marked("Dead letters"),
        route="list_dead_letters",
        group=_OPERATIONS,
    ),
    Place(address="/webhooks", name=marked("Webhooks"), route="list_webhooks", group=_OPERATIONS),
    Place(address="/api-keys", name=marked("API keys"), route="list_api_keys", group=_OPERATIONS),
    Place(address="/api/docs", name=marked("API"), route="me", group=_OPERATIONS),
    Place(address="/settings", name=marked("Settings"), route="list_settings", group=_OPERATIONS),
)


def shows(blueprint: flask.Blueprint, name: str, path: str, method: str = "GET") -> Callable[[View], View]:
    """Serves a page, or takes a form, for those who may use the API's route of that name."""
    route = BY_NAME[name]

    def wrap(view: View) -> View:
        @functools.wraps(view)
        def let_in(**parameters: str) -> flask.Response:
            token = sessions.access_token()
            if method != "GET":
                flask.request.max_content_length = FORM_LIMIT_BYTES
                flask.request.max_form_memory_size = FORM_LIMIT_BYTES
                sessions.check_form_token()
            authorize(route, token, ports().verifier)
            with logs.bind(offline=ports().verifier.issuer_away_since is not None):
                return view(**parameters)

        let_in.route = route  # type: ignore[attr-defined]
        blueprint.add_url_rule(path, f"page_{view.__name__}", let_in, methods=[method], provide_automatic_options=False)
        return let_in

    return wrap


def page(template: str, status: int = 200, **values: Any) -> flask.Response:
    """A page, with what was to be said on it."""
    said = flask.request.cookies.get("keruta-said", "")
    response = flask.Response(flask.render_template(template, done=_notice(said), **values), status)
    if said:
        response.delete_cookie("keruta-said")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Cookie, Accept-Language"
    # Lengths tell nothing of a form's token: it is masked anew for each page.
    pack(response, lambda: gzip.compress(response.data, PACKED_LEVEL, mtime=0))
    return response


def _notice(said: str) -> str:
    """Return the sentence of a cookie that `go` has set; empty for any other text, since a cookie may be forged."""
    code, _, name = said.partition(":")
    text = SAID.get(code, "")
    if not text or ("%(name)s" in text) != bool(NAME.fullmatch(name)):
        return ""
    return gettext(text, name=name) if name else gettext(text)


def go(address: str, said: str = "", name: str = "") -> flask.Response:
    """Redirect to another page by GET, where one of `SAID` is shown, with the name that the sentence has."""
    response = flask.redirect(address, 303)
    if said:
        assert ("%(name)s" in SAID[said]) == bool(name)
        value = f"{said}:{name}" if name else said
        response.set_cookie("keruta-said", value, max_age=SAID_SECONDS, httponly=True, samesite="Lax",
                            secure=sessions.is_secure())  # fmt: skip
    assert isinstance(response, flask.Response)
    return taken(response)


def taken(response: flask.Response) -> flask.Response:
    """Tell the browser that what the form brought is kept here, so that it drops its draft (`drafts.js`)."""
    draft = _draft()
    if draft:
        response.set_cookie("keruta-taken", draft, max_age=SAID_SECONDS, samesite="Lax", secure=sessions.is_secure())
    return response


def _draft() -> str:
    """Return the identity of the draft that this request's form was filled from; empty for none."""
    given = flask.request.form.get(DRAFT_FIELD, "") if flask.request.method == "POST" else ""
    return given if _DRAFT.fullmatch(given) else ""


SAID = {
    "cancelled": marked("The task is being cancelled."),
    "retried": marked("The task will run again."),
    "pushing": marked("The kept work is being pushed. The task shows the branch."),
    "accepted": marked("The task counts as done."),
    "sent": marked("What you wrote was sent to the script."),
    "many_done": marked("Done for all marked items."),
    "many_part": marked(
        "Done for some of the marked items; the others have ended already, or you may not change them."
    ),
    "many_none": marked("Nothing was changed: the marked items have ended already, or you may not change them."),
    "many_more": marked("Done for the newest 200 that match; there are more. Send it again for the next."),
    "zone_chosen": marked("Times on pages are in the time zone that you chose."),
    "zone_of_browser": marked("Times on pages are in your browser's time zone."),
    "zone_unknown": marked(
        "Nothing was changed: there is no such time zone. Give a name such as Europe/Berlin or UTC."
    ),
    "badge_made": marked("The badge is there."),
    "badge_revoked": marked("Badge revoked: its address shows nothing any more."),
    "notices_chosen": marked("Your choice of notices is kept."),
    "notices_tried": marked("The test e-mail was sent: look into your mailbox."),
    "notices_seen": marked("All notices are marked as seen."),
    "favourite_added": marked("Added to your favourites."),
    "favourite_removed": marked("Removed from your favourites."),
    "signed_out": marked("You are signed out."),
    "submitted": marked("The task is in the queue."),
    "created_repository": marked("Repository %(name)s added."),
    "changed_repository": marked("Repository %(name)s changed."),
    "deleted_repository": marked("Repository %(name)s deleted."),
    "created_credential": marked("Credential %(name)s added."),
    "changed_credential": marked("Credential %(name)s changed."),
    "deleted_credential": marked("Credential %(name)s deleted."),
    "created_document": marked("Document %(name)s added."),
    "changed_document": marked("Document %(name)s changed."),
    "deleted_document": marked("Document %(name)s deleted."),
    "created_profile": marked("Profile %(name)s added."),
    "changed_profile": marked("Profile %(name)s changed."),
    "deleted_profile": marked("Profile %(name)s deleted."),
    "created_queue": marked("Queue %(name)s added."),
    "changed_queue": marked("Queue %(name)s changed."),
    "deleted_queue": marked("Queue %(name)s deleted."),
    "created_forge": marked("Forge %(name)s added."),
    "changed_forge": marked("Forge %(name)s changed."),
    "deleted_forge": marked("Forge %(name)s deleted."),
    "created_trigger": marked("Trigger %(name)s added."),
    "changed_trigger": marked("Trigger %(name)s changed."),
    "deleted_trigger": marked("Trigger %(name)s deleted."),
    "created_template": marked("Template %(name)s added."),
    "changed_template": marked("Template %(name)s changed."),
    "deleted_template": marked("Template %(name)s deleted."),
    "created_service_account": marked("Service account %(name)s added."),
    "changed_service_account": marked("Service account %(name)s changed."),
    "deleted_service_account": marked("Service account %(name)s deleted."),
    "deleted_webhook": marked("Webhook %(name)s deleted."),
    "paused": marked("Queue %(name)s paused: none of its tasks is started."),
    "resumed": marked("Queue %(name)s resumed."),
    "closed": marked("The circuit is closed; the tasks that waited for it run again."),
    "drained": marked("The worker accepts no new tasks."),
    "undrained": marked("The worker accepts tasks again."),
    "disabled": marked("Account disabled."),
    "enabled": marked("Account enabled."),
    "roles_given": marked("The roles take effect with the next token."),
    "replayed": marked("The event was sent to the broker again."),
    "sent_again": marked("The webhook message is being sent again."),
    "forge_repository_added": marked("Repository %(name)s added."),
    "forge_connected": marked("The forge delivers events to the trigger %(name)s."),
    "trigger_run": marked("Its task is being started."),
    "delivery_replayed": marked("The delivery is processed once more."),
    "delivery_approved": marked("Approved: its task is being started."),
    "revoked": marked("API key revoked."),
}


def here(address: str) -> str:
    """The address if it is a path of this site, else the first page: nobody is sent elsewhere by a link to us."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or not address.startswith("/") or address.startswith("//"):
        return "/"
    if any(character in address for character in "\\\r\n\t\0") or address.startswith("/auth/"):
        return "/"
    return address


def problem_page(problem: Problem, request_id: str) -> flask.Response:
    """Return the page of a problem and its remedy, or a redirect to sign-in for a GET by someone who is not signed
    in.
    """
    if isinstance(problem, Unauthenticated) and flask.request.method == "GET":
        wanted = flask.request.full_path.rstrip("?")
        return go(f"/auth/sign-in?next={quote(wanted, safe='')}")
    try:
        typed = _typed_before(problem)
    except HTTPException:  # the form is too large to be read
        typed = {}
    return page("site/problem.html", problem.status, problem=problem, request_id=request_id, typed=typed,
                back=_form_page())  # fmt: skip


def _form_page() -> str:
    """Return the address of the page that a refused form was on; empty when it isn't known."""
    parts = urlsplit(flask.request.referrer or "")
    if flask.request.method == "GET" or parts.netloc != flask.request.host:
        return ""
    return here(parts.path + (f"?{parts.query}" if parts.query else ""))


def _typed_before(problem: Problem) -> dict[str, str]:
    """Return what was typed into a form of ours that was refused since nobody is signed in, or as it has expired.

    A form of another site is not repeated on a page of ours; values of secrets are not repeated at all.
    """
    refused = problem.status == 401 or problem.reason == "FormNotOurs"
    if flask.request.method == "GET" or not refused or flask.request.headers.get("Sec-Fetch-Site") != "same-origin":
        return {}
    left_out = {sessions.TOKEN_FIELD, DRAFT_FIELD, "next", "key", "revision", "code"}
    form = flask.request.form
    return {
        name: form[name] for name in form
        if name not in left_out and name.rpartition(".")[2] not in SECRET and form[name].strip()
    }  # fmt: skip


def prepare(app: flask.Flask) -> None:
    """Every page of the app can use what is here."""
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    environment = app.jinja_env
    environment.globals.update(
        _=gettext, ngettext=ngettext, asset=assets.address, LANGUAGES=LANGUAGES,
        form_token=sessions.form_token,
        problem_title=problems.title, problem_advice=problems.advice,
        **template_filters.GLOBALS, **time_zone.GLOBALS, **field_names.GLOBALS, **reasons.GLOBALS, **sentences.GLOBALS,
    )  # fmt: skip

    @app.context_processor
    def known() -> dict[str, Any]:
        principal = flask.g.get("principal")
        return {
            "me": principal,
            "language": language(),
            "theme": flask.request.cookies.get("keruta-theme", ""),
            "form_field": _form_field,
            "navigation": [place for place in NAVIGATION if principal and principal.roles & BY_NAME[place.route].roles],
            "may": lambda route: bool(principal and principal.roles & BY_NAME[route].roles),
            "here": flask.request.full_path.rstrip("?"),
        }

    @app.after_request
    def guard(response: flask.Response) -> flask.Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", POLICY)
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        if sessions.is_secure():
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        return response


def _form_field() -> Markup:
    field = Markup('<input type="hidden" name="{}" value="{}">')
    token = field.format(sessions.TOKEN_FIELD, sessions.form_token())
    return token + field.format(DRAFT_FIELD, draft) if (draft := _draft()) else token
