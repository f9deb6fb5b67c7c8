"""How often is looked for what forges are owed."""

from __future__ import annotations

import threading
import time

import pytest

from keruta.adapters import forge_sender
from keruta.adapters.forge_sender import ForgeSender


def test_all_threads_of_a_kind_together_look_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each kind does."""
    monkeypatch.setattr(forge_sender, "LOOK_SECONDS", 60.0)
    looked: list[str] = []
    sender = ForgeSender(lambda: looked.append("told"), lambda: looked.append("compared"))

    for one in sender._senders:
        one._look()

    assert looked == ["told", "compared"]


@pytest.mark.parametrize("slow", ["tell", "compare"])
def test_a_slow_forge_holds_up_one_thread_alone(monkeypatch: pytest.MonkeyPatch, slow: str) -> None:
    monkeypatch.setattr(forge_sender, "LOOK_SECONDS", 0.02)
    held, let_go = threading.Event(), threading.Event()
    looks = {"tell": threading.Semaphore(0), "compare": threading.Semaphore(0)}

    def look(kind: str) -> None:
        if kind == slow and not held.is_set():
            held.set()
            let_go.wait(30)
        looks[kind].release()

    ForgeSender(lambda: look("tell"), lambda: look("compare")).start()
    try:
        assert held.wait(30)
        assert all(one.acquire(timeout=30) for one in looks.values() for _ in range(3))
    finally:
        let_go.set()
        time.sleep(0.05)
