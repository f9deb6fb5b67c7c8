"""Addresses of repositories, commits, branches and ranges of commits on forges whose addresses are known."""

from __future__ import annotations

import re

from keruta.domain.task import TaskView

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def forge_links(view: TaskView) -> dict[str, str]:
    """Return links to the repository, its commits and its branches on its forge; empty where it has no address."""
    url = view.repository.url
    if not url.startswith("https://"):
        return {}
    base = url.removesuffix("/").removesuffix(".git")
    host = base.split("/")[2]
    style = "/-" if "gitlab" in host else ""
    links = {
        "repository": base, "commit": f"{base}{style}/commit/", "branch": f"{base}{style}/tree/",
        "compare": f"{base}{style}/compare/",
    }  # fmt: skip
    return links if host in ("github.com", "gitlab.com", "codeberg.org") or "gitlab" in host else {"repository": base}


def commit_range(old: TaskView, new: TaskView, before: str | None, after: str | None) -> str:
    """Return the address of what came between two commits of one repository; "" where there is none."""
    compare = forge_links(new).get("compare", "")
    if not compare or before == after or old.repository.url != new.repository.url:
        return ""
    if not (before and after and _COMMIT.fullmatch(before) and _COMMIT.fullmatch(after)):
        return ""
    return f"{compare}{before}...{after}"
