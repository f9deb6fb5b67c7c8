"""Ports of reports and ticks beside tasks: workers, leases, logs, circuits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from keruta.domain.principal import Sender

if TYPE_CHECKING:
    from keruta.domain.decisions.values import LogSummary, Standing
    from keruta.domain.messages import Message
    from keruta.domain.reports import Assigned, Held, LogChunk, Registration
    from keruta.domain.specification import Specification


class ReportStore(Protocol):
    """Workers and their sessions, leases, and what is whose. Every method raises Unavailable."""

    def register(self, worker: str, registration: Registration) -> str:
        """Make a worker known and ready; its earlier sessions are void. Returns the new session's id."""
        ...

    def leave(self, sender: Sender) -> None:
        """Take a worker's slots away for good. Raises Unauthenticated."""
        ...

    def receive(self, sender: Sender, task_ids: Collection[str]) -> tuple[bool, Mapping[str, Standing]]:
        """Note that a report came.

        Returns:
            Whether leases are to be renewed, which is not done at every report; and tasks' states by id, without
            missing ones.

        Raises:
            Unauthenticated: another registration has taken this session's place.
        """
        ...

    def renew(self, sender: Sender, attempts: Sequence[str]) -> None:
        """Extend the leases of these attempts, as far as they are the sender's."""
        ...

    def unblock(self, worker: str, held: Sequence[str]) -> None:
        """Let tasks be claimed whose last attempt this worker had, and holds no longer."""
        ...

    def over(self, attempts: Sequence[str]) -> list[str]:
        """Return those of the attempts that are not any task's current one, or have ended."""
        ...

    def assigned(self, sender: Sender, known: Iterable[Held]) -> list[Assigned]:
        """All that is the sender's; what it does not know yet comes with its specification."""
        ...

    def specification(self, task_id: str, attempt: int) -> Specification | None:
        """Return the specification of a task's current attempt; None if this is not the current one."""
        ...


class LogStore(Protocol):
    """Storage of log chunks."""

    def store(self, chunks: Sequence[LogChunk]) -> Sequence[LogChunk]:
        """Store chunks. Returns those that were there already; they stay as they were. Raises Unavailable."""
        ...

    def known(self, chunks: Sequence[LogChunk]) -> list[LogChunk]:
        """Return which of the chunks are stored already."""
        ...

    def note(self, task_id: str, attempt: int, summary: LogSummary) -> None:
        """Record in the task how long its log is, and its last lines. Raises Unavailable."""
        ...


class Circuits(Protocol):
    """Failures in a row, by repository, profile, credential and queue."""

    def failed(self, lane: Mapping[str, str], task_id: str, reason: str, message: Message) -> None:
        """Count a failure, if the reason is not the script's own."""
        ...

    def succeeded(self, lanes: Iterable[Mapping[str, str]]) -> None:
        """Close the circuits of what these tasks draw on."""
        ...

    def answered(self, profiles: Iterable[str]) -> None:
        """Close the circuits of the keys for the model of these profiles, which have just been taken."""
        ...

    def holds(self, lane: Mapping[str, str], reason: str) -> bool:
        """Return whether one more failure for this reason opens a circuit, or finds it open."""
        ...


class ClusterWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A worker whose attempts run in Pods, which go on without it."""

    id: str
    slots: int
    alive: bool


class ExpiryStore(Protocol):
    """Queries and writes of a tick. Every method raises Unavailable."""

    def note_report(self) -> None:
        """Note that reports arrive."""
        ...

    def note_tick(self) -> bool:
        """Note a tick. Returns whether leases may expire: ticks and reports were continuous for a whole lease."""
        ...

    def expired(self) -> Sequence[Standing]:
        """The leased tasks whose lease has run out."""
        ...

    def unanswered(self) -> Sequence[Standing]:
        """The suspended tasks whose time for an answer has passed."""
        ...

    def release_due(self) -> None:
        """Let tasks be claimed whose backoff is over."""
        ...

    def release_from_lost_workers(self) -> None:
        """Let tasks be claimed whose last attempt's worker was not heard of for a lease."""
        ...

    def cluster_workers(self) -> Sequence[ClusterWorker]: ...

    def held_by(self, workers: Sequence[str]) -> Sequence[str]:
        """The tasks whose attempts these workers have."""
        ...

    def hand_over(self, task_id: str, workers: Sequence[str], heir: str) -> None:
        """Give a task's attempt to another worker, if one of these still has it."""
        ...

    def forget(self, workers: Sequence[str]) -> None:
        """Remove workers that were gone for an hour."""
        ...
