"""A script that goes without an exit code, as one that is killed for its memory in a Pod: what it left is kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from agent.attempt.attempt import Job
from agent.attempt.context import World
from agent.attempt.credentials import Opener
from agent.attempt.directory import AttemptFile, JobDir
from agent.runners.kubernetes.sidecar import ContainerScript
from agent.settings import WorkerSettings
from keruta import structs
from keruta.domain.naming import new_id
from keruta.domain.reports import AnyEntry, Assigned, Ended, Left, LogChunk, Outcome, Report, ReportAnswer
from keruta.domain.specification import Specification
from keruta.domain.task import RepositoryRef
from tests.support.attempts import Recording
from tests.support.repositories import git, make_repository
from tests.support.serving import Quiet, Serving


class Pod:
    """A Pod's agent, whose script was started and changed files in a clone."""

    def __init__(self, root: Path) -> None:
        self.root, self.origin = root, root / "a.git"
        base = make_repository(self.origin)
        repository = RepositoryRef(url=self.origin.as_uri())
        self.specification = Specification(
            task=new_id(), attempt=1, repository=repository, script="true", result_branch="result"
        )
        self.directory = JobDir(root=root / "agent", shared=root / "job")
        for mount in (root / "agent", root / "job"):
            mount.mkdir()
        self.directory.make_shared()
        attempt = AttemptFile(specification=self.specification, deadline_at=time.time() + 60, commit=base)
        self.directory.make(attempt)
        git(root, "clone", "-q", self.origin.as_uri(), str(self.directory.workspace))
        (self.directory.workspace / "new").write_text("work of an hour\n")
        (self.directory.artifacts / "report.txt").write_text("half of it\n")
        self.directory.execution("pod")
        self.directory.let_start()

    def ends(self) -> list[AnyEntry]:
        """The Pod is over: what its agent says, but for the log."""
        recording, over = Recording(), threading.Event()
        over.set()
        world = World(
            settings=WorkerSettings(
                results_dir=self.root / "results", worker_dir=self.root, transports=frozenset({"file"})
            ),
            reporting=recording,
            asking=None,  # type: ignore[arg-type]  nothing is asked of it
            opener=Opener(self.root / "no-key", self.root),
            script=lambda job, env: ContainerScript(job, env, over, 0.0, lambda: None),
            boot="pod",
            isolation="pod",
            in_pod=True,
        )
        Job(world, self.directory, self.specification).run()
        self.log = recording.log
        return [entry for entry in recording.entries if not isinstance(entry, LogChunk)]


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def test_the_work_of_a_script_that_was_killed_is_kept(pod: Pod) -> None:
    """Its files, and a bundle that applies; the end itself is told by the worker."""
    (left,) = pod.ends()

    assert isinstance(left, Left)
    assert left.execution == pod.directory.execution("pod")
    assert {one.path for one in left.artifacts} >= {"report.txt", "result.bundle", "result.patch"}
    stored = pod.root / "results" / pod.specification.task / "1"
    assert (stored / "report.txt").read_text() == "half of it\n"
    git(pod.root, "clone", "-q", pod.origin.as_uri(), "other")
    git(pod.root / "other", "fetch", "-q", str(stored / "result.bundle"), "result")
    assert git(pod.root / "other", "show", "FETCH_HEAD:new") == "work of an hour"


def test_a_script_that_ended_with_its_pod_pushes_nothing(pod: Pod) -> None:
    """Whatever exit code is there: the Pod was taken away, and its work is kept all the same."""
    (pod.directory.control / "exit").write_text("script 0\n")
    (pod.directory.control / "terminated").touch()
    (pod.directory.control / "done").touch()

    (left,) = pod.ends()

    assert isinstance(left, Left)
    assert "result.bundle" in {one.path for one in left.artifacts}
    assert git(pod.origin, "branch", "--list", "result") == ""


def test_a_script_that_ended_by_itself_is_told_of_by_its_agent(pod: Pod) -> None:
    (pod.directory.control / "exit").write_text("script 3\n")
    (pod.directory.control / "done").touch()

    (end,) = pod.ends()

    assert isinstance(end, Ended)
    assert (end.status, end.exit_code) == ("failed", 3)


def test_work_that_cannot_be_read_is_told_in_the_log(pod: Pod) -> None:
    """And the artifacts are kept all the same."""
    shutil.rmtree(pod.directory.workspace)
    pod.directory.workspace.write_text("no directory")

    (left,) = pod.ends()

    assert isinstance(left, Left)
    assert "report.txt" in {one.path for one in left.artifacts}
    assert "could not be kept" in pod.log


def test_the_files_of_a_workspace_without_repository_are_kept(pod: Pod) -> None:
    """As one commit on the one that was checked out."""
    shutil.rmtree(pod.directory.workspace / ".git")

    (left,) = pod.ends()

    assert isinstance(left, Left)
    assert {"result.bundle", "result.patch"} <= {one.path for one in left.artifacts}


class Server(Serving):
    """keruta, as far as it takes reports: each entry is accepted, and the attempt stays assigned."""

    def __init__(self, specification: Specification) -> None:
        self.entries: list[AnyEntry] = []
        self.asked: list[str] = []
        server = self
        assigned = Assigned(task=specification.task, attempt=specification.attempt, status="running")

        class Handler(Quiet):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                self.answer(503)

            def do_POST(self) -> None:
                report = structs.from_json(self.body(), type=Report)
                server.entries += report.entries
                outcomes = [Outcome(accepted=True)] * len(report.entries)
                self.answer(200, msgspec.json.encode(ReportAnswer(outcomes=outcomes, assigned=[assigned])))

        super().__init__(Handler)


def test_an_agent_that_is_started_again_while_its_pod_ends_tells_the_scripts_end(pod: Pod, tmp_path: Path) -> None:
    """Told to end before it has begun: what its script wrote down is reported, without asking for anything first."""
    (pod.directory.control / "exit").write_text("script 0\n")
    (pod.directory.control / "done").touch()
    (tmp_path / "token").write_text("a-token")
    specification = pod.specification
    with Server(specification) as server:
        env = {
            **os.environ,
            "KERUTA_AGENT_URL": server.url,
            "KERUTA_ATTEMPT": f"{specification.task}-{specification.attempt}",
            "KERUTA_ATTEMPT_TOKEN_FILE": str(tmp_path / "token"),
            "KERUTA_POD_UID": "pod",
            "KERUTA_JOB_DIR": str(pod.root / "job"),
            "KERUTA_AGENT_DIR": str(pod.root / "agent"),
            "KERUTA_RESULTS_DIR": str(pod.root / "results"),
            "KERUTA_WORKER_DIR": str(pod.root),
            "KERUTA_TRANSPORTS": "file",
            "KERUTA_CLONE_CACHE": "0",
            "HOME": str(tmp_path),
        }
        with subprocess.Popen([sys.executable, "-m", "agent", "run"], env=env, stderr=subprocess.PIPE) as agent:
            try:
                while not _handles_sigterm(agent.pid):
                    assert agent.poll() is None, agent.stderr and agent.stderr.read()
                agent.send_signal(signal.SIGTERM)
                said = agent.communicate(timeout=60)[1].decode()
            finally:
                agent.kill()

    ends = [entry for entry in server.entries if isinstance(entry, Ended)]
    assert [(end.status, end.exit_code) for end in ends] == [("succeeded", 0)], said
    assert server.asked == []
    assert git(pod.origin, "show", "result:new") == "work of an hour"


def _handles_sigterm(pid: int) -> bool:
    """Return whether that process catches SIGTERM. Source: proc_pid_status(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:")), 0)
    return bool(caught & 1 << (signal.SIGTERM - 1))
