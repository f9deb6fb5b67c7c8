"""The commits of the agent's own repository: what is new, where history ends, and base commits that were amended."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from keruta.adapters.git.command import Git
from keruta.domain.messages import message
from keruta.errors import PhaseError

COMMITS_LIMIT = 500_000
_SIGNATURE = re.compile(rb"^gpgsig(?:-sha256)? .*\n(?: .*\n)*", re.MULTILINE)


class Commit(msgspec.Struct, frozen=True):
    """A commit's parents, and who wrote it when."""

    parents: tuple[str, ...]
    author: bytes


class Commits(msgspec.Struct, frozen=True, kw_only=True):
    """All commits that a repository has, by id."""

    by_id: Mapping[str, Commit]

    def __contains__(self, commit: str) -> bool:
        return commit in self.by_id

    @property
    def shallow(self) -> list[str]:
        """Return the commits with a parent that is not there: where history ends."""
        return [one for one, commit in self.by_id.items() if any(above not in self.by_id for above in commit.parents)]

    def reachable(self, tips: Iterable[str]) -> Iterator[str]:
        """The commits that these lead to, themselves first."""
        seen, waiting = set[str](), [tip for tip in tips if tip in self.by_id]
        while waiting:
            commit = waiting.pop()
            if commit not in seen:
                seen.add(commit)
                yield commit
                waiting.extend(above for above in self.by_id[commit].parents if above in self.by_id)

    def new(self, tip: str, known: Iterable[str]) -> list[str]:
        """The commits that `tip` leads to and none of `known` does."""
        old = set(self.reachable(known))
        return [commit for commit in self.reachable([tip]) if commit not in old]


def read_commits(git: Git) -> Commits:
    """Return every commit of a repository. Raises PhaseError: PushFailed, where there are too many to be looked at."""
    listed = git.read(
        "cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objecttype) %(objectname)",
        reason="PushFailed",
    )  # fmt: skip
    ids = [row[7:] for row in listed.splitlines() if row.startswith(b"commit ")]
    if len(ids) > COMMITS_LIMIT:
        raise PhaseError("PushFailed", message("result_commits_limit", limit=COMMITS_LIMIT))
    content = git.read("cat-file", "--batch", stdin=b"\n".join(ids) + b"\n", reason="PushFailed") if ids else b""
    return Commits(by_id=dict(_parsed(content)))


def _parsed(content: bytes) -> Iterator[tuple[str, Commit]]:
    at = 0
    while at < len(content):
        end = content.index(b"\n", at)
        object_id, _, size = content[at:end].split(b" ")
        text = content[end + 1 : end + 1 + int(size)]
        at = end + int(size) + 2
        head = text.partition(b"\n\n")[0].split(b"\n")
        parents = tuple(line[7:].decode("ascii", "replace") for line in head if line.startswith(b"parent "))
        author = next((line for line in head if line.startswith(b"author ")), b"")
        yield object_id.decode(), Commit(parents, author)


def amended_base(commits: Commits, head: str, base: str, amended: Collection[str]) -> dict[str, str]:
    """Return the commits that were made of one whose parents the workspace does not have, each with that one.

    In a shallow clone the oldest commit seems to have no parents, so `git commit --amend` makes a root of it.

    Args:
        amended: the commits that HEAD's log says were made by amending.
    """
    ends = {commits.by_id[one].author: one for one in commits.shallow}
    found: dict[str, str] = {}
    for one in commits.new(head, [base]):
        commit = commits.by_id[one]
        if commit.parents or base not in commits:
            continue
        if commit.author in ends:
            found[one] = ends[commit.author]
        elif one in amended and base in ends.values():
            found[one] = base
    return found


def with_parents(git: Git, commits: Commits, head: str, made_of: Mapping[str, str], algorithm: str) -> str:
    """Write the commits anew, from those in `made_of` on, with the parents that these had; return the new head.

    A signature on one of them would no longer be true, and is left out.
    """
    anew: dict[str, str] = {}
    for one in _oldest_first(commits, head):
        parents = commits.by_id[one].parents
        if one in made_of:
            wanted = commits.by_id[made_of[one]].parents
        elif any(above in anew for above in parents):
            wanted = tuple(anew.get(above, above) for above in parents)
        else:
            continue
        text = git.read("cat-file", "commit", one, reason="PushFailed")
        anew[one] = _write(git.directory, _rewritten(text, wanted), algorithm)
    return anew[head]


def _oldest_first(commits: Commits, head: str) -> list[str]:
    """Return all commits reachable from `head`, each after its parents."""
    order: list[str] = []
    done, waiting = set[str](), [(head, False)]
    while waiting:
        one, entered = waiting.pop()
        if entered:
            order.append(one)
        elif one not in done and one in commits:
            done.add(one)
            waiting.append((one, True))
            waiting.extend((above, False) for above in commits.by_id[one].parents)
    return order


def _rewritten(text: bytes, parents: Iterable[str]) -> bytes:
    head, blank, message = text.partition(b"\n\n")
    head = _SIGNATURE.sub(b"", head + b"\n").rstrip(b"\n")
    lines = [line for line in head.split(b"\n") if not line.startswith(b"parent ")]
    return b"\n".join([lines[0], *(b"parent " + one.encode() for one in parents), *lines[1:]]) + blank + message


def _write(repository: Path, text: bytes, algorithm: str) -> str:
    """Stores a commit as a loose object; returns its id."""
    whole = b"commit %d\0" % len(text) + text
    name = hashlib.new(algorithm, whole, usedforsecurity=False).hexdigest()
    target = repository / "objects" / name[:2] / name[2:]
    target.parent.mkdir(exist_ok=True)
    if not target.exists():
        part = target.with_name(f"tmp_obj_{name[2:]}")
        part.write_bytes(zlib.compress(whole))
        os.rename(part, target)
    return name
