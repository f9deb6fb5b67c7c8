"""The question `ls-refs` of version 2 of Git's protocol: which objects do these refs name now.

Source: gitprotocol-v2(5)
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from keruta.adapters.git.packets import DELIMITER, FLUSH, packet, packets, payload

_LINE = re.compile(rb"([0-9a-f]{40}) (\S+)((?: [a-z-]+:\S+)*)")


def question(names: Sequence[str]) -> bytes:
    """Return the request for these refs.

    Args:
        names: full names, or HEAD.
    """
    prefixes = [packet(f"ref-prefix {name}\n".encode("utf-8", "surrogateescape")) for name in names]
    return b"".join(
        [packet(b"command=ls-refs\n"), DELIMITER, packet(b"peel\n"), packet(b"symrefs\n"), *prefixes, FLUSH]
    )


def lines(answer: bytes, names: Sequence[str]) -> str | None:
    """Return the refs of an answer, as `git ls-remote --symref` prints them.

    None where it is no whole answer, or names nothing that was asked for.
    """
    found: list[str] = []
    whole = False
    try:
        for one in packets(io.BytesIO(answer).read):
            if whole:
                return None  # something follows the end
            if one == FLUSH:
                whole = True
                continue
            if (parts := _LINE.fullmatch(payload(one))) is None:
                return None
            found += _lines(*(part.decode() for part in parts.groups()))
    except (EOFError, UnicodeDecodeError):
        return None
    wanted = {name for one in names for name in (one, f"{one}^{{}}")}
    kept = [line for line in found if line.partition("\t")[2] in wanted]
    return "".join(f"{line}\n" for line in kept) if whole and kept else None


def _lines(identity: str, name: str, attributes: str) -> list[str]:
    made = []
    for one in attributes.split():
        what, _, value = one.partition(":")
        if what == "symref-target":
            made.append(f"ref: {value}\t{name}")
        elif what == "peeled":
            made.append(f"{value}\t{name}^{{}}")
    return [*made, f"{identity}\t{name}"]
