"""What a script leaves behind: files and outputs. The script may have put anything there, so nothing is followed.

Directories are walked by descriptor, names are opened without following links, and only regular files with one name are
taken: a link could lead to a file of keruta's own.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from agent.attempt.outputs import parse_outputs
from agent.log.masking import Masker
from keruta.adapters.results import FILE_LIMIT_BYTES, LOG_NAME, safe_parts
from keruta.domain.reports import ARTIFACTS_LIMIT
from keruta.domain.task import Artifact

OUTPUTS_LIMIT_BYTES = 256 * 1024
TOTAL_LIMIT_BYTES = 8 * FILE_LIMIT_BYTES


def regular_files(root: Path) -> Iterator[tuple[str, BinaryIO]]:
    """The regular files beneath a directory, each as its relative path and open for reading."""
    try:
        walk = os.fwalk(root, follow_symlinks=False)
        for directory, names, files, descriptor in walk:
            names.sort()
            for name in sorted(files):
                path = str(Path(directory, name).relative_to(root))
                try:
                    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
                except OSError:
                    continue
                found = os.fstat(opened)
                if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                    with os.fdopen(opened, "rb") as file:
                        yield path, file
                else:
                    os.close(opened)
    except FileNotFoundError:
        return


def keep_artifacts(source: Path, target: Path) -> tuple[list[Artifact], list[str]]:
    """Copies what is in $KERUTA_ARTIFACTS; returns what was kept, and a sentence for each thing that was not.

    Raises:
        OSError: the shared storage can't be written.
    """
    kept: list[Artifact] = []
    left: list[str] = []
    total = 0
    for path, file in regular_files(source):
        size = os.fstat(file.fileno()).st_size
        total += size
        if safe_parts(path) is None or path == LOG_NAME or not path.isprintable():
            left.append(f"{path!r}: not a name that can be stored")
        elif len(kept) >= ARTIFACTS_LIMIT - 1:
            return kept, [*left, f"more than {ARTIFACTS_LIMIT - 1} files: the rest is left out"]
        elif size > FILE_LIMIT_BYTES or total > TOTAL_LIMIT_BYTES:
            left.append(f"{path}: too large with {size} bytes")
        else:
            kept.append(_copy(file, target, path))
    return kept, left


def keep_files(files: Sequence[Path], target: Path) -> list[Artifact]:
    """Copies files of the agent's own. Raises OSError as above."""
    kept = []
    for path in files:
        with path.open("rb") as file:
            kept.append(_copy(file, target, path.name))
    return kept


def _copy(file: BinaryIO, target: Path, path: str) -> Artifact:
    to = target / path
    to.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    with to.open("wb") as out:
        while block := file.read(1 << 20):
            digest.update(block)
            size += out.write(block)
    return Artifact(path=path, size_bytes=size, sha256=digest.hexdigest())


def keep_log(log: BinaryIO, target: Path, masker: Masker) -> Artifact:
    """The whole log, masked and compressed, beside the artifacts."""
    target.mkdir(parents=True, exist_ok=True)
    to = target / LOG_NAME
    with log, gzip.GzipFile(to, "wb", compresslevel=1, mtime=0) as out:
        rest = b""
        while block := log.read(1 << 20):
            block = rest + block
            held = masker.held_back(block)
            rest = block[len(block) - held :] if held else b""
            out.write(masker.mask(block[: len(block) - held]))
        out.write(masker.mask(rest))
    digest = hashlib.sha256(to.read_bytes()).hexdigest()
    return Artifact(path=LOG_NAME, size_bytes=to.stat().st_size, sha256=digest)


def read_outputs(open_outputs: Callable[[], int], masker: Masker) -> tuple[dict[str, str], list[str]]:
    """The name=value lines of $KERUTA_OUTPUTS, and a sentence for each line that is none."""
    try:
        opened = open_outputs()
    except FileNotFoundError:
        return {}, []
    except OSError:
        return {}, ["$KERUTA_OUTPUTS is no longer a file"]
    with os.fdopen(opened, "rb") as file:
        data = file.read(OUTPUTS_LIMIT_BYTES + 1)
    if len(data) > OUTPUTS_LIMIT_BYTES:
        return {}, [f"$KERUTA_OUTPUTS has more than {OUTPUTS_LIMIT_BYTES // 1024} KiB: none of it is taken"]
    return parse_outputs(masker.text(data.decode("utf-8", "replace")))


def forget(target: Path) -> None:
    """What an earlier, cut-off attempt to keep things left behind is gone."""
    shutil.rmtree(target, ignore_errors=True)
