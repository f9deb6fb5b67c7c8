"""Messages on pages: in the reader's language, as text and nothing else."""

from __future__ import annotations

from typing import Any

import flask
import pytest

from admin.site import sentences
from admin.site.language import COOKIE
from keruta.domain.messages import Message, fields_of, kind_word, message, status_word
from keruta.domain.overview import Trouble
from keruta.domain.task import WaitingView
from keruta.errors import fault


def said(what: Any, language: str = "ja") -> str:
    app = flask.Flask(__name__)
    with app.test_request_context(headers={"Cookie": f"{COOKIE}={language}"}):
        return str(sentences.said(what)).replace("&#39;", "'")


@pytest.mark.parametrize(
    ("told", "japanese"),
    [
        (message("field_required"), "この項目は必須です。"),
        (message("catalog_missing", kind=kind_word("queue"), name="night"), "キュー 'night' はありません。"),
        (
            message("script_failed", ending=message("script_ended_with_code", code=3)),
            "スクリプトが終了コード 3 で終わりました。",
        ),
        (
            message("task_wrong_status", status=status_word("failed"), acted=message("acted_input")),
            "状態が「失敗」のタスクは入力を送信できません。",
        ),
    ],
)
def test_a_message_is_shown_in_the_readers_language(told: Message, japanese: str) -> None:
    """A code is rendered in Japanese for who reads Japanese, and in English for who does not."""
    assert said(told) == japanese
    assert said(told, "en") == told.text.replace('"', "&#34;")


def test_what_holds_a_message_is_shown_by_its_fields() -> None:
    """A fault, a trouble and a reason for waiting say their message by its code."""
    told = message("waiting_drained")
    fields = {name: value for name, value in fields_of(told).items() if name != "message"}
    japanese = said(told)

    assert said(fault("/x", told)) == japanese
    assert said(Trouble(kind="pool", message=told.text, **fields)) == japanese
    assert said(WaitingView(position=0, why=told.text, **fields)) == japanese


def test_a_text_without_a_code_is_marked_as_english() -> None:
    """Texts of old documents and other programs are shown as they are."""
    assert said("remote: 50% done <b>") == '<span lang="en">remote: 50% done &lt;b&gt;</span>'
    assert said(Trouble(kind="pool", message="Coder is away.")) == '<span lang="en">Coder is away.</span>'


def test_what_stands_in_a_place_is_text_and_nothing_else() -> None:
    """Markup, direction marks and places in an argument are shown, not obeyed."""
    hostile = "<script>alert(1)</script>\u202e%(name)s{name}"
    found = said(message("catalog_missing", kind=kind_word("queue"), name=hostile))

    assert found == "キュー '&lt;script&gt;alert(1)&lt;/script&gt;⟨202E⟩%(name)s{name}' はありません。"


def test_nothing_is_shown_of_nothing() -> None:
    """A thing without a message shows an empty text."""
    assert said(Trouble(kind="no_worker")) == '<span lang="en"></span>'
