"""A worker that follows another finds its jobs' directories, and says what is true of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.attempt.attempt import Job
from agent.attempt.context import World
from agent.attempt.credentials import Opener
from agent.attempt.directory import AttemptFile, JobDir
from agent.runners.process.runner import ProcessJobs
from agent.runners.process.script import ProcessScript
from agent.settings import WorkerSettings
from keruta.domain.naming import new_id
from keruta.domain.reports import AnyEntry, Assigned, Ended, Lost, Outcome, Running
from keruta.domain.specification import Specification
from keruta.domain.task import RepositoryRef
from tests.support.attempts import Ask, Attempt, Recording


@pytest.fixture
def left(tmp_path: Path) -> JobDir:
    """The directory of a job that was started by a worker that is gone."""
    here = RepositoryRef(url="https://example.com/a.git")
    specification = Specification(task=new_id(), attempt=1, repository=here, script="true")
    directory = JobDir.of(tmp_path / "jobs", specification)
    directory.make(AttemptFile(specification=specification, deadline_at=time.time() + 60, commit="c" * 40))
    directory.workspace.mkdir()
    directory.execution("boot")
    directory.let_start()
    (directory.root / "process").write_text("4194304 1")  # a process that is no more
    return directory


def take_up(left: JobDir, tmp_path: Path) -> AnyEntry:
    reporting = Recording()
    world = World(
        settings=WorkerSettings(results_dir=tmp_path / "results", worker_dir=tmp_path),
        reporting=reporting,
        asking=None,  # type: ignore[arg-type]  nothing is asked of it
        opener=Opener(tmp_path / "no-key", tmp_path),
        script=lambda job, env: ProcessScript(job, env, None),
        boot="next",
    )
    attempt = left.load()
    assert attempt is not None
    Job(world, left, attempt.specification).run()
    return reporting.entries[-1]


class StoppedWhileAsking(Recording):
    """keruta does not answer the question whether the script may start before the attempt has to stop."""

    def __init__(self, stop: Callable[[Job], None]) -> None:
        super().__init__()
        self.job: Job | None = None
        self.made = threading.Event()
        self._stop = stop

    def ask(self, entry: AnyEntry, stop: threading.Event) -> Outcome | None:
        if not isinstance(entry, Running):
            return super().ask(entry, stop)
        self.entries.append(entry)
        assert self.made.wait(10)
        assert self.job is not None
        self._stop(self.job)
        return None


@pytest.mark.parametrize(("stop", "status"), [(Job.shut_down, "failed"), (Job.stop, "cancelled")])
def test_an_attempt_that_stops_while_its_start_is_asked_for_says_that_nothing_was_started(
    stop: Callable[[Job], None], status: str, tmp_path: Path, repository: str
) -> None:
    """By the execution that it asked for, since the start may be on record by then."""
    recording = StoppedWhileAsking(stop)
    attempt = Attempt(Ask(state=str(tmp_path / "state"), repository=repository), recording)
    recording.job = attempt.job
    recording.made.set()
    attempt.ends()
    (asked,) = [one for one in recording.entries if isinstance(one, Running)]
    end = recording.entries[-1]
    assert isinstance(end, Ended)
    assert (end.status, end.execution, end.never_started) == (status, asked.execution, True)


def test_a_script_that_is_gone_without_a_word_is_lost(left: JobDir, tmp_path: Path) -> None:
    """Nobody can say how it ended; nothing is started again."""
    assert isinstance(take_up(left, tmp_path), Lost)


def test_a_script_that_had_ended_has_ended(left: JobDir, tmp_path: Path) -> None:
    (left.control / "exit").write_text("script 3\n")
    (left.control / "done").touch()

    end = take_up(left, tmp_path)

    assert isinstance(end, Ended)
    assert (end.status, end.reason, end.exit_code, end.commit) == ("failed", "ScriptFailed", 3, "c" * 40)


def test_a_script_that_was_told_to_end_and_is_gone_has_ended_for_that(left: JobDir, tmp_path: Path) -> None:
    """The worker that told it went down before it could say so."""
    left.note_cause("WorkerStopped")

    end = take_up(left, tmp_path)

    assert isinstance(end, Ended)
    assert (end.status, end.reason) == ("failed", "WorkerStopped")
    assert not left.root.exists()


@pytest.mark.parametrize(
    ("before", "known"),
    [
        ("asked for the start", True),
        ("started the script", False),
        ("asked, before the machine's last boot", False),
        ("asked for another start", False),
    ],
)
def test_a_start_that_was_recorded_and_not_answered_is_told_as_such_by_the_next_worker(
    before: str, known: bool, tmp_path: Path
) -> None:
    """Nothing ran then. Where that is not certain, the end is not known."""
    here = RepositoryRef(url="https://example.com/a.git")
    specification = Specification(task=new_id(), attempt=1, repository=here, script="true")
    directory = JobDir.of(tmp_path / "jobs", specification)
    directory.make(AttemptFile(specification=specification, deadline_at=time.time() + 60, commit="c" * 40))
    asked = directory.execution("boot")
    if before == "started the script":
        directory.let_start()
    if before == "asked, before the machine's last boot":
        (directory.root / "machine").write_text("another\n")
    sent: list[AnyEntry] = []
    settings = WorkerSettings(results_dir=tmp_path / "results", worker_dir=tmp_path, isolation="none")
    jobs = ProcessJobs(settings, Recording(), None, sent.append)  # type: ignore[arg-type]  nothing is asked of it
    if before == "started the script":
        directory.remove()  # as on a machine whose disk was replaced
    else:
        assert list(jobs.start()) == []
    execution = "boot.other" if before == "asked for another start" else asked

    jobs.begin(Assigned(task=specification.task, attempt=1, status="running", execution=execution,
                        specification=specification))  # fmt: skip

    (end,) = sent
    if known:
        assert isinstance(end, Ended)
        assert (end.status, end.reason, end.execution, end.never_started) == ("failed", "WorkerStopped", asked, True)
    else:
        assert isinstance(end, Lost)
