"""Questions to a Git server: the commit that a ref names, and the list of refs."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from keruta.adapters.git.command import Git, Interrupted
from keruta.domain.catalog.repositories import Validation
from keruta.domain.messages import fields_of, message
from keruta.domain.repository import is_commit, ref_names
from keruta.domain.task import RepositoryRef
from keruta.errors import PhaseError

# Gives what `git ls-remote --symref` prints for refs of these names, or None where that must ask.
Ask = Callable[[Sequence[str], Git], str | None]
SHOWN_REFS = 200
SAID_REFS = 5  # in a sentence
# A server that said one of these was reached, and one that said another let us in.
_NOT_REACHED = frozenset({"CloneFailed", "HostKeyUnknown", "CertificateRefused", "TransportRefused"})
_NOT_LET_IN = frozenset({"CloneAuthFailed"})


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """The objects that a ref names at this moment.

    Args:
        object: the commit, or the annotated tag that leads to it.
        ref: its full name; None for a commit that was named by its id.
        default_ref: the full name of the server's default branch, where it was asked.
    """

    commit: str
    object: str
    ref: str | None = None
    default_ref: str | None = None


def resolve(repository: RepositoryRef, git: Git, ask: Ask | None = None) -> Resolved:
    """Asks the remote for the commit that the ref names now. Raises PhaseError.

    Args:
        ask: another way to ask, which is tried first; see there.
    """
    ref = repository.ref or "HEAD"
    if is_commit(ref):
        return Resolved(commit=ref.lower(), object=ref.lower())
    patterns = ["HEAD"] if ref == "HEAD" else ref_names(ref)
    names = list(dict.fromkeys(("HEAD", *patterns)))
    said = ask(names, git) if ask is not None else None
    if said is not None and (resolved := _resolved(patterns, said)) is not None:
        return resolved
    peeled = [f"{pattern}^{{}}" for pattern in patterns if not pattern.startswith("refs/heads/")]
    said = git("ls-remote", "-q", "--symref", "--", repository.url, *dict.fromkeys((*names, *peeled)))
    if (resolved := _resolved(patterns, said)) is not None:
        return resolved
    if "HEAD" not in _listed(said):
        branches = _branches(_listed(git("ls-remote", "-q", "--refs", "--heads", "--tags", "--", repository.url)))
        if branches is None:
            raise PhaseError("RepositoryEmpty", message("git_repository_empty"))
        if ref == "HEAD":
            raise PhaseError("RefNotFound", message("git_no_default_branch", branches=branches))
    if re.fullmatch("[0-9a-fA-F]{4,39}", ref):
        raise PhaseError("RefNotFound", message("git_ref_short_commit", ref=ref))
    raise PhaseError("RefNotFound", message("git_ref_missing", ref=ref))


def _branches(refs: Iterable[str]) -> str | None:
    """Return some names of branches and tags, as text for people; None where there are none."""
    names = [name.removeprefix("refs/heads/").removeprefix("refs/") for name in refs]
    more = ["…"] if len(names) > SAID_REFS else []
    return ", ".join([*names[:SAID_REFS], *more]) or None


def _resolved(patterns: Sequence[str], said: str) -> Resolved | None:
    """The first of the patterns that the server has, by what it said; None where it has none of them."""
    found, default = _listed(said), _default_ref(said)
    for pattern in patterns:
        if pattern in found:
            commit = found.get(f"{pattern}^{{}}", found[pattern])
            name = default if pattern == "HEAD" else pattern
            return Resolved(commit=commit, object=found[pattern], ref=name, default_ref=default)
    return None


def refs_under(space: str, url: str, git: Git) -> dict[str, str]:
    """Asks the remote for all its refs in a space (`refs/heads/`), their objects by full names. Raises PhaseError."""
    found = _listed(git("ls-remote", "-q", "--refs", "--", url, f"{space}*"))
    return {name: one for name, one in found.items() if name.startswith(space)}


def _default_ref(said: str) -> str | None:
    """The full name of the default branch, as `git ls-remote --symref` tells it."""
    head = next((line for line in said.split("\n") if line.endswith("\tHEAD") and line.startswith("ref: ")), "")
    return head.partition("\t")[0].removeprefix("ref: ") or None


def look(url: str, default_ref: str | None, git: Git) -> Validation:
    """Says what a server has, or the one sentence of what is wrong. Never raises for what the server says."""
    began = time.monotonic()
    reason: str | None
    try:
        said = git("ls-remote", "-q", "--symref", "--", url)
    except Interrupted:
        reason, found = "CloneFailed", message("git_slow")
    except PhaseError as error:
        reason, found = error.reason, error.message
    else:
        return _found(said, default_ref, time.monotonic() - began)
    return Validation(
        reachable=reason not in _NOT_REACHED,
        authenticated=reason not in _NOT_REACHED | _NOT_LET_IN,
        reason=reason,
        **fields_of(found),
        took_seconds=round(time.monotonic() - began, 3),
        at=datetime.now(UTC),
    )


def _found(said: str, default_ref: str | None, seconds: float) -> Validation:
    head = next((line for line in said.split("\n") if line.startswith("ref: refs/heads/")), "")
    default_branch = head.partition("\t")[0].removeprefix("ref: refs/heads/") or None
    refs = [name for name in _listed(said) if name != "HEAD" and not name.endswith("^{}")]
    branches = [name.removeprefix("refs/heads/") for name in refs if name.startswith("refs/heads/")]
    tags = [name.removeprefix("refs/tags/") for name in refs if name.startswith("refs/tags/")]
    there = None
    found = message("git_answers", branches=len(branches), tags=len(tags))
    reason = None
    if not branches and not tags:
        found, reason = message("git_answers_empty"), "RepositoryEmpty"
    elif default_ref is not None and not is_commit(default_ref):
        there = any(name in refs for name in ref_names(default_ref))
        if not there:
            found, reason = message("git_answers_no_ref", ref=default_ref), "RefNotFound"
    elif default_ref is None and "HEAD" not in _listed(said):
        found, reason = message("git_no_default_branch", branches=_branches(refs) or ""), "RefNotFound"
    return Validation(
        reachable=True,
        authenticated=True,
        reason=reason,
        **fields_of(found),
        default_branch=default_branch,
        default_ref_found=there,
        branches=branches[:SHOWN_REFS],
        tags=tags[-SHOWN_REFS:],
        refs_total=len(refs),
        took_seconds=round(seconds, 3),
        at=datetime.now(UTC),
    )


def _listed(said: str) -> dict[str, str]:
    """Commits by the names of their refs, as `git ls-remote` tells them."""
    rows = (line.partition("\t") for line in said.split("\n") if line and not line.startswith("ref: "))
    return {name: commit for commit, _, name in rows}
