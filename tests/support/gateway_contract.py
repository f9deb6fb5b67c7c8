"""The contract of the one address for requests: tested against Envoy in a cluster, and against the router of one
machine. The routes are those of `knative/base/route.yaml`; behind each of them is an echo.
"""

from __future__ import annotations

import gzip
import json
import socket
from typing import Any

import pytest

from tests.support.echo import GZIPPED, Echo


class Answer:
    """One answer, read to its end: status, headers in order, and the body's bytes."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes, interim: list[int]) -> None:
        self.status, self.headers, self.body, self.interim = status, headers, body, interim

    @property
    def seen(self) -> dict[str, Any]:
        """The request as the echo received it."""
        assert self.status == 200, (self.status, self.body)
        found: dict[str, Any] = json.loads(self.body)
        return found

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]


class Connection:
    """A client's connection, byte for byte."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=20)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def head(self) -> tuple[int, list[tuple[str, str]]]:
        line = self._file.readline()
        assert line, "the connection was closed without an answer"
        headers = []
        while (header := self._file.readline()).strip():
            name, _, value = header.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        return int(line.split()[1]), headers

    def answer(self, method: str = "GET") -> Answer:
        interim: list[int] = []
        while True:
            status, headers = self.head()
            if status >= 200:
                break
            interim.append(status)
        given = dict(headers)
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif given.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
            self._file.readline()
        elif "content-length" in given:
            body = self._file.read(int(given["content-length"]))
        else:
            body = self._file.read()
        return Answer(status, headers, body, interim)

    def chunk(self) -> bytes:
        size = int(self._file.readline().partition(b";")[0], 16)
        data = self._file.read(size)
        if size:
            self._file.readline()
        return data

    def ended(self) -> bool:
        """Return whether the other side closed the connection."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class Gateway:
    """An address with an echo behind it; `host` is the name that its route has."""

    def __init__(self, address: tuple[str, int], host: str, echo: Echo) -> None:
        self.address, self.host, self.echo = address, host, echo

    def connect(self) -> Connection:
        return Connection(self.address)

    def raw(self, request: bytes, method: str = "GET") -> Answer:
        connection = self.connect()
        try:
            connection.send(request)
            return connection.answer(method)
        finally:
            connection.close()

    def ask(self, method: str, target: str, *headers: str, body: bytes = b"", host: str | None = None) -> Answer:
        """A request with a Content-Length, if it has a body."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or self.host}", *headers]
        if body and not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
            lines.append(f"Content-Length: {len(body)}")
        return self.raw("\r\n".join([*lines, "", ""]).encode("latin-1") + body, method)


def given(seen: dict[str, Any], name: str) -> list[str]:
    return [value for key, value in seen["headers"] if key == name]


class GatewayContract:
    """The contract. A subclass's module has a fixture `gateway`."""

    # ------------------------------------------------------------ bodies

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x-of-its-own", "gzip, gzip"])
    def test_an_encoded_body_passes_untouched(self, gateway: Gateway, encoding: str) -> None:
        """Two gzip members, or bytes that are no gzip at all: a gateway does not look."""
        body = gzip.compress(b"a", mtime=0) + gzip.compress(b"b" * 70_000, mtime=0) + b"tail"
        seen = gateway.ask("POST", "/api/v1/import", f"Content-Encoding: {encoding}", body=body).seen
        assert seen["body"].encode("latin-1") == body
        assert given(seen, "content-encoding") == [encoding]
        assert given(seen, "content-length") == [str(len(body))]

    def test_an_answer_that_is_packed_passes_untouched(self, gateway: Gateway) -> None:
        answer = gateway.ask("GET", "/gzip")
        assert (answer.body, answer.all("content-encoding")) == (GZIPPED, ["gzip"])

    def test_no_encoding_is_asked_for_that_the_client_did_not_ask_for(self, gateway: Gateway) -> None:
        seen = gateway.ask("GET", "/x").seen
        assert {name for name, _ in seen["headers"]} & {
            "accept",
            "accept-encoding",
            "user-agent",
            "content-type",
        } == set()

    def test_a_chunked_body_arrives_whole(self, gateway: Gateway) -> None:
        body = b"5\r\nhello\r\n1;name=value\r\n \r\n5\r\nworld\r\n0\r\nX-Late: 1\r\n\r\n"
        seen = gateway.ask("PUT", "/x", "Transfer-Encoding: chunked", body=body).seen
        assert seen["body"] == "hello world"
        assert given(seen, "content-length") == [] or given(seen, "transfer-encoding") == []
        assert given(seen, "x-late") == []

    @pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
    def test_a_body_passes_with_every_method(self, gateway: Gateway, method: str) -> None:
        assert gateway.ask(method, "/x", body=b"abc").seen["body"] == "abc"

    @pytest.mark.parametrize("length", ["Content-Length: 3", "Transfer-Encoding: chunked"])
    def test_a_body_that_comes_slowly_arrives_whole(self, gateway: Gateway, length: str) -> None:
        connection = gateway.connect()
        connection.send(f"POST /x HTTP/1.1\r\nHost: {gateway.host}\r\n{length}\r\n\r\n".encode())
        for piece in (b"a", b"b", b"c"):
            connection.send(piece if "Length" in length else b"1\r\n%b\r\n" % piece)
        connection.send(b"" if "Length" in length else b"0\r\n\r\n")
        assert connection.answer().seen["body"] == "abc"
        connection.close()

    def test_a_large_body_arrives_whole(self, gateway: Gateway) -> None:
        body = bytes(range(256)) * 4096
        assert gateway.ask("POST", "/x", body=body).seen["body"].encode("latin-1") == body

    def test_a_body_is_asked_for_when_the_client_waits_to_be(self, gateway: Gateway) -> None:
        """`Expect: 100-continue` is answered at once, and is the gateway's own matter."""
        connection = gateway.connect()
        connection.send(
            f"POST /x HTTP/1.1\r\nHost: {gateway.host}\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n".encode()
        )
        assert connection.head()[0] == 100
        connection.send(b"ok")
        seen = connection.answer().seen
        assert (seen["body"], given(seen, "expect")) == ("ok", [])
        connection.close()

    @pytest.mark.parametrize("status", [204, 304])
    def test_an_answer_without_a_body_has_none(self, gateway: Gateway, status: int) -> None:
        """And the connection is good for the next request."""
        connection = gateway.connect()
        for _ in range(2):
            connection.send(f"GET /{status} HTTP/1.1\r\nHost: {gateway.host}\r\n\r\n".encode())
            answer = connection.answer()
            assert (answer.status, answer.all("transfer-encoding")) == (status, [])
        connection.close()

    def test_a_head_has_the_lengths_of_its_get_and_no_body(self, gateway: Gateway) -> None:
        connection = gateway.connect()
        connection.send(f"HEAD /gzip HTTP/1.1\r\nHost: {gateway.host}\r\n\r\n".encode())
        assert connection.answer("HEAD").all("content-length") == [str(len(GZIPPED))]
        connection.close()

    def test_a_chunked_answer_arrives_whole(self, gateway: Gateway) -> None:
        assert gateway.ask("GET", "/chunked").body == b"abcde"

    def test_an_answer_that_ends_with_its_connection_arrives_whole(self, gateway: Gateway) -> None:
        assert gateway.ask("GET", "/until-closed").body == b"all that there is"

    def test_early_hints_do_not_take_the_answers_place(self, gateway: Gateway) -> None:
        assert gateway.ask("GET", "/hints").body == b"ok"

    # ------------------------------------------------------------ targets

    @pytest.mark.parametrize(
        ("target", "arrives"),
        [
            ("//tasks", "/tasks"),
            ("/a//b///c?x=//y", "/a/b/c?x=//y"),
            ("/a/./b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/../../a", "/a"),
            ("/a/%2e%2e/b", "/b"),
            ("/a%2Fb/%E3%81%82%20%25?q=%2F+%26", "/a%2Fb/%E3%81%82%20%25?q=%2F+%26"),
            ("/a?b=c?d", "/a?b=c?d"),
            ("/%61/%7eb/%2D%5f%3a%c3%A9", "/a/~b/-_%3a%c3%A9"),
            ("/a;x=1,(2)'!*", "/a;x=1,(2)'!*"),
            ("/a/", "/a/"),
        ],
    )
    def test_a_path_is_normalized_and_stays_encoded(self, gateway: Gateway, target: str, arrives: str) -> None:
        assert gateway.ask("GET", target).seen["target"] == arrives

    def test_an_absolute_target_counts_with_its_own_host(self, gateway: Gateway) -> None:
        seen = gateway.ask("GET", f"http://{gateway.host}/a/b?c=d", host="elsewhere.example.com").seen
        assert (seen["target"], given(seen, "host")) == ("/a/b?c=d", [gateway.host])

    def test_an_absolute_target_may_have_no_path(self, gateway: Gateway) -> None:
        assert gateway.ask("GET", f"http://{gateway.host}").seen["target"] == "/"

    @pytest.mark.parametrize("target", ["*", "a/b", "/a#b"])
    def test_a_target_that_is_no_path_is_refused(self, gateway: Gateway, target: str) -> None:
        answer = gateway.ask("OPTIONS", target)
        assert 400 <= answer.status < 500
        assert gateway.echo.seen == []

    def test_a_redirect_of_the_services_passes_untouched(self, gateway: Gateway) -> None:
        answer = gateway.ask("GET", "/redirect")
        assert (answer.status, answer.all("location")) == (302, ["/elsewhere?x=1"])

    def test_the_client_s_host_name_reaches_the_service(self, gateway: Gateway) -> None:
        """Links in a page are made from the address that the person used."""
        assert given(gateway.ask("GET", "/x").seen, "host") == [gateway.host]

    def test_a_function_is_asked_under_its_own_name(self, gateway: Gateway) -> None:
        seen = gateway.ask("POST", "/api/v1/tasks", body=b"{}").seen
        assert given(seen, "host") == ["create-task.keruta.svc.cluster.local"]

    @pytest.mark.parametrize(
        ("method", "path", "function"),
        [
            ("POST", "/api/v1/tasks?x=1", True),
            ("POST", "//api//v1/./tasks", True),
            ("GET", "/api/v1/tasks", False),
            ("POST", "/api/v1/tasks/x/cancel", False),
            ("POST", "/api/v1/%74asks", True),
            ("POST", "/api%2Fv1/tasks", False),
            ("GET", "/agent/v1", True),
            ("GET", "/agent/v1/x", True),
            ("GET", "/agent/v10", False),
        ],
    )
    def test_a_rule_is_chosen_by_the_normalized_path(
        self, gateway: Gateway, method: str, path: str, function: bool
    ) -> None:
        seen = gateway.ask(method, path).seen
        assert given(seen, "host")[0].endswith(".svc.cluster.local") is function

    @pytest.mark.parametrize("path", ["/metrics", "//metrics", "/x/../metrics", "/metrics/x", "/%6Detrics"])
    def test_figures_are_for_those_inside(self, gateway: Gateway, path: str) -> None:
        answer = gateway.ask("GET", path)
        assert answer.status == 302
        assert gateway.echo.seen == []

    # ------------------------------------------------------------ headers

    def test_headers_of_one_connection_stay_there(self, gateway: Gateway) -> None:
        seen = gateway.ask(
            "GET", "/x", "Connection: keep-alive, X-Mine", "X-Mine: 1", "Keep-Alive: timeout=5", "TE: trailers",
            "Proxy-Connection: keep-alive", "X-Kept: 1",
        ).seen  # fmt: skip
        names = {name for name, _ in seen["headers"]}
        assert names & {"x-mine", "keep-alive", "proxy-connection"} == set()
        assert given(seen, "x-kept") == ["1"]

    def test_headers_of_the_services_connection_stay_there(self, gateway: Gateway) -> None:
        answer = gateway.ask("GET", "/hop")
        assert answer.all("keep-alive") == []
        assert answer.all("x-kept") == ["1"]

    def test_headers_that_come_several_times_all_pass(self, gateway: Gateway) -> None:
        assert gateway.ask("GET", "/two-cookies").all("set-cookie") == ["a=1", "b=2"]
        seen = gateway.ask("GET", "/x", "X-Two: a", "X-Two: b").seen
        assert ",".join(given(seen, "x-two")).replace(" ", "") == "a,b"

    def test_a_content_type_is_not_made_up(self, gateway: Gateway) -> None:
        assert gateway.ask("GET", "/untyped").all("content-type") == []

    @pytest.mark.parametrize("value", ["bytes=0-9", "lines=1-2", "bytes=9-0, 3", "x"])
    def test_a_range_of_any_kind_passes(self, gateway: Gateway, value: str) -> None:
        assert given(gateway.ask("GET", "/x", f"Range: {value}").seen, "range") == [value]

    def test_bytes_of_headers_pass(self, gateway: Gateway) -> None:
        name = "日本".encode().decode("latin-1")
        assert given(gateway.ask("GET", "/x", f"X-Name: {name}").seen, "x-name") == [name]

    def test_who_asks_is_the_last_of_those_forwarded_for(self, gateway: Gateway) -> None:
        """A client may write what it likes before it."""
        seen = gateway.ask("GET", "/x", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https").seen
        addresses = ",".join(given(seen, "x-forwarded-for")).replace(" ", "").split(",")
        assert addresses[-1] != "1.2.3.4"
        assert given(seen, "x-forwarded-proto") == ["http"]

    def test_a_long_header_passes(self, gateway: Gateway) -> None:
        value = "x" * 30_000
        assert given(gateway.ask("GET", "/x", f"X-Long: {value}").seen, "x-long") == [value]

    @pytest.mark.parametrize("headers", [["X-Long: " + "x" * 70_000], [f"X-{n}: 1" for n in range(150)]])
    def test_headers_beyond_the_limits_are_refused_as_that(self, gateway: Gateway, headers: list[str]) -> None:
        assert gateway.ask("GET", "/x", *headers).status == 431
        assert gateway.echo.seen == []

    # ------------------------------------------------------------ what two readers could read differently

    @pytest.mark.parametrize(
        "headers",
        [
            "Content-Length: 3\r\nContent-Length: 4",
            "Content-Length: 3, 4",
            "Content-Length: +3",
            "Content-Length: -3",
            "Content-Length: 0x3",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding : chunked",
            "X Spaced: a",
            "no colon at all",
            "X-Nul: a\0b",
        ],
        ids=str,
    )
    def test_a_request_that_can_be_read_in_two_ways_is_refused(self, gateway: Gateway, headers: str) -> None:
        """The connection is closed after it, so what follows is no request either."""
        smuggled = f"GET /smuggled HTTP/1.1\r\nHost: {gateway.host}\r\n\r\n"
        connection = gateway.connect()
        connection.send(
            f"POST /x HTTP/1.1\r\nHost: {gateway.host}\r\n{headers}\r\n\r\n0\r\n\r\n{smuggled}".encode("latin-1")
        )
        assert 400 <= connection.answer().status < 502
        assert connection.ended()
        connection.close()
        assert [seen["target"] for seen in gateway.echo.seen if seen["target"] == "/smuggled"] == []

    @pytest.mark.parametrize("order", [1, -1])
    def test_two_lengths_become_one(self, gateway: Gateway, order: int) -> None:
        """Chunks and a Content-Length: refused, or read as chunks and passed on without the other (RFC 9112, 6.3)."""
        lengths = ["Content-Length: 9", "Transfer-Encoding: chunked"][::order]
        answer = gateway.ask("POST", "/x", *lengths, body=b"2\r\nok\r\n0\r\n\r\n")
        if answer.status == 200:
            assert answer.seen["body"] == "ok"
            assert given(answer.seen, "content-length") in ([], ["2"])
        else:
            assert answer.status == 400

    def test_a_folded_header_is_refused_or_unfolded(self, gateway: Gateway) -> None:
        answer = gateway.ask("GET", "/x", "X-Folded: a\r\n b")
        if answer.status == 200:
            assert given(answer.seen, "x-folded")[0].split() == ["a", "b"]
        else:
            assert answer.status == 400

    @pytest.mark.parametrize("line", ["GET /x", "GET /x y HTTP/1.1", "G@T /x HTTP/1.1", "GET /x HTTP/x"])
    def test_a_first_line_that_is_none_is_refused(self, gateway: Gateway, line: str) -> None:
        answer = gateway.raw(f"{line}\r\nHost: {gateway.host}\r\n\r\n".encode())
        assert 400 <= answer.status < 600
        assert gateway.echo.seen == []

    def test_a_chunk_without_a_size_ends_the_request(self, gateway: Gateway) -> None:
        connection = gateway.connect()
        connection.send(
            f"POST /x HTTP/1.1\r\nHost: {gateway.host}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n".encode()
        )
        assert connection.answer().status in (400, 502, 503)
        connection.close()

    # ------------------------------------------------------------ connections

    def test_a_connection_serves_requests_one_after_the_other(self, gateway: Gateway) -> None:
        """Sent at once, and after an error of the service's."""
        connection = gateway.connect()
        host = gateway.host
        connection.send(
            f"POST /bad-request HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\nabc"
            f"GET /last HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        )
        assert connection.answer().status == 400
        assert connection.answer().seen["target"] == "/last"
        connection.close()

    def test_a_body_that_nobody_reads_is_no_request(self, gateway: Gateway) -> None:
        """The gateway answers by itself; then it reads over the body, or closes the connection."""
        smuggled = f"GET /smuggled HTTP/1.1\r\nHost: {gateway.host}\r\n\r\n"
        connection = gateway.connect()
        connection.send(
            f"GET /metrics HTTP/1.1\r\nHost: {gateway.host}\r\nContent-Length: {len(smuggled)}\r\n\r\n{smuggled}"
            f"GET /metrics HTTP/1.1\r\nHost: {gateway.host}\r\nConnection: close\r\n\r\n".encode()
        )
        assert connection.answer().status == 302
        connection.close()
        assert gateway.ask("GET", "/after").seen["target"] == "/after"
        assert [seen["target"] for seen in gateway.echo.seen] == ["/after"]

    def test_a_connection_ends_when_the_client_says_so(self, gateway: Gateway) -> None:
        connection = gateway.connect()
        connection.send(f"GET /x HTTP/1.1\r\nHost: {gateway.host}\r\nConnection: close\r\n\r\n".encode())
        assert connection.answer().status == 200
        assert connection.ended()
        connection.close()

    def test_an_upgrade_does_not_open_a_tunnel(self, gateway: Gateway) -> None:
        connection = gateway.connect()
        connection.send(
            f"GET /x HTTP/1.1\r\nHost: {gateway.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n".encode()
        )
        assert connection.answer().status != 101
        connection.close()

    def test_an_upgrade_to_another_http_is_left_out(self, gateway: Gateway) -> None:
        """As `curl --http2` asks: the request is served as what it is."""
        seen = gateway.ask(
            "GET", "/x", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"
        ).seen
        assert {name for name, _ in seen["headers"]} & {"upgrade", "http2-settings"} == set()

    def test_a_stream_passes_as_it_is_made_and_ends_with_its_reader(self, gateway: Gateway) -> None:
        connection = gateway.connect()
        connection.send(f"GET /stream HTTP/1.1\r\nHost: {gateway.host}\r\n\r\n".encode())
        _, headers = connection.head()
        assert dict(headers)["transfer-encoding"] == "chunked"
        assert connection.chunk() == b"data: 1\n\n"
        gateway.echo.go_on.set()
        assert connection.chunk() == b"data: 2\n\n"
        connection.close()
        assert gateway.echo.reader_gone.wait(10)

    def test_a_service_is_left_when_its_reader_has_gone(self, gateway: Gateway) -> None:
        """Also while it says nothing: no one would read the answer."""
        connection = gateway.connect()
        connection.send(f"GET /stream HTTP/1.1\r\nHost: {gateway.host}\r\n\r\n".encode())
        connection.head()
        connection.close()
        gateway.echo.go_on.set()
        assert gateway.echo.reader_gone.wait(10)

    def test_half_a_body_does_not_become_a_request(self, gateway: Gateway) -> None:
        """The client left before it had sent all: the service gets no shorter body for the whole."""
        connection = gateway.connect()
        connection.send(f"POST /half HTTP/1.1\r\nHost: {gateway.host}\r\nContent-Length: 9\r\n\r\nabc".encode())
        connection.close()
        assert gateway.ask("GET", "/after").seen["target"] == "/after"
        assert all(len(seen["body"]) in (0, 9) for seen in gateway.echo.seen if seen["target"] == "/half")
