"""How failing tests went before on the same repository, and coverage beside the run before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import flask
import pytest

from admin.tasks import coverage_results, outcome_history
from keruta.domain.same_runs import facet_of
from keruta.domain.task import Artifact
from keruta.settings import Settings
from tests.support.admin import Browser, signed_in
from tests.support.world import ANN, World, person


def junit(**outcomes: bool) -> bytes:
    cases = "".join(
        f'<testcase classname="pack.Suite" name="{name}">{"" if passed else "<failure message=1/>"}</testcase>'
        for name, passed in outcomes.items()
    )
    return f"<testsuite>{cases}</testsuite>".replace("message=1", 'message="1"').encode()


def lcov(**files: tuple[int, int]) -> bytes:
    """Return a report with so many lines of each file, of which so many ran."""
    parts = [
        f"SF:{name}\n" + "".join(f"DA:{line},{int(line <= ran)}\n" for line in range(1, lines + 1)) + "end_of_record\n"
        for name, (lines, ran) in files.items()
    ]
    return "".join(parts).encode()


@pytest.fixture
def ann(app: flask.Flask, world: World) -> Browser:
    return signed_in(app, ANN)


class Runs:
    """Makes runs with reports."""

    def __init__(self, world: World, settings: Settings) -> None:
        self.world, self.settings = world, settings
        self.world.worker(slots=50)

    def ran(self, files: Mapping[str, bytes], *, commit: str = "c" * 40, **fields: Any) -> str:
        task = self.world.submit(**{"name": "tests", "script": "make", **fields})
        self.world.assign()
        self.world.start(task)
        self.world.database["tasks"].update_one({"_id": task}, {"$set": {"attempt.commit": commit}})
        listed = []
        for name, content in files.items():
            path = self.settings.results_dir / task / "1" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            listed.append(Artifact(path=name, size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest()))
        self.world.end(task, artifacts=listed)
        return task


@pytest.fixture
def runs(world: World, settings: Settings) -> Runs:
    return Runs(world, settings)


def section(page: str, name: str) -> str:
    return page[page.index(f'<section id="{name}"') :].partition("</section>")[0]


def test_a_failing_test_says_in_how_many_of_the_last_runs_it_failed(runs: Runs, ann: Browser) -> None:
    """By its suite and name, in all jobs on the repository; runs without it do not count."""
    first = runs.ran({"junit.xml": junit(wrong=False, fine=True)}, commit="1" * 40)
    runs.ran({"junit.xml": junit(fine=True)}, name="another job", script="other", commit="2" * 40)
    second = runs.ran({"out/test-a.xml": junit(wrong=True)}, commit="2" * 40, script="other")
    runs.ran({"junit.xml": junit(wrong=False)}, url="https://example.com/other.git", commit="3" * 40)
    last = runs.ran({"junit.xml": junit(wrong=False, fine=True)}, commit="4" * 40)
    page = section(ann.ask("GET", f"/tasks/{last}")[1], "tests")

    assert "failed in 2 of the last 3 runs" in page
    assert page.index(f"/tasks/{second}?attempt=1") < page.index(f"/tasks/{first}?attempt=1")
    assert "flaky" not in page
    assert page.count("of the last") == 1, "only of tests that failed"


def test_a_test_that_failed_and_passed_on_one_commit_is_flaky(runs: Runs, ann: Browser) -> None:
    runs.ran({"junit.xml": junit(wrong=True)})
    last = runs.ran({"junit.xml": junit(wrong=False)})

    assert ">flaky</span>" in section(ann.ask("GET", f"/tasks/{last}")[1], "tests")


def test_a_test_that_its_own_report_calls_flaky_is_so(runs: Runs, ann: Browser) -> None:
    report = b'<testsuite><testcase name="a"><flakyFailure message="once"/></testcase></testsuite>'

    assert ">flaky</span>" in section(ann.ask("GET", f"/tasks/{runs.ran({'junit.xml': report})}")[1], "tests")


def test_an_earlier_attempt_counts_as_a_run(runs: Runs, ann: Browser) -> None:
    """With the page of each attempt counting what was before it."""
    task = runs.ran({"junit.xml": junit(wrong=False)})
    document = runs.world.document(task)
    second = {**document["attempt"], "number": 2}
    change = {"past_attempts": [document["attempt"]], "attempt": second, "attempt_count": 2}
    runs.world.database["tasks"].update_one({"_id": task}, {"$set": change})
    path = runs.settings.results_dir / task / "2" / "junit.xml"
    path.parent.mkdir(parents=True)
    path.write_bytes(junit(wrong=False))

    assert "failed in 2 of the last 2 runs" in ann.ask("GET", f"/tasks/{task}")[1]
    assert "no earlier run of it is known" in ann.ask("GET", f"/tasks/{task}?attempt=1")[1]


def test_the_last_ten_runs_count(runs: Runs, ann: Browser) -> None:
    for number in range(12):
        last = runs.ran({"junit.xml": junit(wrong=number in (0, 1, 5))}, commit=f"{number:040d}")

    page = section(ann.ask("GET", f"/tasks/{last}")[1], "tests")
    assert "failed in 9 of the last 10 runs" in page
    assert page.count("?attempt=1") == 9


def test_runs_that_the_reader_may_not_see_do_not_count(runs: Runs, app: flask.Flask) -> None:
    hidden, last = runs.ran({"junit.xml": junit(wrong=False)}), runs.ran({"junit.xml": junit(wrong=False)})
    runs.world.database["tasks"].update_one({"_id": hidden}, {"$set": {"readers": ["user:zoe"], "seen_by": []}})
    page = signed_in(app, person("eve", "viewer")).ask("GET", f"/tasks/{last}")[1]

    assert "no earlier run of it is known" in page
    assert hidden not in page


def outcome_history_reads_no_more_than_its_bound(runs: Runs, ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond the bound is left out, as is what is no longer kept or no report."""
    runs.ran({"junit.xml": junit(wrong=False)})
    runs.ran({"junit.xml": junit(wrong=False) + b" " * 10_000})
    runs.ran({"junit.xml": b"<!DOCTYPE a [<!ENTITY x 'y'>]><testsuite>&x;</testsuite>"})
    gone = runs.ran({"junit.xml": junit(wrong=True)})
    (runs.settings.results_dir / gone / "1" / "junit.xml").unlink()
    last = runs.ran({"junit.xml": junit(wrong=False)})
    monkeypatch.setattr(outcome_history, "BYTES_READ", 5_000)

    assert "no earlier run of it is known" in ann.ask("GET", f"/tasks/{last}")[1]


def test_earlier_reports_are_found_by_the_index_alone(runs: Runs) -> None:
    """As many documents as are looked through, whatever else there is; only files with a report's name come."""
    task = runs.ran({"junit.xml": junit(a=True), "big.bin": b"x", "lcov.info": lcov(a=(1, 1))})
    for _ in range(20):
        runs.world.submit(name="other", script="other", url="https://example.com/other.git")
    facet = "repository=https://example.com/a.git"
    found = runs.world.reading.reported(ANN, facet, before="z" * 26, limit=10)
    match = {"seen_by": {"$in": [f"{reader} {facet}" for reader in ANN.readers]}, "_id": {"$lt": "z" * 26}}
    cursor = runs.world.database["tasks"].find(match).sort("_id", -1).hint("seen_by").limit(10)
    stats = cursor.explain()["executionStats"]

    assert [(run.task, [one.path for one in run.artifacts]) for run in found] == [(task, ["junit.xml", "lcov.info"])]
    assert stats["totalDocsExamined"] == 1


def test_coverage_is_shown_beside_the_run_before(runs: Runs, ann: Browser) -> None:
    """By file, those first that lost most; of another job's coverage nothing is said."""
    before = runs.ran({"coverage/lcov.info": lcov(a=(10, 10), b=(10, 5))})
    runs.ran({"coverage/lcov.info": lcov(a=(10, 1))}, script="other")
    last = runs.ran({"coverage/lcov.info": lcov(a=(10, 8), b=(10, 6), c=(20, 20))})
    page = section(ann.ask("GET", f"/tasks/{last}")[1], "coverage")

    assert "85.0 %" in page
    assert "34 of 40 lines ran" in page
    assert f'<a href="/tasks/{before}?attempt=1">since the run before: 75.0 %</a>' in page
    assert "▲ +10.00" in page
    assert page.index("▼ −20.00") < page.index("▲ +10.00", page.index("<details"))
    assert "No run before has a report of coverage." in ann.ask("GET", f"/tasks/{before}")[1]
    assert "<td>8 / 10</td>" in ann.ask("GET", f"/tasks/{last}/files/coverage/lcov.info")[1]


def test_reports_of_two_languages_are_one(runs: Runs, ann: Browser) -> None:
    cobertura = b'<coverage><class filename="x.py"><line number="1" hits="0"/></class></coverage>'
    task = runs.ran({"coverage.xml": cobertura, "web.lcov": lcov(a=(3, 3))})

    assert "3 of 4 lines ran" in section(ann.ask("GET", f"/tasks/{task}")[1], "coverage")


def test_a_hostile_report_of_coverage_shows_nothing_but_text(runs: Runs, ann: Browser) -> None:
    files = {
        "lcov.info": b"SF:<script>x</script>\xe2\x80\xae\nDA:1,1\nend_of_record\n",
        "coverage.xml": b'<!DOCTYPE coverage [<!ENTITY x SYSTEM "file:///etc/passwd">]><coverage>&x;</coverage>',
    }
    task = runs.ran(files)
    for path in ("", "/files/lcov.info", "/files/coverage.xml"):
        page = ann.ask("GET", f"/tasks/{task}{path}")[1]
        assert "<script>x" not in page
        assert "\u202e" not in page
        assert "root:" not in page


def test_reports_that_are_too_large_are_named(runs: Runs, ann: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage_results, "BYTES_READ", 10)
    task = runs.ran({"lcov.info": lcov(a=(3, 3))})
    page = section(ann.ask("GET", f"/tasks/{task}")[1], "coverage")

    assert "too large for this page" in page
    assert f"/tasks/{task}/files/lcov.info" in page
    assert "3 / 3" in ann.ask("GET", f"/tasks/{task}/files/lcov.info")[1]


def test_runs_of_the_same_have_one_facet(world: World) -> None:
    """Of a task as it is read, the one that it was stored with."""
    task = world.submit(name="tests", script="make")

    assert facet_of(world.task(task)) in world.document(task)["facets"]
