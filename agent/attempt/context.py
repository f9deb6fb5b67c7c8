"""Ports of an attempt: reporting, requests to keruta, and the script, wherever it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from agent.attempt.credentials import Opener
from agent.attempt.directory import JobDir
from agent.attempt.result_stores import Requests, ResultStore, UploadStore, VolumeStore
from agent.attempt.uploaded_dependencies import UploadedStore
from agent.settings import WorkerSettings
from keruta.adapters.dependency_store import DependencyStore, LocalStore
from keruta.domain.reports import AnyEntry, Outcome
from keruta.domain.specification import Specification


class Reporting(Protocol):
    """The channel for an attempt's report entries.

    They arrive in order, and each is kept until keruta has answered it.
    """

    def send(self, entry: AnyEntry, *, urgent: bool = False) -> None: ...

    def ask(self, entry: AnyEntry, stop: threading.Event) -> Outcome | None:
        """Sends at once and waits for the outcome; None when told to stop first."""
        ...

    @property
    def backed_up(self) -> bool:
        """Return whether so many entries wait to be sent that the log should wait in its file."""
        ...


class Asking(Protocol):
    """Requests of an attempt to keruta. Each raises PhaseError when there is no answer."""

    def specification(self, task: str, attempt: int) -> Specification:
        """The specification, with the short-lived tokens that are in no other answer."""
        ...

    def document(self, task: str, attempt: int, name: str) -> bytes: ...

    def store_snapshot(self, task: str, attempt: int, sealed: Path) -> None: ...

    def snapshot(self, task: str, attempt: int) -> bytes:
        """The sealed session that the attempt resumes."""
        ...


class Script(Protocol):
    """The script, wherever it runs."""

    def await_ready(self, stop: threading.Event) -> None:
        """The script could start now; returns early when told to stop."""
        ...

    def start(self) -> None: ...
    def take_up(self) -> bool: ...
    def wait(self, seconds: float) -> bool: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...

    def freeze(self) -> None:
        """Have all of it stand still, until `thaw` or `kill`."""
        ...

    def thaw(self) -> None: ...
    def sweep(self) -> int: ...
    def reads_input(self) -> bool: ...
    def close(self) -> None: ...

    @property
    def died_by(self) -> int | None: ...

    @property
    def told_elsewhere(self) -> bool:
        """Return whether another part reports the end: the script left no exit code, or its Pod was removed."""
        ...


class World(msgspec.Struct, frozen=True, kw_only=True):
    """The ports, settings and surroundings of an attempt.

    Args:
        script: makes the script of a job from its directory and environment.
        opener: opens credentials.
        boot: this agent's process; part of an execution's id.
        inherited: the environment that a script's own begins with.
        script_root: where the script finds its directories, if that is not where the agent has them.
        isolation: what keeps scripts apart from this user's files: `bubblewrap`, `pod`, or `none`.
        in_pod: whether the script has a Pod of its own, so that its profile is honoured in full.
        image: what the script's container is made from; empty outside a Pod.
        requests: what files are uploaded by, where results are not on a volume.
    """

    settings: WorkerSettings
    reporting: Reporting
    asking: Asking
    opener: Opener
    script: Callable[[JobDir, Mapping[str, str]], Script]
    boot: str
    inherited: Mapping[str, str] = msgspec.field(default_factory=dict)
    script_root: Path | None = None
    isolation: Literal["bubblewrap", "pod", "none"] = "none"
    in_pod: bool = False
    image: str = ""
    requests: Requests | None = None

    def store(self, directory: JobDir, specification: Specification) -> ResultStore:
        """Return where an attempt's files go."""
        task, attempt = specification.task, specification.attempt
        if self.settings.results == "upload":
            assert self.requests is not None
            return UploadStore(self.requests, task, attempt, directory.root)
        return VolumeStore(self.settings.results_dir, task, attempt)

    def dependencies(self, directory: JobDir, specification: Specification) -> DependencyStore | None:
        """Return where a repository's dependency caches are kept; None where they are not."""
        settings = self.settings
        if not settings.dependency_cache or not specification.caches.scope:
            return None
        if settings.results == "upload":
            assert self.requests is not None
            return UploadedStore(self.requests, specification.task, specification.attempt, directory.root)
        root = settings.worker_dir / "dependencies"
        return LocalStore(root, specification.caches.scope, settings.dependency_cache_bytes)
