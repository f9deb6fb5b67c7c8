"""From what the cluster says of a Job and its Pod to a reason and a sentence: pure.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/,
https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

# Trying again does not help these; the others are waited for.
IMAGE_FINAL = frozenset({"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
CONFIG_TROUBLES = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
NODE_LOST = frozenset({"DeletionByTaintManager", "NodeLost"})
SCRIPT, AGENT = "script", "agent"


class PodEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended, as the cluster tells it. `lost` where nobody can say how the script did."""

    reason: str
    message: str
    exit_code: int | None = None
    lost: bool = False


def ended(pod: dict[str, Any], *, gone: bool = False) -> PodEnd | None:
    """How a Pod has ended, or None while it goes on.

    Args:
        pod: as the API gives it.
        gone: whether it is no longer there; then this is its last state.
    """
    status = pod.get("status", {})
    if not gone and status.get("phase") not in ("Succeeded", "Failed"):
        return None
    if status.get("reason") == "Evicted":
        return PodEnd(reason="Evicted", message=f"The cluster took the Pod away: {status.get('message', '')}")
    if status.get("reason") == "DeadlineExceeded":
        return PodEnd(reason="DeadlineExceeded", message="It took longer than its timeout_seconds.")
    exit_ = _terminated(status, SCRIPT)
    if exit_ is not None and exit_.get("reason") == "OOMKilled":
        message = "The script used more memory than its limit; give it more, or use less."
        return PodEnd(reason="OutOfMemory", message=message, exit_code=exit_.get("exitCode"))
    if (disruption := _disruption(status)) is not None:
        return disruption
    if pod.get("metadata", {}).get("deletionTimestamp"):
        code = exit_.get("exitCode") if exit_ else None
        return PodEnd(reason="PodDeleted", message="The Pod was deleted while the script ran.", exit_code=code)
    if exit_ is None:
        said = status.get("message") or status.get("reason") or "it did not say why"
        return PodEnd(reason="PodFailed", message=f"The Pod ended before the script did: {said}.", lost=True)
    code = exit_.get("exitCode")
    if code == 0:
        message = "The script ended well, but its agent could not tell what it left behind; look at its log."
        return PodEnd(reason="EndNotKnown", message=message, exit_code=0, lost=True)
    return PodEnd(reason="ScriptFailed", message=f"The script's container ended with exit code {code}.", exit_code=code)


def stuck(pod: dict[str, Any], *, waited_seconds: float, patience_seconds: float) -> PodEnd | None:
    """Why a Pod will not start, or None while there is hope.

    Args:
        waited_seconds: since the Job was made.
        patience_seconds: how long room, or what may still come, is waited for.
    """
    status = pod.get("status", {})
    for container in _containers(status):
        waiting = container.get("state", {}).get("waiting", {})
        reason, said = waiting.get("reason", ""), waiting.get("message", "")
        if reason in IMAGE_FINAL or (reason == "ErrImagePull" and _is_final(said)):
            message = f"The image {container['image']} could not be pulled: {said or reason}"
            return PodEnd(reason="ImagePullFailed", message=message)
        if reason in CONFIG_TROUBLES and waited_seconds > min(30, patience_seconds):
            return PodEnd(reason="PodRefused", message=f"The container {container['name']} can't be started: {said}")
    if waited_seconds <= patience_seconds:
        return None
    for condition in status.get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            message = f"No node has room for it after {waited_seconds:.0f} s: {condition.get('message', '')}"
            return PodEnd(reason="Unschedulable", message=message)
    return None


def not_made(events: Sequence[str]) -> PodEnd | None:
    """Why the cluster made no Pod for a Job, by its events; None where they say nothing."""
    said = next((event for event in reversed(events) if event.startswith("FailedCreate: ")), None)
    if said is None:
        return None
    reason = "QuotaExceeded" if "exceeded quota" in said else "PodRefused"
    return PodEnd(reason=reason, message=f"The cluster makes no Pod for it: {said.removeprefix('FailedCreate: ')}")


def _is_final(said: str) -> bool:
    return any(words in said.lower() for words in ("not found", "denied", "unauthorized", "does not exist"))


def _disruption(status: dict[str, Any]) -> PodEnd | None:
    for condition in status.get("conditions", []):
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            why = condition.get("reason", "")
            reason = "NodeLost" if why in NODE_LOST else "Evicted"
            what = "Its node was lost" if reason == "NodeLost" else "The cluster took the Pod away"
            return PodEnd(reason=reason, message=f"{what}: {condition.get('message') or why}")
    return None


def _terminated(status: dict[str, Any], name: str) -> dict[str, Any] | None:
    for container in _containers(status):
        if container["name"] == name:
            found: dict[str, Any] | None = container.get("state", {}).get("terminated")
            return found
    return None


def _containers(status: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from status.get("initContainerStatuses", [])
    yield from status.get("containerStatuses", [])
