"""Receivers that take their time: all of an exchange has one deadline, and nobody waits for another's receiver."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import pytest

from keruta.adapters import deadlines
from keruta.adapters import webhooks as module
from keruta.adapters.http_client import Http, NoAnswerError
from keruta.adapters.webhooks import Answered, Message, WebhookSender
from keruta.network import Network
from tests.support.authority import Authority
from tests.support.ports import free_port
from tests.support.serving import Quiet, Serving

SECRET = "whsec_" + "A" * 44


class Slow(Quiet):
    """Answers byte by byte, as its path says where, until it is hung up on."""

    protocol_version = "HTTP/1.0"

    def do_POST(self) -> None:
        self.body()
        if self.path == "/good":
            self.answer(204)
            return
        begin = {
            "/status": b"HTTP/1.1 200 ", "/headers": b"HTTP/1.1 200 OK\r\nX-Long: ",
            "/body": b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n",
            "/endless": b"HTTP/1.1 200 OK\r\n\r\n", "/silent": b"",
        }  # fmt: skip
        self.wfile.write(begin[self.path])
        while not self.server.stopped.wait(0.02):  # type: ignore[attr-defined]
            if self.path != "/silent":
                self.wfile.write(b"x")
                self.wfile.flush()

    def do_GET(self) -> None:
        self.do_POST()


class Receiver(Serving):
    """`Slow`, which lets go of everybody at its end."""

    def __enter__(self) -> Receiver:
        self._server.stopped = threading.Event()  # type: ignore[attr-defined]
        super().__enter__()
        return self

    def __exit__(self, *given: object) -> None:
        self._server.stopped.set()  # type: ignore[attr-defined]
        super().__exit__(*given)  # type: ignore[arg-type]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(Slow) as serving:
        yield serving


def to(url: str, webhook: str = "w", number: int = 1) -> Message:
    return Message(id=f"{webhook}-{number}", url=url, secret=SECRET, body=b"{}", tries=1, webhook=webhook)


class Due:
    """Due webhook attempts in a list, and the result of each."""

    def __init__(self, messages: Sequence[Message] = ()) -> None:
        self.messages = list(messages)
        self.answers: dict[str, Answered] = {}
        self.changed = threading.Condition()

    def take(self, busy: Sequence[str]) -> Message | None:
        found = next((one for one in self.messages if one.webhook not in busy), None)
        if found is not None:
            self.messages.remove(found)
        return found

    def answered(self, message: Message, answer: Answered) -> None:
        with self.changed:
            self.answers[message.id] = answer
            self.changed.notify_all()


@pytest.mark.parametrize("where", ["status", "headers", "body", "endless", "silent"])
def test_a_receiver_has_so_many_seconds_for_all_of_its_answer(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A byte now and then wins it no more."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.4)
    began = time.monotonic()

    answer = WebhookSender(Due(), ["127.0.0.0/8"]).send(to(f"{receiver.url}/{where}"))

    assert time.monotonic() - began < 3
    assert (answer.status, answer.said.code) == (None, "connection_timeout")


def test_so_has_one_with_a_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handshake can be as slow as it likes."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.4)
    with Receiver(Slow) as plain:  # never answers a handshake
        began = time.monotonic()
        answer = WebhookSender(Due(), ["127.0.0.0/8"]).send(to(f"https://127.0.0.1:{plain.port}/silent"))

    assert time.monotonic() - began < 3
    assert answer.status is None


@pytest.mark.parametrize("where", ["status", "headers", "body", "endless", "silent"])
def test_so_has_every_other_server(receiver: Receiver, where: str) -> None:
    """On a connection that is new, and on one that was kept."""
    http = Http(0.4)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(NoAnswerError, match="Timeout"):
            http.ask("GET", f"{receiver.url}/{where}")

    assert time.monotonic() - began < 5


def hung_names(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Make looking up a name take until the event is set."""
    let_go, real = threading.Event(), socket.getaddrinfo

    def hang(host: str, *given: Any, **options: Any) -> Any:
        if host.endswith(".example.com"):
            let_go.wait(30)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real(host, *given, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    return let_go


def test_looking_up_a_name_lies_within_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that does not answer holds up neither a webhook nor a question to another server."""
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.4)
    let_go = hung_names(monkeypatch)
    began = time.monotonic()

    try:
        answer = WebhookSender(Due(), ["127.0.0.0/8"]).send(to("https://hooks.example.com/"))
        with pytest.raises(NoAnswerError):
            Http(0.4).ask("GET", "http://issuer.example.com/")
    finally:
        let_go.set()

    assert time.monotonic() - began < 5
    assert answer.status is None


def test_all_addresses_of_a_host_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes no connection does not give the next one the whole time again."""
    with socket.socket() as full:  # its queue is full: a connection is neither taken nor refused
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(8)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        monkeypatch.setattr(deadlines, "addresses_of", lambda *_: ["127.0.0.1"] * 4)
        began = time.monotonic()

        with pytest.raises(NoAnswerError):
            Http(0.5).ask("GET", f"http://many.example.com:{port}/")

        assert time.monotonic() - began < 1.5
        for one in waiting:
            one.close()


def test_a_slow_receiver_delays_no_other(receiver: Receiver) -> None:
    """To it one is sent at a time, however many are due; the others get theirs meanwhile."""
    slow = [to(f"{receiver.url}/silent", "slow", number) for number in range(10)]
    good = [to(f"{receiver.url}/good", "good", number) for number in range(5)]
    due = Due([*slow, *good])
    sender = WebhookSender(due, ["127.0.0.0/8"])
    began = time.monotonic()

    sender.start()
    sender.wake()
    with due.changed:
        done = due.changed.wait_for(lambda: len(due.answers) == 5, timeout=8)

    assert done, due.answers
    assert time.monotonic() - began < module.REQUEST_SECONDS
    assert {answer.status for answer in due.answers.values()} == {204}
    assert len(due.messages) == 9


# ---------------------------------------------------------------- what is wrong with a receiver


class Odd(Quiet):
    """Answers as its path says."""

    def do_POST(self) -> None:
        self.body()
        status = int(self.path[1:])
        self.answer(status, None, {"Location": "https://new.example.com/hook"} if 300 <= status < 400 else {})


class NoHttp(Quiet):
    """Speaks, but not HTTP."""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"220 mail.example.com ESMTP\r\n")


class HangsUp(Quiet):
    def handle(self) -> None:
        self.rfile.readline()


def fault(url: str, networks: Sequence[str] = ("127.0.0.0/8", "::1/128")) -> str:
    """The code of what is said of a receiver."""
    answered = WebhookSender(Due(), networks).send(to(url))
    assert not answered.good
    assert urlsplit(url).path not in str(answered.said), "an address may hold a secret"
    return answered.said.code


@pytest.mark.parametrize(
    ("when", "names", "code"),
    [
        ((-3600, 3600), ("127.0.0.1",), "connection_untrusted"),
        ((-3600, 3600), ("other.example.com",), "connection_untrusted"),
        ((-7200, -3600), ("127.0.0.1",), "connection_untrusted"),
    ],
)
def test_a_certificate_of_nobody_known_is_told_as_that(
    tmp_path: Path, when: tuple[int, int], names: Sequence[str], code: str
) -> None:
    with Serving(Odd, tls=Authority(tmp_path).server(*names, when=when)) as serving:
        assert fault(f"https://127.0.0.1:{serving.port}/200") == code


@pytest.mark.parametrize(
    ("when", "names", "code"),
    [
        ((-3600, 3600), ("127.0.0.2",), "connection_other_name"),
        ((-3600, 3600), ("other.example.com",), "connection_other_name"),
        ((-7200, -3600), ("127.0.0.1",), "connection_expired"),
        ((3600, 7200), ("127.0.0.1",), "connection_not_yet_valid"),
    ],
)
def test_each_fault_of_a_trusted_certificate_has_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: tuple[int, int], names: Sequence[str], code: str
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setattr(module, "network", lambda: Network(ca_file=authority.file))
    with Serving(Odd, tls=authority.server(*names, when=when)) as serving:
        assert fault(f"https://127.0.0.1:{serving.port}/200") == code


def test_a_receiver_of_another_tls_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setattr(module, "network", lambda: Network(ca_file=authority.file))
    context = authority.server("127.0.0.1")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:@SECLEVEL=0")
    with Serving(Odd, tls=context) as serving:
        assert fault(f"https://127.0.0.1:{serving.port}/200") == "connection_tls"


def test_https_to_a_port_of_plain_http_is_told_as_that() -> None:
    with Serving(Odd) as serving:
        assert fault(f"https://127.0.0.1:{serving.port}/200") == "connection_no_tls"


@pytest.mark.parametrize("handler", [NoHttp, HangsUp])
def test_a_receiver_that_is_no_web_server_is_told_as_that(handler: type[Quiet]) -> None:
    with Serving(handler) as serving:
        assert fault(f"http://127.0.0.1:{serving.port}/200") == "connection_cut"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_receiver_that_does_not_run_is_told_as_that(host: str) -> None:
    assert fault(f"http://{host}:{free_port()}/x") == "connection_refused"


def test_a_host_without_an_address_is_told_as_that() -> None:
    assert fault("https://nowhere.invalid/x") == "connection_no_address"


def test_a_receiver_that_says_nothing_is_told_as_that(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.2)
    assert fault(f"{receiver.url}/silent") == "connection_timeout"


@pytest.mark.parametrize(
    ("status", "code"),
    [(301, "webhook_redirect"), (308, "webhook_redirect"), (401, "webhook_status"), (410, "webhook_status"),
     (500, "webhook_status")],
)  # fmt: skip
def test_an_answer_that_is_no_success_is_told_as_that(status: int, code: str) -> None:
    with Serving(Odd) as serving:
        assert fault(f"{serving.url}/{status}") == code


def test_a_private_address_is_told_as_that() -> None:
    assert fault("https://127.0.0.1/x", networks=()) == "webhook_private_address"
    assert fault("http://93.184.216.34/x", networks=()) == "webhook_plain_http"


class Busy(Quiet):
    """Refuses with the status and the Retry-After of its path."""

    headers_seen: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        self.body()
        self.headers_seen.append({name.lower(): value for name, value in self.headers.items()})
        _, status, after = self.path.split("/")
        self.answer(int(status), b"", {"Retry-After": unquote(after)})


@pytest.mark.parametrize(
    ("path", "seconds"),
    [("429/30", 30), ("429/0.3", 1), ("503/7", 7), ("429/999999999", 3600), ("429/-1", 0), ("429/soon", 0),
     ("429/9e9", 0), ("500/30", 0), ("200/30", 0), ("429/%D9%A3", 0)],
)  # fmt: skip
def test_a_receiver_s_retry_after_is_read_within_bounds(path: str, seconds: int) -> None:
    with Serving(Busy) as serving:
        sender = WebhookSender(Due(), ["127.0.0.0/8"])

        assert sender.send(to(f"{serving.url}/{path}")).retry_after == seconds


def test_a_message_without_a_secret_is_not_signed() -> None:
    """A chat checks no signature; one that an empty key made would be worth nothing."""
    with Serving(Busy) as serving:
        Busy.headers_seen.clear()
        message = Message(id="w-1", url=f"{serving.url}/200/1", secret="", body=b"{}", tries=1)

        assert WebhookSender(Due(), ["127.0.0.0/8"]).send(message).good

    (headers,) = Busy.headers_seen
    assert not [name for name in headers if name.startswith("webhook-")]
