"""The metering proxy: a coding agent asks its model through keruta's agent, which has the key and counts.

A small HTTP server on loopback. It knows one server, the paths that ask a model, and one token, which is in the
script's environment. What the model's server answers is the only source of usage, refusals and limits: nothing that a
script prints changes them.
"""

from __future__ import annotations

import contextlib
import email.message
import hmac
import http.server
import logging
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agent.coding_agents.adapter import ModelAccess, Usage
from agent.coding_agents.endings import Ending
from agent.coding_agents.model_answers import Answered, Counter, refusal
from agent.coding_agents.records import decoded, text
from agent.http_server import BoundedServer, OneAnswerHandler
from keruta import structs
from keruta.domain.catalog.coding_agents import ANTHROPIC, CodingAgentOptions
from keruta.domain.messages import Message, message
from keruta.files import write_private
from keruta.network import Pools

if TYPE_CHECKING:
    import urllib3

log = logging.getLogger(__name__)

REQUEST_LIMIT_BYTES = 64 * 1024 * 1024
CONNECT_SECONDS, READ_SECONDS = 15, 600
CLIENT_SECONDS = 900
LONG_WAIT_SECONDS = 60  # a limit that lasts longer ends the attempt
FAILURES_MOST = 15  # refusals one after the other, before an overloaded server ends the attempt
PATHS = {
    "anthropic": frozenset({"/v1/messages", "/v1/messages/count_tokens", "/v1/models"}),
    "openai": frozenset({"/v1/responses", "/v1/chat/completions", "/v1/models", "/v1/responses/compact"}),
}
_ONE_MODEL = re.compile(r"/v1/models/[A-Za-z0-9][A-Za-z0-9_.:@-]{0,200}")  # one part: no way to another path
_TO_SERVER = ("content-type", "accept", "anthropic-version", "anthropic-beta", "openai-beta", "user-agent")
_TO_SCRIPT = ("content-type", "retry-after", "x-should-retry", "request-id", "x-request-id")
_LIMITS = ("anthropic-ratelimit-", "x-ratelimit-")


class _OnRecord(msgspec.Struct, frozen=True, kw_only=True):
    port: int
    token: str
    usage: Usage


class Meter:
    """Serves one attempt, from `start` to `close`.

    Args:
        options: which API and server, and what the attempt may use.
        key: the model's key.
        directory: the agent's own.
        stop: called once, when the attempt is to end: the key is refused, a limit reached, the budget used up.
        spent: what earlier attempts of the same session used; it counts against the limits.
    """

    def __init__(
        self, options: CodingAgentOptions, key: str, directory: Path, stop: Callable[[Ending], None],
        spent: Usage | None = None,
    ) -> None:  # fmt: skip
        self._options, self._key, self._stop = options, key, stop
        self._spent = spent or Usage()
        self._record = directory / "meter"
        self._lock = threading.Lock()
        self._server: BoundedServer | None = None
        self._pools = Pools(retries=False)
        self._failures = 0
        self._place: ModelAccess | None = None
        self.usage = Usage()
        self.model = ""
        self.ended: Ending | None = None  # why the attempt was to end
        self.refused: Ending | None = None  # what the last answer was, where it was a refusal

    def start(self) -> ModelAccess:
        """Begin to serve. Raises OSError where the port of an earlier agent is taken."""
        try:
            known = structs.from_json(self._record.read_bytes(), type=_OnRecord)
        except (OSError, msgspec.DecodeError):
            known = _OnRecord(port=0, token=secrets.token_urlsafe(32), usage=Usage())
        self.usage = known.usage
        meter = self

        class Handler(_Handler):
            token = known.token
            serve = staticmethod(meter._serve)

        server = BoundedServer(("127.0.0.1", known.port), Handler, name="the metering proxy")
        self._server = server
        address = f"http://127.0.0.1:{server.server_address[1]}"
        self._place = ModelAccess(address=address, token=known.token)
        self._save()
        threading.Thread(target=server.serve_forever, name="meter", daemon=True).start()
        return self._place

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    # ------------------------------------------------------------ one request

    def _serve(self, handler: _Handler, method: str, path: str, body: bytes | None) -> None:
        if path not in PATHS[self._options.api] and not _ONE_MODEL.fullmatch(path):
            handler.refuse(404, "not_found_error", message("model_path_not_served"))
            return
        if (used_up := self._used_up()) is not None:
            self._end(used_up)
            handler.refuse(403, "billing_error", used_up.message)
            return
        try:
            answer = self._asked(handler.headers, method, path, body)
        except Exception as error:  # urllib3's own, and the network's
            log.warning("the model's server was not reached: %s", type(error).__name__, extra={"action": "model_away"})
            said = message("model_away", error=type(error).__name__)
            self._failed(Ending(reason="ModelOverloaded", message=said), None)
            handler.refuse(502, "api_error", said)
            return
        with contextlib.closing(answer):
            counts = method == "POST" and not path.endswith("/count_tokens")
            if counts and not self.model:
                self.model = text((decoded(body or b"") or {}).get("model"))
            self._pass_on(handler, answer, Counter(self._options.api, answer.headers) if counts else None)

    def _asked(
        self, given: email.message.Message, method: str, path: str, body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        import urllib3

        headers = {name: given[name] for name in _TO_SERVER if name in given}
        headers["Accept-Encoding"] = "identity"
        if self._options.api == ANTHROPIC:
            headers["x-api-key"] = self._key
            url = self._options.model_address + path
        else:
            headers["Authorization"] = f"Bearer {self._key}"
            url = self._options.model_address + path.removeprefix("/v1")
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
        return self._pools.request(
            method, url, body=body, headers=headers, redirect=False, preload_content=False, timeout=timeout
        )

    def _pass_on(self, handler: _Handler, answer: urllib3.BaseHTTPResponse, counter: Counter | None) -> None:
        names = [name for name in answer.headers if name.lower() in _TO_SCRIPT or name.lower().startswith(_LIMITS)]
        handler.begin(answer.status, {name: answer.headers[name] for name in names})
        said = b""
        broken = False
        try:
            for block in _blocks(answer):
                if answer.status >= 400:
                    said = (said + block)[:65536]
                elif counter is not None:
                    counter.feed(block)
                handler.write(block)
        except Exception as error:  # the server broke off, or the script did
            broken = True
            log.info("a model's answer broke off: %s", type(error).__name__, extra={"action": "model_broken"})
        if answer.status >= 400:
            found = refusal(answer.status, answer.headers, said)
            if found is not None:
                self._failed(found[0], found[1])
        elif counter is not None:
            self._count(counter.end(broken=broken))

    # ------------------------------------------------------------ counting

    def _count(self, answered: Answered) -> None:
        with self._lock:
            self._failures, self.refused = 0, None
            self.model = answered.model or self.model
            used = answered.usage
            self.usage.turns += 1
            self.usage.add(used)
            cost = self._options.cost_usd(answered.model, used.numbers())
            if cost is not None:
                self.usage.cost_usd = (self.usage.cost_usd or 0.0) + cost
            self._save()
        if answered.broken:
            self._failed(Ending(reason="ModelOverloaded", message=message("model_broke_off")), None)

    def _save(self) -> None:
        assert self._place is not None
        port = int(self._place.address.rpartition(":")[2])
        data = msgspec.json.encode(_OnRecord(port=port, token=self._place.token, usage=self.usage))
        with contextlib.suppress(OSError):
            write_private(self._record, data)

    def _used_up(self) -> Ending | None:
        options, usage = self._options, self.usage.with_more(self._spent)
        limits = (
            (options.max_turns, usage.turns, "agent_turns_used_up"),
            (options.max_tokens, usage.tokens, "agent_tokens_used_up"),
            (options.max_cost_usd, usage.cost_usd or 0.0, "agent_cost_used_up"),
        )
        for most, used, code in limits:
            if most is not None and used >= most:
                return Ending(reason="BudgetExceeded", message=message(code, limit=f"{most:g}"))
        return None

    def _failed(self, ending: Ending, wait_seconds: float | None) -> None:
        with self._lock:
            self._failures += 1
            self.refused = ending
            hopeless = ending.reason == "ModelUnauthorized" or self._failures >= FAILURES_MOST
        if hopeless or (wait_seconds is not None and wait_seconds > LONG_WAIT_SECONDS):
            self._end(ending)

    def _end(self, ending: Ending) -> None:
        self.ended = self.ended or ending
        stop, self._stop = self._stop, lambda _: None
        stop(ending)


def _blocks(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield each block of an answer as soon as it arrives."""
    while block := answer.read1(65536):
        yield block


class _Handler(OneAnswerHandler, http.server.BaseHTTPRequestHandler):
    """One request of the coding agent."""

    timeout = CLIENT_SECONDS
    token = ""
    serve: Callable[[_Handler, str, str, bytes | None], None]

    def do_HEAD(self) -> None:
        self.begin(200, {})

    def do_GET(self) -> None:
        if self.headers.get("Upgrade"):  # 426: there is no WebSocket, ask by HTTP. Source: RFC 9110, 15.5.22
            self.refuse(426, "invalid_request_error", message("model_no_web_socket"))
        elif self._let_in():
            type(self).serve(self, "GET", self._path, None)

    def do_POST(self) -> None:
        if not self._let_in():
            return
        body = self.body(REQUEST_LIMIT_BYTES)
        if body is None:
            self.refuse(413, "request_too_large", message("model_request_too_large"))
            return
        type(self).serve(self, "POST", self._path, body)

    @property
    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _let_in(self) -> bool:
        given = self.headers.get("x-api-key") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        if hmac.compare_digest(given.encode("latin-1", "replace"), self.token.encode()):
            return True
        self.refuse(401, "authentication_error", message("model_wrong_token"))
        return False

    def write(self, block: bytes) -> None:
        self.wfile.write(block)
        self.wfile.flush()

    def refuse(self, status: int, kind: str, said: Message) -> None:
        body = msgspec.json.encode({"type": "error", "error": {"type": kind, "message": str(said), "code": kind}})
        with contextlib.suppress(OSError):
            self.begin(status, {"Content-Type": "application/json", "Content-Length": str(len(body))})
            self.write(body)
