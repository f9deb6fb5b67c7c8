"""Masking of secrets, in the encodings that programs print them in."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
from urllib.parse import quote, quote_plus

import pytest

from agent.log.masking import Masker

SECRET = "p+ss/wörd \"of\" 'mine' & <more> \\ 100%"


@pytest.mark.parametrize(
    "printed",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        quote_plus(SECRET),
        quote(SECRET, safe="").lower().replace("wörd", "wörd"),
        json.dumps({"token": SECRET}),
        json.dumps({"token": SECRET}, ensure_ascii=False),
        json.dumps({"token": SECRET}).replace("/", "\\/"),
        shlex.quote(SECRET),
        "'" + SECRET.replace("'", "'\\''") + "'",
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.b64encode(f"me:{SECRET}\n".encode()).decode(),
        SECRET.encode().hex(),
    ],
)
def test_a_secret_is_masked_in_common_encodings(printed: str) -> None:
    """A secret that a program prints quoted or encoded is masked like the secret itself."""
    masked = Masker([SECRET.encode()]).text(f"before {printed} after")

    assert "***" in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert "ss/w" not in masked
    assert "cCtzcy93" not in masked
    assert "w%C3%B6rd" not in masked


@pytest.mark.parametrize("command", ["printf %q", "set -x; :"])
def test_a_secret_is_masked_as_bash_quotes_it(command: str) -> None:
    """A secret that bash prints with `printf %q` or `set -x` is masked."""
    secret = 'it\'s a "token" $(x) & more'
    ran = subprocess.run(["bash", "-c", f"{command} {shlex.quote(secret)}"], capture_output=True, check=True)

    masked = Masker([secret.encode()]).mask(ran.stdout + ran.stderr)

    assert b"***" in masked
    assert b"token" not in masked


def test_a_long_secret_is_masked_in_wrapped_base64() -> None:
    """Each line of a secret that base64(1) printed is masked."""
    secret = bytes(range(32, 127)) * 4
    ran = subprocess.run(["base64"], input=secret, capture_output=True, check=True)

    masked = Masker([secret]).mask(ran.stdout)

    assert all(line == b"***" or len(line) < 16 for line in masked.splitlines())


def test_a_part_of_a_long_secret_is_held_back() -> None:
    """The beginning of a secret at the end of what was read waits for the rest."""
    masker = Masker([b"x" * 500 + b"y" * 60_000])

    assert masker.held_back(b"word " + b"x" * 500 + b"y" * 100) == 600
    assert masker.held_back(b"word xx") == 2
    assert masker.held_back(b"word") == 0
