"""Takes secrets out of what leaves a job: the log, messages, outputs."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = b"***"


class Masker:
    """Replaces each secret by `***`.

    Args:
        secrets: the values; short ones (under 4 bytes) are not taken, they would eat the log.
    """

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._secrets: list[bytes] = []
        self._pattern: re.Pattern[bytes] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[bytes]) -> None:
        """Masks these from now on, too."""
        kept = {secret for secret in (*self._secrets, *secrets) if len(secret) >= 4}
        if kept:
            self._secrets = sorted(kept, key=len, reverse=True)
            self._pattern = re.compile(b"|".join(map(re.escape, self._secrets)))

    def mask(self, data: bytes) -> bytes:
        return self._pattern.sub(MASK, data) if self._pattern else data

    def text(self, text: str) -> str:
        return self.mask(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def held_back(self, data: bytes) -> int:
        """How many bytes at the end may be the beginning of a secret: a cut must not fall between them."""
        longest = 0
        for secret in self._secrets:
            for length in range(min(len(secret) - 1, len(data)), longest, -1):
                if data.endswith(secret[:length]):
                    longest = length
                    break
        if not longest or self._pattern is None:
            return 0
        cut = len(data) - longest
        for found in self._pattern.finditer(data):  # nor inside one that is whole
            if found.start() < cut < found.end():
                cut = found.end()
        return len(data) - cut
