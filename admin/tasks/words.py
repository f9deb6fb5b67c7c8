"""Sentences about tasks in the reader's language: measured values, and the time of the next attempt."""

from __future__ import annotations

from admin.site.language import gettext, marked
from admin.site.safe_text import visible
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
    "usage_name": usage_name, "retry_name": retry_name,
    "short_repository": short_repository,
}  # fmt: skip
