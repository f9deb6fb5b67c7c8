"""The catalog as YAML, out and in: a document for each entry, `kind: queue` and then the entry's own fields.

What comes in is checked whole before anything is done, and every fault is told with its line, up to a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import yaml

from keruta.domain.catalog.kinds import KINDS
from keruta.domain.decode import convert
from keruta.domain.messages import Message, kind_word, message
from keruta.domain.yaml_reading import FaultyYamlError, line_of, plain, read_nodes
from keruta.errors import Fault, fault

ORDER = ("credential", "profile", "document", "repository", "queue", "forge", "service_account", "trigger", "template")
ENTRIES_LIMIT = 20_000
FAULTS_MOST = 200  # of a whole document


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of an import: its kind, what was written, and where."""

    kind: str
    spec: Any
    node: yaml.Node

    def line(self, pointer: str) -> int:
        """The line of the place that a JSON pointer names, or of what it stands in."""
        return line_of(self.node, pointer)


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
    """Reads entries. Returns them, or every fault, each at `line N`; of many faults the first `FAULTS_MOST`."""
    try:
        nodes = read_nodes(text)
    except FaultyYamlError as error:
        return [], [_at(error.line, error.said)]
    entries: list[Entry] = []
    faults: list[Fault] = []
    seen: dict[tuple[str, str], int] = {}
    for node in nodes:
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            continue
        entry, found = _entry(node)
        faults += found
        if len(faults) > FAULTS_MOST:
            return [], [*faults[:FAULTS_MOST], _at(node.start_mark.line, message("field_faults_more"))]
        if entry is None:
            continue
        key = (entry.kind, entry.spec.name)
        if key in seen:
            said = message("transfer_twice_at", kind=kind_word(entry.kind), name=key[1], line=seen[key])
            faults.append(_at(entry.line("") - 1, said))
        seen[key] = entry.line("")
        entries.append(entry)
        if len(entries) > ENTRIES_LIMIT:
            return [], [_at(0, message("transfer_too_many", limit=ENTRIES_LIMIT))]
    return (entries if not faults else []), faults


def _entry(node: yaml.Node) -> tuple[Entry | None, list[Fault]]:
    if not isinstance(node, yaml.MappingNode):
        return None, [_at(node.start_mark.line, message("transfer_no_entry"))]
    read = plain(node)
    if read.faults:
        return None, [_at(line, said) for line, said in read.faults[: FAULTS_MOST + 1]]
    raw = read.value
    name = raw.pop("kind", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        return None, [_at(line_of(node, "/kind") - 1, message("transfer_kind", known=", ".join(KINDS)))]
    spec, found = convert(raw, kind.spec)
    said = [{**one, "at": f"line {line_of(node, one['at'])}: {one['at']}"} for one in found]
    return (Entry(kind=kind.name, spec=spec, node=node) if not said else None), said


def _at(line: int, said: Message) -> Fault:
    return fault(f"line {line + 1}", said)
