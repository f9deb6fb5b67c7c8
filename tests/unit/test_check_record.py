"""A check in a container of its own: it begins on the cluster's word, and its own record decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.attempt.directory import JobDir


@pytest.fixture
def directory(tmp_path: Path) -> JobDir:
    """A Pod's, whose script has a check."""
    (tmp_path / "own").mkdir()
    (tmp_path / "job").mkdir()
    made = JobDir(root=tmp_path / "own", shared=tmp_path / "job")
    made.make_shared()
    (made.given / "check").write_text("true")
    return made


def writes(control: Path, text: str) -> None:
    (control / "exit").write_text(text)
    (control / "done").touch()


FORGED = ["script 0\ncheck 0\ndone 0\n", "script 3\ndone 0\n", "", "check-setup 0\nfence 0\n"]


@pytest.mark.parametrize("text", FORGED)
def test_no_record_of_the_scripts_ends_an_attempt_with_a_check(directory: JobDir, text: str) -> None:
    """It may be written, emptied and written again while the script goes on."""
    writes(directory.control, text)

    assert directory.finished is False
    assert directory.awaits_check is True
    assert not {"check", "fence", "check-setup"} & directory.exit_codes().keys()


def test_a_check_begins_when_the_scripts_container_ended_well(directory: JobDir) -> None:
    """And is over by its own record, whatever the script wrote."""
    writes(directory.control, "script 0\ncheck 0\ndone 0\n")

    directory.note_script_end(0)
    assert (directory.given / "go-check").exists()
    assert (directory.finished, directory.exit_codes()) == (False, {"script": 0})

    writes(directory.check_control, "check 7\ndone 0\n")
    assert directory.finished is True
    assert (directory.exit_codes()["script"], directory.exit_codes()["check"]) == (0, 7)


def test_a_script_that_ended_badly_has_no_check(directory: JobDir) -> None:
    """By the cluster's word, though it wrote that it ended well."""
    writes(directory.control, "script 0\ndone 0\n")

    directory.note_script_end(9)
    directory.note_script_end(0)

    assert not (directory.given / "go-check").exists()
    assert (directory.finished, directory.exit_codes()["script"]) == (True, 9)


def test_an_agent_that_comes_back_lets_the_check_begin(directory: JobDir) -> None:
    """It was ended between noting the script's end and that."""
    directory.note_script_end(0)
    (directory.given / "go-check").unlink()

    directory.let_check()

    assert (directory.given / "go-check").exists()
