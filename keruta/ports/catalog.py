"""Ports of managing the catalog: its entries, circuits, the audit record, and checks of Git servers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from keruta.domain.audit import Action, AuditEntry, AuditPage, Subject
    from keruta.domain.catalog.circuits import CircuitView
    from keruta.domain.catalog.common import ImportResult, Page, Wanted
    from keruta.domain.catalog.documents import DocumentView, VersionSummary
    from keruta.domain.catalog.kinds import Kind
    from keruta.domain.catalog.repositories import RepositoryView, Validation
    from keruta.domain.model_keys import KeyCheck
    from keruta.domain.principal import Principal


class Catalog(Protocol):
    """The entries of one kind. What someone may not read does not exist for them: NotFound."""

    kind: Kind

    def show(self, who: Principal, name: str) -> Any: ...

    def page(self, who: Principal, wanted: Wanted) -> tuple[list[Any], str | None]:
        """One page and the cursor of the next. Raises InvalidRequest."""
        ...

    def create(self, who: Principal, spec: Any) -> Any:
        """Raises Conflict, Forbidden, InvalidRequest."""
        ...

    def replace(self, who: Principal, name: str, spec: Any, revision: int | None) -> Any:
        """Raises NotFound, Forbidden, PreconditionFailed, Conflict, InvalidRequest."""
        ...

    def delete(self, who: Principal, name: str, revision: int | None, *, force: bool) -> None:
        """Raises NotFound, Forbidden, PreconditionFailed, Conflict."""
        ...

    def pause(self, who: Principal, name: str, reason: str) -> Any:
        """Raises NotFound, Forbidden."""
        ...

    def resume(self, who: Principal, name: str) -> Any:
        """Raises NotFound, Forbidden."""
        ...


class DocumentVersions(Protocol):
    """The versions of documents."""

    def versions(self, who: Principal, name: str, *, limit: int, cursor: str | None) -> Page[VersionSummary]: ...

    def version(self, who: Principal, name: str, number: int) -> DocumentView: ...


class Circuits(Protocol):
    """Open circuits, and closing them."""

    def page(self, who: Principal) -> list[CircuitView]:
        """Return the circuits of what someone may read."""
        ...

    def close(self, who: Principal, identity: str) -> CircuitView:
        """Raises NotFound, Forbidden."""
        ...

    def close_of(self, who: Principal, kind: str, name: str) -> None:
        """Does nothing for someone who may not run tasks on it."""
        ...


class AuditLog(Protocol):
    """The audit record."""

    def record(self, who: str, action: Action, kind: Subject, of: str, *, readers: Sequence[str]) -> None: ...

    def refused(self, who: str, route: str, reason: str) -> None: ...

    def page(self, *, who: str | None, kind: str | None, of: str | None, limit: int, cursor: str | None) -> AuditPage:
        """Raises InvalidRequest."""
        ...

    def everything(self, *, who: str | None, kind: str | None, of: str | None) -> Iterator[AuditEntry]: ...


class Catalogs(Protocol):
    """The catalogs of all kinds."""

    @property
    def audit(self) -> AuditLog: ...

    @property
    def circuits(self) -> Circuits: ...

    @property
    def documents(self) -> DocumentVersions: ...

    def __getitem__(self, kind: str) -> Catalog: ...


class Transfer(Protocol):
    """The catalog as YAML."""

    def export(self) -> str: ...

    def bring_in(self, who: Principal, text: str, *, dry_run: bool) -> ImportResult:
        """All of it, or nothing. Raises InvalidRequest, Forbidden, Conflict."""
        ...


class ModelCheck(Protocol):
    """Asks a model's server whether it takes a stored key."""

    def __call__(self, name: str) -> KeyCheck:
        """Never raises for what the server says."""
        ...


class RemoteCheck(Protocol):
    """Asks a repository's real server what is there."""

    def __call__(self, repository: RepositoryView) -> Validation:
        """Never raises for what the server says."""
        ...
