"""A job's directory: all that is known of an attempt on this machine, so that a restarted worker takes it up.

<attempt>/                  0700
  attempt.json              the specification, without secrets, and the deadline
  execution                 the execution's id; made once
  started                   the start is on record at keruta
  process                   the script's process and when it began
  chunks                    which parts of the log have been cut: a line "sequence offset length system" each
  private/                  credentials while Git runs
  given/                    what the agent puts there and the script may read only: see start.sh
  documents/                the task's documents, read-only too
  control/                  what `start.sh` writes, the log, and the standard input; hidden from a fenced script
  interface/                `outputs`, `summary` and `ask`: what the script tells the agent
  workspace/ artifacts/     the script's
  home/ tmp/                the script's home, and its temporary files where the runner gives it such
  check-home/ check-tmp/    the check's
  check-control/            in a Pod: what the check's `start.sh` writes; not in the script's container
  script-ended              in a Pod: the exit code of the script's container, as the cluster has it
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import msgspec

from agent.attempt.beneath import is_beneath, open_beneath, read_beneath
from keruta import structs
from keruta.domain.naming import attempt_id, new_id
from keruta.domain.specification import Specification
from keruta.files import write_private

_CODE = re.compile(r"-?[0-9]{1,6}")


RESERVED_BYTES = 1024
QUICKLY_DEEP = 40  # directories in each other; each takes a descriptor


class AttemptFile(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `attempt.json`. `deadline_at` is Unix time."""

    specification: Specification
    deadline_at: float
    commit: str | None = None


class JobDir(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The paths of one job, and what is on record there.

    Args:
        root: the agent's own.
        shared: in a Pod, the directory that the script's container mounts too, by a group that both have.
    """

    root: Path
    shared: Path | None = None

    @cached_property
    def _open(self) -> Path:
        """The directory to which the script may write; in a Pod, a volume of its own."""
        return self.shared or self.root

    @cached_property
    def workspace(self) -> Path:
        return self._open / "workspace"

    @cached_property
    def artifacts(self) -> Path:
        return self._open / "artifacts"

    @cached_property
    def given(self) -> Path:
        return self._open / "given"

    @cached_property
    def interface(self) -> Path:
        return self._open / "interface"

    @cached_property
    def home(self) -> Path:
        return self._open / "home"

    @cached_property
    def check_home(self) -> Path:
        return self._open / "check-home"

    @cached_property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @cached_property
    def check_tmp(self) -> Path:
        return self.root / "check-tmp"

    @cached_property
    def outputs(self) -> Path:
        return self.interface / "outputs"

    @cached_property
    def summary(self) -> Path:
        return self.interface / "summary"

    @cached_property
    def ask(self) -> Path:
        return self.interface / "ask"

    @cached_property
    def documents(self) -> Path:
        return self._open / "documents"

    @cached_property
    def control(self) -> Path:
        return self._open / "control"

    @cached_property
    def check_control(self) -> Path:
        return self._open / "check-control"

    @cached_property
    def output(self) -> Path:
        return self.control / "output"

    @cached_property
    def private(self) -> Path:
        return self.root / "private"

    @classmethod
    def of(cls, parent: Path, specification: Specification) -> JobDir:
        return cls(root=parent / attempt_id(specification.task, specification.attempt))

    def seen_at(self, place: Path | None) -> JobDir:
        """The same paths as the script sees them, where its directories lie at another place for it."""
        return self if place is None else JobDir(root=self.root, shared=place)

    def make(self, attempt: AttemptFile) -> None:
        """The directory is there and empty but for its frame; what an unstarted try left behind is gone."""
        if self.shared is None:
            self.remove()
            self.root.mkdir(mode=0o700, parents=True)
            for directory in (*self._script_writes, self.given, self.documents, self.tmp, self.check_tmp):
                directory.mkdir(mode=0o700)
            for directory in (self.tmp, self.check_tmp):
                directory.chmod(0o1777)  # as programs expect it; only this user gets as far as here
        else:
            self._clear_shared()
        mode = 0o700 if self.shared is None else 0o770
        self.save(attempt)
        for path in (self.output, self.outputs, self.summary):
            path.touch(mode & 0o660)
        # With room, so that they can be overwritten on a disk that is full by then.
        for path in (self.control / "exit", self.control / "fence", *self._check_records):
            path.write_bytes(b"\n" * RESERVED_BYTES)
            path.chmod(mode & 0o660)
        stdin = self.control / "stdin"
        stdin.unlink(missing_ok=True)
        os.mkfifo(stdin, mode & 0o660)

    def make_shared(self) -> None:
        """Make what the script's container mounts in a Pod, before it starts.

        The script may write into these and can't replace them: each is a mount of its own there, and where the agent's
        files lie among the script's, the sticky bit keeps them from being renamed or removed.
        """
        for directory in (*self._script_writes, self.workspace, self.check_control):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o770)
        self.output.touch(0o660)  # the check's container mounts the file itself, which the script can't replace there
        for directory in (self.control, self.interface):
            directory.chmod(0o1770)
        for directory in (self.given, self.documents):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o750)

    @property
    def _script_writes(self) -> tuple[Path, ...]:
        return (self.control, self.interface, self.artifacts, self.home, self.check_home)

    @property
    def _check_records(self) -> tuple[Path, ...]:
        return () if self.shared is None else (self.check_control / "exit",)

    def save(self, attempt: AttemptFile) -> None:
        bare = msgspec.structs.replace(attempt, specification=attempt.specification.without_tokens())
        write_private(self.root / "attempt.json", msgspec.json.encode(bare))

    def _clear_shared(self) -> None:
        """Delete the files of an earlier agent in the same Pod. No script has run yet."""
        self.documents.chmod(0o750)
        for directory in (self.workspace, self.documents, self.home, self.check_home):
            for entry in directory.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()

    def load(self) -> AttemptFile | None:
        """Return the stored file, or None if a crash left no readable one."""
        try:
            return structs.from_json((self.root / "attempt.json").read_bytes(), type=AttemptFile)
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
            (self.root / "machine").write_text(_machine_boot())
            return made

    @property
    def never_started(self) -> str | None:
        """The execution whose start keruta may have on record although its script never ran; None if that is unsure.

        A start is marked here before its script runs, but a machine that goes down can lose the mark: only what was
        written since this machine's last boot counts.
        """
        try:
            same_boot = (self.root / "machine").read_text() == _machine_boot() != ""
            return (self.root / "execution").read_text() if same_boot and not self.started else None
        except OSError:
            return None

    @property
    def started(self) -> bool:
        """Return whether keruta has recorded the start, by this directory's own mark."""
        return (self.root / "started").exists()

    def let_start(self) -> None:
        """The start is on record: `start.sh` may go on, and an agent that takes the job up knows it."""
        (self.root / "started").touch()
        (self.given / "go").touch()

    def workspace_begins(self, path: str) -> bytes:
        """Return the first bytes of a file of the workspace; nothing where there is no such file."""
        return read_beneath(self.workspace, os.path.normpath(path), 4096)

    def exit_codes(self) -> dict[str, int]:
        """Return the known exit codes of set-up, script and check, by those names; and `oom`, `fence`, `not_run`.

        `not_run` is there where the task's command could not be executed at all. In a Pod the script could have written
        its record: of the check it says nothing there, and of the script the cluster's word goes before. There is no
        fence there, so that none can have failed.
        """
        codes = self._record("control")
        if self.shared is not None:
            codes = {name: code for name, code in codes.items() if name not in ("fence", "check", "check-setup")}
            ended = self.script_exit_code
            if ended is not None and (ended == 0 or "setup" not in codes):
                codes = {**({} if ended == 0 else codes), "script": ended}
            if ended == 0:
                codes |= self._record("check-control")
        return codes | ({"not_run": 1} if is_beneath(self._open, "interface/not-run") else {})

    def _record(self, control: str) -> dict[str, int]:
        text = read_beneath(self._open, f"{control}/exit", 4096).decode("utf-8", "replace")
        whole = text.rpartition("\n")[0].strip("\n")  # without what has no end yet, and the room that was reserved
        rows = [line.split() for line in whole.split("\n")]
        return {parts[0]: int(parts[1]) for parts in rows if len(parts) == 2 and _CODE.fullmatch(parts[1])}

    def _is_whole(self, control: str) -> bool:
        return is_beneath(self._open, f"{control}/done") or "done" in self._record(control)

    @property
    def _check_is_apart(self) -> bool:
        """Return whether a check has a container of its own."""
        return self.shared is not None and (self.given / "check").exists()

    @property
    def recorded(self) -> bool:
        """Return whether the last one to end, script or check, wrote its own record to the end."""
        return self._is_whole("check-control" if self._check_is_apart and self.script_exit_code == 0 else "control")

    @property
    def finished(self) -> bool:
        """Return whether nothing is left to run. A check with its own container begins on the cluster's word only."""
        if not self._check_is_apart:
            return self._is_whole("control")
        ended = self.script_exit_code
        return ended is not None and (ended != 0 or self.recorded)

    @property
    def awaits_check(self) -> bool:
        """Return whether, in a Pod, the script before a check has recorded its end and the cluster has not done so."""
        return self._check_is_apart and self.script_exit_code is None and self.recorded

    @property
    def script_exit_code(self) -> int | None:
        """Return how the script's container ended in a Pod with a check, as the cluster says; None until it has."""
        try:
            return int((self.root / "script-ended").read_text())
        except (OSError, ValueError):
            return None

    def note_script_end(self, exit_code: int) -> None:
        """The script's container has ended, and with it all its processes: its check may begin, if it ended well."""
        if not self._check_is_apart or self.script_exit_code is not None:
            return
        write_private(self.root / "script-ended", str(exit_code).encode())
        self.let_check()

    def let_check(self) -> None:
        """The check begins, where the script's container ended well; asked again after a crash between the two."""
        if self.script_exit_code == 0:
            (self.given / "go-check").touch()

    @property
    def container_is_up(self) -> bool:
        """Return whether the containers of script and check have started in a Pod, so their image was pulled."""
        up = is_beneath(self._open, "control/here")
        return up and (not self._check_is_apart or is_beneath(self._open, "check-control/here"))

    @property
    def terminated(self) -> bool:
        """Return whether the script's container in a Pod, or the check's after it, was told to end from outside."""
        checking = self._check_is_apart and self.script_exit_code == 0
        return is_beneath(self._open, f"{'check-control' if checking else 'control'}/terminated")

    def open_output(self, flags: int = os.O_RDONLY) -> int:
        """Return a descriptor of the log. Raises OSError where the script put something else in its place."""
        return open_beneath(self._open, "control/output", flags)

    def open_outputs(self) -> int:
        """Return a descriptor of $KERUTA_OUTPUTS. Raises OSError where that is no file any more."""
        return open_beneath(self._open, "interface/outputs")

    def open_summary(self) -> int:
        """Return a descriptor of $KERUTA_SUMMARY. Raises OSError where that is no file any more."""
        return open_beneath(self._open, "interface/summary")

    def open_stdin(self) -> int:
        """Return a descriptor of the script's standard input. Raises OSError where that is no pipe any more."""
        return open_beneath(self._open, "control/stdin", os.O_RDWR, expected=stat.S_ISFIFO)

    def fence_state(self) -> bytes:
        """Return the fence's description of the process space that it made; see `start.sh`."""
        return read_beneath(self._open, "control/fence", 4096)

    def asked(self, most: int) -> bytes:
        """Return the text that the script wrote to $KERUTA_ASK; empty if there is no such file."""
        return read_beneath(self._open, "interface/ask", most)

    def note_cause(self, cause: str) -> None:
        """Writes down why the script is to end."""
        try:
            (self.root / "cause").write_text(cause)
        except OSError:
            pass  # a full disk may be the cause itself

    @property
    def cause(self) -> str:
        """Return the reason for which the script was stopped, or ""."""
        try:
            return (self.root / "cause").read_text()
        except OSError:
            return ""

    def remove(self) -> None:
        if self.shared is None:  # in a Pod it goes with the Pod
            remove_tree(self.root)


def _machine_boot() -> str:
    """Return the id of this machine's present boot; empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return ""


def remove_tree(root: Path) -> None:
    """Remove a directory whatever a script left in it: directories without rights too, as module caches are."""
    try:
        parent = os.open(root.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _remove_quickly(parent, root.name)
        finally:
            os.close(parent)
    except OSError:
        shutil.rmtree(root, ignore_errors=True)
    if not os.path.lexists(root):
        return
    pending = [root]
    while pending:
        directory = pending.pop()
        try:
            descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            os.chmod(f"/proc/self/fd/{descriptor}", 0o700)
            with os.scandir(directory) as entries:
                pending += [directory / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            pass
        finally:
            os.close(descriptor)
    shutil.rmtree(root, ignore_errors=True)


def _remove_quickly(parent: int, name: str, depth: int = 0) -> None:
    """Remove a directory with all in it, by descriptors and through no link: the usual case, for all tasks.

    Raises OSError where something can't be removed, or lies very deep.
    """
    if depth > QUICKLY_DEEP:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    directory = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        with os.scandir(directory) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for inner, is_directory in found:
            if is_directory:
                _remove_quickly(directory, inner, depth + 1)
            else:
                os.unlink(inner, dir_fd=directory)
    finally:
        os.close(directory)
    os.rmdir(name, dir_fd=parent)


def existing(parent: Path) -> Iterator[JobDir]:
    """The jobs that a worker before this one left."""
    if parent.is_dir():
        yield from (JobDir(root=entry) for entry in sorted(parent.iterdir()) if entry.is_dir())
