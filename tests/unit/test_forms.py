"""A form shows all of an entry, and sent back unchanged it changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from admin.site import forms
from keruta.domain.catalog.kinds import KINDS
from keruta.domain.catalog.profiles import ProfileSpec
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.decode import convert

WORD = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=40)
YAMLS: dict[str, list[Any]] = {
    "events": ["push"],
    "report": ["comment"],
    "tolerations": [{"key": "gpu", "operator": "Exists"}, {"key": "a: b", "value": "yes", "effect": "NoSchedule"}],
    "node_affinity": [{"key": "disk", "operator": "In", "values": ["ssd"]}],
    "extended_resources": {"nvidia.com/gpu": 1},
    "services": [{"name": "db", "image": "postgres:17", "port": 5432, "env": {"A": "b"}}],
    "permissions": ["Bash(git *)", "Edit"],
    "mcp_servers": {"tracker": {"command": ["tracker", "--stdio"], "env": {"A": "b"}}},
    "prices": [{"model": "claude", "input": 3.0, "output": 15.0}],
    "parameters": [
        {"name": "target", "type": "choice", "choices": ["a: b", "yes"], "default": "yes"},
        {"name": "notes"},
    ],
    "cache": [{"paths": ["~/.npm", "a: b"], "key": ["package-lock.json"], "restore_keys": [""]}],
    "usage": [{"measure": "cost_usd", "pattern": "cost: ([0-9.]+)", "fold": "sum"}],
}


def documents(fields: Sequence[forms.Field]) -> st.SearchStrategy[dict[str, Any]]:
    """Documents that a client may send for these fields; not all are valid."""
    needed = {field.name: values(field) for field in fields if field.required}
    free = {field.name: values(field) for field in fields if not field.required}
    return st.fixed_dictionaries(needed, optional=free)


def values(field: forms.Field) -> st.SearchStrategy[Any]:
    match field.kind:
        case "group":
            return documents(field.fields)
        case "yes":
            return st.booleans()
        case "maybe":
            return st.booleans()
        case "number" if field.name == "depth":
            return st.integers(1, 50) | st.just("full")
        case "number":
            return st.integers(1, 5) | st.floats(0.5, 5)
        case "choice":
            return st.sampled_from([choice for choice in field.choices if choice])
        case "lines":
            return st.lists(TEXT.filter(bool) | WORD | WORD.map(lambda word: f"name:{word}"), max_size=3)
        case "pairs":
            return st.dictionaries(WORD.map(str.upper) | TEXT, TEXT | WORD, max_size=3)
        case "yaml":
            return st.just(YAMLS[field.name])
        case "long":
            return TEXT.filter(lambda text: not text or not text.isspace())
    address = WORD.map(lambda word: f"https://{word}.example/{word}.git")
    if field.name in ("name", "repository", "webhook_secret"):
        return WORD
    return address if field.name == "url" else WORD | address


def sent(spec: type[msgspec.Struct], value: msgspec.Struct) -> MultiDict[str, str]:
    """Return what a browser submits for a form with this value, with its own line ends."""
    filled = forms.filled(forms.fields(spec), msgspec.to_builtins(value))
    return MultiDict({name: text.replace("\n", "\r\n") for name, text in filled.items() if text})


@pytest.mark.parametrize("kind", [name for name in KINDS if name != "credential"])
def test_what_is_sent_back_unchanged_changes_nothing(kind: str) -> None:
    spec = KINDS[kind].spec
    tried = 0

    @settings(max_examples=300, suppress_health_check=list(HealthCheck))
    @given(documents(forms.fields(spec)))
    def unchanged(raw: dict[str, Any]) -> None:
        nonlocal tried
        if kind in ("trigger", "template"):  # one of these, and not both
            raw.pop("script" if raw.get("prompt") else "prompt", None)
            raw |= {} if raw.get("prompt") or raw.get("script") else {"script": "true"}
        if kind == "template":
            raw = {"name": "x", "repository": "app", **raw}
        if kind == "trigger":
            raw = {"name": "x", "repository": "app", "provider": "gitea", "webhook_secret": "s", **raw}
            raw["events"] = raw.get("events") or ["push"]
        value, faults = convert(raw, spec)
        if value is None:
            wrong = {fault["at"].split("/")[1] for fault in faults if fault["at"]}
            value, _ = convert({name: one for name, one in raw.items() if name not in wrong}, spec)
        if value is None:
            return
        tried += 1
        again, wrong = forms.read(spec, sent(spec, value))
        assert wrong == []
        assert again == value

    unchanged()
    assert tried >= 40, f"too few of them were good: {tried}"


def test_lines_and_pairs_hold_whatever_they_must() -> None:
    hard = {"A": "two\nlines", "B": ' "quoted" ', "C": "", "D": "x=y", "E": "\u2028", "F": '"', "G": "  "}
    value = ProfileSpec(name="p", setup=["one", "two\nlines", '"three"', " four "], env=hard)

    again, wrong = forms.read(ProfileSpec, sent(ProfileSpec, value))

    assert wrong == []
    assert again == value


def test_a_group_that_is_set_and_empty_is_not_one_that_is_not_there() -> None:
    closed, _ = forms.read(QueueSpec, MultiDict({"name": "q", "access": "1"}))
    anyone, _ = forms.read(QueueSpec, MultiDict({"name": "q"}))

    assert closed is not None
    assert closed.access is not None
    assert anyone is not None
    assert anyone.access is None


def test_faults_stand_at_their_fields() -> None:
    wanted = forms.fields(QueueSpec)
    _, faults = forms.read(QueueSpec, MultiDict({"name": "NO", "access": "1", "access.read": "someone\nname:a"}))

    told = forms.told(wanted, faults)

    assert set(told.beside) == {"name", "access.read"}
    assert told.beside["access.read"][0]["at"] == "0"
    assert told.above == []
