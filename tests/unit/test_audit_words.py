"""Every entry of the audit record is a sentence, and links to its subject."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest

from admin.audit.words import ACTIONS, SUBJECTS, subject_address
from keruta.domain.audit import Action, AuditEntry, Subject


def test_everything_that_is_recorded_has_its_words() -> None:
    assert set(ACTIONS) == set(get_args(Action))
    assert set(SUBJECTS) == set(get_args(Subject))


@pytest.mark.parametrize(
    ("kind", "of", "address"),
    [
        ("task", "01k", "/tasks/01k"),
        ("repository", "app", "/repositories/app"),
        ("user", "a/b?c", "/users/a%2Fb%3Fc"),
        ("route", "create_task", None),
    ],
)
def test_an_entry_leads_to_the_page_of_its_subject(kind: Subject, of: str, address: str | None) -> None:
    entry = AuditEntry(id="1", who="me", action="change", kind=kind, of=of, at=datetime.now(UTC))

    assert subject_address(entry) == address
