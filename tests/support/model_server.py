"""A scripted model server: Anthropic Messages, OpenAI Responses and OpenAI Chat Completions, streamed.

It answers each request of a conversation with the next step of its script: a text, a tool's use, or a failure. No model
is behind it, so the tokens that it names are made up.
"""

from __future__ import annotations

import http.server
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec


class Use(msgspec.Struct, frozen=True):
    """The model uses a tool: its name, and its input (for `Bash` alone, in each agent's own words)."""

    name: str
    input: dict[str, Any]
    namespace: str = ""  # of the Responses API, for the tools of a server


class Say(msgspec.Struct, frozen=True):
    """The model says a text, which ends its turn; for `stop` see the Messages API's `stop_reason`."""

    text: str
    stop: str = "end_turn"


class Fail(msgspec.Struct, frozen=True):
    """The server refuses: its status, a message, and headers."""

    status: int
    kind: str = "api_error"
    text: str = "made-up failure"
    headers: Mapping[str, str] = {}


class Break(msgspec.Struct, frozen=True):
    """The stream begins and breaks off."""


Step = Use | Say | Fail | Break
USAGE = {"input": 100, "output": 20, "cache_read": 1000, "cache_write": 50}


class ModelServer:
    """Serves until `close`. After its script's last step that step is repeated.

    Args:
        host: the address that it listens at.

    Attributes:
        requests: each request's path, headers (lower case) and body.
    """

    def __init__(self, steps: Sequence[Step], host: str = "127.0.0.1") -> None:
        self.steps = list(steps)
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        served = self

        class Handler(_Handler):
            server_of = served

        self._http = http.server.ThreadingHTTPServer((host, 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        host, port = self._http.server_address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The bodies of the conversation's own requests."""
        return [body for _, _, body in self.requests if "messages" in body or "input" in body]

    def keys(self) -> set[str]:
        """The keys that requests came with."""
        return {
            headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
            for _, headers, _ in self.requests
        }

    def skip_to(self, number: int) -> None:
        """The next answer is this step of the script."""
        with self._lock:
            self._numbers = itertools.count(number)

    def step(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Step:
        with self._lock:
            self.requests.append((path, headers, body))
            return self.steps[min(next(self._numbers), len(self.steps) - 1)]


class _Handler(http.server.BaseHTTPRequestHandler):
    server_of: ModelServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        if self.headers.get("Upgrade"):  # codex asks for a WebSocket first; 426: there is none
            self._json(426, {"error": {"message": "no WebSocket"}})
            return
        self._json(200, {"data": [], "models": [], "object": "list"})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = msgspec.json.decode(raw or b"{}")
        path = self.path.split("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        if path.endswith("/count_tokens"):
            self._json(200, {"input_tokens": 1})
            return
        step = self.server_of.step(path, headers, body)
        if isinstance(step, Fail):
            error = {"type": "error", "error": {"type": step.kind, "message": step.text, "code": step.kind}}
            self._json(step.status, error, step.headers)
        elif path.endswith("/messages"):
            events = _messages(step, body)
            if not body.get("stream"):
                self._json(200, _whole_message(step, body))
            else:
                self._stream(events)
        elif path.endswith("/responses"):
            self._stream(_responses(step, body))
        elif path.endswith("/chat/completions"):
            if body.get("stream"):
                self._stream(_completion_events(step, body))
            else:
                self._json(200, _completion(step, body))
        else:
            self._json(404, {"error": {"message": f"no such path: {path}"}})

    def _json(self, status: int, document: Any, headers: Mapping[str, str] = {}) -> None:
        raw = msgspec.json.encode(document)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, events: Iterator[tuple[str, Any]]) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for name, document in events:
            head = f"event: {name}\n" if name else ""
            text = document if isinstance(document, str) else msgspec.json.encode(document).decode()
            self.wfile.write(f"{head}data: {text}\n\n".encode())
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


_ids = itertools.count()


def _identity(prefix: str) -> str:
    return f"{prefix}_{next(_ids):08d}"


def _usage() -> dict[str, int]:
    return {
        "input_tokens": USAGE["input"],
        "output_tokens": USAGE["output"],
        "cache_read_input_tokens": USAGE["cache_read"],
        "cache_creation_input_tokens": USAGE["cache_write"],
    }


def _whole_message(step: Step, body: dict[str, Any]) -> dict[str, Any]:
    assert isinstance(step, Say)
    return {
        "id": _identity("msg"), "type": "message", "role": "assistant", "model": body.get("model", ""),
        "content": [{"type": "text", "text": step.text}], "stop_reason": step.stop, "stop_sequence": None,
        "usage": _usage(),
    }  # fmt: skip


def _messages(step: Step, body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Source: the Messages API, Streaming Messages."""
    message = {
        "id": _identity("msg"), "type": "message", "role": "assistant", "model": body.get("model", ""), "content": [],
        "stop_reason": None, "stop_sequence": None, "usage": {**_usage(), "output_tokens": 1},
    }  # fmt: skip
    yield "message_start", {"type": "message_start", "message": message}
    if isinstance(step, Break):
        return
    if isinstance(step, Use):
        block = {"type": "tool_use", "id": _identity("toolu"), "name": step.name, "input": {}}
        text = msgspec.json.encode(step.input).decode()
        delta = {"type": "input_json_delta", "partial_json": text}
        stop = "tool_use"
    else:
        assert isinstance(step, Say)
        block = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": step.text}
        stop = step.stop
    yield "content_block_start", {"type": "content_block_start", "index": 0, "content_block": block}
    yield "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}
    yield "content_block_stop", {"type": "content_block_stop", "index": 0}
    delta = {"stop_reason": stop, "stop_sequence": None}
    yield "message_delta", {"type": "message_delta", "delta": delta, "usage": _usage()}
    yield "message_stop", {"type": "message_stop"}


def _responses(step: Step, body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Source: the Responses API, Streaming events. Its input tokens include the cached ones."""
    identity = _identity("resp")
    yield "response.created", {"type": "response.created", "response": {"id": identity}}
    if isinstance(step, Break):
        return
    if isinstance(step, Use):
        item = {
            "type": "function_call", "id": _identity("fc"), "call_id": _identity("call"), "name": step.name,
            "arguments": msgspec.json.encode(step.input).decode(),
        }  # fmt: skip
        if step.namespace:
            item["namespace"] = step.namespace
    else:
        assert isinstance(step, Say)
        content = [{"type": "output_text", "text": step.text, "annotations": []}]
        item = {"type": "message", "id": _identity("msg"), "role": "assistant", "content": content}
    yield "response.output_item.done", {"type": "response.output_item.done", "output_index": 0, "item": item}
    usage = {
        "input_tokens": USAGE["input"] + USAGE["cache_read"],
        "input_tokens_details": {"cached_tokens": USAGE["cache_read"]},
        "output_tokens": USAGE["output"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": USAGE["input"] + USAGE["cache_read"] + USAGE["output"],
    }
    response = {"id": identity, "usage": usage, "output": [item], "status": "completed", "model": body.get("model")}
    yield "response.completed", {"type": "response.completed", "response": response}


def _chat_usage() -> dict[str, Any]:
    prompt = USAGE["input"] + USAGE["cache_read"]
    return {
        "prompt_tokens": prompt, "completion_tokens": USAGE["output"], "total_tokens": prompt + USAGE["output"],
        "prompt_tokens_details": {"cached_tokens": USAGE["cache_read"]},
    }  # fmt: skip


def _completion(step: Step, body: dict[str, Any]) -> dict[str, Any]:
    assert isinstance(step, Say)
    message = {"role": "assistant", "content": step.text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {
        "id": _identity("chatcmpl"), "object": "chat.completion", "created": 1, "model": body.get("model", ""),
        "choices": [choice], "usage": _chat_usage(),
    }  # fmt: skip


def _completion_events(step: Step, body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    assert isinstance(step, Say)
    whole = {"id": _identity("chatcmpl"), "object": "chat.completion.chunk", "created": 1, "model": body.get("model")}
    delta = {"role": "assistant", "content": step.text}
    yield "", {**whole, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield "", {**whole, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": _chat_usage()}
    yield "", "[DONE]"
