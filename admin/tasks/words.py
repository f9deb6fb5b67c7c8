"""Sentences about tasks in the reader's language: measured values, and the time of the next attempt."""

from __future__ import annotations

from admin.site.language import gettext, marked
from admin.site.safe_text import visible
from keruta.domain.forge_reports import PostView
from keruta.domain.task import RepositoryRef

_USAGE = {
    "input_tokens": marked("tokens in:"),
    "output_tokens": marked("tokens out:"),
    "cache_read_tokens": marked("tokens from the cache:"),
    "cache_write_tokens": marked("tokens into the cache:"),
    "turns": marked("turns:"),
    "cost_usd": marked("US dollars:"),
}
RETRIES = {
    "never": marked("it is not tried again"),
    "if_not_started": marked("it is tried again if its script had not begun"),
    "always": marked("it is tried again in any case"),
}


_POSTS = {
    "status": marked("status of the commit"), "comment": marked("comment"), "pull_request": marked("pull request"),
}  # fmt: skip
_POST_STATES = {
    "waiting": marked("is tried again"), "sent": marked("told"), "failed": marked("given up"),
    "superseded": marked("a newer task speaks of it"),
}  # fmt: skip


def post_name(post: PostView) -> str:
    return gettext(_POSTS[post.kind])


def post_state(post: PostView) -> str:
    return gettext(_POST_STATES[post.state])


_TESTS = {
    "failed": marked("failed"), "error": marked("error"), "skipped": marked("skipped"), "passed": marked("passed"),
}  # fmt: skip


def test_outcome(outcome: str) -> str:
    return gettext(_TESTS[outcome])


def usage_name(measure: str) -> str:
    return gettext(_USAGE[measure]) if measure in _USAGE else measure


def retry_name(policy: str) -> str:
    return gettext(RETRIES[policy])


def short_repository(repository: RepositoryRef) -> str:
    """Its name, or the end of its address."""
    if repository.name is not None:
        return repository.name
    return visible("/".join(repository.url.removesuffix("/").removesuffix(".git").split("/")[-2:]))


GLOBALS = {
    "post_name": post_name, "post_state": post_state, "usage_name": usage_name, "retry_name": retry_name,
    "short_repository": short_repository, "test_outcome": test_outcome,
}  # fmt: skip
