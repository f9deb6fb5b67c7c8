"""Ports for speaking to forges."""

from __future__ import annotations

from typing import Protocol

import msgspec

from keruta.domain.catalog.forges import ForgeAccount, ForgeRepository, ForgeSpec
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.domain.forge_posts import CommitStatus, Hook, Permission, Posted, PullRequestText, Thread
from keruta.domain.principal import Principal


class ForgeApi(Protocol):
    """A forge, for one account. Every method raises ForgeError."""

    def account(self) -> ForgeAccount: ...

    def repositories(self, page: int) -> list[ForgeRepository]:
        """Return one page of the repositories that the account may use; the first is 1."""
        ...

    def repository(self, name: str) -> ForgeRepository: ...

    def permission(self, repository: str, login: str) -> Permission:
        """Return what a person may do with a repository."""
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

    def open(self, name: str) -> ForgeApi:
        """Raises NotFound, Conflict: the forge has no credential that can be opened."""
        ...

    def names_of(self, who: Principal, urls: list[str]) -> dict[str, str]:
        """Return the names of the repositories in the catalog that are at these addresses, by address."""
        ...

    def trigger(self, who: Principal, name: str, forge: str) -> ConnectedTrigger:
        """Raises NotFound, Forbidden: it is not theirs to change, Conflict: it has no secret, or names no forge."""
        ...

    def repository_url(self, name: str) -> str: ...
