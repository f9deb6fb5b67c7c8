"""A job's directory: all that is known of an attempt on this machine, so that a restarted worker takes it up.

<attempt>/                  0700
  attempt.json              the specification, without secrets, and the deadline
  execution                 the execution's id; made once
  process                   the script's process and when it began
  chunks                    which parts of the log have been cut: a line "sequence offset length system" each
  outputs artifacts/ documents/ workspace/ private/
  control/                  see start.sh
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from keruta.domain.naming import attempt_id, new_id
from keruta.domain.specification import Specification


class AttemptFile(msgspec.Struct, frozen=True, kw_only=True):
    """What `attempt.json` holds. `deadline_at` is Unix time."""

    specification: Specification
    deadline_at: float
    commit: str | None = None


class JobDir(msgspec.Struct, frozen=True, kw_only=True):
    """The paths of one job, and what is on record there.

    Args:
        root: the agent's own.
        shared: in a Pod, the directory that the script's container mounts too, by a group that both have.
    """

    root: Path
    shared: Path | None = None

    @property
    def _open(self) -> Path:
        """Where the script may write; in a Pod that is a volume of its own."""
        return self.shared or self.root

    @property
    def workspace(self) -> Path:
        return self._open / "workspace"

    @property
    def artifacts(self) -> Path:
        return self._open / "artifacts"

    @property
    def outputs(self) -> Path:
        return self.control / "outputs"

    @property
    def documents(self) -> Path:
        return self._open / "documents"

    @property
    def control(self) -> Path:
        return self._open / "control"

    @property
    def output(self) -> Path:
        return self.control / "output"

    @property
    def private(self) -> Path:
        return self.root / "private"

    @classmethod
    def of(cls, parent: Path, specification: Specification) -> JobDir:
        return cls(root=parent / attempt_id(specification.task, specification.attempt))

    def make(self, attempt: AttemptFile) -> None:
        """The directory is there and empty but for its frame; what an unstarted try left behind is gone."""
        if self.shared is None:
            self.remove()
            self.root.mkdir(mode=0o700, parents=True)
            for directory in (self.control, self.artifacts, self.documents):
                directory.mkdir(mode=0o700)
        else:
            self._clear_shared()
        mode = 0o700 if self.shared is None else 0o770
        self.save(attempt)
        for path in (self.output, self.outputs):
            path.touch(mode & 0o660)
        stdin = self.control / "stdin"
        stdin.unlink(missing_ok=True)
        os.mkfifo(stdin, mode & 0o660)

    def make_shared(self) -> None:
        """In a Pod: what the script's container mounts is there before it starts.

        The script may write into these and can't replace them: each is a mount of its own there, and where the agent's
        files lie among the script's, the sticky bit keeps them from being renamed or removed.
        """
        for directory in (self.control, self.workspace, self.artifacts, self.documents):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o770)
        self.control.chmod(0o1770)
        self.documents.chmod(0o750)

    def save(self, attempt: AttemptFile) -> None:
        part = self.root / ".attempt.json"
        bare = msgspec.structs.replace(attempt, specification=attempt.specification.without_tokens())
        part.write_bytes(msgspec.json.encode(bare))
        part.rename(self.root / "attempt.json")

    def _clear_shared(self) -> None:
        """What an agent before this one had begun, in the same Pod, is gone; no script has run yet."""
        self.documents.chmod(0o750)
        for directory in (self.workspace, self.documents):
            for entry in directory.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()

    def load(self) -> AttemptFile | None:
        """What is on record, or None where a crash left nothing to go by."""
        try:
            return msgspec.json.decode((self.root / "attempt.json").read_bytes(), type=AttemptFile)
        except (OSError, msgspec.DecodeError):
            return None

    def execution(self, boot: str) -> str:
        """The execution's id: made on the first call, the same ever after."""
        path = self.root / "execution"
        try:
            return path.read_text()
        except OSError:
            made = f"{boot}.{new_id()}"
            path.write_text(made)
            return made

    @property
    def started(self) -> bool:
        """Whether the start is on record at keruta, by this directory's own mark."""
        return (self.control / "go").exists()

    def exit_codes(self) -> dict[str, int]:
        """What set-up, script and check ended with, as far as is known, by those names; and `oom`."""
        lines = _short(self.control / "exit").splitlines(keepends=True)
        whole = [line.split() for line in lines if line.endswith("\n")]
        return {parts[0]: int(parts[1]) for parts in whole if len(parts) == 2 and parts[1].lstrip("-").isdigit()}

    @property
    def finished(self) -> bool:
        return (self.control / "done").exists()

    def note_cause(self, cause: str) -> None:
        """Writes down why the script is to end."""
        try:
            (self.root / "cause").write_text(cause)
        except OSError:
            pass  # a full disk may be the cause itself

    @property
    def cause(self) -> str:
        """Why the script was to end, or nothing."""
        try:
            return (self.root / "cause").read_text()
        except OSError:
            return ""

    def remove(self) -> None:
        if self.shared is not None:
            return  # it goes with the Pod
        if self.documents.is_dir():
            self.documents.chmod(0o700)  # read-only until now
        shutil.rmtree(self.root, ignore_errors=True)


def _short(path: Path) -> str:
    """A small file of the script's side, as text; nothing for what is none: it may have put anything there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(4096).decode("utf-8", "replace")


def existing(parent: Path) -> Iterator[JobDir]:
    """The jobs that a worker before this one left."""
    if parent.is_dir():
        yield from (JobDir(root=entry) for entry in sorted(parent.iterdir()) if entry.is_dir())
