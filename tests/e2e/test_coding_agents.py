"""A coding agent on a whole keruta: its key in the catalog, a prompt on the command line, the answer on the task."""

from __future__ import annotations

from tests.support.coding_agents import programs
from tests.support.model_server import USAGE, ModelServer, Say, Use
from tests.support.system import RunningSystem


def test_a_prompt_becomes_a_branch_and_an_answer(system: RunningSystem, repository: str) -> None:
    """What the ready profile needs is a key; the model's server gets that key, and the task has what it answered."""
    programs("codex")  # on the worker's PATH, where it is installed
    change = Use("exec_command", {"cmd": "env | grep -c sk-of-the-team; echo made >made-by-agent.txt"})
    with ModelServer([change, Say("I made **it**.")]) as server:
        host = server.url.removeprefix("http://")
        key = system.run("credentials", "create", "model", "--type", "secret", "--hosts", host, "--value-file", "-",
                         stdin="sk-of-the-team")  # fmt: skip
        assert key.returncode == 0, key.stderr
        edited = system.run("profiles", "edit", "codex", "--model-credential", "model", "--base-url", server.url)
        assert edited.returncode == 0, edited.stderr

        ran = system.run(
            "run", "--repo", repository, "--profile", "codex", "--prompt", "Make it.", "--result-branch", "agent/it",
            "--check", "-", "--follow", stdin="test -e made-by-agent.txt",
        )  # fmt: skip

        assert ran.returncode == 0, (ran.stdout, ran.stderr)
        assert server.keys() == {"sk-of-the-team"}
    task = system.client.task(system.client.tasks(limit=1).items[0].id)
    assert task.answer == "I made **it**."
    assert task.attempts[-1].usage["input_tokens"] == 2 * USAGE["input"]
    assert task.attempts[-1].result_branch == "agent/it"
    assert "  │ 0" in ran.stdout
    assert "I made **it**." in system.run("show", task.id).stdout
