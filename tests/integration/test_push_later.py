"""Work that was kept is pushed later, by an attempt that runs no script; and a push whose report was lost is known."""

from __future__ import annotations

import threading
from pathlib import Path

import flask
import pytest

from agent.attempt.attempt import Job
from keruta.domain.messages import message
from keruta.domain.naming import new_id
from keruta.domain.reports import AnyEntry, Ended, Outcome, Pushing, refused
from keruta.domain.specification import EarlierPush, KeptWork, Specification
from keruta.domain.task import Artifact, PushRequest, RepositoryRef, ResultBranch
from keruta.errors import Conflict, Forbidden, NotFound
from keruta.services import task_commands
from tests.support.admin import signed_in
from tests.support.attempts import Recording
from tests.support.ended_attempts import end_of
from tests.support.gitservers import GitHttp
from tests.support.repositories import commit_on, git, make_repository
from tests.support.world import World, person

ANN = person("ann", "developer")
BUNDLE = Artifact(path="result.bundle", size_bytes=1, sha256="0" * 64)


@pytest.fixture(params=["sha1", "sha256"])
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    make_repository(tmp_path / "a.git", {"src/a.txt": "a\n", "b.txt": "b\n"}, object_format=request.param)
    return tmp_path / "a.git"


class Task:
    """One task's attempts, each with the agent's own code."""

    def __init__(self, root: Path, served: Path) -> None:
        self.root, self.served, self.id, self.number = root, served, new_id(), 0
        self.reporting = Recording()

    def _specification(self, **fields: object) -> Specification:
        self.number += 1
        repository = RepositoryRef(url=self.served.as_uri())
        fields = {"result": ResultBranch(branch="out"), **fields}
        return Specification(
            task=self.id,
            attempt=self.number,
            repository=repository,
            script="x",
            **fields,  # type: ignore[arg-type]
        )

    def run(self, script: str, *, exit_codes: str = "script 0\n", **fields: object) -> Ended:
        return end_of(self.root, self._specification(**fields), script, exit_codes=exit_codes, reporting=self.reporting)

    def push(self, of: Ended, *, attempt: int = 1, branch: str = "out", **fields: object) -> Ended:
        """Pushes what an attempt kept."""
        assert of.commit is not None
        said = None if of.said is None else of.said
        kept = KeptWork(
            attempt=attempt, commit=of.commit, status=of.status, reason=of.reason, exit_code=of.exit_code,
            message=said.text if said else None,
        )  # fmt: skip
        specification = self._specification(kept_work=kept, result=ResultBranch(branch=branch), **fields)
        return end_of(self.root, specification, reporting=self.reporting)


@pytest.fixture
def task(tmp_path: Path, served: Path) -> Task:
    return Task(tmp_path, served)


SCRIPT = "echo more >> src/a.txt; git commit -qam one; rm b.txt; echo new > new.txt"


def test_work_whose_branch_existed_is_pushed_to_another(task: Task, served: Path) -> None:
    """With the script's own commits; the task has succeeded then, since only its push had failed."""
    git(served, "branch", "out", "main")
    failed = task.run(SCRIPT)

    end = task.push(failed, branch="other")

    assert (failed.status, failed.reason) == ("failed", "BranchExists")
    assert (end.status, end.reason, end.result_branch) == ("succeeded", None, "other"), task.reporting.log
    assert git(served, "rev-parse", "other") == end.result_commit
    assert git(served, "log", "--format=%s", "main..other").splitlines()[-1] == "one"
    assert git(served, "ls-tree", "-r", "--name-only", "other").split() == ["new.txt", "src/a.txt"]


def test_work_whose_check_failed_is_pushed_and_its_task_stays_failed(task: Task, served: Path) -> None:
    """A push makes a failed check no better."""
    failed = task.run(SCRIPT, exit_codes="script 0\ncheck 1\n")

    end = task.push(failed)

    assert (end.status, end.reason, end.exit_code) == ("failed", "CheckFailed", 1)
    assert str(end.said) == str(failed.said)
    assert git(served, "rev-parse", "out") == end.result_commit


def test_a_branch_that_exists_fails_the_push_and_the_work_stays(task: Task, served: Path) -> None:
    """The work can be pushed again, elsewhere."""
    git(served, "branch", "out", "main")
    failed = task.run(SCRIPT)

    again = task.push(failed)
    end = task.push(failed, branch="third")

    assert (again.status, again.reason) == ("failed", "BranchExists")
    assert (end.status, end.result_branch) == ("succeeded", "third")


@pytest.mark.parametrize("content", [None, b"", b"# v2 git bundle\n", b"# v2 git bundle\n-xyz\n\n", b"nothing"])
def test_work_that_is_gone_or_damaged_is_told(task: Task, served: Path, content: bytes | None) -> None:
    """As `WorkMissing`, in a sentence that names the attempt; nothing is pushed."""
    failed = task.run(SCRIPT, exit_codes="script 1\n")
    bundle = task.root / "results" / task.id / "1" / "result.bundle"
    bundle.unlink() if content is None else bundle.write_bytes(content)

    end = task.push(failed)

    assert (end.status, end.reason) == ("failed", "WorkMissing")
    assert "attempt 1 kept" in str(end.said)
    assert git(served, "for-each-ref", "refs/heads/out") == ""


def test_a_damaged_object_in_kept_work_is_not_pushed(task: Task, served: Path) -> None:
    """Its hash is computed before anything is sent."""
    failed = task.run(SCRIPT, exit_codes="script 1\n")
    bundle = task.root / "results" / task.id / "1" / "result.bundle"
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2 + 60] ^= 0xFF
    bundle.write_bytes(content)

    end = task.push(failed)

    assert end.reason == "WorkMissing"
    assert git(served, "for-each-ref", "refs/heads/out") == ""


def test_a_link_in_the_place_of_kept_work_is_not_followed(task: Task) -> None:
    """The results' storage has files of other tasks."""
    failed = task.run(SCRIPT, exit_codes="script 1\n")
    bundle = task.root / "results" / task.id / "1" / "result.bundle"
    bundle.rename(bundle.with_name("moved"))
    bundle.symlink_to("moved")

    assert task.push(failed).reason == "WorkMissing"


# ------------------------------------------------------------ a push whose report was lost


def test_a_push_is_on_record_before_it_is_made(task: Task) -> None:
    """With the branch and the very commit."""
    end = task.run(SCRIPT)

    told = [entry for entry in task.reporting.entries if isinstance(entry, Pushing)]
    assert [(one.branch, one.commit) for one in told] == [("out", end.result_commit)]


def test_an_attempt_that_was_given_up_pushes_nothing(task: Task, served: Path) -> None:
    """keruta refuses the entry, since another attempt may be at work."""

    class GivenUp(Recording):
        def ask(self, entry: AnyEntry, stop: object) -> Outcome:
            self.entries.append(entry)
            return refused("StaleAttempt", message("attempt_not_current")) if isinstance(entry, Pushing) else _accepted

    _accepted = Outcome(accepted=True)
    task.reporting = GivenUp()

    end = task.run(SCRIPT)

    assert (end.reason, str(end.said)) == ("PushFailed", str(message("push_not_current")))
    assert git(served, "for-each-ref", "refs/heads/out") == ""


def test_the_branch_of_an_attempt_whose_end_was_never_told_is_replaced(world: World) -> None:
    """keruta knows what it was about to push, and gives it to the next attempt as the task's own."""
    task_id = world.submit(result=ResultBranch(branch="out"), retry={"policy": "always"})
    world.worker()
    world.assign()
    world.start(task_id)
    commit = "d" * 40
    pushing = Pushing(task=task_id, attempt=1, execution="x1", branch="out", commit=commit)
    assert world.report("w1", pushing)[0].accepted
    world.lease_runs_out(task_id)
    world.tick()
    world.database["tasks"].update_one({"_id": task_id}, [{"$set": {"claim": "$lane"}}])
    world.assign()

    (assigned,) = world.assigned("w1")

    assert assigned.attempt == 2
    assert assigned.specification is not None
    assert assigned.specification.pushed_earlier == [EarlierPush(branch="out", commit=commit)]
    late = world.report("w1", Pushing(task=task_id, attempt=1, execution="x1", branch="out", commit="e" * 40))
    assert (late[0].accepted, late[0].reason) == (False, "StaleAttempt")


def test_a_tip_that_may_be_ours_is_replaced_and_no_other(task: Task, served: Path) -> None:
    """Of all that earlier attempts were about to push, the one that is there counts."""
    first = task.run("echo 1 > 1")
    assert first.result_commit is not None
    ours = [EarlierPush(branch="out", commit=first.result_commit), EarlierPush(branch="out", commit="e" * 40)]

    second = task.run("echo 2 > 2", pushed_earlier=ours)
    theirs = commit_on(served, "out", "theirs")
    third = task.run("echo 3 > 3", pushed_earlier=ours)

    assert (second.status, second.result_branch) == ("succeeded", "out")
    assert third.reason == "BranchExists"
    assert git(served, "rev-parse", "out") == theirs


# ------------------------------------------------------------ a cancel while it is pushed


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("hold the pack", "cancelled", "push_cancelled"),
        ("hold the pack and go away", "cancelled", "push_cancelled_unknown"),
        ("hold the answer to the pack", "succeeded", None),
    ],
)
def test_a_cancelled_push_ends_with_the_grace_and_says_what_the_server_has(
    tmp_path: Path, fault: str, status: str, code: str | None
) -> None:
    """What it has counts; where it has nothing, or does not say, the work is kept."""
    make_repository(tmp_path / "a.git")
    reporting = Recording()
    with GitHttp(tmp_path) as server:
        repository = RepositoryRef(url=server.url("a.git"))
        specification = Specification(
            task=new_id(), attempt=1, repository=repository, script="x", result=ResultBranch(branch="out")
        )

        def cancel(job: Job) -> None:
            threading.Thread(target=lambda: server.held.wait(30) and job.stop(), daemon=True).start()

        server.faults = [fault]
        try:
            end = end_of(
                tmp_path, specification, "echo new > new.txt", reporting=reporting, cancel=cancel, grace_seconds=0.1
            )
        finally:
            server.released.set()

    assert (end.status, end.said.code if end.said else None) == (status, code), reporting.log
    assert (end.result_branch == "out") is (status == "succeeded")
    assert ("result.bundle" in [one.path for one in end.artifacts]) is (status == "cancelled")


# ------------------------------------------------------------ what keruta makes of it


def failed_with_work(world: World, **fields: object) -> str:
    task_id = world.submit(result=ResultBranch(branch="out", if_exists="replace"), **fields)
    world.worker()
    world.assign()
    world.start(task_id)
    world.end(
        task_id, status="failed", reason="CheckFailed", message="It failed.", exit_code=4, commit="c" * 40,
        artifacts=[BUNDLE],
    )  # fmt: skip
    return task_id


def test_a_push_is_queued_as_an_attempt_without_a_script(world: World) -> None:
    """Its specification has the work, how its attempt had ended, and nothing that a script would need."""
    task_id = failed_with_work(world, env={"A": "1"}, check="false")
    assert world.task(task_id).work_kept_by == 1

    task_commands.push(world.commands, ANN, task_id, PushRequest())
    world.assign()

    (assigned,) = world.assigned("w1")
    made = assigned.specification
    assert made is not None
    assert made.kept_work == KeptWork(
        attempt=1, commit="c" * 40, status="failed", reason="CheckFailed", message="It failed.", exit_code=4
    )
    assert (made.script, made.check, made.setup, made.env, made.secrets) == (":", None, [], {}, {})
    assert made.wanted_result == ResultBranch(branch="out", if_exists="replace")
    assert world.task(task_id).attempts[-1].pushes == 1
    assert world.database["audit"].find_one({"of": task_id, "action": "push", "who": "ann"})


def test_a_push_of_a_task_without_a_result_runs_no_script(world: World) -> None:
    """A file that is named like kept work is none, and the script does not run again in its place."""
    task_id = world.submit()
    world.worker()
    world.assign()
    world.start(task_id)
    world.end(task_id, status="failed", reason="ScriptFailed", message="No.", commit="c" * 40, artifacts=[BUNDLE])

    task_commands.push(world.commands, ANN, task_id, PushRequest(branch="other"))
    world.assign()

    made = world.assigned("w1")[0].specification
    assert made is not None
    assert made.fault is not None
    assert made.fault.reason == "WorkMissing"


def test_another_branch_is_not_replaced_unless_it_is_said(world: World) -> None:
    """The task's permission for its own branch does not extend to another."""
    task_id = failed_with_work(world)

    task_commands.push(world.commands, ANN, task_id, PushRequest(branch="other"))
    world.assign()

    made = world.assigned("w1")[0].specification
    assert made is not None
    assert made.wanted_result == ResultBranch(branch="other", if_exists="fail")


def test_a_push_that_is_cut_off_is_made_again_and_a_retry_runs_the_script(world: World) -> None:
    """A push may be repeated under every retry policy."""
    task_id = failed_with_work(world, retry={"policy": "never"}, script="make")
    task_commands.push(world.commands, ANN, task_id, PushRequest())
    world.assign()
    world.start(task_id, execution="x2")
    world.lease_runs_out(task_id)
    world.tick()
    assert world.task(task_id).status == "queued"
    world.database["tasks"].update_one({"_id": task_id}, [{"$set": {"claim": "$lane"}}])
    world.assign()
    assert world.task(task_id).attempts[-1].pushes == 1
    world.start(task_id, execution="x3")
    world.end(task_id, execution="x3", status="failed", reason="BranchExists", message="There.")

    task_commands.retry(world.commands, ANN, task_id)
    world.assign()

    made = world.assigned("w1")[0].specification
    assert made is not None
    assert (made.kept_work, made.script) == (None, "make")


def test_where_a_task_was_pushed_is_shown(world: World) -> None:
    """In the attempt that pushed it; its work can still be pushed elsewhere."""
    task_id = failed_with_work(world)
    task_commands.push(world.commands, ANN, task_id, PushRequest(branch="other"))
    world.assign()
    world.start(task_id, execution="x2")
    world.end(
        task_id, execution="x2", status="failed", reason="CheckFailed", message="It failed.", result_branch="other",
        result_commit="d" * 40,
    )  # fmt: skip

    shown = world.task(task_id)

    assert (shown.attempts[-1].result_branch, shown.attempts[-1].pushes) == ("other", 1)
    assert (shown.status, shown.reason, shown.work_kept_by) == ("failed", "CheckFailed", 1)


def test_who_may_not_retry_a_task_may_not_push_it(world: World) -> None:
    """And for whom it is not there, it is not there."""
    task_id = failed_with_work(world)

    with pytest.raises(Forbidden):
        task_commands.push(world.commands, person("bob", "developer"), task_id, PushRequest())
    world.database["tasks"].update_one({"_id": task_id}, {"$set": {"readers": ["user:ann"]}})
    with pytest.raises(NotFound):
        task_commands.push(world.commands, person("bob", "developer"), task_id, PushRequest())


def test_a_task_without_kept_work_is_not_pushed(world: World) -> None:
    """Nor one whose work went to its branch."""
    task_id = world.submit(result=ResultBranch(branch="out"))
    world.worker()
    world.assign()
    world.start(task_id)
    world.end(task_id, result_branch="out", result_commit="d" * 40)

    with pytest.raises(Conflict) as error:
        task_commands.push(world.commands, ANN, task_id, PushRequest())

    assert error.value.reason == "WrongStatus"


# ------------------------------------------------------------ on its page


def test_the_page_of_a_task_pushes_its_work(world: World, app: flask.Flask) -> None:
    """The form is there for whoever may retry the task; a name that is none is told, and nothing is queued."""
    task_id = failed_with_work(world)
    ann, bob = signed_in(app, ANN), signed_in(app, person("bob", "developer"))
    address = f"/tasks/{task_id}/push"
    assert address in ann.ask("GET", f"/tasks/{task_id}")[1]
    assert address not in bob.ask("GET", f"/tasks/{task_id}")[1]

    wrong, said = ann.ask("POST", address, {"branch": "a..b", "if_exists": "fail"})
    done, _ = ann.ask("POST", address, {"branch": "fix/two", "if_exists": "suffix"})

    assert (wrong, "a..b" in said, done) == (422, True, 303)
    assert world.document(task_id)["push"] == {"attempt": 1, "branch": "fix/two", "if_exists": "suffix"}
    assert address not in ann.ask("GET", f"/tasks/{task_id}")[1]


def test_the_route_pushes_and_says_what_is_wrong(world: World, app: flask.Flask) -> None:
    """The task as it is then; a fault with its place."""
    task_id = failed_with_work(world)
    ann = signed_in(app, ANN)

    status, said = ann.ask("POST", f"/api/v1/tasks/{task_id}/push", {"branch": "HEAD"})
    assert (status, '"/branch"' in said) == (422, True), said

    status, said = ann.ask("POST", f"/api/v1/tasks/{task_id}/push", {})
    assert (status, '"status":"queued"' in said) == (200, True), said
