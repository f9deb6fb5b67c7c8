"""Reads a Git index as data: which paths are tracked, and which of them Git leaves alone.

The script could have written any bytes. Nothing here believes more of them than names, modes, object ids and flags.
Source: gitformat-index(5), versions 2, 3 and 4, with the split index and the sparse index.
"""

from __future__ import annotations

import struct

import msgspec

ENTRIES_LIMIT = 5_000_000
INDEX_LIMIT_BYTES = 1 << 30
_STAT = struct.Struct(">10I")
_ASSUME_VALID, _EXTENDED, _STAGE = 0x8000, 0x4000, 0x3000
_SKIP_WORKTREE, _INTENT_TO_ADD = 0x4000, 0x2000
GITLINK = 0o160000
TREE = 0o040000
MODES = frozenset({0o100644, 0o100755, 0o120000, GITLINK, TREE})


class IndexUnreadableError(ValueError):
    """The bytes are no index that is understood."""


class IndexEntry(msgspec.Struct, frozen=True):
    """One path that Git tracks.

    Args:
        kept: whether Git leaves the file alone: skip-worktree or assume-unchanged.
        stat: modification and change time (seconds, nanoseconds each), inode and size, the last two modulo 2**32.
    """

    path: bytes
    mode: int
    object_id: str
    kept: bool = False
    stage: int = 0
    stat: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """An index.

    Args:
        entries: by their places; in an index that is split, only what differs from the shared one.
        shared: the object id that names the shared index, or nothing.
        deleted, replaced: the places in the shared index that are gone, or stand in `entries` without names.
    """

    entries: list[IndexEntry]
    shared: str = ""
    deleted: frozenset[int] = frozenset()
    replaced: tuple[int, ...] = ()

    def merged(self, shared: Index) -> list[IndexEntry]:
        """Return all entries, of a split index and the shared one that it names."""
        anew = dict(zip(self.replaced, self.entries, strict=False))
        if len(anew) != len(self.replaced) or any(place >= len(shared.entries) for place in self.replaced):
            raise IndexUnreadableError("the split index does not fit its shared index")
        merged = []
        for place, entry in enumerate(shared.entries):
            if place in self.deleted:
                continue
            if place in anew:
                entry = msgspec.structs.replace(anew[place], path=entry.path)
            merged.append(entry)
        return [*merged, *self.entries[len(self.replaced) :]]


def parse(data: bytes, hash_bytes: int) -> Index:
    """Read an index.

    Args:
        hash_bytes: how long an object id is: 20, or 32 for SHA-256.

    Raises:
        IndexUnreadableError: it is none, or is not understood.
    """
    try:
        return _parse(data, hash_bytes)
    except (struct.error, IndexError, ValueError) as error:
        raise IndexUnreadableError("the index is damaged or cut short") from error


def _parse(data: bytes, hash_bytes: int) -> Index:
    signature, version, count = struct.unpack_from(">4sII", data)
    if signature != b"DIRC" or version not in (2, 3, 4) or count > ENTRIES_LIMIT:
        raise IndexUnreadableError(f"version {version} is not known")
    entries: list[IndexEntry] = []
    at, before = 12, b""
    for _ in range(count):
        entry, at = _entry(data, at, version, hash_bytes, before)
        before = entry.path
        entries.append(entry)
    return _extensions(data, at, hash_bytes, entries)


def _entry(data: bytes, at: int, version: int, hash_bytes: int, before: bytes) -> tuple[IndexEntry, int]:
    start = at
    ctime, ctime_ns, mtime, mtime_ns, _dev, inode, mode, _uid, _gid, size = _STAT.unpack_from(data, at)
    at += _STAT.size
    object_id = data[at : at + hash_bytes].hex()
    at += hash_bytes
    (flags,) = struct.unpack_from(">H", data, at)
    at += 2
    more = 0
    if flags & _EXTENDED:
        (more,) = struct.unpack_from(">H", data, at)
        at += 2
    if version == 4:
        cut, at = _varint(data, at)
        if cut > len(before):
            raise IndexUnreadableError("a path is cut by more than it has")
        end = data.index(b"\0", at)
        path = before[: len(before) - cut] + data[at:end]
        at = end + 1
    else:
        end = data.index(b"\0", at)
        path = data[at:end]
        at = start + (end - start + 8) // 8 * 8  # one to eight NULs, to a multiple of eight
    kept = bool(flags & _ASSUME_VALID or more & _SKIP_WORKTREE)
    stage = (flags & _STAGE) >> 12
    stat = (mtime, mtime_ns, ctime, ctime_ns, inode, size)
    return IndexEntry(path, mode, object_id, kept, stage, stat), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Git's `decode_varint`: seven bits a byte, the highest first, each more byte counting one more."""
    byte = data[at]
    value = byte & 0x7F
    while byte & 0x80:
        at += 1
        byte = data[at]
        value = ((value + 1) << 7) | (byte & 0x7F)
        if value > 1 << 20:
            raise IndexUnreadableError("a path is too long")
    return value, at + 1


def _extensions(data: bytes, at: int, hash_bytes: int, entries: list[IndexEntry]) -> Index:
    shared, deleted, replaced = "", frozenset[int](), tuple[int, ...]()
    while at + 8 <= len(data) - hash_bytes:
        name, size = struct.unpack_from(">4sI", data, at)
        at += 8
        body = data[at : at + size]
        at += size
        if name == b"link":
            shared = body[:hash_bytes].hex()
            gone, used = _bitmap(body, hash_bytes)
            anew, _ = _bitmap(body, used)
            deleted, replaced = frozenset(gone), tuple(anew)
        elif name == b"sdir" or name[:1].isupper():
            continue  # whole directories outside the sparse set stand as entries; an upper-case one may be left out
        else:
            raise IndexUnreadableError(f"the extension {name!r} is not known")
    if shared == "0" * (hash_bytes * 2):
        shared = ""
    return Index(entries=entries, shared=shared, deleted=deleted, replaced=replaced)


def _bitmap(data: bytes, at: int) -> tuple[list[int], int]:
    """The places that are set in an EWAH bitmap, and where it ends. Source: gitformat-bitmap(5)."""
    if at >= len(data):
        return [], at
    bits, words = struct.unpack_from(">II", data, at)
    if bits > ENTRIES_LIMIT:
        raise IndexUnreadableError("a bitmap is too long")
    at += 8
    found: list[int] = []
    end, place = at + 8 * words, 0
    while at < end:
        (marker,) = struct.unpack_from(">Q", data, at)
        at += 8
        same, literals = (marker >> 1) & 0xFFFFFFFF, marker >> 33
        if marker & 1:
            found.extend(range(place, min(place + 64 * same, bits)))
        place += 64 * same
        for _ in range(literals):
            (word,) = struct.unpack_from(">Q", data, at)
            at += 8
            found.extend(place + bit for bit in range(64) if word >> bit & 1)
            place += 64
        if place > bits + 64:
            raise IndexUnreadableError("a bitmap is longer than it says")
    return found, end + 4  # the position of its last marker follows
