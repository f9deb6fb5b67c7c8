"""A server of tools for the coding agent of one attempt: the Model Context Protocol over HTTP, on loopback.

It keeps no session, so that an agent that was restarted serves the same coding agent on. What a tool answers late is
streamed, with a comment now and then, so that nobody takes the connection for dead.

Source: Model Context Protocol 2025-06-18, Transports (Streamable HTTP), Lifecycle, Tools.
"""

from __future__ import annotations

import contextlib
import hmac
import http.server
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agent.coding_agents.adapter import ToolAccess
from agent.coding_agents.records import decoded, mapping, text
from agent.http_server import BoundedServer, OneAnswerHandler
from keruta import structs
from keruta.domain.messages import Message, message

PATH = "/mcp"
VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
REQUEST_LIMIT_BYTES = 256 * 1024
CLIENT_SECONDS = 30  # for a request to be sent whole
HOSTS = ("127.0.0.1", "localhost")
INVALID_REQUEST, NO_SUCH_METHOD, INVALID_PARAMETERS = -32600, -32601, -32602  # JSON-RPC 2.0, 5.1
Beat = Callable[[], None]  # keeps a connection up; raises OSError where the coding agent is gone


class Refused(Exception):  # noqa: N818  nothing failed: the coding agent is told so and goes on
    """A tool does not do what it was asked for."""

    def __init__(self, said: Message) -> None:
        super().__init__(str(said))


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool: its name, what it is for, its parameters (all texts), and what it does.

    Args:
        call: gets the parameters and the beat; returns a text; raises Refused.
    """

    name: str
    description: str
    parameters: Mapping[str, str]
    call: Callable[[Mapping[str, str], Beat], str]

    @property
    def listed(self) -> dict[str, Any]:
        properties = {name: {"type": "string", "description": said} for name, said in self.parameters.items()}
        schema = {"type": "object", "properties": properties, "required": list(self.parameters)}
        return {"name": self.name, "description": self.description, "inputSchema": schema}


class _OnRecord(msgspec.Struct, frozen=True, kw_only=True):
    port: int
    token: str


class ToolServer:
    """Serves one attempt, from `start` to `close`.

    Args:
        directory: the agent's own.
        instructions: told to the coding agent when it connects.
    """

    def __init__(self, directory: Path, tools: Sequence[Tool], instructions: str) -> None:
        self._record = directory / "tool-server"
        self._tools = {tool.name: tool for tool in tools}
        self._instructions = instructions
        self._server: BoundedServer | None = None

    def start(self) -> ToolAccess:
        """Begin to serve. Raises OSError where the port of an earlier agent is taken."""
        try:
            known = structs.from_json(self._record.read_bytes(), type=_OnRecord)
        except (OSError, msgspec.DecodeError):
            known = _OnRecord(port=0, token=secrets.token_urlsafe(32))
        served = self

        class Handler(_Handler):
            token = known.token
            server_of = served

        self._server = BoundedServer(("127.0.0.1", known.port), Handler, name="the server of tools")
        port = self._server.server_address[1]
        self._record.touch(0o600)
        self._record.write_bytes(msgspec.json.encode(_OnRecord(port=port, token=known.token)))
        threading.Thread(target=self._server.serve_forever, name="tools", daemon=True).start()
        return ToolAccess(address=f"http://127.0.0.1:{port}{PATH}", token=known.token)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def answer(self, method: str, given: Mapping[str, Any], beat: Beat) -> dict[str, Any]:
        """Return the result of a request. Raises LookupError with a code and a text."""
        match method:
            case "initialize":
                wanted = text(given.get("protocolVersion"))
                return {
                    "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "keruta", "version": "1"},
                    "instructions": self._instructions,
                }
            case "ping":
                return {}
            case "tools/list":
                return {"tools": [tool.listed for tool in self._tools.values()]}
            case "tools/call":
                return self._call(given, beat)
        raise LookupError(NO_SUCH_METHOD, "no such method")

    def _call(self, given: Mapping[str, Any], beat: Beat) -> dict[str, Any]:
        tool = self._tools.get(text(given.get("name")))
        if tool is None:
            raise LookupError(INVALID_PARAMETERS, "no such tool")
        arguments = {name: text(mapping(given.get("arguments")).get(name)) for name in tool.parameters}
        try:
            said, wrong = tool.call(arguments, beat), False
        except Refused as refused:
            said, wrong = str(refused), True
        return {"content": [{"type": "text", "text": said}], "isError": wrong}


class _Handler(OneAnswerHandler, http.server.BaseHTTPRequestHandler):
    """One request of the coding agent."""

    timeout = CLIENT_SECONDS
    token = ""
    server_of: ToolServer

    def do_GET(self) -> None:
        self._refuse(405, message("tools_post_only"))

    do_DELETE = do_GET  # noqa: N815  the name that the module http.server looks for

    def do_POST(self) -> None:
        if (wrong := self._wrong()) is not None:
            self._refuse(*wrong)
            return
        body = self.body(REQUEST_LIMIT_BYTES)
        if body is None:
            self._refuse(413, message("model_request_too_large"))
            return
        request = decoded(body.strip())
        if request is None or not isinstance(request.get("method"), str):
            self._error(None, INVALID_REQUEST, "not a request of JSON-RPC 2.0")
        elif request.get("id") is None:  # a notification
            self.begin(202, {"Content-Length": "0"})
        else:
            self._serve(request)

    def _wrong(self) -> tuple[int, Message] | None:
        """Return the refusal of a sender that gets nothing: a misled page in a browser, or one without the token."""
        port = self.server.server_address[1]  # type: ignore[index]
        places = {f"{host}:{port}" for host in HOSTS}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in places or (
            origin is not None and origin not in {f"http://{place}" for place in places}
        ):
            return 403, message("tools_other_host")
        given = self.headers.get("Authorization", "").removeprefix("Bearer ").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self.token.encode()):
            return 401, message("model_wrong_token")
        return None if self.path.partition("?")[0] == PATH else (404, message("tools_no_such_path"))

    def _serve(self, request: Mapping[str, Any]) -> None:
        streams = request["method"] == "tools/call"
        if streams:
            self.begin(200, {"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        try:
            found = self.server_of.answer(request["method"], mapping(request.get("params")), self._beat)
            answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"], "result": found}
        except LookupError as error:
            answer = _failure(request["id"], *error.args)
        except OSError:
            return  # the coding agent is gone, and its connection with it
        if streams:
            self._write(b"event: message\ndata: " + msgspec.json.encode(answer) + b"\n\n")
        else:
            self._json(200, answer)

    def _beat(self) -> None:
        self.wfile.write(b": still at it\n\n")
        self.wfile.flush()

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.wfile.write(data)
            self.wfile.flush()

    def _json(self, status: int, document: Mapping[str, Any]) -> None:
        body = msgspec.json.encode(document)
        with contextlib.suppress(OSError):
            self.begin(status, {"Content-Type": "application/json", "Content-Length": str(len(body))})
            self._write(body)

    def _error(self, identity: Any, code: int, said: str) -> None:
        self._json(400, _failure(identity, code, said))

    def _refuse(self, status: int, said: Message) -> None:
        self._json(status, _failure(None, INVALID_REQUEST, str(said)))


def _failure(identity: Any, code: int, said: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": said}}
