"""Why a task or an attempt ended as it did: the short name of each reason, in the reader's language."""

from __future__ import annotations

from admin.site.language import gettext, marked

REASONS = {
    "Accepted": marked("accepted by a person"),
    "AgentFailed": marked("keruta's agent beside it failed"),
    "ArtifactsFailed": marked("its files could not be kept"),
    "Cancelled": marked("cancelled"),
    "CheckFailed": marked("the check failed"),
    "CheckoutRefused": marked("the checkout was refused"),
    "CloneAuthFailed": marked("the repository let nobody in"),
    "CloneFailed": marked("the repository could not be cloned"),
    "CommandNotFound": marked("the command was not found"),
    "ContainerNotStarted": marked("its containers did not start"),
    "CredentialMissing": marked("a credential is missing"),
    "DeadlineExceeded": marked("the time was up"),
    "DocumentMissing": marked("a document is missing"),
    "EndNotKnown": marked("its end is not known"),
    "Evicted": marked("evicted from its node"),
    "HostKeyUnknown": marked("the server's key is not known"),
    "CertificateRefused": marked("the server's certificate is not trusted"),
    "ImagePullFailed": marked("the image could not be had"),
    "ImageNotRunnable": marked("the image can't run a script"),
    "InternalError": marked("something went wrong in keruta"),
    "LfsFailed": marked("large files could not be fetched"),
    "MountFailed": marked("a volume or Secret could not be mounted"),
    "NodeLost": marked("its node was lost"),
    "OutOfMemory": marked("out of memory"),
    "OutputTooLarge": marked("the outputs are too large"),
    "PodDeleted": marked("its Pod was deleted"),
    "PodFailed": marked("its Pod failed"),
    "PodRefused": marked("the cluster refused its Pod"),
    "ProfileMissing": marked("the profile is missing"),
    "PushFailed": marked("the result could not be pushed"),
    "BranchExists": marked("the result branch exists"),
    "BranchRefused": marked("the result branch was refused"),
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


def reason_name(reason: str) -> str:
    return gettext(REASONS[reason]) if reason in REASONS else reason


GLOBALS = {"reason_name": reason_name}
