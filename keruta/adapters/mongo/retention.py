"""Deletion of old data: by TTL indexes in the database, and by a sweep of the shared storage.

The sweep looks at directories, not at records: so what no record knows any more goes too. It never touches what a
task has that has not ended, nor what an attempt that began after the look has made.
"""

from __future__ import annotations

import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from keruta.adapters.mongo.client import Database, translated
from keruta.domain.lifecycle import ENDED
from keruta.domain.naming import TASK_ID, made_at
from keruta.domain.retention import Pruned
from keruta.settings import Settings

log = logging.getLogger(__name__)

DAY_SECONDS = 86400
AT_ONCE = 1000
EXAMPLES = 20


class MongoRetention:
    """Return the retention times by the settings."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._tasks = database["tasks"]
        self._settings = settings

    def apply_settings(self) -> None:
        """The TTL indexes are as the settings say, for what is there already too."""
        for collection, index, days in (
            ("tasks", "ended_at", self._settings.task_days),
            ("audit", "at", self._settings.audit_days),
            ("provenance", "signed_at", self._settings.task_days),
        ):
            seconds = int(days * DAY_SECONDS)
            with translated():
                change = {"name": index, "expireAfterSeconds": seconds}
                self._database.command("collMod", collection, index=change)

    def prune(self, *, dry_run: bool) -> Pruned:
        """Delete data that is older than the settings allow; with `dry_run`, only count it."""
        attempts = size = 0
        examples: list[str] = []
        for directory, bytes_ in self._old_attempts():
            attempts, size = attempts + 1, size + bytes_
            if len(examples) < EXAMPLES:
                examples.append(f"{directory.parent.name}/{directory.name}")
            if not dry_run:
                shutil.rmtree(directory, ignore_errors=True)
                _remove_if_empty(directory.parent)
        rows = self._rows(dry_run=dry_run)
        if attempts and not dry_run:
            log.info("pruned %d attempts, %d bytes", attempts, size, extra={"action": "pruned", "count": attempts})
        return Pruned(dry_run=dry_run, attempts=attempts, bytes=size, examples=examples, **rows)

    # ------------------------------------------------------------ the shared storage

    def _old_attempts(self) -> list[tuple[Path, int]]:
        """Directories of attempts whose task has ended long ago, or is not known any more; each with its bytes."""
        before = datetime.now(UTC) - timedelta(days=self._settings.artifact_days)
        root = self._settings.results_dir
        names = [d.name for d in _directories(root) if TASK_ID.fullmatch(d.name) and made_at(d.name) < before]
        found: list[tuple[Path, int]] = []
        for start in range(0, len(names), AT_ONCE):
            batch = names[start : start + AT_ONCE]
            # What is there is listed first: an attempt that begins after the question is not among it.
            attempts = {name: [d for d in _directories(root / name) if d.name.isdigit()] for name in batch}
            with translated():
                known = {row["_id"]: row for row in self._tasks.find({"_id": {"$in": batch}}, ["status", "ended_at"])}
            for name in batch:
                row = known.get(name)
                if row is None or (row["status"] in ENDED and row.get("ended_at") and row["ended_at"] < before):
                    found += [(directory, _size(directory)) for directory in attempts[name]]
                    if not attempts[name]:
                        _remove_if_empty(root / name)
        return found

    # ------------------------------------------------------------ the database

    def _rows(self, *, dry_run: bool) -> dict[str, int]:
        """Counts what the indexes would take within a minute, and removes at once what no index takes."""
        now = datetime.now(UTC)
        old: dict[str, tuple[str, dict[str, Any]]] = {
            # Its index has dates alone, and is used where that is asked for.
            "tasks": ("tasks", {"ended_at": {"$lt": now - timedelta(days=self._settings.task_days), "$type": "date"}}),
            "logs": ("logs", {"expires_at": {"$lt": now}}),
            "audit": ("audit", {"at": {"$lt": now - timedelta(days=self._settings.audit_days)}}),
        }
        counts: dict[str, int] = {}
        with translated():
            for name, (collection, match) in old.items():
                if dry_run:
                    counts[name] = self._database[collection].count_documents(match)
                else:
                    counts[name] = self._database[collection].delete_many(match).deleted_count
            before = now - timedelta(days=self._settings.task_days)
            counts["document_versions"] = self._versions(dry_run=dry_run, before=before)
        return counts

    def _versions(self, *, dry_run: bool, before: datetime) -> int:
        """Versions of documents that were deleted, once they are as old as the oldest task that may have them."""
        versions = self._database["document_versions"]
        gone = [
            name
            for name in versions.distinct("document", {"at": {"$lt": before}})
            if not self._database["documents"].count_documents({"_id": name}, limit=1)
            and not self._tasks.count_documents({"draws_on": f"document:{name}"}, limit=1)
        ]
        match = {"document": {"$in": gone}, "at": {"$lt": before}}
        return versions.count_documents(match) if dry_run else versions.delete_many(match).deleted_count


def _directories(path: Path) -> list[Path]:
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.is_symlink())
    except OSError:
        return []


def _size(directory: Path) -> int:
    return sum(file.lstat().st_size for file in directory.rglob("*") if not file.is_dir())


def _remove_if_empty(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError:
        pass  # an attempt has come meanwhile
