"""A document's versions, and what differs between two of them; Markdown as it reads."""

from __future__ import annotations

import re

import flask
from markdown_it import MarkdownIt
from markupsafe import Markup

from admin.auth import number, paging, principal
from admin.ports import ports
from admin.site.pages import page, shows
from admin.site.safe_text import visible
from keruta.domain.differences import differing

blueprint = flask.Blueprint("documents_pages", __name__)

VERSIONS_MOST = 999_999_999
# HTML in it stays text, and no address leads to a script: a document is somebody's, and no page of ours.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


# Reading marks takes time that grows with the square of how many stand in one paragraph.
RENDERED_MOST = 256 * 1024
MARKS_MOST = 1000
_MARK = re.compile(r"[\[\]*_`<!&\\|(]")
_PARAGRAPHS = re.compile(r"\n[ \t]*\n")


def is_too_much(text: str) -> bool:
    """Return whether a text is too long, or has too many marks in one paragraph, to be rendered as Markdown at every
    view.
    """
    return len(text) > RENDERED_MOST or any(
        len(_MARK.findall(paragraph)) > MARKS_MOST for paragraph in _PARAGRAPHS.split(text)
    )


def markdown(text: str) -> Markup:
    """A text in Markdown, as HTML that holds nothing but its marks; as it is, where reading it takes too long."""
    if is_too_much(text):
        return Markup("<pre>{}</pre>").format(visible(text))
    return Markup(_MARKDOWN.render(visible(text)))  # noqa: S704  markdown-it escapes what it does not know


blueprint.record(lambda state: state.app.jinja_env.globals.update(markdown=markdown))


@shows(blueprint, "create_document", "/documents/<name>/preview", "POST")
def preview(name: str) -> flask.Response:
    """A text that is still being written, as it will read; nothing is kept of it."""
    form = flask.request.form
    return page(
        "documents/preview.html", name=form.get("name") or name, text=form.get("text", ""),
        media_type=form.get("media_type", ""),
    )  # fmt: skip


@shows(blueprint, "list_versions", "/documents/<name>/versions")
def versions(name: str) -> flask.Response:
    """All of them, and what one of them changed."""
    documents = ports().catalogs.documents
    found = documents.versions(principal(), name, **paging())
    newest = number("version", found.items[0].version if found.items else 1, VERSIONS_MOST)
    before = number("before", max(newest - 1, 1), VERSIONS_MOST)
    shown, other = (documents.version(principal(), name, one) for one in (newest, before))
    return page(
        "documents/versions.html", name=name, found=found, shown=newest, before=before,
        lines=differing(other.text, shown.text),
    )  # fmt: skip
