"""Bodies for chat programs: what a task says is shown as it is, and becomes no link, mention or markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import pytest

from keruta.domain.chat_messages import ChatFormat, chat_body, notice
from keruta.domain.messages import fields_of, message
from keruta.domain.task import RepositoryRef, TaskSummary
from keruta.domain.webhooks import WebhookRequest
from keruta.translations import render

AT = datetime(2026, 11, 1, tzinfo=UTC)
PAGE = "https://keruta.example.com/tasks/01a"
ENDED = message("cluster_script_failed", code=3)
FORMATS: tuple[ChatFormat, ...] = ("slack", "teams", "discord")
HOSTILE = (
    "<!channel> <@U123> <https://evil.example|here> @everyone [x](https://evil.example) **b** `c` ~~d~~ "
    "![i](https://evil.example/i.png) \u202eevil\u200b\n# head\n> quote https://evil.example & <b>"
)


def summary(**fields: Any) -> TaskSummary:
    made = TaskSummary(
        id="01a", status="failed", name="nightly", owner="ann", queue="default", priority=0, labels={},
        repository=RepositoryRef(url="https://example.com/a.git", name="a"), profile="plain",
        created_at=AT, changed_at=AT, **fields_of(ENDED),
    )  # fmt: skip
    return msgspec.structs.replace(made, **fields)


def body(
    format: ChatFormat, task: TaskSummary, *, status: str = "failed", url: str = PAGE, language: str = "en"
) -> Any:
    return msgspec.json.decode(chat_body(format, notice(task, status, url, partial(render, language=language))))


def texts(value: Any) -> list[str]:
    """Return every text in a body."""
    match value:
        case dict():
            return [one for inner in value.values() for one in texts(inner)]
        case list():
            return [one for inner in value for one in texts(inner)]
        case str():
            return [value]
        case _:
            return []


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("failed: nightly", "queue default", "Open the task")),
        ("ja", ("失敗: nightly", "キュー default", "タスクを開く")),
    ],
)
def test_a_notice_says_what_happened_where_and_links_to_the_task(
    format: ChatFormat, language: str, words: tuple[str, ...]
) -> None:
    said = "\n".join(texts(body(format, summary(), language=language))).replace("\\", "")

    for word in words:
        assert word in said
    assert PAGE in said
    assert render(ENDED, language) in said


@pytest.mark.parametrize("format", FORMATS)
def test_without_an_address_of_keruta_there_is_no_link(format: ChatFormat) -> None:
    assert "http" not in "\n".join(texts(body(format, summary(), url=""))).replace(
        "http://adaptivecards.io/schemas/adaptive-card.json", ""
    )


def test_slack_shows_a_task_s_text_as_plain_text() -> None:
    """`<…>` is how Slack marks links and mentions; where it reads markup, none is left but the link to the task."""
    made = body("slack", summary(name=HOSTILE, owner="<!here>"))

    assert "<" not in made["text"]
    assert "://" not in made["text"]
    markup = [one for one in made["blocks"] if one["type"] != "section"]
    assert texts(markup) == ["context", "mrkdwn", f"<{PAGE}|Open the task>"]
    assert all(one["text"]["type"] == "plain_text" for one in made["blocks"] if one["type"] == "section")
    assert (made["unfurl_links"], made["unfurl_media"]) == (False, False)


def test_teams_shows_a_task_s_text_as_plain_text() -> None:
    (attachment,) = body("teams", summary(name=HOSTILE))["attachments"]
    card = attachment["content"]

    assert {one["type"] for one in card["body"]} == {"RichTextBlock"}
    assert {inline["type"] for one in card["body"] for inline in one["inlines"]} == {"TextRun"}
    assert [one["url"] for one in card["actions"]] == [PAGE]


def test_discord_mentions_nobody_and_links_to_the_task_only() -> None:
    made = body("discord", summary(name=HOSTILE))

    assert made["allowed_mentions"] == {"parse": []}
    assert made["flags"] == 4
    first, *_, last = made["content"].splitlines()
    assert last == f"[Open the task](<{PAGE}>)"
    assert "://" not in first
    unescaped = re.sub(r"\\.", "", first.removeprefix("**").removesuffix("**"))
    assert not re.search(r"[*_~`|<>\[\]()@#]", unescaped)


@pytest.mark.parametrize("format", FORMATS)
def test_a_notice_is_on_few_lines_and_within_the_chat_s_limit(format: ChatFormat) -> None:
    """Discord takes 2,000 letters; direction and control characters are left out."""
    task = summary(name="*" * 200, owner="[" * 100, repository=RepositoryRef(url="https://e.com/" + "_" * 2000))
    long = body(format, msgspec.structs.replace(task, message="x" * 5000, message_code=None, message_arguments=None))

    if format == "discord":
        assert len(long["content"]) <= 2000
    for text in texts(body(format, summary(name=HOSTILE))):
        assert "\u202e" not in text
        assert "\u200b" not in text


def test_a_task_that_went_on_meanwhile_is_told_without_its_later_sentence() -> None:
    """The event said failed; the task was retried and succeeded before the body was made."""
    said = notice(summary(status="succeeded"), "failed", PAGE, lambda one: one.text)

    assert said.heading == "failed: nightly"
    assert said.sentence == ""


@pytest.mark.parametrize(
    ("format", "shown"),
    [("keruta", "https://hooks.example.com/a/secret?b=c"), ("slack", "https://hooks.example.com/…")],
)
def test_a_chat_s_address_is_shown_by_its_host_only(format: Any, shown: str) -> None:
    wanted = WebhookRequest(name="chat", url="https://hooks.example.com/a/secret?b=c", format=format)

    assert wanted.shown_url == shown
