"""The exact commit of a ref, with as much history as is asked for, in a workspace of its own.

Every attempt asks the remote which commit it may have, with its own credential. The clone cache only spares the
transfer: the workspace gets a copy of what it holds, verified, and shares no file with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
    wait_exponential,
    wait_random,
)

from agent.attempt import large_files, sparse
from agent.attempt.clone_cache import CloneCache
from agent.attempt.clone_layout import FILTER, make_repository, set_refs
from keruta.adapters.git.command import QUIET, Git
from keruta.adapters.git.faults import TransientError
from keruta.adapters.git.remote import Ask, Resolved, refs_under, resolve
from keruta.domain.messages import message
from keruta.domain.repository import ref_allowed, ref_fault, transport
from keruta.domain.task import RepositoryRef
from keruta.errors import PhaseError

T = TypeVar("T")
TRIES = 3
PAUSE_SECONDS = 1.0
_ONE_PACK = ("-c", "fetch.unpackLimit=1")  # what is fetched stays one pack, which the clone cache can copy


def checkout(
    repository: RepositoryRef,
    workspace: Path,
    git_in: Callable[[Path], Git],
    *,
    transports: frozenset[str],
    cache: CloneCache | None = None,
    lfs: bool = False,
    allowed_refs: Sequence[str] = (),
    stop: threading.Event | None = None,
    ask: Ask | None = None,
) -> str:
    """The workspace holds the commit; returns its id.

    Args:
        workspace: made here; must not exist or be empty.
        git_in: gives Git for a directory, with the credential's environment.
        cache: what was fetched of this repository before, or None.
        lfs: whether the files that Git LFS keeps are wanted.
        allowed_refs: patterns of the branches and tags that may be fetched beside the ref; empty for all.
        stop: set when the job is to end; ends a pause between two tries.
        ask: a way to ask the server for its refs without a process, tried before Git.

    Raises:
        PhaseError: with the reason and a sentence.
        Stopped: the job is to end.
    """
    if transport(repository.url) not in transports:
        raise PhaseError("TransportRefused", message("checkout_transport"))
    workspace.mkdir(parents=True, exist_ok=True)
    git = git_in(workspace)
    tried = three_tries(stop or threading.Event())
    resolved = tried(lambda: resolve(repository, git, ask))
    make_repository(workspace, repository.url, resolved, partial=bool(repository.paths))
    tried(lambda: _fetch(git, repository, resolved, allowed_refs, cache))
    if repository.paths:
        sparse.check_out(git, repository.paths, resolved, tried, lfs=lfs)
    else:
        git(*QUIET, "checkout", "-q", "--detach", resolved.commit, reason="CheckoutRefused")
    set_refs(workspace, resolved)
    if repository.submodules:
        tried(lambda: _submodules(git, repository, lfs=lfs))
    if lfs and not repository.paths:
        large_files.fetch(git)
    return resolved.commit


def _submodules(git: Git, repository: RepositoryRef, *, lfs: bool) -> None:
    """All submodules are checked out, with the files that Git LFS keeps if those are wanted."""
    smudge: tuple[str, ...] = ()
    if lfs:
        large_files.need_program()
        smudge = large_files.options(git)
        git = git.with_env({**git.env, "GIT_LFS_SKIP_SMUDGE": "0"})
    try:
        git(*smudge, "submodule", "update", "-q", "--init", "--recursive", *_depth(repository))
    except TransientError:
        raise
    except PhaseError as error:
        raise large_files.failed(error) if lfs and "lfs" in error.message.text.lower() else error from error


def three_tries(stop: threading.Event) -> Callable[[Callable[[], T]], T]:
    """Three tries where the server was away, with pauses of 1 and 2 s and some chance: up to 5 s beside the tries."""

    def tried(call: Callable[[], T]) -> T:
        again = Retrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(TRIES) | stop_when_event_set(stop),
            wait=wait_exponential(multiplier=PAUSE_SECONDS) + wait_random(0, PAUSE_SECONDS),
            sleep=sleep_using_event(stop),
            reraise=True,
        )
        return again(call)

    return tried


def _fetch(
    git: Git, repository: RepositoryRef, resolved: Resolved, allowed_refs: Sequence[str], cache: CloneCache | None
) -> None:
    """The commit's objects are in the workspace's repository, out of the cache or from the server."""
    named = resolved.ref is None and repository.ref is not None  # then the server was not asked for it yet
    wanted, directory = resolved.object, Path(git.directory) / ".git"
    if cache is not None and not cache.serves(repository):
        cache = None
    if cache is not None and not named:
        (directory / "shallow").write_text(f"{resolved.commit}\n")
        if cache.fill(git, wanted):
            return
        (directory / "shallow").unlink()
    for part in (directory / "objects" / "pack").glob("tmp_*"):
        part.unlink()  # of a try that broke off
    fewer, remote = ([f"--filter={FILTER}"], "origin") if repository.paths else ([], repository.url)
    git(
        *_ONE_PACK, "fetch", "-q", *fewer, *_depth(repository), "--no-tags", "--no-write-fetch-head", "--stdin", "--",
        remote, wanted, stdin=_refspecs(git, repository, allowed_refs),
    )  # fmt: skip
    if cache is not None:
        cache.keep(git, wanted)


def _depth(repository: RepositoryRef) -> tuple[str, ...]:
    return () if repository.depth == "full" else (f"--depth={repository.depth}",)


def _refspecs(git: Git, repository: RepositoryRef, allowed_refs: Sequence[str]) -> bytes:
    """Return the refspecs to fetch beside the commit, one a line: with full history all branches, and the tags.

    Where not every ref is allowed, the server is asked for what there is, and what is allowed is fetched by its id.
    """
    places = {"refs/heads/": "refs/remotes/origin/"} if repository.depth == "full" else {}
    if repository.tags:
        places["refs/tags/"] = "refs/tags/"
    if not allowed_refs:
        wanted = [f"+{space}*:{place}*" for space, place in places.items()]
    else:
        wanted = [
            f"+{found}:{place}{name.removeprefix(space)}"
            for space, place in places.items()
            for name, found in refs_under(space, repository.url, git).items()
            if ref_fault(name) is None and ref_allowed(name, allowed_refs)
        ]
    return "".join(f"{one}\n" for one in wanted).encode()
