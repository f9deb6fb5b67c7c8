"""Writing of small files that are read while they are replaced."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by one of mode 0600, whole or not at all.

    Raises:
        OSError: the directory is missing, not writable, or its disk is full; the file is as it was.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(content)
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
