"""The fence around a script on one machine: bubblewrap's arguments.

A script sees the system read-only, its own directories, a home and temporary directories of its own, and nothing else
of this machine: no person's home, nothing of keruta's, no other process. Only a task that runs without secrets has no
network. The environment is set inside, by arguments that bubblewrap reads from a descriptor: what a task sets
(`LD_PRELOAD`) does not apply to bubblewrap, and no other user reads it from a command line.

As root, it runs in a user namespace under another number, without capabilities.
"""

from __future__ import annotations

import functools
import logging
import os
import shutil
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from agent.attempt.directory import JobDir
from agent.runners.process.read_paths import secret_files, tool_paths, tool_variables
from agent.settings import WorkerSettings

log = logging.getLogger(__name__)

INSIDE = Path("/job")  # where a fenced script finds its directories, as in a Pod
SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "opt", "nix", "gnu")
OF_SYS = ("/sys/devices/system", "/sys/fs/cgroup")  # how many processors and how much memory there are
OF_VAR = ("/var/lib/dpkg", "/var/lib/rpm", "/var/lib/ca-certificates", "/var/cache/fontconfig")
OF_RUN = ("/etc/resolv.conf", "/etc/hosts", "/etc/localtime")  # files that may be links to elsewhere
ROOT_BECOMES = 1000
NAMESPACES = (
    "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try", "--new-session", "--die-with-parent",
    "--cap-drop", "ALL", "--clearenv",
)  # fmt: skip


class Fence(msgspec.Struct, frozen=True, kw_only=True):
    """A fence that works here.

    Args:
        program: bubblewrap.
        system: the arguments that are the same for every script.
        user: the script's name inside.
    """

    program: str
    system: tuple[str, ...]
    user: str

    def arguments(self, job: JobDir, env: Mapping[str, str], *, closed: bool = False) -> bytes:
        """Return what bubblewrap reads from its descriptor, each argument ended by a NUL.

        Args:
            closed: whether the script has a network of its own, that leads nowhere.

        Home and temporary files are not among them: `start.sh` binds the script's, then the check's.
        """
        inside = job.seen_at(INSIDE)
        env = {**env, "USER": self.user, "LOGNAME": self.user}
        arguments = [
            *(("--unshare-net",) if closed else ()),
            *("--ro-bind", str(job.given), str(inside.given), "--ro-bind", str(job.documents), str(inside.documents)),
            *("--bind", str(job.workspace), str(inside.workspace), "--bind", str(job.artifacts), str(inside.artifacts)),
            *("--bind", str(job.interface), str(inside.interface)),
            *(part for name, value in env.items() for part in ("--setenv", name, value)),
            *("--chdir", str(inside.workspace)),
        ]
        return _encoded(self.system) + _joined(arguments)


def _joined(arguments: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(argument) + b"\0" for argument in arguments)


@functools.lru_cache(maxsize=4)
def _encoded(system: tuple[str, ...]) -> bytes:
    """The arguments that are the same for every script; there are hundreds."""
    return _joined(system)


def find_fence(settings: WorkerSettings) -> tuple[Fence | None, str]:
    """Return the fence of this worker; or None and why, where it is not wanted, not installed or does not work.

    Raises OSError where it was asked for by name and does not work.
    """
    if settings.isolation == "none":
        log.warning("scripts run with this user's rights, as was asked for", extra={"action": "no_isolation"})
        return None, "KERUTA_ISOLATION is none"
    program = shutil.which("bwrap")
    why = "bubblewrap is not installed"
    if program is not None:
        for user_arguments in _users():
            fence = _fence(program, user_arguments, settings)
            why = _tried(fence)
            if not why:
                return fence, ""
    if settings.isolation == "bubblewrap":
        raise OSError(f"bubblewrap was asked for and does not work here: {why}")
    log.warning("scripts run with this user's rights: %s", why, extra={"action": "no_isolation"})
    return None, why


def _users() -> Iterator[tuple[str, ...]]:
    """The ways to a script's user, the safest first. Where root may make no user namespace it keeps its number."""
    if os.geteuid() != 0:
        yield ("--unshare-user-try",)
        return
    yield ("--unshare-user", "--uid", str(ROOT_BECOMES), "--gid", str(ROOT_BECOMES))
    yield ()


def _fence(program: str, user_arguments: tuple[str, ...], settings: WorkerSettings) -> Fence:
    number = ROOT_BECOMES if "--uid" in user_arguments else os.geteuid()
    own = settings.worker_dir / "fence"
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    (own / "empty").write_bytes(b"")
    users, name = _passwd(number)
    (own / "passwd").write_text(users)
    hidden = [*map(Path, settings.private_paths), settings.worker_dir, settings.results_dir, *_keys(settings)]
    tools, variables = _tools(settings)
    tools = [path for path in tools if not any(_beneath(path, secret) for secret in hidden)]
    shown = [*(Path("/") / part for part in SYSTEM), *map(Path, (*OF_SYS, *OF_VAR)), *tools]
    return Fence(
        program=program,
        user=name,
        system=(
            *user_arguments, *NAMESPACES,
            *("--proc", "/proc", "--dev", "/dev", "--dir", str(INSIDE), "--dir", "/tmp", "--dir", "/var/tmp"),  # noqa: S108
            *_binds(shown),
            *_links(shown),
            *("--ro-bind", str(own / "passwd"), "/etc/passwd"),
            *_masks(hidden, shown, own / "empty"),
            *(part for path in secret_files(tools) for part in ("--ro-bind", str(own / "empty"), str(path))),
            *(part for variable, value in variables.items() for part in ("--setenv", variable, value)),
        ),
    )  # fmt: skip


def _tools(settings: WorkerSettings) -> tuple[list[Path], dict[str, str]]:
    """Return the parts of this user's home that scripts may read, and the variables that lead to them."""
    home = Path.home()
    if settings.fence_read_paths is not None:
        return [Path(path).expanduser() for path in settings.fence_read_paths], {}
    shown = tool_paths(os.environ.get("PATH", ""), home)
    return shown, tool_variables(home, shown)


def _keys(settings: WorkerSettings) -> Iterator[Path]:
    yield from (settings.credentials_key, settings.worker_token_file, settings.secrets_dir)
    if settings.worker_client_secret_file is not None:
        yield settings.worker_client_secret_file


def _binds(shown: Iterable[Path]) -> Iterator[str]:
    """Read-only binds, the outer before the inner; what is a link at the top stays one."""
    for path in sorted(set(shown), key=lambda path: len(path.parts)):
        if path.is_symlink() and len(path.parts) == 2:
            yield from ("--symlink", os.readlink(path), str(path))
        elif os.path.exists(path):
            yield from ("--ro-bind", str(path.resolve()), str(path))


def _links(shown: Sequence[Path]) -> Iterator[str]:
    """Files of the system that are links to what is not shown, as resolv.conf often is: the files themselves."""
    for path in map(Path, OF_RUN):
        target = path.resolve()
        if os.path.isfile(target) and not any(_beneath(target, one) for one in shown):
            yield from ("--ro-bind", str(target), str(target))


def _masks(hidden: Sequence[Path], shown: Sequence[Path], empty: Path) -> Iterator[str]:
    """Yield options that hide keruta's own files, and files for root alone, inside the directories that are shown."""
    masked = {path.resolve() for path in hidden if os.path.exists(path) and any(_beneath(path, one) for one in shown)}
    if os.geteuid() == 0:
        masked |= set(_not_for_everybody(Path("/etc")))
    for path in sorted(masked):
        if not any(other != path and path.is_relative_to(other) for other in masked):
            yield from ("--tmpfs", str(path)) if path.is_dir() else ("--ro-bind", str(empty), str(path))


def _not_for_everybody(root: Path) -> Iterator[Path]:
    """Files and directories that not every user of the machine may read; of a directory, nothing below it."""
    for directory, names, files in os.walk(root):
        for name in [*files, *names]:
            path = Path(directory, name)
            mode = path.lstat().st_mode
            wanted = 0o005 if stat.S_ISDIR(mode) else 0o004
            if not stat.S_ISLNK(mode) and mode & wanted != wanted:
                yield path
                if name in names:
                    names.remove(name)


def _beneath(path: Path, directory: Path) -> bool:
    return path.resolve().is_relative_to(directory.resolve())


def _passwd(number: int) -> tuple[str, str]:
    """The system's users, with the script's own in place of who has its number; and that user's name."""
    name = "keruta"
    lines = []
    for line in Path("/etc/passwd").read_text(errors="replace").splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[2] == str(number):
            name = fields[0] if number == os.geteuid() else name
        elif fields[0] != "keruta":
            lines.append(line)
    group = number if number == ROOT_BECOMES else os.getegid()
    return "\n".join([*lines, f"{name}:x:{number}:{group}:keruta:{INSIDE}/home:/bin/sh", ""]), name


def in_memory(arguments: bytes) -> int:
    """Return a descriptor of a file that lies in no directory, with what bubblewrap is to read."""
    descriptor = os.memfd_create("fence")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(arguments)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _tried(fence: Fence) -> str:
    """Return the reason that the fence does not work here, or ""."""
    descriptor = in_memory(_encoded(fence.system))
    try:
        tried = subprocess.run(
            [fence.program, "--args", str(descriptor), "--", "/bin/sh", "-c", "true"],
            pass_fds=(descriptor,),
            capture_output=True,
            env={},
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        os.close(descriptor)
    if tried.returncode == 0:
        return ""
    return (tried.stderr.decode("utf-8", "replace").strip().splitlines() or ["it says nothing"])[-1]
