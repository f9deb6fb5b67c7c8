"""The `kubernetes` runner: attempts as Jobs, by what the cluster says of them.

Jobs and Pods are watched by label; every second, and at each change, each attempt looks at its own. Jobs that no task
knows any more are swept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from agent.runners.kubernetes.manifests import PART_OF
from agent.runners.kubernetes.pod_attempt import Cluster, PodJob
from agent.settings import ClusterSettings
from keruta.domain.lifecycle import NOT_STARTED, Status
from keruta.domain.reports import AnyEntry, Assigned
from keruta.domain.specification import Specification
from keruta.errors import KerutaError, PhaseError

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
AGAIN_SECONDS = 2.0
SYNC_SECONDS = 30.0
SWEEP_SECONDS = 60.0
SWEEP_AFTER_SECONDS = 120.0
OWED_SECONDS = 10.0  # as long as the image of an attempt that is over is looked for
LEFT_AFTER_SECONDS = 3.0  # as long as a Pod whose attempt is over may take to end by itself
MAKING_SECONDS = 15.0  # as long as a worker that ends waits for what it is making
MADE_AT_ONCE = 4  # the client library keeps as many connections


class WatchedCluster(Cluster, Protocol):
    def image_of(self, pod: str) -> str: ...
    def watch(
        self, kind: str, selector: str, told: Callable[[str, list[dict[str, Any]]], None], stop: threading.Event
    ) -> None: ...


class ClusterJobs:
    """Known state of the cluster's Jobs and Pods, and the attempts that depend on it.

    Args:
        worker_pod: the name of the Pod that this worker runs in.
        over: says which of some attempts are no task's any more.
    """

    def __init__(
        self, cluster: WatchedCluster, settings: ClusterSettings, worker_pod: str,
        fetch: Callable[[str, int], Specification], send: Callable[[AnyEntry], None],
        over: Callable[[list[str]], list[str]],
    ) -> None:  # fmt: skip
        self._cluster = cluster
        self._settings = settings
        self._worker_pod = worker_pod
        self._fetch, self._send, self._over = fetch, send, over
        self._jobs: dict[str, dict[str, Any]] = {}
        self._pods: dict[str, dict[str, Any]] = {}
        self._gone: dict[str, dict[str, Any]] = {}
        self._mine: dict[str, PodJob] = {}
        self._again_at: dict[str, float] = {}
        self._synced = {"Job": threading.Event(), "Pod": threading.Event()}
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._swept_at = time.monotonic()
        self._looking: threading.Thread | None = None
        self._left: dict[str, float] = {}
        self._owing: dict[str, tuple[PodJob, float]] = {}
        self._makers = ThreadPoolExecutor(MADE_AT_ONCE, thread_name_prefix="make")

    def start(self) -> Iterable[PodJob]:
        """Watches from here on; what is whose, keruta says.

        Returns when the first lists are there, or the cluster is away for half a minute.
        """
        self._settings = self._with_agent_image()
        for kind, told in (("Job", self._job_told), ("Pod", self._pod_told)):
            arguments = (kind, PART_OF, told, self._stop)
            threading.Thread(target=self._cluster.watch, args=arguments, name=f"watch-{kind}", daemon=True).start()
        self._looking = threading.Thread(target=self._run, name="look", daemon=True)
        self._looking.start()
        for event in self._synced.values():
            event.wait(SYNC_SECONDS)
        return ()

    def _with_agent_image(self) -> ClusterSettings:
        """Return the settings with the agent's image: the worker's own where none is set. Waits for the API server."""
        while not self._settings.job_agent_image and not self._stop.is_set():
            try:
                image = self._cluster.image_of(self._worker_pod)
                return msgspec.structs.replace(self._settings, job_agent_image=image)
            except KerutaError as error:
                log.warning("own image not known yet: %s", error, extra={"action": "own_image_not_known"})
                self._stop.wait(AGAIN_SECONDS)
        return self._settings

    def begin(self, assigned: Assigned) -> PodJob | None:
        """Takes an attempt on: makes its Job, or takes over the one that is there."""
        job = PodJob(self._cluster, self._settings, assigned, self._fetch, self._send)
        with self._lock:
            manifest = self._jobs.get(job.attempt)
            if manifest is not None:
                # An agent that has said something has its token: what the Job needs is all there.
                job.found(age_seconds=_age_seconds(manifest), complete=assigned.status != Status.ASSIGNED)
            elif assigned.status not in NOT_STARTED and self._synced["Job"].is_set():
                job.found()  # it was made once: that nothing is there now is its end
            self._mine[job.attempt] = job
        if assigned.stop:
            job.stop()
        self._changed.set()
        return job

    def stop(self) -> None:
        """Ends the work here; a Job that is being made gets its token first."""
        self._stop.set()
        self._changed.set()
        if self._looking is not None and self._looking is not threading.current_thread():
            self._looking.join(MAKING_SECONDS)

    # ------------------------------------------------------------ what the cluster says

    def _job_told(self, what: str, documents: list[dict[str, Any]]) -> None:
        with self._lock:
            if what == "ALL":
                self._jobs = {document["metadata"]["name"]: document for document in documents}
                self._synced["Job"].set()
            for document in documents:
                name = document["metadata"]["name"]
                if what == "DELETED":
                    self._jobs.pop(name, None)
                else:
                    self._jobs[name] = document
        self._changed.set()

    def _pod_told(self, what: str, documents: list[dict[str, Any]]) -> None:
        with self._lock:
            if what == "ALL":
                now = {_job_of(document): document for document in documents}
                self._gone |= {name: pod for name, pod in self._pods.items() if name not in now}
                self._pods = now
                self._synced["Pod"].set()
            for document in documents:
                name = _job_of(document)
                if what == "DELETED":
                    self._pods.pop(name, None)
                    self._gone[name] = document
                else:
                    self._pods[name] = document
                    self._gone.pop(name, None)
        self._changed.set()

    # ------------------------------------------------------------ looking

    def _run(self) -> None:
        while not self._stop.is_set():
            self._changed.wait(LOOK_SECONDS)
            self._changed.clear()
            try:
                self._look()
                if time.monotonic() - self._swept_at > SWEEP_SECONDS:
                    self._swept_at = time.monotonic()
                    self._sweep()
            except KerutaError as error:
                log.warning("cluster: %s", error, extra={"action": "cluster_failed"})
            except Exception:
                log.exception("look failed", extra={"action": "look_failed"})

    def _look(self) -> None:
        now = time.monotonic()
        with self._lock:
            over = {name: job for name, job in self._mine.items() if job.ended.is_set()}
            self._left |= dict.fromkeys(over, now)
            self._owing |= {name: (job, now) for name, job in over.items() if job.owes_image}
            self._mine = {name: job for name, job in self._mine.items() if not job.ended.is_set()}
            known = set(self._mine)
            self._gone = {name: pod for name, pod in self._gone.items() if name in known}
            self._again_at = {name: at for name, at in self._again_at.items() if name in known}
            looked = [
                (job, self._jobs.get(name), self._pods.get(name) or self._gone.get(name), name not in self._pods)
                for name, job in self._mine.items()
            ]
        # A burst of attempts is asked for and made several at a time: each is a few requests that are waited for.
        list(self._makers.map(self._make, [job for job, *_ in looked if not job.made]))
        self._tell_owed(now)
        self._clear_left()
        for job, manifest, pod, gone in looked:
            job.tell_image(pod)
            job.look(manifest, pod, gone=gone)

    def _tell_owed(self, now: float) -> None:
        """Report the images of attempts that were over before their Pod's status named one."""
        for name, (job, since) in list(self._owing.items()):
            job.tell_image(self._pods.get(name))
            if not job.owes_image or now - since > OWED_SECONDS:
                del self._owing[name]

    def _make(self, job: PodJob) -> None:
        from keruta.adapters.kube import ClusterRefusedError

        if self._stop.is_set() or time.monotonic() < self._again_at.get(job.attempt, 0.0):
            return
        try:
            job.make()
        except ClusterRefusedError as error:
            job.refused(error)
        except PhaseError as error:  # keruta says that it is not ours any more, or is away
            log.info("no specification: %s", error, extra={"action": "specification_failed"})
            self._again_at[job.attempt] = time.monotonic() + AGAIN_SECONDS
        except KerutaError as error:
            log.warning("job not made yet: %s", error, extra={"action": "job_not_made"})
            self._again_at[job.attempt] = time.monotonic() + AGAIN_SECONDS

    def _clear_left(self) -> None:
        """Delete the Jobs of attempts that are over and whose Pods go on: what failed before its script holds nothing.

        Those that another worker has now are left alone: keruta says which are over.
        """
        now = time.monotonic()
        due = [name for name, at in self._left.items() if now - at > LEFT_AFTER_SECONDS]
        with self._lock:
            standing = [name for name in due if name in self._jobs and _stands(self._pods.get(name))]
        for name in self._over(standing) if standing else []:
            log.info("deleted the Job of an attempt that is over", extra={"action": "job_left_deleted", "job": name})
            self._cluster.delete_job(name)
        for name in due:
            self._left.pop(name, None)

    def _sweep(self) -> None:
        """Jobs that have been there for a while and are no one's: keruta says which of them no task knows."""
        now = datetime.now(UTC)
        with self._lock:
            strange = [
                name
                for name, job in self._jobs.items()
                if name not in self._mine
                and not job.get("status", {}).get("completionTime")
                and (now - _made_at(job)).total_seconds() > SWEEP_AFTER_SECONDS
            ]
        for name in self._over(strange) if strange else []:
            log.warning("swept a Job that no task knows", extra={"action": "job_swept", "job": name})
            self._cluster.delete_job(name)


def _job_of(pod: dict[str, Any]) -> str:
    labels = pod["metadata"].get("labels", {})
    return str(labels.get("batch.kubernetes.io/job-name") or labels.get("job-name") or pod["metadata"]["name"])


def _stands(pod: dict[str, Any] | None) -> bool:
    """Return whether a Pod still holds its resources, or may yet be created."""
    return pod is None or pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def _age_seconds(job: dict[str, Any]) -> float:
    return max(0.0, (datetime.now(UTC) - _made_at(job)).total_seconds())


def _made_at(job: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(job["metadata"]["creationTimestamp"].replace("Z", "+00:00"))
