"""A whole keruta on this machine, for tests: `keruta up` as a user runs it, in a directory of the test's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import psutil
import pymongo

from keruta.client import ApiError, Client
from keruta.domain.task import TaskView
from keruta.local.state import Running, State
from tests.support.processes import command_lines, environment
from tests.support.waiting import reached

ENDED = ("succeeded", "failed", "cancelled")
TRACEBACK = "Traceback (most recent call last)"
# Tracebacks that are meant to be in a log: words of each, with the reason.
ALLOWED_TRACEBACKS: Mapping[str, str] = {}
KERUTA = [sys.executable, "-c", "from keruta.cli.main import main; main()"]
T = TypeVar("T")


def eventually(check: Callable[[], T | None], seconds: float = 30, what: str = "it", *, pause: float = 0.05) -> T:
    """Waits until a check gives something true, with pauses of so many seconds between; fails after the time."""
    until = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"{what} did not come about within {seconds} s; last: {found!r}")
        time.sleep(pause)


def tracebacks(logs: Iterable[Path]) -> list[str]:
    """Return each traceback of these logs that is not allowed: its file, and 3,000 characters from where it begins."""
    found = []
    for path in logs:
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        for part in text.split(TRACEBACK)[1:]:
            if not any(words in part for words in ALLOWED_TRACEBACKS):
                found.append(f"{path.name}: {TRACEBACK}{part[:3000]}")
    return found


class RunningSystem:
    """`keruta up`, started and ended by the test."""

    def __init__(self, home: Path, environ: Mapping[str, str] | None = None, manifests: Path | None = None) -> None:
        self._manifests = ["--manifests", str(manifests)] if manifests else []
        self.state = State(root=home)
        self._environ = {**os.environ, **(environ or {})}
        # As for a user: what is started again and again is compiled once.
        self._environ.pop("PYTHONDONTWRITEBYTECODE", None)
        self._process: subprocess.Popen[bytes] | None = None
        self.log = home.parent / f"{home.name}.up.log"

    def start(self) -> RunningSystem:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*KERUTA, "up", "--home", str(self.state.root), *self._manifests],
                env=self._environ,
                stdout=log,
                stderr=log,
            )
        process = self._process

        def up() -> Running | None:
            if process.poll() is not None:
                raise AssertionError(f"keruta up ended: {self.log.read_text()}")
            running = self.state.running()
            return running if running and running.pid == process.pid else None

        self.running = eventually(up, 120, "keruta up")
        self.client = Client(self.running.url, self.running.token)
        return self

    def end(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def kill_parent(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    __enter__ = start

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        for process in self.processes():
            process.kill()
        if error is None:
            found = tracebacks([self.log, *sorted((self.state.root / "log").glob("*.log"))])
            assert not found, "A process logged a traceback:\n" + "\n".join(found[:5])

    def database_client(self) -> pymongo.MongoClient[dict[str, Any]]:
        """All of its MongoDB, whose key only this user's processes read."""
        port = self.state.ports_in_use()["mongod"]
        credentials: dict[str, Any] = self.state.mongod_access().credentials()
        return pymongo.MongoClient("127.0.0.1", port, directConnection=True, **credentials)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def processes(self) -> list[psutil.Process]:
        """Every process that has this system's directory in its command line or environment."""
        mark = str(self.state.root)
        return [
            process
            for process, line in command_lines()
            if process.pid != os.getpid() and (mark in " ".join(line) or mark in str(environment(process)))
        ]

    def pid_of(self, name: str) -> int:
        running = self.state.running()
        assert running is not None
        return running.processes[name]

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Kills one part, with the server processes that it has forked."""
        pid = self.pid_of(name)
        if how == signal.SIGKILL and name not in ("worker", "mongod", "standin"):
            os.killpg(pid, how)
        else:
            os.kill(pid, how)

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """The command `keruta`, with this system's address and token."""
        env = {**self._environ, "KERUTA_URL": self.running.url, "KERUTA_TOKEN": self.running.token}
        return subprocess.run(
            [*KERUTA, *arguments], env=env, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )

    def submit(self, repository: str, script: str, **more: object) -> str:
        body = {"repository": {"url": repository}, "script": script, **more}

        def once() -> str | None:
            try:
                return self.client.submit(body).id
            except ApiError as error:
                if error.status in (0, 503):
                    return None
                raise

        return eventually(once, 30, "the submit")

    def task(self, task_id: str) -> TaskView | None:
        try:
            return self.client.task(task_id)
        except ApiError as error:
            if error.status in (0, 503):
                return None
            raise

    def ended(self, task_id: str, seconds: float = 60) -> TaskView:
        return self.reaches(task_id, *ENDED, seconds=seconds)

    def reaches(self, task_id: str, *statuses: str, seconds: float = 30) -> TaskView:
        """Waits until a task is in one of these statuses; a failure says where it stands instead."""
        return reached(lambda: self.task(task_id), statuses, seconds=seconds, every_seconds=0.05)

    def text(self, task_id: str) -> str:
        return b"".join(self.client.logs(task_id)).decode("utf-8", "replace")
