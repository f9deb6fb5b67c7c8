"""A document that tasks are given to read: a text with a title and tags, each version kept."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from keruta.domain.catalog.access import Access
from keruta.domain.catalog.common import Kept, Name, Problems
from keruta.domain.messages import message
from keruta.domain.naming import holds_control

TEXT_LIMIT_BYTES = 1024 * 1024
DOCUMENTS_OF_A_TASK = 100
DOCUMENT_BODY_LIMIT_BYTES = 8 * TEXT_LIMIT_BYTES  # JSON may write one character as six bytes

Tag = Annotated[str, Meta(min_length=1, max_length=63)]
MediaType = Literal["text/markdown", "text/plain"]


class DocumentSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A document as a person writes it."""

    name: Name
    title: Annotated[str, Meta(min_length=1, max_length=300)]
    text: Annotated[str, Meta(max_length=TEXT_LIMIT_BYTES)] = ""
    media_type: MediaType = "text/markdown"
    tags: Annotated[list[Tag], Meta(max_length=50)] = []
    access: Access | None = None

    def faults(self) -> Problems:
        if len(self.text.encode("utf-8", "surrogatepass")) > TEXT_LIMIT_BYTES:
            yield "/text", message("field_document_too_large")
        if holds_control(self.title):
            yield "/title", message("field_title")
        for number, tag in enumerate(self.tags):
            if not tag.isprintable() or any(c in tag for c in " ,:/"):
                yield f"/tags/{number}", message("field_tag")


class DocumentSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A document as a list shows it: without its text."""

    name: str
    title: str
    media_type: MediaType
    tags: list[str]
    size_bytes: int
    meta: Kept


class DocumentView(DocumentSpec, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A document at its latest version, which is its revision."""

    size_bytes: int = 0
    meta: Kept


class VersionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a document: who wrote it and when."""

    version: int
    title: str
    size_bytes: int
    at: datetime
    by: str


class DocumentRef(msgspec.Struct, frozen=True, kw_only=True):
    """A document as a task has it: at the version of the submit."""

    name: str
    version: int
    title: str
    media_type: MediaType = "text/markdown"
