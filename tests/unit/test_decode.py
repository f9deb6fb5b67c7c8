"""Faults of a document from outside: each at its place, in words that need no knowledge of Python."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest

from keruta.domain.decode import convert
from keruta.errors import FAULTS_MOST, InvalidRequest


class Colour(StrEnum):
    RED = "red"
    DARK_BLUE = "dark-blue"


class Inner(msgspec.Struct):
    size: Annotated[int, msgspec.Meta(ge=1)]


class Document(msgspec.Struct):
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=5)] = "one"
    code: Annotated[str, msgspec.Meta(min_length=3, pattern="^[a-z]+$")] = "abc"
    count: Annotated[int, msgspec.Meta(ge=2, le=9)] = 2
    share: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.5
    on: bool = False
    colour: Colour = Colour.RED
    shade: Literal["light", "dark"] | None = None
    depth: Annotated[int, msgspec.Meta(ge=1)] | Literal["full"] | None = None
    names: Annotated[list[str], msgspec.Meta(max_length=2)] = []
    labels: dict[str, str] = {}
    inner: Inner | None = None


@pytest.mark.parametrize(
    ("field", "value", "at", "message"),
    [
        ("text", 3, "/text", "This must be a text, not a whole number."),
        ("text", "", "/text", "This can't be empty."),
        ("text", "longer", "/text", "No more than 5 characters."),
        ("code", "ab", "/code", "At least 3 characters."),
        ("code", "ABC", "/code", "This does not have the form '^[a-z]+$'."),
        ("count", "3", "/count", "This must be a whole number, not a text."),
        ("count", 2.5, "/count", "This must be a whole number, not a fraction."),
        ("count", 1, "/count", "No less than 2."),
        ("count", 10, "/count", "No more than 9."),
        ("share", 0, "/share", "More than 0."),
        ("share", 1, "/share", "Less than 1."),
        ("on", "yes", "/on", "This must be true or false, not a text."),
        ("colour", "green", "/colour", "'green' is not among red, dark-blue."),
        ("shade", "grey", "/shade", "'grey' is not among light, dark."),
        ("depth", "deep", "/depth", "A whole number or full."),
        ("depth", 1.5, "/depth", "A whole number or full."),
        ("depth", True, "/depth", "A whole number or full."),
        ("depth", 0, "/depth", "No less than 1."),
        ("names", ["a", 1], "/names/1", "This must be a text, not a whole number."),
        ("names", ["a", "b", "c"], "/names", "No more than 2 entries."),
        ("names", {}, "/names", "This must be a list, not an object."),
        ("labels", {"a/b": 1}, "/labels/a~1b", "This must be a text, not a whole number."),
        ("labels", {"a\0": "b"}, "/labels/a\0", "A name contains no NUL character."),
        ("inner", [], "/inner", "This must be an object, not a list."),
        ("inner", {"size": 0}, "/inner/size", "No less than 1."),
        ("inner", {}, "/inner/size", "This field is required."),
    ],
)
def test_what_is_wrong_with_a_value_is_said_in_words(field: str, value: Any, at: str, message: str) -> None:
    made, faults = convert({field: value}, Document)

    assert (made, [(one["at"], one["message"]) for one in faults]) == (None, [(at, message)])


def test_every_fault_is_said_at_once() -> None:
    _, faults = convert({"text": 1, "labels": {"a": 1, "b": "two", "c": []}, "inner": {"size": 0}, "no": 1}, Document)

    assert sorted(fault["at"] for fault in faults) == ["/inner/size", "/labels/a", "/labels/c", "/no", "/text"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "This must be an object, not a list."),
        ("text", "This must be an object, not a text."),
        (True, "This must be an object, not true or false."),
        (None, "This must be an object, not nothing."),
    ],
)
def test_a_document_is_an_object(raw: Any, message: str) -> None:
    made, faults = convert(raw, Document)

    assert (made, [(one["at"], one["message"]) for one in faults]) == (None, [("", message)])


def test_a_value_does_not_say_where_the_fault_is() -> None:
    """A value that looks like the end of msgspec's sentence does not change the place."""
    _, faults = convert({"colour": "x` - at `$.names", "inner": {"size": 0}}, Document)

    assert [one["at"] for one in faults] == ["/colour", "/inner/size"]


@pytest.mark.parametrize(
    "raw",
    [
        {f"field-{number}": 1 for number in range(60_000)},
        {"labels": {f"key-{number}": number for number in range(60_000)}},
        {"labels": {f"key\0{number}": "x" for number in range(60_000)}},
        {"x" * 1_000_000: 1},
        {"colour": "x" * 1_000_000},
        {"colour": "x\n" * 500_000},
        {"shade": "x" * 1_000_000},
        {"text": "x" * 1_000_000},
        {"labels": {"x" * 1_000_000: 1}},
        {"code": "X" * 1_000_000},
        {"colour": " - at `$" * 125_000},
        {"labels": {" - at `$" * 125_000: 1}},
    ],
    ids=lambda raw: f"{next(iter(raw))[:10]}-{len(raw)}",
)
def test_an_answer_holds_a_bounded_number_of_faults_however_much_is_wrong(raw: dict[str, Any]) -> None:
    """And says how many more; neither many nor long ones make it long."""
    began = time.process_time()
    value, faults = convert(raw, Document)
    problem = InvalidRequest.of(faults)

    assert value is None
    assert time.process_time() - began < 2
    assert len(problem.faults) <= FAULTS_MOST + 1
    assert len(msgspec.json.encode([problem.faults, str(problem)])) < 64 * 1024


def test_how_many_faults_are_left_out_is_said() -> None:
    """Of 60 fields that are not known, 20 are named; of many faults in one answer, 50."""
    _, faults = convert({f"field-{number}": 1 for number in range(60)}, Document)
    problem = InvalidRequest.of(faults * 3)

    assert [one["message"] for one in faults[20:]] == ["40 more fields are not known."]
    assert problem.faults[FAULTS_MOST]["message"] == "13 more faults are not listed here."
