"""Opens files in places where a script can write: beneath a directory, through no link, and of the expected type only.

The kernel resolves the path (openat2(2), Linux 5.6). Where it does not know the call, or a container's filter refuses
it, the path is walked by descriptor, one name at a time, which follows no link either.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

_OPENAT2 = 437  # on every architecture
_RESOLVE = 0x08 | 0x04 | 0x02  # BENEATH, NO_SYMLINKS, NO_MAGICLINKS; linux/openat2.h
_ALWAYS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

_libc = ctypes.CDLL(None, use_errno=True)


class _How(ctypes.Structure):
    """struct open_how."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class WrongTypeError(OSError):
    """Something else lies there than was expected: a pipe, a directory, a device."""


def open_beneath(
    root: Path, path: str, flags: int = os.O_RDONLY, *, mode: int = 0o600,
    expected: Callable[[int], bool] = stat.S_ISREG,
) -> int:  # fmt: skip
    """Return a descriptor of a file beneath `root`.

    Args:
        root: a directory that the script can't replace; the path to it may hold links.
        path: relative, without `..`.
        expected: whether the opened file's mode is of the expected type; regular files by default.

    Raises:
        OSError: nothing is there, a link is on the way, or it can't be opened.
        WrongTypeError: it is of another type. What it is has not been read or written.
    """
    base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = _open(base, path, flags | _ALWAYS, mode)
    finally:
        os.close(base)
    if not expected(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise WrongTypeError(errno.EINVAL, "not of the expected type", path)
    return descriptor


def read_beneath(root: Path, path: str, most: int) -> bytes:
    """Return up to `most` bytes of a regular file; nothing where there is none that may be opened."""
    try:
        with os.fdopen(open_beneath(root, path), "rb") as file:
            return file.read(most)
    except OSError:
        return b""


def is_beneath(root: Path, path: str) -> bool:
    """Return whether the path is a regular file beneath the root."""
    try:
        os.close(open_beneath(root, path))
    except OSError:
        return False
    return True


def write_beneath(root: Path, path: str, content: bytes, *, mode: int = 0o600) -> None:
    """Write a regular file anew. Raises OSError; what a script put in its place is neither followed nor written to."""
    descriptor = open_beneath(root, path, os.O_WRONLY | os.O_CREAT, mode=mode)
    with os.fdopen(descriptor, "wb") as file:
        os.ftruncate(descriptor, 0)
        file.write(content)


def _open(base: int, path: str, flags: int, mode: int) -> int:
    how = _How(flags, mode if flags & os.O_CREAT else 0, _RESOLVE)
    while True:
        opened = int(_libc.syscall(_OPENAT2, base, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)))
        if opened >= 0:
            return opened
        error = ctypes.get_errno()
        if error in (errno.ENOSYS, errno.EPERM):
            return walk(base, path, flags, mode)
        if error not in (errno.EINTR, errno.EAGAIN):
            raise OSError(error, os.strerror(error), path)


def walk(base: int, path: str, flags: int, mode: int) -> int:
    """Open by one descriptor after the other, where openat2 can't be had. Raises OSError."""
    *directories, name = path.split("/")
    if not name or any(part in ("", ".", "..") for part in (*directories, name)):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    at = os.dup(base)
    try:
        for part in directories:
            inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(name, flags, mode, dir_fd=at)
    finally:
        os.close(at)
