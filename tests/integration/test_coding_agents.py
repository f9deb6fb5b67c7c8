"""Whole attempts of the real coding agents, against a scripted model server: how they run, are read, and end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.runners.process.fence import find_fence
from agent.settings import WorkerSettings
from keruta.domain.catalog.coding_agents import CodingAgentOptions
from keruta.domain.reports import Ended
from keruta.domain.specification import Access
from tests.support.attempts import Ask, Attempt, Recording, environment
from tests.support.coding_agents import programs
from tests.support.model_server import USAGE, ModelServer, Say, Step, Use
from tests.support.repositories import git, make_repository

KEY = "sk-made-up-model-key"
PROGRAMS = {"claude-code": "claude", "codex": "codex", "aider": "aider"}
SHELL = {
    "claude-code": lambda command: Use("Bash", {"command": command, "description": "run"}),
    "codex": lambda command: Use("exec_command", {"cmd": command}),
}
MODELS = {"aider": "openai/gpt-4o"}


class Desk:
    """A repository, a key, and attempts of a coding agent at it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"
        make_repository(root / "app.git", {"notes.txt": "one\n"})
        mounted = self.state / "credentials/keruta-job-model"
        mounted.mkdir(parents=True)
        (mounted / "value").write_text(KEY)

    def begin(
        self, name: str, server: ModelServer, *, prompt: str = "Do it.", isolation: str = "none", direct: bool = False,
        options: dict[str, Any] | None = None, recording: Recording | None = None, **fields: Any,
    ) -> Attempt:  # fmt: skip
        access = Access(name="model", kind="secret", secret="keruta-job-model")
        settings = {"model": MODELS.get(name), "base_url": server.url, "coding_agent": name, **(options or {})}
        given = {
            "prompt": prompt, "script": None, "coding_agent": msgspec.convert(settings, CodingAgentOptions),
            "timeout_seconds": 60, **({"env": direct_env(name)} if direct else {"model_access": access}), **fields,
        }  # fmt: skip
        ask = Ask(
            state=str(self.state), repository=(self.root / "app.git").as_uri(), fields=given,
            settings={"secrets_dir": self.state / "credentials", "isolation": isolation},
        )  # fmt: skip
        path = f"{programs(PROGRAMS[name])}:/usr/local/bin:/usr/bin:/bin"
        with environment({"PATH": path, "HOME": str(self.root)}):
            return Attempt(ask, recording)

    def run(self, name: str, server: ModelServer, **more: Any) -> tuple[Ended, str]:
        attempt = self.begin(name, server, **more)
        assert attempt.job.ended.wait(90), attempt.recording.log
        (ended,) = (one for one in attempt.recording.entries if isinstance(one, Ended))
        return ended, attempt.recording.log


def direct_env(name: str) -> dict[str, str]:
    return {"claude-code": {"ANTHROPIC_API_KEY": KEY}, "codex": {"OPENAI_API_KEY": KEY}}.get(
        name, {"OPENAI_API_KEY": KEY}
    )


@pytest.fixture
def desk() -> Iterator[Desk]:
    root = Path(tempfile.mkdtemp(prefix="keruta-", dir="/var/tmp"))
    yield Desk(root)
    shutil.rmtree(root, ignore_errors=True)


def steps(name: str, command: str, answer: str) -> Sequence[Step]:
    """A change by each agent's own means, and a last word."""
    if name == "aider":
        block = "made.txt\n```\n<<<<<<< SEARCH\n=======\nmade by aider\n>>>>>>> REPLACE\n```\n"
        return [Say(f"{answer}\n\n{block}")]
    return [SHELL[name](command), Say(answer)]


@pytest.mark.parametrize("isolation", ["none", "bubblewrap"])
@pytest.mark.parametrize("name", ["claude-code", "codex", "aider"])
def test_change_is_pushed(desk: Desk, name: str, isolation: str) -> None:
    """A coding agent changes the repository, its key stays with keruta's agent, and what it used is counted."""
    if isolation == "bubblewrap" and find_fence(WorkerSettings(worker_dir=desk.root / "worker"))[0] is None:
        pytest.skip("bubblewrap does not work here")
    command = "echo made >made.txt; env | grep -c made-up-model-key; cat $HOME/.gitconfig"
    with ModelServer(steps(name, command, "It is **done**.")) as server:
        ended, log = desk.run(name, server, isolation=isolation, result_branch="result")

        assert (ended.status, ended.reason) == ("succeeded", None), (ended.message, log)
        assert server.keys() == {KEY}
    assert "made.txt" in git(desk.root / "app.git", "ls-tree", "--name-only", "result")
    assert ".aider" not in git(desk.root / "app.git", "ls-tree", "--name-only", "result")
    assert "It is **done**." in ended.answer
    turns = 1 if name == "aider" else 2
    assert ended.usage["turns"] == turns
    assert ended.usage["input_tokens"] == turns * USAGE["input"]
    assert ended.usage["output_tokens"] == turns * USAGE["output"]
    assert ended.usage["cache_read_tokens"] == turns * USAGE["cache_read"]
    assert ended.model
    assert KEY not in log
    assert "output.gz" in {one.path for one in ended.artifacts}
    if name != "aider":
        assert '{"type"' not in log
        assert "▶" in log
        assert "  │ 0" in log
