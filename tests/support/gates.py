"""A gate that keeps scripts in Pods at work until a test opens it, however slow the machine is."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType
from typing import Self

from tests.support.cluster import NODE, eventually
from tests.support.serving import Quiet, Serving

PASS, WAIT = 200, 204


class Gate:
    """Scripts ask it about twice a second, on the node's own address, which Pods reach."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._asked: Counter[str] = Counter()
        gate = self

        class Handler(Quiet):
            def do_GET(self) -> None:
                gate._asked[self.path.strip("/")] += 1
                self.answer(PASS if gate._open.is_set() else WAIT)

        self._server = Serving(Handler, NODE)

    def script(self) -> str:
        """Return a script that prints numbered lines until the gate is open, and then `passed`."""
        return f"""
echo "begun $KERUTA_EXECUTION"
exec python3 -u -c '
import os, time, urllib.request
number, failed, url = 0, 0, "{self._server.url}/" + os.environ["KERUTA_TASK"]
while failed < 60:
    print("line", number)
    number += 1
    try:
        if urllib.request.urlopen(url, timeout=10).status == {PASS}:
            break
        failed = 0
    except OSError:
        failed += 1
    time.sleep(0.5)
print("passed")
'
"""

    def open(self) -> None:
        self._open.set()

    def goes_on(self, task_ids: list[str], times: int = 3) -> None:
        """Wait until each of these scripts has asked so many times more: it has gone on since."""
        before = Counter(self._asked)
        eventually(
            "the scripts, which go on",
            lambda: all(self._asked[task_id] >= before[task_id] + times for task_id in task_ids),
            60,
        )

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.set()  # what still asks, and the server is gone, would go on for ever
        self._server.__exit__(kind, error, trace)
