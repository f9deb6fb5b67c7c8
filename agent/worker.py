"""The worker: registers, takes what is assigned to it, has attempts made, and says what became of them.

What it has in hand and what is assigned to it are brought together after every answer, by state and not by news: an
answer that got lost costs nothing. How attempts are made is its runner's business.
"""

from __future__ import annotations

import hmac
import http.server
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from agent.api_client import HttpAsking
from agent.http_server import BoundedServer
from agent.reporter import HttpTransport, Reporter, SessionVoid
from agent.settings import ClusterSettings, WorkerSettings
from keruta import __version__, metrics, structs
from keruta.adapters.identity.service_account import service_account
from keruta.domain.naming import attempt_id, new_id
from keruta.domain.reports import AnyEntry, Assigned, Attempts, Held, Input, Registration, ReportAnswer, Session
from keruta.errors import KerutaError, SettingsError

log = logging.getLogger(__name__)

REGISTER_AGAIN_SECONDS = 1.0
SAY_AGAIN_SECONDS = 60.0
REPORT_SECONDS = 5.0
NUDGE_SECONDS = 30  # how long who connects may say or take nothing


class AttemptJob(Protocol):
    """One attempt in hand; see `agent.attempt.attempt.Job` and `agent.runners.kubernetes.pod_attempt.PodJob`."""

    attempt: str
    ended: threading.Event

    @property
    def held(self) -> Held: ...

    @property
    def anxious(self) -> bool: ...

    def told(self, assigned: Assigned) -> None: ...
    def stop(self) -> None: ...
    def shut_down(self) -> None: ...
    def abandon(self) -> None: ...
    def give(self, inputs: Sequence[Input]) -> None: ...


class Runner(Protocol):
    """Port for running attempts: as processes or as Pods."""

    def start(self) -> Iterable[AttemptJob]:
        """Take over the attempts that an earlier worker left."""
        ...

    def begin(self, assigned: Assigned) -> AttemptJob | None: ...
    def stop(self) -> None: ...


class Worker:
    """One worker's process."""

    def __init__(self, settings: WorkerSettings, cluster: ClusterSettings) -> None:
        self._settings = settings
        self._transport = HttpTransport(settings.agent_url)
        self._jobs: dict[str, AttemptJob] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._boot = new_id()
        self._unregistered = ("", 0.0)  # why it was not registered, and when that was logged
        self._reporter = Reporter(self._transport, held=self._held, anxious=self._anxious, answered=self._reconcile)
        self._account = service_account(
            settings.issuer_url,
            settings.worker_client_id,
            settings.worker_client_secret_file,
            settings.worker_token_file,
        )
        self._in_cluster = settings.runner == "kubernetes"
        self._runner = self._make_runner(cluster)
        metrics.WORKER_JOBS.set_function(lambda: len(self._jobs))
        metrics.WORKER_SLOTS.set(settings.worker_slots)

    def _make_runner(self, cluster: ClusterSettings) -> Runner:
        asking = HttpAsking(self._transport)
        if self._in_cluster:
            from agent.runners.kubernetes.runner import ClusterJobs
            from keruta.adapters.kube import Kube

            kube = Kube(cluster.job_namespace)
            return ClusterJobs(kube, cluster, self._settings.worker_id, asking.for_job, self._send, self._over)
        from agent.runners.process.runner import ProcessJobs

        uploads = self._transport.to(self._settings.results_url)
        return ProcessJobs(self._settings, self._reporter, asking, self._send, uploads)

    def run(self) -> None:
        """Works until `end` is called; then its scripts are told to end, and their ends are reported."""
        address = self._listen()
        for job in self._runner.start():
            self._add(job)
        while not self._ending.is_set():
            if not self._register(address):
                continue
            try:
                self._reporter.run()
            except SessionVoid:
                log.info("session void: registering again", extra={"action": "session_void"})
                self._ending.wait(0.1)

    def end(self) -> None:
        """Begins the end: no more tasks. Scripts get their grace, and their end is told; Jobs in a cluster go on."""
        if self._ending.is_set():
            return
        self._ending.set()
        log.info("ending", extra={"action": "worker_ending", "jobs": len(self._jobs)})
        threading.Thread(target=self._drain, name="drain").start()

    def _drain(self) -> None:
        jobs = list(self._jobs.values())
        for job in jobs:
            job.shut_down()
        if not self._in_cluster:
            until = time.monotonic() + self._settings.grace_seconds + REPORT_SECONDS
            for job in jobs:
                job.ended.wait(max(0.0, until - time.monotonic()))
        self._runner.stop()
        self._reporter.end()
        if self._in_cluster:
            try:
                self._transport.request("DELETE", f"/agent/v1/workers/{self._settings.worker_id}", None)
            except OSError as error:
                log.info("left without a word: %s", error, extra={"action": "leave_failed"})

    # ------------------------------------------------------------ with keruta

    def _register(self, address: str | None) -> bool:
        settings = self._settings
        body = msgspec.json.encode(
            Registration(
                slots=settings.worker_slots,
                address=address,
                version=__version__,
                boot=self._boot,
                runner="kubernetes" if self._in_cluster else "process",
            )
        )
        try:
            token = self._account.token()
            response = self._transport.request("PUT", f"/agent/v1/workers/{settings.worker_id}", body, token)
            if response.status == 200:
                self._take_session(structs.from_json(response.data, type=Session))
                log.info("registered", extra={"action": "worker_registered", "slots": settings.worker_slots})
                self._reporter.nudge()
                return True
            said = f"answered {response.status}"
            if response.status == 401:
                said += ": keruta does not accept the worker's token"
            self.say_unregistered(said)
        except (OSError, msgspec.DecodeError) as error:
            self.say_unregistered(str(error))
        self._ending.wait(REGISTER_AGAIN_SECONDS)
        return False

    def say_unregistered(self, said: str) -> None:
        """Log why it is not registered: once a minute while that stays the same."""
        known, at = self._unregistered
        if said != known or time.monotonic() - at > SAY_AGAIN_SECONDS:
            self._unregistered = said, time.monotonic()
            log.warning("not registered: %s", said, extra={"action": "not_registered"})

    def _take_session(self, session: Session) -> None:
        self._transport.token = session.token
        self._reporter.heartbeat_seconds = session.heartbeat_seconds

    def _send(self, entry: AnyEntry) -> None:
        self._reporter.send(entry, urgent=True)

    def _over(self, attempts: list[str]) -> list[str]:
        """Return those of the attempts that are no longer any task's current one.

        Raises KerutaError if keruta does not answer.
        """
        try:
            body = msgspec.json.encode(Attempts(attempts=attempts))
            response = self._transport.request("POST", "/agent/v1/attempts", body)
        except OSError as error:
            raise KerutaError(f"keruta does not answer: {error}") from error
        if response.status != 200:
            raise KerutaError(f"keruta answered {response.status}")
        return structs.from_json(response.data, type=Attempts).attempts

    def _held(self) -> list[Held]:
        with self._lock:
            self._jobs = {name: job for name, job in self._jobs.items() if not job.ended.is_set()}
            return [job.held for job in self._jobs.values()]

    def _anxious(self) -> bool:
        with self._lock:
            return any(job.anxious for job in self._jobs.values())

    def _reconcile(self, answer: ReportAnswer, held: Sequence[Held]) -> None:
        """Bring this worker's attempts in line with keruta's answer: begin, end, stop and update them."""
        if answer.session is not None:
            self._take_session(answer.session)
        ours = {attempt_id(one.task, one.attempt): one for one in answer.assigned}
        with self._lock:
            jobs = dict(self._jobs)
        for one in held:
            name = attempt_id(one.task, one.attempt)
            if name not in ours and name in jobs and not jobs[name].ended.is_set():
                jobs[name].abandon()
        for name, assigned in ours.items():
            job = jobs.get(name)
            if job is None:
                self._begin(assigned)
                continue
            job.told(assigned)
            if assigned.stop:
                job.stop()
            if assigned.input:
                job.give(assigned.input)

    def _begin(self, assigned: Assigned) -> None:
        if self._ending.is_set():
            return
        job = self._runner.begin(assigned)
        if job is not None:
            self._add(job)

    def _add(self, job: AttemptJob) -> None:
        with self._lock:
            self._jobs[job.attempt] = job

    # ------------------------------------------------------------ nudges

    def _listen(self) -> str | None:
        """Listens for `task.assigned`; returns the address to register."""
        if not self._settings.worker_listen:
            return self._settings.worker_address or None
        host, _, port = self._settings.worker_listen.rpartition(":")
        reporter = self._reporter
        # Where keruta is told the address, nobody else on this machine has to know it: a nudge costs a report.
        path = "/" if self._settings.worker_address else f"/{secrets.token_urlsafe(24)}"

        class Nudged(http.server.BaseHTTPRequestHandler):
            """Whatever is said, it is a hint: what is assigned is asked of keruta."""

            timeout = NUDGE_SECONDS

            def do_POST(self) -> None:
                if hmac.compare_digest(self.path.encode(), path.encode()):
                    reporter.nudge()
                    self.do_GET()
                else:
                    self.send_error(404)

            def do_GET(self) -> None:  # that it lives, and what it has counted
                body = metrics.render() if self.path == "/metrics" else b""
                self.send_response(200 if body else 204)
                if body:
                    self.send_header("Content-Type", metrics.CONTENT_TYPE)
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = BoundedServer((host, int(port)), Nudged, name="nudges and metrics")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 5}, daemon=True, name="nudges").start()
        return self._settings.worker_address or f"http://{host}:{server.server_port}{path}"


def main(settings: WorkerSettings, cluster: ClusterSettings) -> None:
    """Runs a worker until SIGTERM or SIGINT. Raises SettingsError."""
    if not settings.agent_url or not settings.worker_id:
        raise SettingsError("set KERUTA_AGENT_URL and KERUTA_WORKER_ID")
    if settings.runner not in ("process", "kubernetes"):
        raise SettingsError("KERUTA_RUNNER must be process or kubernetes")
    worker = Worker(settings, cluster)
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: worker.end())
    worker.run()
    os._exit(0)  # jobs that did not end in time go on as processes; the next worker of this name takes them up
