"""Directories of a home that a fenced script may read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.runners.process.read_paths import secret_files, tool_paths, tool_variables


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with tools as people have them, and with secrets."""
    home = tmp_path / "home" / "ann"
    for name in (
        ".nvm/versions/node/v20/bin", ".nvm/versions/node/v20/lib", ".local/bin", ".local/lib", ".local/share/keyrings",
        ".local/share/pipx/venvs/black/bin", ".pyenv/versions/3.12/bin", ".pyenv/shims", ".cargo/bin", ".rustup",
        ".config/composer/vendor/bin", ".ssh", "bin", "project/.git", "project/bin", ".claude/bin",
    ):  # fmt: skip
        (home / name).mkdir(parents=True)
    (home / ".local/share/pipx/venvs/black/bin/black").touch()
    (home / ".local/bin/black").symlink_to(home / ".local/share/pipx/venvs/black/bin/black")
    (home / ".local/share/pipx/venvs/black/bin/python").symlink_to(home / ".pyenv/versions/3.12/bin/python3")
    (home / ".pyenv/versions/3.12/bin/python3").touch()
    (home / ".cargo/credentials.toml").touch()
    return home


def shown(home: Path, *parts: str) -> set[str]:
    path = ":".join(str(home / part) for part in parts)
    return {os.path.relpath(one, home) for one in tool_paths(path, home)}


def test_a_directory_of_programs_stands_for_its_installation(home: Path) -> None:
    assert shown(home, ".nvm/versions/node/v20/bin") == {".nvm/versions/node/v20"}
    assert shown(home, ".pyenv/shims") == {".pyenv"}


def test_links_are_followed_to_their_installation(home: Path) -> None:
    """A program of pipx, and the Python that it runs on."""
    assert shown(home, ".local/bin") == {
        ".local/bin", ".local/lib", ".local/share/pipx/venvs/black", ".pyenv/versions/3.12",
    }  # fmt: skip


def test_an_interpreter_in_a_first_line_is_followed(home: Path) -> None:
    (home / "bin/tool").write_text(f"#!{home}/.pyenv/versions/3.12/bin/python3 -I\n")

    assert shown(home, "bin") == {"bin", ".pyenv/versions/3.12"}


@pytest.mark.parametrize("part", [".config/composer/vendor/bin", ".ssh", ".claude/bin", "no-such"])
def test_what_keeps_secrets_is_never_shown(home: Path, part: str) -> None:
    assert shown(home, part) == set()


@pytest.mark.parametrize(
    ("part", "expected"), [(".", set()), ("..", set()), ("bin", {"bin"}), ("project/bin", {"project/bin"})]
)
def test_neither_a_home_nor_a_repository_is_shown_whole(home: Path, part: str, expected: set[str]) -> None:
    assert shown(home, part) == expected


def test_the_systems_directories_are_none_of_these(home: Path) -> None:
    assert tool_paths("/usr/bin:/bin:/usr/local/bin:relative:", home) == []


def test_a_tool_finds_what_lies_beside_it_in_the_home_and_its_keys_are_left_out(home: Path) -> None:
    paths = tool_paths(str(home / ".cargo/bin"), home)

    assert paths == [home / ".cargo", home / ".rustup"]
    assert tool_variables(home, paths) == {"RUSTUP_HOME": str(home / ".rustup")}
    assert list(secret_files(paths)) == [home / ".cargo/credentials.toml"]
