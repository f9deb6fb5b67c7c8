"""`python -m agent worker`: a worker. `python -m agent run`: what runs beside a script in a Job Pod."""

from __future__ import annotations

import os
import signal
import sys
import threading

POD_ENDS = threading.Event()
if sys.argv[1:] == ["run"]:
    # Before what takes seconds to import: a Pod may end while its agent is started again, and the end of its script,
    # which that agent finds written down, would be known to nobody.
    signal.signal(signal.SIGTERM, lambda *_: POD_ENDS.set())

import msgspec  # noqa: E402

from agent.settings import ClusterSettings, WorkerSettings  # noqa: E402
from keruta import logs  # noqa: E402
from keruta.errors import SettingsError  # noqa: E402
from keruta.settings import load  # noqa: E402


def main(arguments: list[str]) -> int:
    try:
        settings = load(os.environ, WorkerSettings)
        if arguments == ["worker"]:
            logs.configure("worker", settings.log_level)
            from agent.worker import main as work

            cluster = load(os.environ, ClusterSettings)
            work(settings, msgspec.structs.replace(cluster, job_agent_url=cluster.job_agent_url or settings.agent_url))
            return 0
        if arguments == ["run"]:
            logs.configure("agent", settings.log_level)
            from agent.runners.kubernetes.sidecar import SidecarSettings, run

            return run(settings, load(os.environ, SidecarSettings), POD_ENDS)
    except SettingsError as error:
        print(f"keruta agent: {error}", file=sys.stderr)
        return 2
    print("usage: python -m agent worker|run", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
