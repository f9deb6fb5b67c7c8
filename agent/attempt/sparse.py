"""A checkout of some directories alone, out of a partial clone where the server can make one.

The commit and all its trees are fetched, and of the files' contents those that are checked out. A server that knows no
filters sends everything. A clone that `git sparse-checkout set` made looks the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agent.attempt import large_files
from keruta.adapters.git.command import QUIET, Git
from keruta.adapters.git.faults import TransientError
from keruta.adapters.git.remote import Resolved
from keruta.domain.messages import message
from keruta.errors import PhaseError

Tried = Callable[[Callable[[], object]], object]
_PROMISED = ("remote.origin.promisor", "remote.origin.partialclonefilter", "extensions.partialclone")


def check_out(git: Git, paths: Sequence[str], resolved: Resolved, tried: Tried, *, lfs: bool = False) -> None:
    """The workspace has these directories, and the files beside and above them; HEAD is detached.

    Args:
        git: in a workspace whose repository has the commit, and `origin` for what it has not.
        paths: from the top of the repository. One that is not in the commit is nothing, as for Git.
        tried: calls again what failed for a moment.

    Raises:
        PhaseError: CheckoutRefused, where a path is a file.
        Stopped.
    """
    _refuse_files(git, paths, resolved.commit)
    lines = "".join(f"{_quoted(path)}\n" for path in paths)
    git("sparse-checkout", "set", "--cone", "--stdin", stdin=lines.encode(), reason="CheckoutRefused")
    smudge: tuple[str, ...] = ()
    if lfs:  # as it is checked out: a search for all pointers would fetch every file
        large_files.need_program()
        smudge = large_files.options(git)
        git = git.with_env({**git.env, "GIT_LFS_SKIP_SMUDGE": "0"})

    def check_out_once() -> None:
        git(*QUIET, *smudge, "checkout", "-q", "--force", "--detach", resolved.commit, reason="CheckoutRefused")

    try:
        tried(check_out_once)
    except TransientError:
        raise
    except PhaseError as error:
        if lfs and "lfs" in error.message.text:
            raise large_files.failed(error) from error
        if error.reason != "RefNotFound":
            raise
        tried(lambda: _complete(git, resolved))  # the server filters, and gives no single file
        check_out_once()


def _refuse_files(git: Git, paths: Sequence[str], commit: str) -> None:
    listed = git.read("--literal-pathspecs", "ls-tree", "-z", "--full-tree", commit, "--", *paths)
    for row in listed.split(b"\0"):
        told, _, path = row.partition(b"\t")
        if b" blob " in told:
            said = message("checkout_path_is_file", path=path.decode("utf-8", "replace"))
            raise PhaseError("CheckoutRefused", said)


def _complete(git: Git, resolved: Resolved) -> None:
    """The repository has the whole commit, and expects nothing more of the server."""
    git(
        "fetch", "-q", "--refetch", "--no-filter", "--depth=1", "--no-tags", "--no-write-fetch-head", "--", "origin",
        resolved.object,
    )  # fmt: skip
    for name in _PROMISED:
        git.run("config", "--unset", name)


def _quoted(path: str) -> str:
    """A path as a line that `git sparse-checkout` reads: one that begins with a quotation mark is quoted as in C."""
    if not path.startswith('"'):
        return path
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
