"""Dependency caches: directories that a successful attempt leaves for later ones of the same repository.

An entry is found by the content of the files that its rule names, the image and the rule's paths. Rules are data of
people; what they lead to in a workspace is the agent's to open (`agent.attempt.dependency_caches`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from keruta.domain.catalog.common import Problems
from keruta.domain.messages import Message, message

HOME = "~/"
RULES_MOST = 10
CacheKey = Annotated[
    str, Meta(max_length=100, pattern=r"^[A-Za-z0-9._-]*$", description="letters, digits, dots, dashes, underscores")
]
CachePath = Annotated[str, Meta(min_length=1, max_length=1000)]

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_PATTERN = re.compile(r"[*?\[\]]")


class CacheRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One dependency cache.

    Args:
        paths: what is stored: files or directories of the workspace, or of the script's home (`~/.npm`).
        key: files of the workspace, such as lock files, or patterns for them; another content is another entry.
        prefix: what the entry's key begins with, before the digest of those files.
        restore_keys: beginnings of other entries' keys. Where there is no entry of the key, the newest that begins with
            the first of these is taken, else with the second, and so on; an empty one stands for any entry.
    """

    paths: Annotated[list[CachePath], Meta(min_length=1, max_length=20, description="such as ~/.npm or target/")]
    key: Annotated[list[CachePath], Meta(min_length=1, max_length=20, description="such as package-lock.json")]
    prefix: CacheKey = ""
    restore_keys: Annotated[list[CacheKey], Meta(max_length=10)] = []

    def faults(self) -> Problems:
        for number, path in enumerate(self.paths):
            if wrong := cached_path_fault(path):
                yield f"/paths/{number}", wrong
        for number, pattern in enumerate(self.key):
            if wrong := key_file_fault(pattern):
                yield f"/key/{number}", wrong

    @property
    def places(self) -> list[str]:
        """Return the paths in one spelling, without those that lie within another."""
        found = list(dict.fromkeys(map(plain_path, self.paths)))
        return [one for one in found if not any(one.startswith(f"{other}/") for other in found)]


CacheRules = Annotated[
    list[CacheRule],
    Meta(max_length=RULES_MOST, description="directories that a successful task leaves for later ones"),
]


class CacheRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a stored entry. `created_at` is Unix time; keruta's own where an entry is uploaded."""

    key: Annotated[str, Meta(min_length=1, max_length=200)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Meta(ge=0)]
    created_at: float = 0.0


class CacheEntries(msgspec.Struct, frozen=True, kw_only=True):
    """The stored entries that are alike: of one image, with the same paths."""

    entries: list[CacheRecord]


def uploaded_name(record: CacheRecord) -> str:
    """Return the name by which an archive is uploaded, beside an attempt's files, before it becomes an entry."""
    return f"keruta-cache-{record.sha256}"


def rules_faults(rules: Sequence[CacheRule] | None) -> Problems:
    """Yield what is wrong with caches, each with where it is."""
    for number, rule in enumerate(rules or ()):
        yield from ((f"/cache/{number}{at}", said) for at, said in rule.faults())


def plain_path(path: str) -> str:
    """Return a path without `./` before it and without a slash at its end."""
    return path.removeprefix("./").removesuffix("/")


def cached_path_fault(path: str) -> Message | None:
    """Say what is wrong with a path that is to be stored, or None."""
    if _PATTERN.search(path):
        return message("field_cache_pattern")
    in_home = path.startswith(HOME)
    parts = (path.removeprefix(HOME).removesuffix("/") if in_home else plain_path(path)).split("/")
    if _leads_elsewhere(path, parts) or (not in_home and parts[0].startswith("~")):
        return message("field_cache_path")
    if in_home and parts[0].lower().startswith(".gitconfig"):
        return message("field_cache_own")
    return message("field_cache_own") if not in_home and _is_git(parts) else None


def key_file_fault(pattern: str) -> Message | None:
    """Say what is wrong with a file, or a pattern for files, whose content is part of a key; or None."""
    parts = plain_path(pattern).split("/")
    if pattern.endswith("/") or parts[0].startswith("~") or _leads_elsewhere(pattern, parts):
        return message("field_cache_key")
    return message("field_cache_own") if _is_git(parts) else None


def _leads_elsewhere(path: str, parts: Sequence[str]) -> bool:
    wrong = any(part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > 255 for part in parts)
    return wrong or _CONTROL.search(path) is not None


def _is_git(parts: Sequence[str]) -> bool:
    return any(part.lower() == ".git" for part in parts)
