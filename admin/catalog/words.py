"""Translated names of the catalog's kinds."""

from __future__ import annotations

from admin.site.language import gettext, marked
from keruta.domain.catalog.kinds import Kind

_MANY = {
    "repository": marked("Repositories"), "credential": marked("Credentials"), "document": marked("Documents"),
    "profile": marked("Profiles"), "queue": marked("Queues"),
}  # fmt: skip
_NEW = {
    "repository": marked("New repository"), "credential": marked("New credential"), "document": marked("New document"),
    "profile": marked("New profile"), "queue": marked("New queue"),
}  # fmt: skip
_WHAT = {
    "repository": marked("Where tasks work: a Git repository with a short name, who opens it, and how its tasks run."),
    "credential": marked("What opens a Git server, or a value that scripts ask for. Values go in and never come out."),
    "document": marked("Texts that tasks are given to read, each version kept."),
    "profile": marked("How a job runs: its image, its resources, its coding agent."),
    "queue": marked("Where tasks wait, and how many of them run at once."),
}  # fmt: skip


def kind_many(kind: Kind) -> str:
    return gettext(_MANY[kind.name])


def kind_new(kind: Kind) -> str:
    return gettext(_NEW[kind.name])


def kind_what(kind: Kind) -> str:
    return gettext(_WHAT[kind.name])


GLOBALS = {"kind_many": kind_many, "kind_new": kind_new, "kind_what": kind_what}
