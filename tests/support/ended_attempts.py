"""Attempts whose script has ended: what their agent makes of the workspace, and reports."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from agent.attempt.attempt import Job
from agent.attempt.context import World
from agent.attempt.credentials import Opener
from agent.attempt.directory import AttemptFile, JobDir
from agent.runners.process.script import ProcessScript
from agent.settings import WorkerSettings
from keruta.domain.reports import Ended
from keruta.domain.repository import DEFAULT_TRANSPORTS
from keruta.domain.specification import Specification
from tests.support.attempts import Recording
from tests.support.workspaces import Workspace


class EndedScript(ProcessScript):
    """A script that ran before."""

    def take_up(self) -> bool:
        return True

    def wait(self, seconds: float) -> bool:
        return True

    def sweep(self) -> int:
        return 0


def end_of(
    root: Path, specification: Specification, script: str | None = None, *, exit_codes: str = "script 0\n",
    reporting: Recording | None = None, cancel: Callable[[Job], None] = lambda _: None, grace_seconds: float = 10.0,
) -> Ended:  # fmt: skip
    """Return the end that an attempt reports.

    Args:
        root: has the agent's directories; `results` among them.
        script: what was done in a checkout of the repository; None for an attempt that has no checkout.
        cancel: called before the attempt goes on, with it.
    """
    directory = JobDir.of(root / "jobs", specification)
    commit = specification.kept_work.commit if specification.kept_work is not None else ""
    if script is not None:
        workspace = Workspace(root / f"checked-out-{specification.attempt}", specification.repository.url)
        commit = workspace.check_out(paths=tuple(specification.repository.paths))
    directory.make(AttemptFile(specification=specification, deadline_at=time.time() + 60, commit=commit))
    if script is not None:
        workspace.run(script)
        shutil.move(workspace.path, directory.workspace)
        shutil.copy2(workspace.root / "index", directory.root / "index")
    directory.execution("boot")
    directory.let_start()
    (directory.control / "exit").write_text(exit_codes)
    (directory.control / "done").touch()
    recording = reporting or Recording()
    transports = DEFAULT_TRANSPORTS | {"file"}
    world = World(
        settings=WorkerSettings(
            results_dir=root / "results", worker_dir=root, transports=transports, grace_seconds=grace_seconds
        ),
        reporting=recording,
        asking=None,  # type: ignore[arg-type]  nothing is asked of it
        opener=Opener(root / "no-key", root),
        script=lambda job, env: EndedScript(job, env, None),
        boot="next",
    )
    job = Job(world, directory, specification)
    cancel(job)
    job.run()
    end = recording.entries[-1]
    assert isinstance(end, Ended)
    return end
