"""A coding agent on a whole keruta: its key in the catalog, a prompt on the command line, the answer on the task."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.coding_agents import programs
from tests.support.model_server import USAGE, ModelServer, Say, Use
from tests.support.processes import environment
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


@pytest.mark.parametrize("by_tool", [True, False], ids=["tool", "last-word"])
def test_a_question_is_answered_later_and_the_session_goes_on(
    system: RunningSystem, repository: str, by_tool: bool
) -> None:
    """Claude Code asks; nobody answers, so no process and no slot is left; the answer resumes its session."""
    programs("claude")
    question = "Which colour do you want?"
    asks = Use("mcp__keruta__ask_human", {"question": question}) if by_tool else Say(question)
    write = Use("Bash", {"command": "echo so far >draft.txt", "description": "write"})
    look = Use("Bash", {"command": "mv draft.txt painted.txt; echo blue >>painted.txt", "description": "paint"})
    with ModelServer([write, asks, look, Say("It is **blue**.")]) as server:
        name, host = f"painter-{int(by_tool)}", server.url.removeprefix("http://")
        system.client.create("credential", {"name": name, "type": "secret", "value": "sk-a", "hosts": [host]})
        spec = {"name": name, "coding_agent": "claude-code", "model_credential": name, "base_url": server.url}
        system.client.create("profile", {**spec, "wait_seconds": 1})
        ran = system.run("run", "--repo", repository, "--profile", name, "--prompt", "Paint it.",
                         "--result-branch", f"agent/{name}", "--json")  # fmt: skip
        task = msgspec.json.decode(ran.stdout.splitlines()[-1])["id"]
        found = system.reaches(task, "suspended")

        assert (found.question, found.attempts[0].outcome) == (question, "suspended")
        assert question in system.run("show", task).stdout
        assert not [one for one in system.processes() if f"/jobs/{task}" in str(environment(one).get("HOME"))]
        answered = system.run("answer", task, "Blue, please.", "--follow")

        assert answered.returncode == 0, (answered.stdout, answered.stderr)
        conversation = str(server.asked[-1])
        assert "Blue, please." in conversation
        assert "Paint it." in conversation
    ended = system.client.task(task)
    assert (ended.status, ended.answer, ended.attempts[-1].resumes) == ("succeeded", "It is **blue**.", 1)
    assert ended.attempts[-1].result_branch == f"agent/{name}"
