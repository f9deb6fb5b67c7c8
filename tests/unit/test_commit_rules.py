"""The identity and message of keruta's own commits."""

from __future__ import annotations

import pytest

from keruta.domain.commit_rules import CommitRules, commit_message, identity, purpose
from keruta.domain.repository import branch_fault

VALUES = {"what": "Mend it", "task": "t1", "attempt": "2", "submitter": "dana", "name": "Dana", "email": "d@x"}


def test_the_submitter_commits_where_nobody_else_is_named() -> None:
    """With an address that no mail goes to, unless the name is an address."""
    assert (identity([], "dana").name, identity([], "dana").email) == ("dana", "dana@keruta.invalid")
    assert identity([None], "dana@example.com").email == "dana@example.com"
    assert identity([], "a <b>\n").email == "a-b@keruta.invalid"


def test_the_first_rules_that_name_somebody_count() -> None:
    """The profile's before the repository's, field by field."""
    who = identity([CommitRules(name="Robot"), CommitRules(name="Other", email="r@example.com")], "dana")

    assert (who.name, who.email) == ("Robot", "r@example.com")


def test_a_message_names_the_task_and_what_it_was_for() -> None:
    """Without a template."""
    assert commit_message([], VALUES) == "Mend it\n\nTask t1, attempt 2, submitted by dana.\n"


def test_a_template_is_filled_once_and_trailers_follow() -> None:
    """Placeholders within a value are not filled again."""
    rules = CommitRules(message="{what} ({task})", trailers=["Co-authored-by: {name} <{email}>"])

    assert commit_message([rules], {**VALUES, "what": "{task}"}) == "{task} (t1)\n\nCo-authored-by: Dana <d@x>\n"


def test_the_purpose_is_the_name_or_the_first_line_that_says_something() -> None:
    """In one line, not longer than a subject is."""
    assert purpose("01k", "Mend it", "prompt") == "Mend it"
    assert purpose("01k", None, "\n prompt\nmore") == "prompt"
    assert purpose("01k", None, None) == "Result of task 01k"
    assert len(purpose("01k", None, "x" * 500)) == 72


@pytest.mark.parametrize("field", [{"name": "a\nb"}, {"email": "<x>"}, {"trailers": ["no trailer"]}, {"name": " "}])
def test_rules_that_git_could_not_take_are_refused(field: dict[str, object]) -> None:
    """The refusal comes when the rules are written."""
    assert list(CommitRules(**field).faults())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["r/.hidden", "HEAD", "refs/tags/x", "-f", "a..b", "a b", "a.lock", "a/", "/a", "a//b", "a@{b", "@", "a~1", "a:b",
     "a?", "a*", "a[", "a\\b", "a.", "a\x7f", "x" * 300, ""],
)  # fmt: skip
def test_names_that_git_refuses_for_a_branch_are_refused(name: str) -> None:
    """Source: git-check-ref-format(1)."""
    assert branch_fault(name)


@pytest.mark.parametrize("name", ["fix#1", "a+b", "user@host", "日本語", "refs/heads/x", "a/b.c", "{}", "a%b"])
def test_names_that_git_takes_for_a_branch_are_taken(name: str) -> None:
    """In any script."""
    assert branch_fault(name) is None
