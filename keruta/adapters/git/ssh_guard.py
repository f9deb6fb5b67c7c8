"""Runs ssh for Git, and ends it when a server that is to send sends nothing: `ssh_guard.py SECONDS ssh ARGUMENT...`.

ssh itself notices a host that is gone, and not a program on it that stands still. Only fetches are watched: in a push
the server may wait for this side's packing, and the push has a limit of its own. Loads nothing that takes time to load.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

BLOCK_BYTES = 1 << 16
FETCH = "git-upload-pack"


def main(arguments: list[str]) -> int:
    """Return ssh's exit code, or 255 when it was ended here."""
    seconds, command = float(arguments[0]), arguments[1:]
    if not any(FETCH in word for word in command):
        os.execvp(command[0], command)  # noqa: S606  no shell is wanted
    to_ssh, from_ssh = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(to_ssh[0], 0)
        os.dup2(from_ssh[1], 1)
        for end in (*to_ssh, *from_ssh):
            os.close(end)
        os.execvp(command[0], command)  # noqa: S606  no shell is wanted
    os.close(to_ssh[0])
    os.close(from_ssh[1])
    if not relay(to_ssh[1], from_ssh[0], seconds):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.write(2, f"fatal: operation timed out: the ssh server sent nothing for {seconds:g} s\n".encode())
        return 255
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF


def relay(to_ssh: int, from_ssh: int, seconds: float) -> bool:
    """Pass on what Git and ssh say to each other until ssh is done; False when nothing was said for too long.

    What Git does not take at once is written before anything more is read, so its own pauses do not count. What Git
    sends in a fetch is short; ssh takes it as long as its server goes on.
    """
    sources = {0: to_ssh, from_ssh: 1}
    heard_at = time.monotonic()
    while from_ssh in sources:
        left = heard_at + seconds - time.monotonic()
        ready = select.select(list(sources), [], [], max(0.0, left))[0]
        if not ready:
            return False
        for source in ready:
            block = os.read(source, BLOCK_BYTES)
            if block and source == 0 and not select.select([], [to_ssh], [], seconds)[1]:
                return False
            if not block or not write(sources[source], block):
                target = sources.pop(source)
                if source == 0:
                    os.close(target)
        heard_at = time.monotonic()
    return True


def write(target: int, block: bytes) -> bool:
    """Write all of a block; False when nobody reads any more."""
    try:
        while block:
            block = block[os.write(target, block) :]
    except BrokenPipeError:
        return False
    return True


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.exit(main(sys.argv[1:]))
