"""Retention times, and the numbers of what a sweep removed or would remove."""

from __future__ import annotations

import msgspec


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of deleted things, or with `dry_run` of things to delete: attempts' directories and bytes, and
    documents by kind.
    """

    dry_run: bool
    attempts: int = 0
    bytes: int = 0
    tasks: int = 0
    logs: int = 0
    audit: int = 0
    document_versions: int = 0
    examples: list[str] = []
