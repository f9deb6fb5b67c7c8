"""Notices by e-mail: put on record when an event tells of a task's end, and sent from the record.

Whether a person still wants it, has a verified address and may read the task is asked at the moment of sending.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from keruta import metrics
from keruta.domain.events import Event
from keruta.domain.mail_addresses import is_address
from keruta.domain.messages import Message, message
from keruta.domain.naming import new_id
from keruta.domain.notice_mails import (
    MAILED,
    Mail,
    MailChange,
    MailDue,
    NoticeDue,
    after_try,
    free_at,
    make_mail,
    make_trial,
)
from keruta.domain.principal import Principal
from keruta.domain.task import TaskSummary
from keruta.errors import Conflict, Unauthenticated
from keruta.ports.people import Mailer, NoticeMails

Render = Callable[[Message, str], str]


class MailPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Ports and settings that sending e-mails needs.

    Args:
        people: finds a person as they were last seen; None for one who is unknown or disabled. Raises Unauthenticated
            for one who has not come for too long.
        render: puts a message into a language.
        public_url: keruta's own address, for the links.
        per_hour: e-mails to one person in an hour.
    """

    record: NoticeMails
    people: Callable[[str], Principal | None]
    mailer: Mailer
    render: Render
    public_url: str
    per_hour: int


def note(event: Event, *, record: NoticeMails) -> int:
    """Put on record who is to be told of an event; return how many they are."""
    status = MAILED.get(event.type)
    if status is None or event.subject is None or (facets := record.facets(event.subject)) is None:
        return 0
    due = NoticeDue(event=event.id, task=event.subject, status=status, at=datetime.now(UTC))
    wanting = [
        one.subject for one in record.followers(facets)
        if one.choice.means(one.subject, one.favourites, facets, status)
    ]  # fmt: skip
    return sum(record.add(subject, due) for subject in wanting)


def send_due(ports: MailPorts) -> bool:
    """Send what is due, one e-mail after another; return False as soon as the server does not take them.

    Raises Unavailable.
    """
    while (due := ports.record.take()) is not None:
        now = datetime.now(UTC)
        if (later := free_at(due.sent_at, now, ports.per_hour)) is not None:
            ports.record.settle(due, MailChange(due_at=later, tries=due.tries - 1))
            continue
        mail = _mail(ports, due)
        if mail is None:
            ports.record.settle(due, MailChange(over=[one.event for one in due.notices]))
            continue
        sent = ports.mailer.send(mail)
        metrics.MAILS.labels(outcome="waits" if sent.outcome in ("later", "away") else sent.outcome).inc()
        ports.record.settle(due, after_try(due, sent, now))
        if sent.outcome == "away":
            return False
    return True


def send_trial(who: Principal, language: str, *, mailer: Mailer | None, render: Render, public_url: str) -> None:
    """Send an administrator an e-mail at once, to their own verified address.

    Raises:
        Conflict: it was not sent; the message says why.
    """
    if mailer is None:
        raise Conflict(message("mail_no_server"), reason="MailNotSent")
    if not who.mail_verified or not is_address(who.mail):
        raise Conflict(message("mail_no_address"), reason="MailNotSent")
    mail = make_trial(new_id(), who.mail, public_url.rstrip("/"), lambda said: render(said, language))
    sent = mailer.send(mail)
    if sent.said is not None:
        raise Conflict(sent.said, reason="MailNotSent")


def _mail(ports: MailPorts, due: MailDue) -> Mail | None:
    """Return the e-mail, as far as the person wants and may read it now; None where nothing is left."""
    try:
        who = ports.people(due.subject)
    except Unauthenticated:
        return None
    follower = ports.record.follower(due.subject)
    if who is None or not follower.choice.mail or not who.mail_verified or not is_address(who.mail):
        return None
    readable = ports.record.readable(who, [one.task for one in due.notices])
    tasks: list[tuple[TaskSummary, str]] = []
    for one in due.notices:
        task, facets = readable.get(one.task, (None, []))
        if task is not None and follower.choice.means(due.subject, follower.favourites, facets, one.status):
            tasks.append((task, one.status))
    if not tasks:
        return None
    language = follower.choice.language
    return make_mail(due, who.mail, tasks, ports.public_url.rstrip("/"), lambda said: ports.render(said, language))
