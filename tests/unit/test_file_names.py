"""File names as text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.attempt import artifacts
from agent.attempt.artifacts import PATHS_LIMIT_BYTES, keep_artifacts
from agent.attempt.result_stores import VolumeStore
from keruta.adapters.results import Results, safe_parts
from keruta.domain.file_names import as_bytes, as_text
from keruta.domain.naming import attempt_id, new_id

NAMES = {
    "plain.txt": "plain.txt",
    "日本語　の.txt": "日本語　の.txt",
    "Screenshot 3.14.07\u202fPM.png": "Screenshot 3.14.07\u202fPM.png",
    "👨\u200d👩\u200d👧.png": "👨\u200d👩\u200d👧.png",
    "100%.txt": "100%.txt",
    "100%25.txt": "100%2525.txt",
    "a\nb": "a%0Ab",
    "exe\u202egpj": "exe%E2%80%AEgpj",
    "表.txt".encode("shift_jis"): "%95\\.txt",
    "café".encode("latin-1"): "caf%E9",
    b"%\x83A": "%%83A",
}


@pytest.mark.parametrize(("name", "text"), NAMES.items())
def test_a_name_is_shown_safely_and_got_back(name: str | bytes, text: str) -> None:
    raw = name.encode() if isinstance(name, str) else name

    assert as_text(raw) == text
    assert as_bytes(text) == raw


@given(st.binary(max_size=40).filter(lambda name: b"\0" not in name))
def test_every_name_comes_back_byte_for_byte_and_fits_into_json(name: bytes) -> None:
    text = as_text(name)

    assert as_bytes(text) == name
    assert msgspec.json.decode(msgspec.json.encode(text)) == text


@given(st.text(max_size=20))
def test_no_text_leads_out_of_the_results(text: str) -> None:
    parts = safe_parts(text)

    assert parts is None or not {"..", ".", ""}.intersection(parts)


@pytest.mark.parametrize("path", ["%2E%2E/x", "a/%2e%2e/%2E%2E/x", "%2Fetc/passwd", "a%00b", "a%2F..%2Fb"])
def test_an_escaped_way_out_is_a_way_out(path: str) -> None:
    assert safe_parts(path) is None


def test_every_file_of_a_script_is_kept_and_found_again(tmp_path: Path) -> None:
    """Whatever its name; a hard link is a file like any other."""
    source, target = tmp_path / "source", Results(tmp_path / "results")
    source.mkdir()
    raws = [name.encode() if isinstance(name, str) else name for name in NAMES]
    for raw in raws:
        Path(os.fsdecode(os.fsencode(source) + b"/" + raw)).write_bytes(b"content of " + raw)
    (source / "hard-link").hardlink_to(source / "plain.txt")
    task = new_id()
    attempt = attempt_id(task, 1)

    kept = keep_artifacts(source, VolumeStore(tmp_path / "results", task, 1))

    assert kept.left == []
    assert {one.path for one in kept.artifacts} == {*NAMES.values(), "hard-link"}
    for one in kept.artifacts:
        raw = b"plain.txt" if one.path == "hard-link" else as_bytes(one.path)
        with target.open(attempt, one.path) as file:
            assert file.read() == b"content of " + raw


def test_a_name_typed_as_it_is_finds_its_file(tmp_path: Path) -> None:
    """A percent sign that the shell gave, or a file that was kept before names were escaped."""
    results = Results(tmp_path)
    attempt = attempt_id(new_id(), 1)
    results.directory(attempt).mkdir(parents=True)
    (results.directory(attempt) / "a%41").write_text("as it is")

    with results.open(attempt, "a%41") as file:
        assert file.read() == b"as it is"


def test_what_is_not_kept_is_named_with_its_reason(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "link").symlink_to("/etc/passwd")
    (source / "directory").symlink_to("/etc")
    os.mkfifo(source / "pipe")
    (source / "log.gz").mkdir()
    (source / "log.gz" / "of-my-own").touch()
    for name in ("result.bundle", "result.patch"):
        (source / name).touch()
    with (source / "large").open("wb") as file:
        file.truncate(2 << 30)

    kept = keep_artifacts(source, VolumeStore(tmp_path, "target", 1), own=["result.patch"])

    assert kept.artifacts == []
    assert [str(one).removeprefix("Not kept of $KERUTA_ARTIFACTS: ") for one in kept.left] == [
        "directory, a symbolic link.",
        "inner/link, a symbolic link.",
        "large, too large with 2147483648 bytes.",
        "log.gz/of-my-own, whose name is that of a file of keruta's own.",
        "pipe, a named pipe.",
        "result.bundle, whose name is that of a file of keruta's own.",
        "result.patch, whose name is that of a file of keruta's own.",
    ]


def test_all_names_together_fit_into_one_report(tmp_path: Path) -> None:
    """Ten thousand long names would be a report that keruta refuses, again and again."""
    source = tmp_path / "source" / ("d" * 255) / ("e" * 255) / ("f" * 255)
    source.mkdir(parents=True)
    for number in range(1700):
        (source / f"{number:04}").touch()

    kept = keep_artifacts(tmp_path / "source", VolumeStore(tmp_path, "target", 1))

    assert sum(len(one.path) for one in kept.artifacts) <= PATHS_LIMIT_BYTES
    assert len(kept.artifacts) + kept.left_count == 1700
    assert str(kept.left[0]).endswith("1048576 bytes together.")


def test_a_file_that_can_not_be_read_to_its_end_is_named_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The storage is not at fault: a task that succeeded does not fail by it, and no part of the file is left."""

    def found(_: Path) -> Iterator[artifacts.Found]:
        yield artifacts.Found(path=b"broken", descriptor=os.open("/proc/self/mem", os.O_RDONLY))
        yield artifacts.Found(path=b"gone", descriptor=gone)
        yield artifacts.Found(path=b"whole", descriptor=os.open(__file__, os.O_RDONLY))

    (tmp_path / "gone").write_bytes(b"12")
    gone = os.open(tmp_path / "gone", os.O_RDONLY)
    (tmp_path / "gone").unlink()
    monkeypatch.setattr(artifacts, "walk", found)
    kept = keep_artifacts(tmp_path, VolumeStore(tmp_path, "target", 1))

    assert [one.path for one in kept.artifacts] == ["gone", "whole"]
    assert [str(one) for one in kept.left] == [
        "Not kept of $KERUTA_ARTIFACTS: broken, which can't be read: Input/output error."
    ]
    assert kept.full == ""
    assert not (tmp_path / "target/broken").exists()
