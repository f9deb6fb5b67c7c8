"""Notices: the ends of the tasks that a person has chosen to be told of, with a count in their menu.

What was chosen, and up to when notices were seen, is kept on the server; each process remembers the count for some
seconds.
"""

from __future__ import annotations

import contextlib
from typing import Any

import flask
import msgspec

from admin.auth import principal
from admin.ports import ports
from admin.site.language import language
from admin.site.pages import go, page, shows
from keruta.domain.mail_addresses import is_address
from keruta.domain.messages import Message
from keruta.domain.notices import NoticeChoice
from keruta.domain.principal import Principal
from keruta.errors import Unavailable
from keruta.remembered import Remembered
from keruta.services.notice_mails import send_trial
from keruta.translations import render

blueprint = flask.Blueprint("notices", __name__)

SHOWN = 100
COUNT_SECONDS = 5.0
KNOWN_AT_MOST = 1000


def _count(who: Principal) -> int:
    """Return how many notices a person has not seen; 0 while the database is away."""
    with contextlib.suppress(Unavailable):
        choice = ports().notices.choice(who.subject)
        if choice.mine or choice.watched:
            return ports().notices.unseen(who, _facets(who, choice), choice.statuses)
    return 0


def _counts() -> Remembered[str, int]:
    found: Remembered[str, int] = flask.current_app.extensions["keruta_notices"]
    return found


def _facets(who: Principal, choice: NoticeChoice) -> list[str]:
    favourites = ports().favourites.of(who.subject) if choice.watched else []
    return choice.facets(who.subject, favourites)


class MailState(msgspec.Struct, frozen=True, kw_only=True):
    """State of a person's notices by e-mail: whether they can be sent.

    Args:
        address: theirs; empty where the identity provider does not say that it is.
        fault: why the last e-mail to them was not sent.
    """

    address: str
    fault: Message | None = None


def _mail(who: Principal) -> MailState | None:
    """Return how it stands with a person's e-mails; None where no server for them is set."""
    if not ports().settings.smtp_url:
        return None
    address = who.mail if who.mail_verified and is_address(who.mail) else ""
    return MailState(address=address, fault=ports().notice_mails.last_fault(who.subject))


@shows(blueprint, "list_tasks", "/notices")
def notices() -> flask.Response:
    who = principal()
    choice = ports().notices.choice(who.subject)
    found = ports().notices.found(who, _facets(who, choice), choice.statuses, limit=SHOWN)
    part = flask.request.headers.get("X-Part") == "notices"
    return page(
        "activity/notices_rows.html" if part else "activity/notices.html", choice=choice, tasks=found,
        seen_at=ports().notices.seen_at(who.subject), mail=_mail(who),
        names=ports().accounts.names([task.owner for task in found]),
    )  # fmt: skip


@shows(blueprint, "list_tasks", "/notices", "POST")
def choose_notices() -> flask.Response:
    """Keep the choice, or mark all as seen."""
    who, form = principal(), flask.request.form
    if form.get("do") == "seen":
        ports().notices.see(who.subject)
    else:
        choice = NoticeChoice(
            mine="mine" in form, watched="watched" in form, failures_only="failures_only" in form,
            mail="mail" in form, language="ja" if language() == "ja" else "en",
        )  # fmt: skip
        ports().notices.choose(who.subject, choice)
    _counts().forget(who.subject)
    return go("/notices", "notices_seen" if form.get("do") == "seen" else "notices_chosen")


@shows(blueprint, "list_settings", "/notices/test-mail", "POST")
def send_test_mail() -> flask.Response:
    """Send an administrator an e-mail, to their own address alone."""
    own = ports()
    send_trial(principal(), language(), mailer=own.mailer, render=render, public_url=own.settings.public_url)
    return go("/notices", "notices_tried")


def prepare(state: flask.blueprints.BlueprintSetupState) -> None:
    """Give every page the count, when it asks for it."""
    counts: Remembered[str, int] = Remembered(COUNT_SECONDS, KNOWN_AT_MOST)
    state.app.extensions["keruta_notices"] = counts

    @state.app.context_processor
    def known() -> dict[str, Any]:
        who = flask.g.get("principal")
        if who is None or not who.is_person:
            return {"notices_count": lambda: 0}
        return {"notices_count": lambda: counts.of(who.subject, lambda: _count(who))}


blueprint.record(prepare)
