"""Ports of the handlers. The adapters implement them; so do the fakes in `keruta.testing`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import msgspec

from keruta.domain.principal import Sender as Sender
from keruta.ports.provenance import DueProvenance as DueProvenance
from keruta.ports.provenance import ProvenanceStore as ProvenanceStore
from keruta.ports.provenance import Signer as Signer
from keruta.ports.provenance import Statements as Statements
from keruta.ports.reports import Circuits as Circuits
from keruta.ports.reports import ClusterWorker as ClusterWorker
from keruta.ports.reports import ExpiryStore as ExpiryStore
from keruta.ports.reports import LogStore as LogStore
from keruta.ports.reports import ReportStore as ReportStore
from keruta.ports.tasks import Audit as Audit
from keruta.ports.tasks import Changed as Changed
from keruta.ports.tasks import TaskStore as TaskStore
from keruta.ports.tasks import TaskTracing as TaskTracing
from keruta.ports.tasks import WorkerSlots as WorkerSlots

if TYPE_CHECKING:  # what these say is for the type checker: no part loads another's words for it
    from keruta.domain.catalog.caches import CacheRecord
    from keruta.domain.events import Event
    from keruta.domain.principal import Principal
    from keruta.domain.scheduling import Candidate, Choice, Lane, Limits
    from keruta.domain.submission import Found
    from keruta.domain.task import NewTask, TaskRequest, TaskView
    from keruta.domain.uploads import Part


class Verifying(Protocol):
    """Says who a token speaks for."""

    def verify(self, token: str) -> Principal:
        """Raises Unauthenticated, Forbidden."""
        ...


class PeopleVerifier(Verifying, Protocol):
    """The same for people, whose identity provider may be away."""

    @property
    def issuer_away_since(self) -> datetime | None:
        """Since when the issuer can't be reached, as far as was noticed; asks nobody."""
        ...


class AgentSessions(Protocol):
    """The tokens that keruta signs for workers and attempts."""

    def verify(self, token: str) -> Sender: ...

    def for_worker(self, worker: str, session: str) -> tuple[str, datetime]: ...

    def for_attempt(self, attempt: str, *, timeout_seconds: float, lease_seconds: float) -> str: ...

    def snapshot_key(self, attempt: str) -> bytes:
        """Return the key that an attempt's stored session is sealed with."""
        ...

    def seconds_left(self, authorization: str) -> float: ...


class AgentAccess(Protocol):
    """Checks that an agent's token is still valid for its request."""

    def check_session(self, sender: Sender) -> None:
        """Raises Unauthenticated: another registration has taken this worker's place."""
        ...

    def check_attempt(self, sender: Sender, task: str, number: int) -> None:
        """The sender may fetch and store for this attempt, which is not over.

        Raises:
            Unauthenticated, NotFound, Forbidden.
        """
        ...


class EventDecoder(Protocol):
    """Reads a CloudEvent from a request's headers and body."""

    def __call__(self, headers: Mapping[str, str], body: bytes) -> Event:
        """Raises InvalidRequest."""
        ...


class Refusals(Protocol):
    """The record of refusals."""

    def refused(self, who: str, route: str, reason: str) -> None: ...


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = -1, /) -> bytes: ...


class FileStore(Protocol):
    """The files that attempts leave behind, by attempt and path."""

    def open(self, attempt: str, path: str) -> BinaryIO:
        """Raises NotFound."""
        ...

    def store(
        self, attempt: str, path: str, content: Readable, length: int | None, part: Part | None = None
    ) -> None: ...
    def forget(self, attempt: str) -> None: ...


class DependencyFiles(Protocol):
    """Dependency caches' entries that agents upload, by the repository's scope and what they are alike in."""

    def records(self, scope: str, space: str) -> list[CacheRecord]: ...

    def open(self, scope: str, space: str, name: str) -> BinaryIO:
        """Open an entry's archive; its reader verifies it. Raises NotFound."""
        ...

    def keep(self, scope: str, space: str, attempt: str, record: CacheRecord) -> None:
        """Make an entry of an archive that was uploaded with an attempt's files.

        Raises:
            NotFound: nothing was uploaded.
            Conflict: there is an entry of that key.
            InvalidRequest, StorageFull.
        """
        ...


class SnapshotStore(Protocol):
    """Stored sessions of coding agents, by attempt: sealed, and kept for a set time. Both methods raise Unavailable."""

    def store(self, attempt: str, content: Readable, length: int) -> None:
        """Store a session whole, in the place of an earlier one.

        Raises:
            InvalidRequest: it is cut short.
            TooLarge.
        """
        ...

    def read(self, attempt: str) -> Iterator[bytes] | None:
        """Return the content; None if none is kept."""
        ...


class SubmitTrace(Protocol):
    """The beginning of a task's trace."""

    def submitted(self, task_id: str, began: datetime, ended: datetime) -> None: ...


class IdempotencyKey(msgspec.Struct, frozen=True, kw_only=True):
    """A client's word that a request is the same request: valid for 24 hours."""

    subject: str
    key: str
    body_hash: str


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """A task that is in the queue, and whether it had been there already."""

    task: TaskView
    repeated: bool


class Lookup(Protocol):
    """Lookup of the catalog entries that a request names, among those that the given `readers` names may read."""

    def find(self, readers: Sequence[str], request: TaskRequest) -> Found: ...


class Intake(Protocol):
    """Storage of new tasks."""

    def accept(self, new: NewTask, key: IdempotencyKey | None) -> Accepted:
        """The task is stored durably, with its event to be sent.

        Raises:
            InvalidRequest: the key was used for another body.
            Unavailable: the database is away; nothing is stored, or a repeat with the same key will tell.
        """
        ...


class Outbox(Protocol):
    """Sends what a change recorded, after the answer has gone out."""

    def send(self, task_id: str, events: Sequence[Event]) -> None:
        """Queues the events for sending; never raises, never waits."""
        ...


class SweptOutbox(Outbox, Protocol):
    """An outbox that can also send what other processes left behind."""

    def send_left(self) -> int: ...


class Assignments(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an assignment that was written.

    Args:
        events: those to send, each with its task.
        wanted: whether another process wanted the assigner's lease, where that was given back.
    """

    events: Sequence[tuple[str, Event]]
    wanted: bool = False


class AssignmentStore(Protocol):
    """Reads and writes of the assigner. See `keruta.services.scheduler` for how they are used together."""

    def take_assigner(self) -> int | None:
        """Return the epoch under which this process may assign for 3 s.

        None: another one is at it, and learns when it gives the lease back that this one wanted it.
        """
        ...

    def release_assigner(self, epoch: int) -> bool:
        """Give the lease back. Returns whether another one wanted it meanwhile."""
        ...

    def free_slots(self, worker: str | None) -> list[WorkerSlots]:
        """Live workers with a free slot: all, or the one that is named."""
        ...

    def waiting(self, worker: str | None) -> tuple[Mapping[Lane, Sequence[Candidate]], list[WorkerSlots]]:
        """Return the head of each lane that waits, and the free slots."""
        ...

    def running(self, lanes: Iterable[Lane]) -> Mapping[Lane, int]:
        """Return the number of running tasks by lane; called only where lanes compete or are limited."""
        ...

    def limits(self, lanes: Iterable[Lane]) -> Limits: ...

    def candidates(self, lane: Lane, most: int) -> Sequence[Candidate]: ...

    def write(self, epoch: int, choices: Sequence[Choice], *, release: bool = False) -> Assignments:
        """Write all of the choices, or none.

        Args:
            release: the assigner's lease is given back with this write.

        Raises:
            PlanOutdated: something has moved; the plan must be made anew.
        """
        ...


class PlanOutdated(Exception):  # noqa: N818  it is a turn of events, not an error
    """The state on which the plan was based has changed."""


class Nudges(Protocol):
    """Tells workers that something is assigned to them. A hint: it may be lost."""

    def nudge(self, worker: WorkerSlots, tasks: Sequence[str]) -> None: ...


Document = dict[str, Any]
