"""One configuration for all figures of a run: a whole keruta, a Git server, and a repository of 120 files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import psutil

from tests.support.repositories import make_repository
from tests.support.system import RunningSystem

ROOT = Path(__file__).parents[1]
SCRIPT = "".join(f'echo "line {n}: $(({n} * 7)) of a script that does next to nothing"\n' for n in range(20))


class Machine:
    """The machine that is measured.

    Args:
        directory: on tmpfs, for the tasks' directories of both sides; the database is on the machine's disk.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = {"KERUTA_WORKER_SLOTS": "2", "KERUTA_WORKER_DIR": str(directory / "worker")}
        home = Path(os.environ.get("TMPDIR", "/var/tmp")) / f"keruta-bench-{os.getpid()}"
        self.system = RunningSystem(home, self.settings)
        self._git: subprocess.Popen[bytes] | None = None
        self.repository = ""
        self.local_repository = f"file://{directory}/git/a.git"

    def __enter__(self) -> Machine:
        git = self.directory / "git"
        git.mkdir()
        files: dict[str, str | bytes] = {f"src/d{n % 8}/file{n}.txt": f"content {n}\n" * 60 for n in range(120)}
        make_repository(git / "a.git", files)
        self._git = subprocess.Popen(
            [sys.executable, "-m", "bench.gitserver", str(git)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert self._git.stdout is not None
        self.repository = self._git.stdout.readline().decode().strip() + "/a.git"
        self.system.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import shutil

        self.system.__exit__(kind, error, trace)
        assert self._git is not None
        self._git.terminate()
        self._git.communicate()
        shutil.rmtree(self.system.state.root, ignore_errors=True)
        self.system.log.unlink(missing_ok=True)

    def cpu_seconds(self, *, with_system: bool = True) -> float:
        """CPU of all processes so far, with the children that they have waited for."""
        total = 0.0
        for process in self.processes(with_system=with_system):
            try:
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
            except psutil.NoSuchProcess:
                continue
        return total

    def processes(self, *, with_system: bool = True) -> list[psutil.Process]:
        """The Git server, and keruta's processes."""
        assert self._git is not None
        return [psutil.Process(self._git.pid), *(self.system.processes() if with_system else ())]

    def settle(self) -> None:
        """Waits until nothing moves any more."""
        before = self.cpu_seconds()
        for _ in range(20):
            time.sleep(1)
            now = self.cpu_seconds()
            if now - before < 0.05:
                return
            before = now
