"""A coding agent in a Pod: its model's server is reached through keruta's agent, and its session outlives its Pod."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support import images
from tests.support.cluster import NODE, Cluster, eventually, secret
from tests.support.coding_agents import programs
from tests.support.gitservers import GitHttp
from tests.support.model_server import USAGE, ModelServer, Say, Use
from tests.support.repositories import git

KEY = "sk-made-up-model-key"
IMAGE = "localhost/claude-code:1"
QUESTION = "Which colour do you want?"


@pytest.fixture
def image(cluster: Cluster) -> str:
    """An image with Claude Code; of the program that the other tests have, too."""
    program = programs("claude") / "claude"
    images.build_with(program.resolve(), IMAGE)
    images.load([IMAGE])
    return IMAGE


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A coding agent changes a file, asks, and goes on in the next Pod with the files that it left."""
    write = Use("Bash", {"command": "echo so far >draft.txt; env | grep -c made-up-model-key", "description": "write"})
    look = Use("Bash", {"command": "mv draft.txt painted.txt; echo blue >>painted.txt", "description": "paint"})
    asks = Use("mcp__keruta__ask_human", {"question": QUESTION})
    with ModelServer([write, asks, look, Say("It is **blue**.")], NODE) as made:
        yield made


@pytest.mark.release  # its image is half a gigabyte, which takes long to put into the node
def test_a_session_goes_on_in_another_pod(
    cluster: Cluster, repository: str, git_server: GitHttp, image: str, server: ModelServer
) -> None:
    """Claude Code asks, and its Pod ends without an answer; the answer resumes session and changes in a new one."""
    cluster.apply(secret("keruta-job-model", {"value": KEY}))
    host = server.url.removeprefix("http://")
    key = {"name": "model", "type": "secret", "kubernetes_secret": "keruta-job-model", "hosts": [host]}
    cluster.client.create("credential", key)
    agent = {"coding_agent": "claude-code", "model_credential": "model", "base_url": server.url, "wait_seconds": 1}
    cluster.client.create("profile", {"name": "painter", "image": image, **agent})
    wanted = {"prompt": "Paint it.", "profile": "painter", "result_branch": "painted"}
    began = time.monotonic()
    task_id = cluster.client.submit({"repository": {"name": repository}, **wanted}).id
    eventually("the first request", lambda: server.asked, 120)
    print(f"asked its model {time.monotonic() - began:.1f} s after the submit")

    found = cluster.reaches(task_id, "suspended", "succeeded", "failed")
    assert (found.status, found.question) == ("suspended", QUESTION), (found.message, cluster.text(task_id))
    eventually("the Pod's end", lambda: not _at_work(cluster, task_id), 60)
    cluster.client.input(task_id, "Blue, please.")
    task = cluster.ended(task_id)

    assert (task.status, task.answer) == ("succeeded", "It is **blue**."), (task.message, cluster.text(task_id))
    assert [one.resumes for one in task.attempts] == [None, 1]
    conversation = str(server.asked[-1])
    assert "Paint it." in conversation
    assert "Blue, please." in conversation
    assert server.keys() == {KEY}
    assert task.attempts[-1].usage["input_tokens"] == 2 * USAGE["input"]
    assert git(git_server.root / "app.git", "show", "painted:painted.txt") == "so far\nblue"


def _at_work(cluster: Cluster, task_id: str) -> bool:
    pods = cluster.get("pods", "-l", f"keruta.dev/task={task_id}")["items"]
    return any(pod["status"]["phase"] not in ("Succeeded", "Failed") for pod in pods)
