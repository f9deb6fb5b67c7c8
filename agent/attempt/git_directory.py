"""Reads the Git directory of a workspace as data: where HEAD is, what is tracked, what is excluded. Git is not asked.

Everything read here may have been written by the script. Links, other directories (`commondir`, `alternates`,
`core.worktree`) and configuration are not followed.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Iterator

from agent.attempt.git_index import INDEX_LIMIT_BYTES, IndexEntry, IndexUnreadableError, parse
from agent.attempt.workspace_files import PATH_LIMIT_BYTES, Beneath
from keruta.domain.messages import message
from keruta.errors import PhaseError

REFS_LIMIT = 20_000
PACKED_LIMIT_BYTES = 64 << 20
TEXT_LIMIT_BYTES = 1 << 20
SYMREF_DEPTH = 5
_HEX = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
_NOT_OWN = (b"refs/remotes/", b"refs/bisect/", b"refs/rewritten/")  # the server's, and marks of what is not finished
_UNFINISHED = {
    b"rebase-merge": "a rebase",
    b"rebase-apply": "a rebase or git am",
    b"CHERRY_PICK_HEAD": "a cherry-pick",
    b"REVERT_HEAD": "a revert",
    b"BISECT_START": "a bisection",
}
_NOT_IN_REF = re.compile(rb"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{")


class GitDirectory:
    """The `.git` of a directory beneath the workspace.

    Args:
        at: the directory's path, empty for the workspace itself.

    Raises:
        PhaseError: PushFailed, with a sentence, when it is none that is read.
    """

    def __init__(self, files: Beneath, at: bytes = b"") -> None:
        self._files = files
        self.path = _join(at, b".git")
        found = files.stat(self.path)
        if found is None:
            raise PhaseError("PushFailed", message("result_no_git"))
        if stat.S_ISLNK(found.st_mode):
            raise PhaseError("PushFailed", message("push_linked"))
        if not stat.S_ISDIR(found.st_mode):
            raise PhaseError("PushFailed", message("result_git_file"))
        if files.stat(self._in(b"reftable")) is not None:
            raise PhaseError("PushFailed", message("result_reftable"))

    def _in(self, name: bytes) -> bytes:
        return _join(self.path, name)

    def _text(self, name: bytes, limit_bytes: int = TEXT_LIMIT_BYTES) -> bytes:
        return self._files.read(self._in(name), limit_bytes) or b""

    # ------------------------------------------------------------ refs

    def head(self) -> tuple[str | None, str | None]:
        """Return the commit that HEAD names and the full name of its branch, each None where there is none.

        A name is bytes, as a path is: what is not UTF-8 in it is escaped as `os.fsdecode` does.
        """
        return self._follow(b"HEAD")

    def _follow(self, name: bytes) -> tuple[str | None, str | None]:
        branch = None
        for _ in range(SYMREF_DEPTH):
            text = self._text(name, 4096).strip()
            if not text and (target := self._files.link(self._in(name))) is not None and _is_ref(target):
                text = b"ref: " + target  # as Git wrote HEAD long ago, and does with core.preferSymlinkRefs
            if _HEX.fullmatch(text):
                return text.decode(), branch
            if not text.startswith(b"ref:"):
                return (self._packed.get(name) if branch else None), branch
            name = text[4:].strip()
            if not _is_ref(name):
                return None, None
            branch = os.fsdecode(name)
        return None, None

    @functools.cached_property
    def _packed(self) -> dict[bytes, str]:
        rows = (line.partition(b" ") for line in self._text(b"packed-refs", PACKED_LIMIT_BYTES).splitlines())
        return {name: commit.decode() for commit, _, name in rows if _HEX.fullmatch(commit) and _is_ref(name)}

    def refs(self) -> dict[str, str]:
        """Return what the refs of this repository itself name, by their full names; the first of very many.

        A tag may name an object of its own. What the checkout of the server's branches left is not among them.
        """
        found = self._refs_in(b"refs/heads")  # first, since there may be very many tags
        return found | self._refs_in(b"refs") if len(found) < REFS_LIMIT else found

    def _refs_in(self, space: bytes) -> dict[str, str]:
        packed = ((name, commit) for name, commit in self._packed.items() if name.startswith(space + b"/"))
        found = {os.fsdecode(name): commit for name, commit in packed if not name.startswith(_NOT_OWN)}
        waiting = [space]
        while waiting and len(found) < REFS_LIMIT:
            directory = waiting.pop()
            try:
                entries = self._files.entries(self._in(directory))
            except OSError:
                continue
            for name, kind in entries:
                path = _join(directory, name)
                if (path + b"/").startswith(_NOT_OWN):
                    continue
                if stat.S_ISDIR(kind.st_mode):
                    waiting.append(path)
                elif _is_ref(path) and (commit := self._follow(path)[0]):
                    found[os.fsdecode(path)] = commit
        return found

    def commits_in(self, name: bytes) -> list[str]:
        """Return the commit ids that a file such as `shallow` or `MERGE_HEAD` lists."""
        lines = self._text(name).splitlines()
        return [line.strip().decode() for line in lines if _HEX.fullmatch(line.strip())][:REFS_LIMIT]

    def unfinished(self) -> list[str]:
        """Return what the script began in Git and did not end, beside a merge."""
        return [what for name, what in _UNFINISHED.items() if self._files.stat(self._in(name)) is not None]

    def amended(self) -> set[str]:
        """Return the commits that HEAD's log says were made by amending another."""
        return {new for _, new, what in self._log() if b"(amend)" in what}

    def left_behind(self) -> list[str]:
        """Return the commits that were made here and that HEAD then left by a reset or checkout, the newest first."""
        made, left = set[str](), dict[str, None]()
        for old, new, what in self._log():
            if what.startswith((b"reset:", b"checkout:")):
                left |= {old: None} if old in made else {}
            elif not what.startswith(b"clone:") and b"Fast-forward" not in what:
                made.add(new)
        return list(reversed(left))

    def _log(self) -> Iterator[tuple[str, str, bytes]]:
        """Yield HEAD's log: the commit before, the commit after, and what was done."""
        for line in self._text(b"logs/HEAD", 8 << 20).splitlines():
            told, _, what = line.partition(b"\t")
            words = told.split(b" ")
            if len(words) > 1 and _HEX.fullmatch(words[0]) and _HEX.fullmatch(words[1]):
                yield words[0].decode(), words[1].decode(), what

    # ------------------------------------------------------------ files

    @property
    def exclude(self) -> bytes:
        """The patterns of `info/exclude`."""
        return self._text(b"info/exclude")

    @property
    def attributes(self) -> bytes:
        """The patterns of `info/attributes`."""
        return self._text(b"info/attributes")

    @property
    def borrows(self) -> bool:
        """Return whether this repository takes objects from another directory, which is not read."""
        return bool(self._text(b"objects/info/alternates").strip())

    def tracked(self, hash_bytes: int) -> list[IndexEntry] | None:
        """Return what the index lists; None where there is no index.

        Raises:
            PhaseError: PushFailed, when it can't be read.
        """
        data = self._files.read(self._in(b"index"), INDEX_LIMIT_BYTES)
        if data is None:
            return None
        try:
            index = parse(data, hash_bytes)
            if not index.shared:
                return index.entries
            name = self._in(b"sharedindex." + index.shared.encode())
            return index.merged(parse(self._files.read(name, INDEX_LIMIT_BYTES) or b"", hash_bytes))
        except IndexUnreadableError as error:
            raise PhaseError("PushFailed", message("result_index_unreadable", error=str(error))) from error


def nested_head(files: Beneath, at: bytes) -> str | None:
    """Return the commit that a nested repository's HEAD names, read as data; None where that can't be said.

    Its `.git` is a directory, or a file that names one beneath the workspace's `.git/modules`, as Git makes submodules.
    """
    inner = _join(at, b".git")
    text = files.read(inner)
    if text is not None:
        target = _normal(at, text.removeprefix(b"gitdir:").strip())
        if not text.startswith(b"gitdir:") or target is None or not target.startswith(b".git/modules/"):
            return None
        inner = target
    head = (files.read(inner + b"/HEAD") or b"").strip()
    for _ in range(SYMREF_DEPTH):
        if _HEX.fullmatch(head):
            return head.decode()
        name = head.removeprefix(b"ref:").strip()
        if not head.startswith(b"ref:") or not _is_ref(name):
            return None
        head = (files.read(inner + b"/" + name) or b"").strip() or _packed_in(files, inner, name)
    return None


def _packed_in(files: Beneath, directory: bytes, name: bytes) -> bytes:
    for line in (files.read(directory + b"/packed-refs", PACKED_LIMIT_BYTES) or b"").splitlines():
        commit, _, found = line.partition(b" ")
        if found == name:
            return commit
    return b""


def is_repository(files: Beneath, at: bytes) -> bool:
    """Say whether a directory holds a repository of its own, as Git would think of it."""
    inner = _join(at, b".git")
    found = files.stat(inner)
    if found is None:
        return False
    if stat.S_ISDIR(found.st_mode):
        return files.stat(inner + b"/HEAD") is not None
    if stat.S_ISREG(found.st_mode):
        return (files.read(inner) or b"").startswith(b"gitdir:")
    return stat.S_ISLNK(found.st_mode)


def submodule_paths(text: bytes) -> set[bytes]:
    """Return the paths that a `.gitmodules` registers. Quoted ones are taken as they are.

    Not by a regular expression: while one searches, no other thread runs, the heartbeats' neither.
    """
    settings = (line.partition(b"=") for line in text.split(b"\n"))
    return {value.strip().strip(b'"') for name, equals, value in settings if equals and name.strip().lower() == b"path"}


def _is_ref(name: bytes) -> bool:
    """Say whether Git takes a name for a ref's. Source: git-check-ref-format(1)."""
    if not name.startswith(b"refs/") or len(name) > PATH_LIMIT_BYTES or name.endswith(b".") or _NOT_IN_REF.search(name):
        return False
    return all(part and not part.startswith(b".") and not part.endswith(b".lock") for part in name.split(b"/"))


def _normal(at: bytes, target: bytes) -> bytes | None:
    """A relative path from a directory, as one from the workspace; None where it leaves it."""
    found = [] if target.startswith(b"/") else at.split(b"/")
    if target.startswith(b"/"):
        return None
    for part in target.split(b"/"):
        if part == b"..":
            if not found:
                return None
            found.pop()
        elif part not in (b"", b"."):
            found.append(part)
    return b"/".join(found)


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory else name
