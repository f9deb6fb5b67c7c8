"""One attempt whose script runs in a Pod: its Job is made, watched, and, where its own agent can't, its end is told.

The Pod's agent makes the attempt. The worker holds the lease until the script's start is on record; from then on the
agent alone does, so that a node that is lost takes the lease with it. A Job's end is told by the worker only when the
Pod is over and keruta still counts the attempt as open: an agent that could tell has told by then.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agent.runners.kubernetes.manifests import job_manifest, secret_manifest
from agent.runners.kubernetes.pod_status import (
    PodEnd,
    awaits_containers,
    ended,
    ended_before_check,
    job_failed,
    not_made,
    script_image_id,
    stuck,
)
from agent.settings import ClusterSettings
from keruta.domain.lifecycle import NOT_STARTED, Status
from keruta.domain.messages import Message, fields_of, message
from keruta.domain.naming import attempt_id
from keruta.domain.reports import AnyEntry, Assigned, Ended, Held, ImageSeen, Input, Lost, ScriptEnded
from keruta.domain.specification import Specification
from keruta.errors import KerutaError

log = logging.getLogger(__name__)

SETTLE_SECONDS = 3.0  # between a Pod's end and what its agent said of it being known here
TELL_AGAIN_SECONDS = 15.0
NO_POD_SECONDS = 3.0  # as long as a Job without a Pod is nothing to ask the cluster about


class Cluster(Protocol):
    """Port to the cluster's API. Raises ClusterAwayError, ClusterRefusedError."""

    def create(self, manifest: dict[str, Any]) -> dict[str, Any]: ...
    def account(self, name: str) -> dict[str, Any]: ...
    def delete_job(self, name: str) -> None: ...
    def events_of(self, kind: str, name: str) -> list[str]: ...


class PodJob:
    """One attempt. `look` is called whenever something may have changed; the other methods from the reporting thread.

    Args:
        fetch: gives the specification with the attempt's token.
        send: reports an entry.
    """

    def __init__(
        self, cluster: Cluster, settings: ClusterSettings, assigned: Assigned,
        fetch: Callable[[str, int], Specification], send: Callable[[AnyEntry], None],
    ) -> None:  # fmt: skip
        self._cluster = cluster
        self._settings = settings
        self._fetch = fetch
        self._send = send
        self._task, self._number = assigned.task, assigned.attempt
        self.attempt = attempt_id(assigned.task, assigned.attempt)
        self.ended = threading.Event()
        self._assigned = assigned
        self._made_at: float | None = None
        self._had_job = False
        self._age_seconds = 0.0
        self._over: PodEnd | None = None
        self._over_at = 0.0
        self._told_at: float | None = None
        self._told_lost = False
        self._heard_at = 0.0
        self._stop_at: float | None = None
        self._script_end_at: float | None = None
        self._image_told = False

    # ------------------------------------------------------------ what the worker asks of every job

    @property
    def held(self) -> Held:
        """Vouched for until its start is on record, or its end was told by this worker; known after that."""
        return Held(
            task=self._task,
            attempt=self._number,
            execution=self._assigned.execution,
            renew=self._assigned.status in NOT_STARTED and self._told_at is None,
        )

    @property
    def anxious(self) -> bool:
        return self._stop_at is not None or self._over is not None

    def told(self, assigned: Assigned) -> None:
        """Take keruta's record of the attempt, and report an end again that is not on record.

        That nobody can say how it ended is not: keruta counts it as `unknown`, until a person decides.
        """
        self._assigned = assigned
        self._heard_at = time.monotonic()
        if self._told_lost and assigned.status == Status.UNKNOWN:
            return
        if self._told_at is not None and self._heard_at - self._told_at > TELL_AGAIN_SECONDS:
            self._told_at = None

    def stop(self) -> None:
        """A person has cancelled it: its agent ends it; where there is none yet, or it does not, this does."""
        self._stop_at = self._stop_at or time.monotonic()

    def shut_down(self) -> None:
        """The worker ends; the Job goes on, and another worker takes it over."""

    def abandon(self) -> None:
        """Forget the attempt: keruta knows its end, or gave it to another worker."""
        self.ended.set()

    def give(self, inputs: Sequence[Input]) -> None:
        """Its agent is told by keruta itself."""

    # ------------------------------------------------------------ the Job

    def make(self) -> None:
        """Make the Job and its token, or what of them is missing.

        Each of the two is made once, whoever makes it and however often: a worker that ended between them is followed
        by one that calls this again. Raises KerutaError when the API server is away or refuses.
        """
        if self._stop_at is not None and not self._had_job:
            self._send_cancelled(message("cluster_job_not_made"))
            return
        specification = self._fetch(self._task, self._number)
        if specification.fault is not None:
            self._tell(PodEnd(reason=specification.fault.reason, message=specification.fault.said))
            return
        account = self._cluster.account(self._settings.job_service_account)
        job = self._cluster.create(job_manifest(specification, self._settings, account))
        self._had_job = True
        self._cluster.create(secret_manifest(specification, self._settings, job))
        self._made_at = time.monotonic() - self._age_seconds
        log.info("job made", extra={"action": "job_made", "task": self._task, "attempt": self._number})

    @property
    def made(self) -> bool:
        return self._made_at is not None

    def found(self, *, age_seconds: float = 0.0, complete: bool = True) -> None:
        """Its Job was made before: by another worker, or by this one before it was restarted.

        Args:
            age_seconds: how long it has been there.
            complete: whether its token is known to be there too; `make` sees to that where it is not.
        """
        self._had_job, self._age_seconds = True, age_seconds
        if complete:
            self._made_at = self._made_at or time.monotonic() - age_seconds

    def refused(self, error: KerutaError) -> None:
        """The API server will not have it."""
        reason = "QuotaExceeded" if "exceeded quota" in str(error) else "PodRefused"
        self._tell(PodEnd(reason=reason, message=message("cluster_job_refused", error=str(error))))

    def look(self, job: dict[str, Any] | None, pod: dict[str, Any] | None, *, gone: bool) -> None:
        """Decides by what the cluster has of it now.

        Args:
            gone: the Pod was seen and is no longer there; `pod` is its last state.
        """
        if self._told_at is not None or self.ended.is_set() or not self.made:
            return
        now = time.monotonic()
        if self._stop_at is not None and self._end_stopped(now, there=job is not None or not gone):
            return
        if pod is not None and not gone:
            self._release_check(pod, now)
        verdict = self._verdict(job, pod, gone, now)
        if verdict is None:
            self._over = None
            return
        if self._over is None:
            self._over, self._over_at = verdict, now
        # What its agent said last may be on its way: keruta's word of after that is waited for, and may end it here.
        if self._heard_at > self._over_at + (SETTLE_SECONDS if pod is not None else 0):
            self._tell(verdict)

    @property
    def owes_image(self) -> bool:
        """Return whether the image that the script runs in is still to be reported, also after the attempt's end."""
        return self._assigned.wants_image and not self._image_told

    def tell_image(self, pod: dict[str, Any] | None) -> None:
        """Report the image that the script runs in, once the Pod's status names it."""
        if pod is not None and self.owes_image and (image_id := script_image_id(pod)) is not None:
            self._image_told = True
            self._send(ImageSeen(task=self._task, attempt=self._number, image_id=image_id))

    def _release_check(self, pod: dict[str, Any], now: float) -> None:
        """Report that the script's container has ended, which the agent beside it can't see; until keruta knows it."""
        execution, code = self._assigned.execution, ended_before_check(pod)
        if code is None or execution is None or self._assigned.script_exit_code is not None:
            return
        if self._script_end_at is None or now - self._script_end_at > TELL_AGAIN_SECONDS:
            self._script_end_at = now
            self._send(ScriptEnded(task=self._task, attempt=self._number, execution=execution, exit_code=code))

    @property
    def _started(self) -> bool:
        return self._assigned.status not in NOT_STARTED

    def _verdict(self, job: dict[str, Any] | None, pod: dict[str, Any] | None, gone: bool, now: float) -> PodEnd | None:
        assert self._made_at is not None
        waited = now - self._made_at
        if (given_up := job_failed(job, started=self._started)) is not None:
            return given_up
        if pod is not None:
            over = ended(pod, gone=gone)
            if over is not None or self._started:
                return over
            return self._stuck(pod, waited)
        if job is None:
            if waited < NO_POD_SECONDS:
                return None
            return PodEnd(reason="PodDeleted", message=message("cluster_job_deleted"), lost=self._started)
        if waited > max(NO_POD_SECONDS, self._settings.job_patience_seconds):
            return not_made(self._cluster.events_of("Job", self.attempt))
        return None

    def _stuck(self, pod: dict[str, Any], waited: float) -> PodEnd | None:
        patience = self._settings.job_patience_seconds
        events: list[str] = []
        if waited > patience and awaits_containers(pod):
            events = self._cluster.events_of("Pod", pod["metadata"]["name"])
        return stuck(pod, waited_seconds=waited, patience_seconds=patience, events=events)

    def _end_stopped(self, now: float, *, there: bool) -> bool:
        """Ends what a person cancelled: at once what has not started, else when its agent had its time.

        Args:
            there: whether its Job or its Pod is; a worker that deleted them may have ended before it said so.
        """
        assert self._stop_at is not None
        limit = self._settings.grace_seconds + self._settings.job_grace_seconds if self._started and there else 2.0
        if now - self._stop_at < limit:
            return False
        self._cluster.delete_job(self.attempt)
        self._send_cancelled(message("cluster_job_cancelled"))
        return True

    def _send_cancelled(self, said: Message) -> None:
        self._send(
            Ended(
                task=self._task, attempt=self._number, execution=self._assigned.execution, status="cancelled",
                reason="Cancelled", **fields_of(said),
            )
        )  # fmt: skip
        self._told_at = time.monotonic()

    def _tell(self, end: PodEnd) -> None:
        """Reports the end; keruta refuses it where the agent's own came first."""
        self._told_at = time.monotonic()
        self._told_lost = end.lost and self._started
        entry: AnyEntry = Lost(task=self._task, attempt=self._number, execution=self._assigned.execution)
        if not (end.lost and self._started):
            entry = Ended(
                task=self._task, attempt=self._number, execution=self._assigned.execution, status="failed",
                reason=end.reason, **fields_of(end.message), exit_code=end.exit_code,
                signal=end.exit_code - 128 if end.exit_code is not None and 128 < end.exit_code < 160 else None,
            )  # fmt: skip
        self._send(entry)
        told = {"action": "pod_end_told", "task": self._task, "attempt": self._number, "reason": end.reason}
        log.info("told by the Pod's status: %s", end.reason, extra=told)
        if self._had_job and not self._started:
            self._cluster.delete_job(self.attempt)  # it must not start after all
