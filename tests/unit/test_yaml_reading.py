"""YAML from outside: its bounds, whoever wrote it."""

from __future__ import annotations

import time

import pytest
import yaml

from keruta.domain import yaml_reading
from keruta.domain.catalog.transfer import FAULTS_MOST, parse
from keruta.domain.yaml_reading import FaultyYamlError, read_plain

SECONDS = 8.0  # of CPU time; by PyYAML's own parser, and with numbers of any length, each of these took minutes
MOST = 2 * 1024 * 1024
LONG = {
    "many values": "kind: document\nname: a\ntitle: [" + "a," * (MOST // 2) + "]",
    "many documents": "---\n" * (MOST // 4),
    "many bad entries": "---\nkind: x\n" * 40_000,
    "sexagesimal number": "kind: document\nname: 1" + ":1" * (MOST // 2),
    "sexagesimal fraction": "kind: document\nname: 1" + ":1" * 1000 + ".5",
    "long keys": "{" + ", ? ".join(f"{'a' * 400}{n}\n: 1" for n in range(3000)) + "}",
    "deep": "[" * MOST, "blocks": "- " * (MOST // 2), "questions": "? " * (MOST // 2), "quotes": "'" * MOST,
    "halves of pairs": 'a: "\\ud83d\\ude00"\n' * 100_000, "spaces": " " * MOST, "comments": "#\n" * (MOST // 2),
    "one key": "? " + "a" * (MOST // 2) + "\n: 1\n",
}  # fmt: skip


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_no_import_takes_long_or_answers_at_length(text: str) -> None:
    """Whatever is written, what is wrong is said soon and briefly."""
    began = time.process_time()

    entries, faults = parse(text)

    assert time.process_time() - began < SECONDS
    assert entries == []
    assert len(faults) <= FAULTS_MOST + 1
    assert sum(len(str(one)) for one in faults) < 200_000


@pytest.mark.parametrize(
    "text", ["a: &x [1]\nb: [*x, *x]", "a: !!python/object/apply:os.system [id]", "a: !x 1", "&x a", "*x"]
)
def test_nothing_is_said_twice_or_makes_an_object(text: str) -> None:
    """Neither in an import nor in a form."""
    with pytest.raises(FaultyYamlError):
        read_plain(text)


def test_without_the_fast_parser_less_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow one has the same rules, and smaller bounds."""
    monkeypatch.setattr(yaml_reading, "_FAST", None)

    assert read_plain("a: [1, x]\n") == {"a": [1, "x"]}
    with pytest.raises(FaultyYamlError):
        read_plain("#" * (yaml_reading.SLOW_CHARACTERS + 1))


def test_a_fault_is_told_with_its_line() -> None:
    """Of a key within a key, too."""
    _, faults = parse(
        "kind: queue\nname: a\n---\nkind: repository\nname: b\nurl: https://example.com/a\naccess:\n  x: 1\n"
    )

    assert [one["at"] for one in faults] == ["line 8: /access/x"]


@pytest.mark.parametrize("key", ["", "a" * 2000, "1", "null", "あ" * 600, "a: b", "\u2028"])
def test_every_key_that_is_exported_is_read_again(key: str) -> None:
    """Names of labels and variables may be empty or long, as the API takes them."""
    assert read_plain(yaml.safe_dump({"labels": {key: "x"}}, allow_unicode=True)) == {"labels": {key: "x"}}


def test_a_key_that_is_no_text_is_told() -> None:
    with pytest.raises(FaultyYamlError, match="A key must be a text"):
        read_plain("? [a, b]\n: c\n")
