"""keruta's tools over HTTP at /mcp: by the official client, and by requests that are none of its."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from tests.support.ports import free_port
from tests.support.serving import Quiet, Serving
from tests.support.system import eventually

INITIALIZE = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}  # fmt: skip
ACCEPT = {"Accept": "application/json, text/event-stream"}


class Api(Quiet):
    """Refuses every task in the name of who asks."""

    def do_GET(self) -> None:
        said = f"{self.headers['Authorization']} and cookie {self.headers['Cookie']}"
        problem = {"title": "Not Found", "status": 404, "reason": "TaskNotFound", "detail": said}
        self.answer(404, problem, {"Content-Type": "application/problem+json"})


def listens(port: int) -> bool:
    """Return whether something listens at a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    """The address of a `keruta mcp --http`."""
    pytest.importorskip("mcp", reason="the MCP SDK is not installed: `keruta mcp --http` is NOT tested")
    port = free_port()
    program = [sys.executable, "-c", "from keruta.cli.main import main; main()"]
    with Serving(Api) as api:
        env = {**os.environ, "KERUTA_URL": api.url, "KERUTA_TOKEN": "the-servers-own"}
        process = subprocess.Popen(
            [*program, "mcp", "--http", f"127.0.0.1:{port}", "--host", "mcp.example.com"], env=env
        )
        try:
            eventually(lambda: listens(port), 60, "keruta mcp --http")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def post(url: str, **headers: str) -> urllib3.BaseHTTPResponse:
    """Send the first request of a session."""
    return urllib3.request("POST", f"{url}/mcp", json=INITIALIZE, headers={**ACCEPT, **headers}, retries=False)


def test_each_client_calls_with_its_own_token(served: str) -> None:
    """Of many at once, none gets another's, nor the one that the server itself was started with."""
    import anyio
    from mcp import Client
    from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

    said: dict[str, str] = {}
    listed: list[str] = []

    async def ask(token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            create_mcp_http_client(headers=headers) as http,
            Client(streamable_http_client(f"{served}/mcp", http_client=http)) as client,
        ):
            listed.extend(one.name for one in (await client.list_tools()).tools)
            for _ in range(3):
                answer: Any = await client.call_tool("show_task", {"task": "x" * 26})
                said[token] = str(answer.content)

    async def all_of_them() -> None:
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(ask, f"token-{number}")

    anyio.run(all_of_them)

    assert len(said) == 5
    for token, text in said.items():
        assert f"Bearer {token} and cookie None" in text
    assert "submit_task" in listed


def test_a_request_without_a_token_is_refused(served: str) -> None:
    """A cookie is none, and neither is a password."""
    for headers in ({}, {"Cookie": "session=x"}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer "}):
        refused = post(served, **headers)
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "mcp.example.com"}, 200),
        ({"Host": "evil.example.com"}, 421),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_a_page_of_another_site_can_not_call(served: str, headers: dict[str, str], status: int) -> None:
    """By a name that is not the server's, as after DNS rebinding, or from a browser."""
    assert post(served, Authorization="Bearer t", **headers).status == status


def test_a_body_is_bounded(served: str) -> None:
    """A tool's arguments are short."""
    headers = {**ACCEPT, "Authorization": "Bearer t", "Content-Type": "application/json"}
    answer = urllib3.request("POST", f"{served}/mcp", body=b" " * 2_000_000, headers=headers, retries=False)

    assert answer.status == 413
