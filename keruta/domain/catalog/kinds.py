"""The kinds of the catalog as data: their types, who may change them, and what they name of each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from keruta.domain.catalog import access
from keruta.domain.catalog.credentials import CredentialSpec, CredentialView
from keruta.domain.catalog.documents import (
    DOCUMENT_BODY_LIMIT_BYTES,
    DocumentSpec,
    DocumentSummary,
    DocumentView,
)
from keruta.domain.catalog.forges import ForgeSpec, ForgeView
from keruta.domain.catalog.profiles import ProfileSpec, ProfileView
from keruta.domain.catalog.queues import QueueSpec, QueueView
from keruta.domain.catalog.repositories import RepositorySpec, RepositoryView
from keruta.domain.catalog.service_accounts import ServiceAccountSpec, ServiceAccountView
from keruta.domain.catalog.templates import TemplateSpec, TemplateView
from keruta.domain.catalog.triggers import TriggerSpec, TriggerView
from keruta.domain.roles import MANAGE, RUN

KindName = Literal[
    "repository", "credential", "document", "profile", "queue", "forge", "trigger", "template", "service_account"
]
Reference = tuple[str, str, str]  # where (a JSON pointer), the kind, the name


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind.

    Args:
        collection: its plural; the collection in MongoDB and, with hyphens, the word in addresses.
        spec: what a person writes.
        view: what is shown of one, with `meta`.
        item: what a list shows of each.
        writers: the roles that may add one, and change any.
        granted: whether each can be granted to people and groups; who manages one may change it.
        tasked: whether tasks are visible by the grants on it.
        names: where names of another kind stand (a field, or `field.*` for what it maps to), and which kind that is.
        filters: by what a list can be narrowed to one value: the query's parameter, and the field.
        settle_seconds: how long an entry as it was, or its absence, may be remembered by any process; a change is
            answered only after that.
    """

    name: KindName
    collection: str
    spec: type[msgspec.Struct]
    view: type[msgspec.Struct]
    item: type[msgspec.Struct]
    writers: frozenset[str] = MANAGE
    granted: bool = False
    tasked: bool = False
    names: Mapping[str, str] = msgspec.field(default_factory=dict)
    filters: Mapping[str, str] = msgspec.field(default_factory=dict)
    body_limit_bytes: int = 1024 * 1024
    settle_seconds: float = 0.0

    @property
    def path(self) -> str:
        """Its plural in addresses and commands."""
        return self.collection.replace("_", "-")

    @property
    def words(self) -> str:
        """Its name in a sentence."""
        return self.name.replace("_", " ")

    @property
    def problem(self) -> str:
        """Its name in the reason of a problem."""
        return self.words.title().replace(" ", "")

    @property
    def many(self) -> str:
        """Its plural in a sentence."""
        return self.collection.replace("_", " ")

    @property
    def changers(self) -> frozenset[str]:
        """The roles that may change one that they manage."""
        return RUN if self.granted else self.writers

    def readers(self, spec: Any) -> list[str]:
        """Under which names an entry is visible."""
        return access.readers(spec.access if self.granted else None)

    def managers(self, spec: Any) -> list[str]:
        """Return the names that may change an entry."""
        grants = spec.access if self.granted else None
        granted = access.managers([grants])
        if grants is not None:
            return granted
        return [*granted, *(f"role:{role}" for role in sorted(self.writers) if f"role:{role}" not in granted)]

    def references(self, spec: Any) -> Iterator[Reference]:
        """Yield the entries of other kinds that an entry names."""
        for path, kind in self.names.items():
            own = path.removesuffix(".*")
            value = getattr(spec, own)
            if own != path:
                yield from ((f"/{own}/{key}", kind, name) for key, name in value.items())
            elif value is not None:
                yield f"/{own}", kind, value


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="repository", collection="repositories", spec=RepositorySpec, view=RepositoryView, item=RepositoryView,
            names={"read_credential": "credential", "push_credential": "credential", "default_profile": "profile"},
            filters={"url": "url"}, settle_seconds=0.25, granted=True, tasked=True,
        ),
        Kind(
            name="credential", collection="credentials", spec=CredentialSpec, view=CredentialView, item=CredentialView,
            filters={"type": "type"}, granted=True,
        ),
        Kind(
            name="document", collection="documents", spec=DocumentSpec, view=DocumentView, item=DocumentSummary,
            writers=RUN, filters={"tag": "tags"}, body_limit_bytes=DOCUMENT_BODY_LIMIT_BYTES,
            granted=True,
        ),
        Kind(
            name="profile", collection="profiles", spec=ProfileSpec, view=ProfileView, item=ProfileView,
            names={"secrets.*": "credential", "model_credential": "credential"},
        ),
        Kind(
            name="queue", collection="queues", spec=QueueSpec, view=QueueView, item=QueueView,
            granted=True, tasked=True,
        ),
        Kind(
            name="forge", collection="forges", spec=ForgeSpec, view=ForgeView, item=ForgeView,
            names={"credential": "credential", "webhook_secret": "credential"}, filters={"type": "type"}, granted=True,
        ),
        Kind(
            name="trigger", collection="triggers", spec=TriggerSpec, view=TriggerView, item=TriggerView, writers=RUN,
            names={
                "repository": "repository", "forge": "forge", "webhook_secret": "credential", "profile": "profile",
                "queue": "queue", "service_account": "service_account",
                "fork_queue": "queue",
            },
            filters={"repository": "repository"}, granted=True,
        ),
        Kind(
            name="template", collection="templates", spec=TemplateSpec, view=TemplateView, item=TemplateView,
            writers=RUN, names={"repository": "repository", "profile": "profile", "queue": "queue"},
            filters={"repository": "repository"}, granted=True,
        ),
        Kind(
            name="service_account", collection="service_accounts", spec=ServiceAccountSpec, view=ServiceAccountView,
            item=ServiceAccountView, granted=True,
        ),
    )
}  # fmt: skip
