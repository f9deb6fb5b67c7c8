"""A trigger's schedule on one machine: the tick starts its task, and the command line shows and starts it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.system import RunningSystem, eventually

pytestmark = pytest.mark.timeout(120)


def test_a_schedule_runs_at_its_time_and_by_hand(system: RunningSystem, repository: str) -> None:
    """Its next time is set to this moment; the system's own tick does the rest."""

    def keruta(*arguments: str) -> list[Any]:
        done = system.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def started(event: str) -> str:
        def task() -> str | None:
            items = keruta("triggers", "deliveries", "nightly")
            return next((one["task"] for one in items if (one["event"], one["state"]) == (event, "started")), None)

        return eventually(task, 30, "the task", pause=0.5)

    keruta("repositories", "create", "nightly", "--url", repository)
    script = system.state.root / "nightly.sh"
    script.write_text('echo "for $KERUTA_PARAM_EVENT ${KERUTA_PARAM_TIME:-no time}"\n')
    (made,) = keruta(
        "triggers", "create", "nightly", "--repository", "nightly", "--script-file", str(script),
        "--schedule", "0 2 29 2 *", "--time-zone", "Europe/Berlin",
    )  # fmt: skip
    assert [at[:10] for at in made["next_times"]][:2] == ["2028-02-29", "2032-02-29"]
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    with system.database_client() as client:
        client.keruta.triggers.update_one({"_id": "nightly"}, {"$set": {"next_at": now, "due_at": now}})
    keruta("triggers", "run", "nightly")

    by_clock, by_hand = started("schedule"), started("run")

    assert system.ended(by_clock).status == system.ended(by_hand).status == "succeeded"
    assert f"for schedule {now:%Y-%m-%dT%H:%M:%SZ}" in system.text(by_clock)
    assert "for run no time" in system.text(by_hand)
