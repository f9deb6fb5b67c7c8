"""The files that Git LFS keeps, in place of their pointers."""

from __future__ import annotations

import shutil

from keruta.adapters.git.command import Git
from keruta.domain.messages import message
from keruta.errors import PhaseError

# Git LFS does nothing where its filter is not set up; no configuration of this machine's is asked.
_FILTER = (
    "-c", "filter.lfs.clean=git-lfs clean -- %f", "-c", "filter.lfs.smudge=git-lfs smudge -- %f",
    "-c", "filter.lfs.process=git-lfs filter-process", "-c", "filter.lfs.required=true", "-c", "credential.helper=",
)  # fmt: skip
# A repository's .lfsconfig may name another server. For a directory of this machine Git LFS does not ask
# GIT_ALLOW_PROTOCOL, links that repository's files, and runs Git in it: its program for such servers is made to fail.
_NO_DIRECTORIES = ("-c", "lfs.customtransfer.lfs-standalone-file.path=false")


def options(git: Git) -> tuple[str, ...]:
    """Return what Git is given before a command that uses Git LFS."""
    local = "file" in git.env.get("GIT_ALLOW_PROTOCOL", "").split(":")
    return _FILTER if local else (*_FILTER, *_NO_DIRECTORIES)


def fetch(git: Git) -> None:
    """All of a workspace's large files are there. Raises PhaseError: LfsFailed."""
    # Git LFS itself tries each file up to nine times.
    need_program()
    try:
        git(*options(git), "lfs", "pull", reason="LfsFailed")
    except PhaseError as error:
        raise failed(error) from error


def need_program() -> None:
    """Raise PhaseError, LfsFailed, where Git LFS is not installed."""
    if shutil.which("git-lfs") is None:
        raise PhaseError("LfsFailed", message("checkout_no_lfs"))


def failed(error: PhaseError) -> PhaseError:
    """Return the error for what Git says when Git LFS fails: a bad certificate stays one."""
    if error.reason == "CertificateRefused":
        return error
    return PhaseError("LfsFailed", message("checkout_lfs_failed", said=error.message))
