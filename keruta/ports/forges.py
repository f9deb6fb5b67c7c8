"""Ports for speaking to forges."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from keruta.domain.catalog.forges import ForgeAccount, ForgeRepository, ForgeSpec
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.forge_posts import CommitStatus, Hook, Permission, Posted, PullRequestHead, PullRequestText, Thread
from keruta.domain.forge_reports import PostView, Report
from keruta.domain.messages import Message
from keruta.domain.principal import Principal
from keruta.domain.task import TaskView

QUESTION_SECONDS = 40.0  # for what a delivery or a page needs of a forge; a delivery is one process's for a minute
NamedPayload = tuple[str, dict[str, Any]]  # an event's name, in the forge's own word, and its payload


class ForgeApi(Protocol):
    """A forge, for one account. Every method raises ForgeError."""

    def account(self) -> ForgeAccount: ...

    def repositories(self, page: int) -> list[ForgeRepository]:
        """Return one page of the repositories that the account may use; the first is 1."""
        ...

    def repository(self, name: str) -> ForgeRepository: ...

    def permission(self, repository: str, login: str, identity: int | None) -> Permission:
        """Return what a person may do with a repository.

        Args:
            identity: the forge's number for them; `none` where the login is somebody else's by now.
        """
        ...

    def pull_request_head(self, repository: str, number: int) -> PullRequestHead | None:
        """Return where a pull request is now; None where there is none."""
        ...

    def branches_at(self, repository: str, commit: str, ref: str | None) -> list[str]:
        """Return the repository's branches whose head is a commit.

        Args:
            ref: the branch that it is said to be, where that is known.
        """
        ...

    def labels_put(self, repository: str, number: int, at: datetime) -> list[str]:
        """Return the labels that were put on an issue or a pull request last, up to a time; none where its events say
        that.
        """
        ...

    @property
    def pull_request_event(self) -> str:
        """The forge's own word for the event of a pull request."""
        ...

    @property
    def comment_event(self) -> str:
        """The forge's own word for the event of a comment."""
        ...

    def branches(self, repository: str) -> dict[str, str] | None:
        """Return the commit of each branch; None where they are too many to list."""
        ...

    def tags(self, repository: str) -> dict[str, str] | None:
        """Return the commit that each tag is on; None where they are too many to list."""
        ...

    def push_payload(self, repository: str, ref: str, before: str, after: str) -> dict[str, Any]:
        """Return the payload that the forge would have sent of a push.

        Args:
            ref: with `refs/heads/` or `refs/tags/`.
        """
        ...

    def open_pull_requests(self, repository: str) -> list[tuple[int, str, dict[str, Any]]] | None:
        """Return number and commit of each open pull request, with the payload that the forge would have sent of it;
        None where they are too many to list.
        """
        ...

    def closed_payload(self, repository: str, number: int, at: datetime) -> dict[str, Any]:
        """Return a payload that says that a pull request is closed."""
        ...

    def comments_since(self, repository: str, since: datetime, *, labels: bool = False) -> list[dict[str, Any]]:
        """Return the payloads that the forge would have sent of comments that are new.

        Args:
            labels: whether those of the issue or pull request that they are on are wanted, too.
        """
        ...

    def issues_since(self, repository: str, since: datetime) -> list[NamedPayload]:
        """Return the events that the forge would have sent of issues: opened, reopened, labelled, assigned."""
        ...

    def reviews_since(self, repository: str, since: datetime) -> list[NamedPayload]:
        """Return the events that the forge would have sent of new reviews of open pull requests, and of comments on
        their lines, as far as they are not among its comments.
        """
        ...

    def redeliver(self, repository: str, address: str, since: datetime) -> int:
        """Have deliveries to an address sent again that failed; return how many. Only GitHub lists them."""
        ...

    def put_hook(self, repository: str, hook: Hook) -> bool:
        """Make a webhook, or bring the one with its address up to date; return whether it was made."""
        ...

    def set_status(self, repository: str, commit: str, status: CommitStatus) -> None: ...

    def find_comment(self, thread: Thread, marker: str) -> Posted | None:
        """Return the account's own comment that holds a marker."""
        ...

    def add_comment(self, thread: Thread, text: str) -> Posted: ...

    def change_comment(self, thread: Thread, comment: int, text: str) -> None: ...

    def find_pull_request(self, repository: str, head: str, base: str) -> Posted | None:
        """Return the open pull request from one branch to another."""
        ...

    def add_pull_request(self, repository: str, wanted: PullRequestText) -> Posted:
        """Open a pull request; its labels and reviewers are put on afterwards, by `dress_pull_request`."""
        ...

    def change_pull_request(self, repository: str, number: int, wanted: PullRequestText) -> None: ...

    def dress_pull_request(self, repository: str, number: int, wanted: PullRequestText) -> None:
        """Put labels on a pull request, and ask reviewers."""
        ...


class ConnectedTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger with the secret that signs its events, for its forge. `repr` does not show the secret."""

    spec: TriggerSpec
    secret: str

    def __repr__(self) -> str:
        return f"ConnectedTrigger(name={self.spec.name!r})"


class Forges(Protocol):
    """The forges of the catalog, signed in at. What someone may not see does not exist: NotFound."""

    def manageable(self, who: Principal, name: str) -> ForgeSpec:
        """Raises NotFound, Forbidden: they may not run what is at this forge."""
        ...

    def open(self, name: str, seconds: float = QUESTION_SECONDS) -> ForgeApi:
        """Sign in at a forge for some requests.

        Args:
            seconds: within which the last of them must begin; after them they fail as if it did not answer.

        Raises:
            NotFound, Conflict: the forge has no credential that can be opened.
        """
        ...

    def names_of(self, who: Principal, urls: list[str]) -> dict[str, str]:
        """Return the names of the repositories in the catalog that are at these addresses, by address."""
        ...

    def trigger(self, who: Principal, name: str, forge: str) -> ConnectedTrigger:
        """Raises NotFound, Forbidden: it is not theirs to change, Conflict: it has no secret, or names no forge."""
        ...

    def repository_url(self, name: str) -> str: ...


class DueReport(msgspec.Struct, frozen=True, kw_only=True):
    """A task that its forge is to be told of, and its trigger as it is now; None where that was deleted.

    Args:
        since: when it became due; a later change of the task makes it due again.
    """

    task: TaskView
    trigger: TriggerSpec | None
    forge: str
    since: datetime


class KnownPost(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one post at a forge.

    Args:
        settled: the same was told, or has failed for good.
        newer: a newer task speaks of the same.
        remote: what the forge calls the comment.
        tries: how often the same was tried in vain.
    """

    settled: bool = False
    newer: bool = False
    remote: int | None = None
    tries: int = 0


class ReportStore(Protocol):
    """The record of what forges are told. Every method raises Unavailable."""

    def due_forges(self) -> list[str]: ...

    def hold(self, forge: str) -> str | None:
        """Keep a forge for this process alone for two minutes, unless it is another's or is to be left alone."""
        ...

    def next(self, forge: str, holder: str) -> DueReport | None:
        """Return the task that is due longest, if the forge is still this process's; for two minutes more."""
        ...

    def release(self, forge: str, holder: str) -> None: ...

    def rest(self, forge: str, seconds: float) -> None:
        """Leave a forge alone for a while."""
        ...

    def known(self, due: DueReport, report: Report) -> KnownPost: ...

    def told(self, due: DueReport, report: Report, posted: Posted | None, said: Message) -> None: ...

    def failed(self, due: DueReport, report: Report, said: Message, *, final: bool) -> None: ...

    def superseded(self, due: DueReport, report: Report) -> None: ...

    def done(self, due: DueReport, again_seconds: float | None) -> None:
        """Note that nothing more is due of a task, or that it is again after a while."""
        ...


class Posts(Protocol):
    """Store of posts at forges, as people see them."""

    def of(self, task: str) -> list[PostView]:
        """Raises Unavailable."""
        ...

    def pull_requests(self, tasks: Sequence[str]) -> list[PostView]:
        """Return the pull requests that were opened, or are to be, for some tasks. Raises Unavailable."""
        ...
