"""The catalog as YAML, out and in: a document for each entry, `kind: queue` and then the entry's own fields.

What comes in is checked whole before anything is done, and every fault is told with its line. Anchors and tags are
refused: nothing that is said twice by reference, nothing that makes objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import yaml

from keruta.domain.catalog.kinds import KINDS
from keruta.domain.decode import convert
from keruta.domain.messages import Message, kind_word, message
from keruta.errors import Fault, fault

ORDER = ("credential", "profile", "document", "repository", "queue")
ENTRIES_LIMIT = 20_000
DEPTH_MOST = 64  # reading takes time that grows with the square of the depth
_OPENS = (
    yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken, yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken,
)  # fmt: skip
_CLOSES = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an import: its kind, what was written, and the lines of its parts by JSON pointer."""

    kind: str
    spec: Any
    lines: Mapping[str, int]

    def line(self, pointer: str) -> int:
        """The line of a place, or of what it stands in."""
        while pointer and pointer not in self.lines:
            pointer = pointer.rpartition("/")[0]
        return self.lines.get(pointer, 1)


class Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # YAML 1.1 folds these as line breaks wherever they are not escaped (section 5.4); only double quotes escape them.
    style = '"' if any(one in text for one in "\r\x85\u2028\u2029") else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _text)


def dump(entries: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Writes entries, each as (kind, its fields); what is at its default is left out."""
    documents = [{"kind": kind, **fields} for kind, fields in entries]
    return yaml.dump_all(documents, Dumper=Dumper, sort_keys=False, allow_unicode=True, explicit_start=True, width=120)


def parse(text: str) -> tuple[list[Entry], list[Fault]]:
    """Reads entries. Returns them, or every fault, each at `line N`."""
    entries: list[Entry] = []
    faults: list[Fault] = []
    try:
        depth = 0
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            depth += isinstance(token, _OPENS) - isinstance(token, _CLOSES)
            if depth > DEPTH_MOST:
                said = message("transfer_not_yaml", problem=message("transfer_too_deep"))
                return [], [_at(token.start_mark.line, said)]
            if isinstance(token, yaml.AnchorToken | yaml.AliasToken | yaml.TagToken):
                return [], [_at(token.start_mark.line, message("transfer_anchors"))]
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position)
        written = f"\\x{ord(text[error.position]):02x}" if ord(text[error.position]) < 0x100 else "an escape"
        number = f"{ord(text[error.position]):04X}"
        return [], [_at(line, message("transfer_character", number=number, written=written))]
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or message("transfer_too_deep")
        return [], [_at(mark.line if mark else 0, message("transfer_not_yaml", problem=problem))]
    seen: dict[tuple[str, str], int] = {}
    for node in nodes:
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            continue
        entry, found = _entry(node)
        faults += found
        if entry is None:
            continue
        key = (entry.kind, entry.spec.name)
        if key in seen:
            faults.append(
                _at(
                    entry.line("") - 1,
                    message("transfer_twice_at", kind=kind_word(entry.kind), name=key[1], line=seen[key]),
                )
            )
        seen[key] = entry.line("")
        entries.append(entry)
    if len(entries) > ENTRIES_LIMIT:
        faults.append(_at(0, message("transfer_too_many", limit=ENTRIES_LIMIT)))
    return (entries if not faults else []), faults


def _entry(node: yaml.Node) -> tuple[Entry | None, list[Fault]]:
    if not isinstance(node, yaml.MappingNode):
        return None, [_at(node.start_mark.line, message("transfer_no_entry"))]
    lines: dict[str, int] = {}
    faults: list[Fault] = []
    raw = _plain(node, "", lines, faults)
    if faults:
        return None, faults
    name = raw.pop("kind", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        line = lines.get("/kind", lines[""]) - 1
        return None, [_at(line, message("transfer_kind", known=", ".join(KINDS)))]
    spec, found = convert(raw, kind.spec)
    entry = Entry(kind=kind.name, spec=spec, lines=lines)
    said = [{**one, "at": f"line {entry.line(one['at'])}: {one['at']}"} for one in found]
    return (entry if not said else None), said


_YAML = yaml.SafeLoader("")


def _plain(node: yaml.Node, at: str, lines: dict[str, int], faults: list[Fault]) -> Any:
    """A node as plain data, its line noted under its pointer."""
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        made: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if not name or name in made:
                said = message("transfer_twice", name=name) if name else message("transfer_key")
                faults.append(_at(key.start_mark.line, said))
                continue
            pointer = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
            made[name] = _plain(value, pointer, lines, faults)
            lines[pointer] = key.start_mark.line + 1
        return made
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, f"{at}/{number}", lines, faults) for number, value in enumerate(node.value)]
    if node.tag in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:binary"):
        return node.value
    try:
        value = _YAML.construct_object(node)
        return _joined(value) if isinstance(value, str) else value
    except UnicodeDecodeError:
        faults.append(_at(node.start_mark.line, message("transfer_surrogate")))
        return None
    except (yaml.YAMLError, ValueError) as error:
        faults.append(_at(node.start_mark.line, message("transfer_unreadable", error=str(error))))
        return None


def _joined(text: str) -> str:
    """Return the text with surrogate pairs joined: JSON writes a character beyond U+FFFF as two escapes.

    Source: RFC 8259, section 7. Raises UnicodeDecodeError for half of a pair.
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16")


def _at(line: int, said: Message) -> Fault:
    return fault(f"line {line + 1}", said)
