"""A credential: what opens a Git server, or a value that a script asks for by name. Its secret parts are write-only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from keruta.domain.address import host_fault
from keruta.domain.catalog.access import CredentialAccess
from keruta.domain.catalog.circuits import CircuitView
from keruta.domain.catalog.common import Description, Kept, Name, Problems
from keruta.domain.catalog.ssh_keys import app_key_fault, ssh_key_fault
from keruta.domain.messages import message

SECRET_PREFIX = "keruta-job-"  # noqa: S105  a name's beginning
SECRET_LIMIT_BYTES = 65536  # a variable of a script's environment can hold 128 KiB
SecretText = Annotated[str, Meta(min_length=1, max_length=SECRET_LIMIT_BYTES)]

# By type: the parts that are secret, and those that are needed beside them.
SECRET_FIELDS: dict[str, tuple[str, ...]] = {
    "token": ("token",),
    "ssh": ("private_key",),
    "github_app": ("private_key",),
    "secret": ("value",),
    "webhook_secret": ("value",),
    "forge_token": ("token",),
}
NEEDED_FIELDS: dict[str, tuple[str, ...]] = {
    "token": ("username",),
    "ssh": ("known_hosts",),
    "github_app": ("app_id", "installation_id"),
    "secret": (),
    "webhook_secret": (),
    "forge_token": (),
}
ALL_SECRETS = ("token", "private_key", "value")
HOSTS = "hosts it may be sent to: git.example.com, git.example.com:8443, or https://git.example.com/team"
Hosts = Annotated[list[Annotated[str, Meta(min_length=1, max_length=500)]], Meta(max_length=50, description=HOSTS)]
GITHUB = "github.com"
WITHOUT_HOSTS = ("secret", "webhook_secret")  # sent to no server
CredentialType = Literal["token", "ssh", "github_app", "secret", "webhook_secret", "forge_token"]
OWN_USE = ("webhook_secret", "forge_token")  # for keruta itself: no task is given one
SEALED_EVERYWHERE = ("github_app", *OWN_USE)  # opened by keruta itself, so never a Secret of an attempt


class CredentialSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A credential as a person writes it. On a change, a secret part that is left out stays as it was."""

    name: Name
    type: CredentialType
    description: Description = ""
    username: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    known_hosts: Annotated[str, Meta(min_length=1, max_length=65536)] | None = None
    app_id: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    installation_id: Annotated[str, Meta(pattern="^[0-9]{1,20}$")] | None = None
    api_url: Annotated[str, Meta(max_length=500, pattern="^https?://[^/]")] | None = None
    kubernetes_secret: Annotated[str, Meta(max_length=253)] | None = None
    hosts: Hosts = []
    access: CredentialAccess | None = None
    token: SecretText | None = None
    private_key: SecretText | None = None
    value: SecretText | None = None

    def faults(self) -> Problems:
        secret, needed = SECRET_FIELDS[self.type], NEEDED_FIELDS[self.type]
        for field in needed:
            if getattr(self, field) is None:
                yield f"/{field}", message("credential_part_needed", type=self.type)
        own = {"name", "type", "description", "kubernetes_secret", "hosts", "access", *secret, *needed}
        own |= {"api_url"} if self.type == "github_app" else set()
        for field in self.__struct_fields__:
            if field not in own and getattr(self, field) is not None:
                yield f"/{field}", message("credential_part_unknown", type=self.type)
        for field in secret:
            if len((getattr(self, field) or "").encode("utf-8", "surrogatepass")) > SECRET_LIMIT_BYTES:
                yield f"/{field}", message("field_too_large", limit=SECRET_LIMIT_BYTES // 1024)
        if self.kubernetes_secret is not None:
            if not self.kubernetes_secret.startswith(SECRET_PREFIX):
                yield "/kubernetes_secret", message("credential_secret_name", prefix=SECRET_PREFIX)
            if self.values:
                yield "/kubernetes_secret", message("credential_secret_or_value")
            if self.type in SEALED_EVERYWHERE:
                yield "/kubernetes_secret", message("credential_app_key")
        for number, host in enumerate(self.hosts):
            if host_fault(host):
                yield f"/hosts/{number}", message("credential_host_malformed")
        granted = self.access is not None and (self.access.use or self.access.manage)
        if granted and self.type not in WITHOUT_HOSTS and not allowed_hosts(self.type, self.hosts, self.api_url):
            yield "/hosts", message("credential_hosts_needed")
        if self.username is not None and not self.username.isprintable():
            yield "/username", message("credential_user_control")
        elif self.username is not None and ":" in self.username:
            yield "/username", message("credential_user_colon")
        one_line = self.type in ("token", "forge_token")
        if one_line and self.token is not None and any(c in self.token.strip() for c in "\r\n\0"):
            yield "/token", message("credential_line_break")
        if self.type == "secret" and "\0" in (self.value or ""):
            yield "/value", message("field_nul")
        if self.type == "ssh" and self.private_key is not None and (wrong := ssh_key_fault(self.private_key)):
            yield "/private_key", wrong
        if self.type == "github_app" and self.private_key is not None and (wrong := app_key_fault(self.private_key)):
            yield "/private_key", wrong
        if self.type == "ssh" and self.known_hosts is not None and not _names_a_host(self.known_hosts):
            yield "/known_hosts", message("credential_known_hosts")

    @property
    def values(self) -> dict[str, str]:
        """The secret parts that are given."""
        found = {field: getattr(self, field) for field in ALL_SECRETS}
        return {field: value for field, value in found.items() if value is not None}

    def __repr__(self) -> str:
        return f"CredentialSpec(name={self.name!r}, type={self.type!r})"


def _names_a_host(known_hosts: str) -> bool:
    lines = [line.split() for line in known_hosts.splitlines() if not line.lstrip().startswith("#")]
    return any(len(words) >= 3 for words in lines)


class CredentialView(msgspec.Struct, frozen=True, kw_only=True):
    """A credential as it is shown: whether values are set, the fingerprint and the users, never a value."""

    name: str
    type: CredentialType
    description: str = ""
    username: str | None = None
    known_hosts: str | None = None
    app_id: str | None = None
    installation_id: str | None = None
    api_url: str | None = None
    kubernetes_secret: str | None = None
    hosts: list[str] = []
    access: CredentialAccess | None = None
    fingerprint: str | None = None
    used_by: list[str] = []
    circuit: CircuitView | None = None
    meta: Kept


def allowed_hosts(kind: str, hosts: Sequence[str], api_url: str | None) -> list[str]:
    """Return the hosts to which a credential may be sent. Empty: none are named, and only administrators may use it.

    A GitHub App's tokens are for its own server, where nothing narrower is said.
    """
    if hosts or kind != "github_app":
        return list(hosts)
    return [urlsplit(api_url).hostname or ""] if api_url else [GITHUB]


def fingerprint(values: dict[str, str], salt: bytes) -> str:
    """Tells two values apart without telling either: cut, and salted with the installation's own secret.

    A short token could be found from a bare hash by trying; without the salt nothing can be tried.
    """
    text = "\n".join(f"{name}={values[name]}" for name in sorted(values))
    return hashlib.blake2b(text.encode(), key=salt[:64], digest_size=8).hexdigest()
