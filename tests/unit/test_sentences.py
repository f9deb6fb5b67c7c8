"""What the core says, known again by its shape and said in Japanese."""

from __future__ import annotations

import flask
import pytest

from admin.site import sentences
from admin.site.language import COOKIE


def said(text: str, language: str = "ja") -> str:
    app = flask.Flask(__name__)
    with app.test_request_context(headers={"Cookie": f"{COOKIE}={language}"}):
        return str(sentences.said(text))


@pytest.mark.parametrize(
    ("text", "japanese"),
    [
        ("This field is required.", "この項目は必須です。"),
        ("No more than 200 characters.", "200 文字までです。"),
        ("There is no queue night.", "キュー night はありません。"),
        ("There is no repository 'app'.", "リポジトリ 'app' はありません。"),  # not the sentence's that says more
        ("The script ended with exit code 3.", "スクリプトが終了コード 3 で終わりました。"),
        ("This must be a whole number, not a list.", "整数を指定してください (リストになっています)。"),
        (
            "The last attempt failed (CloneFailed); it is tried again at 12:00.",
            "前回の試行は失敗しました (リポジトリをクローンできなかった)。12:00 に再試行します。",
        ),
        ("The queue q is paused by Ann: for 50% of us", "キュー q は Ann が一時停止しています: for 50% of us"),
    ],
)
def test_a_sentence_is_said_in_japanese(text: str, japanese: str) -> None:
    assert said(text).replace("&#39;", "'") == japanese
    assert said(text, "en").replace("&#39;", "'") == f'<span lang="en">{text}</span>'


def test_one_that_nobody_knows_is_marked_as_english() -> None:
    assert said("remote: 50% done <b>") == '<span lang="en">remote: 50% done &lt;b&gt;</span>'


def test_what_stands_in_a_place_is_text_and_nothing_else() -> None:
    found = said("There is no queue <script>alert(1)</script>\u202e%(name)s.")

    assert found == "キュー &lt;script&gt;alert(1)&lt;/script&gt;⟨202E⟩%(name)s はありません。"


def test_a_long_text_is_looked_through_once() -> None:
    hostile = "The queue " * 390 + "is paused by : "

    assert 'lang="en"' not in said(hostile)
    assert 'lang="en"' in said(hostile * 2)  # too long to be a sentence
