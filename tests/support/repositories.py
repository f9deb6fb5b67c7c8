"""Git repositories for tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

ENV = {
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@localhost",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@localhost",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "HOME": "/nonexistent",
    "PATH": os.environ["PATH"],
}


def git(directory: Path, *arguments: str, stdin: bytes | None = None) -> str:
    done = subprocess.run(["git", *arguments], cwd=directory, env=ENV, input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def make_repository(
    directory: Path, files: Mapping[str, str | bytes] | None = None, *, bare: bool = True, object_format: str = "sha1"
) -> str:
    """A repository with one commit on main; returns the commit. Bare repositories can be served and pushed to."""
    work = directory.with_name(f"{directory.name}.work") if bare else directory
    work.mkdir(parents=True)
    git(work, "init", "-q", f"--object-format={object_format}", "-b", "main")
    git(work, "config", "core.compression", "0")  # packing 100 MB of random bytes is no work of ours
    commit = add_commit(work, files or {"README.md": "# A repository\n", "src/a.txt": "a\n"}, "first")
    if bare:
        git(work, "clone", "-q", "--bare", str(work), str(directory))
        git(work, "remote", "add", "origin", str(directory))
        for name in ("http.receivepack", "uploadpack.allowReachableSHA1InWant"):
            git(directory, "config", name, "true")
        git(directory, "config", "core.compression", "0")
    return commit


def add_commit(work: Path, files: Mapping[str, str | bytes], message: str) -> str:
    for name, content in files.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    git(work, "add", "-A")
    git(work, "commit", "-q", "--allow-empty", "-m", message)
    return git(work, "rev-parse", "HEAD")


def commit_on(served: Path, branch: str, name: str) -> str:
    """Somebody else's commit on a branch of the server."""
    work = served.with_name(f"{served.name}.work")
    git(work, "fetch", "-q", str(served))
    git(work, "checkout", "-q", "-B", "tmp", "main")
    commit = add_commit(work, {name: "theirs"}, name)
    git(work, "push", "-q", "--force", str(served), f"HEAD:refs/heads/{branch}")
    return commit
