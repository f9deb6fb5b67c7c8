"""E-mails about the ends of tasks: who is meant, when, and what stands in them."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from keruta.adapters.smtp import written
from keruta.domain.favourites import Favourite
from keruta.domain.mail_addresses import is_address, split_sender
from keruta.domain.messages import fields_of, message
from keruta.domain.notice_mails import (
    AGAIN_SECONDS,
    GIVE_UP,
    LISTED_MOST,
    Mail,
    MailDue,
    NoticeDue,
    Sent,
    after_try,
    free_at,
    make_mail,
)
from keruta.domain.notices import NoticeChoice, watched_by
from keruta.domain.task import RepositoryRef, TaskSummary
from keruta.errors import SettingsError
from keruta.settings import Settings, load
from keruta.translations import render

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
URL = "https://keruta.example.com"
FACETS = ["queue=nightly", "repository=https://example.com/a.git", "repository=a", "owner=ann", "label=template=t"]
SMTP = {
    "KERUTA_SMTP_URL": "smtp://mail.example.com", "KERUTA_SMTP_SENDER": "keruta <keruta@example.com>",
    "KERUTA_PUBLIC_URL": URL,
}  # fmt: skip


def summary(**fields: Any) -> TaskSummary:
    made = TaskSummary(
        id="01a", status="failed", name="nightly", owner="ann", queue="default", priority=0, labels={},
        repository=RepositoryRef(url="https://example.com/a.git", name="a"), profile="plain",
        created_at=AT, changed_at=AT, **fields_of(message("cluster_script_failed", code=3)),
    )  # fmt: skip
    return msgspec.structs.replace(made, **fields)


def due(*events: str, tries: int = 1, at: datetime = AT, sent_at: tuple[datetime, ...] = ()) -> MailDue:
    notices = [NoticeDue(event=event, task="01a", status="failed", at=at) for event in events or ("e1",)]
    return MailDue(subject="ann", taken_until=AT, notices=notices, tries=tries, sent_at=sent_at)


def mail(*tasks: TaskSummary, language: str = "en") -> Mail:
    told = [(one, "failed") for one in tasks or (summary(),)]
    return make_mail(due(), "ann@example.com", told, URL, partial(render, language=language))


# ---------------------------------------------------------------- who is meant


@pytest.mark.parametrize(
    ("choice", "status", "means"),
    [
        (NoticeChoice(), "failed", False),
        (NoticeChoice(mine=True), "succeeded", True),
        (NoticeChoice(mine=True, failures_only=True), "succeeded", False),
        (NoticeChoice(mine=True, failures_only=True), "unknown", True),
        (NoticeChoice(mine=True), "running", False),
    ],
)
def test_a_choice_means_ends_of_ones_own_tasks(choice: NoticeChoice, status: str, means: bool) -> None:
    assert choice.means("ann", [], FACETS, status) is means
    assert not choice.means("bob", [], FACETS, status)


@pytest.mark.parametrize(
    ("kind", "name", "means"),
    [("queue", "nightly", True), ("repository", "a", True), ("template", "t", True), ("queue", "other", False),
     ("worker", "nightly", False)],
)  # fmt: skip
def test_favourites_are_watched(kind: str, name: str, means: bool) -> None:
    """And the favourites by which a task is watched are the same."""
    one = Favourite(kind=kind, name=name)

    assert NoticeChoice(watched=True).means("bob", [one], FACETS, "failed") is means
    assert not NoticeChoice(mine=True).means("bob", [one], FACETS, "failed")
    assert (one in watched_by(FACETS)) is means


# ---------------------------------------------------------------- when


def test_no_more_than_an_hours_e_mails_are_sent_to_a_person() -> None:
    """The next one when the first of them is an hour old."""
    sent = [AT - timedelta(minutes=minutes) for minutes in (90, 50, 30, 10)]

    assert free_at(sent, AT, 4) is None
    assert free_at(sent, AT, 3) == AT + timedelta(minutes=10)


def test_what_the_server_took_is_over() -> None:
    change = after_try(due("e1", "e2"), Sent(outcome="sent"), AT)

    assert (list(change.over), change.sent_at, change.tries, change.said) == (["e1", "e2"], AT, 0, None)


def test_what_the_server_refuses_for_good_is_not_tried_again() -> None:
    said = message("mail_refused", status=550, answer="no")
    change = after_try(due("e1"), Sent(outcome="refused", said=said), AT)

    assert (list(change.over), change.sent_at, change.said) == (["e1"], None, said)


@pytest.mark.parametrize(("tries", "seconds"), [(1, AGAIN_SECONDS[0]), (3, AGAIN_SECONDS[2]), (9, AGAIN_SECONDS[-1])])
def test_a_server_that_is_away_is_asked_again_ever_later(tries: int, seconds: int) -> None:
    change = after_try(due("e1", tries=tries), Sent(outcome="away", said=message("mail_cut", place="x")), AT)

    assert (list(change.over), change.tries, change.due_at) == ([], tries, AT + timedelta(seconds=seconds))


def test_what_could_not_be_sent_for_a_day_is_news_no_more() -> None:
    change = after_try(due("e1", at=AT - GIVE_UP), Sent(outcome="away"), AT)

    assert list(change.over) == ["e1"]


# ---------------------------------------------------------------- what stands in it


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", ("failed: nightly", "Repository a", "by e-mail")), ("ja", ("失敗", "リポジトリ a", "メール"))],
)
def test_an_e_mail_says_how_a_task_ended_and_links_to_its_page(language: str, words: tuple[str, ...]) -> None:
    made = mail(language=language)

    assert all(word in made.subject + made.body for word in words), made.body
    assert f"{URL}/tasks/01a\n" in made.body
    assert f"{URL}/notices" in made.body


def test_several_ends_stand_in_one_e_mail_up_to_a_number() -> None:
    """Of the others it says how many they are."""
    made = mail(*(summary(id=f"t{number}") for number in range(LISTED_MOST + 3)))

    assert made.subject == f"[keruta] {LISTED_MOST + 3} tasks have ended"
    assert made.body.count("/tasks/t") == LISTED_MOST
    assert "3 more tasks have ended" in made.body


def test_nothing_that_a_task_says_becomes_a_link_or_a_header() -> None:
    made = mail(
        summary(
            name="x\r\nBcc: all@example.com\r\n\r\nhttps://evil.example www.evil.example", message="at evil.example"
        )
    )
    said = written(made, ("keruta", "keruta@example.com"), "keruta.example.com")

    assert "evil.example" not in made.body
    assert "all@example" not in made.body
    assert made.body.count("https://") == 2, "the task's page and the notices"
    assert [name for name in said if name.lower() == "bcc"] == []
    assert bytes(said).count(b"\r\n\r\n") >= 1
    assert b"\nBcc" not in bytes(said)
    assert said["To"] == "ann@example.com"
    assert said.get_content_type() == "text/plain"


@pytest.mark.parametrize("address", ["a@b.example\r\nBcc: c@d.example", "a@b.example, c@d.example", "<a@b.example>"])
def test_an_address_with_more_than_an_address_is_written_to_no_header(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        written(Mail(id="1", to=address, subject="x", body="x"), ("", "keruta@example.com"), "keruta")


def test_the_same_notices_are_the_same_message() -> None:
    """So that a mail program shows an e-mail once that was sent twice, since its end was not known."""
    said = [written(mail(), ("", "k@example.com"), "keruta")["Message-ID"] for _ in range(2)]
    told = [(summary(), "failed")]
    other = make_mail(due("e2"), "ann@example.com", told, URL, partial(render, language="en"))

    assert said[0] == said[1]
    assert other.id not in said[0]


# ---------------------------------------------------------------- addresses and settings


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("ann@example.com", True), ("ann.b+c@mail.example.co.jp", True), ("ann", False), ("ann@", False),
        ("@example.com", False), ("ann@exa mple.com", False), ("ann@example.com\n", False), ("a,b@example.com", False),
        ("ann@-example.com", False), ("=?utf-8?q?=0AX:y?=@example.com", False),
        ("アン@example.com", False), ("a@" + "b" * 63 + ".example" * 30, False),
    ],
)  # fmt: skip
def test_an_address_is_one_address(text: str, good: bool) -> None:
    assert is_address(text) is good


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("k@example.com", ("", "k@example.com")), ("keruta <k@example.com>", ("keruta", "k@example.com")),
        ('"keruta CI" <k@example.com>', ("keruta CI", "k@example.com")), ("keruta", None), ("k@example.com x", None),
        ("a\nb <k@example.com>", None), ("a <k@example.com> b", None),
    ],
)  # fmt: skip
def test_a_sender_is_an_address_with_or_without_a_name(text: str, parts: tuple[str, str] | None) -> None:
    assert split_sender(text) == parts


def test_the_settings_of_a_mail_server_are_taken() -> None:
    assert load(SMTP, Settings).smtp_url == "smtp://mail.example.com"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KERUTA_SMTP_URL", "mail.example.com"), ("KERUTA_SMTP_URL", "http://mail.example.com"),
        ("KERUTA_SMTP_URL", "smtp://ann:word@mail.example.com"), ("KERUTA_SMTP_URL", "smtp://mail.example.com:no"),
        ("KERUTA_SMTP_SENDER", ""), ("KERUTA_SMTP_SENDER", "keruta"), ("KERUTA_PUBLIC_URL", ""),
        ("KERUTA_MAILS_PER_HOUR", "0"),
    ],
)  # fmt: skip
def test_faults_of_these_settings_are_told(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load({**SMTP, name: value}, Settings)


@pytest.mark.parametrize(
    "name",
    [
        "=?utf-8?q?a=0D=0ABcc:_eve@example.com=0D=0A=0D=0A<b>hi</b>?=", "=?utf-8?b?DQpYOiB5?=", "=?utf-8?q?=0A?=",
        "=?utf-8?q?=00?=", "=?x?q?=ff?=", "=?utf-8?q?" + "a" * 100, "é" * 74 + " =?utf-8?q?=0d?=", "=?" * 90,
    ],
)  # fmt: skip
def test_a_task_s_name_is_read_as_it_is_and_makes_no_header(name: str) -> None:
    """A word that is encoded as RFC 2047 says is none: its line breaks would begin headers, or the body."""
    made = written(mail(summary(name=name)), ("keruta", "k@example.com"), "keruta.example.com")
    got = email.message_from_bytes(made.as_bytes(), policy=email.policy.default)

    assert list(got.keys()) == list(made.keys())
    assert got["Subject"].replace("\u2060", "") == mail(summary(name=name)).subject
    assert b"\r\r" not in made.as_bytes()
    assert got.get_content_type() == "text/plain"
