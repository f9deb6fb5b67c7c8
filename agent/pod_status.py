"""From what the cluster says of a Pod to a reason and a sentence: pure.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

IMAGE_TROUBLES = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})


@dataclass(frozen=True, kw_only=True)
class PodEnd:
    """How a Pod's script ended, as the cluster tells it."""

    reason: str
    message: str
    exit_code: int | None = None


def how_it_ended(pod: dict[str, Any]) -> PodEnd | None:
    """What the cluster says, or None while it says nothing final.

    Args:
        pod: the Pod, as the API gives it.
    """
    status = pod.get("status", {})
    if status.get("reason") == "Evicted":
        return PodEnd(reason="Evicted", message=f"The cluster took the Pod away: {status.get('message', '')}")
    if status.get("reason") == "DeadlineExceeded":
        return PodEnd(reason="DeadlineExceeded", message="It took longer than its timeout_seconds.")
    for container in _containers(status):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") in IMAGE_TROUBLES:
            said = waiting.get("message") or waiting["reason"]
            return PodEnd(
                reason="ImagePullFailed", message=f"The image {container['image']} could not be pulled: {said}"
            )
    script = next((c for c in status.get("containerStatuses", []) if c["name"] == "script"), None)
    ended = (script or {}).get("state", {}).get("terminated")
    if ended is None:
        return None
    code = ended.get("exitCode")
    if ended.get("reason") == "OOMKilled":
        return PodEnd(reason="OutOfMemory", message="The script used more memory than its limit.", exit_code=code)
    return PodEnd(reason="ScriptFailed", message=f"The script's container ended with exit code {code}.", exit_code=code)


def _containers(status: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from status.get("initContainerStatuses", [])
    yield from status.get("containerStatuses", [])
