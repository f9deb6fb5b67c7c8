"""Ports of watching the system: lists and logs of tasks, the overview, webhooks, undelivered events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from keruta.domain.activity import Activity, Place
    from keruta.domain.badges import Badge, BadgeRequest, BadgeState
    from keruta.domain.catalog.common import Page
    from keruta.domain.dead_letters import DeadLetter
    from keruta.domain.events import Event
    from keruta.domain.overview import Overview, WorkerView
    from keruta.domain.principal import Principal
    from keruta.domain.report_files import ReportedRun
    from keruta.domain.retention import Pruned
    from keruta.domain.task import TaskPage, TaskSummary, TaskView
    from keruta.domain.task_list import Chunk, TaskFilter
    from keruta.domain.webhooks import Delivery, WebhookMade, WebhookRequest, WebhookView

T = TypeVar("T")


class TaskQueries(Protocol):
    """Queries of people about tasks. Tasks that someone may not read do not exist for them: NotFound."""

    def page(self, who: Principal, wanted: TaskFilter, *, limit: int, cursor: str | None) -> TaskPage: ...

    def task(self, who: Principal, task_id: str) -> TaskView: ...

    def may_change(self, who: Principal, task_id: str) -> bool: ...

    def needing(self, who: Principal, *, limit: int) -> list[TaskSummary]:
        """Return tasks that wait for someone who may change them, as this person may, newest first."""
        ...

    def reported(self, who: Principal, facet: str, *, before: str, limit: int) -> list[ReportedRun]:
        """Return attempts with reports among the newest `limit` tasks of a facet before another, newest first."""
        ...

    def log_attempt(self, who: Principal, task_id: str, attempt: int | None) -> tuple[int, bool, str]: ...

    def every_chunk(self, task_id: str, *, beyond: int | None = None) -> Iterator[Chunk]:
        """Return the logs of all attempts of a task, each in order; or of those that come after one of them."""
        ...

    def chunks(self, task_id: str, attempt: int, after: int = -1) -> Iterator[Chunk]: ...


class SharedReads(Protocol):
    """Reads shared by all followers of one task: one of them reads for all."""

    def changed(self) -> None: ...

    def once(self, key: object, read: Callable[[], T]) -> T: ...


class Follower(Protocol):
    """Is set whenever the task that it follows, or its log, has changed."""

    @property
    def shared(self) -> SharedReads: ...

    def clear(self) -> None: ...

    def wait(self, timeout: float | None = None) -> bool: ...


class LogTail(Protocol):
    """Tells those who follow a log that there is more."""

    def follow(self, task_id: str) -> AbstractContextManager[Follower]: ...


class SystemOverview(Protocol):
    """State of the whole system."""

    def of(self, who: Principal, zone: tzinfo = UTC) -> Overview:
        """Return it for one reader; hours and days are those of the zone."""
        ...

    def workers(self) -> list[WorkerView]: ...

    def drain(self, who: Principal, worker: str, *, draining: bool) -> WorkerView:
        """Raises NotFound."""
        ...


class Badges(Protocol):
    """Badges of repositories."""

    def make(self, who: Principal, repository: str, wanted: BadgeRequest) -> Badge:
        """Raises Conflict, NotFound."""
        ...

    def of(self, repository: str) -> list[Badge]: ...

    def revoke(self, who: Principal, repository: str, identity: str) -> None:
        """Raises NotFound."""
        ...

    def shown(self, identity: str) -> BadgeState: ...


class Activities(Protocol):
    """Activity of one repository, queue or worker."""

    def of(self, who: Principal, place: Place, zone: tzinfo = UTC) -> Activity: ...


class Retention(Protocol):
    """Deletion of old data."""

    def prune(self, *, dry_run: bool) -> Pruned: ...


class AccessSpreading(Protocol):
    """Brings changed grants to the tasks that are there."""

    def finish(self) -> int: ...


class DeadLetters(Protocol):
    """Events that could not be delivered."""

    def keep(self, event: Event, *, destination: str | None, code: str | None) -> None: ...

    def page(self, *, limit: int, cursor: str | None) -> Page[DeadLetter]: ...

    def replay(self, who: str, letter: str) -> DeadLetter:
        """Raises NotFound, Unavailable."""
        ...


class Webhooks(Protocol):
    """Webhooks, and what they were told."""

    def create(self, who: Principal, wanted: WebhookRequest, secret: str) -> WebhookMade:
        """Raises Conflict."""
        ...

    def all(self) -> list[WebhookView]: ...

    def delete(self, who: Principal, name: str) -> None:
        """Raises NotFound."""
        ...

    def note(self, event: Event) -> int: ...

    def deliveries(self, *, webhook: str | None, limit: int, cursor: str | None) -> Page[Delivery]: ...

    def again(self, who: Principal, delivery: str) -> Delivery:
        """Raises NotFound."""
        ...


class WebhookAlarm(Protocol):
    """Says to the sender of webhooks that something is due."""

    def wake(self) -> None: ...
