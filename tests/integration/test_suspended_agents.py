"""Attempts of the real coding agents that wait for a person: suspended with their session, and resumed by another."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agent.runners.process.fence import find_fence
from agent.settings import WorkerSettings
from keruta.domain.messages import message
from keruta.domain.reports import AnyEntry, Ended, Input, Outcome, Resumed, Suspended, Waiting
from keruta.domain.specification import Resume
from keruta.domain.task import RepositoryRef
from keruta.errors import PhaseError
from tests.integration.test_agent_tools import tool
from tests.integration.test_coding_agents import SHELL, Desk, desk  # noqa: F401  a fixture
from tests.support.attempts import Attempt, Recording, Shelf
from tests.support.model_server import USAGE, Fail, ModelServer, Say, Step
from tests.support.repositories import git

QUESTION = "Which colour?"
MADE = (
    "echo one >committed.txt; git add committed.txt; git -c user.name=a -c user.email=a@example.com commit -qm Made; "
    "echo two >left.txt; rm notes.txt; echo ignored >.git/info/x"
)
SEEN = "cat committed.txt left.txt; test -e notes.txt || echo notes gone; git log --format=%s; git status --short"


def processes(attempt: Attempt) -> list[int]:
    """The processes that carry the attempt's mark."""
    mark = attempt.job.held.execution
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"KERUTA_EXECUTION={mark}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def suspended(attempt: Attempt) -> Suspended:
    attempt.ends()
    (entry,) = (one for one in attempt.recording.entries if isinstance(one, Suspended))
    return entry


def answered(desk: Desk, name: str, server: ModelServer, first: Attempt, shelf: Shelf, **more: Any) -> Attempt:  # noqa: F811
    """The attempt that resumes the first one with an answer."""
    resume = Resume(attempt=1, question=QUESTION, answers=["Blue."])
    return desk.begin(name, server, shelf=shelf, task=first.specification.task, attempt=2, resume=resume, **more)


def script(name: str, question: Step, *after: Step) -> list[Step]:
    return [SHELL[name](MADE), question, *after]


@pytest.mark.parametrize("isolation", ["none", "bubblewrap"])
@pytest.mark.parametrize("name", ["claude-code", "codex"])
@pytest.mark.parametrize("by_tool", [True, False], ids=["tool", "last-word"])
def test_session_goes_on_in_another_attempt(desk: Desk, name: str, isolation: str, by_tool: bool) -> None:  # noqa: F811
    """Nobody answers: nothing of it runs on. The answer comes: the session, the commits and the changes are there."""
    if isolation == "bubblewrap" and find_fence(WorkerSettings(worker_dir=desk.root / "worker"))[0] is None:
        pytest.skip("bubblewrap does not work here")
    shelf = Shelf()
    asks = tool(name, "ask_human", question=QUESTION) if by_tool else Say(QUESTION)
    with ModelServer(script(name, asks, SHELL[name](SEEN), Say("It is blue."))) as server:
        first = desk.begin(name, server, isolation=isolation, shelf=shelf, options={"wait_seconds": 1},
                           result_branch="result")  # fmt: skip
        entry = suspended(first)
        assert (entry.question, entry.over) == (QUESTION, not by_tool)
        assert entry.usage["input_tokens"] == 2 * USAGE["input"]
        assert not processes(first)
        assert not first.root.exists()
        assert not [one for one in first.recording.entries if isinstance(one, Ended)]

        second = answered(desk, name, server, first, shelf, isolation=isolation, result_branch="result")
        told = second.ends()

        assert told.status == "succeeded", (told.message, told.log)
        conversation = str(server.asked[-1])
        assert "Blue." in conversation
        assert "committed.txt" in conversation  # what was said and done before
    lines = [line.removeprefix("  │ ") for line in told.log.splitlines()]
    assert {"one", "two", "notes gone", "Made"} <= set(lines)
    assert " D notes.txt" in lines
    assert "?? left.txt" in lines
    assert set(git(desk.root / "app.git", "ls-tree", "-r", "--name-only", "result").split()) == {
        "committed.txt",
        "left.txt",
    }


def test_session_goes_on_with_aider(desk: Desk) -> None:  # noqa: F811
    """Aider is told what was said before, from its history."""
    shelf = Shelf()
    with ModelServer([Say(QUESTION), Say("It is blue.")]) as server:
        first = desk.begin("aider", server, shelf=shelf, options={"wait_seconds": 0}, prompt="Paint the shed.")
        assert suspended(first).question == QUESTION
        told = answered(desk, "aider", server, first, shelf).ends()

        assert told.status == "succeeded", (told.message, told.log)
        assert "Paint the shed." in str(server.asked[-1])
        assert "Blue." in str(server.asked[-1])


class Deciding(Recording):
    """Answers each suspension as it is told to."""

    def __init__(self, *outcomes: Outcome) -> None:
        super().__init__()
        self.outcomes = list(outcomes)

    def ask(self, entry: AnyEntry, stop: threading.Event) -> Outcome:
        self.entries.append(entry)
        if isinstance(entry, Suspended) and self.outcomes:
            return self.outcomes.pop(0)
        return Outcome(accepted=True)


class NoShelf(Shelf):
    """keruta takes nothing."""

    def store_snapshot(self, task: str, attempt: int, sealed: Path) -> None:
        raise PhaseError("InternalError", message("session_not_stored"))


@pytest.mark.parametrize("isolation", ["none", "bubblewrap"])
@pytest.mark.parametrize("stored", [True, False], ids=["refused", "not stored"])
def test_what_is_not_suspended_goes_on(desk: Desk, isolation: str, stored: bool) -> None:  # noqa: F811
    """Refused for an answer that came meanwhile, or for want of storage: the processes go on, and get the answer."""
    recording = Deciding(Outcome(accepted=False, reason="InputPending"))
    asks = tool("claude-code", "ask_human", question=QUESTION)
    with ModelServer([asks, Say("Done.")]) as server:
        attempt = desk.begin("claude-code", server, recording=recording, isolation=isolation,
                             shelf=Shelf() if stored else NoShelf(), options={"wait_seconds": 0})  # fmt: skip
        attempt.until(lambda: not recording.outcomes if stored else "not suspended" in recording.log)
        attempt.job.give([Input(number=1, text="Blue.")])
        told = attempt.ends()

        assert "Blue." in str(server.asked[-1])
    assert (told.status, told.reason) == ("succeeded", None)
    assert [type(one) for one in recording.entries if isinstance(one, Waiting | Resumed)] == [Waiting, Resumed]


def test_question_as_the_last_word_fails_where_nothing_can_be_stored(desk: Desk) -> None:  # noqa: F811
    """There is nothing to resume then, and the task says what was asked."""
    with ModelServer([Say(QUESTION)]) as server:
        attempt = desk.begin("claude-code", server, shelf=NoShelf(), options={"wait_seconds": 0})
        told = attempt.ends()

    assert (told.status, told.reason) == ("failed", "AgentGaveUp")
    assert QUESTION in str(told.message)


def test_answer_in_time_suspends_at_once(desk: Desk) -> None:  # noqa: F811
    """A coding agent that has ended with its question is not waited for any longer."""
    with ModelServer([Say(QUESTION)]) as server:
        attempt = desk.begin("claude-code", server, options={"wait_seconds": 3600})
        attempt.until(lambda: attempt.recording.told().questions)
        attempt.job.give([Input(number=1, text="Blue.")])
        entry = suspended(attempt)

    assert (entry.input_acknowledged, entry.over) == (0, True)


@pytest.mark.parametrize("by_tool", [True, False], ids=["tool", "last-word"])
def test_cancel_ends_what_waits_for_a_person(desk: Desk, by_tool: bool) -> None:  # noqa: F811
    """It is cancelled, and not suspended."""
    asks = tool("claude-code", "ask_human", question=QUESTION) if by_tool else Say(QUESTION)
    with ModelServer([asks]) as server:
        attempt = desk.begin("claude-code", server, options={"wait_seconds": 3600})
        attempt.until(lambda: attempt.recording.told().questions)
        attempt.job.stop()
        told = attempt.ends()

    assert told.status == "cancelled"
    assert not [one for one in attempt.recording.entries if isinstance(one, Suspended)]


def test_waiting_for_a_person_does_not_count_towards_the_deadline(desk: Desk) -> None:  # noqa: F811
    """A question may stand longer than the attempt may take; the deadline is later by as much, also on record."""
    asks = tool("claude-code", "ask_human", question=QUESTION)
    with ModelServer([asks, SHELL["claude-code"]("cat"), Say("Done.")]) as server:
        attempt = desk.begin("claude-code", server, options={"wait_seconds": 3600}, timeout_seconds=12)
        attempt.until(lambda: attempt.recording.told().questions)
        first = attempt.job._dir.load()
        assert first is not None
        attempt.until(lambda: time.time() > first.deadline_at + 1)
        attempt.job.give([Input(number=1, text="Blue.")])
        attempt.until(lambda: len(server.asked) > 1 or attempt.job.ended.is_set())

        def later() -> bool:
            now = attempt.job._dir.load()
            return now is not None and now.deadline_at > first.deadline_at

        assert not attempt.job.ended.is_set()
        attempt.until(later)
        attempt.job.stop()
        attempt.ends()


def test_limits_count_all_attempts_of_a_session(desk: Desk) -> None:  # noqa: F811
    """A question does not begin a budget anew; each attempt's own usage stays its own."""
    shelf = Shelf()
    with ModelServer(
        [SHELL["claude-code"]("true"), Say(QUESTION), SHELL["claude-code"]("true"), Say("Done.")]
    ) as server:
        options = {"wait_seconds": 0, "max_tokens": 3 * sum(USAGE.values())}
        first = desk.begin("claude-code", server, shelf=shelf, options=options)
        suspended(first)
        second = answered(desk, "claude-code", server, first, shelf, options=options)
        told = second.ends()

    assert (told.status, told.reason) == ("failed", "BudgetExceeded")
    (ended,) = (one for one in second.recording.entries if isinstance(one, Ended))
    assert ended.usage["turns"] == 1


def test_session_that_is_gone_is_said(desk: Desk) -> None:  # noqa: F811
    """Nothing begins anew unasked."""
    with ModelServer([Say(QUESTION), Say("Done.")]) as server:
        first = desk.begin("claude-code", server, options={"wait_seconds": 0})
        suspended(first)
        told = answered(desk, "claude-code", server, first, Shelf()).ends()

        assert len(server.asked) == 1
    assert (told.status, told.reason) == ("failed", "SessionMissing")


@pytest.mark.parametrize("name", ["claude-code", "codex"])
@pytest.mark.parametrize(
    "limit",
    [Fail(429, "rate_limit_error", "slow down", {"retry-after": "3600"}), Fail(529, "overloaded_error", "Overloaded")],
    ids=["limit", "overloaded"],
)
def test_attempt_that_met_a_limit_is_resumed(desk: Desk, name: str, limit: Fail) -> None:  # noqa: F811
    """What it has done is not done again, and it knows what it was asked."""
    if limit.status == 529 and name == "claude-code":
        pytest.skip("it tries for minutes before it gives up")
    shelf = Shelf()
    with ModelServer([SHELL[name](MADE), limit]) as server:
        first = desk.begin(name, server, shelf=shelf, prompt="Paint the shed.", result_branch="result")
        first.ends()
        (ended,) = (one for one in first.recording.entries if isinstance(one, Ended))
        assert ended.reason in ("ModelRateLimited", "ModelOverloaded")
        assert ended.granted is not None
        server.steps += [SHELL[name](SEEN), Say("Done.")]
        server.skip_to(len(server.steps) - 2)

        second = desk.begin(name, server, shelf=shelf, task=first.specification.task, attempt=2,
                            resume=Resume(attempt=1), result_branch="result")  # fmt: skip
        told = second.ends()

        assert told.status == "succeeded", (told.message, told.log)
        assert "Paint the shed." in str(server.asked[-1])
        assert "You were interrupted" in str(server.asked[-1])
    assert {"  │ one", "  │ two"} <= set(told.log.splitlines())


def test_next_task_goes_on_with_the_session(desk: Desk) -> None:  # noqa: F811
    """Of the task before, from the branch that it pushed; without a stored session it is told what was said."""
    shelf = Shelf()
    with ModelServer([SHELL["claude-code"](MADE), Say("Done."), SHELL["claude-code"](SEEN), Say("Again.")]) as server:
        first = desk.begin("claude-code", server, shelf=shelf, prompt="Paint it.", result_branch="result")
        first.ends()
        (ended,) = (one for one in first.recording.entries if isinstance(one, Ended))
        assert (ended.status, ended.granted is not None) == ("succeeded", True)
        resume = Resume(task=first.specification.task, attempt=1, answers=["Now the door."])
        repository = RepositoryRef(url=first.specification.repository.url, ref="result")
        more: dict[str, Any] = {"resume": resume, "repository": repository, "prompt": "All as text."}
        second = desk.begin("claude-code", server, shelf=shelf, **more)
        told = second.ends()

        assert told.status == "succeeded", (told.message, told.log)
        assert "Paint it." in str(server.asked[-1])
        assert "Now the door." in str(server.asked[-1])
        assert "All as text." not in str(server.asked[-1])
        assert "  │ two" in told.log.splitlines()
        third = desk.begin("claude-code", server, **more)
        assert third.ends().status == "succeeded"
        assert "All as text." in str(server.asked[-1])
        assert "Paint it." not in str(server.asked[-1])
