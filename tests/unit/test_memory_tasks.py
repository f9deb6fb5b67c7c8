"""The tasks in memory keep what those on MongoDB promise."""

from __future__ import annotations

import copy

import pytest

from tests.support.memory import MemoryTasks
from tests.support.task_store_contract import Stored, TaskStoreContract


class TestMemoryTasks(TaskStoreContract):
    """`tests.support.memory.MemoryTasks`."""

    @pytest.fixture
    def stored(self) -> Stored:
        tasks = MemoryTasks()
        return Stored(store=tasks, put=tasks.add, read=lambda task_id: copy.deepcopy(tasks.documents[task_id]))
