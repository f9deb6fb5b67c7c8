"""Messages: codes with arguments, read from untrusted data, rendered in a language."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from babel.messages.pofile import read_po

from keruta import errors
from keruta.domain.messages import (
    CATALOGUE,
    Message,
    as_message,
    changed,
    fields_of,
    kind_word,
    message,
    places,
    read_message,
    reason_word,
    status_word,
)
from keruta.domain.reports import Ended, RawReport
from keruta.domain.retry import REASONS
from keruta.domain.task import WaitingView
from keruta.http.problems import BadRequest
from keruta.translations import LOCALE, in_language, render, translated

TASK = "0" * 26
ROOT = Path(__file__).parents[2]
PARTS = ("keruta", "agent", "functions", "admin")
# What only the command line, or who starts a program, reads.
NOT_OF_USERS = (
    "keruta/cli",
    "keruta/local",
    "keruta/client",
    "keruta/settings.py",
)
TAKERS = ("fault", "refuse", "refused", "PhaseError", "PoolError", "back_to_queue", "_failed")


def calls(*, besides: tuple[str, ...] = ()) -> Iterator[tuple[str, ast.Call]]:
    """Every call in the program, with where it is."""
    for part in PARTS:
        for path in sorted((ROOT / part).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(besides or ("-",)):
                for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                    if isinstance(node, ast.Call):
                        yield f"{name}:{node.lineno}", node


def called(node: ast.Call) -> str:
    return ast.unparse(node.func).rpartition(".")[2]


def is_sentence(node: ast.expr) -> bool:
    """Return whether a literal is a text of several words."""
    text = (
        node.value if isinstance(node, ast.Constant) else ast.unparse(node) if isinstance(node, ast.JoinedStr) else ""
    )
    return isinstance(text, str) and " " in text


def problems() -> set[str]:
    """The names of all classes of problems."""
    found, left = {"Problem"}, [errors.Problem, BadRequest]
    while left:
        one = left.pop()
        found.add(one.__name__)
        left += one.__subclasses__()
    return found


def japanese(path: Path = LOCALE / "ja" / "LC_MESSAGES" / "keruta.po") -> dict[str, tuple[str, str]]:
    with path.open("rb") as file:
        return {str(one.context): (str(one.id), str(one.string)) for one in read_po(file, locale="ja") if one.context}


def test_every_code_has_japanese_of_the_english_as_it_is() -> None:
    """The catalogue of translations has each code with its English, and no other code."""
    assert {code: english for code, (english, _) in japanese().items()} == CATALOGUE


def test_each_translation_has_the_places_of_the_english() -> None:
    """Nothing that is filled in in one language is left out or unknown in the other."""
    for code, (english, string) in japanese().items():
        assert string, code
        assert places(string) == places(english), code


def test_every_message_of_the_program_fits_its_code() -> None:
    """A message is made of a code of the catalogue with exactly its arguments, also where a table names the code."""
    wrong = []
    for where, node in calls(besides=("keruta/domain/messages",)):
        if called(node) == "message":
            given = {keyword.arg for keyword in node.keywords}
            match node.args:
                case [ast.Constant(value=str(code))]:
                    fits = code in CATALOGUE and given == places(CATALOGUE[code])
                case [ast.Name()]:
                    source = (ROOT / where.partition(":")[0]).read_text("utf-8")
                    fits = any(f'"{code}"' in source and given == places(text) for code, text in CATALOGUE.items())
                case _:
                    fits = False
            if not fits:
                wrong.append(f"{where}: {ast.unparse(node)}")

    assert wrong == []


def test_no_sentence_is_written_where_it_is_said() -> None:
    """Problems, faults and failures say messages, never a text of their own."""
    takers = problems() | set(TAKERS)
    wrong = [
        f"{where}: {ast.unparse(node)[:120]}"
        for where, node in calls(besides=NOT_OF_USERS)
        if called(node) in takers
        and any(map(is_sentence, [*node.args[called(node) == "fault" :], *(word.value for word in node.keywords)]))
    ]

    assert wrong == []


def test_every_code_is_said_somewhere() -> None:
    """The catalogue holds no sentence that nothing says."""
    source = "".join(
        path.read_text("utf-8")
        for part in PARTS
        for path in sorted((ROOT / part).rglob("*.py"))
        if "domain/messages" not in path.as_posix()
    )
    words = ("kind_", "status_", "action_", "acted_", "reason_")

    assert [code for code in CATALOGUE if not code.startswith(words) and f'"{code}"' not in source] == []


def test_every_reason_has_a_word() -> None:
    """A reason stands in sentences in the reader's language."""
    assert [reason for reason in REASONS if not isinstance(reason_word(reason), Message)] == []


def test_an_argument_stands_in_its_place() -> None:
    """A message has its English text and is rendered in Japanese."""
    said = message("script_timeout", seconds=90)

    assert said.text == "The script took longer than its timeout_seconds, 90."
    assert render(said, "ja") == "timeout_seconds の 90 秒を超えました。"
    assert render(said, "en") == said.text


def test_a_word_in_a_sentence_is_rendered_too() -> None:
    """A kind, a status or a reason stands in a sentence in the sentence's language."""
    said = message("catalog_missing", kind=kind_word("queue"), name="night")

    assert said.text == "There is no queue 'night'."
    assert render(said, "ja") == "キュー 'night' はありません。"
    assert [status_word("other"), kind_word("other"), reason_word("Other")] == ["other", "other", "Other"]


def test_a_number_decides_between_one_and_many() -> None:
    """English has a plural where there is more than one."""
    assert message("field_characters_most", limit=1).text == "No more than 1 character."
    assert message("field_characters_most", limit=2).text == "No more than 2 characters."


def test_a_text_without_a_code_is_shown_as_it_is() -> None:
    """Texts of old documents and old agents stay the same in every language."""
    said = read_message("The script failed.", None, None)

    assert (said.code, said.text, render(said, "ja"), translated(said, "ja")) == ("", said.text, said.text, None)


def test_what_is_stored_is_read_again() -> None:
    """A message survives its fields, with words within words."""
    said = message("waiting_backoff", reason=reason_word("CloneFailed"), at="12:00")
    fields = fields_of(said)

    assert read_message(fields["message"], fields["message_code"], fields["message_arguments"]) == said


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("no_such_code", {"a": 1}),
        ("script_timeout", {}),
        ("script_timeout", {"seconds": 1, "more": 2}),
        ("script_timeout", {"seconds": None}),
        ("script_timeout", {"seconds": True}),
        ("script_timeout", {"seconds": math.nan}),
        ("script_timeout", {"seconds": 2**64}),
        ("script_timeout", {"seconds": ["a"]}),
        ("script_timeout", {"seconds": {"a": 1}}),
        ("script_timeout", {"seconds.__class__": 1}),
        ("script_timeout", {"$where": "1"}),
        ("script_timeout", {1: 1}),
        ("script_timeout", ["seconds"]),
        ("script_timeout", "seconds"),
        ("script_timeout", {f"a{n}": n for n in range(21)}),
        ("{0.__class__}", {}),
        ("x" * 1000, {}),
        (5, {}),
        ({"a": 1}, {}),
    ],
)
def test_an_unknown_code_or_wrong_arguments_leave_the_text(code: Any, arguments: Any) -> None:
    """A message that can't be trusted renders the stored text, in every language."""
    said = read_message("The stored text.", code, arguments)

    assert [render(said, language) for language in ("en", "ja", "xx")] == ["The stored text."] * 3


@pytest.mark.parametrize(
    "hostile", ["{0.__class__}", "{seconds}", "%(seconds)s", "<script>", "{seconds:a|b}", "\\g<0>"]
)
def test_an_argument_is_text_and_nothing_else(hostile: str) -> None:
    """An argument is neither formatted nor replaced again."""
    said = read_message("Text.", "script_timeout", {"seconds": hostile})

    assert said.text == f"The script took longer than its timeout_seconds, {hostile}."
    assert render(said, "ja") == f"timeout_seconds の {hostile} 秒を超えました。"


def test_what_is_stored_is_bounded() -> None:
    """No text, argument or nesting grows a document or a page without limit."""
    long = read_message("t" * 100_000, "script_timeout", {"seconds": "s" * 100_000})
    assert max(len(long.text), len(render(long, "ja"))) < 1100
    assert len(read_message("t" * 100_000, None, None).text) == 4096
    assert len(message("git_failed", said="s" * 100_000).text) < 1100

    nested: dict[str, Any] = {"code": "type_text"}
    for _ in range(10):
        nested = {"code": "type_either", "arguments": {"one": nested, "other": "x"}}
    assert read_message("Text.", "field_not_object", {"got": nested}).text.startswith("This must be an object, not ")


def test_a_change_reaches_every_text_of_a_message() -> None:
    """A secret is masked in the text, in arguments, and in words within arguments."""
    inner = message("script_ended_by_signal", signal="s3cret", code=1)
    masked = changed(message("script_failed", ending=inner), lambda text: text.replace("s3cret", "***"))

    assert "s3cret" not in str(fields_of(masked))


def _ended(**fields: Any) -> Message | None:
    entry = msgspec.json.encode({"kind": "ended", "task": TASK, "attempt": 1, "status": "failed", **fields})
    report, bad = RawReport(entries=[msgspec.Raw(entry)]).read()
    assert bad == {}
    (ended,) = report.entries
    assert isinstance(ended, Ended)
    return ended.said


def test_an_older_agent_reports_a_text() -> None:
    """A report of an agent that knows no codes is taken as it is."""
    assert _ended(message="It failed.") == as_message("It failed.")
    assert _ended() is None


def test_a_newer_agent_reports_a_code() -> None:
    """A code is taken beside the text or in its place; one that is unknown here keeps its text."""
    told = {"code": "script_timeout", "arguments": {"seconds": 9}}

    assert _ended(message=told) == message("script_timeout", seconds=9)
    assert _ended(**fields_of(message("script_timeout", seconds=9))) == message("script_timeout", seconds=9)
    assert str(_ended(message="New.", message_code="of_the_future", message_arguments={"a": 1})) == "New."
    assert str(_ended(message={"code": "of_the_future", "arguments": {"a": 1}})) == "of_the_future (a=1)"


@pytest.mark.parametrize("arguments", [5, "x", [], {"a": None}, {"a": {"b": [1]}}, None])
def test_an_end_with_hostile_arguments_is_not_refused(arguments: Any) -> None:
    """The end of an attempt counts, whatever its message holds."""
    assert str(_ended(message="It failed.", message_code="script_timeout", message_arguments=arguments)) == "It failed."


def test_an_older_server_reads_what_an_agent_sends() -> None:
    """The entry as it was before there were codes is decoded from what is sent now, with the English text."""

    class EndedBefore(msgspec.Struct, tag_field="kind", tag="ended"):
        task: str
        attempt: int
        status: str
        message: str | None = None

    sent = msgspec.json.encode(
        Ended(task=TASK, attempt=1, status="failed", **fields_of(message("script_timeout", seconds=9)))
    )

    assert msgspec.json.decode(sent, type=EndedBefore).message == message("script_timeout", seconds=9).text


def test_an_answer_has_its_messages_in_a_language() -> None:
    """Structs with a message at any depth are rendered; texts without a code stay."""
    said = message("waiting_drained")
    view = WaitingView(position=1, why=said.text, message_code=said.code)

    assert in_language([view], "ja")[0].why == render(said, "ja")
    assert in_language([view], "en") == [view]
    assert in_language(WaitingView(position=1, why="Old."), "ja").why == "Old."
