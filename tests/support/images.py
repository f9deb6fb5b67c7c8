"""Images for the tests on a cluster: built once for each state of the source, and loaded together.

`python3 -m tests.support.images` builds them; it needs nothing but this file, so it can begin
before anything is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAB = Path(os.environ.get("KERUTA_LAB") or ROOT.parent / "shared" / "lab" / "lab")
LAB_DIRECTORY = Path(os.environ.get("KERUTA_LAB_DIR") or "/var/tmp/keruta-lab")
BASE = "localhost/python:3.11"
PREFIX, TAG = "localhost/", "lab"
MONGOD = f"{PREFIX}keruta-mongod:{TAG}"
NO_SHELL = "localhost/no-shell:1"
OF_THE_SUITE = (BASE, f"{PREFIX}keruta-functions:{TAG}", f"{PREFIX}keruta-agent:{TAG}", MONGOD, NO_SHELL)
_NODE = ("ctr", "--address", os.fspath(LAB_DIRECTORY / "run" / "containerd.sock"), "-n", "k8s.io")
_node_had: set[str] = set()
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# As the trial builds, so that each layer is built once for both.
BUILD = f"--network host --layers=true --volume {_BUNDLE}:{_BUNDLE}:ro"


@contextlib.contextmanager
def locked(what: str = "") -> Iterator[None]:
    """Wait for what others build in the lab, and keep them from building the same meanwhile.

    Args:
        what: a name, for a lock beside the lab's own.
    """
    path = os.environ.get("KERUTA_LAB_LOCK")
    with open(f"{path}{what}" if path else os.devnull, "a") as lock:
        if path:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def environment() -> dict[str, str]:
    """Return this process's environment with the lab's: where its images and its cluster are."""
    said = subprocess.run([str(LAB), "env"], capture_output=True, text=True, check=True).stdout
    exports = dict(pair.split("=", 1) for pair in shlex.split(said) if "=" in pair)
    return {**os.environ, **exports, "PATH": exports["PATH"].replace("$PATH", os.environ["PATH"])}


def build() -> None:
    """Build every image of the suite; what has not changed takes some seconds."""
    with locked():
        _run([str(LAB), "image", "base"], dict(os.environ))
    env = environment()
    with locked(".images"), tempfile.TemporaryDirectory() as directory:
        _run(["sh", "knative/images.sh", TAG], {**env, "PREFIX": PREFIX, "BASE": BASE, "BUILD": BUILD})
        base = ["--build-arg", f"BASE={BASE}", "--target", "mongod", "--timestamp", _source_time()]
        _run(["buildah", "build", *BUILD.split(), *base, "-t", MONGOD, "-f", "knative/Dockerfile", "."], env)
        dockerfile = Path(directory, "Dockerfile")
        dockerfile.write_text("FROM scratch\nCOPY Dockerfile /\n")
        _run(["buildah", "build", "-t", NO_SHELL, directory], env)


def load(names: Sequence[str] = OF_THE_SUITE) -> None:
    """Put images into the cluster's node: each layer once, and not compressed on the way."""
    with locked(".images"), tempfile.TemporaryDirectory(dir=LAB_DIRECTORY) as directory:
        env = environment()
        for name in names:
            copy = ["skopeo", "copy", "-q", "--dest-oci-accept-uncompressed-layers"]
            _run([*copy, f"containers-storage:{name}", f"oci:{directory}:{name}"], env)
        with subprocess.Popen(["tar", "-C", directory, "-cf", "-", "."], stdout=subprocess.PIPE) as archive:
            subprocess.run([*_NODE, "images", "import", "-"], stdin=archive.stdout, capture_output=True, check=True)
    _node_had.update(names)


def build_with(program: Path, name: str) -> None:
    """Build an image that has a program of this machine beside what the base has."""
    with locked(".images"), tempfile.TemporaryDirectory(dir=LAB_DIRECTORY) as directory:
        shutil.copy2(program, directory)
        Path(directory, "Dockerfile").write_text(f"FROM {BASE}\nCOPY --chmod=755 {program.name} /usr/local/bin/\n")
        _run(["buildah", "build", "-t", name, directory], environment())


def are_loaded() -> bool:
    """Return whether this run has loaded them into the node that is there now."""
    said = subprocess.run(
        [*_NODE, "images", "list", "-q"], env=environment(), capture_output=True, text=True, check=False
    )
    return _node_had.issuperset(OF_THE_SUITE) and set(OF_THE_SUITE) <= set(said.stdout.split())


def _source_time() -> str:
    """Return the time that `knative/images.sh` gives to each file: of the last change."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    said = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True)
    return said.stdout.strip()


def _run(command: list[str], env: dict[str, str]) -> None:
    """Run a command; a failure says what it said last, and one more try is made: registries have bad moments."""
    for last in (False, True):
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        print(f"{shlex.join(command)}: {(done.stdout + done.stderr)[-2000:]}", file=sys.stderr, flush=True)
        if last:
            raise RuntimeError(f"{shlex.join(command)} failed: {done.stderr[-2000:]}")


if __name__ == "__main__":
    build()
