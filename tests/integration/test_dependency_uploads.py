"""Dependency caches of agents without the shared volume: fetched from report_status, and uploaded to it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from agent.attempt.dependency_archive import Place, Restoration, write_archive
from agent.attempt.uploaded_dependencies import UploadedStore
from agent.reporter import HttpTransport
from keruta.adapters.dependency_store import ARCHIVE, BadEntryError, LocalStore, entry_name
from keruta.adapters.dependency_uploads import DIRECTORY
from keruta.adapters.tokens import Sessions, new_key
from keruta.domain.catalog.caches import CacheRecord, CacheRule
from keruta.domain.naming import attempt_id
from keruta.domain.task import Origin, TaskRequest
from tests.integration.test_catalog_use import repository
from tests.support.functions import report_status, serving
from tests.support.world import World

SPACE = "5" * 32
CONTENT = bytes(range(256)) * 40_000  # three parts of an upload


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(new_key())


@pytest.fixture
def address(world: World, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """report_status, over HTTP."""
    monkeypatch.setattr("keruta.logs.configure", lambda *_: None)
    with serving(report_status(world, None, sessions, cache_bytes=25 << 20)) as url:
        yield url


@pytest.fixture
def agent(world: World, address: str, sessions: Sessions, tmp_path: Path) -> Callable[..., UploadedStore]:
    """Make a task's first attempt, and return the store that its agent has."""
    repository(world, cache=[CacheRule(paths=["target"], key=["lock"])])
    repository(world, "other", url="https://example.com/other.git", cache=[CacheRule(paths=["target"], key=["lock"])])
    world.worker(slots=20)

    def make(name: str = "app", event: str | None = None) -> UploadedStore:
        origin = Origin(trigger="t", event=event) if event is not None else None
        new = world.new_task(TaskRequest(repository=name, script="true"))
        task = world.intake.accept(msgspec.structs.replace(new, origin=origin), None).task.id
        world.assign()
        world.start(task)
        token = sessions.for_attempt(attempt_id(task, 1), timeout_seconds=3600, lease_seconds=30)
        return UploadedStore(HttpTransport(address, token), task, 1, tmp_path)

    return make


def record(content: bytes, key: str = "k") -> CacheRecord:
    return CacheRecord(key=key, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def keep(store: UploadedStore, content: bytes = CONTENT, key: str = "k") -> bool:
    with store.part() as part:
        (part / ARCHIVE).write_bytes(content)
        return store.keep(SPACE, part, record(content, key), lambda: None)


def found(store: UploadedStore, key: str = "k", *beginnings: str) -> list[CacheRecord]:
    return list(store.candidates(SPACE, key, beginnings))


def test_another_attempt_gets_what_was_uploaded(agent: Callable[..., UploadedStore], tmp_path: Path) -> None:
    """In parts, whole, with keruta's own time; of two uploads of a key the first stays."""
    assert keep(agent())
    assert not keep(agent(), b"another")

    [one] = found(agent())

    assert (one.size_bytes, one.created_at > 1e9) == (len(CONTENT), True)
    with agent().open(SPACE, one, lambda: None) as file:
        assert file.read() == CONTENT
    assert [one.key for one in found(agent(), "none", "")] == ["k"]
    assert not list(tmp_path.glob("cache-*"))


def test_an_archive_goes_there_and_back(agent: Callable[..., UploadedStore], tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "d").mkdir(parents=True)
    (source / "d" / "file").write_text("content")
    target.mkdir()
    store = agent()
    with store.part() as part:
        with (part / ARCHIVE).open("wb") as file:
            write_archive(file, [Place(base=source, path="d")])
        assert store.keep(SPACE, part, record((part / ARCHIVE).read_bytes()), lambda: None)

    [one] = found(agent())
    with agent().open(SPACE, one, lambda: None) as archive:
        Restoration([Place(base=target, path="d")]).read(archive)

    assert (target / "d" / "file").read_text() == "content"


def test_another_repository_gets_nothing(agent: Callable[..., UploadedStore]) -> None:
    """Neither its list nor an entry by its name."""
    keep(agent())
    [one] = found(agent())
    other = agent("other")

    assert found(other, "k", "") == []
    with pytest.raises(FileNotFoundError):
        other.open(SPACE, one, lambda: None)


def test_an_attempt_of_a_strangers_event_stores_nothing(agent: Callable[..., UploadedStore], world: World) -> None:
    """keruta itself refuses it, whatever the agent does."""
    with pytest.raises(OSError, match="403"):
        keep(agent(event="pull_request"))

    assert not (world.settings.results_dir / DIRECTORY).exists()
    keep(agent())
    assert found(agent(event="pull_request")) != []


@pytest.mark.parametrize("space", ["..", "x", "5" * 31, "5" * 33, "%2e%2e"])
def test_other_names_are_not_found(agent: Callable[..., UploadedStore], space: str) -> None:
    store = agent()
    with pytest.raises(OSError, match="404"):
        list(store.candidates(space, "k", ()))


def test_what_was_not_uploaded_becomes_no_entry(agent: Callable[..., UploadedStore]) -> None:
    """Nothing under that name, or of another size."""
    store = agent()
    answer = store._requests.request("POST", f"{store._at}/{SPACE}", msgspec.json.encode(record(b"x")))
    assert answer.status == 404
    store._files.put(f"keruta-cache-{record(CONTENT).sha256}".encode(), [b"short"])
    answer = store._requests.request("POST", f"{store._at}/{SPACE}", msgspec.json.encode(record(CONTENT)))
    assert answer.status == 422
    assert found(store) == []


def test_a_damaged_entry_is_not_used(agent: Callable[..., UploadedStore], world: World) -> None:
    """The agent compares the SHA-256, whatever keruta sends; the next upload takes its place."""
    keep(agent())
    [archive] = (world.settings.results_dir / DIRECTORY).rglob(ARCHIVE)
    archive.write_bytes(CONTENT[:-1] + b"x")

    [one] = found(agent())

    with pytest.raises(BadEntryError):
        agent().open(SPACE, one, lambda: None)
    assert keep(agent())
    agent().open(SPACE, one, lambda: None).close()


def test_the_least_recently_used_goes(agent: Callable[..., UploadedStore], world: World) -> None:
    """All that is uploaded has one limit."""
    for key in ("a", "b", "c"):
        keep(agent(), CONTENT, key)

    assert sorted(one.key for one in found(agent(), "none", "")) == ["b", "c"]
    [scope] = (world.settings.results_dir / DIRECTORY).iterdir()
    assert isinstance(LocalStore(scope.parent, scope.name, 1), LocalStore)
    assert (scope / SPACE / entry_name("c")).is_dir()
