"""E-mails about the ends of tasks: to whom, when, and what they say. Pure.

An e-mail is plain text. Its links lead to keruta, where the reader signs in; nothing that a task says becomes one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from keruta.domain.chat_messages import notice
from keruta.domain.events import task_event
from keruta.domain.favourites import Favourite
from keruta.domain.messages import Message, message
from keruta.domain.notices import NoticeChoice
from keruta.domain.task import TaskSummary

MAILED = {task_event(status): status for status in ("succeeded", "failed", "cancelled", "unknown")}
GATHER_SECONDS = 20  # tasks that end within them stand in one e-mail
LISTED_MOST = 20  # tasks in one e-mail; of the others it says how many they are
WAITING_MOST = 200  # notices of one person that are kept until they are sent
HOUR = timedelta(hours=1)
# How long after each try the next one is made; the last one stands for all further ones.
AGAIN_SECONDS = (60, 300, 1800, 7200)
GIVE_UP = timedelta(days=1)  # what could not be sent for so long is news no more
# A word joiner, which is not seen, parts what mail programs would make a link of.
_LINKED = re.compile(r"(?<=\w)(://|[.@](?=\w))")


class NoticeDue(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a task, as an event told of it, that a person is to be told of."""

    event: str
    task: str
    status: str
    at: datetime


class Follower(msgspec.Struct, frozen=True, kw_only=True):
    """A person who may want to be told of a task's end by e-mail."""

    subject: str
    choice: NoticeChoice
    favourites: Sequence[Favourite] = ()


class MailDue(msgspec.Struct, frozen=True, kw_only=True):
    """One person's e-mail that is due.

    Args:
        taken_until: until when no other process tries it, which names this turn.
        tries: how many there were, this one included.
        sent_at: when e-mails were sent to them lately.
    """

    subject: str
    taken_until: datetime
    notices: Sequence[NoticeDue]
    tries: int
    sent_at: Sequence[datetime] = ()


class MailChange(msgspec.Struct, frozen=True, kw_only=True):
    """Change of a person's record of e-mails after a turn.

    Args:
        over: the events that they are not told of any more, sent or not.
        sent_at: when an e-mail was sent.
        due_at: when what is left, or came meanwhile, is due; None: soon.
        tries: that count.
        said: why the last try failed; empty where it did not.
    """

    over: Sequence[str] = ()
    sent_at: datetime | None = None
    due_at: datetime | None = None
    tries: int = 0
    said: Message | None = None


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """An e-mail. The same notices to the same person are the same `id`, however often they are sent."""

    id: str
    to: str
    subject: str
    body: str


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The server's answer to an e-mail: `refused` and `later` are about this e-mail or its address, `away` is about the
    server.
    """

    outcome: Literal["sent", "refused", "later", "away"]
    said: Message | None = None


def free_at(sent_at: Sequence[datetime], now: datetime, per_hour: int) -> datetime | None:
    """Return when the next e-mail may be sent to a person who has had their hour's; None: now."""
    lately = sorted(at for at in sent_at if now - at < HOUR)
    return lately[-per_hour] + HOUR if len(lately) >= per_hour else None


def after_try(due: MailDue, sent: Sent, now: datetime) -> MailChange:
    """Return what becomes of an e-mail that the server was asked to take."""
    everything = [one.event for one in due.notices]
    if sent.outcome == "sent":
        return MailChange(over=everything, sent_at=now)
    if sent.outcome == "refused":
        return MailChange(over=everything, said=sent.said)
    again = now + timedelta(seconds=AGAIN_SECONDS[min(due.tries, len(AGAIN_SECONDS)) - 1])
    old = [one.event for one in due.notices if now - one.at >= GIVE_UP]
    return MailChange(over=old, due_at=again, tries=due.tries, said=sent.said)


def make_mail(
    due: MailDue, to: str, tasks: Sequence[tuple[TaskSummary, str]], url: str, render: Callable[[Message], str]
) -> Mail:
    """Return a person's e-mail.

    Args:
        tasks: what they are told of, with the status that each task ended with.
        url: keruta's own address, without a slash at its end.
        render: puts a message into the reader's language.
    """
    told = [notice(task, status, f"{url}/tasks/{task.id}", render) for task, status in tasks]
    parts = [
        "\n".join([*(_unlinked(text) for text in (one.heading, one.sentence, one.place) if text), one.url])
        for one in told[:LISTED_MOST]
    ]
    if (more := len(told) - LISTED_MOST) > 0:
        parts.append(render(message("mail_more", count=more, url=f"{url}/notices")))
    parts.append("-- \n" + render(message("mail_chosen", url=f"{url}/notices")))
    subject = told[0].heading if len(told) == 1 else render(message("mail_many", count=len(told)))
    events = " ".join(sorted(one.event for one in due.notices))
    return Mail(
        id=hashlib.sha256(f"{due.subject} {events}".encode()).hexdigest()[:32], to=to, subject=f"[keruta] {subject}",
        body="\n\n".join(parts) + "\n",
    )  # fmt: skip


def make_trial(id: str, to: str, url: str, render: Callable[[Message], str]) -> Mail:
    """Return the e-mail by which an administrator tries the settings."""
    subject, body = render(message("mail_trial")), render(message("mail_trial_body", url=f"{url}/notices"))
    return Mail(id=id, to=to, subject=f"[keruta] {subject}", body=f"{body}\n")


def _unlinked(text: str) -> str:
    return _LINKED.sub("\u2060\\1\u2060", text)
