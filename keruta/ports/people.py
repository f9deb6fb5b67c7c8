"""Ports about people: their accounts, API keys, sign-in, and sessions of their browsers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from keruta.domain.catalog.common import Page
    from keruta.domain.favourites import Favourite
    from keruta.domain.messages import Message
    from keruta.domain.notice_mails import Follower, Mail, MailChange, MailDue, NoticeDue, Sent
    from keruta.domain.notices import NoticeChoice
    from keruta.domain.principal import Principal
    from keruta.domain.sign_in import BrowserSession, Tokens
    from keruta.domain.task import TaskSummary
    from keruta.domain.users import ApiKeyMade, ApiKeyRequest, ApiKeyView, UserView


class SignInVerifier(Protocol):
    """Verifies everything that an identity provider signs."""

    @property
    def issuer_away_since(self) -> datetime | None: ...

    def verify(self, token: str) -> Principal:
        """Raises Unauthenticated, Forbidden, TooManyRequests."""
        ...

    def check_again(self, token: str) -> Principal:
        """The same, where an answer goes on for long. Raises Unauthenticated, Forbidden."""
        ...

    def signed_in(self, id_token: str, *, client: str, nonce: str) -> tuple[str, str]: ...

    def signed_out(self, logout_token: str, *, client: str) -> tuple[str, str]: ...


class IdentityProvider(Protocol):
    """The identity provider, at which people sign in."""

    client: str

    def sign_in_address(self, *, redirect_uri: str, state: str, nonce: str, verifier: str, language: str) -> str: ...

    def exchange(self, code: str, *, redirect_uri: str, verifier: str) -> Tokens: ...

    def sign_out(self, tokens: Tokens) -> None: ...

    def renew(self, refresh_token: str) -> Tokens: ...


class Favourites(Protocol):
    """Favourites of people."""

    def of(self, subject: str) -> list[Favourite]: ...

    def add(self, subject: str, wanted: Favourite) -> None: ...

    def remove(self, subject: str, wanted: Favourite) -> None: ...


class Notices(Protocol):
    """People's choices of notices, and up to when they have seen them."""

    def choice(self, subject: str) -> NoticeChoice: ...

    def choose(self, subject: str, choice: NoticeChoice) -> None: ...

    def see(self, subject: str) -> None: ...

    def seen_at(self, subject: str) -> datetime: ...

    def found(
        self, who: Principal, facets: Sequence[str], statuses: Sequence[str], *, limit: int
    ) -> list[TaskSummary]: ...

    def unseen(self, who: Principal, facets: Sequence[str], statuses: Sequence[str]) -> int: ...


class NoticeMails(Protocol):
    """The record of what people are to be told by e-mail."""

    def facets(self, task: str) -> list[str] | None:
        """Return the facets of a task; None where there is none."""
        ...

    def followers(self, facets: Sequence[str]) -> list[Follower]:
        """Return those who have chosen e-mails and submitted or watch a task of these facets, up to a fixed number."""
        ...

    def follower(self, subject: str) -> Follower: ...

    def add(self, subject: str, due: NoticeDue) -> bool:
        """Put an end on record. Return False where the same event is on record already."""
        ...

    def take(self) -> MailDue | None:
        """Return an e-mail that is due, for this process alone for a while."""
        ...

    def settle(self, due: MailDue, change: MailChange) -> None: ...

    def readable(self, who: Principal, tasks: Sequence[str]) -> dict[str, tuple[TaskSummary, list[str]]]:
        """Return those of the tasks that a person may read, each with its facets."""
        ...

    def last_fault(self, subject: str) -> Message | None:
        """Return why the last e-mail to a person was not sent; None where it was."""
        ...


class Mailer(Protocol):
    """The server that sends e-mails."""

    def send(self, mail: Mail) -> Sent: ...


class Sessions(Protocol):
    """The sessions of people's browsers."""

    def begin(self, tokens: Tokens, *, subject: str, provider_session: str = "") -> BrowserSession: ...

    def find(self, secret: str) -> BrowserSession | None: ...

    def take_turn(self, secret: str) -> bool: ...

    def renewed(self, secret: str, tokens: Tokens) -> None: ...

    def end(self, secret: str) -> None: ...

    def end_all(self, *, subject: str, provider_session: str) -> int: ...


class Accounts(Protocol):
    """People and their API keys."""

    def users(self, *, search: str | None, limit: int, cursor: str | None) -> Page[UserView]: ...

    def user(self, subject: str) -> UserView:
        """Raises NotFound."""
        ...

    def names(self, subjects: Iterable[str]) -> dict[str, str]: ...

    def set_disabled(self, who: Principal, subject: str, *, disabled: bool) -> UserView:
        """Raises NotFound."""
        ...

    def note_roles(self, who: Principal, subject: str, roles: Sequence[str]) -> UserView:
        """Raises NotFound."""
        ...

    def make_key(self, who: Principal, wanted: ApiKeyRequest) -> ApiKeyMade:
        """Raises Conflict: there are too many."""
        ...

    def keys(self, who: Principal, *, limit: int, cursor: str | None) -> Page[ApiKeyView]: ...

    def revoke(self, who: Principal, identity: str) -> None:
        """Raises NotFound."""
        ...


class RoleStore(Protocol):
    """Storage of people's roles."""

    def change(self, subject: str, wanted: Iterable[str]) -> list[str]:
        """Raises NotFound, Conflict, Unavailable."""
        ...


class Rates(Protocol):
    """Rate limits of callers."""

    def take(self, caller: str) -> None:
        """Raises TooManyRequests."""
        ...
