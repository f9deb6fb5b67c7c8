"""Results on a task's page: the summary that its script wrote, tests, and all files in one archive."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import flask
import pytest

from agent.attempt.artifacts import keep_summary
from agent.attempt.result_stores import VolumeStore
from agent.log.masking import Masker
from keruta.domain.reports import SUMMARY_LIMIT_BYTES, SUMMARY_NAME
from keruta.domain.task import Artifact
from keruta.settings import Settings
from tests.support.admin import Browser, signed_in
from tests.support.attempts import Ask, run
from tests.support.repositories import make_repository
from tests.support.world import ANN, World

JUNIT = b"""<testsuite name="s"><testcase name="fine"/><testcase name="&lt;b&gt;wrong"><failure message="3 != 4">trace
</failure></testcase></testsuite>"""


@pytest.fixture
def ann(app: flask.Flask, world: World) -> Browser:
    return signed_in(app, ANN)


def ended(world: World, settings: Settings, files: Mapping[str, bytes]) -> str:
    """A task that has left these files."""
    task = world.submit()
    world.worker()
    world.assign()
    world.start(task)
    listed = []
    for name, content in files.items():
        path = settings.results_dir / task / "1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        listed.append(Artifact(path=name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()))
    world.end(task, artifacts=listed)
    return task


def test_what_a_script_writes_to_its_summary_is_kept(tmp_path: Path) -> None:
    make_repository(tmp_path / "a.git")
    script = 'echo "# All well" >> "$KERUTA_SUMMARY"; echo "in $KERUTA_SUMMARY"'
    told = run(Ask(state=str(tmp_path / "state"), repository=(tmp_path / "a.git").as_uri(), fields={"script": script}))

    assert told.artifacts == [SUMMARY_NAME, "log.gz"]
    assert next((tmp_path / "state").rglob(SUMMARY_NAME)).read_text() == "# All well\n"


def test_a_summary_is_masked_bounded_and_a_file(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_text("the key is s3cret-value\n" + "x" * SUMMARY_LIMIT_BYTES)
    masker = Masker([b"s3cret-value"])

    store = VolumeStore(tmp_path / "kept", "task", 1)
    kept, said = keep_summary(lambda: _open(path), store, masker)

    assert "s3cret" not in (tmp_path / "kept" / "task" / "1" / SUMMARY_NAME).read_text()
    assert kept[0].size_bytes <= SUMMARY_LIMIT_BYTES + 100
    assert [one.code for one in said] == ["summary_too_large"]
    path.unlink()
    assert keep_summary(lambda: _open(path), store, masker) == ([], [])
    path.write_text(" \n")
    assert keep_summary(lambda: _open(path), store, masker) == ([], [])


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def test_the_page_shows_the_summary_and_loads_nothing_of_it(world: World, settings: Settings, ann: Browser) -> None:
    text = b"# Coverage\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n![x](https://evil.example/x.png) [go](javascript:z)"
    text += b" <img src=x onerror=y>"
    page = ann.ask("GET", f"/tasks/{ended(world, settings, {SUMMARY_NAME: text})}")[1]

    section = page[page.index('<section id="summary"') : page.index('<section class="log"')]
    assert "<h1>Coverage</h1>" in section
    assert "<table>" in section
    assert "<img" not in section
    assert 'href="javascript' not in section


def test_tests_are_on_the_page_failures_first(world: World, settings: Settings, ann: Browser) -> None:
    """Also on the page of their file; a file of that name that is none is passed over."""
    files = {
        "reports/junit.xml": JUNIT,
        "TEST-other.xml": b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><testsuite>&x;</testsuite>",
    }
    task = ended(world, settings, files)
    page = ann.ask("GET", f"/tasks/{task}")[1]

    assert "1 test failed" in page
    assert page.index("&lt;b&gt;wrong") < page.index("<bdi>fine</bdi>")
    assert "3 != 4" in page
    assert "root:" not in page
    assert "1 test failed" in ann.ask("GET", f"/tasks/{task}/files/reports/junit.xml")[1]
    assert "root:" not in ann.ask("GET", f"/tasks/{task}/files/TEST-other.xml")[1]


def test_all_files_come_in_one_archive_that_is_streamed(
    world: World, settings: Settings, ann: Browser, tmp_path: Path
) -> None:
    """Python's zipfile and unzip take it. One that is no longer kept is left out."""
    files = {"a.txt": b"a" * 3_000_000, "sub/..\\b.html": b"<script>1</script>", "gone": b"", "c": b"c", "c\\d": b"d"}
    task = ended(world, settings, files)
    (settings.results_dir / task / "1" / "gone").unlink()
    answer = ann.client.get(f"/tasks/{task}/artifacts.zip")

    assert answer.is_streamed
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{task}-1.zip"'
    assert "Content-Length" not in answer.headers
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["a.txt", "sub/.._b.html", "c", "c_d"]
        assert archive.read("a.txt") == files["a.txt"]
        archive.extractall(tmp_path / "by-python")
    if unzip := shutil.which("unzip"):
        (tmp_path / "all.zip").write_bytes(answer.data)
        subprocess.run([unzip, "-q", "all.zip", "-d", "by-unzip"], cwd=tmp_path, check=True, stdin=subprocess.DEVNULL)
        assert (tmp_path / "by-unzip" / "c_d").read_bytes() == b"d"
    assert ann.client.get(f"/tasks/{world.submit()}/artifacts.zip").status_code == 404
