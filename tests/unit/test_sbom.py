"""Contents of an image, from its root file system or its archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "knative" / "sbom.py"
STATUS = b"""Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u1
Description: library
 with: a colon

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

"""
METADATA = b"Metadata-Version: 2.1\nName: Some_Package\nVersion: 1.2\n\nName: not this\n"
SITE = "usr/lib/python3/site-packages"
BASE = {"etc/os-release": b'NAME="Debian"\nID=debian\n', "var/lib/dpkg/status": STATUS,
        f"{SITE}/old-1.dist-info/METADATA": b"Name: old\nVersion: 1\n"}  # fmt: skip
UPPER = {f"{SITE}/.wh.old-1.dist-info": b"", f"{SITE}/Some_Package-1.2.dist-info/METADATA": METADATA,
         "app/main.py": b"print()"}  # fmt: skip


def packed(files: dict[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return raw.getvalue()


def sbom(*images: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *images], capture_output=True, text=True, check=False)


def held(image: Path) -> list[str]:
    done = sbom(image)
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    assert (made["bomFormat"], made["components"][0]["type"]) == ("CycloneDX", "container")
    return [one["purl"] for one in made["components"][0]["components"]]


EXPECTED = ["pkg:deb/debian/libc6@2.36-9%2Bdeb12u1?arch=amd64", "pkg:pypi/some-package@1.2"]


def test_a_root_file_system(tmp_path: Path) -> None:
    """Installed Debian packages and Python packages, and nothing that was removed."""
    for name, content in {**BASE, **UPPER}.items():
        if "old-1" not in name:
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    assert held(tmp_path / "root") == EXPECTED


def test_an_archive_as_docker_and_podman_save_it(tmp_path: Path) -> None:
    """The upper layers count: what they remove is not there."""
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["0/layer.tar", "1.tar"]}])
    image = tmp_path / "image.tar"
    image.write_bytes(packed({"manifest.json": manifest.encode(), "0/layer.tar": packed(BASE), "1.tar": packed(UPPER)}))

    assert held(image) == EXPECTED


def test_an_oci_archive(tmp_path: Path) -> None:
    """With packed layers, found by their digests."""
    blobs: dict[str, bytes] = {}

    def blob(content: bytes) -> dict[str, str]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"./blobs/sha256/{digest}"] = content
        return {"digest": f"sha256:{digest}"}

    layers = [blob(gzip.compress(packed(files))) for files in (BASE, UPPER)]
    index = {"manifests": [blob(json.dumps({"layers": layers}).encode())]}
    image = tmp_path / "image.tar"
    image.write_bytes(packed({"./index.json": json.dumps(index).encode(), **blobs}))

    assert held(image) == EXPECTED


@pytest.mark.parametrize("files", [{"a.txt": b"x"}, {"manifest.json": b'[{"Layers": []}]'}])
def test_what_is_no_image_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    """An empty list of packages would read as an image without any."""
    image = tmp_path / "image.tar"
    image.write_bytes(packed(files))

    done = sbom(image)

    assert done.returncode == 1
    assert done.stderr.startswith("sbom: ")
