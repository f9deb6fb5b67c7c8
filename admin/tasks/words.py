"""What is said of tasks, in the reader's language: the short name of each reason, and of what is measured."""

from __future__ import annotations

from admin.site.language import gettext, marked
from admin.site.visible import visible
from keruta.domain.task import RepositoryRef

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


def reason_name(reason: str) -> str:
    return gettext(REASONS[reason]) if reason in REASONS else reason


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
    "reason_name": reason_name, "usage_name": usage_name, "retry_name": retry_name,
    "short_repository": short_repository,
}  # fmt: skip
