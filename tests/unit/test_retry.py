"""Reasons of failed attempts: which are tried again, how often, and after how long."""

from __future__ import annotations

import random

import pytest

from keruta.domain.retry import REASONS, backoff_seconds, may_retry

RETRIED = {
    "AgentFailed", "CloneFailed", "Evicted", "ImagePullFailed", "InternalError", "ModelOverloaded", "ModelRateLimited",
    "NodeLost", "PodDeleted", "PodFailed", "WorkerLost", "WorkerStopped", "WorkspaceFailed",
}  # fmt: skip


USERS = {
    "AnswerTimedOut", "SessionMissing",
    "AgentGaveUp", "BudgetExceeded", "ModelUnauthorized", "NothingChanged", "AgentOutOfMemory",
    "ArtifactsFailed", "BranchExists", "BranchRefused", "Cancelled", "CertificateRefused", "CheckFailed",
    "CheckoutRefused", "CloneAuthFailed", "CommandNotFound", "ContainerNotStarted", "CredentialMissing",
    "DeadlineExceeded", "DocumentMissing", "EndNotKnown", "HostKeyUnknown", "ImageNotRunnable", "LfsFailed",
    "MountFailed", "OutOfMemory", "OutputTooLarge", "PodRefused", "ProfileMissing", "PushFailed", "PushRefused",
    "QuotaExceeded", "RefNotFound", "RepositoryEmpty", "RepositoryMissing", "RepositoryNotFound", "ResourceDeleted",
    "ScriptFailed", "ServiceNotReady", "SetupFailed", "SpoolFull", "TransportRefused", "Unschedulable", "WorkMissing",
}  # fmt: skip


def test_every_reason_is_explained() -> None:
    """A reason that is missing here has no sentence on the pages and in the documents."""
    assert set(REASONS) == RETRIED | USERS
    assert all(reason.means.endswith(".") for reason in REASONS.values())


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_a_reason_is_tried_again_only_if_it_is_not_the_users(reason: str) -> None:
    assert may_retry(reason, policy="always", started=True, attempt=1, max_attempts=3) is (reason in RETRIED)


def test_a_reason_that_is_not_known_counts_as_the_users() -> None:
    assert not may_retry("FromANewerAgent", policy="always", started=False, attempt=1, max_attempts=3)


@pytest.mark.parametrize(
    ("policy", "started", "expected"),
    [
        ("never", False, False), ("never", True, False),
        ("if_not_started", False, True), ("if_not_started", True, False),
        ("always", False, True), ("always", True, True),
    ],
)  # fmt: skip
def test_the_policy_says_whether_a_started_script_runs_again(policy: str, started: bool, expected: bool) -> None:
    assert may_retry("WorkerLost", policy=policy, started=started, attempt=1, max_attempts=3) is expected


@pytest.mark.parametrize(("attempt", "expected"), [(1, True), (2, True), (3, False), (4, False)])
def test_the_last_attempt_is_not_followed_by_another(attempt: int, expected: bool) -> None:
    assert may_retry("WorkerLost", policy="always", started=True, attempt=attempt, max_attempts=3) is expected


@pytest.mark.parametrize(
    ("attempt", "least", "most"), [(0, 2.5, 5), (1, 2.5, 5), (2, 5, 10), (6, 80, 160), (7, 150, 300), (500, 150, 300)]
)
def test_the_wait_doubles_to_five_minutes_with_jitter(attempt: int, least: float, most: float) -> None:
    waits = [backoff_seconds(attempt, rng=random.Random(seed)) for seed in range(200)]
    assert least <= min(waits) < least * 1.05
    assert most * 0.95 < max(waits) <= most
