"""The fetch proxy: a script fetches more of its attempt's own repository, and the credential stays with the agent.

A small HTTP server on loopback. It knows one repository, two addresses of it (what `git fetch` asks), and one token,
which lies in the script's own home. See docs/decisions/2026-11-26-fetch-proxy.md.
"""

from __future__ import annotations

import contextlib
import hmac
import http.server
import io
import itertools
import logging
import secrets
import shutil
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from agent.attempt.fetch_rules import Rules, capabilities
from agent.http_server import BoundedServer
from keruta import structs
from keruta.adapters.git import own_git
from keruta.adapters.git.packets import FLUSH, packet, packets
from keruta.adapters.git.upload_pack import Upstream, upload_pack
from keruta.domain.messages import message
from keruta.domain.repository import transport
from keruta.domain.specification import Specification
from keruta.errors import PhaseError
from keruta.files import write_private

log = logging.getLogger(__name__)

REPOSITORY = "/repository.git"
AT_ONCE = 4
WAIT_SECONDS = 30
CLIENT_SECONDS = 120  # how long the script's Git may say or take nothing
REQUEST_LIMIT_BYTES = 16 * 1024 * 1024
PACKETS_LIMIT = 400_000  # in one request: of the shortest that means anything, an object's id, fewer fit into the bytes
Opened = Callable[[Path], AbstractContextManager[dict[str, str]]]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The proxy's port and the attempt's token for it; a restarted agent uses the same again."""

    port: int
    token: str

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


def offered(specification: Specification, *, own: bool, fenced: bool) -> bool:
    """Return whether the script is to fetch by a proxy: the agent reads the repository with what the script lacks.

    Args:
        own: whether the agent's user's own keys and logins serve, which lie outside the script's home.
        fenced: whether the script can't read this machine's repositories.
    """
    if not specification.fetch_more or specification.kept_work is not None:
        return False
    match transport(specification.repository.url):
        case "file":
            return fenced
        case "http" | "https" | "ssh" if specification.read is not None:
            return True
        case "ssh":
            return own
        case "http" | "https":
            return own and own_git.has_login()
    return False


class FetchProxy:
    """Serves one attempt, from `start` to `close`.

    Args:
        url: the repository's.
        opened: gives the environment of a Git that may read it, with its files in a directory.
        directory: the agent's own, for those files.
        rules: what may be asked for.
    """

    def __init__(self, url: str, opened: Opened, directory: Path, rules: Rules) -> None:
        self._url, self._opened, self._directory, self._rules = url, opened, directory, rules
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._numbers = itertools.count()
        self._running: set[Upstream] = set()
        self._closed = False
        self._lock = threading.Lock()
        self._server: BoundedServer | None = None

    def start(self) -> Place:
        """Begin to serve. Raises OSError where the port of an earlier agent is taken."""
        on_record = self._directory / "fetch-proxy"
        try:
            place = structs.from_json(on_record.read_bytes(), type=Place)
        except (OSError, msgspec.DecodeError):
            place = Place(port=0, token=secrets.token_urlsafe(32))
        proxy = self

        class Handler(_Handler):
            expected = f"Bearer {place.token}"
            serve = staticmethod(proxy._serve)
            slots = proxy._slots

        server = BoundedServer(("127.0.0.1", place.port), Handler, name="the fetch proxy")
        self._server = server
        place = Place(port=int(server.server_address[1]), token=place.token)
        write_private(on_record, msgspec.json.encode(place))
        threading.Thread(target=server.serve_forever, name="fetch-proxy", daemon=True).start()
        return place

    def close(self) -> None:
        """Serve no more; what runs is ended."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for one in running:
            one.end()
        if self._server is not None:
            self._server.close()

    def _serve(self, asked: list[bytes] | None, write: Callable[[bytes], Any]) -> None:
        """Answer a look at the server (None), or a request. What is refused is said as Git says it."""
        directory = self._directory / f"fetch-{next(self._numbers)}"
        try:
            command, request = self._rules.request(asked) if asked is not None else (b"", b"")
            with self._opened(directory) as env, upload_pack(self._url, env) as upstream, self._noted(upstream):
                self._speak(upstream, command, request, write)
        except PhaseError as error:
            log.info("a fetch was refused: %s", error.reason, extra={"action": "fetch_refused"})
            write(packet(b"ERR " + str(error.message).encode()))
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _speak(self, upstream: Upstream, command: bytes, request: bytes, write: Callable[[bytes], Any]) -> None:
        said = []
        answers = packets(upstream.stdout.read)
        try:
            for one in answers:
                if one == FLUSH:
                    break
                said.append(one)
            if not said:
                raise upstream.fault()
            can = capabilities(said)
            if not request:
                write(can)
                return
            upstream.stdin.write(request)
            upstream.stdin.flush()
            begun = False
            for one in answers:
                if command != b"ls-refs" or one == FLUSH or one[4:8] == b"ERR " or self._rules.ref(one):
                    write(one)
                begun = True
                if one == FLUSH:
                    return
            if not begun:
                raise upstream.fault()
        except (EOFError, BrokenPipeError) as error:
            raise upstream.fault() from error

    @contextlib.contextmanager
    def _noted(self, upstream: Upstream) -> Any:
        with self._lock:
            if self._closed:
                raise PhaseError("FetchRefused", message("fetch_refused"))
            self._running.add(upstream)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(upstream)


def _bounded(found: Iterator[bytes]) -> list[bytes]:
    """Return a request's packets. Raises ValueError where there are too many."""
    kept = list(itertools.islice(found, PACKETS_LIMIT + 1))
    if len(kept) > PACKETS_LIMIT:
        raise ValueError("too many")
    return kept


class _Handler(http.server.BaseHTTPRequestHandler):
    """One request of the script's Git."""

    protocol_version = "HTTP/1.1"
    timeout = CLIENT_SECONDS
    server_version, sys_version = "keruta", ""
    expected = ""
    serve: Callable[[list[bytes] | None, Callable[[bytes], Any]], None]
    slots: threading.BoundedSemaphore

    def do_GET(self) -> None:
        kind = "application/x-git-upload-pack-advertisement"
        if self._let_in(f"{REPOSITORY}/info/refs?service=git-upload-pack"):
            with self._slot(kind) as free:
                if free:
                    self._answer(None, kind)

    def do_POST(self) -> None:
        kind = "application/x-git-upload-pack-result"
        if not self._let_in(f"{REPOSITORY}/git-upload-pack"):
            return
        with self._slot(kind) as free:
            if not free:
                return
            try:
                asked = _bounded(packets(io.BytesIO(self._body()).read))
            except (EOFError, ValueError, zlib.error):
                self._refuse(400)
                return
            self._answer(asked, kind)

    @contextlib.contextmanager
    def _slot(self, kind: str) -> Iterator[bool]:
        """Give whether there is a place, after a while: a request is in memory only as long as it has one."""
        if not self.slots.acquire(timeout=WAIT_SECONDS):
            self._begin(kind)
            with contextlib.suppress(ConnectionError, TimeoutError):
                self.wfile.write(packet(b"ERR " + str(message("fetch_too_many")).encode()))
                self.connection.shutdown(socket.SHUT_WR)
                for _ in range(REQUEST_LIMIT_BYTES >> 16):  # what is not read would take the answer away
                    if not self.connection.recv(1 << 16):
                        break
            yield False
            return
        try:
            yield True
        finally:
            self.slots.release()

    def _let_in(self, path: str) -> bool:
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode("latin-1", "replace"), self.expected.encode()):
            self._refuse(401)
        elif self.path != path:
            self._refuse(403)
        elif "version=2" not in self.headers.get("Git-Protocol", "").split(":"):
            self._refuse(400, str(message("fetch_old_client")))
        else:
            return True
        return False

    def _answer(self, asked: list[bytes] | None, kind: str) -> None:
        self._begin(kind)
        with contextlib.suppress(ConnectionError, TimeoutError):
            type(self).serve(asked, self.wfile.write)

    def _begin(self, kind: str) -> None:
        self.close_connection = True
        self.send_response(200)
        for name, value in {"Content-Type": kind, "Cache-Control": "no-cache", "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: int, said: str = "") -> None:
        self.close_connection = True
        text = (said or str(message("fetch_refused"))).encode() + b"\n"
        self.send_response(status)
        headers = {"Content-Type": "text/plain", "Content-Length": str(len(text)), "Connection": "close"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def _body(self) -> bytes:
        """The request's body. Raises ValueError where it is too long or malformed."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = self._chunks()
        else:
            length = int(self.headers.get("Content-Length", "0"))
            if not 0 <= length <= REQUEST_LIMIT_BYTES:
                raise ValueError("too long")
            body = self.rfile.read(length)
            if len(body) < length:
                raise ValueError("cut short")
        if self.headers.get("Content-Encoding", "") in ("gzip", "x-gzip"):
            unpacked = zlib.decompressobj(16 + zlib.MAX_WBITS)
            body = unpacked.decompress(body, REQUEST_LIMIT_BYTES)
            if unpacked.unconsumed_tail:
                raise ValueError("too long")
        return body

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(20).split(b";")[0].strip(), 16):
            if not 0 < size <= REQUEST_LIMIT_BYTES - len(body):
                raise ValueError("too long")
            body += self.rfile.read(size)
            self.rfile.readline(3)
        return body

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a request's line is the script's."""
