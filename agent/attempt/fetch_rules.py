"""Rules of the fetch proxy for Git's protocol version 2, as pure functions on packets.

Requests are made anew from the lines that are known here; all else is refused. Version 2 has no push.

Source: gitprotocol-v2(5), gitprotocol-common(5)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from keruta.adapters.git.packets import DELIMITER, FLUSH, packet, payload
from keruta.domain.messages import message
from keruta.domain.repository import ref_allowed, ref_fault
from keruta.errors import PhaseError

_ID = rb"(?:[0-9a-f]{40}|[0-9a-f]{64})"
_FEATURES = ("shallow", "wait-for-done", "filter")
_LS_REFS = re.compile(rb"peel|symrefs|unborn|ref-prefix [^\x00-\x20]{1,1000}")
_FETCH = re.compile(
    rb"(?:want|have|shallow) " + _ID + rb"|deepen [0-9]{1,10}|deepen-relative|deepen-since [0-9]{1,19}|done|thin-pack"
    rb"|no-progress|include-tag|ofs-delta|wait-for-done|filter (?!.*(?:sparse|%))[!-~]{1,500}"
)
_CAPABILITY = re.compile(rb"agent=[!-~]{1,200}|object-format=(?:sha1|sha256)")
_WITH_RULES_NOT = (b"include-tag", b"thin-pack")  # the first sends tags unasked; the second builds on what is hidden


class Rules:
    """The refs that one attempt may see, and the objects that it may therefore ask for.

    Args:
        allowed_refs: patterns; empty for all refs, and then every object.
        commit: what was checked out.
    """

    def __init__(self, allowed_refs: Sequence[str], commit: str) -> None:
        self._allowed = tuple(allowed_refs)
        self._known = {commit.encode()}

    def request(self, body: Sequence[bytes]) -> tuple[bytes, bytes]:
        """Return a request's command, and the packets to send in its place. Raises PhaseError for what is refused."""
        lines = [payload(one) for one in body]
        if len(body) < 2 or body[-1] != FLUSH or FLUSH in body[:-1] or body.count(DELIMITER) > 1:
            raise _refused()
        at = body.index(DELIMITER) if DELIMITER in body else len(body) - 1
        command, capabilities, arguments = lines[0], lines[1:at], lines[at + 1 : -1]
        known = {b"command=ls-refs": _LS_REFS, b"command=fetch": _FETCH}.get(command)
        if known is None or not all(_CAPABILITY.fullmatch(one) for one in capabilities):
            raise _refused()
        if not all(known.fullmatch(one) for one in arguments):
            raise _refused()
        if self._allowed:
            for one in arguments:
                if one.startswith(b"want ") and one[5:] not in self._known:
                    raise PhaseError("FetchRefused", message("fetch_not_allowed"))
            arguments = [one for one in arguments if one not in _WITH_RULES_NOT]
        kept = [packet(one + b"\n") for one in (command, *capabilities)]
        return command[8:], b"".join([*kept, DELIMITER, *(packet(one + b"\n") for one in arguments), FLUSH])

    def ref(self, line: bytes) -> bool:
        """Say whether a line of the answer to ls-refs may be seen; its objects may be asked for from then on."""
        if not self._allowed:
            return True
        identity, _, rest = payload(line).partition(b" ")
        name, *attributes = rest.split(b" ")
        targets = [one[14:] for one in attributes if one.startswith(b"symref-target:")]
        names = targets if name == b"HEAD" else [name, *targets]
        if not names or not all(self._allows(one) for one in names):
            return False
        self._known |= {identity, *(one[7:] for one in attributes if one.startswith(b"peeled:"))}
        return True

    def _allows(self, name: bytes) -> bool:
        text = name.decode("utf-8", "surrogateescape")
        return text.startswith("refs/") and ref_fault(text) is None and ref_allowed(text, self._allowed)


def capabilities(lines: Sequence[bytes]) -> bytes:
    """Return what the proxy says that it can: of what the server can, what is passed on.

    Raises:
        PhaseError: the server does not speak version 2.
    """
    said = [payload(one) for one in lines]
    if not said or said[0] != b"version 2":
        raise PhaseError("FetchRefused", message("fetch_old_server"))
    kept = [b"version 2", b"agent=keruta"]
    for one in said[1:]:
        name, _, values = one.partition(b"=")
        features = values.decode("ascii", "replace").split(" ")
        if name == b"ls-refs":
            kept.append(b"ls-refs=unborn" if "unborn" in features else b"ls-refs")
        elif name == b"fetch":
            passed = " ".join(feature for feature in _FEATURES if feature in features)
            kept.append(b"fetch=" + passed.encode() if passed else b"fetch")
        elif _CAPABILITY.fullmatch(one) and name == b"object-format":
            kept.append(one)
    return b"".join(packet(one + b"\n") for one in kept) + FLUSH


def _refused() -> PhaseError:
    return PhaseError("FetchRefused", message("fetch_refused"))
