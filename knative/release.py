"""A release, in build/release: wheel, images, what both hold (SBOM), manifests with images by digest, SHA256SUMS.

    PREFIX=registry.example.com/team/ PUSH=1 python knative/release.py

A registry gives an image its digest. So without PUSH=1 the manifests name the images by their tags: a draft. A release
needs a commit without changes beside it, and a section of CHANGELOG.md for its version; a draft only says what is
missing.

Environment: PREFIX before the images' names, TAG (the version unless set), PUSH, and what `knative/images.sh` reads.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
OUT = ROOT / "build" / "release"
MANIFESTS = ("base", "components", "persistent", "overlays/kind", "overlays/prod")
# What manifests call an image, and which image that is.
IMAGES = {"keruta-functions": "functions", "keruta-replica-set": "functions", "keruta-agent": "agent"}
_ENTRY = re.compile(r"\{name: (?P<name>keruta-[a-z-]+)(?:, newName: [^,}]+)?, newTag: [^,}]+\}")


def pinned(kustomization: str, prefix: str, tag: str, digests: Mapping[str, str]) -> str:
    """Return a kustomization whose images of keruta are those of a release.

    Args:
        digests: `sha256:…` of the images `functions` and `agent`; one that is missing is named by its tag.

    Raises:
        KeyError: an image of keruta that is none of the release's.
    """

    def entry(found: re.Match[str]) -> str:
        image = IMAGES[found["name"]]
        which = f"digest: {digests[image]}" if image in digests else f'newTag: "{tag}"'
        return f"{{name: {found['name']}, newName: {prefix}keruta-{image}, {which}}}"

    return _ENTRY.sub(entry, kustomization)


def with_coding_agents(settings: str, prefix: str, tag: str, digests: Mapping[str, str], agents: Sequence[str]) -> str:
    """Return what every part reads, with the images of these coding agents."""
    named = (f"@{digests[one]}" if one in digests else f":{tag}" for one in agents)
    images = ",".join(f"{one}={prefix}keruta-{one}{which}" for one, which in zip(agents, named, strict=True))
    return settings.replace("KERUTA_CODING_AGENT_IMAGES=\n", f"KERUTA_CODING_AGENT_IMAGES={images}\n")


def missing(version: str, changelog: str, changes: str) -> list[str]:
    """Return what keeps a commit from being released.

    Args:
        changes: of `git status --porcelain`.
    """
    found = []
    if changes:
        found.append("there are changes that are in no commit")
    if not re.search(rf"^## \[{re.escape(version)}\]", changelog, re.MULTILINE):
        found.append(f"CHANGELOG.md has no section [{version}]: rename [Unreleased] to it, with its date")
    return found


def manifests(prefix: str, tag: str, digests: Mapping[str, str], seconds: int, agents: Sequence[str] = ()) -> bytes:
    """Return the manifests as a tar.gz, the same for the same input.

    Args:
        agents: the coding agents of which there are images.
    """
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=seconds) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        files = [file for part in MANIFESTS for file in (ROOT / "knative" / part).rglob("*") if file.is_file()]
        for file in sorted(files):
            content = file.read_bytes()
            if file.name == "kustomization.yaml":
                content = pinned(content.decode(), prefix, tag, digests).encode()
            elif file.name == "keruta.env":
                content = with_coding_agents(content.decode(), prefix, tag, digests, agents).encode()
            member = tarfile.TarInfo(f"keruta-manifests-{tag}/{file.relative_to(ROOT)}")
            member.size, member.mtime, member.mode = len(content), seconds, 0o644
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def main() -> int:
    git = ["git", "-C", os.fspath(ROOT)]
    version = re.findall(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]
    prefix, tag, push = (os.environ.get(name) or "" for name in ("PREFIX", "TAG", "PUSH"))
    tag = tag or version
    agents = os.environ.get("CODING_AGENTS", "").split()
    changes = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    for lack in (lacks := missing(version, (ROOT / "CHANGELOG.md").read_text(), changes)):
        print(f"release {version}: {lack}", file=sys.stderr)
    if lacks and push == "1":
        return 1
    seconds = int(subprocess.run([*git, "log", "-1", "--format=%ct"], capture_output=True, check=True).stdout)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(seconds)}
    wheel = ["pip", "wheel", "-q", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "-w", str(OUT)]
    subprocess.run([sys.executable, "-m", *wheel, str(ROOT)], env=environ, check=True)
    digest_file = OUT / "digests"
    environ |= {"SBOM": str(OUT), "DIGESTS": str(digest_file), "PREFIX": prefix, "PYTHON": sys.executable}
    subprocess.run(["sh", str(ROOT / "knative" / "images.sh"), tag], env=environ, check=True)
    digests = dict(line.split() for line in digest_file.read_text().splitlines()) if digest_file.exists() else {}
    if not digests:
        print("a draft: manifests name the images by their tags; PUSH=1 with PREFIX pushes them and pins digests")
    (OUT / f"keruta-manifests-{tag}.tar.gz").write_bytes(manifests(prefix, tag, digests, seconds, agents))
    shutil.copy(ROOT / "build" / "sbom.json", OUT / "sbom.json")
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(OUT.iterdir())]
    (OUT / "SHA256SUMS").write_text("".join(sums))
    print("".join(f"build/release/{file.name}\n" for file in sorted(OUT.iterdir())), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
