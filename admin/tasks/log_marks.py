"""Marks in a log's lines: groups that fold, and errors and warnings with their places. Pure.

Groups are written as GitHub, Azure, GitLab and Buildkite read them, so scripts written for those fold here, too.
Source: https://docs.github.com/actions/reference/workflow-commands-for-github-actions,
https://docs.gitlab.com/ci/jobs/job_logs/#expand-and-collapse-job-log-sections,
https://buildkite.com/docs/pipelines/configure/managing-log-output#grouping-log-output
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Literal
from urllib.parse import unquote

import msgspec

from admin.tasks.escapes import without_escapes

Level = Literal["error", "warning", "notice"]
LINE_READ = 2000  # letters of a line that are looked at
MESSAGE_SHOWN = 500


class Annotation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error, warning or notice, with the place in a file that it names, if it names one."""

    level: Level
    message: str
    file: str = ""
    line: int = 0


class Group(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The beginning of a group. One that is flat ends where the next flat one begins.

    Args:
        name: by which its end names it; empty for the last one that is open.
        folded: whether its writer asked for that; None leaves it to the page.
        at: when it began, in seconds since 1970, where the line says so.
    """

    name: str = ""
    flat: bool = False
    folded: bool | None = None
    at: int | None = None


class GroupEnd(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of a group."""

    name: str = ""
    at: int | None = None


class Read(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A line's text without its marks, and the marks.

    Args:
        hidden: the line has nothing but marks.
        no_group: the line before began no group: both are the head of a difference.
        before: the annotation is of the line before this one, which alone did not say its place.
    """

    text: str
    ends: list[GroupEnd] = []
    group: Group | None = None
    annotation: Annotation | None = None
    hidden: bool = False
    no_group: bool = False

    @property
    def plain(self) -> bool:
        return not (self.ends or self.group or self.annotation or self.hidden or self.no_group)


_COMMAND = re.compile(r"::(group|endgroup|error|warning|notice)(?: ([^:]{0,1000}(?::(?!:)[^:]{0,1000}){0,20}))?::(.*)")
_AZURE = re.compile(r"##\[(group|endgroup|error|warning|section)\](.*)")
_SECTION = re.compile(r"section_(start|end):(\d{1,12}):([\w.-]{1,200})(?:\[([^\]\r]{0,200})\])?\r(?:\x1b\[0K)?")
_BUILDKITE = re.compile(r"(---|\+\+\+|~~~) (\S.*)")
_NOT_BUILDKITE = re.compile(r"--- (?:PASS|FAIL|SKIP|BENCH): ")
_PROPERTY = re.compile(r"(file|line|title)=([^,]*)")

_PLACE = r"(?P<file>(?:[A-Za-z]:)?[^\s:()\[\]'\"<>|]{1,400})"
_LINE = r"(?P<line>\d{1,7})"
_FOUND: tuple[tuple[str, re.Pattern[str]], ...] = (
    # gcc, clang, javac, go vet, mypy, flake-like: file:line[:column]: error: message
    ("", re.compile(rf"{_PLACE}:{_LINE}(?::\d{{1,6}})?: (?P<level>fatal error|error|warning)[: ]\s*(?P<message>.+)")),
    # TypeScript, MSVC: file(line,column): error CODE: message
    ("", re.compile(rf"{_PLACE}\({_LINE}(?:,\d{{1,6}})?\): (?P<level>fatal error|error|warning) (?P<message>.+)")),
    # Maven: [ERROR] file:[line,column] message
    ("", re.compile(rf"\[(?P<level>ERROR|WARNING)\] {_PLACE}:\[{_LINE},\d{{1,6}}\] (?P<message>.+)")),
    # pytest's short summary
    ("error", re.compile(r"(?:FAILED|ERROR) (?P<file>[^\s:]{1,400})(?P<message>(?:::\S{1,400})?(?: - .+)?)$")),
    # go test
    ("error", re.compile(r"\s{0,40}--- FAIL: (?P<message>.+)")),
    # Jest and its like
    ("error", re.compile(r"\s{0,8}● (?P<message>[^●]+ › .+)")),
    ("error", re.compile(r"FAIL (?P<file>[^\s:]{1,400}\.[cm]?[jt]sx?)(?P<message>)$")),
    # RSpec: rspec ./spec/a_spec.rb:12 # message
    ("error", re.compile(r"rspec (?P<file>[^\s:]{1,400}):(?P<line>\d{1,7}) # (?P<message>.+)")),
    # PHP
    ("error", re.compile(r"(?:PHP )?(?:Fatal|Parse) error: +(?P<message>.{1,300}?) in (?P<file>\S{1,200}) on line "
                         + _LINE)),
    # make
    ("error", re.compile(r"make(?:\[\d{1,4}\])?: \*\*\* (?:\[(?P<file>[^\s:\]]{1,400}):" + _LINE
                         + ": )?(?P<message>.+)")),
    # cargo, git and others without a place
    ("error", re.compile(r"(?:error|fatal)(?:\[\w{1,20}\])?: (?P<message>.+)")),
    ("warning", re.compile(r"warning(?:\[\w{1,20}\])?: (?P<message>.+)")),
)  # fmt: skip
# A cheap test that most lines fail, before the expressions are tried.
_HINT = re.compile(r"error|warning|fail|fatal|●|rspec |make", re.IGNORECASE)
_ARROW = re.compile(r"\s{1,12}--> (?P<file>[^\s:]{1,400}):(?P<line>\d{1,7}):\d{1,6}$")
_FRAME = re.compile(r'\s{1,40}File "(?P<file>[^"]{1,400})", line (?P<line>\d{1,7})')
_LINTED = re.compile(r"\s{1,8}(?P<line>\d{1,7}):\d{1,6}\s{1,8}(?P<level>error|warning)\s{1,8}(?P<message>\S.*)")
_PATH = re.compile(r"(?:/|\.{0,2}/|[A-Za-z]:\\)?[^\s:]{1,400}\.\w{1,8}")
_TRACEBACK = "Traceback (most recent call last):"


class LogMarks:
    """Reads one attempt's lines in order: some say only with a later one where they belong."""

    def __init__(self) -> None:
        self._begun = False  # whether the line before began a group with ---
        self._path = ""  # the line before, where it is a path alone
        self._frame: tuple[str, int] | None = None
        self._traced = False

    def read(self, line: str) -> Read:
        """Return what a line says. It may have escape sequences and what a \\r has covered."""
        begun, self._begun = self._begun, False
        read = self._sections(line) if "section_" in line else None
        if read is None:
            text = without_escapes(line[:LINE_READ]).rstrip()
            read = self._command(line, text) or self._heading(line, text, begun=begun) or Read(text=line)
            if read.plain:
                read.annotation = self._annotation(text)
        return read

    def _sections(self, line: str) -> Read | None:
        """GitLab's: several may stand before one text."""
        ends: list[GroupEnd] = []
        group, at = None, 0
        for found in _SECTION.finditer(line):
            kind, seconds, name, options = found.groups()
            if kind == "end":
                ends.append(GroupEnd(name=name, at=int(seconds)))
            else:
                group = Group(name=name, at=int(seconds), folded="collapsed=true" in (options or ""))
            at = found.end()
        if not ends and group is None:
            return None
        return Read(text=line[at:], ends=ends, group=group, hidden=group is None and not line[at:].strip())

    def _command(self, line: str, text: str) -> Read | None:
        if text.startswith("##["):
            azure = _AZURE.match(text)
            if azure is None:
                return None
            kind, rest, given = azure[1], azure[2], ""
        elif text.startswith("::") and (command := _COMMAND.match(text)) is not None:
            kind, given, rest = command[1], command[2] or "", command[3]
        else:
            return None
        if kind == "group":
            return Read(text=rest.strip() or "…", group=Group())
        if kind == "endgroup":
            return Read(text="", ends=[GroupEnd()], hidden=True)
        if kind == "section":
            return Read(text=rest, group=Group(flat=True, folded=False))
        return self._told(kind, given, rest)

    def _told(self, kind: str, given: str, rest: str) -> Read:
        """Read a command that reports an error, a warning or a notice."""
        known = {name: unquote(value) for name, value in _PROPERTY.findall(given)}
        message = unquote(rest).strip()
        line = known.get("line", "")
        title = f"{known['title']}: " if known.get("title") else ""
        level: Level = "error" if kind == "error" else "warning" if kind == "warning" else "notice"
        note = Annotation(
            level=level, message=f"{title}{message}"[:MESSAGE_SHOWN], file=known.get("file", "")[:400],
            line=int(line) if line.isascii() and line.isdigit() and len(line) < 8 else 0,
        )  # fmt: skip
        shown = f"{level.capitalize()}: {message}" if message else level.capitalize()
        return Read(text=shown.replace("\n", " ").replace("\r", " "), annotation=note)

    def _heading(self, line: str, text: str, *, begun: bool) -> Read | None:
        """Buildkite's. `---` with `+++` right below it is the head of a difference."""
        found = _BUILDKITE.match(text)
        if found is None or _NOT_BUILDKITE.match(text):
            return None
        kind, title = found.groups()
        if kind == "+++" and begun:
            return Read(text=line, no_group=True)
        self._begun = kind == "---"
        return Read(text=title, group=Group(flat=True, folded=False if kind == "+++" else None))

    def _annotation(self, text: str) -> Annotation | None:
        if (traced := self._python(text)) is not None:
            return traced
        path, self._path = self._path, text if _PATH.fullmatch(text) else self._path if text[:1] in " \t" else ""
        if path and (linted := _LINTED.match(text)) is not None:
            return _annotation(linted["level"], linted["message"], path, linted["line"])
        if not _HINT.search(text):
            return None
        for level, pattern in _FOUND:
            if (found := pattern.match(text)) is not None:
                known = {"file": "", "line": "", "level": level, **found.groupdict()}
                message = known["message"].removeprefix(" - ").removeprefix("::") or text
                return _annotation(known["level"], message, known["file"] or "", known["line"] or "")
        return None

    def _python(self, text: str) -> Annotation | None:
        """A traceback's last line, with the place of its last frame."""
        if text.endswith(_TRACEBACK):
            self._traced, self._frame = True, None
        elif self._traced:
            if (frame := _FRAME.match(text)) is not None:
                self._frame = frame["file"], int(frame["line"])
            elif text and text[0] not in " \t":
                self._traced = False
                file, line = self._frame or ("", 0)
                return _annotation("error", text, file, str(line))
        return None


def _annotation(level: str, message: str, file: str, line: str) -> Annotation:
    kind: Level = "warning" if level.lower() == "warning" else "error"
    return Annotation(level=kind, message=message.strip()[:MESSAGE_SHOWN], file=file, line=int(line or 0))


# ---------------------------------------------------------------- links

_ADDRESS = re.compile(r"https?://[^\s<>\"'`\x00-\x1f]{3,2000}")
_AFTER = ".,;:!?…。、）」』"


def with_links(text: str, plain: Callable[[str], str], linked: Callable[[str, str], str]) -> Iterator[str]:
    """Yield a text in parts: addresses of the web as `linked(address, shown)`, the rest as `plain(text)`.

    An address with a user name is none: what stands before its @ would be taken for the host.
    """
    at = 0
    for found in _ADDRESS.finditer(text):
        address = found[0].rstrip(_AFTER)
        for opened, closed in ("()", "[]", "{}"):
            while address.endswith(closed) and address.count(closed) > address.count(opened):
                address = address[:-1].rstrip(_AFTER)
        host = address.split("/")[2] if address.count("/") >= 2 else ""
        if not host or "@" in host or "\\" in address:
            continue
        yield plain(text[at : found.start()])
        yield linked(address, address)
        at = found.start() + len(address)
    yield plain(text[at:])
