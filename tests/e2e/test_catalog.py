"""The catalog through the API and the command line, on real Git servers: what a team keeps, and tasks that use it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import bson
import pytest

from keruta.client import ApiError
from keruta.domain.naming import new_id
from tests.support.github import GitHubApi
from tests.support.gitservers import GitHttp, GitSsh
from tests.support.processes import command_lines
from tests.support.repositories import git, make_repository
from tests.support.system import RunningSystem, eventually

READ_TOKEN = "r3ad-t0ken-of-these-tests"
PUSH_TOKEN = "pu5h-t0ken-of-these-tests"
VALUE = "v4lue-that-a-script-asks-for"
APP_TOKEN = "ghs_app-t0ken-of-these-tests"


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHttp]:
    root = tmp_path_factory.mktemp("git")
    make_repository(root / "team" / "app.git")
    users = {"reader": (READ_TOKEN, False), "pusher": (PUSH_TOKEN, True), "x-access-token": (APP_TOKEN, True)}
    with GitHttp(root, users) as server:
        yield server


@pytest.fixture(scope="module")
def credentials(system: RunningSystem) -> None:
    """A reader's and a pusher's, and a value for scripts."""
    for name, user, token in (("reader", "reader", READ_TOKEN), ("pusher", "pusher", PUSH_TOKEN)):
        system.client.create("credential", {"name": name, "type": "token", "username": user, "token": token})
    system.client.create("credential", {"name": "value", "type": "secret", "value": VALUE})


def repository(system: RunningSystem, http: GitHttp, **fields: object) -> str:
    """An entry for the same repository, at an address of its own: an address belongs to one entry."""
    name = f"app-{new_id()[-8:]}"
    (http.root / "team" / f"{name}.git").symlink_to("app.git")
    system.client.create("repository", {"name": name, "url": http.url(f"team/{name}.git"), **fields})
    return name


def submit(system: RunningSystem, repository: str, script: str, **more: object) -> str:
    return system.client.submit({"repository": repository, "script": script, **more}).id


# ---------------------------------------------------------------- repositories and credentials


def test_reading_and_pushing_with_separate_credentials(system: RunningSystem, http: GitHttp, credentials: None) -> None:
    """Each does its own part; swapped, the push is refused."""
    right = repository(system, http, read_credential="reader", push_credential="pusher")
    swapped = repository(system, http, read_credential="pusher", push_credential="reader")

    good = system.ended(submit(system, right, "echo more > new.txt", result_branch="good"))
    bad = system.ended(submit(system, swapped, "echo more > new.txt", result_branch="bad"))

    assert (good.status, good.attempts[0].result_branch) == ("succeeded", "good")
    assert git(http.root / "team" / "app.git", "show", "good:new.txt") == "more"
    assert (bad.status, bad.reason) == ("failed", "PushRefused")


def test_a_repository_over_ssh(system: RunningSystem, tmp_path: Path) -> None:
    (tmp_path / "ssh").mkdir()
    commit = make_repository(tmp_path / "a.git")
    with GitSsh(tmp_path / "ssh") as server:
        key = {"type": "ssh", "private_key": server.key, "known_hosts": server.known_hosts}
        system.client.create("credential", {"name": "deploy-key", **key})
        system.client.create(
            "repository",
            {"name": "over-ssh", "url": server.url(tmp_path / "a.git"), "read_credential": "deploy-key"},
        )

        task = system.ended(submit(system, "over-ssh", "git rev-parse HEAD"))
        found = system.client.validate("over-ssh")

    assert (task.status, task.attempts[0].commit) == ("succeeded", commit)
    assert (found.authenticated, found.default_branch) == (True, "main")


def test_a_github_app_gives_each_attempt_a_token_of_its_own(system: RunningSystem, http: GitHttp) -> None:
    """Asked for one repository, to read, and apart from that to write; the App's key stays where it is."""
    with GitHubApi(APP_TOKEN) as api:
        app: dict[str, object] = {"type": "github_app", "app_id": "77", "installation_id": "88", "api_url": api.url}
        app["hosts"] = [urlsplit(http.url("")).netloc]
        system.client.create("credential", {"name": "the-app", **app, "private_key": api.private_key})
        name = repository(system, http, read_credential="the-app", push_credential="the-app")

        task = system.ended(submit(system, name, "echo by-app > app.txt", result_branch="by-app"))

    assert task.status == "succeeded", task.message
    rights = [asked["permissions"]["contents"] for asked in api.asked]
    assert (rights[0], rights[-1]) == ("read", "write")
    assert {asked["path"] for asked in api.asked} == {"/app/installations/88/access_tokens"}
    assert all(asked["repositories"] == [name] and asked["app"] == "77" for asked in api.asked)


def test_validate_says_what_is_there_or_what_is_wrong(system: RunningSystem, http: GitHttp, credentials: None) -> None:
    """Within 10 s, of the real server."""
    good = system.client.validate(repository(system, http, read_credential="reader", default_ref="main"))
    no_ref = system.client.validate(repository(system, http, read_credential="reader", default_ref="none"))
    refused = system.client.validate(repository(system, http))
    gone = system.client.validate(repository(system, http, url=http.url("team/none.git"), read_credential="reader"))
    away = system.client.validate(repository(system, http, url="http://127.0.0.1:1/x.git"))
    http.slow_seconds = 30
    try:
        slow = system.client.validate(repository(system, http, read_credential="reader"))
    finally:
        http.slow_seconds = 0

    assert (good.reachable, good.authenticated, good.default_branch, good.reason) == (True, True, "main", None)
    assert "main" in good.branches
    assert (no_ref.reason, no_ref.default_ref_found) == ("RefNotFound", False)
    assert (refused.reachable, refused.authenticated, refused.reason) == (True, False, "CloneAuthFailed")
    assert (gone.authenticated, gone.reason) == (True, "RepositoryNotFound")
    assert (away.reachable, away.reason) == (False, "CloneFailed")
    assert (slow.reachable, slow.message) == (False, "The Git server did not answer in time.")
    assert slow.took_seconds < 10


def test_files_that_git_lfs_keeps(system: RunningSystem, http: GitHttp, credentials: None) -> None:
    if shutil.which("git-lfs") is None:
        pytest.skip("SKIPPED LOUDLY: no git-lfs on this machine (apt-get install git-lfs)")
    pointer = http.lfs.add(b"a large file\n")
    files = {"big.bin": pointer, ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"}
    make_repository(http.root / "team" / "large.git", files)
    fields = {"url": http.url("team/large.git"), "read_credential": "reader"}

    fetching = repository(system, http, **fields, push_credential="pusher", lfs=True)
    script = "cat big.bin; echo another large one > more.bin"
    whole = system.ended(submit(system, fetching, script, result_branch="out"))
    (http.root / "team" / "pointers.git").symlink_to("large.git")
    fields["url"] = http.url("team/pointers.git")
    pointed = system.ended(submit(system, repository(system, http, **fields), "cat big.bin"))

    assert whole.status == "succeeded", whole.message
    assert "a large file\n" in system.text(whole.id)
    assert "oid sha256:" in system.text(pointed.id)
    assert git(http.root / "team" / "large.git", "show", "out:big.bin") == pointer.decode().strip()
    assert "oid sha256:" in git(http.root / "team" / "large.git", "show", "out:more.bin")
    assert b"another large one\n" in http.lfs.files.values()


# ---------------------------------------------------------------- profiles, documents


def test_a_profile_sets_a_job_up(system: RunningSystem, repository: str, credentials: None) -> None:
    """Set-up runs before the script; environment and secrets are there by name; the value is masked in the log."""
    profile = {"setup": ["echo setting up", "touch tool"], "env": {"A": "b"}, "secrets": {"KEY": "value"}}
    system.client.create("profile", {"name": "tools", **profile})
    script = 'ls tool; echo "A is $A"; echo "KEY has ${#KEY} letters: $KEY"; env | grep -c t0ken'

    task = system.ended(system.submit(repository, script, profile="tools"))

    text = system.text(task.id)
    assert "setting up\ntool\nA is b\n" in text
    assert f"KEY has {len(VALUE)} letters: ***" in text
    assert text.endswith("0\n")
    assert VALUE not in text


def test_a_set_up_that_fails_is_said_so(system: RunningSystem, repository: str) -> None:
    system.client.create("profile", {"name": "broken", "setup": ["echo first", "exit 4", "echo never"]})

    task = system.ended(system.submit(repository, "echo script", profile="broken"))

    assert (task.status, task.reason, task.exit_code) == ("failed", "SetupFailed", 4)
    assert "first" in system.text(task.id)
    assert "never" not in system.text(task.id)


def test_what_one_machine_can_not_honour_is_said_in_the_task(system: RunningSystem, repository: str) -> None:
    """In the attempt and in its log; not in silence, and not where nothing was asked."""
    told = system.ended(system.submit(repository, "true", profile="python"))
    plain = system.ended(system.submit(repository, "true"))

    assert told.attempts[0].notes == [
        "This worker runs scripts as processes, so image and resources of the profile python have no effect."
    ]
    assert told.attempts[0].notes[0] in system.text(told.id)
    assert plain.attempts[0].notes == []


def test_documents_lie_read_only_beside_the_script(system: RunningSystem, repository: str) -> None:
    """By name and by tag, at the version of the submit, with an index."""
    for name, text in (("style-guide", "# 規約\n"), ("review", "how\n"), ("other", "no\n")):
        tags = ["team"] if name != "other" else []
        system.client.create("document", {"name": name, "title": name.title(), "text": text, "tags": tags})
    script = """
cd "$KERUTA_DOCUMENTS"; ls; cat style-guide.md INDEX.md; python3 -m json.tool index.json | grep -c version
echo changed 2>&1 >> style-guide.md; touch new 2>&1; true
"""
    task = system.ended(
        system.client.submit(
            {"repository": {"url": repository}, "script": script, "documents": ["style-guide", "tag:team"]}
        ).id
    )

    text = system.text(task.id)
    assert [one.name for one in task.documents] == ["review", "style-guide"]
    assert "INDEX.md\nindex.json\nreview.md\nstyle-guide.md\n# 規約\n" in text
    assert "- [Style-Guide](style-guide.md), version 1" in text
    assert system.client.entry("document", "style-guide").text == "# 規約\n"


def test_what_a_coding_agent_used_is_read_from_its_output(system: RunningSystem, repository: str) -> None:
    usage = [
        {"measure": "cost_usd", "pointer": "/total_cost_usd", "where": {"/type": "result"}},
        {"measure": "input_tokens", "pointer": "/usage/in", "where": {"/type": "turn"}, "fold": "sum"},
        {"measure": "output_tokens", "pattern": r"Tokens: .*?([\d.]+k?) received"},
    ]
    system.client.create("profile", {"name": "counting", "usage": usage})
    script = """
echo '{"type": "turn", "usage": {"in": 100}}'; echo '{"type": "turn", "usage": {"in": 20}}'; echo '{broken'
echo '{"type": "result", "total_cost_usd": 0.25}'; echo 'Tokens: 3k sent, 1.5k received.'
"""
    task = system.ended(system.submit(repository, script, profile="counting"))

    assert task.attempts[0].usage == {"cost_usd": 0.25, "input_tokens": 120.0, "output_tokens": 1500.0}


# ---------------------------------------------------------------- queues, circuits


def test_a_paused_queue_by_the_command_line(system: RunningSystem, repository: str) -> None:
    system.run("queues", "create", "night", "--weight", "0.5", "--max-running", "2")
    assert system.run("queues", "pause", "night", "--reason", "the release").returncode == 0
    task_id = system.submit(repository, "true", queue="night")

    waiting = eventually(lambda: system.client.task(task_id).waiting)
    assert "paused" in waiting.why
    assert "the release" in waiting.why
    assert "the release" in system.run("queues", "list").stdout

    assert system.run("queues", "resume", "night").returncode == 0
    assert system.ended(task_id, 30).status == "succeeded"


def test_a_circuit_opens_and_a_validate_that_works_closes_it(
    system: RunningSystem, http: GitHttp, credentials: None
) -> None:
    """Three fail, the others are held; the credential is mended, the look at it works, and they run."""
    name = repository(system, http)
    ids = [submit(system, name, "true") for _ in range(3)]
    assert [system.ended(task_id).reason for task_id in ids] == ["CloneAuthFailed"] * 3
    held = submit(system, name, "true")
    waiting = eventually(lambda: system.client.task(held).waiting)
    assert "failed 3 times in a row" in waiting.why
    assert name in system.run("circuits").stdout

    assert system.run("repositories", "edit", name, "--read-credential", "reader").returncode == 0
    assert system.run("repositories", "validate", name).returncode == 0

    assert system.ended(held, 30).status == "succeeded"
    assert name not in system.run("circuits").stdout


# ---------------------------------------------------------------- the command line


def test_every_kind_has_its_commands(system: RunningSystem, tmp_path: Path) -> None:
    """Create, list, show, edit, delete; what is secret or long comes from a file."""
    secret = tmp_path / "token"
    secret.write_text("s0me-t0ken-of-the-cli\n")
    made = system.run(
        "credentials", "create", "cli", "--type", "token", "--username", "me", "--token-file", str(secret)
    )
    assert made.returncode == 0, made.stderr
    assert "s0me" not in made.stdout
    text = system.run(
        "documents", "create", "cli", "--title", "題名", "--text-file", "-", "--tags", "a", stdin="本文\n"
    )
    assert text.returncode == 0, text.stderr
    system.run("repositories", "create", "cli", "--url", "https://example.com/a.git", "--lfs", "--setup", "make")
    system.run("profiles", "create", "cli", "--env", "A=1", "--resources", '{"limits": {"memory": "1Gi"}}')
    system.run("queues", "create", "cli")

    for kind in ("credentials", "documents", "repositories", "profiles", "queues"):
        assert re.search(r"^cli\b", system.run(kind, "list").stdout, re.MULTILINE), kind
        assert re.search(r"^name +cli$", system.run(kind, "show", "cli").stdout, re.MULTILINE), kind
    assert "題名" in system.run("documents", "list", "--tag", "a").stdout
    assert "題名" in system.run("documents", "list", "-q", "本文").stdout
    edited = system.run("profiles", "edit", "cli", "--env", "B=2", "--unset", "resources")
    assert 'env                {"B":"2"}' in edited.stdout
    assert "memory" not in edited.stdout
    for kind in ("credentials", "documents", "repositories", "profiles", "queues"):
        assert system.run(kind, "delete", "cli").returncode == 0, kind


def test_export_and_import(system: RunningSystem, tmp_path: Path) -> None:
    """An exported file is imported again without changes; a wrong file names its lines and changes nothing."""
    path = tmp_path / "catalog.yaml"
    path.write_text(system.run("export").stdout)
    path.write_text(path.read_text() + "---\nkind: queue\nname: imported\nweight: 3\n")

    dry = system.run("import", str(path), "--dry-run")
    done = system.run("import", str(path))
    again = system.run("import", str(path))
    path.write_text("kind: queue\nname: ok\n---\nkind: queue\nname: -rf\n")
    wrong = system.run("import", str(path))

    assert "1 would be added, 0 would be changed" in dry.stderr
    assert "1 added, 0 changed" in done.stderr
    assert "0 added, 0 changed" in again.stderr
    assert wrong.returncode == 1
    assert "line 5: /name" in wrong.stderr


def test_bad_entries_are_refused_with_the_field(system: RunningSystem) -> None:
    """Unknown fields, wrong types, names that lead elsewhere: each is named, and nothing changes."""
    for spec, at in (
        ({"name": "../x"}, "/name"),
        ({"name": "-rf"}, "/name"),
        ({"name": "a", "colour": 1}, "/colour"),
        ({"name": "a", "weight": "x"}, "/weight"),
        ({"name": "a", "max_running": -1}, "/max_running"),
        ({}, "/name"),
    ):
        with pytest.raises(ApiError) as caught:
            system.client.create("queue", spec)
        assert [fault["at"] for fault in caught.value.faults] == [at]
    with pytest.raises(ApiError) as caught:
        system.client.replace("queue", {"name": "default", "weight": 2}, revision=99)
    assert (caught.value.status, "/weight" in [fault["at"] for fault in caught.value.faults]) == (412, True)
    assert system.client.entry("queue", "default").weight == 1


def test_prune_says_what_would_go(system: RunningSystem) -> None:
    done = system.run("prune", "--dry-run", "--json")

    assert '"dry_run":true' in done.stdout
    assert '"attempts":0' in done.stdout


# ---------------------------------------------------------------- secrets


def test_a_key_is_rotated_while_all_goes_on(system: RunningSystem, http: GitHttp, credentials: None) -> None:
    name = repository(system, http, read_credential="reader")
    before = (system.state.root / "keys" / "credentials.key").read_bytes()
    env = {**os.environ, "KERUTA_HOME": str(system.state.root)}
    import subprocess

    from tests.support.system import KERUTA

    done = subprocess.run([*KERUTA, "credentials", "rotate-key"], env=env, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert (system.state.root / "keys" / "credentials.key").read_bytes() != before
    assert system.ended(submit(system, name, "true")).status == "succeeded"


def test_no_secret_is_found_in_anything_that_was_written(
    system: RunningSystem, http: GitHttp, credentials: None, repository: str
) -> None:
    """In logs, in every collection and the database's own log of changes, in files, in answers, in process lists."""
    name = f"app-{new_id()[-8:]}"
    system.client.create(
        "repository",
        {"name": name, "url": http.url("team/app.git"), "read_credential": "reader", "push_credential": "pusher"},
    )
    system.client.create("profile", {"name": name, "secrets": {"KEY": "value"}})
    seen: list[str] = []
    task_id = submit(system, name, 'echo "$KEY"; sleep 0.5; echo x > y', profile=name, result_branch="secrets")
    while system.client.task(task_id).status not in ("succeeded", "failed"):
        seen.extend(" ".join(line) for _, line in command_lines())
    assert system.ended(task_id).status == "succeeded"
    # While it was at work, the log lay in its directory as the script wrote it.
    eventually(lambda: not list((system.state.root / "worker" / "jobs").iterdir()))
    secrets = [secret.encode() for secret in (READ_TOKEN, PUSH_TOKEN, VALUE, APP_TOKEN)]

    assert not [line for line in seen if any(secret.decode() in line for secret in secrets)]
    for path in system.state.root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert not any(secret in content for secret in secrets), path
    with system.database_client() as client:
        for database in ("keruta", "local"):
            for collection in client[database].list_collection_names():
                for row in client[database][collection].find():
                    raw = bson.encode(row)
                    assert not any(secret in raw for secret in secrets), (database, collection, row.get("_id"))
    answers = [system.run(kind, "list", "--json").stdout for kind in ("credentials", "repositories", "profiles")]
    answers += [
        system.run("export").stdout,
        system.run("audit", "--json").stdout,
        system.run("show", task_id, "--json").stdout,
    ]
    assert not any(secret.decode() in answer for secret in secrets for answer in answers)
