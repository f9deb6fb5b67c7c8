"""Reads YAML that comes from outside, within bounds: its size, its nesting and how many values it has.

Anchors, aliases and tags are refused: nothing is said twice by reference, and nothing makes objects. libyaml's parser
is thirty times as fast as PyYAML's own, which reads what libyaml does not, up to a smaller size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from keruta.domain.messages import Message, message

DEPTH_MOST = 64
NAMED_CHARACTERS = 500  # of a key, in a sentence about it
PLAIN_CHARACTERS = 100  # beyond, what has no quotes is text: telling that it is a long number takes time and memory
VALUES_MOST = 300_000  # of all documents together: about 1 KiB of memory and 10 µs each
SLOW_VALUES_MOST = 20_000
SLOW_CHARACTERS = 256 * 1024
_SURROGATE = "invalid Unicode character escape code"  # libyaml's words for an escape that is half of a pair
_AS_WRITTEN = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary")
_SAFE = yaml.SafeLoader("")


class _PlainTexts:
    """A loader that looks at short scalars only to find out what type they are of."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and len(value) > PLAIN_CHARACTERS:
            return "tag:yaml.org,2002:str"
        return super().resolve(kind, value, implicit)  # type: ignore[misc]


class _Slow(_PlainTexts, yaml.SafeLoader):
    pass


_FAST: Any = type("_Fast", (_PlainTexts, yaml.CSafeLoader), {}) if yaml.__with_libyaml__ else None


class FaultyYamlError(Exception):
    """Says what is wrong in which line, counted from 0."""

    def __init__(self, line: int, said: Message) -> None:
        super().__init__(said.text)
        self.line, self.said = line, said


class Read(msgspec.Struct, frozen=True):
    """A document as plain data, with the faults that were found in it: each with its line, counted from 0."""

    value: Any
    faults: list[tuple[int, Message]]


def read_nodes(text: str) -> list[yaml.Node | None]:
    """Return the documents as nodes. Raises FaultyYamlError for the first thing that can't be read."""
    try:
        if _FAST is None:
            return _slowly(text)
        try:
            return _composed(text, _FAST, VALUES_MOST)
        except yaml.scanner.ScannerError as error:
            if error.problem != f"found {_SURROGATE}":
                raise
            return _slowly(text)
    except yaml.reader.ReaderError as error:
        raise _character(text) from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or message("transfer_too_deep")
        raise FaultyYamlError(mark.line if mark else 0, message("transfer_not_yaml", problem=problem)) from error


def read_plain(text: str) -> Any:
    """Return the one document of a text as plain data. Raises FaultyYamlError."""
    nodes = [node for node in read_nodes(text) if node is not None]
    if len(nodes) != 1:
        return None if not nodes else text
    read = plain(nodes[0])
    if read.faults:
        raise FaultyYamlError(*read.faults[0])
    return read.value


def plain(node: yaml.Node) -> Read:
    """Return a node as plain data."""
    faults: list[tuple[int, Message]] = []
    return Read(_plain(node, faults), faults)


def line_of(node: yaml.Node, pointer: str) -> int:
    """Return the line, counted from 1, of the place that a JSON pointer names, or of what it would stand in."""
    line = node.start_mark.line
    for part in pointer.split("/")[1:]:
        found = next(_within(node, part.replace("~1", "/").replace("~0", "~")), None)
        if found is None:
            break
        line, node = found
    return int(line) + 1


def _within(node: yaml.Node, part: str) -> Iterator[tuple[int, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        yield from ((key.start_mark.line, value) for key, value in node.value if str(key.value) == part)
    elif isinstance(node, yaml.SequenceNode) and part.isascii() and part.isdigit() and int(part) < len(node.value):
        yield node.value[int(part)].start_mark.line, node.value[int(part)]


def _slowly(text: str) -> list[yaml.Node | None]:
    if len(text) > SLOW_CHARACTERS:
        raise FaultyYamlError(0, message("transfer_escapes_too_long", limit=SLOW_CHARACTERS))
    return _composed(text, _Slow, SLOW_VALUES_MOST)


def _composed(text: str, loader: Any, values_most: int) -> list[yaml.Node | None]:
    """First the events alone, to refuse what goes beyond the bounds before anything is made of it."""
    depth = values = 0
    for event in yaml.parse(text, Loader=loader):
        mark: Any = event.start_mark
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            values += 1
            depth += isinstance(event, yaml.CollectionStartEvent)
            if event.anchor is not None or getattr(event, "tag", None) is not None:
                raise FaultyYamlError(mark.line, message("transfer_anchors"))
        if depth > DEPTH_MOST:
            said = message("transfer_not_yaml", problem=message("transfer_too_deep"))
            raise FaultyYamlError(mark.line, said)
        if values > values_most:
            raise FaultyYamlError(mark.line, message("transfer_too_many_values", limit=values_most))
    return list(yaml.compose_all(text, Loader=loader))


def _character(text: str) -> FaultyYamlError:
    """The first character that YAML does not allow; libyaml counts in bytes, and from another place."""
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if found is None:
        return FaultyYamlError(0, message("transfer_not_yaml", problem="a character is not allowed"))
    number = ord(found[0])
    written = f"\\x{number:02x}" if number < 0x100 else "an escape"
    line = text.count("\n", 0, found.start())
    return FaultyYamlError(line, message("transfer_character", number=f"{number:04X}", written=written))


def _plain(node: yaml.Node, faults: list[tuple[int, Message]]) -> Any:
    if isinstance(node, yaml.MappingNode):
        made: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else None
            if name is None or name in made:
                twice = name is not None and message("transfer_twice", name=name[:NAMED_CHARACTERS])
                faults.append((key.start_mark.line, twice or message("transfer_key")))
                continue
            made[name] = _plain(value, faults)
        return made
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, faults) for value in node.value]
    if node.tag in _AS_WRITTEN:
        return node.value
    try:
        value = _SAFE.construct_object(node)
        return _joined(value) if isinstance(value, str) else value
    except UnicodeDecodeError:
        faults.append((node.start_mark.line, message("transfer_surrogate")))
    except (yaml.YAMLError, ValueError, ArithmeticError) as error:
        faults.append((node.start_mark.line, message("transfer_unreadable", error=str(error)[:200])))
    return None


def _joined(text: str) -> str:
    """Return the text with surrogate pairs joined: JSON writes a character beyond U+FFFF as two escapes.

    Source: RFC 8259, section 7. Raises UnicodeDecodeError for half of a pair.
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16")
