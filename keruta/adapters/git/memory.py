"""Options that limit the memory of Git, and the detection of an end for lack of memory.

Source: git-config(1); https://docs.kernel.org/admin-guide/cgroup-v2.html, cgroup-v1/memory.html.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

LIMITS = ("memory.max", "memory/memory.limit_in_bytes")  # of this container; version 2, version 1
LITTLE_BYTES = 2 << 30
# Large files are neither compared with others nor read whole, and one thread at a time keeps what it works on.
FRUGAL = (
    "-c", "core.bigFileThreshold=16m", "-c", "core.deltaBaseCacheLimit=16m", "-c", "core.packedGitWindowSize=16m",
    "-c", "core.packedGitLimit=64m", "-c", "pack.windowMemory=16m", "-c", "pack.deltaCacheSize=16m",
    "-c", "pack.threads=1", "-c", "index.threads=1", "-c", "checkout.workers=1",
)  # fmt: skip


def limit_bytes(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the memory that this container may use; None where nothing limits it, or nobody says."""
    for name in LIMITS:
        try:
            found = int((root / name).read_text())
        except (OSError, ValueError):
            continue
        return found if found < 1 << 60 else None
    return None


@cache
def options() -> tuple[str, ...]:
    """Return the options by which Git uses little memory, where there is little."""
    limit = limit_bytes()
    return FRUGAL if limit is not None and limit < LITTLE_BYTES else ()
