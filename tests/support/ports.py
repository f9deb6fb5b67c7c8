"""Ports for servers that can't be told to take any free one."""

from __future__ import annotations

import random
import socket

from keruta.local.ports import is_free

# Below the ports that the system gives to connections and to servers that ask for any, and beside the lab's own.
FIRST, LAST = 20_000, 29_999
_held: list[socket.socket] = []


def free_port() -> int:
    """Return a port of loopback on which nothing listens, and that no other run of tests will get."""
    for port in random.sample(range(FIRST, LAST + 1), LAST + 1 - FIRST):
        mark = socket.socket(socket.AF_UNIX)
        try:
            mark.bind(f"\0keruta-tests-port-{port}")  # for as long as this process lives
            if is_free(port):
                _held.append(mark)
                return port
        except OSError:
            pass
        mark.close()
    raise AssertionError(f"no port between {FIRST} and {LAST} is free")
