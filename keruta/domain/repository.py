"""What may stand as a repository's address and as a ref: said once, for the submit and for the checkout.

Everything here is hostile input. Git takes an address that begins with `-` for an option and `ext::` for a command.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

TRANSPORTS = ("https", "http", "ssh", "file")
DEFAULT_TRANSPORTS = frozenset({"https", "http", "ssh"})

_UNSEEN = re.compile(r"[\x00-\x20\x7f]")
_SCP = re.compile(r"(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:(?!/?/)[^\s:][^\s]*")
_REF = re.compile(r"(?!-)(?!/)(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)))[^\x00-\x20\x7f~^:?*\[\\]{1,255}(?<![./])")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def transport(url: str) -> str | None:
    """Names the transport that Git would use for an address, or None for one that keruta does not know."""
    if url.startswith("-") or "::" in url.split("/", 1)[0] or _UNSEEN.search(url):
        return None
    if "://" in url:
        scheme = url.split("://", 1)[0].lower()
        return scheme if scheme in TRANSPORTS else None
    return "ssh" if _SCP.fullmatch(url) else None


def url_fault(url: str) -> str | None:
    """Says what is wrong with a repository's address, or None."""
    kind = transport(url)
    if kind is None:
        return "Not a repository's address: use https://, ssh:// or user@host:path."
    if kind == "file":
        return None
    if "://" in url:
        try:
            parts = urlsplit(url)
            host = parts.hostname
            parts.port  # noqa: B018  reading it is what checks it
        except ValueError:
            return "Not a repository's address: its host or port is malformed."
        if not host or host.startswith("-") or (parts.username or "").startswith("-"):
            return "Not a repository's address: it names no host."
        if parts.password is not None or (parts.username and kind != "ssh"):
            return "An address holds no user name or password: give credentials to keruta apart from it."
    return None


def ref_fault(ref: str) -> str | None:
    """Says what is wrong with a ref (branch, tag, full name or commit), or None.

    Source: git-check-ref-format(1).
    """
    return None if _REF.fullmatch(ref) and ref != "@" else "Not a branch, tag or commit."


def is_commit(ref: str) -> bool:
    """Says whether a ref is a full commit id."""
    return bool(_COMMIT.fullmatch(ref))
