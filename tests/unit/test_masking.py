"""Masking of secrets, in the encodings that programs print them in."""

from __future__ import annotations

import base64
import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest

from agent.log.masking import Masker

SECRET = "p+ss/wörd \"of\" 'mine' & <more> \\ 100%"


def masked_in_parts(masker: Masker, data: bytes) -> Iterator[bytes]:
    """Yield what a log shows of a text that is read in three parts, for each place of the second one."""
    for cut in range(len(data) + 1):
        shown = rest = b""
        for part in (data[:cut], data[cut : cut + 3], data[cut + 3 :]):
            block = rest + part
            end = len(block) - masker.held_back(block)
            shown, rest = shown + masker.mask(block[:end]), block[end:]
        yield shown + masker.mask(rest)


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
        SECRET.encode().hex(":"),
        base64.b64encode(base64.b64encode(SECRET.encode())).decode(),
        base64.b64encode(SECRET.encode("utf-16-le")).decode(),
        base64.b32encode(f"me:{SECRET}\n".encode()).decode(),
        SECRET.replace("'", "''"),
        SECRET.replace('"', '""'),
        escape(SECRET, {'"': "&quot;", "'": "&apos;"}),
        escape(SECRET, {'"': "&#34;", "'": "&#39;", "ö": "&#246;"}),
        json.dumps({"token": SECRET}).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
        quote(SECRET, safe="!'()*~"),
        repr(SECRET),
        repr(SECRET.encode()),
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


def test_a_key_within_a_json_file_is_masked_as_it_is_printed() -> None:
    """An account's file has its key with the line ends written out; `jq -r` prints it line by line."""
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END PRIVATE KEY-----\n"
    secret = json.dumps({"type": "account", "private_key": key}, indent=2)

    masked = Masker([secret.encode()]).text(f"{key}{shlex.quote(key)}{key!r}")

    assert masked == "***'***''***'"
    lines = Masker([secret.encode()]).text(key.replace("\n", "\n  "))
    assert lines.count("***") == 2


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_what_is_secret_in_a_json_file_is_masked_alone(separators: tuple[str, str]) -> None:
    """As `jq -c` writes the file anew, or prints one field of it; what is no secret by its name stays."""
    account = {
        "type": "service_account", "private_key_id": "f871b60d0617be19", "private_key": "-----BEGIN\nMIIEvQIBADANBg\n",
        "auth": [{"client_secret": "hunter2hunter2"}], "key": "no",
    }  # fmt: skip
    masker = Masker([json.dumps(account, indent=2).encode()])

    masked = masker.mask(json.dumps(account, separators=separators).encode() + b" is no service_account")

    assert not any(part in masked for part in (b"f871b60d", b"MIIEvQ", b"hunter2"))
    assert b"no service_account" in masked
    assert masker.mask(b"+ echo hunter2hunter2") == b"+ echo ***"


def test_a_secret_s_lines_in_base32_are_masked() -> None:
    """As base32(1) writes them."""
    secret = bytes(range(32, 127)) * 2
    ran = subprocess.run(["base32"], input=secret, capture_output=True, check=True)

    assert all(line == b"***" or len(line) < 16 for line in Masker([secret]).mask(ran.stdout).splitlines())


SECRETS = (
    "hunter2!hunter2!", "pa ss\"w'rd/日本+=", "😀𠮷野家-秘密", "line-one-x\r\nline-two-y\r\n", "abcd",
    "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7\n-----END KEY-----\n",
)  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "written",
    [
        str.encode, lambda s: base64.encodebytes(s.encode()), lambda s: base64.b64encode(f"user:{s}@".encode()),
        lambda s: base64.b32encode(s.encode()), lambda s: s.encode().hex().encode(),
        lambda s: json.dumps(json.dumps(s)).encode(), lambda s: quote(quote(s, safe=""), safe="").encode(),
        lambda s: s.replace("\n", "\n    ").encode(), lambda s: shlex.quote(s).encode(),
    ],
)  # fmt: skip
def test_a_secret_is_masked_wherever_a_log_is_cut(secret: str, written: Callable[[str], bytes]) -> None:
    """Each form of it, cut at any two places, is masked as where the log is read at once."""
    masker = Masker([secret.encode(), b"another secret"])
    data = b"before " + written(secret) + b" after"
    whole = masker.mask(data)

    assert set(masked_in_parts(masker, data)) == {whole}


def test_a_part_of_a_long_secret_is_held_back() -> None:
    """The beginning of a secret at the end of what was read waits for the rest."""
    masker = Masker([b"x" * 500 + b"y" * 60_000])

    assert masker.held_back(b"word " + b"x" * 500 + b"y" * 100) == 600
    assert masker.held_back(b"word xx") == 2
    assert masker.held_back(b"word") == 0


@pytest.mark.parametrize(
    "printed",
    [
        "{}", "{stripped}\n", "{crlf}", "{indented}", "{line}\n", "{base32}", "{xxd}", "{json_twice}", "{url_twice}",
    ],
)  # fmt: skip
def test_a_secret_of_several_lines_is_masked_however_it_is_printed(printed: str) -> None:
    """`$(...)` drops its last line end, YAML indents it, tools print a line of it; none shows a line."""
    lines = ["".join(chr(65 + (n * 7 + m * 3) % 26) for m in range(48)) for n in range(4)]
    secret = "\n".join(["-----BEGIN KEY-----", *lines, "-----END KEY-----", ""])
    hexed = secret.encode().hex()
    text = printed.replace("{}", secret).format(
        stripped=secret.strip(), crlf=secret.replace("\n", "\r\n"), indented=secret.replace("\n", "\n    "),
        line=lines[1], base32=base64.b32encode(secret.encode()).decode(),
        xxd="\n".join(hexed[at : at + 60] for at in range(0, len(hexed), 60)),
        json_twice=json.dumps(json.dumps(secret)),
        url_twice=quote(quote(secret, safe=""), safe=""),
    )  # fmt: skip

    masked = Masker([secret.encode()]).text(text)

    assert "***" in masked
    assert not [line for line in lines if line in masked]
    assert lines[2].encode().hex()[4:40] not in masked
    assert base64.b32encode(secret.encode()).decode()[8:40] not in masked


@pytest.mark.parametrize("command", ["base64", "base64 -w 64", "xxd -p", "base32", "base64 | sed s/^/____/ | tr _ ' '"])
@pytest.mark.parametrize("around", [0, 1, 2, 31, 40, 56])
def test_a_secret_within_a_wrapped_text_is_masked(command: str, around: int) -> None:
    """What stands before it decides where the lines end: in the middle of the secret, too."""
    secret = b"correct-horse-battery-staple"
    text = b"u" * around + secret + b"@host"
    program = command.split()[0]
    if shutil.which(program) is None:
        pytest.skip(f"this machine has no {program}")
    ran = subprocess.run(["/bin/sh", "-c", command], input=text, capture_output=True, check=True)

    masked = Masker([secret]).mask(ran.stdout)

    assert masked.count(b"***") == 1
    assert len(b"".join(masked.split())) < len(b"".join(ran.stdout.split())) - len(secret)


def test_a_secret_in_wrapped_text_that_is_written_out_is_masked() -> None:
    """JSON has the line ends of base64 as two letters each."""
    secret = b"correct-horse-battery-staple"
    text = base64.encodebytes(b"u" * 40 + secret).decode()

    assert "***" in Masker([secret]).text(json.dumps({"data": text}))


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16", "utf-16-be", "shift_jis", "euc_jp"])
def test_a_secret_in_another_encoding_is_masked(encoding: str) -> None:
    """Output of programs of other systems is kept as bytes; the secret in it is masked all the same."""
    secret = "秘密の合言葉"

    assert b"***" in Masker([secret.encode()]).mask(f"a {secret} b".encode(encoding))


@pytest.mark.parametrize("around", [0, 20, 40])
def test_a_wrapped_secret_is_masked_wherever_a_log_is_cut(around: int) -> None:
    """The line that shows a text to be wrapped stays with the secret in it."""
    masker = Masker([b"correct-horse-battery-staple"])
    data = b"before\n" + base64.encodebytes(b"u" * around + b"correct-horse-battery-staple" + b"v" * 60) + b"after\n"
    whole = masker.mask(data)

    assert set(masked_in_parts(masker, data)) == {whole}
