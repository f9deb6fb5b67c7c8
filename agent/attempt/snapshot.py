"""The tree that `git add --all` would make of a workspace, without Git ever looking into the workspace.

Files are opened by `agent.attempt.workspace_files`; those that may have changed are copied into a directory of the
agent's (`agent.attempt.copies`). There Git makes objects of them, with a configuration in which no filter but Git LFS
exists. Attribute and ignore files are copied as data, so text, eol and encoding apply. Git enters no nested repository:
see `_gitlink`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

import msgspec

from agent.attempt import large_files
from agent.attempt.copies import RULES_LIMIT_BYTES, Copies, directories_above, parent, shown, unreadable
from agent.attempt.git_directory import is_repository, nested_head, submodule_paths
from agent.attempt.git_index import GITLINK, MODES, TREE, IndexEntry
from agent.attempt.git_objects import tree_rows
from agent.attempt.workspace_files import Beneath, parts
from keruta.adapters.git.command import Git
from keruta.errors import PhaseError

SHOWN_PATHS = 20


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about the checkout that do not depend on the script.

    Args:
        head: mode and object id by path, of the commit that HEAD names.
        checked_out: the index as the checkout left it, by path: what has the same times, inode and size is unchanged.
        checked_out_at: when that index was written, in nanoseconds; a file of the same moment may have changed since.
    """

    head: Mapping[bytes, tuple[int, str]]
    checked_out: Mapping[bytes, IndexEntry]
    checked_out_at: int = 0


class Snapshot:
    """Makes the tree, once.

    Args:
        git: in the agent's own bare repository, which has the objects of HEAD.
        directory: where copies are made; must not exist.
        lfs: whether files that `filter=lfs` names become pointers.
        modes: whether a file's own mode counts; otherwise the index has it (`core.fileMode`).
        lenient: whether what can't be read is left out, or stays as it is committed, and named in `left_out`.
    """

    def __init__(
        self, files: Beneath, git: Git, directory: Path, baseline: Baseline, *, lfs: bool, lenient: bool = False,
        modes: bool = True,
    ) -> None:  # fmt: skip
        self._files = files
        self._directory = directory
        self._copies = Copies(files, directory)
        self._git = git.with_env({**git.env, "GIT_WORK_TREE": str(directory)}, directory)
        self._base = baseline
        self._filters = large_files.options(git) if lfs else ()
        self._lenient = lenient
        self._modes = modes
        self._entries: dict[bytes, tuple[int, str]] = {}
        self._modules = submodule_paths(files.read(b".gitmodules", RULES_LIMIT_BYTES) or b"")
        self.left_out: list[str] = []

    def tree(self, tracked: Sequence[IndexEntry] | None) -> str:
        """Return the id of the tree.

        Args:
            tracked: the workspace's index; None where there is none, then HEAD's files are tracked.

        Raises:
            PhaseError: PushFailed: a file can't be read, or Git refuses one.
        """
        known = self._tracked(tracked)
        self._keep(entry for entry in known.values() if _left_alone(entry))
        looked_at = sorted((entry for entry in known.values() if not _left_alone(entry)), key=_place)
        for directory, group in groupby(looked_at, key=lambda entry: parent(entry.path)):
            self._look(directory, group)
        self._untracked(known)
        self._add()
        return self._git("write-tree", "--missing-ok", reason="PushFailed").strip()

    # ------------------------------------------------------------ tracked files

    def _tracked(self, index: Sequence[IndexEntry] | None) -> dict[bytes, IndexEntry]:
        """Everything that is tracked, by path; a whole directory of a sparse index as its files."""
        if index is None:
            return {path: IndexEntry(path, mode, oid) for path, (mode, oid) in self._base.head.items()}
        found: dict[bytes, IndexEntry] = {}
        for entry in index:
            if entry.mode == TREE:
                found |= {one.path: one for one in self._outside(entry)}
            elif entry.mode not in MODES or not _can_be_tracked(entry.path):
                continue
            elif entry.path not in found or entry.stage == 2:
                found[entry.path] = entry
        return found

    def _outside(self, directory: IndexEntry) -> Iterator[IndexEntry]:
        """The files of a directory that a sparse index keeps as one entry; HEAD's, where its tree is not there."""
        prefix = directory.path
        if not _can_be_tracked(prefix.rstrip(b"/")):
            return
        done = self._git.run("ls-tree", "-r", "-z", "--full-tree", directory.object_id)
        if done.exit_code == 0:
            inner = {prefix + path: row for path, row in tree_rows(done.out).items()}
        else:
            inner = {path: row for path, row in self._base.head.items() if path.startswith(prefix)}
        for path, (mode, oid) in inner.items():
            yield IndexEntry(path, mode, oid, kept=True)

    def _keep(self, entries: Iterable[IndexEntry]) -> None:
        """Keep entries that Git does not update: as in the index, or as in HEAD if the index names a missing object."""
        kept = list(entries)
        there = self._present(entry.object_id for entry in kept)
        for entry in kept:
            committed = self._base.head.get(entry.path)
            if entry.object_id in there or committed == (entry.mode, entry.object_id):
                self._entries[entry.path] = (entry.mode, entry.object_id)
            elif committed is not None:
                self._entries[entry.path] = committed

    def _look(self, directory: bytes, entries: Iterable[IndexEntry]) -> None:
        """Decides for the tracked files of one directory: as they were, changed or gone."""
        self._git.check_time()
        with ExitStack() as stack:
            try:
                descriptor = stack.enter_context(self._files.directory(directory))
            except PermissionError:
                self._unreadable(unreadable(directory))
                self._entries |= {one.path: (one.mode, one.object_id) for one in entries}
                return
            except OSError:
                return  # the directory is gone, or a link stands in its place: so its files are gone
            for entry in entries:
                self._git.check_time()
                self._look_at(descriptor, entry)

    def _look_at(self, descriptor: int, entry: IndexEntry) -> None:
        name = entry.path.rpartition(b"/")[2]
        try:
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except OSError:
            return
        if stat.S_ISDIR(found.st_mode):
            if entry.mode == GITLINK:
                self._gitlink(entry.path, entry)
            return
        if self._unchanged(entry.path, found):
            before = self._base.checked_out[entry.path]
            mode = entry.mode if entry.mode in (0o100644, 0o100755) and not self._modes else before.mode
            self._entries[entry.path] = (mode, before.object_id)
        elif self._copied(descriptor, entry.path, found) and entry.mode != GITLINK:
            self._entries[entry.path] = (entry.mode, entry.object_id)  # whether its lines ended in CRLF counts

    def _copied(self, descriptor: int, path: bytes, found: os.stat_result) -> bool:
        """Return whether there is a file; where it can't be read, it stays as it was."""
        try:
            return self._copies.copy(descriptor, path, found)
        except PhaseError as error:
            self._unreadable(error)
            return True

    def _unreadable(self, error: PhaseError) -> None:
        if not self._lenient:
            raise error
        self.left_out.append(str(error.message))

    def _unchanged(self, path: bytes, found: os.stat_result) -> bool:
        """Return whether a file is the one that the checkout wrote. No script can set a file's change time."""
        before = self._base.checked_out.get(path)
        if before is None or before.mode == GITLINK:
            return False
        mtime, ctime = divmod(found.st_mtime_ns, 10**9), divmod(found.st_ctime_ns, 10**9)
        now = (*mtime, *ctime, found.st_ino & 0xFFFFFFFF, found.st_size & 0xFFFFFFFF)
        return now == before.stat and before.mode == _mode(found) and found.st_ctime_ns < self._base.checked_out_at

    def _gitlink(self, path: bytes, entry: IndexEntry | None) -> None:
        """A nested repository.

        A submodule that `.gitmodules` registers is at the commit that its own HEAD names. Any other stays as HEAD
        names it, and where HEAD names none it is left out: nobody could check it out.
        """
        head = nested_head(self._files, path) if path in self._modules else None
        committed = self._base.head.get(path)
        if head is not None:
            self._entries[path] = (GITLINK, head)
        elif committed is not None and committed[0] == GITLINK:
            self._entries[path] = committed
        elif entry is not None and path in self._modules:
            self._entries[path] = (GITLINK, entry.object_id)
        else:
            self.left_out.append(f"{shown(path)}: a Git repository of its own, and no registered submodule")

    # ------------------------------------------------------------ untracked files

    def _untracked(self, known: Mapping[bytes, IndexEntry]) -> None:
        """Copies what is not tracked and not ignored, one level of directories after the other."""
        tracked_above = {above for path in known for above in directories_above(path)}
        level = [b""]
        while level:
            files: list[bytes] = []
            directories: list[bytes] = []
            for directory in level:
                self._git.check_time()
                for path, kind in self._list(directory):
                    if stat.S_ISDIR(kind.st_mode):
                        directories.append(path)
                    elif path not in known and (stat.S_ISREG(kind.st_mode) or stat.S_ISLNK(kind.st_mode)):
                        files.append(path)
            for path in directories:
                self._copies.make(path)
            ignored = self._ignored([*files, *directories])
            for path in files:
                if path not in ignored:
                    self._take(path)
            level = [
                path
                for path in directories
                if path not in ignored and self._enter(path, known, tracked=path in tracked_above)
            ]

    def _take(self, path: bytes) -> None:
        try:
            self._copies.take(path)
        except PhaseError as error:
            self._unreadable(error)

    def _list(self, directory: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
        self._copies.rules(directory)
        try:
            entries = self._files.entries(directory)
        except PermissionError:
            self._unreadable(unreadable(directory))
            return
        except OSError:
            return
        for name, kind in entries:
            path = directory + b"/" + name if directory else name
            if name.lower() == b".git":
                if name != b".git":
                    self.left_out.append(f"{shown(path)}: Git takes no file of this name")
                continue
            if len(path) > 4000:
                self.left_out.append(f"{shown(path)}: its path is too long")
            else:
                yield path, kind

    def _enter(self, path: bytes, known: Mapping[bytes, IndexEntry], *, tracked: bool) -> bool:
        """Return whether a directory's files belong to the workspace itself, and not to a repository inside it."""
        if path in known and known[path].mode == GITLINK:
            return False  # decided already
        if tracked or not is_repository(self._files, path):
            return True
        self._gitlink(path, None)
        return False

    def _ignored(self, paths: Sequence[bytes]) -> set[bytes]:
        """Return those of the paths that Git ignores, by the copied ignore files."""
        if not paths:
            return set()
        nothing_tracked = {**self._git.env, "GIT_INDEX_FILE": str(self._directory.with_name("no-index"))}
        asked = _lines(b"./" + path for path in paths)  # so that no name is taken for a pathspec's magic
        out = self._git.with_env(nothing_tracked).read(
            "check-ignore", "--no-index", "-z", "--stdin", stdin=asked, reason="PushFailed", allowed=(1,)
        )
        return {path[2:] for path in out.split(b"\0")}

    # ------------------------------------------------------------ the index

    def _add(self) -> None:
        """Fills the agent's own index, and has Git make objects of what was copied."""
        changed = set(self._copies.paths)
        there = self._present(oid for path, (_, oid) in self._entries.items() if path in changed)
        rows = []
        for path, (mode, oid) in self._entries.items():
            if path not in changed or oid in there:
                rows.append(b"%o %s\t%s" % (mode, oid.encode(), path))
        self._git("update-index", "-z", "--index-info", stdin=_lines(rows), reason="PushFailed")
        if changed:
            self._make_objects(_lines(sorted(changed)))
            added = set(self._git.read("ls-files", "-z", reason="PushFailed").split(b"\0"))
            self.left_out += [f"{shown(path)}: Git takes no file of this name" for path in changed - added]

    def _make_objects(self, paths: bytes) -> None:
        """Git makes objects of the copies; of one that is not in its `working-tree-encoding` as it is, if lenient."""
        command = (*self._filters, "update-index", "--add", "--replace", "-z", "--stdin")
        try:
            self._git(*command, stdin=paths, reason="PushFailed")
        except PhaseError:
            if not self._lenient:
                raise
            with Path(self._git.env["GIT_DIR"], "info", "attributes").open("ab") as file:
                file.write(b"\n* !working-tree-encoding\n")
            self._git(*command, stdin=paths, reason="PushFailed")

    def _present(self, object_ids: Iterable[str]) -> set[str]:
        wanted = sorted(set(object_ids))
        if not wanted:
            return set()
        out = self._git(
            "cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=_text(wanted), reason="PushFailed"
        )
        return {row[:-5] for row in out.splitlines() if row.endswith(" blob")}


def _mode(found: os.stat_result) -> int:
    if stat.S_ISLNK(found.st_mode):
        return 0o120000
    return 0o100755 if found.st_mode & 0o100 else 0o100644


def _can_be_tracked(path: bytes) -> bool:
    try:
        return bool(path) and all(part.lower() != b".git" for part in parts(path))
    except OSError:
        return False


def _left_alone(entry: IndexEntry) -> bool:
    return entry.kept and entry.mode != GITLINK


def _place(entry: IndexEntry) -> tuple[bytes, bytes]:
    return parent(entry.path), entry.path


def _lines(rows: Iterable[bytes]) -> bytes:
    return b"".join(row + b"\0" for row in rows)


def _text(rows: Iterable[str]) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()
