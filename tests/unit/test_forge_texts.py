"""What others have chosen does nothing at a forge but being read, however its parser differs from ours."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from keruta.domain.catalog.triggers import PullRequestTemplate, TriggerSpec
from keruta.domain.forge_reports import reports
from keruta.domain.forge_texts import BODY_LETTERS, JOINER, fitting, title_part, trimmed
from keruta.domain.forges import MARK
from keruta.domain.task import Origin
from tests.unit.test_run_comparison import task as made_task

PARSERS = (
    MarkdownIt("commonmark", {"html": True}),
    MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]),
)
# As GitHub, GitLab and Gitea look for them, more generously than any of them.
MENTION = re.compile(r"(?<![A-Za-z0-9])@[A-Za-z0-9]")
CLOSES = re.compile(r"\b(clos|fix|resolv|implement|reopen)\w*[\s:]+\S*(#\d|gh-\d|!\d|://)", re.IGNORECASE)
QUICK_ACTION = re.compile(r"^[ \t]*/[a-z]", re.IGNORECASE | re.MULTILINE)

IMAGES = [
    "![a](https://e/x.png)",
    "![a][b]\n\n[b]: https://e/x.png",
    "<img src=x>",
    "a <b>c</b>",
    "[![i](//e)](//e)",
    "| a | b |\n|---|---|\n| `x | <img src=https://e/x.png> ` |",
    "<!-- a",
    "<svg onload=x>",
    "<ImG\nsrc=x>",
    "text <https://e> <video src=x>",
    "- item\n\n  ![a](x)",
    "> > ![a](x)",
    "[[https://e/x.png]]",
    "[[a|b.PNG]]",
    "<picture><source srcset=x></picture>",
    "![a](<x y>)",
    "```\ncode\n```\n![a](x)",
]
MENTIONS = [
    "thanks @dana",
    "@everyone",
    "`@dana please",
    "/@dana",
    "_@dana_",
    "(@dana)",
    "\\@dana",
    "é@dana",
    "&#64;dana",
    "&#x40;dana",
    "&commat;dana",
    "@org/team",
    "```\n@dana\n```",
    "http://;@dana",
    "x\n@all",
]
CLOSING = [
    "fixes #1",
    "Closes: #12",
    "This RESOLVES team/app#3",
    "fixed https://git.example.com/a/b/issues/3",
    "closing !4",
    "Fix GH-5",
    "fixes\n#1",
    "Implements issue #2",
    "**fixes** #1",
    "resolve: [#1](x)",
    "fixes &#35;1",
    "reopens #4",
]
ACTIONS = [
    "/close",
    "text\n/merge now",
    "text\r/approve",
    "  /assign @me",
    "> /label x",
    "- /close\n",
    "```\n/close\n```",
]


def drawn(text: str) -> set[str]:
    """The kinds of what a forge would draw from a text beyond its letters."""
    return {
        inner.type for parser in PARSERS for token in parser.parse(text) for inner in (token, *(token.children or ()))
    } & {"image", "html_inline", "html_block"}  # fmt: skip


def seen(text: str) -> str:
    """A text as a forge's filters see it: entities and escapes are letters by then."""
    shown = re.sub(r"&(?:#0*64|#x0*40|commat);", "@", text, flags=re.IGNORECASE)
    shown = re.sub(r"&(?:#0*35|#x0*23|num);", "#", shown, flags=re.IGNORECASE)
    return re.sub(r"[*\\\[\]`]", "", shown)


@pytest.mark.parametrize("text", IMAGES)
def test_no_image_and_no_html_is_drawn(text: str) -> None:
    assert not drawn(trimmed(text))
    assert "[[" not in trimmed(text)


@pytest.mark.parametrize("text", MENTIONS)
def test_no_one_is_notified(text: str) -> None:
    for shown in (trimmed(text), title_part(text)):
        assert not MENTION.search(seen(shown))


@pytest.mark.parametrize("text", CLOSING)
def test_no_issue_is_closed(text: str) -> None:
    for shown in (trimmed(text), title_part(text)):
        assert not CLOSES.search(seen(shown)), shown


@pytest.mark.parametrize("text", ACTIONS)
def test_no_quick_action_is_given(text: str) -> None:
    """GitLab takes a line that begins so for a command of keruta's account; bots do elsewhere."""
    shown = trimmed(text)

    assert not QUICK_ACTION.search(shown)
    assert "\r" not in shown
    assert not re.search(r"^[ \t>*+-]*/[a-z]", shown, re.MULTILINE)


@pytest.mark.parametrize(
    "text", [f"{MARK} task {'0' * 26} -->", f"x {MARK} t -->", f"```\n{MARK} t -->\n```", f"`{MARK} t -->`"]
)
def test_nothing_passes_for_kerutas_own_mark(text: str) -> None:
    assert MARK not in trimmed(text)


@pytest.mark.parametrize("language", ["mermaid", "Mermaid {x}", " geojson", "math", "plantuml", "suggestion"])
def test_code_that_would_be_drawn_or_applied_is_text(language: str) -> None:
    shown = trimmed(f"```{language}\ngraph TD\n```\n\n~~~{language}\nx\n~~~")

    assert {token.info.strip() for token in PARSERS[0].parse(shown) if token.type == "fence"} == {"text"}


@pytest.mark.parametrize("text", ["```\ncode", "~~~~ py\n```\ncode\n~~~", "a\n\n````\n```\n", "```"])
def test_what_follows_an_answer_is_not_part_of_its_code(text: str) -> None:
    tokens = PARSERS[0].parse(f"{trimmed(text)}\n\nafter")

    assert [tokens[-3].type, tokens[-2].content] == ["paragraph_open", "after"]


@pytest.mark.parametrize(
    "text",
    [
        "`a < b` and **c**\n\n```\n<img>\n```", "See https://www.npmjs.com/package/@octokit/rest and mail@example.com.",
        "The prefix #1 is fixed; issue #2 is not.", "usr/bin and 1/2", "```python\nx = 1\n```\n\nDone.",
        "| a | b |\n|---|---|\n| 1 | 2 |", "夜間のテストを直しました。", "[link](https://e) and <https://e>",
    ],
)  # fmt: skip
def test_plain_answers_stay_as_they_are(text: str) -> None:
    assert trimmed(text) == text


def test_a_body_is_as_long_as_a_forge_takes() -> None:
    """Also where each letter of an answer becomes several."""
    assert len(fitting(trimmed("<b>" * 10_000))) <= BODY_LETTERS + 2
    assert len(fitting("x" * 100)) == 100


@given(st.text(st.sampled_from(list("<>![]()`~@#/&;:*_|- \n\\aefixs1")), max_size=60))
def test_whatever_the_text_nothing_is_drawn_and_no_one_is_named(text: str) -> None:
    shown = trimmed(text)

    assert not drawn(shown)
    assert not MENTION.search(shown)
    assert not QUICK_ACTION.search(shown)


def test_titles_and_branches_of_others_do_nothing_in_a_pull_request() -> None:
    """The template's own words count; what is filled in does not, even beside them."""
    hostile = "Fixes #5 @everyone \u202e<img src=x>\n/merge"
    origin = Origin(trigger="t", event="issue", forge="git", repository="team/app", number=7, title=hostile)
    template = PullRequestTemplate(title="{title}", body="Closes #{number}. Fixes {answer}\n\n{title}\n{branch}")
    trigger = TriggerSpec(
        name="t", repository="app", forge="git", events=["issue"], script="true", pull_request=template, report=[]
    )
    (attempt,) = made_task().attempts
    attempt = msgspec.structs.replace(attempt, result_branch="fixes-@dana", result_commit="a" * 40)
    done = made_task(status="succeeded", origin=origin, answer="#9 and ![x](//e)", attempts=[attempt])
    (report,) = reports(done, trigger, public_url="https://k.example.com")

    pull = report.pull_request
    assert pull is not None
    assert "Closes #7." in pull.body
    own = pull.body.replace("Closes #7.", "").partition(MARK)[0]
    for text in (pull.title, own):
        assert not CLOSES.search(seen(text)), text
        assert not MENTION.search(text)
        assert not QUICK_ACTION.search(text)
        assert "\u202e" not in text
    assert not drawn(own)
    assert "\n" not in pull.title
    assert f"Fixes #{JOINER}9" in pull.body
