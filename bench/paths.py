"""A checkout of some directories beside a full shallow clone: a repository of 20,000 files and 200 MB, over http.

`python -m bench.paths` makes the repository, and prints seconds and bytes of both.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from agent.attempt.checkout import checkout
from bench.figure import Figure, median, report
from keruta.adapters.git.command import Git
from keruta.domain.task import RepositoryRef
from tests.support.gitservers import GitHttp
from tests.support.repositories import ENV, git, make_repository

FILES, FILE_BYTES, DIRECTORIES = 20_000, 10_000, 200
WANTED = ("d7", "d8/s1")
RUNS = 3
REACH = {"paths_ratio": "<= 0.5", "paths_bytes_ratio": "<= 0.1"}


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="keruta-bench-", dir=os.environ.get("TMPDIR", "/var/tmp")) as place:
        root = Path(place)
        (root / "git").mkdir()
        make_large(root / "git" / "a.git")
        with GitHttp(root / "git") as server:
            figures = measure(root, server.url("a.git"))
    report(figures, REACH, Path(__file__).with_name("out-paths.json"))
    return 0


def measure(root: Path, url: str) -> dict[str, Figure]:
    """The figures; both kinds of checkout take turns."""
    seconds: dict[str, list[float]] = {"whole": [], "paths": []}
    sizes: dict[str, list[float]] = {"whole": [], "paths": []}
    kinds: dict[str, Callable[[str, Path], None]] = {"whole": _clone, "paths": _check_out}
    for number in range(RUNS):
        for kind, make in kinds.items():
            target = root / f"{kind}{number}"
            began = time.monotonic()
            make(url, target)
            seconds[kind].append(time.monotonic() - began)
            sizes[kind].append(_mib(target))
            subprocess.run(["rm", "-rf", str(target)], check=True)
    ratios = [few / all_ for few, all_ in zip(seconds["paths"], seconds["whole"], strict=True)]
    return {
        "paths_ratio": median(ratios, "of a full shallow clone's time"),
        "paths_seconds": median(seconds["paths"], "s"),
        "whole_seconds": median(seconds["whole"], "s"),
        "paths_bytes_ratio": median([sizes["paths"][0] / sizes["whole"][0]], "of a full shallow clone's size"),
        "paths_mib": median(sizes["paths"], "MiB on disk"),
        "whole_mib": median(sizes["whole"], "MiB on disk"),
    }


def make_large(path: Path) -> None:
    """Make the repository, packed, with filters allowed."""
    rng = random.Random(7)
    files: dict[str, str | bytes] = {
        f"d{number % DIRECTORIES}/s{number // DIRECTORIES % 5}/f{number}": rng.randbytes(FILE_BYTES)
        for number in range(FILES)
    }
    make_repository(path, files)
    git(path, "repack", "-adq")
    git(path, "config", "uploadpack.allowFilter", "true")


def _clone(url: str, target: Path) -> None:
    subprocess.run(["git", "clone", "-q", "--depth=1", url, str(target)], env=ENV, check=True)


def _check_out(url: str, target: Path) -> None:
    stop, deadline = threading.Event(), time.monotonic() + 600
    repository = RepositoryRef(url=url, ref="main", paths=WANTED)
    checkout(repository, target, lambda at: Git(at, ENV, stop, deadline), transports=frozenset({"http"}))


def _mib(directory: Path) -> float:
    return sum(file.lstat().st_size for file in directory.rglob("*") if file.is_file()) / (1 << 20)


if __name__ == "__main__":
    sys.exit(main())
