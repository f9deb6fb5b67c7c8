"""Ports of signing and showing statements on attempts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

import msgspec

from keruta.domain.provenance import Envelope, PublicKey
from keruta.domain.task import AttemptView, TaskView


class DueProvenance(msgspec.Struct, frozen=True, kw_only=True):
    """A task whose attempts await statements, and since when."""

    task: TaskView
    attempts: list[AttemptView]
    since: datetime


class ProvenanceStore(Protocol):
    """Statements that are due, and those that are signed."""

    def due(self) -> list[DueProvenance]: ...

    def publish(self, key: PublicKey) -> None:
        """Show a key to everyone, for good."""
        ...

    def keep(self, due: DueProvenance, envelopes: Iterable[tuple[str, Envelope]]) -> None:
        """Keep statements by their attempts' ids, the first of each; nothing is due of that task then."""
        ...


class Statements(Protocol):
    """Statements for readers."""

    def envelope(self, attempt: str) -> Envelope | None: ...

    def keys(self) -> list[PublicKey]: ...


class Signer(Protocol):
    """Signs with the key that is in use now. Each raises SettingsError where there is none."""

    def public(self) -> PublicKey: ...

    def sign(self, statement: dict[str, Any]) -> Envelope: ...
