"""Translated names of the catalog's kinds."""

from __future__ import annotations

from admin.site.language import gettext, marked
from keruta.domain.catalog.kinds import Kind

_MANY = {
    "repository": marked("Repositories"), "credential": marked("Credentials"), "document": marked("Documents"),
    "profile": marked("Profiles"), "queue": marked("Queues"), "forge": marked("Forges"), "trigger": marked("Triggers"),
    "template": marked("Templates"), "service_account": marked("Service accounts"),
}  # fmt: skip
_NEW = {
    "repository": marked("New repository"), "credential": marked("New credential"), "document": marked("New document"),
    "profile": marked("New profile"), "queue": marked("New queue"), "forge": marked("New forge"),
    "trigger": marked("New trigger"), "template": marked("New template"),
    "service_account": marked("New service account"),
}  # fmt: skip
_WHAT = {
    "repository": marked("Git repositories that tasks run on: short name, credentials, and how tasks run there."),
    "credential": marked("Keys and tokens for Git servers, and secrets for scripts. Stored values are never shown."),
    "document": marked("Texts that tasks can read. Every version is kept."),
    "profile": marked("How attempts run: image, resources and coding agent."),
    "queue": marked("Tasks wait in queues. Each queue limits how many of its tasks run at once."),
    "forge": marked("Where repositories, pull requests and webhooks are, and what keruta signs in with there."),
    "template": marked("Saved tasks with parameters, to run by a form."),
    "service_account": marked("What triggers run as, in place of the person who saved them."),
    "trigger": marked("Which events of a forge, or which times, start a task, and which task that is."),
}  # fmt: skip


def kind_many(kind: Kind) -> str:
    return gettext(_MANY[kind.name])


def kind_new(kind: Kind) -> str:
    return gettext(_NEW[kind.name])


def kind_what(kind: Kind) -> str:
    return gettext(_WHAT[kind.name])


GLOBALS = {"kind_many": kind_many, "kind_new": kind_new, "kind_what": kind_what}
