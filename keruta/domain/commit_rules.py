"""The identity and message of keruta's own commits: from the profile, the repository or the submitter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from keruta.domain.messages import Message, message

SUBJECT_LENGTH = 72
DEFAULT_MESSAGE = "{what}\n\nTask {task}, attempt {attempt}, submitted by {submitter}.\n"
_PLACE = re.compile(r"\{(what|task|attempt|submitter|name|email)\}")
_TRAILER = re.compile(r"[A-Za-z][A-Za-z0-9-]*: .+")
_NOT_IN_IDENTITY = re.compile(r"[\x00-\x1f\x7f<>]")


class CommitIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """The committer: Git's `user.name` and `user.email`."""

    name: str = "keruta"
    email: str = "keruta@localhost"


class CommitRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules for the commits of tasks.

    Args:
        name, email: what Git takes as `user.name` and `user.email`, for the script's commits and for keruta's own.
        message: of keruta's own commit, for what the script did not commit. {what} is the task's name, else the first
            line of its prompt, else `Result of task ID`; {task}, {attempt} and {submitter} are there too.
        trailers: lines at its end, such as `Co-authored-by: Dana <dana@example.com>`.
    """

    name: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    email: Annotated[str, Meta(min_length=1, max_length=254)] | None = None
    message: Annotated[str, Meta(min_length=1, max_length=4000)] | None = None
    trailers: Annotated[list[Annotated[str, Meta(max_length=300)]], Meta(max_length=20)] = []

    def faults(self) -> Iterator[tuple[str, Message | str]]:
        for field in ("name", "email"):
            value = getattr(self, field)
            if value is not None and (_NOT_IN_IDENTITY.search(value) or not value.strip()):
                yield f"/{field}", message("commit_identity")
        for number, trailer in enumerate(self.trailers):
            if not _TRAILER.fullmatch(trailer) or not trailer.isprintable():
                yield f"/trailers/{number}", message("commit_trailer")


def identity(rules: Iterable[CommitRules | None], submitter: str) -> CommitIdentity:
    """Return who commits: the first that the rules name, else the submitter."""
    given = [one for one in rules if one is not None]
    plain = _NOT_IN_IDENTITY.sub("", submitter).strip() or "keruta"
    address = plain if "@" in plain else f"{re.sub(r'[^A-Za-z0-9._+-]', '-', plain)}@keruta.invalid"
    return CommitIdentity(
        name=next((one.name for one in given if one.name), plain),
        email=next((one.email for one in given if one.email), address),
    )


def commit_message(rules: Iterable[CommitRules | None], values: Mapping[str, str]) -> str:
    """Return the message of keruta's own commit.

    Args:
        values: what stands for each place: what, task, attempt, submitter, name, email.
    """
    given = [one for one in rules if one is not None]
    template = next((one.message for one in given if one.message), DEFAULT_MESSAGE)
    text = _filled(template, values).rstrip()
    trailers = [_filled(one, values) for one in next((one.trailers for one in given if one.trailers), [])]
    return "\n".join([text, *([""] if trailers else []), *trailers, ""])


def purpose(task: str, name: str | None, prompt: str | None) -> str:
    """Return in one line what a task is for: its name, else its prompt's first line, else which task it is."""
    for text in (name, prompt):
        line = next((line.strip() for line in (text or "").splitlines() if line.strip()), "")
        if line:
            return line if len(line) <= SUBJECT_LENGTH else f"{line[: SUBJECT_LENGTH - 1]}…"
    return f"Result of task {task}"


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: values.get(place[1], ""), template)
