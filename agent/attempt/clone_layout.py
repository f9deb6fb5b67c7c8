"""The `.git` directory that `git clone` would make: its layout, its configuration and its refs."""

from __future__ import annotations

from pathlib import Path

from keruta.adapters.git.remote import Resolved
from keruta.domain.repository import ref_fault

FILTER = "blob:none"
_EXCLUDE = (
    "# git ls-files --others --exclude-from=.git/info/exclude\n"
    "# Lines that start with '#' are comments.\n# For a project mostly in C, the following would be a good set of\n"
    "# exclude patterns (uncomment them if you want to use them):\n# *.[oa]\n# *~\n"
)


def make_repository(workspace: Path, url: str, resolved: Resolved, *, partial: bool = False) -> None:
    """Make what `git init` makes, without a process and without templates or hooks.

    Args:
        partial: contents of files are fetched from `origin` when they are needed, as in a clone that was made with
            `--filter=blob:none`.

    Source: gitrepository-layout(5).
    """
    directory = workspace / ".git"
    for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info", "hooks"):
        (directory / name).mkdir(parents=True)
    (directory / "info" / "exclude").write_text(_EXCLUDE)
    (directory / "description").write_text("Unnamed repository; edit this file 'description' to name the repository.\n")
    (directory / "HEAD").write_text("ref: refs/heads/main\n")
    extensions = [
        *(["\tobjectFormat = sha256"] if len(resolved.commit) == 64 else []),
        *(["\tpartialClone = origin"] if partial else []),
    ]
    lines = [
        "[core]", f"\trepositoryformatversion = {int(bool(extensions))}", "\tfilemode = true", "\tbare = false",
        "\tlogallrefupdates = true", *(["[extensions]", *extensions] if extensions else []),
        '[remote "origin"]', f'\turl = "{_quoted(url)}"', "\tfetch = +refs/heads/*:refs/remotes/origin/*",
        *(["\tpromisor = true", f"\tpartialclonefilter = {FILTER}"] if partial else []),
    ]  # fmt: skip
    if (branch := _branch(resolved.ref)) is not None:
        lines += [
            f'[branch "{_quoted(branch)}"]',
            "\tremote = origin",
            f'\tmerge = "{_quoted(f"refs/heads/{branch}")}"',
        ]
    (directory / "config").write_text("\n".join(lines) + "\n")


def set_refs(workspace: Path, resolved: Resolved) -> None:
    """Put HEAD on the branch that was checked out, with its upstream; or keep the tag that was.

    Called when the commit is checked out and HEAD is detached. `origin/HEAD` is there where what it names is.
    """
    directory = workspace / ".git"
    branch = _branch(resolved.ref)
    if branch is not None:
        _write(directory / "refs" / "heads" / branch, resolved.commit)
        _write(directory / "refs" / "remotes" / "origin" / branch, resolved.commit)
        (directory / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
        (directory / "logs" / "HEAD").unlink(missing_ok=True)  # it tells of a move that no clone makes
    elif resolved.ref is not None and resolved.ref.startswith("refs/tags/") and ref_fault(resolved.ref) is None:
        _write(directory / resolved.ref, resolved.object)
    default = _branch(resolved.default_ref)
    if default is not None and (directory / "refs" / "remotes" / "origin" / default).is_file():
        _write(directory / "refs" / "remotes" / "origin" / "HEAD", f"ref: refs/remotes/origin/{default}")


def _branch(ref: str | None) -> str | None:
    """A branch's short name. The server chose it where the default branch was asked for: it is no path out of here."""
    if ref is None or not ref.startswith("refs/heads/") or ref_fault(ref) is not None:
        return None
    branch = ref.removeprefix("refs/heads/")
    hidden = any(part.startswith(".") or len(part.encode()) > 250 for part in branch.split("/"))
    return None if hidden or branch == "HEAD" else branch


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def _quoted(text: str) -> str:
    """A text as it stands between quotation marks in Git's configuration."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
