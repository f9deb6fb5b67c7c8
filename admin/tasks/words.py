"""What is said of tasks, in the reader's language: reasons, and why one waits.

The core's own sentences are English, and stand in the database as they were said. Here is the short name of each
reason, and for the sentences of a waiting task, their shapes.
"""

from __future__ import annotations

import re

from admin.site.language import gettext, marked
from admin.site.visible import visible
from keruta.domain.task import RepositoryRef, WaitingView

REASONS = {
    "Accepted": marked("accepted by a person"),
    "ArtifactsFailed": marked("its files could not be kept"),
    "Cancelled": marked("cancelled"),
    "CheckFailed": marked("the check failed"),
    "CheckoutRefused": marked("the checkout was refused"),
    "CloneAuthFailed": marked("the repository let nobody in"),
    "CloneFailed": marked("the repository could not be cloned"),
    "CommandNotFound": marked("the command was not found"),
    "CredentialMissing": marked("a credential is missing"),
    "DeadlineExceeded": marked("the time was up"),
    "DocumentMissing": marked("a document is missing"),
    "EndNotKnown": marked("its end is not known"),
    "Evicted": marked("evicted from its node"),
    "HostKeyUnknown": marked("the server's key is not known"),
    "ImagePullFailed": marked("the image could not be had"),
    "InternalError": marked("something went wrong in keruta"),
    "LfsFailed": marked("large files could not be fetched"),
    "NodeLost": marked("its node was lost"),
    "OutOfMemory": marked("out of memory"),
    "OutputTooLarge": marked("the outputs are too large"),
    "PodDeleted": marked("its Pod was deleted"),
    "PodFailed": marked("its Pod failed"),
    "PodRefused": marked("the cluster refused its Pod"),
    "ProfileMissing": marked("the profile is missing"),
    "PushFailed": marked("the result could not be pushed"),
    "PushRefused": marked("the push was refused"),
    "QuotaExceeded": marked("a quota is used up"),
    "RefNotFound": marked("no such branch, tag or commit"),
    "RepositoryEmpty": marked("the repository is empty"),
    "RepositoryMissing": marked("the repository is missing"),
    "RepositoryNotFound": marked("the repository was not found"),
    "ResourceDeleted": marked("what it needs was deleted"),
    "ScriptFailed": marked("the script failed"),
    "SetupFailed": marked("the set-up failed"),
    "SpoolFull": marked("the worker's disk was full"),
    "TransportRefused": marked("this kind of address is not allowed"),
    "Unschedulable": marked("no node has room for it"),
    "WorkerLost": marked("its worker was lost"),
    "WorkerStopped": marked("its worker was stopped"),
    "WorkspaceFailed": marked("there was no workspace for it"),
}
_USAGE = {
    "input_tokens": marked("tokens in:"),
    "output_tokens": marked("tokens out:"),
    "cost_usd": marked("US dollars:"),
}
RETRIES = {
    "never": marked("it is not tried again"),
    "if_not_started": marked("it is tried again if its script had not begun"),
    "always": marked("it is tried again in any case"),
}
# The shape of each sentence that says why a task waits, and what it is in the reader's language.
_WAITING = (
    (r"It waits for word from its worker, or for a person to decide\.",
     marked("It waits for word from its worker, or for a person to decide.")),
    (r"No worker is there; start one, or see why it does not register\.",
     marked("No worker is there; start one, or see why it does not register.")),
    (r"Every worker is being drained; none takes new tasks\.",
     marked("Every worker is being drained; none takes new tasks.")),
    (r"All (?P<slots>\d+) slots of (?P<workers>\d+) workers are taken, or are about to be given out\.",
     marked("All %(slots)s slots of %(workers)s workers are taken, or are about to be given out.")),
    (r"The queue (?P<queue>\S+) is paused by (?P<by>.+?): (?P<why>.*)",
     marked("The queue %(queue)s is paused by %(by)s: %(why)s")),
    (r"Its queue runs (?P<limit>\d+) tasks at once, and \d+ are running\.",
     marked("Its queue runs %(limit)s tasks at once, and so many are running.")),
    (r"Its repository runs (?P<limit>\d+) tasks at once, and \d+ are running\.",
     marked("Its repository runs %(limit)s tasks at once, and so many are running.")),
    (r"The last attempt failed \((?P<reason>\w+)\); it is tried again at (?P<at>.+)\.",
     marked("The last attempt failed (%(reason)s); it is tried again at %(at)s.")),
    (r"The last attempt may still be at work; the next one starts when it is seen gone\.",
     marked("The last attempt may still be at work; the next one starts when it is seen gone.")),
    (r"It is about to be assigned\.", marked("It is about to be assigned.")),
    (r"The (?:queue|repository|profile) (?P<name>\S+) failed (?P<times>\d+) times in a row \((?P<reason>\w+)\): .*",
     marked("%(name)s failed %(times)s times in a row (%(reason)s). One task is let through now and then to try; mend "
            "it and close the circuit to go on.")),
)  # fmt: skip


def reason_name(reason: str) -> str:
    return gettext(REASONS[reason]) if reason in REASONS else reason


def usage_name(measure: str) -> str:
    return gettext(_USAGE[measure]) if measure in _USAGE else measure


def retry_name(policy: str) -> str:
    return gettext(RETRIES[policy])


def waiting_said(waiting: WaitingView) -> str:
    """Why a task waits; a sentence whose shape is not known stays as it is."""
    for shape, text in _WAITING:
        found = re.fullmatch(shape, waiting.why, re.DOTALL)
        if found is not None:
            values = found.groupdict()
            if "reason" in values:
                values["reason"] = reason_name(values["reason"])
            return gettext(text, **{name: visible(value) for name, value in values.items()})
    return waiting.why


def short_repository(repository: RepositoryRef) -> str:
    """Its name, or the end of its address."""
    if repository.name is not None:
        return repository.name
    return visible("/".join(repository.url.removesuffix("/").removesuffix(".git").split("/")[-2:]))


GLOBALS = {
    "reason_name": reason_name, "usage_name": usage_name, "retry_name": retry_name, "waiting_said": waiting_said,
    "short_repository": short_repository,
}  # fmt: skip
