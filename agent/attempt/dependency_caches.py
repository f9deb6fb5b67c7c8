"""The dependency caches of an attempt: restored before its script starts, stored after the script has succeeded.

Nothing here is ever an attempt's failure: what can't be restored or stored is said in the log.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from agent.attempt.context import World
from agent.attempt.dependency_archive import Place, Restoration, TooLargeError, UnsafeArchiveError, write_archive
from agent.attempt.directory import JobDir
from agent.attempt.lock_files import TooMuchError, digest
from agent.attempt.repository import AttemptRepository
from agent.settings import CACHE_SECONDS
from keruta import metrics, structs
from keruta.adapters.dependency_store import ARCHIVE, BadEntryError, DependencyStore
from keruta.domain.catalog.caches import HOME, CacheRecord, CacheRule
from keruta.domain.specification import Specification
from keruta.files import write_private

log = logging.getLogger(__name__)

PLAN = "dependency-caches.json"
OS_RELEASE = Path("/etc/os-release")


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """The plan for one cache at the attempt's end. `stores`: its entry is missing and may be stored."""

    rule: CacheRule
    space: str = ""
    key: str = ""
    stores: bool = False
    refused: bool = False


class _EndedError(Exception):
    """The attempt is to end, or time is up."""


class DependencyCaches:
    """One attempt's caches.

    Args:
        store: where entries are kept; None where this installation keeps none.
        say: writes a line of keruta's own into the log.
    """

    def __init__(
        self, world: World, directory: JobDir, specification: Specification, repository: AttemptRepository,
        store: DependencyStore | None, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._world, self._dir, self._spec, self._repository = world, directory, specification, repository
        self._store, self._say = store, say
        self._plan = self._dir.root / PLAN

    # ------------------------------------------------------------ before the script

    def restore(self, commit: str, stop: threading.Event, deadline_at: float) -> None:
        """Restore what there is, and note what is to be stored at the end. Never raises."""
        rules = self._spec.caches.rules
        if not rules:
            return
        if self._store is None:
            self._say("cache: not used: no dependency caches are kept where this task runs")
            return
        check = _checker(stop, deadline_at)
        planned = [self._restored(rule, self._store, check) for rule in rules]
        if any(one.stores for one in planned) and not self._may_store(commit, stop, deadline_at):
            planned = [msgspec.structs.replace(one, stores=False, refused=one.stores) for one in planned]
        try:
            write_private(self._plan, msgspec.json.encode(planned))
        except OSError as error:
            self._say(f"cache: nothing will be saved: {error.strerror}")

    def _restored(self, rule: CacheRule, store: DependencyStore, check: Callable[[], None]) -> Planned:
        name = ", ".join(rule.places)
        try:
            found = digest(self._dir.workspace, rule.key)
        except (OSError, TooMuchError) as error:
            self._fail(name, "not used", error)
            return Planned(rule=rule)
        if found is None:
            self._say(f"cache {name}: not used: the workspace has no file {' or '.join(rule.key)}")
            return Planned(rule=rule)
        space, key = _space(self._runs_in(), rule), f"{rule.prefix}{found}"
        hit = False
        try:
            hit = self._take(rule, name, store, space, key, check)
        except _EndedError:
            self._say(f"cache {name}: not restored: the attempt is to end")
        except Exception as error:  # whatever it is, the script runs without the cache
            self._fail(name, "not restored", error)
        return Planned(rule=rule, space=space, key=key, stores=not hit)

    def _take(
        self, rule: CacheRule, name: str, store: DependencyStore, space: str, key: str, check: Callable[[], None]
    ) -> bool:  # fmt: skip
        """Restore the best entry that is whole; return whether it is the key's own."""
        for record in store.candidates(space, key, rule.restore_keys):
            began = time.monotonic()
            try:
                with store.open(space, record, check) as archive:
                    Restoration(self._places(rule), check=check).read(archive)
            except FileNotFoundError:
                continue
            except (BadEntryError, UnsafeArchiveError) as error:
                if isinstance(error, UnsafeArchiveError):
                    store.drop(space, record, str(error))
                self._say(f"cache {name}: the entry {_shown(record.key)} is not used: {error}")
                continue
            seconds, exact = time.monotonic() - began, record.key == key
            metrics.DEPENDENCY_CACHE.labels("hit" if exact else "partial").inc()
            _measure("restored", record.size_bytes, seconds)
            said = f"hit {_shown(key)}" if exact else f"no entry {_shown(key)}; restored from {_shown(record.key)}"
            self._say(f"cache {name}: {said}: {_amount(record.size_bytes)} in {seconds:.1f} s")
            return exact
        metrics.DEPENDENCY_CACHE.labels("miss").inc()
        self._say(f"cache {name}: miss {_shown(key)}")
        return False

    def _may_store(self, commit: str, stop: threading.Event, deadline_at: float) -> bool:
        """Return whether what was checked out is the tip of the repository's default branch, as the server has it."""
        caches = self._spec.caches
        try:
            return caches.writes and self._repository.is_default_tip(commit, caches.pushed_ref, stop, deadline_at)
        except Exception as error:  # a server that does not say so
            log.warning("default branch not known: %s", error, extra={"action": "default_branch_unknown"})
            return False

    # ------------------------------------------------------------ after the script

    def save(self, stop: threading.Event) -> None:
        """Store what the script left, where its entry was missing. Never raises."""
        if self._store is None or not self._spec.caches.rules:
            return
        try:
            planned = structs.from_json(self._plan.read_bytes(), type=list[Planned])
        except (OSError, msgspec.MsgspecError, ValueError):
            return
        check = _checker(stop, time.time() + CACHE_SECONDS)
        for one in planned:
            name = ", ".join(one.rule.places)
            if one.refused:
                self._say(f"cache {name}: not saved: only tasks at the tip of the default branch save")
            elif one.stores:
                self._save(name, one, self._store, check)

    def _save(self, name: str, planned: Planned, store: DependencyStore, check: Callable[[], None]) -> None:
        began = time.monotonic()
        try:
            with store.part() as part:
                record = self._packed(name, planned, part, store.limit_bytes, check)
                if record is None:
                    return
                if not store.keep(planned.space, part, record, check):
                    self._say(f"cache {name}: not saved: another task has saved {_shown(planned.key)} meanwhile")
                    return
        except _EndedError:
            self._say(f"cache {name}: not saved: it took longer than {CACHE_SECONDS} s, or the task was cancelled")
            return
        except TooLargeError:
            self._say(f"cache {name}: not saved: it is larger than an entry may be")
            return
        except Exception as error:  # whatever it is, the script has succeeded
            self._fail(name, "not saved", error)
            return
        seconds = time.monotonic() - began
        metrics.DEPENDENCY_CACHE.labels("saved").inc()
        _measure("saved", record.size_bytes, seconds)
        self._say(f"cache {name}: saved {_shown(planned.key)}: {_amount(record.size_bytes)} in {seconds:.1f} s")

    def _packed(
        self, name: str, planned: Planned, part: Path, limit_bytes: int, check: Callable[[], None]
    ) -> CacheRecord | None:
        """Make the archive and its record; None where there is nothing to store. Raises TooLargeError, OSError."""
        with (part / ARCHIVE).open("xb") as file:
            written = write_archive(file, self._places(planned.rule), check=check)
        if not written.files:
            self._say(f"cache {name}: not saved: the script left nothing there")
            return None
        if written.left_out:
            what = "links that lead out of it, and what is no file or can't be read"
            self._say(f"cache {name}: {written.left_out} left out: {what}")
        size = (part / ARCHIVE).stat().st_size
        if size > limit_bytes:
            raise TooLargeError
        with (part / ARCHIVE).open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        return CacheRecord(key=planned.key, sha256=content, size_bytes=size, created_at=time.time())

    # ------------------------------------------------------------ parts

    def _places(self, rule: CacheRule) -> Sequence[Place]:
        return [
            Place(base=self._dir.home, path=path.removeprefix(HOME))
            if path.startswith(HOME)
            else Place(base=self._dir.workspace, path=path)
            for path in rule.places
        ]

    def _runs_in(self) -> list[str]:
        """Return what the script runs in: another image, or another system, makes other files."""
        machine = platform.machine()
        if self._world.in_pod:
            return ["image", machine, self._world.image]
        return ["machine", machine, _system()]

    def _fail(self, name: str, what: str, error: Exception) -> None:
        metrics.DEPENDENCY_CACHE.labels("failed").inc()
        log.warning("dependency cache: %s: %s", what, error, extra={"action": "dependency_cache_failed"})
        said = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        self._say(f"cache {name}: {what}: {said}")


def _space(runs_in: Sequence[str], rule: CacheRule) -> str:
    return hashlib.sha256(json.dumps([*runs_in, *rule.places]).encode()).hexdigest()[:32]


def _system() -> str:
    """Return this machine's system and its version; empty where it does not say."""
    try:
        lines = OS_RELEASE.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return " ".join(sorted(line for line in lines if line.startswith(("ID=", "VERSION_ID="))))


def _checker(stop: threading.Event, until: float) -> Callable[[], None]:
    def check() -> None:
        if stop.is_set() or time.time() > until:
            raise _EndedError

    return check


def _measure(direction: str, size_bytes: int, seconds: float) -> None:
    metrics.DEPENDENCY_CACHE_BYTES.labels(direction).inc(size_bytes)
    metrics.DEPENDENCY_CACHE_SECONDS.labels(direction).observe(seconds)


def _shown(key: str) -> str:
    """Return a key with as much of its digest as tells it from others."""
    return key[:-52]  # of its 64 hexadecimal digits the first twelve


def _amount(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
