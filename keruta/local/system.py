"""The whole system on one machine: which processes, with what settings, in what order."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pymongo
import tenacity
import urllib3
from pymongo.errors import PyMongoError

from keruta.errors import KerutaError
from keruta.local import mongod, preloaded
from keruta.local.installation import MANIFESTS, PROJECT
from keruta.local.knative_emulator import Config
from keruta.local.manifests import FUNCTION, Manifests, load
from keruta.local.ports import is_taken_from
from keruta.local.state import Running, State
from keruta.local.supervisor import Child, Supervisor

READY_SECONDS = 60.0
LOOK_EVERY_SECONDS = 0.4
WORKER_GRACE_SECONDS = 20.0


class PortTakenError(KerutaError):
    """Another process listens on a port that was chosen for a part."""


class System:
    """One machine's processes.

    Args:
        state: its directory.
        said: told what happens, a sentence at a time.
        manifests: the directory of manifests; by default `knative/base`.
    """

    def __init__(
        self,
        state: State,
        said: Callable[[str], None],
        *,
        manifests: Path | None = None,
    ) -> None:
        self._state = state
        self._said = said
        self._manifests_dir = manifests or MANIFESTS
        self._supervisor = Supervisor(said)
        self._ports: dict[str, int] = {}
        self.url = ""
        self.token = ""

    def start(self) -> None:
        """Everything is up and answers. Raises KerutaError with what is wrong and where to look."""
        self._state.make()
        self.token = self._state.write_identity()
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(PortTakenError), stop=tenacity.stop_after_attempt(3), reraise=True
        ):
            with attempt:
                self._start_services()
        env = self._environment()
        env.pop("KERUTA_MONGO_URL", None)
        self._child("worker", [sys.executable, "-m", "agent", "worker"], env, grace_seconds=WORKER_GRACE_SECONDS)
        self._state.note_running(
            Running(url=self.url, token=self.token, pid=os.getpid(), processes=self._supervisor.pids())
        )

    def _start_services(self) -> None:
        """Start all but the worker, on ports that are free, and wait until they answer.

        Raises PortTakenError, with no process left, where something else took one of the ports meanwhile.
        """
        self._ports = self._state.ports()
        self.url = f"http://127.0.0.1:{self._ports['public']}"
        try:
            self._start_each()
            self._await_ready()
        except PortTakenError:
            self._supervisor.end()
            raise

    def _start_each(self) -> None:
        manifests = load(self._manifests_dir)
        env = {"KERUTA_EVENT_TYPES": ",".join(sorted(manifests.event_types)), **self._environment()}
        if not env.get("KERUTA_MONGO_URL"):
            self._start_mongod(env)
            preloaded.load(PROJECT)  # while it starts
            self._await_mongod()
        else:
            preloaded.load(PROJECT)
        for name, service in manifests.services.items():
            args = list(service.args)
            if service.command == FUNCTION:
                args += [f"--port={self._ports[name]}", "--host=127.0.0.1"]
            else:
                args = [part for part in args if not part.startswith(("--bind", "--worker-tmp-dir"))]
                args += [f"--bind=127.0.0.1:{self._ports[name]}"]
            command = [sys.executable, "-m", service.command[-1], *args]
            self._child(name, command, {**env, **dict(service.env)}, forked=True)
        env.pop("KERUTA_MONGO_URL")  # what follows needs no database, and is given no password of one
        self._start_standin(env, manifests)

    def look(self) -> None:
        """Starts again what has died. Raises DiesTooOftenError."""
        before = self._supervisor.pids()
        self._supervisor.look()
        now = self._supervisor.pids()
        if now != before and self.token:
            self._state.note_running(Running(url=self.url, token=self.token, pid=os.getpid(), processes=now))

    def end(self) -> None:
        """No process is left."""
        self._supervisor.end()
        self._state.note_ended()

    def _start_mongod(self, env: dict[str, str]) -> None:
        program = mongod.find()
        mongod.version(program)
        port = self._ports["mongod"]
        access = self._state.mongod_access()
        env["KERUTA_MONGO_URL"] = access.url(port)
        # One member's default would let a crash take back what was answered; a majority of one is on disk.
        command = mongod.command(program, self._state.root / "db", port, access=access)
        self._child("mongod", command, env, grace_seconds=30)

    def _await_mongod(self) -> None:
        port = self._ports["mongod"]
        mongod.await_primary(port, lambda: self._lives("mongod", port), access=self._state.mongod_access())

    def _lives(self, name: str, *ports: int) -> bool:
        """Return whether a part's process runs. Raises PortTakenError where it ended because its port was taken."""
        alive = self._supervisor.alive(name)
        if not alive:
            self._check_ports(name, *ports)
        return alive

    def _check_ports(self, name: str, *ports: int) -> None:
        """Raises PortTakenError where another process listens on a port of that part. Reads tables of the kernel."""
        for port in ports:
            if is_taken_from(self._supervisor.pids()[name], port):
                raise PortTakenError(f"another program took port {port}, which was free, before {name} had opened it")

    def _start_standin(self, env: dict[str, str], manifests: Manifests) -> None:
        config = Config(
            manifests=str(self._manifests_dir),
            services={name: f"http://127.0.0.1:{self._ports[name]}" for name in manifests.services},
            public_port=self._ports["public"],
            broker_port=self._ports["broker"],
            token_file=str(self._state.root / "tokens" / "events"),
        )
        path = self._state.root / "standin.json"
        path.write_bytes(msgspec.json.encode(config))
        self._child("standin", [sys.executable, "-m", "keruta.local.knative_emulator", str(path)], env)

    def _child(
        self, name: str, command: list[str], env: Mapping[str, str], grace_seconds: float = 10.0, *,
        forked: bool = False,
    ) -> None:  # fmt: skip
        log = self._state.root / "log" / f"{name}.log"
        self._supervisor.start(
            Child(name=name, command=command, env=env, log=log, cwd=PROJECT, grace_seconds=grace_seconds, forked=forked)
        )

    def _environment(self) -> dict[str, str]:
        """Return the settings of every part on this machine; variables in the environment take precedence."""
        root = self._state.root
        here = {
            "KERUTA_BROKER_URL": f"http://127.0.0.1:{self._ports['broker']}/keruta/default",
            "KERUTA_PUBLIC_URL": self.url,
            "KERUTA_AGENT_URL": f"http://127.0.0.1:{self._ports['report-status']}",
            "KERUTA_RESULTS_DIR": str(root / "results"),
            "KERUTA_TRUSTED_KEYS": str(root / "keys" / "trusted.json"),
            "KERUTA_SESSION_KEY": str(root / "keys" / "session.pem"),
            "KERUTA_PROVENANCE_KEY": str(self._state.provenance_key),
            "KERUTA_EVENT_KEYS": str(root / "keys" / "trusted.json"),  # events are this machine's own, whoever signs in
            "KERUTA_EVENT_ISSUER": "keruta-local",
            "KERUTA_EVENT_TOKEN_FILE": str(root / "tokens" / "events"),
            "KERUTA_SIGN_IN_CODE_FILE": str(self._state.sign_in_code_file),
            "KERUTA_SIGN_IN_TOKEN_FILE": str(root / "tokens" / "person"),
            "KERUTA_TRANSPORTS": "https,http,ssh,file",
            "KERUTA_WORKER_ADDRESSES": "127.0.0.0/8",
            "KERUTA_WEBHOOK_NETWORKS": "127.0.0.0/8,::1/128",
            "KERUTA_WORKER_ID": "this-machine",
            "KERUTA_WORKER_SLOTS": str(os.cpu_count() or 2),
            "KERUTA_WORKER_TOKEN_FILE": str(root / "tokens" / "worker"),
            "KERUTA_WORKER_DIR": str(root / "worker"),
            "KERUTA_PRIVATE_PATHS": str(root),
            "KERUTA_CREDENTIALS_KEY": str(root / "keys" / "credentials.key"),
            "KERUTA_CREDENTIALS_STORE": "sealed",
            "KERUTA_OWN_GIT": "1",
            # 20 MiB less for each process: arenas are for programs with many threads that allocate at once
            "MALLOC_ARENA_MAX": "2",
        }
        return {**here, **os.environ}

    def _await_ready(self) -> None:
        until = time.monotonic() + READY_SECONDS
        waiting: dict[str, tuple[int, ...]] = {name: (port,) for name, port in self._services()}
        waiting["standin"] = (self._ports["public"], self._ports["broker"])
        with urllib3.PoolManager(retries=False, timeout=2.0) as pool:
            while waiting:
                for name, ports in list(waiting.items()):
                    self._lives(name, *ports)
                    if _answers(pool, ports[0]):
                        self._check_ports(name, *ports)
                        del waiting[name]
                self._supervisor.look()
                if waiting and time.monotonic() > until:
                    raise KerutaError(
                        f"{', '.join(waiting)} not ready after {READY_SECONDS:g} s; see {self._state.root}/log"
                    )
                time.sleep(0.02)

    def _services(self) -> list[tuple[str, int]]:
        return [(name, port) for name, port in self._ports.items() if name not in ("public", "broker", "mongod")]


def _answers(pool: urllib3.PoolManager, port: int) -> bool:
    try:
        return pool.request("GET", f"http://127.0.0.1:{port}/readyz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


def mongo_answers(url: str) -> bool:
    """Says whether a MongoDB of one's own is there."""
    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(url, serverSelectionTimeoutMS=2000)
    try:
        client.admin.command("ping")
    except PyMongoError:
        return False
    finally:
        client.close()
    return True
