"""A real mongod for tests, on a free port; it can be killed and started again."""

from __future__ import annotations

import ctypes
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from keruta.local import mongod
from tests.support.ports import free_port

MEMORY_BYTES = 3 * 1024**3  # several times what a run leaves in its database


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def in_memory(otherwise: Path) -> Path:
    """Return a directory in memory, where there is room: what is thrown away need not wait for a disk."""
    memory = Path("/dev/shm")
    try:
        roomy = shutil.disk_usage(memory).free > MEMORY_BYTES
    except OSError:
        roomy = False
    return Path(tempfile.mkdtemp(prefix="keruta-mongod-", dir=memory)) if roomy else otherwise


class Mongod:
    """A mongod on a free port, or, where a port is given, the one that somebody else has started there."""

    def __init__(self, directory: Path, port: int = 0) -> None:
        self._directory = directory
        self.port = port or free_port()
        self.url = mongod.url(self.port)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Mongod:
        command = mongod.command(mongod.find(), self._directory / "db", self.port)
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=_die_with_parent)
        process = self._process
        mongod.await_primary(self.port, lambda: process.poll() is None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End it at once, as a crash does; enter it again to start it anew."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
