"""Words that stand in sentences and have a translation of their own: a kind, a status, an action, a reason."""

from __future__ import annotations

import re

from keruta.domain.messages.catalogue import CATALOGUE
from keruta.domain.messages.rendering import Argument, message


def kind_word(kind: str) -> Argument:
    """Return the noun for a kind of thing; one without a noun as it is."""
    return _word(f"kind_{kind}", kind)


def status_word(status: str) -> Argument:
    """Return the word for a task's status."""
    return _word(f"status_{status}", status)


def action_word(action: str) -> Argument:
    """Return the word for what a person does with a task."""
    return _word(f"action_{action}", action)


def acted_word(action: str) -> Argument:
    """Return what a task is after an action: retried, cancelled."""
    return _word(f"acted_{action}", action)


def reason_word(reason: str | None) -> Argument:
    """Return a reason's short description; an unknown reason as it is."""
    return _word(f"reason_{re.sub(r'(?<!^)(?=[A-Z])', '_', reason or '').lower()}", reason or "")


def _word(code: str, otherwise: str) -> Argument:
    return message(code) if code in CATALOGUE else otherwise
