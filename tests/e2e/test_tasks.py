"""Tasks on one machine, from the command line to the record."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import time
from pathlib import Path

import pytest

from keruta.client import ApiError
from tests.support.processes import command_line
from tests.support.repositories import git, make_repository
from tests.support.system import RunningSystem, eventually


def test_a_script_runs_on_the_commit_and_leaves_its_results(system: RunningSystem, repository: str) -> None:
    """Log, exit code, commit, outputs and artifacts are on record when a task has ended."""
    script = """
cat README.md
echo answer=42 >> "$KERUTA_OUTPUTS"
mkdir "$KERUTA_ARTIFACTS/deep" && printf result > "$KERUTA_ARTIFACTS/deep/file.txt"
git rev-parse HEAD
"""
    task_id = system.submit(repository, script, name="a task", labels={"team": "blue"})

    task = system.ended(task_id)

    assert (task.status, task.exit_code, task.reason) == ("succeeded", 0, None)
    assert "# A repository\n" in system.text(task_id)
    assert task.outputs == {"answer": "42"}
    assert [artifact.path for artifact in task.artifacts] == ["deep/file.txt", "log.gz"]
    assert task.attempts[0].commit is not None
    assert task.attempts[0].commit in system.text(task_id)
    assert task.history[0].status == "queued"
    assert task.started_at is not None
    content = io.BytesIO()
    system.client.artifact(task_id, "deep/file.txt", content)
    assert content.getvalue() == b"result"
    log = io.BytesIO()
    system.client.artifact(task_id, "log.gz", log)
    assert gzip.decompress(log.getvalue()).decode() == system.text(task_id)


def test_run_with_follow_ends_with_the_scripts_exit_code(system: RunningSystem, repository: str) -> None:
    """The log goes to standard output alone, and the exit code is the script's."""
    done = system.run("run", "--repo", repository, "--follow", "--", "sh", "-c", "echo out; exit 7")

    assert done.returncode == 7
    assert done.stdout.splitlines()[-1] == "out"
    assert "failed" in done.stderr
    assert "exit code 7" in done.stderr
    assert "\x1b[" not in done.stdout + done.stderr


def test_each_command_shows_a_task_to_a_person_and_to_a_program(system: RunningSystem, repository: str) -> None:
    """list, show, logs, artifacts: plain text in a pipe, JSON when asked."""
    task_id = system.run("run", "--repo", repository, "--name", "shown", "--", "echo", "hello").stdout.strip()
    system.ended(task_id)

    assert task_id in system.run("list", "--limit", "200").stdout
    assert re.search(r"status\s+succeeded", system.run("show", task_id).stdout)
    assert json.loads(system.run("show", task_id, "--json").stdout)["status"] == "succeeded"
    assert "hello" in system.run("logs", task_id).stdout
    lines = [json.loads(line) for line in system.run("logs", task_id, "--json").stdout.splitlines()]
    assert "hello\n" in [line["text"] for line in lines]
    assert "log.gz" in system.run("artifacts", task_id).stdout
    assert system.run("list", "--json").stdout.startswith("{")


def test_a_script_from_a_file_or_standard_input(system: RunningSystem, repository: str, tmp_path: Path) -> None:
    """--script takes a path or -, and a script that names its interpreter is run by it."""
    path = tmp_path / "script"
    path.write_text("#!/usr/bin/env python3\nprint('from', 'python')\n")

    by_file = system.run("run", "--repo", repository, "--script", str(path), "--follow")
    by_stdin = system.run("run", "--repo", repository, "--script", "-", "--follow", stdin="echo from stdin\n")

    assert "from python" in by_file.stdout
    assert "from stdin" in by_stdin.stdout


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("by-argument", ["printf", "agent: %s\n", "{prompt}"]),
        ("by-file", ["sh", "-c", 'printf "agent: "; cat "$1"', "-", "{prompt_file}"]),
        ("by-input", ["sh", "-c", 'printf "agent: "; cat']),
    ],
)
def test_a_prompt_goes_to_the_coding_agent_of_its_profile(
    system: RunningSystem, repository: str, name: str, command: list[str]
) -> None:
    """Whatever is in a prompt, it is a text: it takes no part in the command that it is given to."""
    prompt = "fix '\"$(it)`; touch /tmp/keruta-was-run"
    system.client.create("profile", {"name": name, "prompt": {"command": command}})

    task = system.client.submit({"repository": {"url": repository}, "prompt": prompt, "profile": name})

    assert system.ended(task.id).status == "succeeded"
    assert f"agent: {prompt}" in system.text(task.id)
    assert not Path("/tmp/keruta-was-run").exists()


def test_a_task_succeeds_only_if_its_check_does(system: RunningSystem, repository: str) -> None:
    """The check runs in the same workspace after the script; a failure says which of them it was."""
    good = system.submit(repository, "touch made", check="test -e made && echo checked")
    bad = system.submit(repository, "true", check="test -e made")
    skipped = system.submit(repository, "exit 3", check="echo checked")

    assert system.ended(good).status == "succeeded"
    assert "checked" in system.text(good)
    assert (system.ended(bad).reason, system.ended(bad).exit_code) == ("CheckFailed", 1)
    assert (system.ended(skipped).reason, system.ended(skipped).exit_code) == ("ScriptFailed", 3)
    assert "checked" not in system.text(skipped)


def test_cancel_ends_a_running_script_and_all_it_started(system: RunningSystem, repository: str) -> None:
    """The script is told within 3 s, has its grace, and nothing of it goes on."""
    script = "trap 'echo told; exit 0' TERM; sleep 1000 & setsid sleep 1001 & echo ready; wait"
    task_id = system.submit(repository, script)
    eventually(lambda: "ready" in system.text(task_id))

    began = time.monotonic()
    system.client.cancel(task_id)
    task = system.ended(task_id)

    assert task.status in ("cancelled", "succeeded")
    assert time.monotonic() - began < 3 + 2
    assert "told" in system.text(task_id)
    assert not [p for p in system.processes() if command_line(p)[:1] == ["sleep"]]


def test_a_script_that_does_not_listen_is_killed_after_its_grace(system: RunningSystem, repository: str) -> None:
    """SIGKILL follows SIGTERM."""
    task_id = system.submit(repository, "trap '' TERM; echo ready; while :; do sleep 1; done")
    eventually(lambda: "ready" in system.text(task_id))

    system.client.cancel(task_id)

    task = system.ended(task_id, 15)
    assert (task.status, task.reason) == ("cancelled", "Cancelled")


def test_a_task_that_takes_too_long_is_ended(system: RunningSystem, repository: str) -> None:
    """DeadlineExceeded, with the limit in the sentence."""
    task = system.ended(system.submit(repository, "sleep 60", timeout_seconds=1))

    assert (task.status, task.reason) == ("failed", "DeadlineExceeded")
    assert "timeout_seconds, 1" in (task.message or "")


def test_a_script_that_reads_is_waiting_until_someone_answers(system: RunningSystem, repository: str) -> None:
    """A read of standard input shows as `waiting`, and gets what a person sends, in order."""
    task_id = system.submit(repository, "printf 'Your name? '; read name; echo \"Hello $name\"; read more; echo $more")

    task = system.reaches(task_id, "waiting")
    assert task.question == "Your name?"
    assert system.run("input", task_id, "世界 $name").returncode == 0
    system.client.input(task_id, "and more")

    assert system.ended(task_id).status == "succeeded"
    assert "Hello 世界 $name\nand more\n" in system.text(task_id)


def test_a_script_may_ask_in_words(system: RunningSystem, repository: str) -> None:
    """The text in $KERUTA_ASK is the question, until the file is removed."""
    script = 'echo "Which one?" > "$KERUTA_ASK"; read answer; rm "$KERUTA_ASK"; echo "it is $answer"; sleep 1.5'
    task_id = system.submit(repository, script)

    assert system.reaches(task_id, "waiting").question == "Which one?"
    system.client.input(task_id, "this")
    system.reaches(task_id, "running")

    system.ended(task_id)
    assert "it is this" in system.text(task_id)


def test_children_that_a_script_leaves_behind_are_ended(system: RunningSystem, repository: str) -> None:
    """A task has ended when its script has, and nothing of it goes on in secret."""
    task_id = system.submit(repository, "setsid sleep 1002 & sleep 1003 & echo left; exit 0")

    assert system.ended(task_id).status == "succeeded"
    assert not [p for p in system.processes() if command_line(p)[:1] == ["sleep"]]


def test_a_script_that_closes_its_output_still_ends(system: RunningSystem, repository: str) -> None:
    """The earlier output and the exit code are there."""
    task = system.ended(system.submit(repository, "echo before; exec >&- 2>&-; sleep 0.3; exit 4"))

    assert (task.status, task.exit_code) == ("failed", 4)
    assert "before" in system.text(task.id)


def test_a_script_that_forks_until_it_is_stopped(system: RunningSystem, repository: str) -> None:
    """All of it is ended, though it makes new processes all the time."""
    script = "echo ready; f() { sleep 0.05; (f &) ; (f &); }; i=0; while :; do (sleep 5 &); sleep 0.01; done"
    task_id = system.submit(repository, script)
    eventually(lambda: "ready" in system.text(task_id))

    system.client.cancel(task_id)

    assert system.ended(task_id, 20).status == "cancelled"
    assert not [p for p in system.processes() if command_line(p)[:1] == ["sleep"]]


def test_whatever_bytes_a_script_writes_arrive(system: RunningSystem, repository: str) -> None:
    """Invalid UTF-8, NUL bytes, colours: the text log gives the very bytes."""
    script = r"printf '\033[31mred\033[0m \377\376 \000 end\n'"
    task_id = system.submit(repository, script)
    system.ended(task_id)

    assert b"\x1b[31mred\x1b[0m \xff\xfe \x00 end\n" in b"".join(system.client.logs(task_id))


def test_a_line_of_10_mb_arrives_whole(system: RunningSystem, repository: str) -> None:
    """A line may be longer than a chunk."""
    task_id = system.submit(repository, "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo after")
    system.ended(task_id)

    lines = system.text(task_id).splitlines()
    assert len(lines[-2]) == 10_000_000
    assert lines[-1] == "after"


@pytest.mark.timeout(180)
def test_of_100_mb_of_log_the_head_the_tail_and_the_whole_file_are_kept(system: RunningSystem, repository: str) -> None:
    """MongoDB keeps up to its limit, the cut is said where it is, and the artifact has all of it."""
    script = "i=0; yes 'a line of the log that is repeated' | head -c 100000000; echo; echo the very end"
    task_id = system.submit(repository, script)

    task = system.ended(task_id, 120)

    text = system.text(task_id)
    assert task.status == "succeeded"
    assert 10_000_000 < len(text) <= 17 * 1024 * 1024
    assert "bytes are left out here; the whole log is the artifact log.gz" in text
    assert text.endswith("the very end\n")
    log = io.BytesIO()
    system.client.artifact(task_id, "log.gz", log)
    assert len(gzip.decompress(log.getvalue())) > 100_000_000


def test_a_result_branch_is_pushed_with_what_the_script_changed(system: RunningSystem, tmp_path: Path) -> None:
    """Commits and uncommitted changes are on the branch; the hooks and configuration of the workspace are not used."""
    commit = make_repository(tmp_path / "push.git")
    script = """
git -c user.name=a -c user.email=a@b commit -q --allow-empty -m 'the script commits'
echo changed > README.md; echo new > new.txt; rm src/a.txt
mkdir -p .git/hooks; cd .git/hooks
printf '#!/bin/sh\\ntouch /tmp/keruta-hook-ran\\n' > pre-push; chmod +x pre-push; cd ../..
git config core.fsmonitor 'touch /tmp/keruta-hook-ran'
git config filter.x.clean 'touch /tmp/keruta-hook-ran'; echo '* filter=x' > .git/info/attributes 2>/dev/null || true
"""
    task_id = system.submit((tmp_path / "push.git").as_uri(), script, result_branch="results/one")

    task = system.ended(task_id)

    assert task.status == "succeeded", task.message
    attempt = task.attempts[0]
    assert attempt.result_branch == "results/one"
    assert git(tmp_path / "push.git", "rev-parse", "results/one") == attempt.result_commit
    assert git(tmp_path / "push.git", "show", "results/one:README.md") == "changed"
    assert git(tmp_path / "push.git", "ls-tree", "--name-only", "results/one").split() == ["README.md", "new.txt"]
    subjects = git(tmp_path / "push.git", "log", "--format=%s", f"{commit}..results/one").splitlines()
    assert subjects[1:] == ["the script commits"]
    assert task_id in git(tmp_path / "push.git", "log", "-1", "--format=%B", "results/one")
    assert not Path("/tmp/keruta-hook-ran").exists()


def test_work_that_was_kept_is_pushed_by_a_command(system: RunningSystem, tmp_path: Path) -> None:
    """To another branch, since the first was there; the task shows where it is, and has succeeded."""
    make_repository(tmp_path / "later.git")
    url = (tmp_path / "later.git").as_uri()
    task_id = system.submit(url, "echo new > new.txt", result_branch="main")
    assert system.ended(task_id).reason == "BranchExists"

    done = system.run("push", task_id, "other", "--follow")

    assert done.returncode == 0, done.stderr
    task = system.ended(task_id)
    assert (task.status, task.attempts[-1].result_branch, task.attempts[-1].pushes) == ("succeeded", "other", 1)
    assert git(tmp_path / "later.git", "show", "other:new.txt") == "new"
    assert "pushes the work of attempt 1, pushed other" in system.run("show", task_id).stdout


def test_a_retry_is_another_attempt_of_the_same_task(system: RunningSystem, repository: str) -> None:
    """The attempts before it stay on record, each with its own log."""
    task_id = system.submit(repository, 'echo "this is attempt $KERUTA_ATTEMPT"; test "$KERUTA_ATTEMPT" = 2')
    assert system.ended(task_id).status == "failed"

    system.client.retry(task_id)
    task = eventually(lambda: (t := system.ended(task_id)).status == "succeeded" and t)

    assert [attempt.outcome for attempt in task.attempts] == ["failed", "succeeded"]
    assert "this is attempt 2" in system.text(task_id)
    assert "this is attempt 1" in b"".join(system.client.logs(task_id, attempt=1)).decode()
    with pytest.raises(ApiError, match="can't be retried"):
        system.client.retry(task_id)


def test_a_waiting_task_says_its_position_and_why(system: RunningSystem, repository: str) -> None:
    """With every slot taken, the queue has an order and a reason, and a cancelled one never starts."""
    slots = os.cpu_count() or 2
    holding = [system.submit(repository, "sleep 30", name="holds") for _ in range(slots + 2)]
    eventually(lambda: len(system.client.tasks(status="running", limit=200).items) >= slots)
    second = system.submit(repository, "echo second")
    first = system.submit(repository, "echo first", priority=5)
    try:
        eventually(lambda: system.client.task(second).waiting is not None)
        waiting = system.client.task(second).waiting
        assert waiting is not None
        ahead = system.client.task(first).waiting
        assert ahead is not None
        assert ahead.position == 0
        assert waiting.position >= 1
        assert "slot" in waiting.why
        assert system.client.cancel(second).status == "cancelled"
    finally:
        for task_id in holding:
            system.client.cancel(task_id)
    assert system.ended(first).status == "succeeded"
    assert system.client.task(second).attempts == []


def test_a_follower_that_comes_back_sees_each_chunk_once(system: RunningSystem, repository: str) -> None:
    """Last-Event-ID takes the stream up where it broke off."""
    task_id = system.submit(repository, "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.2; done")
    seen = "".join(event.text for event in system.client.follow(task_id) if event.kind == "log")

    assert [line for line in seen.splitlines() if line.startswith("line")] == [f"line {i}" for i in range(1, 7)]


def test_errors_are_a_sentence_on_standard_error(system: RunningSystem, repository: str) -> None:
    """Bad input names every field that is wrong, and a task that is not there is said so."""
    missing = system.run("show", "0" * 26)
    wrong = system.run("run", "--repo", "ext::sh -c true", "--queue", "No Such", "--", "true")

    assert (missing.returncode, missing.stderr) == (1, "keruta: There is no such task.\n")
    assert wrong.returncode == 1
    assert "/repository/url" in wrong.stderr
    assert "/queue" in wrong.stderr


def test_doctor_finds_a_running_system_well(system: RunningSystem) -> None:
    """Exit code 0 and what it looked at."""
    done = system.run("doctor", "--json")

    findings = json.loads(done.stdout)
    assert {finding["state"] for finding in findings} <= {"ok", "note"}, findings
    assert any("mongod" in finding["what"] for finding in findings)


def test_env_gives_what_curl_needs(system: RunningSystem) -> None:
    """The two variables, quoted for a shell."""
    system._environ["KERUTA_HOME"] = str(system.state.root)
    done = system.run("env")

    assert done.stdout.splitlines()[0] == f"export KERUTA_URL={system.running.url}"
    assert done.stdout.splitlines()[1].startswith("export KERUTA_TOKEN=ey")


def test_the_process_list_and_the_logs_hold_no_token(system: RunningSystem, repository: str) -> None:
    """Tokens are in files of mode 0600 and in headers, nowhere else."""
    system.ended(system.submit(repository, "env"))
    token = system.running.token

    for process in system.processes():
        assert token not in " ".join(command_line(process))
    for log in (system.state.root / "log").iterdir():
        assert "eyJ" not in log.read_text(errors="replace"), log
