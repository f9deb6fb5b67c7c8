"""keruta's tools for a coding agent elsewhere, called by the official client over standard input and output."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from keruta.cli.mcp_server import Tools, shown
from keruta.domain.task import TaskPage, TaskView
from tests.support.serving import Quiet, Serving
from tests.support.world import ANN, World

TOOLS = [
    "answer_task", "cancel_task", "continue_task", "list_tasks", "read_log", "show_task", "submit_task", "wait_for_task"
]  # fmt: skip


class Api(Quiet):
    """Refuses everything, as an API does."""

    def do_GET(self) -> None:
        problem = {"title": "Not Found", "status": 404, "reason": "TaskNotFound", "detail": "There is no such task."}
        self.answer(404, problem, {"Content-Type": "application/problem+json"})


def test_tools_are_there_for_the_official_client() -> None:
    """They are listed with what they do, and a refusal of the API is the call's error, in words."""
    pytest.importorskip("mcp", reason="the MCP SDK is not installed: `keruta mcp` is NOT tested")
    import anyio
    from mcp import Client, StdioServerParameters
    from mcp.client.stdio import stdio_client

    async def ask(url: str) -> tuple[list[str], Any]:
        env = {**os.environ, "KERUTA_URL": url, "KERUTA_TOKEN": "made-up"}
        program = "from keruta.cli.mcp_server import serve; serve()"
        server = StdioServerParameters(command=sys.executable, args=["-c", program], env=env)
        async with Client(stdio_client(server)) as client:
            listed = await client.list_tools()
            return sorted(one.name for one in listed.tools), await client.call_tool("show_task", {"task": "x" * 26})

    with Serving(Api) as api:
        names, answer = anyio.run(ask, api.url)

    assert names == TOOLS
    assert answer.is_error
    assert "There is no such task." in str(answer.content)


class Fake:
    """A client whose one task is the world's."""

    def __init__(self, world: World, task_id: str) -> None:
        self._world, self._id = world, task_id
        self.submitted: Any = None

    def submit(self, task: Any) -> TaskView:
        self.submitted = task
        return self._world.task(self._id)

    def task(self, task_id: str) -> TaskView:
        assert task_id == self._id
        return self._world.task(task_id)

    def tasks(self, **filters: Any) -> TaskPage:
        return TaskPage(items=[])


def test_what_is_given_is_submitted(world: World) -> None:
    """A name is a repository of the catalog, all else an address; what is not given is not sent."""
    fake = Fake(world, world.submit())
    tools = Tools(lambda: fake)  # type: ignore[arg-type,return-value]

    tools.submit_task("app", prompt="Do it.", profile="codex", ref="main")
    by_name = fake.submitted
    answer = tools.submit_task("https://example.com/app.git", script="make")

    assert by_name == {"repository": {"name": "app", "ref": "main"}, "prompt": "Do it.", "profile": "codex"}
    assert fake.submitted == {"repository": {"url": "https://example.com/app.git"}, "script": "make"}
    assert answer["status"] == "queued"


def test_waiting_ends_with_the_task_or_its_time(world: World) -> None:
    """A task that has ended is told at once, with its answer; one that has not is told as it is."""
    task_id = world.submit()
    tools = Tools(lambda: Fake(world, task_id))  # type: ignore[arg-type,return-value]

    before = tools.wait_for_task(task_id, seconds=0)
    world.worker()
    world.assign()
    world.start(task_id)
    world.end(task_id, answer="Done.", result_branch="out")
    after = tools.wait_for_task(task_id)

    assert before["status"] == "queued"
    assert (after["status"], after["answer"], after["result_branch"]) == ("succeeded", "Done.", "out")
    assert shown(world.reading.task(ANN, task_id)) == after
