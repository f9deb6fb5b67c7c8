"""A port that another process took is told from one that a process of ours listens on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from keruta.local.ports import any_free, is_free, is_taken_from


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening


def test_the_process_that_listens_has_its_port(listener: socket.socket) -> None:
    port = listener.getsockname()[1]

    assert not is_free(port)
    assert not is_taken_from(os.getpid(), port)


def test_a_port_that_another_process_listens_on_is_taken(listener: socket.socket) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert is_taken_from(other.pid, listener.getsockname()[1])
        other.communicate(b"\n")

    assert is_taken_from(other.pid, listener.getsockname()[1])  # it has ended: what listens is not it


def test_a_port_on_which_nothing_listens_is_not_taken() -> None:
    port = any_free()

    assert is_free(port)
    assert not is_taken_from(os.getpid(), port)
