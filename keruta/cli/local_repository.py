"""The Git repository that a directory of this machine is in, found without asking Git."""

from __future__ import annotations

from pathlib import Path


def repository_of(directory: Path) -> Path | None:
    """Return the top of the repository that a directory is in: the working tree's, or the bare repository's.

    As Git looks for it, upwards; its environment (`GIT_DIR`) does not count. None for a directory that is in
    no repository. Source: gitrepository-layout(5).
    """
    directory = directory.resolve()
    return next((one for one in (directory, *directory.parents) if _is_repository(one)), None)


def _is_repository(directory: Path) -> bool:
    inner = directory / ".git"  # a file in a linked working tree or a submodule
    return inner.is_file() or _is_bare(inner) or (directory.name != ".git" and _is_bare(directory))


def _is_bare(directory: Path) -> bool:
    """Return whether Git's own directories are there."""
    head = directory / "HEAD"
    return (head.is_file() or head.is_symlink()) and (directory / "objects").is_dir() and (directory / "refs").is_dir()
