"""The result of an attempt: pushed to its branch, or kept as files when it is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.attempt.checkout import three_tries
from agent.attempt.directory import JobDir
from agent.attempt.git_settings import Home
from agent.attempt.kept_work import read_kept_work
from agent.attempt.push import Pushed, Pusher
from agent.attempt.repository import AttemptRepository
from agent.attempt.result_repository import ResultRepository, Work
from agent.attempt.result_stores import ResultStore
from agent.attempt.verdict import Verdict
from agent.coding_agents.known import ADAPTERS
from agent.settings import PUSH_SECONDS
from keruta.adapters.git.command import Git, Interrupted, Stopped
from keruta.domain.messages import message
from keruta.domain.reports import KEPT_WORK
from keruta.domain.specification import KeptWork, Specification
from keruta.domain.task import ResultBranch
from keruta.errors import PhaseError

KEEP_SECONDS = 120.0
REASONS_OF_A_PUSH = frozenset({"PushFailed", "PushRefused", "BranchExists", "BranchRefused", "WorkMissing"})
ARRIVED_SECONDS = 3.0  # for a server's answer to what it has of a push that was ended
RESCUE_SECONDS = 30.0  # of what a Pod has after its SIGTERM, beside the log and the artifacts


class AttemptResult:
    """Reads what the script made, once it has ended; pushes it after a success, keeps it otherwise.

    Args:
        store: where earlier attempts' work is.
        say: writes a line to the log.
        announce: tells keruta of a push before it is made.
        late: set when a push that is still under way is to end: the attempt was cancelled, and its grace is over.
        script_root: where the script finds its directories, if that is not where the agent has them.
    """

    def __init__(
        self, directory: JobDir, specification: Specification, access: AttemptRepository, store: ResultStore, *,
        say: Callable[[str], None], announce: Callable[[str, str], None], late: threading.Event,
        script_root: Path | None = None,
    ) -> None:  # fmt: skip
        self._dir = directory
        seen = directory.seen_at(script_root)
        self._home = Home(path=directory.home, seen=seen.home, workspace_seen=seen.workspace)
        self._spec = specification
        self._access = access
        self._store = store
        self._say = say
        self._announce = announce
        self._late = late
        self.pushed: Pushed | None = None
        self.files: list[Path] = []

    def push_kept(self, verdict: Verdict, kept: KeptWork, target: ResultBranch) -> Verdict:
        """Push what an earlier attempt kept. Return how that attempt had ended, or why this one failed.

        An attempt that only its push had failed has succeeded then. Raises nothing of Git's.
        """
        if verdict.status != "succeeded":
            return verdict
        git, repository = self._opened(kept.commit, PUSH_SECONDS)
        try:
            bundle = self._store.work(kept.attempt, KEPT_WORK)

            def fetch_base(_: Git) -> None:
                three_tries(threading.Event())(lambda: self._fetch_base(repository, git))

            work = read_kept_work(repository, bundle, kept.attempt, fetch_base)
            verdict = self._push(repository, work, target, git, verdict)
        except PhaseError as error:
            return self._failed(verdict, error)
        except Interrupted:
            return self._failed(verdict, _late())
        finally:
            repository.remove()
        if verdict.status != "succeeded" or kept.status == "succeeded" or kept.reason in REASONS_OF_A_PUSH:
            return verdict
        return Verdict(status=kept.status, reason=kept.reason, message=kept.said, exit_code=kept.exit_code)

    def rescue(self, base: str, target: ResultBranch) -> None:
        """Keep the work as files and push nothing: its Pod ends, and time is short. Raises nothing of Git's."""
        git, repository = self._opened(base, RESCUE_SECONDS)
        try:
            try:
                work = self._read(repository, git)
            except PhaseError as error:
                self._say(f"{error.reason}: {error.message}")
                work = self._read_files(repository, git)
            self._keep(repository, work, target, git, git.seconds_left)
        except (PhaseError, Interrupted, OSError) as error:
            self._say(f"the work could not be kept: {error or type(error).__name__}")
        finally:
            repository.remove()

    def stored(self, base: str, target: Path) -> tuple[Work, Path | None]:
        """Return the work as it is now, and the file with its commits, where there are any.

        Raises:
            PhaseError: it can't be read.
            Interrupted: it takes too long.
        """
        git, repository = self._opened(base, KEEP_SECONDS)
        try:
            work = self._read(repository, git)
            return work, repository.bundle(work, target)
        finally:
            repository.remove()

    def finish(self, verdict: Verdict, base: str, target: ResultBranch) -> Verdict:
        """Return the verdict, changed where a success could not be pushed. Raises nothing of Git's.

        A script that is done is pushed even if a cancel comes now, as far as that is done within the grace.
        """
        git, repository = self._opened(base, PUSH_SECONDS)
        try:
            work = self._read(repository, git)
            if verdict.status == "succeeded" and work.head == base and self._spec.coding_agent is not None:
                verdict = self._unchanged(verdict)
            elif verdict.status == "succeeded":
                verdict = self._push(repository, work, target, git, verdict)
            if self.pushed is None:
                self._keep(repository, work, target, git)
        except PhaseError as error:
            verdict = self._failed(verdict, error)
            self._keep_files(repository, target, git)
        except Interrupted:
            verdict = self._failed(verdict, _late())
        finally:
            repository.remove()
        return verdict

    def _keep_files(self, repository: ResultRepository, target: ResultBranch, git: Git) -> None:
        """Keep the files of a workspace whose repository can't be read."""
        try:
            self._keep_as(repository, self._read_files(repository, git), target)
        except (PhaseError, Interrupted, OSError) as error:
            self._say(f"the work could not be kept: {error or type(error).__name__}")

    def _unchanged(self, verdict: Verdict) -> Verdict:
        """A coding agent changed nothing: no branch is pushed that would equal the one that was checked out."""
        assert self._spec.coding_agent is not None
        self._say("the coding agent changed nothing: no branch is pushed")
        if self._spec.coding_agent.no_changes == "succeed":
            return verdict
        said = message("agent_changed_nothing")
        return Verdict(status="failed", reason="NothingChanged", message=said, exit_code=verdict.exit_code)

    def _opened(self, base: str, seconds: float) -> tuple[Git, ResultRepository]:
        git = Git(self._dir.root, {}, threading.Event(), time.monotonic() + seconds)
        repository = ResultRepository(
            self._dir.root / "result", self._dir.workspace, base=base, git=git, index=self._dir.root / "index",
            lfs=self._spec.lfs, say=self._say, excluded=_own_files(self._spec), home=self._home,
        )  # fmt: skip
        return git, repository

    def _read(self, repository: ResultRepository, git: Git, *, files_alone: bool = False) -> Work:
        def fetch_base(_: Git) -> None:
            self._fetch_base(repository, git)

        return repository.read(self._spec.identity, self._message, self._made_at, fetch_base, files_alone=files_alone)

    def _read_files(self, repository: ResultRepository, git: Git) -> Work:
        repository.empty()
        return self._read(repository, git, files_alone=True)

    def _fetch_base(self, repository: ResultRepository, git: Git) -> None:
        with self._access.opened("push") as env:
            opened = repository.over_network(git.with_env(env))
            opened("fetch", "-q", "--depth=1", "--no-tags", "--", self._url, repository.base, reason="PushFailed")

    def _push(
        self, repository: ResultRepository, work: Work, target: ResultBranch, git: Git, verdict: Verdict
    ) -> Verdict:
        ours = [(one.branch, one.commit) for one in self._spec.pushed_earlier]
        try:
            with self._access.opened("push") as env:
                opened = git.with_env(env)
                pusher = Pusher(
                    repository, self._url, opened.until(self._late), lfs=self._spec.lfs, say=self._say,
                    partial=bool(self._spec.repository.paths), announce=self._announce,
                )  # fmt: skip
                try:
                    self.pushed = pusher.push(work, target, ours)
                except Interrupted as interrupted:
                    verdict = self._interrupted(verdict, interrupted, pusher, opened, target)
        except PhaseError as error:
            return self._failed(verdict, error)
        if self.pushed is not None:
            self._say(f"pushed {self.pushed.commit} to {self.pushed.branch}")
        return verdict

    def _interrupted(
        self, verdict: Verdict, interrupted: Interrupted, pusher: Pusher, git: Git, target: ResultBranch
    ) -> Verdict:
        """Ask the server whether it has what was being pushed; what it has is a success."""
        code = "push_cancelled"
        try:
            self.pushed = pusher.arrived(git.within(ARRIVED_SECONDS))
        except (PhaseError, Interrupted):
            code = "push_cancelled_unknown"
        if self.pushed is not None:
            return verdict
        if not isinstance(interrupted, Stopped):
            return self._failed(verdict, _late())
        said = message(code, branch=target.branch)
        self._say(str(said))
        return Verdict(status="cancelled", reason="Cancelled", message=said, exit_code=verdict.exit_code)

    def _keep(
        self, repository: ResultRepository, work: Work, target: ResultBranch, git: Git, seconds: float = KEEP_SECONDS
    ) -> None:
        """The work is in files that are kept with the artifacts; where even that fails, the log says so.

        Commits that can't be kept, as of another branch of which not every file is here, become one.
        """
        repository.git = repository.git.within(seconds)
        try:
            self._keep_as(repository, work, target)
        except PhaseError as error:
            self._say(f"the commits can't be kept, the files are: {error.message}")
            self._keep_files(repository, target, git)
        except (Interrupted, OSError) as error:
            self._say(f"the work could not be kept: {error or type(error).__name__}")

    def _keep_as(self, repository: ResultRepository, work: Work, target: ResultBranch) -> None:
        self.files = repository.keep(work, self._dir.root / "kept", target.branch)
        if self.files:
            self._say("the work is kept among the artifacts: `git fetch result.bundle` takes it into a clone")

    def _failed(self, verdict: Verdict, error: PhaseError) -> Verdict:
        self._say(f"{error.reason}: {error.message}")
        if verdict.status != "succeeded":
            return verdict
        return Verdict(status="failed", reason=error.reason, message=error.message, exit_code=0)

    @property
    def _url(self) -> str:
        return self._spec.repository.url

    @property
    def _message(self) -> str:
        return self._spec.commit_message or f"{self._spec.task}: result\n"

    @property
    def _made_at(self) -> int:
        """Return the time of keruta's own commit, from a file, so that a restarted agent makes the same commit."""
        path = self._dir.root / "result_at"
        try:
            return int(path.read_text())
        except (OSError, ValueError):
            path.write_text(f"{int(time.time())}\n")
            return int(path.read_text())


def _late() -> PhaseError:
    return PhaseError("PushFailed", message("push_timeout", seconds=PUSH_SECONDS))


def _own_files(specification: Specification) -> Sequence[str]:
    """Patterns of a coding agent's own files, which are not pushed, whatever the script did to the workspace's own."""
    options = specification.coding_agent
    adapter = ADAPTERS.get(options.coding_agent or "") if options is not None else None
    return adapter.own_files if adapter is not None else ()
