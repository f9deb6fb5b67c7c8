"""A worker that follows another finds its jobs' directories, and says what is true of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from agent.attempt.attempt import Job
from agent.attempt.context import World
from agent.attempt.credentials import Opener
from agent.attempt.directory import AttemptFile, JobDir
from agent.runners.process.script import ProcessScript
from agent.settings import WorkerSettings
from keruta.domain.naming import new_id
from keruta.domain.reports import AnyEntry, Ended, Lost
from keruta.domain.specification import Specification
from keruta.domain.task import RepositoryRef
from tests.support.attempts import Recording


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
