"""Settings of files in the script's own Git configuration: line ends, modes, and lists of ignored files.

Configuration is read as data, without what it includes. Of what it says, only values that are known here have an
effect, and of files that it names, only those beneath the script's workspace and home are opened.

Source: git-config(1), SYNTAX and CONFIGURATION FILE.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from agent.attempt.workspace_files import Beneath

CONFIG_LIMIT_BYTES = 1 << 20
_BOOLEANS = {
    **dict.fromkeys((b"true", b"yes", b"on", b"1"), "true"),
    **dict.fromkeys((b"false", b"no", b"off", b"0", b""), "false"),
}
_KNOWN: Mapping[bytes, Mapping[bytes, str]] = {
    b"autocrlf": {**_BOOLEANS, b"input": "input"},
    b"eol": {b"lf": "lf", b"crlf": "crlf", b"native": "native"},
    b"filemode": _BOOLEANS,
}
_ESCAPED = {ord("n"): 10, ord("t"): 9, ord("b"): 8}


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """The script's home, and what it calls that and its workspace.

    Args:
        path: where the agent finds it.
    """

    path: Path
    seen: Path
    workspace_seen: Path


class FileSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that `git add` heeds.

    Args:
        values: of `core`, by their names.
        ignored: the patterns of the user's own list of ignored files.
        attributes: the lines of the user's own attributes file.
    """

    values: Mapping[str, str] = {}
    ignored: bytes = b""
    attributes: bytes = b""


def read_settings(files: Beneath, home: Home | None, say: Callable[[str], None]) -> FileSettings:
    """Return what the workspace's configuration, and the home's below it, say of files.

    Args:
        say: told of a file that is named and not read.
    """
    own = files.read(b".git/config", CONFIG_LIMIT_BYTES) or b""
    if home is None:
        return _settings(core_of([own]), lambda name: _named(files, None, None, name), say)
    try:
        with Beneath(home.path) as at_home:
            above = (at_home.read(name, CONFIG_LIMIT_BYTES) or b"" for name in (b".config/git/config", b".gitconfig"))
            return _settings(core_of([*above, own]), lambda name: _named(files, at_home, home, name), say)
    except OSError:
        return _settings(core_of([own]), lambda name: _named(files, None, None, name), say)


def core_of(texts: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the settings of `core` in configuration files, by their names in small letters; later ones count."""
    found: dict[bytes, bytes] = {}
    for text in texts:
        section = b""
        for line in map(bytes.strip, text.replace(b"\r\n", b"\n").replace(b"\\\n", b"").split(b"\n")):
            rest = line
            if line.startswith(b"["):
                head, _, rest = line[1:].partition(b"]")
                section, rest = head.strip().lower(), rest.strip()
            if section == b"core" and rest and rest[0] not in b"#;":
                name, equals, value = rest.partition(b"=")
                found[name.strip().lower()] = _value(value.strip()) if equals else b"true"
    return found


def _value(text: bytes) -> bytes:
    """A value without its quotes, escapes and comment."""
    found, spaces, quoted, characters = bytearray(), bytearray(), False, iter(text)
    for one in characters:
        if one in b"#;" and not quoted:
            break
        if one in b" \t" and not quoted:
            spaces.append(one)  # those at the end are no part of it
            continue
        found += spaces
        spaces.clear()
        if one == ord('"'):
            quoted = not quoted
        elif one == ord("\\"):
            escaped = next(characters, ord("\\"))
            found.append(_ESCAPED.get(escaped, escaped))
        else:
            found.append(one)
    return bytes(found)


def _settings(
    core: Mapping[bytes, bytes], read: Callable[[bytes], bytes | None], say: Callable[[str], None]
) -> FileSettings:
    values = {
        f"core.{name.decode()}": known[core[name].lower()]
        for name, known in _KNOWN.items()
        if core.get(name, b"?").lower() in known
    }

    def text(setting: bytes, default: bytes) -> bytes:
        content = read(core.get(setting, default))
        if content is None and core.get(setting):
            shown = core[setting].decode("utf-8", "backslashreplace")
            say(f"not heeded: core.{setting.decode()}, since {shown} is no file of the workspace or the home")
        return content or b""

    return FileSettings(
        values=values,
        ignored=text(b"excludesfile", b"~/.config/git/ignore"),
        attributes=text(b"attributesfile", b"~/.config/git/attributes"),
    )


def _named(files: Beneath, at_home: Beneath | None, home: Home | None, name: bytes) -> bytes | None:
    """The content of a file by the script's own name for it; None where it is not beneath workspace or home."""
    path = os.path.normpath(name)
    if at_home is not None and home is not None:
        if path.startswith(b"~/"):
            return at_home.read(path[2:], CONFIG_LIMIT_BYTES)
        for seen, place in ((home.workspace_seen, files), (home.seen, at_home)):
            inner = path.removeprefix(os.fsencode(seen) + b"/")
            if inner != path:
                return place.read(inner, CONFIG_LIMIT_BYTES)
    return files.read(path, CONFIG_LIMIT_BYTES) if not path.startswith((b"/", b"~")) else None
