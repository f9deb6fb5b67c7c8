"""The kinds of the catalog as data: their types, who may change them, and what they name of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from keruta.domain.catalog.credentials import CredentialSpec, CredentialView
from keruta.domain.catalog.documents import (
    DOCUMENT_BODY_LIMIT_BYTES,
    DocumentSpec,
    DocumentSummary,
    DocumentView,
)
from keruta.domain.catalog.profiles import ProfileSpec, ProfileView
from keruta.domain.catalog.queues import QueueSpec, QueueView
from keruta.domain.catalog.repositories import RepositorySpec, RepositoryView
from keruta.domain.roles import MANAGE, RUN

Reference = tuple[str, str, str]  # where (a JSON pointer), the kind, the name


def _none(_: Any) -> Iterator[Reference]:
    return iter(())


def _of_repository(spec: RepositorySpec) -> Iterator[Reference]:
    for field in ("read_credential", "push_credential"):
        if (name := getattr(spec, field)) is not None:
            yield f"/{field}", "credential", name
    if spec.default_profile is not None:
        yield "/default_profile", "profile", spec.default_profile


def _of_profile(spec: ProfileSpec) -> Iterator[Reference]:
    for variable, name in spec.secrets.items():
        yield f"/secrets/{variable}", "credential", name


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind.

    Args:
        collection: its plural; the collection in MongoDB and the word in addresses.
        spec: what a person writes.
        view: what is shown of one, with `meta`.
        item: what a list shows of each.
        writers: the roles that may change it.
        references: what an entry names of other kinds.
        filters: fields by which a list can be narrowed to one value.
    """

    name: str
    collection: str
    spec: type[msgspec.Struct]
    view: type[msgspec.Struct]
    item: type[msgspec.Struct]
    writers: frozenset[str] = MANAGE
    references: Callable[[Any], Iterator[Reference]] = _none
    filters: tuple[str, ...] = ()
    body_limit_bytes: int = 1024 * 1024


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="repository", collection="repositories", spec=RepositorySpec, view=RepositoryView, item=RepositoryView,
            references=_of_repository, filters=("url",),
        ),
        Kind(
            name="credential", collection="credentials", spec=CredentialSpec, view=CredentialView, item=CredentialView,
            filters=("type",),
        ),
        Kind(
            name="document", collection="documents", spec=DocumentSpec, view=DocumentView, item=DocumentSummary,
            writers=RUN, filters=("tags",), body_limit_bytes=DOCUMENT_BODY_LIMIT_BYTES,
        ),
        Kind(
            name="profile", collection="profiles", spec=ProfileSpec, view=ProfileView, item=ProfileView,
            references=_of_profile,
        ),
        Kind(name="queue", collection="queues", spec=QueueSpec, view=QueueView, item=QueueView),
    )
}  # fmt: skip
