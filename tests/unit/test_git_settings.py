"""The script's own Git configuration, read as data."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agent.attempt.git_settings import Home, core_of, read_settings
from agent.attempt.workspace_files import Beneath

TEXTS = [
    b"[core]\nautocrlf = input\n",
    b'[CORE]AutoCRLF=true # no\n[core "x"]\nautocrlf = no\n[user]\nautocrlf = off\n',
    b"[core]\n\tautocrlf\n\teol = crlf ; x\n[core]\n eol = lf\n",
    b'[core]\r\n\texcludesFile = "a # b" c \\\\ \\"d\\"   \r\n',
    b"[core]\n\texcludesFile = one\\\n two\n; [x]\n# y\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_settings_are_those_that_git_reads(tmp_path: Path, text: bytes) -> None:
    """Sections, quotes, comments and lines that go on."""
    (tmp_path / "config").write_bytes(text)
    for name, value in core_of([text]).items():
        asked = ["git", "config", "--file", str(tmp_path / "config"), f"core.{name.decode()}"]
        assert subprocess.run(asked, capture_output=True, check=True).stdout.rstrip(b"\n") in (value, b"")


def test_lists_of_the_home_count_and_links_out_of_it_do_not(tmp_path: Path) -> None:
    """By `~`, and by the place that the script knows; what lies elsewhere is named and not opened."""
    home, workspace = tmp_path / "home", tmp_path / "workspace"
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "ignore").write_text("*.key\n")
    (home / ".gitconfig").write_text("[core]\nautocrlf = true\nattributesFile = /job/home/attributes\n")
    (home / "attributes").write_text("*.x text\n")
    (workspace / ".git").mkdir(parents=True)
    (workspace / ".git" / "config").write_text("[core]\nautocrlf = false\nhooksPath = /x\n")
    seen = Home(path=home, seen=Path("/job/home"), workspace_seen=Path("/job/workspace"))
    said: list[str] = []

    with Beneath(workspace) as files:
        found = read_settings(files, seen, said.append)
        assert (found.values, found.ignored, found.attributes) == (
            {"core.autocrlf": "false"},
            b"*.key\n",
            b"*.x text\n",
        )
        assert said == []

        (home / "attributes").unlink()
        (home / "attributes").symlink_to("/etc/passwd")
        assert read_settings(files, seen, said.append).attributes == b""
        assert said == [
            "not heeded: core.attributesfile, since /job/home/attributes is no file of the workspace or the home"
        ]
