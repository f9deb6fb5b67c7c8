"""Rules for repositories' addresses and refs, shared by submit and checkout.

Everything here is hostile input. Git takes an address that begins with `-` for an option and `ext::` for a command.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from keruta.domain.address import host_of
from keruta.domain.messages import Message, message

TRANSPORTS = ("https", "http", "ssh", "file")
Depth = (
    Annotated[int, Meta(ge=1, le=1_000_000, description="how many commits; or full: all branches, all of it")]
    | Literal["full"]
)
PATHS_MOST = 100
Paths = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=1000)]],
    Meta(max_length=PATHS_MOST, description="directories such as services/api; only they are checked out"),
]
DEFAULT_TRANSPORTS = frozenset({"https", "http", "ssh"})

_UNSEEN = re.compile(r"[\x00-\x20\x7f]")
_SCP = re.compile(r"(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:(?!/?/)[^\s:][^\s]*")
_REF = re.compile(r"(?!-)(?!/)(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)))[^\x00-\x20\x7f~^:?*\[\\]{1,255}(?<![./])")
# A revision of Git's that only a clone can resolve, such as main~1, v1^{} or main@{yesterday}. Source: gitrevisions(7)
_EXPRESSION = re.compile(r"(?!-)[^\x00-\x20\x7f:?*\[\\~^@]{1,200}(?:@?[~^]|@\{)[^\x00-\x1f\x7f]{0,50}")
_NOT_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\\ud800-\udfff]|\.\.|@\{")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_COMMIT = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")


def transport(url: str) -> str | None:
    """Names the transport that Git would use for an address, or None for one that keruta does not know."""
    if url.startswith("-") or "::" in url.split("/", 1)[0] or _UNSEEN.search(url):
        return None
    if "://" in url:
        scheme = url.split("://", 1)[0]  # Git knows them in small letters alone
        return scheme if scheme in TRANSPORTS else None
    return "ssh" if _SCP.fullmatch(url) else None


def url_fault(url: str) -> Message | None:
    """Says what is wrong with a repository's address, or None."""
    kind = transport(url)
    if kind is None:
        return message("field_repository_address")
    if kind == "file":
        return None
    if "://" in url:
        try:
            parts = urlsplit(url)
            host = parts.hostname
            parts.port  # noqa: B018  reading it is what checks it
        except ValueError:
            return message("field_repository_port")
        if not host or host.startswith("-") or (parts.username or "").startswith("-"):
            return message("field_repository_host")
        if parts.password is not None or (parts.username and kind != "ssh"):
            return message("field_address_password")
        try:
            host_of(url)
        except ValueError:
            return message("field_repository_host_unclear")
    return None


def ref_fault(ref: str) -> Message | None:
    """Says what is wrong with a ref (branch, tag, full name or commit), or None.

    Source: git-check-ref-format(1).
    """
    if _REF.fullmatch(ref) and ref != "@":
        return None
    if _EXPRESSION.fullmatch(ref):
        return message("field_ref_expression", ref=ref)
    return message("field_ref")


def branch_fault(branch: str) -> Message | None:
    """Says what is wrong with a branch's name, with or without `refs/heads/` before it, or None.

    Source: git-check-ref-format(1).
    """
    name = branch.removeprefix("refs/heads/")
    if name in ("", "HEAD", "@") or name.startswith(("refs/", "-")) or len(name.encode("utf-8", "replace")) > 200:
        return message("branch_name_bad", branch=branch)
    if _NOT_IN_REF.search(name) or name.endswith("."):
        return message("branch_name_characters", branch=branch)
    if any(part.startswith(".") or part.endswith(".lock") or not part for part in name.split("/")):
        return message("branch_name_parts", branch=branch)
    return None


def path_fault(path: str) -> Message | None:
    """Says what is wrong with a directory of a repository, or None; a slash may stand at its end."""
    parts = path.removesuffix("/").split("/")
    wrong = _CONTROL.search(path) or any(
        part in ("", ".", "..") or part.lower() == ".git" or len(part.encode()) > 255 for part in parts
    )
    return message("field_repository_path") if wrong else None


def paths_faults(paths: Sequence[str] | None) -> Iterator[tuple[str, Message]]:
    """Yield what is wrong with the directories that are asked for, each with where it is."""
    for number, path in enumerate(paths or ()):
        if wrong := path_fault(path):
            yield f"/paths/{number}", wrong


def is_commit(ref: str) -> bool:
    """Says whether a ref is a full commit id."""
    return bool(_COMMIT.fullmatch(ref))


_SHORTENED = {
    "heads/": "refs/heads/",
    "tags/": "refs/tags/",
    "remotes/origin/": "refs/heads/",
    "origin/": "refs/heads/",
    "pull/": "refs/pull/",
    "merge-requests/": "refs/merge-requests/",
}


def ref_names(ref: str) -> list[str]:
    """Lists the full names that a ref may stand for on the server, the first that is there counts.

    As Git does in a clone, `heads/main`, `tags/v1`, `origin/main` and `remotes/origin/main` name what they name there,
    and `pull/7/head` what `git fetch` takes it for; a branch or tag that is really called so goes first.
    """
    found = [ref] if ref.startswith("refs/") else [f"refs/heads/{ref}", f"refs/tags/{ref}"]
    bare = ref.removeprefix("refs/")
    for prefix, space in _SHORTENED.items():
        if bare.startswith(prefix) and len(bare) > len(prefix):
            found.append(space + bare.removeprefix(prefix))
    return list(dict.fromkeys(found))


def ref_allowed(ref: str, patterns: Sequence[str]) -> bool:
    """Says whether patterns allow a ref, whatever it may stand for. Without patterns, everything is allowed.

    A bare commit is allowed by `*` alone.
    """
    if not patterns:
        return True
    if is_commit(ref):
        return "*" in patterns
    others = [name for name in ref_names(ref) if name not in (ref, f"refs/heads/{ref}", f"refs/tags/{ref}")]
    return all(_matches(name, patterns) for name in (ref, *others))


def _matches(ref: str, patterns: Sequence[str]) -> bool:
    short = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    return any(fnmatch.fnmatchcase(one, pattern) for one in (ref, short) for pattern in patterns)
