"""The page that says what a script may expect, on one machine."""

from __future__ import annotations

from tests.support.expectations import PAGE, script, table, untrue
from tests.support.system import RunningSystem


def test_each_line_of_the_table_holds_on_one_machine(system: RunningSystem, repository: str) -> None:
    """Each command is run by a task; the Japanese page has the same table."""
    lines = table()
    task_id = system.submit(repository, script(lines))

    assert system.ended(task_id).status == "succeeded"

    assert untrue(lines, "one_machine", system.text(task_id)) == []
    translated = table(PAGE.with_suffix(".ja.md"))
    assert [(one.one_machine, one.pod, one.command) for one in translated] == [
        (one.one_machine, one.pod, one.command) for one in lines
    ]
