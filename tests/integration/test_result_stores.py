"""The two ways of an attempt's files to keruta keep one contract: the shared volume, and upload to report_status."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.attempt.artifacts import keep_artifacts, keep_log
from agent.attempt.result_stores import ResultStore, UploadStore, VolumeStore
from agent.log.masking import Masker
from agent.reporter import HttpTransport
from functions.report_status import handler
from keruta.adapters.results import Results
from keruta.adapters.tokens import Sessions, new_key
from keruta.domain.api.agents import AGENTS
from keruta.domain.file_names import as_bytes
from keruta.domain.naming import attempt_id
from keruta.domain.uploads import PART_BYTES, Part, content_range, read_part, representation_digest
from keruta.errors import InvalidRequest, PhaseError
from keruta.http.function import Function
from tests.support.functions import report_status, served, serving
from tests.support.proxies import Proxy
from tests.support.world import World

NAMES = ["plain.txt", "in/a directory/ü", "50%25 off", "\udcff\udcfe", "new\nline", "ひらがな", "q?a=b#c", ".hidden"]


class Attempt:
    """An attempt at work, what it stores its files by, and keruta's own view of them."""

    upload: UploadStore

    def __init__(self, world: World, make: Callable[[str, int], ResultStore]) -> None:
        self.world = world
        self.task = world.submit()
        world.worker(slots=2)
        world.assign()
        world.start(self.task)
        self.store = make(self.task, 1)
        self.results = Results(world.settings.results_dir)

    def kept(self, path: str) -> bytes:
        with self.results.open(attempt_id(self.task, 1), path) as file:
            return file.read()

    def files(self) -> list[str]:
        """Names beneath the attempt's directory that a reader could ask for."""
        root = self.results.directory(attempt_id(self.task, 1))
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(new_key())


@pytest.fixture
def address(world: World, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """report_status, over HTTP."""
    monkeypatch.setattr("keruta.logs.configure", lambda *_: None)
    with serving(report_status(world, None, sessions, cache_bytes=10 << 20)) as url:
        yield url


@pytest.fixture
def upload(tmp_path: Path, sessions: Sessions, address: str) -> Callable[..., UploadStore]:
    def make(task: str, attempt: int, url: str = address, seconds: float = 30) -> UploadStore:
        token = sessions.for_attempt(attempt_id(task, attempt), timeout_seconds=3600, lease_seconds=30)
        return UploadStore(HttpTransport(url, token), task, attempt, tmp_path, seconds=seconds)

    return make


@pytest.fixture(params=["volume", "upload"])
def attempt(request: pytest.FixtureRequest, world: World) -> Attempt:
    if request.param == "volume":
        return Attempt(world, lambda task, number: VolumeStore(world.settings.results_dir, task, number))
    return Attempt(world, request.getfixturevalue("upload"))


def test_files_of_any_name_arrive_as_they_are(attempt: Attempt, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in NAMES:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content of " + os.fsencode(name))

    kept = keep_artifacts(source, attempt.store)

    assert (kept.left, kept.full) == ([], "")
    assert {as_bytes(one.path) for one in kept.artifacts} == set(map(os.fsencode, NAMES))
    for one in kept.artifacts:
        content = attempt.kept(one.path)
        assert content == b"content of " + as_bytes(one.path)
        assert (one.size_bytes, one.sha256) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES - 7])
def test_files_of_any_size_arrive_whole(attempt: Attempt, size: int) -> None:
    content = os.urandom(size)

    told = attempt.store.put(b"file", (content[at : at + 100_000] for at in range(0, size, 100_000)))

    assert told == (size, hashlib.sha256(content).hexdigest())
    assert attempt.kept("file") == content
    assert attempt.files() == ["file"]


def test_a_log_is_stored_masked(attempt: Attempt, tmp_path: Path) -> None:
    import gzip

    (tmp_path / "log").write_bytes(b"the pass-word is s3cret-value\n" * 1000)

    told = keep_log((tmp_path / "log").open("rb"), attempt.store, Masker([b"s3cret-value"]))

    content = gzip.decompress(attempt.kept("log.gz"))
    assert content.count(b"\n") == 1000
    assert b"s3cret" not in content
    assert told.sha256 == hashlib.sha256(attempt.kept("log.gz")).hexdigest()


def test_a_file_that_breaks_off_is_not_there(attempt: Attempt) -> None:
    """Also where an earlier part of it had been sent."""

    def broken() -> Iterator[bytes]:
        yield b"x" * (2 * PART_BYTES)
        raise OSError("the disk is broken")

    with pytest.raises(OSError, match="the disk is broken"):
        attempt.store.put(b"file", broken())

    assert "file" not in attempt.files()


def test_what_an_interrupted_try_left_is_forgotten(attempt: Attempt) -> None:
    attempt.store.put(b"in/old", [b"old"])

    attempt.store.begin()
    attempt.store.put(b"new", [b"new"])

    assert attempt.files() == ["new"]


def test_earlier_work_is_read_and_its_absence_is_told(attempt: Attempt) -> None:
    """An attempt that pushes what an earlier one kept has that bundle, and no other file."""
    root = attempt.results.directory(attempt_id(attempt.task, 1))
    root.mkdir(parents=True, exist_ok=True)
    with pytest.raises(PhaseError) as missing:
        attempt.store.work(1, "result.bundle")
    assert missing.value.reason == "WorkMissing"


def test_a_file_arrives_whole_though_answers_are_lost_and_requests_come_twice(
    world: World, address: str, upload: Callable[..., UploadStore]
) -> None:
    content = os.urandom(6 * PART_BYTES + 11)
    with Proxy(lose=0.4, double=0.4, loses=("PUT", "DELETE")) as between:
        between.target = address
        attempt = Attempt(world, lambda task, number: upload(task, number, f"http://127.0.0.1:{between.port}"))
        attempt.store.begin()

        told = attempt.store.put(b"in/file", [content])

        assert between.doubled
        assert between.lost
    assert told == (len(content), hashlib.sha256(content).hexdigest())
    assert attempt.kept("in/file") == content
    assert attempt.files() == ["in/file"]


def test_an_upload_goes_on_when_keruta_is_back(
    world: World, address: str, upload: Callable[..., UploadStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part that was there stays; what comes after it is sent to the next instance."""
    stored = Results.store
    faults = iter([False, True, True, False, True])

    def away(self: Results, *arguments: Any) -> None:
        if next(faults, False):
            raise RuntimeError("no storage now")
        stored(self, *arguments)

    monkeypatch.setattr(Results, "store", away)
    monkeypatch.setattr("keruta.http.problems.log", _Silent())
    attempt = Attempt(world, upload)
    content = os.urandom(3 * PART_BYTES)

    attempt.store.put(b"file", [content])

    assert attempt.kept("file") == content


class _Silent:
    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def test_an_upload_whose_first_parts_are_gone_says_so(world: World, upload: Callable[..., UploadStore]) -> None:
    """As when a storage was emptied meanwhile: what is left would not be the file."""
    attempt = Attempt(world, upload)

    def blocks() -> Iterator[bytes]:
        yield bytes(PART_BYTES + 1)
        shutil.rmtree(attempt.results.directory(attempt_id(attempt.task, 1)))
        yield b"the end"

    with pytest.raises(OSError, match="refused it with 409: What comes before this part is not there"):
        attempt.store.put(b"file", blocks())


def test_a_refused_file_is_not_sent_again(world: World, upload: Callable[..., UploadStore]) -> None:
    """After the attempt's end nothing more is taken."""
    attempt = Attempt(world, upload)
    attempt.store.put(b"file", [b"first"])
    world.end(attempt.task)

    with pytest.raises(OSError, match="403"):
        attempt.store.put(b"file", [b"second"])

    assert attempt.kept("file") == b"first"


def test_keruta_that_stays_away_is_told_in_time(world: World, upload: Callable[..., UploadStore]) -> None:
    attempt = Attempt(world, lambda task, number: upload(task, number, "http://127.0.0.1:1", 0.5))

    with pytest.raises(OSError, match="does not answer"):
        attempt.store.put(b"file", [b"x"])


@pytest.fixture
def put(world: World, address: str, sessions: Sessions) -> Callable[..., tuple[int, str]]:
    """Send one part by hand; return the status and the reason."""
    attempt = Attempt(world, lambda task, number: VolumeStore(world.settings.results_dir, task, number))
    token = sessions.for_attempt(attempt_id(attempt.task, 1), timeout_seconds=3600, lease_seconds=30)

    def send(data: bytes, path: str = "file", **headers: str) -> tuple[int, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = HttpTransport(address, token).request(
            "PUT", f"/agent/v1/tasks/{attempt.task}/attempts/1/artifacts/{path}", data, headers=named
        )
        return answer.status, "" if answer.status == 204 else str(answer.json()["reason"])

    attempt.upload = UploadStore(HttpTransport(address, token), attempt.task, 1, world.settings.results_dir, seconds=5)
    send.attempt = attempt  # type: ignore[attr-defined]
    return send


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content_Range": "bytes 0-4/5"}, (204, "")),
        ({"Content_Range": "bytes 0-4/6"}, (422, "InvalidRequest")),
        ({"Content_Range": "bytes 1-4/5"}, (422, "InvalidRequest")),
        ({"Content_Range": "bytes 5-9/10"}, (409, "PartMissing")),
        ({"Content_Range": "bytes 5-9/*"}, (409, "PartMissing")),
        ({"Content_Range": "bytes */5"}, (422, "InvalidRequest")),
        ({"Content_Range": "lines 0-4/5"}, (422, "InvalidRequest")),
        ({"Content_Range": f"bytes {2**40}-{2**40 + 4}/*"}, (413, "TooLarge")),
        ({"Repr_Digest": "sha-256=:AAAA:"}, (422, "InvalidRequest")),
        ({"Repr_Digest": "md5=:AAAA:"}, (422, "InvalidRequest")),
        ({"Repr_Digest": representation_digest(hashlib.sha256(b"other").hexdigest())}, (422, "DigestMismatch")),
        ({"Repr_Digest": representation_digest(hashlib.sha256(b"hello").hexdigest())}, (204, "")),
    ],
)
def test_headers_of_a_part_are_held_to_what_is_sent(
    put: Any, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    assert put(b"hello", **headers) == expected
    assert ("file" in put.attempt.files()) == (expected[0] == 204)


@pytest.mark.parametrize("path", ["in/link/x", "link/x", "folder", "plain/x", "link"])
def test_nothing_is_written_by_a_link_or_over_a_directory(put: Any, path: str, tmp_path: Path) -> None:
    """However they came there, as from a Job that had the volume before."""
    there = put.attempt.results.directory(attempt_id(put.attempt.task, 1))
    (tmp_path / "elsewhere").mkdir()
    (there / "in").mkdir(parents=True)
    (there / "folder" / "inner").mkdir(parents=True)
    (there / "plain").write_bytes(b"plain")
    (there / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (there / "link").symlink_to(tmp_path / "elsewhere")

    assert put(b"hello", path) == ((204, "") if path == "link" else (422, "InvalidRequest"))

    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert put.attempt.files() == (["link", "plain"] if path == "link" else ["plain"])


@pytest.mark.parametrize("parts", [["bytes 0-4/5"], ["bytes 0-4/*", "bytes 5-9/10"]])
def test_a_full_volume_is_told_at_once_and_has_its_room_back(
    put: Any, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Any, _: bytes) -> None:
        if file.tell() or len(parts) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.write(b"hello")

    monkeypatch.setattr("keruta.adapters.results._write_all", full)

    answers = [put(b"hello", Content_Range=part) for part in parts]

    assert answers == [*[(204, "")] * (len(parts) - 1), (507, "StorageFull")]
    assert put.attempt.files() == []
    with pytest.raises(OSError, match="No space left on device"):
        put.attempt.upload.put(b"file", [b"x" * (PART_BYTES + 1)])


def test_an_attempt_stores_and_forgets_its_own_files_only(
    world: World, address: str, sessions: Sessions, put: Any
) -> None:
    other = Attempt(world, lambda task, number: VolumeStore(world.settings.results_dir, task, number))
    other.store.put(b"file", [b"other's"])
    token = sessions.for_attempt(attempt_id(put.attempt.task, 1), timeout_seconds=3600, lease_seconds=30)
    requests = HttpTransport(address, token)

    for method, path in (("PUT", "artifacts/file"), ("DELETE", "artifacts"), ("GET", "work")):
        for number in (1, 2):
            said = requests.request(method, f"/agent/v1/tasks/{other.task}/attempts/{number}/{path}", b"mine")
            assert said.status in (403, 404), (method, number)
    assert requests.request("PUT", f"/agent/v1/tasks/{put.attempt.task}/attempts/2/artifacts/x", b"").status == 404

    assert other.kept("file") == b"other's"


@pytest.mark.parametrize("path", ["../x", "a/../../x", "%2e%2e/x", "a//b", "a/%00b"])
def test_a_path_leads_nowhere_else(put: Any, path: str, world: World) -> None:
    assert put(b"hello", path, Content_Range="bytes 0-4/*")[0] in (404, 422)
    assert put.attempt.files() == []


def test_a_last_part_that_is_repeated_after_it_was_taken_changes_nothing(put: Any) -> None:
    digest = representation_digest(hashlib.sha256(b"helloworld").hexdigest())
    put(b"hello", Content_Range="bytes 0-4/*")
    last = {"Content_Range": "bytes 5-9/10", "Repr_Digest": digest}

    assert [put(b"world", **last), put(b"world", **last)] == [(204, ""), (204, "")]

    assert put.attempt.kept("file") == b"helloworld"
    assert put(b"earth", **{**last, "Repr_Digest": representation_digest("00" * 32)}) == (409, "PartMissing")


@pytest.mark.parametrize(
    ("part", "size"),
    [
        (Part(), 5),
        (Part(first=7), 9),
        (Part(first=7, total_bytes=16), 9),
        (Part(total_bytes=0), 0),
        (Part(total_bytes=3, sha256="ab" * 32), 3),
    ],
)
def test_a_parts_headers_are_read_as_they_were_written(part: Part, size: int) -> None:
    digest = representation_digest(part.sha256) if part.sha256 else None

    assert read_part(content_range(part, size), digest, size) == part


def test_an_empty_part_that_is_not_the_last_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        read_part("bytes */*", None, 0)


def test_figures_are_not_given_where_jobs_reach_a_function(
    world: World, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What receives uploads is reached without the gateway, which would keep /metrics from them."""
    monkeypatch.setattr("keruta.logs.configure", lambda *_: None)
    unused: Any = None
    statuses = []
    for given in (True, False):
        settings = msgspec.structs.replace(world.settings, metrics=given)
        function = Function("report_status", settings, lambda _: unused, AGENTS, handler.HANDLERS)
        statuses.append(served(function).test_client().get("/metrics").status_code)

    assert statuses == [200, 404]
