"""Directories of a person's home that a fenced script may read: the tools on the PATH and their installations.

A directory `…/bin` (or `sbin`, `shims`) stands for what it is installed in, its parent: so a Node of nvm finds its
modules. Links out of it, and the interpreters that its scripts name in their first line, are followed to their own
installations: so what pipx or uv put into `~/.local/bin` runs. A home, or a directory around it, is never shown whole,
and what keeps secrets by custom is not shown at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

SYSTEM_ROOTS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/nix", "/gnu", "/etc")  # shown anyway
PROGRAM_DIRECTORIES = frozenset({"bin", "sbin", "shims", ".bin"})
# Where one directory holds the installations of many programs, and settings and keys of others: these parts of it only.
COLLECTIONS = {".local": ("bin", "lib", "lib64", "libexec", "opt")}
NEVER = frozenset(
    {
        ".ssh", ".config", ".claude", ".codex", ".aws", ".azure", ".kube", ".gnupg", ".netrc", ".docker", ".gcloud",
        ".git-credentials", ".gitconfig", ".password-store", ".mozilla", ".thunderbird", ".pki", ".vault-token",
        ".terraform.d", ".gemini", "keyrings", ".keruta", ".env",
    }
)  # fmt: skip
SECRET_FILES = (
    "credentials", "credentials.toml", ".credentials.json", ".npmrc", ".netrc", ".pypirc", ".env", "auth.json",
    "settings.xml", "gradle.properties", ".git-credentials",
)  # fmt: skip
# What a program looks for in the home, though it is installed beside it: the variable that says where it is.
HOMES = {".cargo": ("RUSTUP_HOME", ".rustup"), ".pyenv": ("PYENV_ROOT", ".pyenv"), ".rbenv": ("RBENV_ROOT", ".rbenv")}
ENTRIES_MOST = 2000


def tool_paths(path: str, home: Path) -> list[Path]:
    """Return the directories to show, for a PATH and a home; none of the system's."""
    found: set[Path] = set()
    pending = [Path(os.path.normpath(part)) for part in path.split(":") if part.startswith("/")]
    while pending:
        directory = pending.pop()
        for root in _installation(directory, home):
            if root not in found:
                found.add(root)
                if root.name not in PROGRAM_DIRECTORIES:
                    pending += [root / name for name in PROGRAM_DIRECTORIES if os.path.isdir(root / name)]
        if directory in found or any(directory.is_relative_to(root) for root in found):
            pending += [to for to in _leads_to(directory) if not any(to.is_relative_to(root) for root in found)]
    for name, (_, beside) in HOMES.items():
        if home / name in found and os.path.isdir(home / beside):
            found.add(home / beside)
    return sorted(root for root in found if not any(root != other and root.is_relative_to(other) for other in found))


def tool_variables(home: Path, shown: list[Path]) -> dict[str, str]:
    """Return the variables by which shown tools find what they would look for in a person's home."""
    return {
        variable: str(home / beside)
        for name, (variable, beside) in HOMES.items()
        if home / name in shown and home / beside in shown
    }


def secret_files(shown: list[Path]) -> Iterator[Path]:
    """Yield files at the top of what is shown that keep secrets by custom."""
    for root in shown:
        for name in SECRET_FILES:
            if os.path.isfile(root / name):
                yield root / name


def _installation(directory: Path, home: Path) -> Iterator[Path]:
    """Yield the installation that a directory of programs belongs to; nothing for the system's and for hidden
    directories.
    """
    if not os.path.isdir(directory) or any(directory.is_relative_to(root) for root in SYSTEM_ROOTS):
        return
    if NEVER.intersection(directory.parts):
        return
    root = directory.parent if directory.name in PROGRAM_DIRECTORIES else directory
    if root.name in COLLECTIONS:
        yield from (root / part for part in COLLECTIONS[root.name] if os.path.isdir(root / part))
    elif _may_be_shown(root, home):
        yield root
    elif _may_be_shown(directory, home):
        yield directory


def _may_be_shown(root: Path, home: Path) -> bool:
    """Neither a home nor a directory around one, nor one that holds a repository or keruta's own directory."""
    if home.is_relative_to(root) or len(root.parts) < 3:
        return False
    return not any(os.path.lexists(root / name) for name in (".git", ".keruta", ".ssh"))


def _leads_to(directory: Path) -> Iterator[Path]:
    """The directories of programs that links in a directory, and first lines of scripts in it, lead to."""
    try:
        entries = list(os.scandir(directory))[:ENTRIES_MOST]
    except OSError:
        return
    for entry in entries:
        path = Path(entry.path)
        try:
            if entry.is_symlink():
                target = path.resolve()
            elif entry.is_file(follow_symlinks=False) and (named := _interpreter(path)) is not None:
                yield named.parent
                target = named.resolve()
            else:
                continue
        except (OSError, RuntimeError):
            continue
        yield target if os.path.isdir(target) else target.parent


def _interpreter(path: Path) -> Path | None:
    """The program that a script's first line names, or None."""
    with path.open("rb") as file:
        line = file.read(256).split(b"\n", 1)[0]
    if not line.startswith(b"#!/"):
        return None
    return Path(os.fsdecode(line[2:].split()[0]))
