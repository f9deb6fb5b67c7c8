"""Contents of images, as a CycloneDX document: Debian packages from dpkg's status, Python packages from their
dist-info.

    python knative/sbom.py IMAGE… > build/sbom-images.json

An image is an archive (`podman save`, `docker save`, `buildah push … docker-archive:` or `oci-archive:`), or a
directory: its root file system. Nothing of it is run or unpacked.

Source: https://cyclonedx.org/docs/1.5/json/, https://github.com/opencontainers/image-spec/blob/main/layer.md
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import tarfile
from collections.abc import Iterable, Iterator
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote

FILE_BYTES = 64 * 1024 * 1024  # of one file that is read here; dpkg's status has a few hundred KiB
_GZIP = b"\x1f\x8b"
_WANTED = re.compile(
    r"var/lib/dpkg/status|var/lib/dpkg/status\.d/[^/]+|(?:.+/)?[^/]+\.dist-info/METADATA|(?:etc|usr/lib)/os-release"
)
Files = dict[str, bytes]


def files_of(image: Path) -> Files:
    """Return the files of an image that say what it holds, by their paths. Raises ValueError: it is no image."""
    if image.is_dir():
        found = {path.relative_to(image).as_posix(): path for path in image.rglob("*") if path.is_file()}
        return {name: path.read_bytes() for name, path in sorted(found.items()) if _WANTED.fullmatch(name)}
    files: Files = {}
    with tarfile.open(image) as archive:
        for layer in _layers(archive):
            _lay_over(files, _read(archive, layer))
    return files


def _layers(archive: tarfile.TarFile) -> list[str]:
    """The layers' members, the lowest first."""
    names = {name.removeprefix("./") for name in archive.getnames()}
    if "manifest.json" in names:
        return [str(layer) for layer in json.loads(_read(archive, "manifest.json"))[0]["Layers"]]
    if "index.json" not in names:
        raise ValueError("this is no archive of an image: neither manifest.json nor index.json is in it")
    document = json.loads(_read(archive, "index.json"))
    while "manifests" in document:  # an index may name another one
        document = json.loads(_read(archive, _blob(document["manifests"][0])))
    return [_blob(layer) for layer in document["layers"]]


def _blob(descriptor: dict[str, Any]) -> str:
    return "blobs/" + str(descriptor["digest"]).replace(":", "/")


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    for given in (name, f"./{name}"):
        try:
            member: IO[bytes] | None = archive.extractfile(given)
        except KeyError:
            continue
        if member is not None:
            return member.read()
    raise ValueError(f"the archive lacks {name}")


def _lay_over(files: Files, layer: bytes) -> None:
    """Apply a layer: what it has replaces what was there, and its whiteouts remove it."""
    raw = gzip.decompress(layer) if layer.startswith(_GZIP) else layer
    added: Files = {}
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        for member in archive:
            path = PurePosixPath(member.name.removeprefix("./").lstrip("/"))
            if path.name == ".wh..wh..opq":
                _remove_below(files, path.parent)
            elif path.name.startswith(".wh."):
                _remove_below(files, path.parent / path.name.removeprefix(".wh."))
            elif not member.isdir():
                files.pop(str(path), None)
                if member.isfile() and member.size <= FILE_BYTES and _WANTED.fullmatch(str(path)):
                    content = archive.extractfile(member)
                    added[str(path)] = content.read() if content is not None else b""
    files |= added


def _remove_below(files: Files, path: PurePosixPath) -> None:
    for name in [name for name in files if PurePosixPath(name).is_relative_to(path)]:
        del files[name]


def components(files: Files) -> list[dict[str, Any]]:
    """Return the packages, by their package URLs."""
    system = _system(files)
    found = [*_debian(files, system), *_python(files)]
    return sorted({one["bom-ref"]: one for one in found}.values(), key=lambda one: str(one["bom-ref"]))


def _system(files: Files) -> str:
    said = files.get("etc/os-release") or files.get("usr/lib/os-release", b"")  # the first is a link on Debian
    for line in said.decode("utf-8", "replace").splitlines():
        if line.startswith("ID="):
            return line[3:].strip("\"'")
    return "debian"


def _debian(files: Files, system: str) -> Iterator[dict[str, Any]]:
    for name, content in files.items():
        if not name.startswith("var/lib/dpkg/"):
            continue
        for paragraph in content.decode("utf-8", "replace").split("\n\n"):
            fields = HeaderParser().parsestr(paragraph.lstrip("\n"))
            status = fields.get("Status", "install ok installed")
            if not fields.get("Package") or not fields.get("Version") or not status.endswith(" installed"):
                continue
            package, version, arch = fields["Package"], fields["Version"], fields.get("Architecture", "all")
            url = f"pkg:deb/{quote(system)}/{quote(package)}@{quote(version, safe='')}?arch={quote(arch)}"
            yield _component(package, version, url)


def _python(files: Files) -> Iterator[dict[str, Any]]:
    for name, content in files.items():
        if not name.endswith(".dist-info/METADATA"):
            continue
        fields = HeaderParser().parsestr(content.decode("utf-8", "replace"))
        package, version = fields.get("Name"), fields.get("Version")
        if package and version:
            plain = re.sub(r"[-_.]+", "-", package).lower()  # PEP 503
            yield _component(package, version, f"pkg:pypi/{quote(plain)}@{quote(version, safe='')}")


def _component(name: str, version: str, url: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}


def document(images: Iterable[Path]) -> dict[str, Any]:
    """Return the CycloneDX document of some images: each a container, with what it holds within it.

    It has neither a time nor a serial number: the same images give the same document.
    """
    containers = []
    for image in images:
        held = components(files_of(image))
        inner = [{**one, "bom-ref": f"{image.name}/{one['bom-ref']}"} for one in held]
        containers.append({"type": "container", "bom-ref": image.name, "name": image.name, "components": inner})
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": containers}


def main(arguments: list[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        made = document(Path(argument) for argument in arguments)
    except (OSError, ValueError, tarfile.TarError) as error:
        print(f"sbom: {error}", file=sys.stderr)
        return 1
    if empty := [one["name"] for one in made["components"] if not one["components"]]:
        print(f"sbom: no package was found in {', '.join(empty)}", file=sys.stderr)
        return 1
    json.dump(made, sys.stdout, indent=2)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
