"""The Git server of a run, in a process of its own: `python -m bench.gitserver DIRECTORY`; prints its address."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from tests.support.gitservers import GitHttp

with GitHttp(Path(sys.argv[1])) as server:
    print(server.url("").rstrip("/"), flush=True)
    threading.Event().wait()
