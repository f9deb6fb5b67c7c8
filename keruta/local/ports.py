"""TCP ports of this machine's loopback: a free one, and which process listens on one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_LISTEN = "0A"  # the state's number in /proc/net/tcp, proc(5)


def is_free(port: int) -> bool:
    """Tell whether nothing listens there; a connection that has just ended does not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def any_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_taken_from(pid: int, port: int) -> bool:
    """Tell whether another process listens on a port that this one was started for.

    A port that was free can be taken before the process that it is for has opened it: by a second keruta that starts
    at the same time, or by somebody who waits for it. What answers there is then not ours, and gets no token.
    """
    listening = _listening(port)
    return bool(listening) and not listening & _sockets(pid)


def _listening(port: int) -> set[str]:
    """The inodes of the sockets that listen on this port, at any address."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found


def _sockets(pid: int) -> set[str]:
    """The inodes of a process's open sockets; none where it has ended."""
    found = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(target[len("socket:[") : -1])
    except OSError:
        return set()
    return found
