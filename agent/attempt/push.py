"""Pushes what a script made, from a repository of keruta's own.

The workspace is hostile: its Git configuration, hooks, attributes' filters and alternates could run code or lead
elsewhere. So none of it is used. Objects are copied as data, checked with `fsck --strict`, and pushed from a fresh bare
repository whose configuration is empty; what the script changed without committing becomes one commit on top.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.attempt.artifacts import regular_files
from agent.attempt.checkout import LFS_FILTER
from keruta.adapters.git.command import Git
from keruta.domain import messages
from keruta.errors import PhaseError

_HEX = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REF = re.compile(r"refs/[A-Za-z0-9._/-]{1,200}")
_AUTHOR = ("-c", "user.name=keruta", "-c", "user.email=keruta@localhost")
_DEAF = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.attributesFile=/dev/null",
    "-c", "diff.ignoreSubmodules=all", "-c", "gc.auto=0", "-c", "core.symlinks=true",
)  # fmt: skip


def push_result(
    workspace: Path,
    bare: Path,
    *,
    url: str,
    base: str,
    branch: str,
    message: str,
    git_in: Callable[[Path], Git],
    lfs: bool = False,
) -> str:
    """The branch is on the server; returns the commit that it is at.

    Args:
        bare: where the fresh repository is made; gone afterwards.
        base: the commit that was checked out.
        lfs: whether large files stand in Git as pointers; what they point at is pushed first.

    Raises:
        PhaseError: PushRefused when the server would not take it, PushFailed for all else.
    """
    shutil.rmtree(bare, ignore_errors=True)
    try:
        bare.mkdir(mode=0o700)
        git = git_in(bare)
        git("init", "-q", "--bare", "--template=", ".", reason="PushFailed")
        _copy_objects(workspace / ".git" / "objects", bare / "objects")
        (bare / "shallow").write_text(f"{base}\n")
        head = _head(workspace / ".git") or base
        git("fsck", "--strict", "--no-dangling", "--no-reflogs", head, reason="PushFailed")
        filters = LFS_FILTER if lfs else ()
        tree = _worktree(git, workspace, head, filters)
        if tree != git("rev-parse", f"{head}^{{tree}}", reason="PushFailed").strip():
            head = git(*_AUTHOR, "commit-tree", tree, "-p", head, "-m", message, reason="PushFailed").strip()
        if lfs and (large := sorted(file.name for file in (bare / "lfs" / "objects").rglob("*") if file.is_file())):
            git(*filters, "lfs", "push", "--object-id", url, *large, reason="PushFailed")
        name = branch if branch.startswith("refs/heads/") else f"refs/heads/{branch}"
        git(*_DEAF, "push", "-q", "--no-verify", "--", url, f"{head}:{name}", reason="PushFailed")
    except OSError as error:
        raise PhaseError(
            "PushFailed", messages.message("push_unreadable", error=error.strerror or str(error))
        ) from error
    finally:
        shutil.rmtree(bare, ignore_errors=True)
    return head


def _worktree(git: Git, workspace: Path, head: str, filters: Sequence[str]) -> str:
    """The tree of what lies in the workspace now, by our own index and configuration."""
    there = (*_DEAF, *filters, f"--work-tree={workspace}", "--git-dir=.")
    git(*there, "read-tree", head, reason="PushFailed")
    git(*there, "add", "--all", reason="PushFailed")
    return git(*there, "write-tree", reason="PushFailed").strip()


def _copy_objects(source: Path, target: Path) -> None:
    """Loose objects and packs, as data; `info/alternates`, which could lead to another repository, stays behind."""
    if source.is_symlink() or source.parent.is_symlink():
        raise PhaseError("PushFailed", messages.message("push_linked"))
    for path, file in regular_files(source):
        if path.startswith("info/"):
            continue
        to = target / path
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("wb") as out:
            shutil.copyfileobj(file, out)


def _head(directory: Path) -> str | None:
    """The commit that the workspace's HEAD names, read as text; None where it names none."""
    text = _read(directory / "HEAD")
    if text.startswith("ref: "):
        name = text[5:]
        if not _REF.fullmatch(name) or ".." in name:
            return None
        text = _read(directory / name) or _packed(directory, name)
    return text if _HEX.fullmatch(text) else None


def _packed(directory: Path, name: str) -> str:
    for line in _read(directory / "packed-refs", 1 << 20).splitlines():
        commit, _, found = line.partition(" ")
        if found == name:
            return commit
    return ""


def _read(path: Path, most: int = 1024) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most).decode("utf-8", "replace").strip()
