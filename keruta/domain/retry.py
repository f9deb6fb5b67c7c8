"""Reasons of failed attempts, and which of them are tried again.

Ours (the forge was away, the worker was lost) is tried again with backoff and jitter; the user's script is not.
"""

from __future__ import annotations

import random

import msgspec

BACKOFF_FIRST_SECONDS = 5.0
BACKOFF_MOST_SECONDS = 300.0


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """A way to fail: whether another attempt may help, and what a person is told."""

    retried: bool
    means: str


REASONS: dict[str, Reason] = {
    # the user's own
    "ScriptFailed": Reason(retried=False, means="The script ended with an exit code other than 0, or by a signal."),
    "CheckFailed": Reason(retried=False, means="The script ended well and the check that follows it did not."),
    "SetupFailed": Reason(retried=False, means="A set-up command of the repository or profile ended badly."),
    "DeadlineExceeded": Reason(retried=False, means="The attempt took longer than its timeout_seconds."),
    "OutOfMemory": Reason(retried=False, means="The script used more memory than it may."),
    "OutputTooLarge": Reason(retried=False, means="The script wrote more output than it may."),
    "CommandNotFound": Reason(retried=False, means="The command cannot be started: it is not there or not executable."),
    "Cancelled": Reason(retried=False, means="A person cancelled it."),
    # the coding agent's and its model's
    "AnswerTimedOut": Reason(retried=False, means="Nobody answered the question of a suspended task in time."),
    "SessionMissing": Reason(
        retried=False, means="The coding agent's stored session is not kept any more, or can't be read."
    ),
    "ModelUnauthorized": Reason(retried=False, means="The model's server refused the key."),
    "ModelRateLimited": Reason(retried=True, means="The model's server accepts no more requests for now."),
    "ModelOverloaded": Reason(retried=True, means="The model's server is overloaded, failing or out of reach."),
    "BudgetExceeded": Reason(retried=False, means="The turns, tokens or money that the task may use are used up."),
    "AgentGaveUp": Reason(retried=False, means="The coding agent did not do what it was asked for, by its own word."),
    "NothingChanged": Reason(
        retried=False, means="The coding agent changed nothing, and the profile calls for a change."
    ),
    # the repository's
    "CloneAuthFailed": Reason(retried=False, means="The Git server refused the credentials."),
    "RepositoryNotFound": Reason(
        retried=False, means="There is no such repository, or these credentials can't see it."
    ),
    "RefNotFound": Reason(retried=False, means="The repository has no such branch, tag or commit."),
    "RepositoryEmpty": Reason(retried=False, means="The repository has no commit."),
    "HostKeyUnknown": Reason(retried=False, means="The ssh server's key is not among the known hosts."),
    "CertificateRefused": Reason(retried=False, means="The Git server's certificate is not trusted."),
    "TransportRefused": Reason(retried=False, means="The repository's URL uses a transport that is not allowed."),
    "CheckoutRefused": Reason(retried=False, means="The repository's content tries to leave the workspace."),
    "PushRefused": Reason(retried=False, means="The Git server refused the push credential."),
    "BranchExists": Reason(retried=False, means="The result branch exists already, and the task does not replace it."),
    "BranchRefused": Reason(retried=False, means="The Git server refused the result branch: its name or its content."),
    "WorkMissing": Reason(retried=False, means="The work that was to be pushed is no longer kept, or can't be read."),
    "LfsFailed": Reason(retried=False, means="The files that Git LFS keeps could not be fetched."),
    # what the task draws on
    "ResourceDeleted": Reason(retried=False, means="What the task draws on was deleted while it waited."),
    "RepositoryMissing": Reason(retried=False, means="The catalog has no repository of that name any more."),
    "ProfileMissing": Reason(retried=False, means="The catalog has no profile of that name any more."),
    "DocumentMissing": Reason(retried=False, means="A document's version is not there any more."),
    "CredentialMissing": Reason(retried=False, means="A credential is not there, or can't be opened here."),
    # ours: another attempt may help
    "CloneFailed": Reason(retried=True, means="The Git server could not be reached or broke off."),
    "PushFailed": Reason(retried=False, means="The result branch could not be pushed."),
    "ArtifactsFailed": Reason(retried=False, means="What the script left behind could not be stored."),
    "WorkspaceFailed": Reason(retried=True, means="The workspace could not be made: no disk, no inodes, no rights."),
    "SpoolFull": Reason(retried=False, means="The worker's disk was full while the script ran."),
    "WorkerLost": Reason(retried=True, means="The worker was lost before the script had started."),
    "EndNotKnown": Reason(retried=False, means="The script was started and no word of its end came."),
    "WorkerStopped": Reason(retried=True, means="The worker was shut down, and the attempt with it."),
    "ImagePullFailed": Reason(retried=True, means="The image could not be pulled."),
    "Evicted": Reason(retried=True, means="The cluster took the Pod away."),
    "NodeLost": Reason(retried=True, means="The node that the Pod ran on was lost."),
    "PodDeleted": Reason(retried=True, means="Somebody deleted the Pod or its Job."),
    "PodFailed": Reason(retried=True, means="The Pod ended before the script did."),
    "PodRefused": Reason(retried=False, means="The cluster would not make the Pod."),
    "ImageNotRunnable": Reason(
        retried=False, means="The image can't run a script: no shell, or another processor architecture."
    ),
    "MountFailed": Reason(
        retried=False, means="A volume, Secret or ConfigMap that the Pod needs is not there or can't be mounted."
    ),
    "ServiceNotReady": Reason(retried=False, means="A service beside the script did not become ready."),
    "ContainerNotStarted": Reason(retried=False, means="The cluster could not start the Pod's containers."),
    "AgentFailed": Reason(retried=True, means="keruta's agent beside the script ended again and again."),
    "AgentOutOfMemory": Reason(
        retried=False,
        means="Git, or keruta's agent beside a script, used more memory than it may: raise agent_memory.",
    ),
    "QuotaExceeded": Reason(retried=False, means="The namespace's quota has no room for the Pod."),
    "Unschedulable": Reason(retried=False, means="No node has room for the Pod, or none is as its profile asks."),
    "InternalError": Reason(retried=True, means="A fault in keruta itself; the worker's log tells more."),
}

# Of these an attempt is resumed, where its coding agent's session is stored: whatever was done is not done again.
RESUMED = frozenset({"ModelRateLimited", "ModelOverloaded"})

POLICIES = ("never", "if_not_started", "always")


def may_retry(reason: str, *, policy: str, started: bool, attempt: int, max_attempts: int) -> bool:
    """Says whether a failed attempt is followed by another of its own accord.

    Args:
        reason: a key of `REASONS`; one that is not there is taken as the user's own.
        policy: the task's `retry.policy`.
        started: whether the script's start is on record.
        attempt: the number of the attempt that failed, from 1.
        max_attempts: how many attempts there may be in all.
    """
    known = REASONS.get(reason)
    if known is None or not known.retried or attempt >= max_attempts or policy == "never":
        return False
    return not started or policy == "always"


def backoff_seconds(attempt: int, *, rng: random.Random) -> float:
    """Returns how long to wait before the next attempt: doubling from 5 s to 300 s, with full jitter above a half."""
    ceiling = min(BACKOFF_MOST_SECONDS, BACKOFF_FIRST_SECONDS * 2 ** max(0, min(attempt - 1, 16)))
    return float(ceiling * (0.5 + rng.random() / 2))
