"""Webhook bodies in the formats of chat programs, made of a task as a list shows it.

Everything that a task says comes from its submitter or script. None of it becomes a link, a mention, an image or
markup; the only link opens the task's page, where the reader signs in.

Sources:
    https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
    https://learn.microsoft.com/connectors/teams (adaptive cards), https://adaptivecards.io/explorer/
    https://discord.com/developers/docs/resources/webhook#execute-webhook
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from keruta.domain.messages import Message, message, read_message, status_word
from keruta.domain.task import TaskSummary

ChatFormat = Literal["slack", "teams", "discord"]
NAME_LETTERS = 150
MESSAGE_LETTERS = 600
SUPPRESS_EMBEDS = 1 << 2  # Discord: no preview of links
_MARKUP = re.compile(r"([\\*_~`|>\[\]()#\-<@&:])")
_SLACK = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A notice for a chat, as plain text: a heading, a sentence, the place, and the way to the task's page.

    Args:
        url: empty where keruta's own address is not known.
    """

    heading: str
    sentence: str
    place: str
    link: str
    url: str


def notice(task: TaskSummary, status: str, url: str, render: Callable[[Message], str]) -> Notice:
    """Return what is said about a task.

    Args:
        status: the status that the event told of; the task may have gone on since.
        url: the task's page.
        render: puts a message into the receiver's language.
    """
    said = read_message(task.message, task.message_code, task.message_arguments)
    repository = task.repository.name or task.repository.url
    heading = message("chat_heading", status=status_word(status), name=one_line(task.name or task.id, NAME_LETTERS))
    place = message("chat_place", repository=one_line(repository, NAME_LETTERS), queue=task.queue, owner=task.owner)
    return Notice(
        heading=render(heading),
        sentence=one_line(render(said), MESSAGE_LETTERS) if task.status == status else "",
        place=one_line(render(place), 3 * NAME_LETTERS),
        link=render(message("chat_open_task")),
        url=url,
    )


def chat_body(format: ChatFormat, said: Notice) -> bytes:
    """Return the body of the request to a chat's webhook."""
    makers: dict[ChatFormat, Callable[[Notice], dict[str, Any]]] = {
        "slack": _slack, "teams": _teams, "discord": _discord,
    }  # fmt: skip
    return msgspec.json.encode(makers[format](said))


def _slack(said: Notice) -> dict[str, Any]:
    """`plain_text` blocks are shown as they are; only the link is markup. `text` is for notifications."""
    lines = [said.heading, *filter(None, (said.sentence, said.place))]
    blocks: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "plain_text", "text": line, "emoji": False}} for line in lines
    ]
    if said.url:
        link = {"type": "mrkdwn", "text": f"<{_escaped(said.url)}|{_escaped(said.link)}>"}
        blocks.append({"type": "context", "elements": [link]})
    text = _escaped(_without_links(" ".join(lines[:2])))
    return {"text": text, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _teams(said: Notice) -> dict[str, Any]:
    """`TextRun` is plain text, unlike `TextBlock`, which is Markdown."""

    def line(text: str, **style: Any) -> dict[str, Any]:
        return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}

    body = [line(said.heading, weight="Bolder")]
    body += [line(text, **style) for text, style in ((said.sentence, {}), (said.place, {"isSubtle": True})) if text]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": said.link, "url": said.url}] if said.url else [],
    }  # fmt: skip
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _discord(said: Notice) -> dict[str, Any]:
    """Every text is Markdown there, and can mention people: it is escaped, and nobody is allowed to be mentioned."""
    lines = [f"**{_unmarked(said.heading)}**", *(_unmarked(text) for text in (said.sentence, said.place) if text)]
    if said.url:
        lines.append(f"[{_unmarked(said.link)}](<{said.url}>)")
    return {"content": "\n".join(lines), "allowed_mentions": {"parse": []}, "flags": SUPPRESS_EMBEDS}


def one_line(text: str, letters: int) -> str:
    """Return a text on one line, without control and direction characters, and at most so long."""
    shown = "".join(" " if unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") else one for one in text)
    line = " ".join(shown.split())
    return line if len(line) <= letters else f"{line[: letters - 1]}…"


def _without_links(text: str) -> str:
    """Return a text in which no address is one: a word joiner, which is not seen, parts it."""
    return text.replace("://", ":\u2060//")


def _unmarked(text: str) -> str:
    """Return a text that is shown as it is where Markdown is read."""
    return _without_links(_MARKUP.sub(r"\\\1", text))


def _escaped(text: str) -> str:
    """Return a text as Slack takes it."""
    for character, escaped in _SLACK.items():
        text = text.replace(character, escaped)
    return text
