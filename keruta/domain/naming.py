"""Names and identities: made here, checked here."""

from __future__ import annotations

import re
import secrets
import time
import unicodedata
from datetime import UTC, datetime

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32, lower case

NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
WORKER_ID = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
ID_LETTERS = frozenset(_ALPHABET)
TASK_ID = re.compile(r"[0-9abcdefghjkmnpqrstvwxyz]{26}")
COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")  # the whole id of one, by SHA-1 or SHA-256
LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")


def new_id() -> str:
    """Makes an identity that sorts by the time it was made: a ULID in lower case, valid as a Kubernetes name part.

    Source: https://github.com/ulid/spec (48 bits of milliseconds, 80 random bits, base 32).
    """
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def as_number(identity: str) -> int:
    """The 128 bits of an identity, or what its first letters say of them."""
    number = 0
    for letter in identity:
        number = number << 5 | _ALPHABET.index(letter)
    return number


def made_at(identity: str) -> datetime:
    """Return the time at which an id was made, from its first 48 bits."""
    return datetime.fromtimestamp(as_number(identity[:10]) / 1000, UTC)


def earliest_id(at: datetime) -> str:
    """Return the lowest id that can be made at or after that time."""
    number = max(int(at.timestamp() * 1000), 0) << 80
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def attempt_id(task_id: str, number: int) -> str:
    """Names an attempt; its Job has the same name, so that making it twice makes it once."""
    return f"{task_id}-{number}"


def parse_attempt_id(attempt: str) -> tuple[str, int]:
    """The inverse of `attempt_id`. Raises ValueError for anything else."""
    task_id, _, number = attempt.rpartition("-")
    if not TASK_ID.fullmatch(task_id) or not number.isascii() or not number.isdigit():
        raise ValueError("not an attempt's name")
    return task_id, int(number)


def holds_control(text: str) -> bool:
    """Return whether a text contains control characters, line ends or half of a character.

    Spaces and joiners do not count.
    """
    return any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text)
