"""The script's result as one commit in a repository of the agent's own, to be pushed or kept as a bundle and a patch.

The repository is made here, and its configuration is Git's own. Objects come from the workspace verified
(`agent.attempt.git_objects`), where HEAD is comes from files that are read as data (`agent.attempt.git_directory`), and
what is not committed comes from copies (`agent.attempt.snapshot`). No Git process looks into the workspace.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from agent.attempt import large_results
from agent.attempt.commits import Commits, amended_base, read_commits, with_parents
from agent.attempt.copies import shown
from agent.attempt.git_directory import GitDirectory
from agent.attempt.git_index import IndexUnreadableError, parse
from agent.attempt.git_objects import take_objects, tree_rows
from agent.attempt.git_settings import Home, read_settings
from agent.attempt.left_behind import left_behind
from agent.attempt.snapshot import SHOWN_PATHS, Baseline, Snapshot
from agent.attempt.workspace_files import Beneath
from keruta.adapters.git.command import Git
from keruta.domain.commit_rules import CommitIdentity
from keruta.domain.messages import message
from keruta.domain.reports import KEPT_LARGE, KEPT_WORK
from keruta.errors import PhaseError

PATCH_LIMIT_BYTES = 1 << 20
OTHER_BRANCHES_LIMIT = 20


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """The commits that a script made.

    Args:
        base: the commit that was checked out.
        head: the commit to push; `base` where nothing was made.
        commits: all that the repository has.
        others: new commits that HEAD does not lead to, by the refs that name them.
        committed: the script's own last commit, below the one for what it did not commit; None where there is none.
        branch: the full name of the branch that HEAD was on.
    """

    base: str
    head: str
    commits: Commits
    others: Mapping[str, str] = {}
    committed: str | None = None
    branch: str | None = None

    @property
    def empty(self) -> bool:
        return self.head == self.base and not self.others


class ResultRepository:
    """The repository; `read` fills it.

    Args:
        directory: where it is made.
        base: the commit that was checked out.
        git: gives Git its time limit; its environment is replaced.
        index: the copy of the workspace's index that was made after the checkout.
        excluded: patterns, as in gitignore(5), of untracked files that are left out beside the workspace's own.
        home: the script's, whose Git configuration counts beside the workspace's.
        say: told what a person should know.
    """

    def __init__(
        self, directory: Path, workspace: Path, *, base: str, git: Git, index: Path | None = None, lfs: bool = False,
        excluded: Sequence[str] = (), home: Home | None = None, say: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.directory = directory
        self.bare = directory / "repository.git"
        self.empty()
        self._workspace = workspace
        self.base = base
        self._algorithm = "sha256" if len(base) == 64 else "sha1"
        self._index = index
        self._lfs = lfs
        self._excluded = excluded
        self._home = home
        self._say = say
        self._signed: dict[str, str] = {}
        self.git = git.with_env(own_environment(self.bare), self.bare)

    def empty(self) -> None:
        """Remove what is there, so that it can be read anew."""
        self.remove()
        self.directory.mkdir(mode=0o700)
        self.bare.mkdir()

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def over_network(self, git: Git) -> Git:
        """Return Git in this repository with what opens the server."""
        offline = {name: value for name, value in own_environment(self.bare).items() if name not in ("HOME", "PATH")}
        kept = {name: value for name, value in offline.items() if not name.startswith("GIT_CONFIG")}
        return git.with_env({**git.env, **kept}, self.bare)

    def begin(self) -> None:
        """Make the empty repository."""
        self.git("init", "-q", "--bare", "--template=", f"--object-format={self._algorithm}", ".", reason="PushFailed")

    # ------------------------------------------------------------ what was made

    def read(
        self, identity: CommitIdentity, text: str, made_at: int, fetch_base: Callable[[Git], object] | None = None,
        *, files_alone: bool = False,
    ) -> Work:  # fmt: skip
        """Return what the script made: its commits, and one on top for what it did not commit.

        Args:
            text: the message of that commit.
            made_at: its time, in seconds since 1970.
            fetch_base: fetches the base commit where the workspace lost it.
            files_alone: the workspace's own repository can't be read: its files become one commit on the base commit,
                and those that can't be read are left out.

        Raises:
            PhaseError: PushFailed, with a sentence.
            Stopped, TimedOut.
        """
        self.begin()
        self._signed = author(identity, made_at)
        try:
            with Beneath(self._workspace) as files:
                read = self._read_files if files_alone else self._read
                return read(files, text, fetch_base)
        except OSError as error:
            raise PhaseError("PushFailed", message("push_unreadable", error=error.strerror or str(error))) from error

    def _read_files(self, files: Beneath, text: str, fetch_base: Callable[[Git], object] | None) -> Work:
        commits = self._objects(files, fetch_base)
        if self.base not in commits:
            raise PhaseError("PushFailed", message("result_head_missing", commit=self.base))
        self.end_history(commits)
        base = self._baseline(tree_rows(self._tree(self.base)))
        snapshot = Snapshot(files, self.git, self.directory / "files", base, lfs=self._lfs, lenient=True)
        (self.bare / "info").mkdir(exist_ok=True)
        (self.bare / "info" / "exclude").write_text("".join(f"{one}\n" for one in self._excluded))
        head = self._on_top(self.base, snapshot.tree(list(base.checked_out.values()) or None), [], text)
        self._tell_left_out(snapshot)
        return Work(base=self.base, head=head, commits=self.end_history(read_commits(self.git)))

    def _objects(self, files: Beneath, fetch_base: Callable[[Git], object] | None) -> Commits:
        """The repository has the workspace's objects, and the base commit; returns the commits."""
        taken = take_objects(files, b".git/objects", self.git, self._algorithm)
        if taken.bad:
            self._say(f"{taken.bad} damaged Git objects or packs in the workspace left out")
        commits = read_commits(self.git)
        if self.base not in commits and fetch_base is not None:
            fetch_base(self.git)
            commits = read_commits(self.git)
        return commits

    def _read(self, files: Beneath, text: str, fetch_base: Callable[[Git], object] | None) -> Work:
        directory = GitDirectory(files)
        commits = self._objects(files, fetch_base)
        for what in directory.unfinished():
            self._say(f"{what} was not finished in the workspace: HEAD and the files count as they are")
        head, branch = directory.head()
        parent = self._parent(directory, commits, head, branch)
        commits = self.end_history(commits)
        if parent is not None and (made_of := amended_base(commits, parent, self.base, directory.amended())):
            before = parent
            parent = with_parents(self.git, commits, parent, made_of, self._algorithm)
            self._say(f"the commit that was checked out was amended: {before} became {parent}, with its parents")
            commits = self.end_history(read_commits(self.git))
        head = self._commit(files, directory, commits, parent, text)
        if head not in commits:
            commits = self.end_history(read_commits(self.git))
        if self._lfs and self.base in commits:
            large_results.take_from(files, self.git, head, self.base)
        others = self._others(directory, commits, head, branch)
        return Work(base=self.base, head=head, commits=commits, others=others, committed=parent, branch=branch)

    def _parent(self, directory: GitDirectory, commits: Commits, head: str | None, branch: str | None) -> str | None:
        """The commit that a person would commit on; None for a branch that has no commit yet."""
        if head is None and branch is not None and self.base in commits:
            name = shown(os.fsencode(branch))
            self._say(f"HEAD is on {name}, which has no commit: the result begins a history of its own")
            return None
        if head is None:
            self._say("HEAD in the workspace names no commit: the one that was checked out is taken")
            head = self.base
        if head in commits:
            return head
        code = "result_head_borrowed" if directory.borrows else "result_head_missing"
        raise PhaseError("PushFailed", message(code, commit=head))

    def end_history(self, commits: Commits) -> Commits:
        """Git is told where history ends; so a commit that has lost its parents is no fault."""
        (self.bare / "shallow").write_text("".join(f"{one}\n" for one in commits.shallow))
        if not commits.shallow:
            (self.bare / "shallow").unlink()
        return commits

    def _commit(self, files: Beneath, directory: GitDirectory, commits: Commits, parent: str | None, text: str) -> str:
        modes = self._heed_settings(files, directory).get("core.filemode") != "false"
        listed = b"" if parent is None else self._tree(parent)
        snapshot = Snapshot(
            files, self.git, self.directory / "files", self._baseline(tree_rows(listed)), lfs=self._lfs, modes=modes
        )
        tracked = directory.tracked(len(self.base) // 2)
        tree = snapshot.tree(tracked)
        for unmerged in sorted({entry.path for entry in tracked or () if entry.stage})[:SHOWN_PATHS]:
            self._say(f"in the result with an unresolved conflict: {shown(unmerged)}")
        self._tell_left_out(snapshot)
        merged = [one for one in directory.commits_in(b"MERGE_HEAD") if one in commits and one != parent]
        return self._on_top(parent, tree, merged, text)

    def _heed_settings(self, files: Beneath, directory: GitDirectory) -> Mapping[str, str]:
        """Settings, ignored files and attributes that lie outside the tree count as in the workspace.

        Return the settings.
        """
        found = read_settings(files, self._home, self._say)
        for name, value in found.values.items():
            self.git("config", name, value, reason="PushFailed")
        info, own = self.bare / "info", [one.encode() for one in self._excluded]
        info.mkdir(exist_ok=True)
        (info / "exclude").write_bytes(b"\n".join((found.ignored, directory.exclude, *own, b"")))
        (info / "attributes").write_bytes(directory.attributes)
        if found.attributes:
            (info / "users-attributes").write_bytes(found.attributes)
            self.git("config", "core.attributesFile", str(info / "users-attributes"), reason="PushFailed")
        return found.values

    def _tell_left_out(self, snapshot: Snapshot) -> None:
        for path in sorted(snapshot.left_out)[:SHOWN_PATHS]:
            self._say(f"not in the result: {path}")
        if len(snapshot.left_out) > SHOWN_PATHS:
            self._say(f"not in the result: {len(snapshot.left_out) - SHOWN_PATHS} more")

    def _on_top(self, parent: str | None, tree: str, merged: Sequence[str], text: str) -> str:
        """Return the commit of a tree; the parent itself where nothing would be new."""
        unchanged = (
            parent is not None and tree == self.git("rev-parse", f"{parent}^{{tree}}", reason="PushFailed").strip()
        )
        if parent is not None and unchanged and not merged:
            return parent
        parents = [word for one in (parent, *merged) if one is not None for word in ("-p", one)]
        git = self.git.with_env({**self.git.env, **self._signed})
        given = text.encode("utf-8", "replace").replace(b"\0", b"")  # Git refuses a message with one
        return git("commit-tree", tree, *parents, "-F", "-", stdin=given, reason="PushFailed").strip()

    def _tree(self, commit: str) -> bytes:
        return self.git.read("ls-tree", "-r", "-z", "--full-tree", commit, reason="PushFailed")

    def _baseline(self, head: Mapping[bytes, tuple[int, str]]) -> Baseline:
        if self._index is None:
            return Baseline(head=head, checked_out={})
        try:
            entries = parse(self._index.read_bytes(), len(self.base) // 2).entries
            written_at = self._index.stat().st_mtime_ns
        except (OSError, IndexUnreadableError):
            return Baseline(head=head, checked_out={})
        return Baseline(head=head, checked_out={entry.path: entry for entry in entries}, checked_out_at=written_at)

    def _others(self, directory: GitDirectory, commits: Commits, head: str, branch: str | None) -> dict[str, str]:
        """New commits of other branches, of tags and of the stash: not pushed, but said and kept."""
        led_to = set(commits.reachable([head, self.base]))
        found: dict[str, str] = {}
        for name, commit in sorted(self._peeled(directory.refs(), commits).items()):
            if name == branch or commit in led_to or len(found) >= OTHER_BRANCHES_LIMIT:
                continue
            if name.startswith("refs/tags/") and commit in found.values():
                continue
            found[name] = commit
            count = len(commits.new(commit, [head, self.base]))
            what = f"{count} {'commit' if count == 1 else 'commits'} of {_called(name)}"
            what = "what is stashed" if name == "refs/stash" else what
            self._say(f"not in the result: {what}; HEAD is where the result is taken from")
        known = [head, self.base, *found.values()]
        return found | left_behind(self.git, commits, directory.left_behind(), head, known, self._say)

    def _peeled(self, refs: Mapping[str, str], commits: Commits) -> dict[str, str]:
        """Return the commits that refs lead to, without those that are not here."""
        tags = sorted({one for one in refs.values() if one not in commits})
        asked = "".join(f"{one}^{{commit}}\n" for one in tags).encode()
        lines = self.git("cat-file", "--batch-check=%(objectname)", stdin=asked, reason="PushFailed").splitlines()
        led_to = dict(zip(tags, lines, strict=True)) if tags else {}
        peeled = {name: led_to.get(one, one) for name, one in refs.items()}
        return {name: commit for name, commit in peeled.items() if commit in commits}

    # ------------------------------------------------------------ kept as files

    def bundle(self, work: Work, target: Path) -> Path | None:
        """Return the file that holds the commits that the base does not have; None where there are none.

        Raises:
            PhaseError: PushFailed.
        """
        wanted = {one for one in (work.head, work.committed, *work.others.values()) if one is not None} - {work.base}
        if not wanted:
            return None
        for number, commit in enumerate(sorted(wanted)):
            self.git("update-ref", f"refs/stored/{number}", commit, reason="PushFailed")
        known = [f"^{self.base}"] if self.base in work.commits else []
        self.git("bundle", "create", "-q", str(target), "--glob=refs/stored/*", *known, reason="PushFailed")
        return target

    def keep(self, work: Work, target: Path, branch: str) -> list[Path]:
        """Return the files in which the work is kept: a bundle that `git fetch` takes, and a patch where it is small.

        The files of Git LFS are beside them.

        Raises:
            PhaseError: PushFailed.
        """
        if work.empty:
            return []
        own = f"refs/heads/{branch.removeprefix('refs/heads/')}"
        refs = {own: work.head, **{_beside(own, name): commit for name, commit in work.others.items()}}
        for name, commit in refs.items():
            self.git("update-ref", name, commit, reason="PushFailed")
        (self.bare / "HEAD").write_text(f"{work.head}\n")
        target.mkdir(exist_ok=True)
        bundle, patch = target / KEPT_WORK, target / "result.patch"
        known = [f"^{self.base}"] if self.base in work.commits else []
        tips = ["HEAD", *refs] if work.head != self.base else list(refs)[1:]
        self.git("bundle", "create", "-q", str(bundle), *tips, *known, reason="PushFailed")
        kept = [bundle]
        if large_results.pack(self.bare, large := target / KEPT_LARGE):
            kept.append(large)
        if work.head != self.base and known:
            done = self.git.run(
                "diff", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color",
                f"--output={patch}", self.base, work.head,
            )  # fmt: skip
            # A file of a partial clone that was removed without ever being there: the bundle says it, no patch can.
            if done.exit_code == 0 and 0 < patch.stat().st_size <= PATCH_LIMIT_BYTES:
                kept.append(patch)
        return kept


def _called(ref: str) -> str:
    """A ref as a person calls it."""
    name = shown(os.fsencode(ref))
    for space, kind in (("refs/heads/", "the branch "), ("refs/tags/", "the tag ")):
        if name.startswith(space):
            return kind + name.removeprefix(space)
    return name


def _beside(own: str, other: str) -> str:
    """Return the name of another branch in a bundle, where it can't be its own beside the result's."""
    clash = other == own or own.startswith(f"{other}/") or other.startswith(f"{own}/")
    return other.replace("refs/heads/", "refs/other/", 1) if clash else other


def own_environment(repository: Path) -> dict[str, str]:
    """Return the environment of Git in a repository of the agent's own, which opens no server."""
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(repository),
        "LC_ALL": "C",
        "GIT_DIR": str(repository),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_ADVICE": "0",
    }


def author(identity: CommitIdentity, made_at: int) -> dict[str, str]:
    """Return what Git takes as author and committer from its environment."""
    made: dict[str, str] = {}
    for role in ("AUTHOR", "COMMITTER"):
        made |= {f"GIT_{role}_NAME": identity.name, f"GIT_{role}_EMAIL": identity.email}
        made[f"GIT_{role}_DATE"] = f"@{made_at} +0000"
    return made


def check_new(repository: ResultRepository, tip: str, known: Sequence[str]) -> None:
    """Check what is new for faults, as a careful server does; what the server has already is not looked at.

    Args:
        known: commits that the server has.

    Raises:
        PhaseError: PushFailed.
    """
    git, prefix = repository.git, repository.directory / "new"
    wanted = "".join([f"{tip}\n", *(f"^{one}\n" for one in known)]).encode()
    name = git("pack-objects", "-q", "--revs", str(prefix), stdin=wanted, reason="PushFailed").strip()
    pack = f"{prefix}-{name}.pack"
    try:
        git("index-pack", "--fsck-objects", "-o", f"{prefix}.idx", pack, reason="PushFailed")
    finally:
        for path in repository.directory.glob("new*"):
            path.unlink()
