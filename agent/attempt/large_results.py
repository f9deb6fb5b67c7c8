"""The Git LFS files that a result names: taken from the workspace as data, kept beside its bundle, and read again."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from agent.attempt.workspace_files import Beneath
from keruta.adapters.git.command import Git

POINTER_LIMIT_BYTES = 1024
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-.*\n)*oid sha256:([0-9a-f]{64})\nsize \d{1,19}\n?"
)
_NAME = re.compile(r"(?:.*/)?([0-9a-f]{64})")
_BLOCK_BYTES = 1 << 20


def take_from(files: Beneath, git: Git, tip: str, base: str) -> None:
    """The repository has the large files that new commits name, also those that a script committed itself.

    Those that are not in the workspace, as of commits that it fetched, are the server's.

    Args:
        git: in the agent's own repository.
    """
    for name in sorted(_named(git, tip, base)):
        git.check_time()
        try:
            opened = files.open(f".git/lfs/objects/{name[:2]}/{name[2:4]}/{name}".encode())
        except PermissionError:
            continue
        if opened is not None:
            with os.fdopen(opened, "rb") as source:
                _take(git.directory, name, source)


def all_of(repository: Path) -> list[Path]:
    """Return the large files that a repository has."""
    return sorted(file for file in (repository / "lfs" / "objects").rglob("*") if file.is_file())


def pack(repository: Path, target: Path) -> bool:
    """Write a repository's large files to a tar, to be unpacked in `.git/lfs`; return whether there are any."""
    large = all_of(repository)
    if large:
        with tarfile.open(target, "w") as tar:
            for path in large:
                tar.add(path, str(path.relative_to(repository / "lfs")), recursive=False)
    return bool(large)


def unpack(repository: Path, source: Path) -> None:
    """The repository has the large files of a tar. Raises OSError, tarfile.TarError."""
    with (
        os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file,
        tarfile.open(fileobj=file, mode="r:") as tar,
    ):
        for member in tar:
            found, content = _NAME.fullmatch(member.name), tar.extractfile(member) if member.isreg() else None
            if found is not None and content is not None:
                _take(repository, found[1], content)


def _named(git: Git, tip: str, base: str) -> set[str]:
    """Return the SHA-256 of the large files that are named by what is new."""
    listed = git("rev-list", "--objects", "--no-object-names", "--missing=allow-any", tip, f"^{base}", "--")
    checked = git("cat-file", "--batch-check=%(objecttype) %(objectsize) %(objectname)", stdin=listed.encode())
    rows = (row.split(" ") for row in checked.splitlines())
    small = [row[2] for row in rows if row[0] == "blob" and int(row[1]) < POINTER_LIMIT_BYTES]
    if not small:
        return set()
    content = git.read("cat-file", "--batch", stdin="".join(f"{one}\n" for one in small).encode())
    return {found[1].decode() for one in _contents(content) if (found := _POINTER.fullmatch(one))}


def _contents(batch: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(batch):
        end = batch.index(b"\n", at)
        size = int(batch[at:end].rsplit(b" ", 1)[1])
        yield batch[end + 1 : end + 1 + size]
        at = end + size + 2


def _take(repository: Path, name: str, source: IO[bytes]) -> None:
    """Copies a large file while its hash is computed; it gets its name only if that is right."""
    target = repository / "lfs" / "objects" / name[:2] / name[2:4] / name
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{name}.part")
    digest = hashlib.sha256()
    try:
        with part.open("wb") as out:
            for block in _blocks(source):
                digest.update(block)
                out.write(block)
        if digest.hexdigest() == name:
            part.rename(target)
    finally:
        part.unlink(missing_ok=True)


def _blocks(source: IO[bytes]) -> Iterable[bytes]:
    return iter(lambda: source.read(_BLOCK_BYTES), b"")
