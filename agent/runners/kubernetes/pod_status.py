"""Reasons and sentences for what the cluster says of a Job and its Pod: pure.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/,
https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from keruta.domain.messages import Message, message

# Trying again does not help these; the others are waited for.
IMAGE_FINAL = frozenset({"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
CONFIG_TROUBLES = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
NODE_LOST = frozenset({"DeletionByTaintManager", "NodeLost"})
MOUNT_EVENTS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
# The runtime could not start the container's first process (containerd, CRI-O).
NOT_STARTED_REASONS = frozenset({"StartError", "ContainerCannotRun"})
TROUBLE_SECONDS = 30.0  # as long as the cluster may mend by itself what a container lacks
SCRIPT, CHECK, AGENT = "script", "check", "agent"
SERVICE = "service-"  # so begin the names of containers of services beside the script
# A startup probe is asked of a container that runs: a busy node tells so in an event before it does in the status.
PROGRESS = ("Scheduled", "Pulled", "Created", "Started", "Unhealthy: Startup probe")
SLOW_NODE = 4  # so many times the patience for a node that starts many Pods at once


class PodEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an attempt by the Pod's status. `lost`: nobody knows how the script ended."""

    reason: str
    message: Message
    exit_code: int | None = None
    lost: bool = False


def ended(pod: dict[str, Any], *, gone: bool = False) -> PodEnd | None:
    """Return how a Pod has ended, or None while it goes on.

    Args:
        pod: as the API gives it.
        gone: whether it is no longer there; then this is its last state.
    """
    status = pod.get("status", {})
    if not gone and status.get("phase") not in ("Succeeded", "Failed"):
        return _on_lost_node(pod)
    if status.get("reason") == "Evicted":
        return PodEnd(reason="Evicted", message=message("cluster_evicted", message=status.get("message", "")))
    if status.get("reason") == "DeadlineExceeded":
        return PodEnd(reason="DeadlineExceeded", message=message("cluster_timeout"))
    if (killed := _out_of_memory(status)) is not None:
        return killed
    if (disruption := _disruption(status)) is not None:
        return disruption
    exit_ = terminated(pod, SCRIPT)
    if pod.get("metadata", {}).get("deletionTimestamp"):
        code = exit_.get("exitCode") if exit_ else None
        return PodEnd(reason="PodDeleted", message=message("cluster_pod_deleted"), exit_code=code)
    if exit_ is None:
        said = status.get("message") or status.get("reason") or message("cluster_gave_no_reason")
        return PodEnd(reason="PodFailed", message=message("cluster_pod_ended", cause=said), lost=True)
    return _exited(exit_, terminated(pod, CHECK))


def _on_lost_node(pod: dict[str, Any]) -> PodEnd | None:
    """Return the end of a Pod that was given up because its node does not answer, or None where it goes on.

    Nobody confirms such a deletion: the Pod stays as it was until the node is back, or is taken out of the cluster. Its
    script may still be at work there.
    """
    if not pod.get("metadata", {}).get("deletionTimestamp"):
        return None
    disruption = _disruption(pod.get("status", {}))
    if disruption is None or disruption.reason != "NodeLost":
        return None
    return msgspec.structs.replace(disruption, lost=True)


def _exited(script: dict[str, Any], check: dict[str, Any] | None) -> PodEnd:
    """Return how the script ended by its containers' exit codes, where its agent could not tell."""
    code = script.get("exitCode")
    if code != 0:
        told = message("cluster_script_failed", code="?" if code is None else code)
        return PodEnd(reason="ScriptFailed", message=told, exit_code=code)
    checked = check.get("exitCode") if check is not None else 0
    if checked != 0:
        told = message("cluster_check_failed", code=checked if checked is not None else "?")
        return PodEnd(reason="CheckFailed", message=told, exit_code=checked)
    told = message("cluster_end_unknown")
    return PodEnd(reason="EndNotKnown", message=told, exit_code=0, lost=True)


def job_failed(job: dict[str, Any] | None, *, started: bool) -> PodEnd | None:
    """Return why the cluster gave a Job up by the Job's own settings, or None while it has not.

    A Job that reaches its deadline has its Pod deleted: without the Job's word that looks like somebody's deed.
    """
    for condition in (job or {}).get("status", {}).get("conditions", []):
        if condition["type"] not in ("Failed", "FailureTarget") or condition["status"] != "True":
            continue
        if condition.get("reason") == "DeadlineExceeded":
            seconds = (job or {}).get("spec", {}).get("activeDeadlineSeconds")
            told = message("cluster_deadline_before_start", seconds=seconds)
            if started:
                told = message("cluster_deadline", seconds=seconds)
            return PodEnd(reason="DeadlineExceeded", message=told)
        if condition.get("reason") != "BackoffLimitExceeded":  # that one says what the Pod's own status says better
            return PodEnd(
                reason="PodFailed", message=message("cluster_job_failed", message=condition.get("message") or "")
            )
    return None


def stuck(
    pod: dict[str, Any], *, waited_seconds: float, patience_seconds: float, events: Sequence[str] = ()
) -> PodEnd | None:
    """Return why a Pod will not start its script, or None while there is hope.

    Args:
        waited_seconds: since the Job was made.
        patience_seconds: how long room, or what may still come, is waited for.
        events: what the cluster said of the Pod, newest last, as `Reason: message`.
    """
    status = pod.get("status", {})
    if pod.get("metadata", {}).get("deletionTimestamp"):
        return None  # its containers end because it goes
    if (broken := _not_runnable(status)) is not None:
        return broken
    if (failed := _failed_service(status)) is not None:
        return failed
    for container in _containers(status):
        if (trouble := _container_trouble(container, waited_seconds, patience_seconds)) is not None:
            return trouble
    if waited_seconds <= patience_seconds:
        return None
    for condition in status.get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return PodEnd(reason="Unschedulable", message=_no_room(pod, condition, waited_seconds))
    starting_seconds = waited_seconds - _scheduled_after_seconds(pod)
    patient = starting_seconds <= patience_seconds * (SLOW_NODE if _goes_on(events) else 1)
    return None if patient else _waits_for_ever(pod, events, starting_seconds)


def _no_room(pod: dict[str, Any], condition: dict[str, Any], waited_seconds: float) -> Message:
    """Return the scheduler's sentence, and what the Pod asks of its node: the scheduler names taints, but no labels."""
    seconds, said = round(waited_seconds), condition.get("message", "")
    if wishes := ", ".join(_node_wishes(pod.get("spec", {}))):
        return message("cluster_no_room_for", seconds=seconds, message=said, wishes=wishes)
    return message("cluster_no_room", seconds=seconds, message=said)


def _node_wishes(spec: dict[str, Any]) -> Iterator[str]:
    for label, value in spec.get("nodeSelector", {}).items():
        yield f"{label}={value}"
    affinity = spec.get("affinity", {}).get("nodeAffinity", {})
    for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", []):
        for one in term.get("matchExpressions", []):
            yield " ".join([one["key"], one["operator"], *one.get("values", [])])


def _goes_on(events: Sequence[str]) -> bool:
    """Say whether the node still worked on the Pod at its last report, and nothing had failed."""
    return bool(events) and events[-1].startswith(PROGRESS) and not any(e.startswith("Failed") for e in events)


def _scheduled_after_seconds(pod: dict[str, Any]) -> float:
    """Return how long the Pod waited for a node; the start of its containers is another wait."""
    made = pod.get("metadata", {}).get("creationTimestamp")
    for condition in pod.get("status", {}).get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "True" and made:
            at = datetime.fromisoformat(condition["lastTransitionTime"])
            return max(0.0, (at - datetime.fromisoformat(made)).total_seconds())
    return 0.0


def awaits_containers(pod: dict[str, Any]) -> bool:
    """Return whether the script's container is not running yet, so that the Pod's events may say why."""
    for container in _containers(pod.get("status", {})):
        if container["name"] == SCRIPT:
            return "waiting" in container.get("state", {})
    return bool(pod.get("status", {}).get("phase") == "Pending")


def not_made(events: Sequence[str]) -> PodEnd | None:
    """Return why the cluster made no Pod for a Job, by its events; None where they say nothing."""
    said = next((event for event in reversed(events) if event.startswith("FailedCreate: ")), None)
    if said is None:
        return None
    reason = "QuotaExceeded" if "exceeded quota" in said else "PodRefused"
    return PodEnd(reason=reason, message=message("cluster_no_pod", error=said.removeprefix("FailedCreate: ")))


def terminated(pod: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return how a container of a Pod ended, as the API gives it, or None while it has not."""
    for container in _containers(pod.get("status", {})):
        if container["name"] == name:
            found: dict[str, Any] | None = container.get("state", {}).get("terminated")
            return found
    return None


def script_image_id(pod: dict[str, Any]) -> str | None:
    """Return what the script's image was resolved to on its node; None while its container is not there."""
    for container in _containers(pod.get("status", {})):
        if container["name"] == SCRIPT:
            return container.get("imageID") or None
    return None


def ended_before_check(pod: dict[str, Any]) -> int | None:
    """Return the exit code of the script's container, where it has ended and a check waits for that; else None.

    A container's end is the end of all its processes. Of a Pod that is going no check begins.
    """
    status = pod.get("status", {})
    has_check = any(container["name"] == CHECK for container in pod.get("spec", {}).get("containers", []))
    if not has_check or pod.get("metadata", {}).get("deletionTimestamp") or _disruption(status) is not None:
        return None
    exit_ = terminated(pod, SCRIPT)
    code = exit_.get("exitCode") if exit_ is not None and terminated(pod, CHECK) is None else None
    return code if isinstance(code, int) else None


# ---------------------------------------------------------------- before the script


def _not_runnable(status: dict[str, Any]) -> PodEnd | None:
    """Return why the script's image can't run a script; asked of a Pod whose script has not been let start.

    Its container only waits then: one that has ended could not run its shell, or its shell could not wait.
    """
    for container in _containers(status):
        exit_ = container.get("state", {}).get("terminated")
        if container["name"] not in (SCRIPT, CHECK) or exit_ is None:
            continue
        code = exit_.get("exitCode")
        if code == 0 and exit_.get("reason") not in NOT_STARTED_REASONS:
            continue  # its agent told it not to start
        said = " ".join((exit_.get("message") or "").split())[:500]
        return PodEnd(reason="ImageNotRunnable", message=_why_not(container["image"], said, code), exit_code=code)
    return None


def _failed_service(status: dict[str, Any]) -> PodEnd | None:
    """Return why a service beside the script is not ready; one that had to be started again counts as failed."""
    for container in status.get("initContainerStatuses", []):
        if not container["name"].startswith(SERVICE) or container.get("started") or not container.get("restartCount"):
            continue
        exit_ = container.get("lastState", {}).get("terminated") or {}
        said = " ".join((exit_.get("message") or "").split())[:500]
        if not said:
            said = f"{exit_.get('reason') or 'Error'}, exit code {exit_.get('exitCode', '?')}"
        name = container["name"].removeprefix(SERVICE)
        return PodEnd(reason="ServiceNotReady", message=message("cluster_service_failed", name=name, message=said))
    return None


def _why_not(image: str, said: str, code: Any) -> Message:
    lower = said.lower()
    if "exec format error" in lower:
        told = message("cluster_image_architecture", image=image, message=said)
    elif "no such file or directory" in lower or "executable file not found" in lower:
        told = message("cluster_image_no_shell", image=image, message=said)
    elif said:
        told = message("cluster_shell_failed", image=image, code=code, message=said)
    else:
        told = message("cluster_shell_failed_silently", image=image, code=code)
    return told


def _container_trouble(container: dict[str, Any], waited: float, patience: float) -> PodEnd | None:
    waiting = container.get("state", {}).get("waiting", {})
    ended_by = container.get("lastState", {}).get("terminated", {}).get("reason")
    if container["name"] == AGENT and ended_by == "OOMKilled":  # started again, it would need as much again
        return PodEnd(reason="AgentOutOfMemory", message=message("cluster_agent_out_of_memory"))
    reason, said = waiting.get("reason", ""), waiting.get("message", "")
    if "no match for platform" in said:
        told = message("cluster_image_no_platform", image=container["image"], message=said)
        return PodEnd(reason="ImageNotRunnable", message=told)
    if reason in IMAGE_FINAL or (reason == "ErrImagePull" and _is_final(said)):
        told = message("cluster_image_failed", image=container["image"], error=said or reason)
        return PodEnd(reason="ImagePullFailed", message=told)
    if waited <= min(TROUBLE_SECONDS, patience):
        return None
    if reason in CONFIG_TROUBLES:
        told = message("cluster_container_failed", name=container["name"], error=said or reason)
        return PodEnd(reason="ContainerNotStarted", message=told)
    if reason == "CrashLoopBackOff" and container["name"] == AGENT:
        before = container.get("lastState", {}).get("terminated", {})
        why = before.get("message") or before.get("reason") or said
        told = message("cluster_agent_failed", code=before.get("exitCode", "?"), message=why)
        return PodEnd(reason="AgentFailed", message=told)
    return None


def _waits_for_ever(pod: dict[str, Any], events: Sequence[str], waited: float) -> PodEnd | None:
    """Return why the containers of a Pod that has a node do not begin; a pull that goes on is waited for."""
    status, node = pod.get("status", {}), pod.get("spec", {}).get("nodeName")
    if (
        node and "startTime" not in status and "containerStatuses" not in status
    ):  # its kubelet has never looked at the Pod
        return PodEnd(reason="NodeLost", message=message("cluster_node_silent", node=node, seconds=round(waited)))
    if not awaits_containers({"status": status}) or _agent_runs(status):
        return None
    troubles = [event for event in events if event.startswith("Failed")]
    mount = next((event for event in reversed(troubles) if event.startswith(MOUNT_EVENTS)), None)
    if mount is not None:
        said = mount.partition(": ")[2]
        told = message("cluster_mount_failed", seconds=round(waited), message=said)
        return PodEnd(reason="MountFailed", message=told)
    if events and events[-1].startswith("Pulling"):
        return None
    last = troubles[-1] if troubles else events[-1] if events else message("cluster_said_nothing")
    told = message("cluster_not_started", seconds=round(waited), message=last)
    return PodEnd(reason="ContainerNotStarted", message=told)


def _agent_runs(status: dict[str, Any]) -> bool:
    """Return whether the agent has started: it prepares the attempt, and its startup probe has a limit of its own."""
    return any("running" in one.get("state", {}) for one in _containers(status) if one["name"] == AGENT)


def _is_final(said: str) -> bool:
    return any(words in said.lower() for words in ("not found", "denied", "unauthorized", "does not exist"))


# ---------------------------------------------------------------- after its end


def _out_of_memory(status: dict[str, Any]) -> PodEnd | None:
    for name in (SCRIPT, CHECK):
        exit_ = terminated({"status": status}, name)
        if exit_ is None or exit_.get("reason") != "OOMKilled":
            continue
        told = message("script_out_of_memory")
        if name == CHECK:
            told = message("cluster_check_out_of_memory")
        return PodEnd(reason="OutOfMemory", message=told, exit_code=exit_.get("exitCode"))
    return None


def _disruption(status: dict[str, Any]) -> PodEnd | None:
    for condition in status.get("conditions", []):
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            why = condition.get("reason", "")
            reason = "NodeLost" if why in NODE_LOST else "Evicted"
            said = condition.get("message") or why
            lost = reason == "NodeLost"
            told = message("cluster_node_lost", message=said) if lost else message("cluster_evicted", message=said)
            return PodEnd(reason=reason, message=told)
    return None


def _containers(status: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from status.get("initContainerStatuses", [])
    yield from status.get("containerStatuses", [])
