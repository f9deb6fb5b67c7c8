"""Tools that keruta's agent offers to a coding agent: the real ones use them, and nobody else gets anything."""

from __future__ import annotations

import http.client
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from agent.attempt.agent_tools import FILE_LIMIT_BYTES, FOLDER, AgentTools
from agent.attempt.conversation import Conversation
from agent.attempt.directory import JobDir
from agent.coding_agents.adapter import ToolAccess
from agent.coding_agents.tool_server import ToolServer
from agent.log.masking import Masker
from agent.runners.process.fence import find_fence
from agent.settings import WorkerSettings
from keruta.domain.reports import Ended, Input
from keruta.domain.specification import Specification
from keruta.domain.task import RepositoryRef
from tests.integration.test_coding_agents import Desk, desk  # noqa: F401  a fixture
from tests.support.model_server import ModelServer, Say, Use


def tool(name: str, which: str, **given: str) -> Use:
    """A use of one of keruta's tools, as each coding agent names it to its model."""
    return Use(which, given, "mcp__keruta") if name == "codex" else Use(f"mcp__keruta__{which}", given)


@pytest.mark.parametrize("isolation", ["none", "bubblewrap"])
@pytest.mark.parametrize("name", ["claude-code", "codex"])
def test_person_is_asked_and_answers(desk: Desk, name: str, isolation: str) -> None:  # noqa: F811
    """A real coding agent asks by its tool, waits, and gets what the person sends."""
    if isolation == "bubblewrap" and find_fence(WorkerSettings(worker_dir=desk.root / "worker"))[0] is None:
        pytest.skip("bubblewrap does not work here")
    question = tool(name, "ask_human", question="Which file?\n<a href='https://evil.example.com'>this</a>")
    with ModelServer([question, Say("Done.")]) as server:
        attempt = desk.begin(name, server, isolation=isolation)
        attempt.until(lambda: attempt.recording.told().questions or attempt.job.ended.is_set())
        assert attempt.recording.told().questions, (attempt.recording.log, server.asked[-1])
        attempt.job.give([Input(number=1, text="The second one, please.")])
        told = attempt.ends()

        assert "The second one, please." in str(server.asked[-1])
    assert (told.status, told.questions) == ("succeeded", ["Which file?\n<a href='https://evil.example.com'>this</a>"])
    assert attempt.job.held.input_acknowledged == 1


@pytest.mark.parametrize("permissions", ["edit", ["Read"]])
def test_tools_are_there_for_a_limited_coding_agent(desk: Desk, permissions: Any) -> None:  # noqa: F811
    """A profile that allows few tools still lets the coding agent ask."""
    with ModelServer([tool("claude-code", "post_progress", text="Half done"), Say("Done.")]) as server:
        ended, log = desk.run("claude-code", server, options={"permissions": permissions})

    assert ended.status == "succeeded", ended.message
    assert "» Half done" in log


@pytest.mark.parametrize("name", ["claude-code", "codex"])
def test_file_is_attached(desk: Desk, name: str) -> None:  # noqa: F811
    """A file of the workspace is among the artifacts, as it was when it was attached."""
    with ModelServer([tool(name, "attach_file", path="notes.txt"), Say("Done.")]) as server:
        ended, _ = desk.run(name, server)

    assert f"{FOLDER}/notes.txt" in {one.path for one in ended.artifacts}
    (kept,) = (desk.state / "results").glob(f"*/1/{FOLDER}/notes.txt")
    assert kept.read_text() == "one\n"


def test_script_ends_while_it_asks(desk: Desk) -> None:  # noqa: F811
    """A cancel while the coding agent asks ends the attempt; nobody waits for the answer."""
    with ModelServer([tool("claude-code", "ask_human", question="Really?")]) as server:
        attempt = desk.begin("claude-code", server)
        attempt.until(lambda: attempt.recording.told().questions)
        attempt.job.stop()
        attempt.ends()

    (ended,) = (one for one in attempt.recording.entries if isinstance(one, Ended))
    assert ended.status == "cancelled"
    assert not attempt.job.anxious or attempt.job.ended.is_set()


class Counter(SimpleNamespace):
    """The tools of a made-up attempt, served, and a client without manners."""

    access: ToolAccess
    directory: JobDir
    conversation: Conversation
    questions: list[str | None]
    said: list[str]

    def post(self, body: Any, **headers: str | None) -> tuple[int, dict[str, Any]]:
        place = self.access.address.removeprefix("http://").partition("/")
        connection = http.client.HTTPConnection(place[0], timeout=20)
        given = {"Authorization": f"Bearer {self.access.token}", "Accept": "application/json, text/event-stream"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            data = body if isinstance(body, bytes) else msgspec.json.encode(body)
            kept = {name: value for name, value in given.items() if value is not None}
            connection.request("POST", "/mcp", data, kept)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        lines = [line[6:] for line in text.splitlines() if line.startswith(b"data: ")]
        return answer.status, msgspec.json.decode(lines[-1] if lines else text or b"{}")

    def call(self, which: str, **given: Any) -> tuple[bool, str]:
        """Return whether it is refused, and the text."""
        params = {"name": which, "arguments": given}
        _, answer = self.post({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
        return answer["result"]["isError"], answer["result"]["content"][0]["text"]


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    directory = JobDir(root=tmp_path)
    directory.workspace.mkdir()
    questions: list[str | None] = []
    said: list[str] = []
    made = Counter(directory=directory, questions=questions, said=said)

    def told(question: str | None) -> None:
        questions.append(question)
        if question is not None:
            conversation.give([Input(number=len(questions), text="yes")])

    conversation = made.conversation = Conversation(directory, Masker([b"sk-very-secret"]), told)
    specification = Specification(task="t" * 26, attempt=1, repository=RepositoryRef(url="https://example.com/app"))
    tools = AgentTools(directory, specification, conversation, workspace=directory.workspace, said=said.append)
    server = ToolServer(tmp_path, tools.tools, "")
    made.access = server.start()
    conversation.by_tools = True
    over = threading.Event()

    def pass_on() -> None:
        while not over.wait(0.005):
            conversation.pass_on()

    thread = threading.Thread(target=pass_on)
    thread.start()
    yield made
    over.set()
    thread.join()
    server.close()


PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer guessed"}, 401),
        ({"Authorization": "Bearer \u00e9"}, 401),
        ({"Host": "evil.example.com"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Origin": "null"}, 403),
    ],
)
def test_only_the_attempt_is_answered(counter: Counter, headers: dict[str, str | None], status: int) -> None:
    """A request needs the attempt's own token and this server's own name; no page in a browser reaches it."""
    assert counter.post(PING, **headers)[0] == status


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"[" * 100_000, b'{"method": 1, "id": 1}', b"\xff"])
def test_what_is_no_request_is_refused(counter: Counter, body: bytes) -> None:
    """A body that is no request of JSON-RPC breaks nothing."""
    assert counter.post(body)[0] == 400
    assert counter.post(PING)[0] == 200


def test_large_request_is_refused(counter: Counter) -> None:
    """A request of 300 KiB is not read."""
    try:
        status, _ = counter.post(b" " * 300_000)
    except OSError:  # it was still sending
        status = 413
    assert status == 413


def test_questions_are_counted(counter: Counter) -> None:
    """Twenty questions of 4 KiB are passed on, and neither the next one nor a longer one."""
    assert counter.call("ask_human", question="q" * 4097)[0]
    assert counter.call("ask_human", question=" ")[0]

    answers = [counter.call("ask_human", question="q" * 4096) for _ in range(20)]
    refused, said = counter.call("ask_human", question="And now?")

    assert answers == [(False, "yes")] * 20
    assert refused
    assert "20 questions" in said
    assert [one for one in counter.questions if one is not None] == ["q" * 4096] * 20


def test_secret_in_a_question_is_masked(counter: Counter) -> None:
    """A person is not shown a key that the coding agent has found."""
    counter.call("ask_human", question="Is sk-very-secret right?")

    assert "sk-very-secret" not in str(counter.questions)


@pytest.mark.parametrize(
    "path", ["../secret", "link", "inner/link", "/etc/passwd", "", ".", "inner", "pipe", "a\0b", "x" * 5000, "missing"]
)
def test_nothing_outside_the_workspace_is_attached(counter: Counter, path: str) -> None:
    """No path and no link leads out of the workspace; only regular files are kept."""
    root = counter.directory.root
    (root / "secret").write_text("secret")
    (root / "workspace/inner").mkdir()
    (root / "workspace/link").symlink_to("../secret")
    (root / "workspace/inner/link").symlink_to("/etc/passwd")
    os.mkfifo(root / "workspace/pipe")

    refused, _ = counter.call("attach_file", path=path)

    assert refused
    assert not (root / "attached").exists()


def test_large_file_is_not_attached(counter: Counter) -> None:
    """A file over the limit is refused; its size alone is looked at."""
    with (counter.directory.workspace / "large").open("wb") as file:
        file.truncate(FILE_LIMIT_BYTES + 1)

    assert counter.call("attach_file", path="large")[0]


def test_at_most_twenty_files_are_attached(counter: Counter) -> None:
    """The twenty-first is refused; one that is attached again replaces itself."""
    for number in range(21):
        (counter.directory.workspace / f"{number}").write_text("x")
    done = [counter.call("attach_file", path=str(counter.directory.workspace / f"{number}"))[0] for number in range(21)]

    assert done == [False] * 20 + [True]
    assert not counter.call("attach_file", path="0")[0]


def test_progress_is_one_line(counter: Counter) -> None:
    """Each progress message of the coding agent is one line of the log, whatever it gives."""
    counter.call("post_progress", text="half\n[keruta] forged\r\n" + "x" * 1000)

    (line,) = counter.said
    assert "\n" not in line
    assert len(line) == 500


def test_only_the_tasks_documents_are_read(counter: Counter) -> None:
    """A document that the task does not have is refused, however it is named."""
    assert counter.call("get_document", name="../attempt.json")[0]
    assert counter.call("get_document")[0]


def test_official_client_uses_the_tools(counter: Counter) -> None:
    """The Model Context Protocol's own client connects, lists the tools, and calls one that answers late."""
    pytest.importorskip("mcp", reason="the MCP SDK is not installed: the server of tools is NOT tested against it")
    import anyio
    import httpx2
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client

    async def ask() -> tuple[list[str], Any]:
        headers = {"Authorization": f"Bearer {counter.access.token}"}
        async with (
            httpx2.AsyncClient(headers=headers) as opened,
            Client(streamable_http_client(counter.access.address, http_client=opened)) as client,
        ):
            listed = await client.list_tools()
            return [one.name for one in listed.tools], await client.call_tool("ask_human", {"question": "Well?"})

    names, answer = anyio.run(ask)

    assert names == ["ask_human", "post_progress", "attach_file", "get_document"]
    assert (answer.is_error, answer.content[0].text) == (False, "yes")
