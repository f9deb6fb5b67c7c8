"""The worker: registers, takes what is assigned to it, makes attempts, and says what became of them.

What it has in hand and what is assigned to it are brought together after every answer, by state and not by news: an
answer that got lost costs nothing.
"""

from __future__ import annotations

import http.server
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence

import msgspec

from agent.access import Opener
from agent.asking import HttpAsking
from agent.job import Job
from agent.jobdir import JobDir, existing
from agent.process import ProcessScript, find_isolation
from agent.reporter import HttpTransport, Reporter, SessionVoid
from agent.settings import WorkerSettings
from agent.world import World
from keruta import __version__
from keruta.domain.naming import attempt_id, new_id
from keruta.domain.reports import Assigned, Held, Lost, Registration, ReportAnswer, Session
from keruta.domain.status import NOT_STARTED
from keruta.errors import SettingsError

log = logging.getLogger(__name__)

REGISTER_AGAIN_SECONDS = 1.0
REPORT_SECONDS = 5.0
PASSED_ON = ("PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR")  # of this process, to scripts


class Worker:
    """One worker's process."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._transport = HttpTransport(settings.agent_url)
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._jobs_dir = settings.worker_dir / "jobs"
        self._reporter = Reporter(self._transport, held=self._held, anxious=self._anxious, answered=self._reconcile)
        isolation = find_isolation(settings.isolation)
        self._world = World(
            settings=settings,
            reporting=self._reporter,
            asking=HttpAsking(self._transport),
            opener=Opener(settings.credentials_key, settings.secrets_dir),
            script=lambda job, env: ProcessScript(job, env, isolation),
            boot=new_id(),
            inherited={name: os.environ[name] for name in PASSED_ON if name in os.environ},
        )

    def run(self) -> None:
        """Works until `end` is called; then its scripts are told to end, and their ends are reported."""
        self._jobs_dir.mkdir(parents=True, exist_ok=True)
        address = self._listen()
        self._take_up()
        while not self._ending.is_set():
            if not self._register(address):
                continue
            try:
                self._reporter.run()
            except SessionVoid:
                log.info("session void: registering again", extra={"action": "session_void"})
                self._ending.wait(0.1)

    def end(self) -> None:
        """Begins the end: no more tasks; scripts get their grace, and their outcome is reported."""
        if self._ending.is_set():
            return
        self._ending.set()
        log.info("ending", extra={"action": "worker_ending", "jobs": len(self._jobs)})
        threading.Thread(target=self._drain, name="drain").start()

    def _drain(self) -> None:
        jobs = list(self._jobs.values())
        for job in jobs:
            job.shut_down()
        until = time.monotonic() + self._settings.grace_seconds + REPORT_SECONDS
        for job in jobs:
            job.ended.wait(max(0.0, until - time.monotonic()))
        self._reporter.end()

    # ------------------------------------------------------------ with keruta

    def _register(self, address: str | None) -> bool:
        settings = self._settings
        body = msgspec.json.encode(
            Registration(slots=settings.worker_slots, address=address, version=__version__, boot=self._world.boot)
        )
        try:
            token = settings.worker_token_file.read_text().strip()
            response = self._transport.request("PUT", f"/agent/v1/workers/{settings.worker_id}", body, token)
            if response.status == 200:
                self._take_session(msgspec.json.decode(response.data, type=Session))
                log.info("registered", extra={"action": "worker_registered", "slots": settings.worker_slots})
                self._reporter.nudge()
                return True
            log.warning("not registered: answered %d", response.status, extra={"action": "not_registered"})
        except (OSError, msgspec.DecodeError) as error:
            log.warning("not registered: %s", error, extra={"action": "not_registered"})
        self._ending.wait(REGISTER_AGAIN_SECONDS)
        return False

    def _take_session(self, session: Session) -> None:
        self._transport.token = session.token
        self._reporter.heartbeat_seconds = session.heartbeat_seconds

    def _held(self) -> list[Held]:
        with self._lock:
            return [job.held for job in self._jobs.values() if not job.ended.is_set()]

    def _anxious(self) -> bool:
        with self._lock:
            return any(job.anxious for job in self._jobs.values())

    def _reconcile(self, answer: ReportAnswer, held: Sequence[Held]) -> None:
        """What is assigned is at work here, what is not ours any more is ended, what is to stop is told."""
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
            if assigned.stop:
                job.stop()
            if assigned.input:
                job.give(assigned.input)

    def _begin(self, assigned: Assigned) -> None:
        if self._ending.is_set() or assigned.specification is None:
            return
        directory = JobDir.of(self._jobs_dir, assigned.specification)
        if assigned.status not in NOT_STARTED and not directory.started:
            # It was started, and nothing of it is here: its end is not ours to tell.
            self._reporter.send(
                Lost(task=assigned.task, attempt=assigned.attempt, execution=assigned.execution), urgent=True
            )
            return
        job = Job(self._world, directory, assigned.specification)
        if assigned.stop:
            job.stop()
        job.give(assigned.input)
        self._launch(job)

    def _launch(self, job: Job) -> None:
        with self._lock:
            if job.attempt in self._jobs:
                return
            self._jobs[job.attempt] = job
        threading.Thread(target=self._make, args=(job,), name=job.attempt, daemon=True).start()

    def _make(self, job: Job) -> None:
        try:
            job.run()
        finally:
            with self._lock:
                self._jobs.pop(job.attempt, None)

    def _take_up(self) -> None:
        """Jobs whose start is on record go on; of the others nothing is kept: they are assigned, and begin anew."""
        for directory in existing(self._jobs_dir):
            attempt = directory.load()
            if attempt is None or not directory.started:
                directory.remove()
            else:
                self._launch(Job(self._world, directory, attempt.specification))

    # ------------------------------------------------------------ nudges

    def _listen(self) -> str | None:
        """Listens for `task.assigned`; returns the address to register."""
        if not self._settings.worker_listen:
            return self._settings.worker_address or None
        host, _, port = self._settings.worker_listen.rpartition(":")
        reporter = self._reporter

        class Nudged(http.server.BaseHTTPRequestHandler):
            """Whatever is said, it is a hint: what is assigned is asked of keruta."""

            def do_POST(self) -> None:
                reporter.nudge()
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer((host, int(port)), Nudged)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 5}, daemon=True, name="nudges").start()
        return self._settings.worker_address or f"http://{host}:{server.server_port}"


def main(settings: WorkerSettings) -> None:
    """Runs a worker until SIGTERM or SIGINT. Raises SettingsError."""
    if not settings.agent_url or not settings.worker_id:
        raise SettingsError("set KERUTA_AGENT_URL and KERUTA_WORKER_ID")
    worker = Worker(settings)
    for wanted in (signal.SIGTERM, signal.SIGINT):
        signal.signal(wanted, lambda *_: worker.end())
    worker.run()
    os._exit(0)  # jobs that did not end in time go on as processes; the next worker of this name takes them up
