"""Reading of XML that someone hostile wrote: no entity but XML's own five, nothing from elsewhere, bounded depth.

A document may name its type, which tools do; where the name brings declarations with it, the document is refused, as it
is for each entity and each reference to one. The rules are those of defusedxml.
Source: https://docs.python.org/3/library/pyexpat.html, https://docs.python.org/3/library/xml.html#xml-security
"""

from __future__ import annotations

from typing import Any, Protocol
from xml.parsers import expat

DEPTH_LIMIT = 50


class RefusedError(Exception):
    """The document is none that is read."""


class Reader(Protocol):
    """Receives a document's parts in order. Raises RefusedError where the document is not of its kind."""

    def begin(self, name: str, attributes: dict[str, str]) -> None: ...

    def text(self, text: str) -> None: ...

    def end(self, name: str) -> None: ...


def parse(data: bytes, reader: Reader, *, typed: bool = False) -> bool:
    """Tell a reader of a document's parts, by names without prefixes; return whether it was read to its end.

    Args:
        typed: whether the document may name its type.
    """
    parser, depth = expat.ParserCreate(), 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEPTH_LIMIT:
            raise RefusedError
        reader.begin(name.rpartition(":")[2], attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        reader.end(name.rpartition(":")[2])

    def doctype(_name: str, _system: str | None, _public: str | None, declares: bool) -> None:
        if declares or not typed:
            raise RefusedError

    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = parser.UnparsedEntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = parser.SkippedEntityHandler = _refuse
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = begin, end, reader.text
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, RefusedError, ValueError, LookupError):
        return False
    return True


def _refuse(*_: Any) -> Any:
    raise RefusedError
