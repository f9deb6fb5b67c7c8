"""The exact commit of a ref, shallow, in a workspace of its own.

Every attempt asks the remote which commit it may have, with its own credential. The clone cache only spares the
transfer: the workspace gets a copy of what it holds, verified, and shares no file with it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from agent.attempt.clone_cache import CloneCache
from keruta.adapters.git.command import Git
from keruta.adapters.git.remote import resolve
from keruta.domain.messages import message
from keruta.domain.repository import is_commit, transport
from keruta.domain.task import RepositoryRef
from keruta.errors import PhaseError

# Git LFS does nothing where its filter is not set up; no configuration of this machine's is asked.
LFS_FILTER = (
    "-c", "filter.lfs.clean=git-lfs clean -- %f", "-c", "filter.lfs.smudge=git-lfs smudge -- %f",
    "-c", "filter.lfs.process=git-lfs filter-process", "-c", "filter.lfs.required=true", "-c", "credential.helper=",
)  # fmt: skip
_QUIET = ("-c", "advice.detachedHead=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false")
_ONE_PACK = ("-c", "fetch.unpackLimit=1")  # what is fetched stays one pack, which the clone cache can copy


def checkout(
    repository: RepositoryRef,
    workspace: Path,
    git_in: Callable[[Path], Git],
    *,
    transports: frozenset[str],
    cache: CloneCache | None = None,
    lfs: bool = False,
) -> str:
    """The workspace holds the commit; returns its id.

    Args:
        workspace: made here; must not exist or be empty.
        git_in: gives Git for a directory, with the credential's environment.
        cache: what was fetched of this repository before, or None.
        lfs: whether the files that Git LFS keeps are wanted.

    Raises:
        PhaseError: with the reason and a sentence.
        Stopped: the job is to end.
    """
    if transport(repository.url) not in transports:
        raise PhaseError("TransportRefused", message("checkout_transport"))
    workspace.mkdir(parents=True, exist_ok=True)
    git = git_in(workspace)
    commit = resolve(repository, git)
    _make_repository(workspace, repository.url, commit)
    _fetch(git, repository, commit, cache)
    git(*_QUIET, "checkout", "-q", "--detach", commit, reason="CheckoutRefused")
    if repository.submodules:
        git("submodule", "update", "-q", "--init", "--recursive", "--depth=1")
    if lfs:
        _fetch_lfs(git)
    return commit


def _fetch(git: Git, repository: RepositoryRef, commit: str, cache: CloneCache | None) -> None:
    """The commit's objects are in the workspace's repository, out of the cache or from the server."""
    named = repository.ref is not None and is_commit(repository.ref)  # then the server was not asked for it yet
    shallow = Path(git.directory) / ".git" / "shallow"
    if cache is not None and not named:
        shallow.write_text(f"{commit}\n")
        if cache.fill(git, commit):
            return
        shallow.unlink()
    git(*_ONE_PACK, "fetch", "-q", "--depth=1", "--no-tags", "--no-write-fetch-head", "--", repository.url, commit)
    if cache is not None:
        cache.keep(git, commit)


def _fetch_lfs(git: Git) -> None:
    """The files that Git LFS keeps are there in place of their pointers. Raises PhaseError: LfsFailed."""
    if shutil.which("git-lfs") is None:
        raise PhaseError("LfsFailed", message("checkout_no_lfs"))
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
