"""Notices by e-mail, by a real SMTP server: over verified TLS only, to whom they are for, from the record."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import flask
import jwt
import msgspec
import pytest

from admin.bootstrap import make_ports
from keruta.adapters import smtp as module
from keruta.adapters.mail_sender import LOOK_SECONDS, PAUSE_SECONDS, MailSender
from keruta.adapters.mongo.notice_mails import MongoNoticeMails
from keruta.adapters.mongo.users import editors
from keruta.adapters.smtp import SmtpMailer
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.events import Event, task_event
from keruta.domain.messages import message
from keruta.domain.notice_mails import Mail, MailChange, NoticeDue, Sent
from keruta.network import Network
from keruta.services.notice_mails import MailPorts, note, send_due
from keruta.settings import Settings
from keruta.translations import render
from tests.support.admin import Browser
from tests.support.authority import Authority
from tests.support.mail_server import LOGIN, MailServer
from tests.support.ports import free_port
from tests.support.world import ANN, World

MAIL = Mail(id="1", to="ann@example.com", subject="[keruta] Failed: x", body="x\n")
PUBLIC = "https://keruta.example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> ssl.SSLContext:
    return authority.server("127.0.0.1")


@pytest.fixture
def server(certificate: ssl.SSLContext) -> Iterator[MailServer]:
    with MailServer(certificate) as running:
        yield running


@pytest.fixture
def login(tmp_path: Path) -> Path:
    file = tmp_path / "login"
    file.write_text(LOGIN + "\n")
    return file


def mailer(url: str, login: Path | None, authority: Authority | None) -> SmtpMailer:
    settings = Settings(smtp_url=url, smtp_login_file=login, smtp_sender="k@example.com", public_url=PUBLIC)
    return SmtpMailer(settings, Network(ca_file=authority.file) if authority is not None else Network())


# ---------------------------------------------------------------- the connection


@pytest.mark.parametrize("starttls", [True, False])
def test_an_e_mail_is_sent_over_tls_with_a_login(
    certificate: ssl.SSLContext, login: Path, authority: Authority, starttls: bool
) -> None:
    """The server's certificate is signed by the company's own authority."""
    with MailServer(certificate, starttls=starttls) as server:
        sent = mailer(server.url, login, authority).send(MAIL)

    assert (sent.outcome, sent.said) == ("sent", None)
    assert server.logins == 1
    assert [taken[:2] for taken in server.taken] == [("k@example.com", ["ann@example.com"])]
    assert server.messages()[0].get_content().strip() == "x"


def test_nothing_is_said_to_a_server_whose_certificate_is_not_trusted(server: MailServer, login: Path) -> None:
    sent = mailer(server.url, login, None).send(MAIL)

    assert sent.outcome == "away"
    assert sent.said is not None
    assert sent.said.code == "connection_untrusted"
    assert server.taken == []


def test_nothing_is_sent_where_there_is_no_tls(login: Path, authority: Authority) -> None:
    """Not by STARTTLS, and not from the first byte: the login stays here."""
    with MailServer(None, login=False) as server:
        plain = mailer(server.url, login, authority).send(MAIL)
        other = mailer(server.url.replace("smtp:", "smtps:"), login, authority).send(MAIL)

    assert [one.said and one.said.code for one in (plain, other)] == ["mail_no_starttls", "mail_no_tls"]
    assert server.taken == []


def test_a_refused_login_is_told_without_the_password(server: MailServer, login: Path, authority: Authority) -> None:
    login.write_text("keruta:battery staple")
    sent = mailer(server.url, login, authority).send(MAIL)

    assert sent.outcome == "away"
    assert sent.said is not None
    assert sent.said.code == "mail_login_refused"
    assert "battery" not in sent.said.text
    login.write_text(LOGIN)
    assert mailer(server.url, login, authority).send(MAIL).outcome == "sent", "the file is read anew"


def test_a_login_file_that_is_none_is_told(server: MailServer, tmp_path: Path, authority: Authority) -> None:
    sent = mailer(server.url, tmp_path / "none", authority).send(MAIL)

    assert sent.said is not None
    assert sent.said.code == "mail_login_file"


@pytest.mark.parametrize(("answer", "outcome"), [("550 no such person", "refused"), ("451 later", "later")])
def test_an_answer_about_an_address_is_final_or_not(
    server: MailServer, login: Path, authority: Authority, answer: str, outcome: str
) -> None:
    server.refuses["ann@example.com"] = answer
    sent = mailer(server.url, login, authority).send(MAIL)

    assert sent.outcome == outcome
    assert sent.said is not None
    assert answer in sent.said.text


def test_a_server_that_is_silent_has_so_many_seconds(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    monkeypatch.setattr(module, "SEND_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        sent = mailer(f"smtp://127.0.0.1:{silent.getsockname()[1]}", None, authority).send(MAIL)

    assert time.monotonic() - began < 3
    assert sent.said is not None
    assert sent.said.code == "mail_timeout"


def said_by(
    lines: Iterator[bytes], authority: Authority, certificate: ssl.SSLContext | None, login: Path | None
) -> Sent:
    """Send to a server that says these lines, the first at once and one for each line that it is sent."""
    with socket.create_server(("127.0.0.1", 0)) as hostile:

        def serve() -> None:
            plain = hostile.accept()[0]
            with (
                contextlib.suppress(OSError),
                contextlib.closing(
                    certificate.wrap_socket(plain, server_side=True) if certificate is not None else plain
                ) as connection,
            ):
                asks = connection.makefile("rb")
                for line in lines:
                    connection.sendall(line)
                    asks.readline()

        thread = threading.Thread(target=serve)
        thread.start()
        scheme = "smtps" if certificate is not None else "smtp"
        sent = mailer(f"{scheme}://127.0.0.1:{hostile.getsockname()[1]}", login, authority).send(MAIL)
        thread.join()
    return sent


def test_a_greeting_without_end_is_cut_off(authority: Authority) -> None:
    """The server, or whoever sits before it, is not known yet: before STARTTLS anybody may have said it."""
    began = time.monotonic()
    endless = b"220-keruta\r\n" * 200_000
    sent = said_by(iter([endless]), authority, None, None)

    assert (sent.outcome, sent.said and sent.said.code) == ("away", "mail_cut")
    assert time.monotonic() - began < 5


def test_a_login_s_question_that_is_none_is_told(
    authority: Authority, certificate: ssl.SSLContext, login: Path
) -> None:
    lines = [b"220 x\r\n", b"250-x\r\n250 AUTH CRAM-MD5\r\n", b"334 abc\r\n", b""]
    sent = said_by(iter(lines), authority, certificate, login)

    assert (sent.outcome, sent.said and sent.said.code) == ("away", "mail_unreadable")


def test_a_password_that_smtp_has_no_letters_for_is_told(server: MailServer, login: Path, authority: Authority) -> None:
    login.write_text("keruta:Schlüssel")
    sent = mailer(server.url, login, authority).send(MAIL)

    assert (sent.outcome, sent.said and sent.said.code) == ("away", "mail_login_file")
    assert "Schl" not in (sent.said.text if sent.said else "")


def test_what_can_not_be_written_is_given_up(server: MailServer, login: Path, authority: Authority) -> None:
    """So that it is not tried for ever, before all others."""
    sent = mailer(server.url, login, authority).send(msgspec.structs.replace(MAIL, to="ann@example.com, b@x.example"))

    assert (sent.outcome, sent.said and sent.said.code) == ("refused", "mail_not_written")
    assert server.logins == 0


# ---------------------------------------------------------------- from the record


class Mails:
    """The record on a real database, and the real server; people as `users` has them."""

    def __init__(self, world: World, server: MailServer, mailer: SmtpMailer) -> None:
        self.world, self.server = world, server
        self.record = MongoNoticeMails(world.database)
        self.ports = MailPorts(
            record=self.record, people=editors(world.database, world.settings), mailer=mailer, render=render,
            public_url=f"{PUBLIC}/", per_hour=2,
        )  # fmt: skip

    def person(self, name: str, *roles: str, verified: bool = True, **choice: object) -> None:
        database = self.world.database
        database["users"].replace_one(
            {"_id": name},
            {"name": name, "mail": f"{name}@example.com", "mail_verified": verified, "roles": list(roles),
             "groups": [], "last_seen_at": datetime.now(UTC)},
            upsert=True,
        )  # fmt: skip
        chosen = {"mine": True, "mail": True, **choice}
        database["notices"].replace_one({"_id": name}, {"choice": chosen}, upsert=True)

    def ended(self, *, status: str = "failed", event: str = "", **fields: str) -> tuple[str, int]:
        """A task that ended, and how many are to be told of it."""
        self.world.worker(slots=99)
        task = self.world.submit(**fields)
        self.world.assign()
        self.world.start(task)
        more = {"reason": "ScriptFailed", "exit_code": 1} if status == "failed" else {}
        self.world.end(task, status=status, **more)
        return task, self.told(task, status, event or f"e-{task}")

    def told(self, task: str, status: str, event: str) -> int:
        return note(Event(id=event, type=task_event(status), subject=task), record=self.record)

    def send(self) -> bool:
        """Send what is due, as if the time for it had come."""
        past = datetime.now(UTC) - timedelta(seconds=1)
        self.world.database["notice_mails"].update_many({"due_at": {"$exists": True}}, {"$set": {"due_at": past}})
        return send_due(self.ports)

    @property
    def recipients(self) -> list[str]:
        return [address for _, addresses, _ in self.server.taken for address in addresses]


@pytest.fixture
def mails(world: World, server: MailServer, login: Path, authority: Authority) -> Mails:
    return Mails(world, server, mailer(server.url, login, authority))


def test_who_chose_so_gets_an_e_mail_with_what_ended(mails: Mails) -> None:
    """Several ends in one, in the language of the choice, and the same event once."""
    mails.person("ann", "developer", language="ja")
    mails.person("bob", "developer", mail=False)
    first, count = mails.ended(name="one")
    second, _ = mails.ended(name="two", status="succeeded")
    mails.ended(owner="bob")

    assert count == 1
    assert mails.told(first, "failed", f"e-{first}") == 0
    assert mails.send()
    assert mails.recipients == ["ann@example.com"]
    body = mails.server.messages()[0].get_content()
    assert f"{PUBLIC}/tasks/{first}" in body
    assert f"{PUBLIC}/tasks/{second}" in body
    assert "失敗" in body
    assert mails.told(first, "failed", f"e-{first}") == 0
    assert mails.send()
    assert len(mails.recipients) == 1


def test_who_watches_is_told_of_others_tasks(mails: Mails) -> None:
    mails.world.catalogs["queue"].create(ANN, QueueSpec(name="nightly"))
    for name, choice in (("zoe", {"watched": True}), ("yan", {}), ("xia", {"watched": True, "failures_only": True})):
        mails.person(name, "viewer", **choice)
        mails.world.database["favourites"].insert_one({"_id": name, "entries": [{"kind": "queue", "name": "nightly"}]})
    mails.ended(queue="nightly", status="succeeded")
    mails.ended()
    mails.send()

    assert mails.recipients == ["zoe@example.com"]


@pytest.mark.parametrize(
    "change",
    [
        lambda database: database["users"].update_one({}, {"$set": {"mail_verified": False}}),
        lambda database: database["users"].update_one({}, {"$unset": {"mail_verified": 1}}),
        lambda database: database["users"].update_one({}, {"$set": {"mail": "ann@example.com, eve@example.com"}}),
        lambda database: database["users"].update_one({}, {"$set": {"disabled": True}}),
        lambda database: database["users"].update_one({}, {"$set": {"last_seen_at": datetime(2026, 1, 1, tzinfo=UTC)}}),
        lambda database: database["users"].delete_many({}),
        lambda database: database["tasks"].update_many({}, {"$set": {"readers": ["user:zoe"]}}),
        lambda database: database["tasks"].delete_many({}),
        lambda database: database["notices"].update_one({}, {"$set": {"choice.mail": False}}),
        lambda database: database["notices"].update_one({}, {"$set": {"choice.mine": False}}),
    ],
    ids=["unverified", "unknown", "two", "disabled", "not-seen", "gone", "not-readable", "deleted", "off", "not-mine"],
)
def test_the_moment_of_sending_decides_who_gets_it(mails: Mails, change: Callable[[object], object]) -> None:
    """And what is not to be sent then is not sent later."""
    mails.person("ann", "developer")
    assert mails.ended()[1] == 1
    change(mails.world.database)

    assert mails.send()
    assert mails.recipients == []
    assert mails.world.database["notice_mails"].find_one({"due_at": {"$exists": True}}) is None


def test_an_hours_e_mails_to_a_person_are_bounded(mails: Mails) -> None:
    """Ends beyond the limit come together, later; other people's e-mails are not held up."""
    mails.person("ann", "developer")
    mails.person("bob", "developer")
    for _ in range(3):
        mails.ended()
        mails.send()
    mails.ended()
    mails.ended(owner="bob")
    mails.send()

    assert sorted(mails.recipients) == ["ann@example.com", "ann@example.com", "bob@example.com"]
    row = mails.world.database["notice_mails"].find_one({"_id": "ann"})
    assert row is not None
    assert len(row["waiting"]) == 2
    assert row["due_at"] > datetime.now(UTC) + timedelta(minutes=50)
    assert row["tries"] == 0


def test_what_a_server_did_not_take_is_tried_again(mails: Mails, login: Path) -> None:
    """With one question to a server that refuses everybody, and the reason on the person's page."""
    login.write_text("keruta:wrong")
    mails.person("ann", "developer")
    mails.person("bob", "developer")
    mails.ended()
    mails.ended(owner="bob")

    assert not mails.send()
    faults = [mails.record.last_fault(name) for name in ("ann", "bob")]
    assert sorted(fault.code for fault in faults if fault) == ["mail_login_refused"]
    login.write_text(LOGIN)
    assert mails.send()
    assert sorted(mails.recipients) == ["ann@example.com", "bob@example.com"]
    assert [mails.record.last_fault(name) for name in ("ann", "bob")] == [None, None]


def test_an_address_that_is_to_be_tried_later_holds_up_no_other(mails: Mails) -> None:
    """As a full mailbox, or a server that wants to be asked twice, answers."""
    for name in ("ann", "bob"):
        mails.person(name, "developer")
        mails.ended(owner=name)
    mails.server.refuses["ann@example.com"] = "450 try again later"

    assert mails.send()
    assert mails.recipients == ["bob@example.com"]
    row = mails.world.database["notice_mails"].find_one({"_id": "ann"}) or {}
    assert (len(row["waiting"]), row["tries"]) == (1, 1)


def test_what_came_while_an_e_mail_was_sent_is_sent_after_it(mails: Mails) -> None:
    mails.person("ann", "developer")
    mails.ended()
    due_before = datetime.now(UTC) - timedelta(seconds=1)
    mails.world.database["notice_mails"].update_one({"_id": "ann"}, {"$set": {"due_at": due_before}})
    taken = mails.record.take()
    assert taken is not None
    assert mails.record.take() is None, "it is this turn's"
    second, _ = mails.ended()
    mails.record.settle(taken, MailChange(over=[one.event for one in taken.notices], sent_at=datetime.now(UTC)))
    mails.send()

    assert [second in one.get_content() for one in mails.server.messages()] == [True]


def test_what_is_due_is_found_by_an_index(mails: Mails) -> None:
    """And who watches a task, too."""
    for collection, match, name in (
        ("notice_mails", {"due_at": {"$lte": datetime.now(UTC)}}, "due_at"),
        ("favourites", {"entries": {"$in": [{"kind": "queue", "name": "a"}]}}, "entries"),
    ):
        plan = mails.world.database[collection].find(match).explain()["queryPlanner"]["winningPlan"]
        assert f"'indexName': '{name}'" in str(plan), plan


# ---------------------------------------------------------------- the page


@pytest.fixture
def with_mail(app: flask.Flask) -> flask.Flask:
    ports = app.extensions["keruta"]()
    own = msgspec.structs.replace(
        ports.settings, smtp_url=f"smtp://127.0.0.1:{free_port()}", smtp_sender="k@example.com", public_url=PUBLIC
    )
    app.extensions["keruta"]._made = msgspec.structs.replace(ports, settings=own)
    return app


def token(app: flask.Flask, subject: str, *roles: str, **claims: object) -> str:
    """A token of the test's issuer with further claims, or other ones."""
    issuer = app.extensions["issuer"]
    plain = issuer.issue(subject, list(roles), lifetime=timedelta(hours=1))
    said = jwt.decode(plain, options={"verify_signature": False})
    return jwt.encode({**said, **claims}, issuer._key, algorithm="EdDSA", headers=jwt.get_unverified_header(plain))


def reader(app: flask.Flask, **claims: object) -> Browser:
    return Browser(app, token(app, ANN.subject, "developer", **claims), ANN)


@pytest.mark.parametrize("verified", [True, False])
def test_e_mail_is_offered_to_a_verified_address_only(with_mail: flask.Flask, verified: bool) -> None:
    ann = reader(with_mail, email="ann@example.com", email_verified=verified)
    page = ann.ask("GET", "/notices")[1]

    assert 'name="mail"' in page
    assert ("ann@example.com</bdi>" in page.partition("<main")[2]) is verified
    assert ("no verified address" in page) is not verified


def test_without_a_server_no_e_mail_is_offered(app: flask.Flask) -> None:
    assert 'name="mail"' not in reader(app, email="ann@example.com", email_verified=True).ask("GET", "/notices")[1]


def test_an_event_puts_on_record_who_chose_so(with_mail: flask.Flask, world: World) -> None:
    """In the language in which the choice was made."""
    ann = reader(with_mail, email="ann@example.com", email_verified=True)
    ann.client.set_cookie("keruta-language", "ja")
    assert ann.ask("POST", "/notices", {"mine": "1", "mail": "1"})[0] == 303
    world.worker()
    task = world.submit()
    world.assign()
    world.start(task)
    world.end(task)
    headers = {
        "Authorization": f"Bearer {token(with_mail, 'broker', 'dispatcher')}",
        "ce-specversion": "1.0", "ce-id": "e1", "ce-type": task_event("succeeded"), "ce-source": "/keruta",
        "ce-subject": task, "Content-Type": "application/json",
    }  # fmt: skip
    for _ in range(2):
        assert with_mail.test_client().post("/events/webhooks", headers=headers, json={}).status_code == 204

    row = world.database["notice_mails"].find_one({"_id": "ann"})
    assert row is not None
    assert [(one["task"], one["status"]) for one in row["waiting"]] == [(task, "succeeded")]
    assert MongoNoticeMails(world.database).follower("ann").choice.language == "ja"


def test_the_web_admin_sends_what_is_on_record(
    mails: Mails, with_mail: flask.Flask, authority: Authority, login: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the settings, in a sender of its own, which asks a server that is away less often."""
    senders: list[MailSender] = []
    monkeypatch.setattr(MailSender, "start", lambda self: senders.append(self))
    monkeypatch.setattr(module, "network", lambda: Network(ca_file=authority.file))
    settings = with_mail.extensions["keruta"]().settings
    make_ports(msgspec.structs.replace(settings, smtp_url=mails.server.url, smtp_login_file=login))
    make_ports(settings)
    (here, away) = senders
    mails.person("ann", "developer")
    mails.ended()
    past = datetime.now(UTC) - timedelta(seconds=1)
    for sender in (away, here):
        mails.world.database["notice_mails"].update_one({"_id": "ann"}, {"$set": {"due_at": past}})
        sender._look()

    assert mails.recipients == ["ann@example.com"]
    assert (here._seconds, away._seconds) == (LOOK_SECONDS, PAUSE_SECONDS)


def test_a_person_reads_why_an_e_mail_was_not_sent(with_mail: flask.Flask, world: World) -> None:
    """Of their own address; what is the server's, an administrator reads."""
    ann = reader(with_mail, email="ann@example.com", email_verified=True)
    ann.ask("POST", "/notices", {"mine": "1", "mail": "1"})
    record = MongoNoticeMails(world.database)
    pages = []
    for code, more in (("mail_refused", {}), ("mail_answered", {"place": "mail.internal:25"})):
        record.add("ann", NoticeDue(event=code, task="t", status="failed", at=datetime.now(UTC)))
        past = datetime.now(UTC) - timedelta(seconds=1)
        world.database["notice_mails"].update_one({"_id": "ann"}, {"$set": {"due_at": past}})
        taken = record.take()
        assert taken is not None
        record.settle(taken, MailChange(said=message(code, status=550, answer="no such person", **more)))
        pages.append(ann.ask("GET", "/notices")[1])

    assert "no such person" in pages[0]
    assert "mail.internal" not in pages[1]
    assert "not sent" in pages[1]
    token_of_an_administrator = token(with_mail, ANN.subject, "admin", email="ann@example.com", email_verified=True)
    assert "mail.internal" in Browser(with_mail, token_of_an_administrator, ANN).ask("GET", "/notices")[1]


def test_an_administrator_tries_the_settings(
    with_mail: flask.Flask, server: MailServer, login: Path, authority: Authority
) -> None:
    """By an e-mail to their own verified address; what the server says of it is on the page."""
    made = with_mail.extensions["keruta"]
    made._made = msgspec.structs.replace(made(), mailer=mailer(server.url, login, authority))
    own = {"email": "ann@example.com", "email_verified": True}
    ann = Browser(with_mail, token(with_mail, ANN.subject, "admin", **own), ANN)

    assert 'action="/notices/test-mail"' in ann.ask("GET", "/notices")[1]
    assert ann.ask("POST", "/notices/test-mail", {})[0] == 303
    assert [taken[1] for taken in server.taken] == [["ann@example.com"]]
    server.refuses["ann@example.com"] = "550 no such person"
    status, page = ann.ask("POST", "/notices/test-mail", {})
    assert (status, "550 no such person" in page) == (409, True)
    other = Browser(with_mail, token(with_mail, ANN.subject, "admin", email="eve@example.com"), ANN)
    assert other.ask("POST", "/notices/test-mail", {})[0] == 409
    assert reader(with_mail, **own).ask("POST", "/notices/test-mail", {})[0] == 403
    assert "test-mail" not in reader(with_mail, **own).ask("GET", "/notices")[1]
    assert len(server.taken) == 1
