"""Triggers by a real Gitea's webhooks, on one machine, made with the commands of docs/how-to/connect-a-forge.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gitea import PASSWORD, Gitea, running_gitea
from tests.support.repositories import git
from tests.support.system import RunningSystem, eventually

SECRET = "4f1c" * 16
SCRIPT = """git log -1 --format=%H
printf "%s|" "$KERUTA_PARAM_EVENT" "$KERUTA_PARAM_REF" "$KERUTA_PARAM_SENDER" "$KERUTA_PARAM_TITLE"
"""


class Forge:
    """A Gitea and a keruta on this machine that are connected by one trigger."""

    def __init__(self, gitea: Gitea, system: RunningSystem, root: Path) -> None:
        self.gitea, self.system, self.clone = gitea, system, root / "seed.git.work"
        # An account of its own: what it does itself starts nothing.
        for name, text in (("token", gitea.account("keruta")), ("secret", SECRET), ("script", SCRIPT)):
            (root / name).write_text(text)
        host = gitea.url.partition("://")[2]
        for name, kind in (("app-read", ("token", "--username", "keruta")), ("git-api", ("forge_token",))):
            self.keruta("credentials", "create", name, "--type", *kind, "--hosts", host,
                        "--token-file", str(root / "token"))  # fmt: skip
        self.keruta("credentials", "create", "app-webhook", "--type", "webhook_secret",
                    "--value-file", str(root / "secret"))  # fmt: skip
        self.keruta("forges", "create", "git", "--type", "gitea", "--url", gitea.url, "--credential", "git-api",
                    "--webhook-secret", "app-webhook")  # fmt: skip
        self.keruta("forges", "add", "git", "lab/app", "--read-credential", "app-read")
        self.keruta("triggers", "create", "app-push", "--repository", "app", "--forge", "git",
                    "--events", "push", "--events", "tag", "--events", "pull_request", "--events", "comment",
                    "--script-file", str(root / "script"), "--concurrency", "replace")  # fmt: skip
        self.keruta("forges", "connect", "git", "app-push")

    def keruta(self, *arguments: str) -> str:
        done = self.system.run(*arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def deliveries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.keruta("triggers", "deliveries", "app-push", "--json").splitlines()]

    def delivered(self, event: str, status: str, before: int = 0) -> dict[str, Any]:
        """Wait for the newest delivery of this event that ended so."""

        def found() -> dict[str, Any] | None:
            those = [one for one in self.deliveries() if (one["event"], one["state"]) == (event, status)]
            return those[0] if len(those) > before else None

        return eventually(found, 60, f"a delivery of {event} that is {status}: {self.deliveries()}", pause=0.3)

    def status(self, commit: str, state: str) -> dict[str, Any] | None:
        """The newest status of a commit, if it is in that state."""
        found = self.gitea.call("GET", f"/repos/lab/app/commits/{commit}/status")["statuses"] or [{}]
        return found[0] if found[0].get("status") == state else None

    def output(self, task: str) -> list[str]:
        """The lines that the script printed."""
        return [line for line in self.system.text(task).splitlines() if not line.startswith("[keruta]")]

    def push(self, branch: str, file: str, remote: str | None = None) -> str:
        git(self.clone, "checkout", "-q", "-B", branch, "main")
        (self.clone / file).write_text(branch)
        git(self.clone, "add", "--all")
        git(self.clone, "commit", "-q", "-m", f"Add {file}")
        git(self.clone, "push", "-q", remote or self.remote("lab", self.gitea.owner.token or ""), branch)
        return git(self.clone, "rev-parse", "HEAD").strip()

    def remote(self, user: str, token: str, path: str = "lab/app") -> str:
        return self.gitea.url.replace("://", f"://{user}:{token}@") + f"/{path}.git"


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    root = tmp_path_factory.mktemp("forge")
    with (
        running_gitea(root) as gitea,
        RunningSystem(tmp_path_factory.mktemp("machine") / "home", {"KERUTA_GRACE_SECONDS": "2"}) as system,
    ):
        yield Forge(gitea, system, root)


def test_a_forge_is_signed_in_at_and_its_repositories_are_found(forge: Forge) -> None:
    """And a webhook that is there is not made twice."""
    check = json.loads(forge.keruta("forges", "validate", "git", "--json"))
    assert (check["signed_in"], check["account"]) == (True, "keruta")
    found = json.loads(forge.keruta("forges", "repositories", "git", "--json").splitlines()[0])
    assert (found["repository"], found["default_branch"], found["added"]) == ("lab/app", "main", "app")
    assert json.loads(forge.keruta("forges", "connect", "git", "app-push", "--json"))["made"] is False
    assert len(forge.gitea.call("GET", "/repos/lab/app/hooks")) == 1


def test_a_push_starts_one_task_at_its_commit(forge: Forge) -> None:
    """Its script sees the event as variables."""
    commit = forge.push("topic", "topic.txt")

    started = forge.delivered("push", "started")
    task = forge.system.ended(started["task"])

    assert task.status == "succeeded", task.message
    assert forge.output(task.id) == [commit, "push|topic|lab||"]
    status = eventually(lambda: forge.status(commit, "success"), 60, "the status of the commit", pause=0.3)
    assert status["target_url"] == f"{forge.system.running.url}/tasks/{task.id}"
    assert status["context"] == "keruta/app-push"


def test_an_annotated_tag_starts_a_task_at_its_commit(forge: Forge) -> None:
    git(forge.clone, "tag", "-a", "v1", "-m", "One", "main")
    git(forge.clone, "push", "-q", forge.remote("lab", forge.gitea.owner.token or ""), "v1")

    task = forge.system.ended(forge.delivered("push", "started", before=1)["task"])

    assert forge.output(task.id)[0] == git(forge.clone, "rev-parse", "main").strip()


def test_a_pull_request_of_a_branch_starts_a_task(forge: Forge) -> None:
    commit = forge.push("change", "change.txt")
    body = {"title": "$(touch /tmp/x); 変更", "head": "change", "base": "main"}
    forge.gitea.call("POST", "/repos/lab/app/pulls", body)

    task = forge.system.ended(forge.delivered("pull_request", "started")["task"])

    assert task.status == "succeeded", task.message
    lines = forge.output(task.id)
    assert lines[0] == commit
    assert lines[1].endswith("|lab|$(touch /tmp/x); 変更|")


def test_a_pull_request_of_a_fork_waits_until_somebody_approves_it(forge: Forge) -> None:
    """And the next push to it waits again."""
    stranger = forge.gitea.person("stranger", "read")
    remote = forge.remote("stranger", PASSWORD, "stranger/app")
    forge.gitea.call("POST", "/repos/lab/app/forks?sudo=stranger", {})
    commit = forge.push("fork", "fork.txt", remote)
    body = {"title": "From a fork", "head": f"{stranger.username}:fork", "base": "main"}
    forge.gitea.call("POST", "/repos/lab/app/pulls?sudo=stranger", body)

    waits = forge.delivered("pull_request", "held")
    forge.keruta("triggers", "approve", "app-push", waits["id"])
    started = eventually(
        lambda: next((d for d in forge.deliveries() if d["id"] == waits["id"] and d["state"] == "started"), None), 60
    )
    task = forge.system.ended(started["task"])
    assert task.status == "succeeded", task.message
    assert forge.output(task.id)[0] == commit

    git(forge.clone, "commit", "-q", "--allow-empty", "-m", "More")
    git(forge.clone, "push", "-q", remote, "fork")
    again = forge.delivered("pull_request", "held")
    assert again["id"] != waits["id"]


def test_a_comment_starts_a_task_at_the_default_branch(forge: Forge) -> None:
    issue = forge.gitea.call("POST", "/repos/lab/app/issues", {"title": "A fault"})
    forge.gitea.call("POST", f"/repos/lab/app/issues/{issue['number']}/comments", {"body": "please"})

    task = forge.system.ended(forge.delivered("issue_comment", "started")["task"])

    assert task.status == "succeeded", task.message


def test_an_issue_ends_in_one_comment_and_a_pull_request(forge: Forge, tmp_path: Path) -> None:
    """What keruta itself writes there starts nothing."""
    script = tmp_path / "fix.sh"
    script.write_text('echo "$KERUTA_PARAM_NUMBER" > fixed.txt; git add fixed.txt; git commit -q -m Fix')
    template = '{"title": "Fix #{number}: {title}", "body": "From {branch}.", "draft": true}'
    forge.keruta("triggers", "create", "app-fix", "--repository", "app", "--forge", "git", "--events", "issue",
                 "--script-file", str(script), "--report", "comment",
                 "--result", '{"branch": "keruta/fix", "if_exists": "update"}', "--pull-request", template)  # fmt: skip
    forge.keruta("forges", "connect", "git", "app-fix")
    number = forge.gitea.call("POST", "/repos/lab/app/issues", {"title": "A fault"})["number"]

    pulls = "/repos/lab/app/pulls?state=open"
    made = eventually(
        lambda: next((one for one in forge.gitea.call("GET", pulls) if one["head"]["ref"] == "keruta/fix"), None), 60
    )
    assert (made["title"], made["base"]["ref"]) == (f"WIP: Fix #{number}: A fault", "main")
    assert made["body"].startswith("From keruta/fix.")

    def told() -> list[dict[str, Any]]:
        found = forge.gitea.call("GET", f"/repos/lab/app/issues/{number}/comments")
        return found if found and "Succeeded." in found[0]["body"] else []

    assert len(eventually(told, 60, "a comment on the issue", pause=0.3)) == 1
    forge.delivered("issue_comment", "ignored")
    eventually(lambda: "delivery_own" in {one["message_code"] for one in forge.deliveries()}, 60, "its own comment")


def test_a_command_on_a_pull_request_starts_a_task_at_its_commit(forge: Forge, tmp_path: Path) -> None:
    """For one who may write; one who may only read starts nothing, and a quoted command none either. Closing it ends
    what still runs.
    """
    script = tmp_path / "command.sh"
    script.write_text(
        'git rev-parse HEAD; echo "$KERUTA_PARAM_ARGUMENTS"; [ "$KERUTA_PARAM_ARGUMENTS" != wait ] || sleep 300'
    )
    forge.keruta("triggers", "create", "app-command", "--repository", "app", "--forge", "git", "--events", "comment",
                 "--command", "/keruta fix", "--script-file", str(script))  # fmt: skip
    forge.keruta("forges", "connect", "git", "app-command")
    forge.gitea.person("reads", "read")
    writes = forge.gitea.person("writes", "write")
    commit = forge.push("command", "command.txt")
    body = {"title": "Command", "head": "command", "base": "main"}
    number = forge.gitea.call("POST", "/repos/lab/app/pulls", body)["number"]

    def comment(who: str, text: str) -> None:
        forge.gitea.call("POST", f"/repos/lab/app/issues/{number}/comments?sudo={who}", {"body": text})

    def came(code: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            lines = forge.keruta("triggers", "deliveries", "app-command", "--json").splitlines()
            return next((one for one in map(json.loads, lines) if one["message_code"] == code), None)

        return eventually(found, 60, f"a delivery with {code}", pause=0.3)

    comment("reads", "/keruta fix this")
    came("delivery_permission")
    comment(writes.username, "> /keruta fix this")
    came("delivery_no_command")
    comment(writes.username, "Please:\n/keruta fix the tests")
    task = forge.system.ended(came("delivery_started")["task"])
    assert forge.output(task.id)[-2:] == [commit, "the tests"]

    comment(writes.username, "/keruta fix wait")

    def running() -> str | None:
        those = forge.system.client.tasks(status="running", limit=50).items
        return next((one.id for one in those if (one.name or "").startswith("app-command")), None)

    waits = eventually(running, 60, "the task to run", pause=0.3)
    forge.gitea.call("PATCH", f"/repos/lab/app/pulls/{number}", {"state": "closed"})
    came("delivery_ended")
    assert forge.system.ended(waits).status == "cancelled"


def test_a_push_whose_delivery_was_lost_is_found(forge: Forge) -> None:
    """By comparing the forge's branches with what it has told."""

    def compare() -> None:
        with forge.system.database_client() as client:
            keruta = client["keruta"]
            was = (keruta["triggers"].find_one({"_id": "app-push"}) or {}).get("compared_at")
            past = [{"$set": {"missing_since": {"$subtract": ["$missing_since", 600_000]}}}]
            keruta["forge_heads"].update_many({"missing_since": {"$exists": True}}, past)
            others = [{"$set": {"compare_at": {"$add": ["$$NOW", 10**8]}}}]
            keruta["triggers"].update_many({"_id": {"$ne": "app-push"}}, others)
            keruta["triggers"].update_one({"_id": "app-push"}, [{"$set": {"compare_at": "$$NOW"}}])

            def done() -> bool:
                now = (keruta["triggers"].find_one({"_id": "app-push"}) or {}).get("compared_at")
                return now is not None and now != was

            eventually(done, 60, "a comparison", pause=0.3)

    compare()
    hooks = forge.gitea.call("GET", "/repos/lab/app/hooks")
    for hook in hooks:
        forge.gitea.call("PATCH", f"/repos/lab/app/hooks/{hook['id']}", {"active": False})
    commit = forge.push("lost", "lost.txt")
    compare()
    compare()

    def made() -> dict[str, Any] | None:
        those = [one for one in forge.deliveries() if (one["commit"], one["state"]) == (commit, "started")]
        return those[0] if those else None

    found = eventually(made, 60, "a delivery of the lost push", pause=0.3)
    assert found["delivery"].startswith("recovered-")
    assert forge.output(forge.system.ended(found["task"]).id)[0] == commit
    for hook in hooks:
        forge.gitea.call("PATCH", f"/repos/lab/app/hooks/{hook['id']}", {"active": True})
