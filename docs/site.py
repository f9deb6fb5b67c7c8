"""Hooks of the documentation's site: it has the repository's own pages, and loads nothing from elsewhere.

Source: https://www.mkdocs.org/dev-guide/plugins/#events
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PROJECT_PAGES = ["README.md", "README.ja.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md"]
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the repository's own pages, below `project/`."""
    for name in PROJECT_PAGES:
        text = (ROOT / name).read_text("utf-8")
        files.append(File.generated(config, f"project/{name}", content=_links(text, "", "project")))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: Any, files: Files) -> str:
    """Lead links out of `docs/` to the repository's pages in the site; a link to another file becomes its text."""
    uri = page.file.src_uri
    if uri.startswith("project/"):
        return markdown
    return _links(markdown, posixpath.join("docs", posixpath.dirname(uri)), posixpath.dirname(uri))


def _links(markdown: str, source: str, place: str) -> str:
    """Rewrite links.

    Args:
        source: the page's directory in the repository.
        place: its directory in the site.
    """

    def rewritten(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(source, target))
        if path.startswith("docs/"):
            lead = posixpath.relpath(path.removeprefix("docs/"), place or ".")
        elif path in PROJECT_PAGES:
            lead = posixpath.relpath(f"project/{path}", place or ".")
        else:
            return text
        return f"{image}[{text}]({lead}{anchor or ''})"

    return _LINK.sub(rewritten, markdown)
