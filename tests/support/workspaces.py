"""A workspace as a script leaves it, and its result pushed or kept by the code that the agent runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from agent.attempt.checkout import checkout
from agent.attempt.push import ANSWER_SECONDS, Pushed, Pusher
from agent.attempt.result_repository import ResultRepository, Work
from keruta.adapters.git.command import Git
from keruta.adapters.git.credentials import Credential, environment
from keruta.domain.commit_rules import CommitIdentity
from keruta.domain.repository import DEFAULT_TRANSPORTS, Depth
from keruta.domain.task import RepositoryRef, ResultBranch
from tests.support.repositories import ENV

MADE_AT = 1_700_000_000
TRANSPORTS = DEFAULT_TRANSPORTS | {"file"}


class Workspace:
    """One attempt's workspace.

    Args:
        root: an empty directory; the workspace and the agent's own files are made in it.
    """

    def __init__(self, root: Path, url: str, credential: Credential | None = None, *, lfs: bool = False) -> None:
        self.root = root
        self.path = root / "workspace"
        self.url = url
        self.credential = credential
        self.lfs = lfs
        self.base = ""
        self.partial = False
        self.said: list[str] = []
        self.slept: list[float] = []
        self.stop = threading.Event()
        root.mkdir(parents=True, exist_ok=True)

    def git_in(self, directory: Path, env: Mapping[str, str], seconds: float = 120) -> Git:
        return Git(directory, env, self.stop, time.monotonic() + seconds)

    def check_out(
        self, ref: str | None = None, *, submodules: bool = False, paths: tuple[str, ...] = (), depth: Depth = 1
    ) -> str:
        self.partial = bool(paths)
        with environment(self.credential, self.root / "private", url=self.url, transports=TRANSPORTS, own=False) as env:
            self.base = checkout(
                RepositoryRef(url=self.url, ref=ref, submodules=submodules, paths=paths, depth=depth),
                self.path,
                lambda directory: self.git_in(directory, env),
                transports=TRANSPORTS,
                lfs=self.lfs,
            )
        shutil.copy2(self.path / ".git" / "index", self.root / "index")
        return self.base

    def run(self, script: str, **env: str) -> str:
        """Run a script in the workspace and return its output."""
        made = {**ENV, "GIT_ALLOW_PROTOCOL": "file:http:https:ssh", **env}
        done = subprocess.run(
            ["sh", "-euc", script], cwd=self.path, env=made, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout.strip()

    def read(self) -> tuple[ResultRepository, Work]:
        repository = ResultRepository(
            self.root / "result",
            self.path,
            base=self.base,
            git=self.git_in(self.root, {}),
            index=self.root / "index",
            lfs=self.lfs,
            say=self.said.append,
        )
        identity = CommitIdentity(name="Robot", email="robot@example.com")
        return repository, repository.read(identity, "The result\n", MADE_AT)

    def push(
        self,
        branch: str = "result",
        if_exists: str = "fail",
        *,
        ours: Collection[tuple[str, str]] = (),
        credential: Credential | None = None,
        stall_seconds: int = 60,
        answer_seconds: int = ANSWER_SECONDS,
    ) -> Pushed:
        repository, work = self.read()
        target = msgspec.convert({"branch": branch, "if_exists": if_exists}, ResultBranch)
        with environment(
            credential or self.credential, self.root / "private-push", url=self.url, transports=TRANSPORTS, own=False,
            stall_seconds=stall_seconds,
        ) as env:  # fmt: skip
            pusher = Pusher(
                repository,
                self.url,
                self.git_in(self.root, env),
                lfs=self.lfs,
                partial=self.partial,
                say=self.said.append,
                sleep=self.slept.append,
                answer_seconds=answer_seconds,
            )
            pushed = pusher.push(work, target, ours)
        assert pushed is not None
        return pushed

    def keep(self, branch: str = "result") -> list[Path]:
        repository, work = self.read()
        return repository.keep(work, self.root / "kept", branch)


def marker_script(marker: Path) -> str:
    """A command that a hostile configuration would have Git run."""
    return f"touch {os.fspath(marker)}"
