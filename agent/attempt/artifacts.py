"""Files and outputs that a script leaves behind. Their content and names are untrusted, so no link is followed.

Directories are walked by descriptor, names are opened without following links, and only regular files are taken. A hard
link is a file like any other: a script can make one only of what it could read and write itself.
"""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.attempt.outputs import parse_outputs
from agent.attempt.result_stores import ResultStore
from agent.log.masking import CONTEXT_BYTES, Masker
from keruta.adapters.results import FILE_LIMIT_BYTES, LOG_NAME, safe_parts
from keruta.domain.file_names import as_text
from keruta.domain.messages import EMPTY, Message, message
from keruta.domain.reports import ARTIFACTS_LIMIT, KEPT_LARGE, KEPT_WORK, SUMMARY_LIMIT_BYTES, SUMMARY_NAME
from keruta.domain.task import Artifact

OUTPUT_NAME = "output.gz"  # a coding agent's records, as they were written
# A reader takes a file of such a name for keruta's own, also where keruta stored none.
OWN_NAMES = frozenset({LOG_NAME, KEPT_WORK, KEPT_LARGE, OUTPUT_NAME, SUMMARY_NAME})
GZIP_WBITS = 31  # zlib's largest window, in a gzip file
OWN_AT_MOST = 6  # files of keruta's own beside a script's: log, records, summary, bundle, patch, large files
OUTPUTS_LIMIT_BYTES = 256 * 1024
DEPTH_MOST = 200  # directories within directories: each is an open descriptor
PATH_SHOWN = 300
NAMED_MOST = 50  # things that were not kept and are named
TOTAL_LIMIT_BYTES = 8 * FILE_LIMIT_BYTES
PATHS_LIMIT_BYTES = 1 << 20  # of all names together: they travel in one report, and stand in the task's document


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Something beneath a directory: a regular file, open for reading, or why it is none that can be read."""

    path: bytes
    descriptor: int = -1
    why: Message = EMPTY


def walk(root: Path) -> Iterator[Found]:
    """Everything beneath a directory that is no directory, in order; each descriptor is the caller's to close."""
    try:
        top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    yield from walk_directory(top)


def walk_directory(directory: int) -> Iterator[Found]:
    """Walk a directory that is open, as `walk` does, and close it."""
    yield from _walk(directory, b"")


def _walk(directory: int, at: bytes) -> Iterator[Found]:
    """Closes the directory's descriptor."""
    try:
        with os.scandir(directory) as entries:
            names = sorted(os.fsencode(entry.name) for entry in entries)
        for name in names:
            path = at + name
            try:
                opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
            except OSError as error:
                yield Found(path=path, why=_why(name, directory, error))
                continue
            mode = os.fstat(opened).st_mode
            if stat.S_ISREG(mode):
                yield Found(path=path, descriptor=opened)
            elif stat.S_ISDIR(mode) and at.count(b"/") < DEPTH_MOST:
                yield from _walk(opened, path + b"/")
            else:
                os.close(opened)
                yield Found(path=path, why=_kind(mode))
    except OSError as error:
        yield Found(path=at, why=message("file_why_unreadable", error=error.strerror or ""))
    finally:
        os.close(directory)


def _why(name: bytes, directory: int, error: OSError) -> Message:
    try:
        mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    except OSError:
        mode = stat.S_IFREG
    regular = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return message("file_why_unreadable", error=error.strerror or "") if regular else _kind(mode)


def _kind(mode: int) -> Message:
    kinds = (
        (stat.S_ISLNK, "file_why_link"), (stat.S_ISFIFO, "file_why_pipe"), (stat.S_ISSOCK, "file_why_socket"),
        (stat.S_ISCHR, "file_why_device"), (stat.S_ISBLK, "file_why_device"), (stat.S_ISDIR, "file_why_deep"),
    )  # fmt: skip
    code = next((code for is_kind, code in kinds if is_kind(mode)), "file_why_device")
    return message(code)


def regular_files(root: Path) -> Iterator[tuple[str, BinaryIO]]:
    """The regular files beneath a directory, each as its relative path and open for reading."""
    for found in walk(root):
        if found.descriptor >= 0:
            with os.fdopen(found.descriptor, "rb") as file:
                yield os.fsdecode(found.path), file


class Kept(msgspec.Struct, kw_only=True):
    """Artifacts that were kept, and a sentence for each that was not. `full`: why the results' storage took no more."""

    artifacts: list[Artifact] = []
    left: list[Message] = []
    left_count: int = 0
    own: frozenset[str] = OWN_NAMES
    full: str = ""
    total_bytes: int = 0
    path_bytes: int = 0

    def leave(self, path: str, why: Message) -> None:
        self.left_count += 1
        if len(self.left) < NAMED_MOST:
            self.left.append(message("file_not_kept", path=path[:PATH_SHOWN], why=why))


def keep_files(files: Sequence[Path], store: ResultStore) -> list[Artifact]:
    """Store files of the agent's own. Raises OSError when one is too large, or the storage does not take it."""
    kept = []
    for path in files:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > FILE_LIMIT_BYTES:
                raise OSError(errno.EFBIG, f"{path.name} is larger than {FILE_LIMIT_BYTES} bytes")
            kept.append(_stored(store, file, os.fsencode(path.name), path.name))
    return kept


def keep_artifacts(source: Path, store: ResultStore, own: Iterable[str] = ()) -> Kept:
    """Store what is in $KERUTA_ARTIFACTS. What the storage does not take whole is not left there in part.

    Args:
        own: names of files of the agent's own that will be beside them.
    """
    kept = Kept(own=OWN_NAMES | set(own))
    for found in walk(source):
        path = as_text(found.path)
        if found.descriptor < 0:
            kept.leave(path, found.why)
            continue
        with os.fdopen(found.descriptor, "rb") as file:
            why = _refusal(path, os.fstat(file.fileno()).st_size, kept)
            if why is not None:
                kept.leave(path, why)
                continue
            try:
                kept.artifacts.append(_stored(store, file, found.path, path))
            except _UnreadableError as error:
                kept.leave(path, message("file_why_unreadable", error=error.strerror or ""))
            except OSError as error:
                kept.full = kept.full or (error.strerror or str(error))
                kept.leave(path, message("file_why_storage", error=error.strerror or ""))
            else:
                kept.total_bytes += kept.artifacts[-1].size_bytes
                kept.path_bytes += len(path.encode())
    return kept


def _refusal(path: str, size: int, kept: Kept) -> Message | None:
    """Return the reason not to keep a file, or None."""
    if safe_parts(path) is None:
        return message("file_why_long")
    if path.partition("/")[0] in kept.own:
        return message("file_why_log")
    if len(kept.artifacts) >= ARTIFACTS_LIMIT - OWN_AT_MOST:
        return message("file_why_many", limit=ARTIFACTS_LIMIT)
    if kept.path_bytes + len(path.encode()) > PATHS_LIMIT_BYTES:
        return message("file_why_names", limit=PATHS_LIMIT_BYTES)
    if size > FILE_LIMIT_BYTES or kept.total_bytes + size > TOTAL_LIMIT_BYTES:
        return message("file_why_large", size=size)
    return None


class _UnreadableError(OSError):
    """The script's file can't be read to its end; its storage is not at fault."""


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's content up to the limit: it may grow, shrink or vanish meanwhile."""
    left = FILE_LIMIT_BYTES
    while left:
        try:
            block = file.read(min(1 << 20, left))
        except OSError as error:
            raise _UnreadableError(error.errno, error.strerror) from error
        if not block:
            return
        left -= len(block)
        yield block


def _stored(store: ResultStore, file: BinaryIO, path: bytes, name: str) -> Artifact:
    size, sha256 = store.put(path, _blocks(file))
    return Artifact(path=name, size_bytes=size, sha256=sha256)


def keep_log(log: BinaryIO, store: ResultStore, masker: Masker, name: str = LOG_NAME) -> Artifact:
    """The whole log, masked and compressed, beside the artifacts. Raises OSError; then nothing of it is left there."""
    with log:
        size, sha256 = store.put(name.encode(), _compressed(_masked(log, masker)))
    return Artifact(path=name, size_bytes=size, sha256=sha256)


def _masked(log: BinaryIO, masker: Masker) -> Iterator[bytes]:
    rest = before = b""
    while block := log.read(1 << 20):
        block = rest + block
        end = len(block) - masker.held_back(block, before)
        yield masker.mask(block[:end], before)
        rest, before = block[end:], (before + block[:end])[-CONTEXT_BYTES:]
    yield masker.mask(rest, before)


def _compressed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks as a gzip file without a time in it."""
    packer = zlib.compressobj(level=1, wbits=GZIP_WBITS)
    for block in blocks:
        if packed := packer.compress(block):
            yield packed
    yield packer.flush()


def read_outputs(open_outputs: Callable[[], int], masker: Masker) -> tuple[dict[str, str], list[Message]]:
    """The name=value lines of $KERUTA_OUTPUTS, and a sentence for each line that is none."""
    try:
        opened = open_outputs()
    except FileNotFoundError:
        return {}, []
    except OSError:
        return {}, [message("outputs_no_file")]
    with os.fdopen(opened, "rb") as file:
        data = file.read(OUTPUTS_LIMIT_BYTES + 1)
    if len(data) > OUTPUTS_LIMIT_BYTES:
        return {}, [message("outputs_too_large", limit=OUTPUTS_LIMIT_BYTES // 1024)]
    return parse_outputs(masker.text(data.decode("utf-8", "replace")))


def keep_summary(
    open_summary: Callable[[], int], store: ResultStore, masker: Masker
) -> tuple[list[Artifact], list[Message]]:
    """Store what the script wrote to $KERUTA_SUMMARY, masked; and a sentence where it is no file, or too large.

    Raises OSError when the storage does not take it; then nothing of it is left there.
    """
    try:
        opened = open_summary()
    except FileNotFoundError:
        return [], []
    except OSError:
        return [], [message("summary_no_file")]
    with os.fdopen(opened, "rb") as file:
        data = file.read(SUMMARY_LIMIT_BYTES + 1)
    if not data.strip():
        return [], []
    cut = [message("summary_too_large", limit=SUMMARY_LIMIT_BYTES // 1024)] if len(data) > SUMMARY_LIMIT_BYTES else []
    text = masker.text(data[:SUMMARY_LIMIT_BYTES].decode("utf-8", "replace")).encode()
    size, sha256 = store.put(SUMMARY_NAME.encode(), [text])
    return [Artifact(path=SUMMARY_NAME, size_bytes=size, sha256=sha256)], cut
