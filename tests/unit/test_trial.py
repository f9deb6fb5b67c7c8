"""`make cluster-trial` says what the cluster lacks before it builds images, which takes minutes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def try_out(programs: Path, kubectl: str, **settings: str) -> str:
    """Return what the trial says, with a kubectl that does this and nothing that could build an image."""
    programs.mkdir()
    (programs / "kubectl").write_text(f"#!/bin/sh\n{kubectl}\n")
    (programs / "kubectl").chmod(0o755)
    for name in ("sh", "sed", "date", "tail", "dirname", "grep", "echo"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    env = {"PATH": os.fspath(programs), "KERUTA": "true", **settings}
    command = ["/bin/sh", "knative/trial.sh"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "  images " not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("kubectl", "said"),
    [
        ("echo 'The connection was refused' >&2; exit 1", "the cluster does not answer: The connection was refused"),
        ('case "$*" in *crd*) exit 1 ;; esac', "the cluster lacks something, as it says above"),
        ('case "$*" in *"get service"*) exit 1 ;; esac', "no networking layer of Knative was found"),
        ('case "$*" in *"get gateway"*) exit 1 ;; esac', "there is no Gateway"),
        (":", "there is no kind and no k3s to load images with"),
    ],
)
def test_what_a_cluster_lacks_is_said_at_once(tmp_path: Path, kubectl: str, said: str) -> None:
    assert said in try_out(tmp_path / "bin", kubectl)


def test_a_cluster_without_a_default_class_of_volumes_is_told_so(tmp_path: Path) -> None:
    """Else its claims would wait for ever."""
    kubectl = 'case "$*" in *"get pvc"*) exit 1 ;; esac'

    assert "there is no default StorageClass" in try_out(tmp_path / "bin", kubectl, REGISTRY="registry.test/")
