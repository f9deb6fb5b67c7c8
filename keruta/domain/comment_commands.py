"""Commands in comments: lines that begin with a slash, outside quotes, code and HTML. Pure.

Source: https://spec.commonmark.org/0.31.2/, by which the forges render comments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from markdown_it import MarkdownIt
from markdown_it.token import Token

from keruta.domain.naming import COMMIT

COMMENT_LETTERS = 16_384  # a longer comment holds no command: reading one takes time that grows with its square
LINE_LETTERS = 1000
LINES_MOST = 20
# An escaped slash stays a token of its own, so that a line which begins with one is no command.
_markdown = MarkdownIt("commonmark", {"html": True}).disable("text_join")


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A command that a comment gives.

    Args:
        commit: the whole commit that it names first, in lower case.
        arguments: the rest of its line.
    """

    name: str
    commit: str | None = None
    arguments: str = ""


def command_lines(text: str) -> list[str]:
    """Return the lines of a comment that begin with a slash, as they are read by people; at most 20."""
    if len(text) > COMMENT_LETTERS or "/" not in text:
        return []
    found = [line for tokens in _paragraphs(_markdown.parse(text)) for line in _lines(tokens) if line.startswith("/")]
    return [line[:LINE_LETTERS] for line in found[:LINES_MOST]]


def command_of(name: str, lines: Sequence[str]) -> Command | None:
    """Return the first command of a name, such as `/keruta fix`; None where no line begins with these words."""
    wanted = name.split()
    for line in lines:
        words = line.split()
        if words[: len(wanted)] != wanted:
            continue
        rest = words[len(wanted) :]
        commit = rest[0].lower() if rest and COMMIT.fullmatch(rest[0].lower()) else None
        return Command(name=name, commit=commit, arguments=" ".join(rest[1:] if commit else rest))
    return None


def _paragraphs(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """Yield the contents of paragraphs that are in no quote."""
    quotes = 0
    for number, token in enumerate(tokens):
        quotes += {"blockquote_open": 1, "blockquote_close": -1}.get(token.type, 0)
        if token.type == "inline" and quotes == 0 and tokens[number - 1].type == "paragraph_open":
            yield token.children or ()


def _lines(tokens: Sequence[Token]) -> Iterator[str]:
    """Yield the lines of a paragraph. One that begins with code, a link or an image is empty."""
    line, plain = "", True
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            yield line.strip() if plain else ""
            line, plain = "", True
        elif token.type in ("text", "text_special", "code_inline"):
            plain = plain and (bool(line) or token.type == "text")
            line += "".join(one for one in token.content if one.isprintable())
        else:
            plain = plain and bool(line)
    yield line.strip() if plain else ""
