"""People and their API keys, as the API shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Role = Literal["viewer", "developer", "admin"]
KEY_NAME_LIMIT = 100


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    """Someone who has been here, as their last token said.

    `subject` is who they are for good; `disabled` counts at once, whatever tokens they have.
    """

    subject: str
    name: str
    mail: str
    roles: list[str]
    groups: list[str]
    first_seen_at: datetime
    last_seen_at: datetime
    disabled: bool = False
    disabled_by: str | None = None


class RolesRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The roles that someone is to have: these, and no other of keruta's."""

    roles: Annotated[list[Role], Meta(max_length=3)]


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """The caller. `offline`: their sign-in has expired while the issuer cannot be reached, and they may only read."""

    subject: str
    name: str
    mail: str
    roles: list[str]
    groups: list[str]
    offline: bool = False


class SignIn(msgspec.Struct, frozen=True, kw_only=True):
    """The identity provider, and as which client a program signs a person in there."""

    issuer: str
    client: str


class ApiKeyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API key to be made: for programs that can't sign in. It may do what its roles and its owner's allow."""

    name: Annotated[str, Meta(min_length=1, max_length=KEY_NAME_LIMIT)]
    roles: Annotated[list[Role], Meta(min_length=1, max_length=3)]
    days: Annotated[int, Meta(ge=1, le=366)] = 90


class ApiKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, without what opens anything."""

    id: str
    name: str
    owner: str
    owner_name: str
    roles: list[str]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


class ApiKeyMade(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was just made. `key` is shown this once: only its hash is kept."""

    key: str
    shown: ApiKeyView
