"""A forge that a team's repositories are on: its address, what keruta signs in with, and what signs its events."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from keruta.domain.address import parse_address
from keruta.domain.catalog.access import Access
from keruta.domain.catalog.common import Description, Kept, Name, Problems
from keruta.domain.catalog.triggers import Provider
from keruta.domain.messages import message

ForgeType = Literal["github", "gitlab", "gitea", "forgejo"]
HOSTED: dict[str, str] = {"github": "https://github.com", "gitlab": "https://gitlab.com"}
# What a forge's API asks of the credential, for all that keruta does there.
SCOPES: dict[str, str] = {
    "github": "commit statuses, issues, pull requests and webhooks: read and write; metadata: read",
    "gitlab": "api",
    "gitea": "write:repository, write:issue, read:user",
    "forgejo": "write:repository, write:issue, read:user",
}


class ForgeSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A forge as an administrator writes it.

    Args:
        url: where people open it; needed but for github.com and gitlab.com.
        credential: of the type `forge_token` or `github_app`; without it keruta only receives events.
        webhook_secret: signs the events of triggers that name no secret of their own.
        access: who may run, may have triggers report to this forge.
    """

    name: Name
    type: ForgeType
    description: Description = ""
    url: Annotated[str, Meta(min_length=1, max_length=500)] | None = None
    credential: Name | None = None
    webhook_secret: Name | None = None
    access: Access | None = None

    def faults(self) -> Problems:
        if self.url is None and self.type not in HOSTED:
            yield "/url", message("forge_url_needed")
        if self.url is not None and not _is_address(self.url):
            yield "/url", message("forge_url")

    @property
    def address(self) -> str:
        return (self.url or HOSTED.get(self.type, "")).rstrip("/")

    @property
    def provider(self) -> Provider:
        """The form of its events."""
        return "gitea" if self.type == "forgejo" else self.type

    @property
    def api(self) -> str:
        """The address of its API, to which the credential is sent."""
        if self.type == "github":
            return "https://api.github.com" if self.address == HOSTED["github"] else f"{self.address}/api/v3"
        return f"{self.address}/api/{'v4' if self.type == 'gitlab' else 'v1'}"

    def repository_of(self, url: str) -> str | None:
        """Return the owner and name of a repository at this forge by its address; None where it is elsewhere."""
        try:
            own, its = parse_address(self.address), parse_address(url)
        except ValueError:
            return None
        path = its.path
        if its.scheme != "ssh":
            if its.port != own.port or not path.startswith(own.path.rstrip("/") + "/"):
                return None
            path = path.removeprefix(own.path.rstrip("/"))
        name = path.strip("/")
        return name if its.host == own.host and name.count("/") >= 1 else None


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url and not (parts.query or parts.fragment)
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


class ForgeView(ForgeSpec, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A forge as the API shows it."""

    meta: Kept


class ForgeAccount(msgspec.Struct, frozen=True, kw_only=True):
    """The account that keruta acts as at a forge."""

    login: str
    id: int | None = None


class ForgeCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Result of signing in at a forge: `message` is one sentence; `reason` is there if it failed.

    `webhook_address` is where a forge sends its events to, with the trigger's name in place of NAME.
    """

    signed_in: bool
    message: str
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None
    reason: str | None = None
    account: str | None = None
    scopes: str = ""
    webhook_address: str = ""
    at: datetime | None = None


class ForgeRepository(msgspec.Struct, frozen=True, kw_only=True):
    """A repository at a forge. `added` is its name in the catalog, where it has one that the reader may see."""

    repository: str
    url: str
    default_branch: str | None = None
    private: bool = False
    added: str | None = None


class AddRepository(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A repository of a forge that is to be added to the catalog; without `name`, under the last part of its own."""

    repository: Annotated[str, Meta(min_length=3, max_length=500, pattern="^[^\\s?#%]+/[^\\s?#%]+$")]
    name: Name | None = None
    read_credential: Name | None = None
    push_credential: Name | None = None
    access: Access | None = None


class ConnectRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trigger whose webhook is to be made at the forge."""

    trigger: Name


class ForgeWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook at a forge that delivers to a trigger. `made` is false where it was there and was updated."""

    trigger: str
    repository: str
    address: str
    events: list[str]
    made: bool
