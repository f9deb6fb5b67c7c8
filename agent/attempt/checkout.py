"""The exact commit of a ref, shallow, in a workspace of its own.

Every attempt asks the remote which commit it may have, with its own credential. The clone cache only spares the
transfer: the workspace is filled by a fetch from it, and shares no file with it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from keruta.adapters.git.command import Git
from keruta.adapters.git.credentials import Credential
from keruta.adapters.git.remote import resolve
from keruta.domain.naming import new_id
from keruta.domain.repository import is_commit, transport
from keruta.domain.task import RepositoryRef
from keruta.errors import PhaseError

log = logging.getLogger(__name__)

# Git LFS does nothing where its filter is not set up; no configuration of this machine's is asked.
LFS_FILTER = (
    "-c", "filter.lfs.clean=git-lfs clean -- %f", "-c", "filter.lfs.smudge=git-lfs smudge -- %f",
    "-c", "filter.lfs.process=git-lfs filter-process", "-c", "filter.lfs.required=true", "-c", "credential.helper=",
)  # fmt: skip
_QUIET = ("-c", "advice.detachedHead=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false")


class Cache(msgspec.Struct, frozen=True, kw_only=True):
    """Bare mirrors, by address and credential. A new one is built beside and renamed in.

    Args:
        root: the directory that holds them; the agent's alone.
    """

    root: Path

    def mirror(self, url: str, credential: Credential | None) -> Path:
        whose = repr((url, credential and credential.name))
        return self.root / f"{hashlib.sha256(whose.encode()).hexdigest()[:32]}.git"


def checkout(
    repository: RepositoryRef,
    workspace: Path,
    git_in: Callable[[Path], Git],
    *,
    transports: frozenset[str],
    cache: Path | None = None,
    lfs: bool = False,
) -> str:
    """The workspace holds the commit; returns its id.

    Args:
        workspace: made here; must not exist or be empty.
        git_in: gives Git for a directory, with the credential's environment.
        cache: this repository's mirror, or None.
        lfs: whether the files that Git LFS keeps are wanted.

    Raises:
        PhaseError: with the reason and a sentence.
        Stopped: the job is to end.
    """
    if transport(repository.url) not in transports:
        raise PhaseError("TransportRefused", "The repository's address uses a transport that is not allowed here.")
    workspace.mkdir(parents=True, exist_ok=True)
    git = git_in(workspace)
    commit = resolve(repository, git)
    _make_repository(workspace, repository.url, commit)
    named = repository.ref is not None and is_commit(repository.ref)  # then nobody was asked yet
    if cache is None or named or not _from_cache(cache, commit, git):
        git("fetch", "-q", "--depth=1", "--no-tags", "--no-write-fetch-head", "--", repository.url, commit)
        if cache is not None:
            _fill_cache(cache, workspace, commit, git_in)
    git(*_QUIET, "checkout", "-q", "--detach", commit, reason="CheckoutRefused")
    if repository.submodules:
        git("submodule", "update", "-q", "--init", "--recursive", "--depth=1")
    if lfs:
        _fetch_lfs(git)
    return commit


def _fetch_lfs(git: Git) -> None:
    """The files that Git LFS keeps are there in place of their pointers. Raises PhaseError: LfsFailed."""
    if shutil.which("git-lfs") is None:
        raise PhaseError("LfsFailed", "Git LFS is not installed on the worker; install git-lfs there.")
    git(*LFS_FILTER, "lfs", "pull", reason="LfsFailed")


def _make_repository(workspace: Path, url: str, commit: str) -> None:
    """What `git init` makes, without a process and without templates or hooks.

    Source: gitrepository-layout(5).
    """
    directory = workspace / ".git"
    (directory / "objects").mkdir(parents=True)
    (directory / "refs").mkdir()
    (directory / "HEAD").write_text("ref: refs/heads/main\n")
    hashes = "\trepositoryformatversion = 1\n" if len(commit) == 64 else "\trepositoryformatversion = 0\n"
    extension = "[extensions]\n\tobjectFormat = sha256\n" if len(commit) == 64 else ""
    quoted = url.replace("\\", "\\\\").replace('"', '\\"')
    (directory / "config").write_text(
        f'[core]\n{hashes}\tfilemode = true\n\tbare = false\n{extension}[remote "origin"]\n\turl = "{quoted}"\n'
        "\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
    )


def _from_cache(mirror: Path, commit: str, git: Git) -> bool:
    """Fills the repository from the mirror, if the commit is there whole."""
    packs = mirror / commit
    if not packs.is_dir():
        return False
    try:
        git_dir = Path(git.directory) / ".git"
        target = git_dir / "objects" / "pack"
        target.mkdir(exist_ok=True)
        for file in packs.iterdir():
            shutil.copyfile(file, target / file.name)  # a copy, never a link: the script may write to it
        (git_dir / "shallow").write_text(f"{commit}\n")
        os.utime(packs)
    except OSError:
        log.warning("clone cache not readable", exc_info=True, extra={"action": "cache_failed"})
        return False
    return True


def _fill_cache(mirror: Path, workspace: Path, commit: str, git_in: Callable[[Path], Git]) -> None:
    """Keeps what was just fetched, before any script has run: as packs, built beside and renamed in."""
    part = mirror / f".{new_id()}"
    try:
        part.mkdir(parents=True)
        git_in(workspace)(
            "-c", "pack.threads=1", "pack-objects", "-q", "--revs", str(part / "pack"), stdin=f"{commit}\n".encode()
        )
        part.rename(mirror / commit)
        _prune(mirror)
    except (OSError, PhaseError):
        if (mirror / commit).is_dir():  # another attempt was quicker
            shutil.rmtree(part, ignore_errors=True)
            return
        log.warning("clone cache not written", exc_info=True, extra={"action": "cache_failed"})
        shutil.rmtree(part, ignore_errors=True)


KEPT_COMMITS = 8


def _prune(mirror: Path) -> None:
    """The commits used last stay."""
    kept = sorted((entry for entry in mirror.iterdir() if not entry.name.startswith(".")), key=_used, reverse=True)
    for entry in kept[KEPT_COMMITS:]:
        shutil.rmtree(entry, ignore_errors=True)


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
