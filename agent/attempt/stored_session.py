"""A coding agent's session, stored with keruta when its attempt ends and put back by the attempt that resumes it.

What is stored is sealed here, with a key that keruta gives to this attempt alone; the next attempt gets it with its
specification. So nobody else can read it, nor put another in its place.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from agent.attempt.context import World
from agent.attempt.directory import JobDir
from agent.attempt.repository import AttemptRepository
from agent.attempt.script_environment import new_file
from agent.attempt.session_archive import (
    BYTES_MOST,
    MANIFEST,
    WORK,
    Manifest,
    UnsafeArchiveError,
    read_archive,
    session_files,
    write_archive,
)
from agent.coding_agents.adapter import Adapter
from keruta import structs
from keruta.adapters.git.command import QUIET, Git
from keruta.adapters.sealed_stream import UnsealableError, seal, unseal
from keruta.domain.messages import message
from keruta.domain.naming import attempt_id
from keruta.domain.repository import branch_fault
from keruta.domain.specification import SnapshotKeys, Specification
from keruta.errors import PhaseError

RESTORED = "restored"


class StoredSession:
    """One attempt's: the session that it resumes, and the one that it leaves."""

    def __init__(
        self, world: World, directory: JobDir, specification: Specification, repository: AttemptRepository
    ) -> None:
        self._world, self._dir, self._spec, self._repository = world, directory, specification, repository

    def beside(self, name: str) -> Path:
        """Return a path in the agent's own directory."""
        return self._dir.root / name

    # ------------------------------------------------------------ leaving

    def store(self, manifest: Manifest, adapter: Adapter, work: Path | None) -> None:
        """Store the session's files and the work that is not pushed.

        Raises:
            PhaseError: keruta did not take it.
            OSError, TooLargeError: it can't be read whole.
        """
        keys = self._keys()
        patterns = adapter.session_files(manifest.session)
        with self._private() as directory:
            plain, sealed = directory / "archive", directory / "sealed"
            with new_file(plain) as target:
                write_archive(target, manifest, self._dir.home, adapter.sessions, patterns, work)
            with plain.open("rb") as source, new_file(sealed) as target:
                seal(source, target, keys.own, attempt_id(self._spec.task, self._spec.attempt))
            self._world.asking.store_snapshot(self._spec.task, self._spec.attempt, sealed)

    # ------------------------------------------------------------ resuming

    def fetch(self) -> Manifest:
        """Get the session that this attempt resumes, checked, into a directory of the agent's. Raises PhaseError."""
        resumed, target = self._spec.resumed_attempt, self._dir.root / RESTORED
        keys = self._keys()
        if resumed is None or keys.resumed is None:
            raise PhaseError("SessionMissing", message("session_missing"))
        sealed = self._world.asking.snapshot(self._spec.task, self._spec.attempt)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(mode=0o700)
        try:
            with self._private() as directory, new_file(directory / "archive") as plain:
                unseal(io.BytesIO(sealed), plain, keys.resumed, resumed, 2 * BYTES_MOST)
                plain.flush()
                with (directory / "archive").open("rb") as source:
                    return read_archive(source, target)
        except (UnsealableError, UnsafeArchiveError) as error:
            shutil.rmtree(target, ignore_errors=True)
            raise PhaseError("SessionMissing", message("session_missing")) from error

    def fetched(self) -> Manifest | None:
        """Return the manifest of what `fetch` got, also after a restart of this agent."""
        try:
            return structs.from_json((self._dir.root / RESTORED / MANIFEST).read_bytes(), type=Manifest)
        except (OSError, msgspec.DecodeError):
            return None

    def put_files(self, adapter: Adapter, mode: int) -> None:
        """Put the session's files into the home, where no script has been yet. A file that is there already stays."""
        workspace = self._dir.seen_at(self._world.script_root).workspace
        for path, source in session_files(self._dir.root / RESTORED):
            target = self._dir.home / adapter.session_place(path, workspace)
            missing = [one for one in target.parents if not one.exists() and one.is_relative_to(self._dir.home)]
            for directory in reversed(missing):
                directory.mkdir(mode=mode)
            try:
                with new_file(target) as file, source.open("rb") as content:
                    shutil.copyfileobj(content, file)
            except FileExistsError:
                continue

    def put_work(self, manifest: Manifest, stop: threading.Event, deadline_at: float) -> None:
        """Put the work back into the workspace: its commits, and what was not committed as uncommitted changes.

        Raises:
            PhaseError, Stopped.
        """
        bundle = self._dir.root / RESTORED / WORK
        if not bundle.exists() or manifest.work is None:
            return
        with self._repository.opened("read") as env:
            git = Git(self._dir.workspace, env, stop, time.monotonic() + deadline_at - time.time())
            _put(git, bundle, manifest)

    # ------------------------------------------------------------ parts

    def _keys(self) -> SnapshotKeys:
        fresh = self._world.asking.specification(self._spec.task, self._spec.attempt)
        if fresh.snapshot_keys is None:
            raise PhaseError("SessionMissing", message("session_missing"))
        return fresh.snapshot_keys

    @contextmanager
    def _private(self) -> Iterator[Path]:
        directory = Path(tempfile.mkdtemp(prefix="session-", dir=self._dir.root))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _put(git: Git, bundle: Path, manifest: Manifest) -> None:
    def run(*words: str) -> None:
        git(*words, reason="WorkspaceFailed")

    assert manifest.work is not None
    run("bundle", "unbundle", str(bundle))
    run(*QUIET, "checkout", "-q", "--detach", manifest.work)
    branch = manifest.branch
    if branch is not None and (not branch.startswith("refs/heads/") or branch_fault(branch[len("refs/heads/") :])):
        branch = None
    if manifest.head is None:  # a branch without a commit: everything is uncommitted
        run("symbolic-ref", "HEAD", branch or "refs/heads/main")
        run("read-tree", "--empty")
        return
    if branch is not None:
        run("update-ref", branch, manifest.head)
        run("symbolic-ref", "HEAD", branch)
    else:
        run("update-ref", "--no-deref", "HEAD", manifest.head)
    run("reset", "-q")
    for name, commit in safe_branches(manifest.others).items():
        run("update-ref", name, commit)


def safe_branches(others: Mapping[str, str]) -> dict[str, str]:
    """Return the branches, by their full names, that may be made in a workspace."""
    prefix = "refs/heads/"
    return {
        name: commit
        for name, commit in others.items()
        if name.startswith(prefix) and branch_fault(name[len(prefix) :]) is None
    }
