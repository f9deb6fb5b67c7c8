"""Room in a task's document for what its attempts left: one of MongoDB holds 16 MiB, with the results of all attempts.

Files stay where they are kept, whether a document lists them or not.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from keruta.domain.messages import Message, message
from keruta.domain.reports import KEPT_LARGE, KEPT_WORK, SUMMARY_NAME, ScriptResults
from keruta.domain.task import Artifact

ROOM_BYTES = 12 * 1024 * 1024  # of the document, before only keruta's own files are listed
FULL_BYTES = 13 * 1024 * 1024  # from here on nobody begins another attempt or sends input; the last one has the rest
ATTEMPT_BYTES = 4 * 1024 * 1024
OWN_FILES = frozenset(
    {KEPT_WORK, KEPT_LARGE, "result.patch", "log.gz", "output.gz", SUMMARY_NAME}
)  # always listed: people and pushes look for them
_ENTRY_BYTES = 140  # of one artifact in BSON, beside its path: names, sizes, SHA-256


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt's results as its task's document lists them, and sentences about the rest."""

    outputs: dict[str, str]
    artifacts: list[Artifact]
    said: Sequence[Message]


def listed(results: ScriptResults, size_bytes: int) -> Listed:
    """Return as much of an attempt's results as a document of that size has room for: its outputs first, then files.

    An attempt gets half of what is left at most, so that those after it have room, too.
    """
    room = max(0, min(ATTEMPT_BYTES, (ROOM_BYTES - size_bytes) // 2))
    outputs: dict[str, str] = {}
    for name, value in results.outputs.items():
        needed = len(name.encode()) + len(value.encode("utf-8", "surrogatepass")) + 8
        if needed <= room:
            outputs[name] = value
            room -= needed
    artifacts = []
    for file in results.artifacts:
        needed = len(file.path.encode("utf-8", "surrogatepass")) + len(file.sha256) + _ENTRY_BYTES
        if file.path in OWN_FILES:
            artifacts.append(file)
        elif needed <= room:
            artifacts.append(file)
            room -= needed
    said: list[Message] = []
    if unlisted := len(results.artifacts) - len(artifacts):
        said.append(message("results_files_unlisted", count=unlisted))
    if lost := [name for name in results.outputs if name not in outputs]:
        said.append(message("results_outputs_unlisted", count=len(lost), names=", ".join(lost)[:500]))
    return Listed(outputs=outputs, artifacts=artifacts, said=said)
