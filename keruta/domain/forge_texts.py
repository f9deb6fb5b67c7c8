"""Texts that others have chosen (answers, titles, messages), made harmless for a forge that interprets them.

keruta posts in its own account's name, so a text must not do there what that account may: no one is notified, no issue
is closed, no quick action or bot's command is given, no image is fetched from where the author likes, and nothing
passes for keruta's own mark. Forges parse Markdown differently, and act on what they have rendered; so what could
matter to one of them is broken by an invisible character (U+2060), in code as well.
"""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

from keruta.domain.forges import MARK

ANSWER_LETTERS = 30_000
BODY_LETTERS = 60_000  # GitHub takes 65,536
JOINER = "\u2060"
# A whole address of a web page is a link, in which no name is looked for.
_MENTION = re.compile(r"(https?://[\w-]+(?:\.[\w-]+)+(?::\d+)?/[\w.~:/?#%&=+,;@!$*-]*)|(?<![A-Za-z0-9])@(?=\w)")
_CLOSING = re.compile(
    r"\b([a-z])((?:los|ix|esolv|mplement|eopen)(?:e[sd]?|s|ed|ing)?)"
    r"(?=[\s:*_]+(?:issues?\s+|pull requests?\s+)?(?:[\[(*_`\\]*)(?:[\w./-]*(?:&amp;)?[#!]\d|gh-\d|https?://))",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"\A(\s*[\[(]*)([\w./-]*[#!]|gh|https?)(?=\d|-\d|://)", re.IGNORECASE)
_CLOSES = re.compile(r"\b(?:clos|fix|resolv|implement|reopen)\w*[\s:*_]*(?:issues?\s+)?\Z", re.IGNORECASE)
_COMMAND = re.compile(r"^([ \t>*+-]*)/(?=[a-z])", re.IGNORECASE | re.MULTILINE)
_ENTITY = re.compile(r"&(?=#\d|#x[0-9a-f]|(?:commat|num|sol|excl);)", re.IGNORECASE)
_DRAWN = re.compile(
    r"^([ \t>*+-]*(?:`{3,}|~{3,})[ \t]*)(?:mermaid|geojson|topojson|stl|math|plantuml|kroki|suggestion|graphviz|dot)"
    r"(?![\w+#])[^\n]*",
    re.IGNORECASE | re.MULTILINE,
)
_SHORT_LINK = re.compile(r"\[\[(?=[^\]\n]*(?::|\.(?:png|jpe?g|gif|svg|webp|avif|bmp|ico|mp4|webm)))", re.IGNORECASE)
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_PARSERS = (
    MarkdownIt("commonmark", {"html": True}),
    MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]),  # cells part what else is code
)


def trimmed(text: str) -> str:
    """Return Markdown for other people's eyes: within a length, and without any effect but being read.

    Images would be fetched from where their author likes; raw HTML can hold them too.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text if len(text) <= ANSWER_LETTERS else f"{text[:ANSWER_LETTERS]}…"
    text = _COMMAND.sub(rf"\1{JOINER}/", _without_effect(text))
    text = _DRAWN.sub(r"\1text", _SHORT_LINK.sub(f"[{JOINER}[", text))
    if _shows_more_than_text(text):
        text = text.replace("<", "&lt;").replace("![", "!\\[").replace("](", "]\\(")
    return _closed(text)


def one_line(text: str) -> str:
    """Return a text as one line of what can be printed."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def title_part(text: str) -> str:
    """Return a text for a title: one line, without any effect."""
    return _without_effect(one_line(text))


def fitting(text: str) -> str:
    """Return the beginning of a body that a forge takes."""
    return text if len(text) <= BODY_LETTERS else _closed(f"{text[:BODY_LETTERS]}…")


def beside(before: str, text: str) -> str:
    """Return a text that is to stand after others' words: where these close an issue, it names none."""
    return _REFERENCE.sub(rf"\1\2{JOINER}", text, count=1) if _CLOSES.search(before) else text


def _without_effect(text: str) -> str:
    """Break mentions, and words by which an issue is closed."""
    text = _ENTITY.sub("&amp;", _BIDI.sub("", text))
    text = _MENTION.sub(lambda found: found[1] or f"@{JOINER}", text)
    return _CLOSING.sub(rf"\1{JOINER}\2", text)


def _shows_more_than_text(text: str) -> bool:
    if MARK in text:
        return True
    for parser in _PARSERS:
        kinds = {inner.type for token in parser.parse(text) for inner in (token, *(token.children or ()))}
        if kinds & {"image", "html_inline", "html_block"}:
            return True
    return False


def _closed(text: str) -> str:
    """Return Markdown with its last block of code ended, so that what follows is not part of it."""
    tokens: list[Token] = _PARSERS[0].parse(text)
    last = tokens[-1] if tokens else None
    if last is None or last.type != "fence" or last.map is None:
        return text
    begins, ends = last.map
    closing = text.split("\n")[ends - 1].strip() if ends - 1 > begins else ""
    ended = len(closing) >= len(last.markup) and set(closing) == {last.markup[0]}
    return text if ended else f"{text}\n{last.markup}"
