"""A check in a container of its own, on a real cluster: no script falsifies what it says, and none is skipped."""

from __future__ import annotations

import pytest

from tests.support.cluster import Cluster, eventually

# What a script may try: a record of its own, one that is whole, start files, its end hidden, a process that goes on.
ATTACKS = {
    "forged-record": "printf 'script 0\\ncheck 0\\ndone 0\\n' >/job/control/exit; touch /job/control/done",
    "missing-record": "rm -f /job/control/* || true; chmod 0 /job/control/exit || true",
    "start-files": """
        echo 'exit 0' >~/.bashrc; cp ~/.bashrc ~/.profile; touch /tmp/left
        site=$(python3 -m site --user-site); mkdir -p "$site"; echo 'import os; os._exit(0)' >"$site/usercustomize.py"
    """,
    "background": """
        (trap '' TERM HUP; while :; do
          printf 'script 0\\ncheck 0\\ndone 0\\n' >/job/control/exit
          touch /job/control/done of-the-background; sleep 0.05
        done) >/dev/null 2>&1 &
        sleep 0.2
    """,
}
CHECK = """
rm -f of-the-background; test ! -e /tmp/left || exit 3; test ! -e ~/.bashrc || exit 4; sleep 0.3
test ! -e of-the-background || exit 5
echo it-is-checked; touch ~/mine /tmp/mine && python3 -c 'import sys; sys.exit(7)'
"""


@pytest.fixture(scope="module")
def endless(cluster: Cluster, repository: str) -> dict[str, str]:
    """Tasks whose checks do not end by themselves, by how they will be ended; they are made ready together."""
    return {
        how: cluster.submit(repository, "true", check="echo checking; sleep 900") for how in ("cancelled", "killed")
    }


@pytest.mark.usefixtures("endless")
def test_a_check_can_not_be_falsified_by_its_script(cluster: Cluster, repository: str) -> None:
    """Whatever the script leaves behind outside the workspace, its check runs, and its own end decides."""
    ids = {name: cluster.submit(repository, script, check=CHECK) for name, script in ATTACKS.items()}
    good = cluster.submit(repository, "echo one >made; echo ran", check="test -e made; echo fine")
    failing = cluster.submit(
        repository, "printf 'script 0\\ndone 0\\n' >/job/control/exit; exit 9", check="echo not this"
    )

    ends = {name: cluster.ended(task_id, 240) for name, task_id in ids.items()}
    passed, failed = cluster.ended(good), cluster.ended(failing)

    assert {name: (task.reason, task.exit_code) for name, task in ends.items()} == dict.fromkeys(
        ATTACKS, ("CheckFailed", 7)
    )
    assert (passed.status, "ran\nfine\n" in cluster.text(good)) == ("succeeded", True)
    assert (failed.reason, failed.exit_code) == ("ScriptFailed", 9)
    assert "not this" not in cluster.text(failing)


def test_a_check_that_does_not_end_by_itself(cluster: Cluster, endless: dict[str, str]) -> None:
    """A cancel reaches it; one that is killed with all around it has not passed."""
    for task_id in endless.values():
        eventually("the check", lambda task_id=task_id: "checking\n" in cluster.text(task_id), 120)  # type: ignore[misc]

    cluster.client.cancel(endless["cancelled"])
    cluster.kubectl("delete", "pod", "-n", "keruta", cluster.pod_of(endless["killed"]), "--wait=false")

    assert cluster.ended(endless["cancelled"], 180).status == "cancelled"
    assert cluster.ended(endless["killed"], 180).status == "failed"
