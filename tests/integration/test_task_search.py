"""Tasks are found by parts of words and of ids, by letters of scripts without spaces, and by all of many words."""

from __future__ import annotations

import random

import pytest

from keruta.adapters.mongo import task_search as module
from keruta.adapters.mongo.schema import MIGRATIONS, _parts, ensure_schema
from keruta.domain.catalog.access import Access
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.principal import Principal
from keruta.domain.task_list import TaskFilter
from keruta.domain.words import terms
from tests.support.world import ANN, BOB, World, person

LONG = "".join(chr(0x4E00 + number) for number in range(200))
NAMES = [
    "Nightly ledger import", "knowledge base 2024-11", "東京都庁の帳簿を更新する", "Übersicht Straße", "ＡＢＣ ﾃﾞｰﾀ移行",
    "a-b_c", LONG, "emoji 🎉 release", "v1.2.3-rc.4",
]  # fmt: skip


def found(world: World, q: str, who: Principal = ANN, **more: object) -> list[str]:
    """The names of the tasks that a search finds, newest first."""
    wanted = TaskFilter(terms=terms(q), **more)  # type: ignore[arg-type]
    page = world.reading.page(who, wanted, limit=50, cursor=None)
    return [str(item.name) for item in page.items]


@pytest.fixture(params=[1000, 0], ids=["by the index", "by the list"])
def tasks(world: World, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A task of each name, where all terms are rare, and where none is."""
    monkeypatch.setattr(module, "RARE", request.param)
    return {name: world.submit(name=name) for name in NAMES}


@pytest.mark.parametrize(
    ("q", "name"),
    [
        ("ledg", {NAMES[0], NAMES[1]}),
        ("edge", {NAMES[0], NAMES[1]}),
        ("LEDGER nightly", {NAMES[0]}),
        ("imp edg igh", {NAMES[0]}),
        ("er", {NAMES[0], NAMES[3]}),
        ("t", {NAMES[0], NAMES[3]}),
        ("2024", {NAMES[1]}),
        ("024-1", {NAMES[1]}),
        ("京都", {NAMES[2]}),
        ("帳", {NAMES[2]}),
        ("の帳簿を更新する", {NAMES[2]}),
        ("る", {NAMES[2]}),
        ("strasse", {NAMES[3]}),
        ("SICHT", {NAMES[3]}),
        ("abc", {NAMES[4]}),
        ("データ", {NAMES[4]}),
        ("タ移", {NAMES[4]}),
        ("データ移行 bc", {NAMES[4]}),
        (LONG[150:190], {LONG}),
        (LONG, {LONG}),
        (LONG[0] + LONG[2], set()),
        ("rc.", {NAMES[8]}),
        ("nothing", set()),
        ("ledger 帳簿", set()),
    ],
)
def test_a_part_of_a_name_finds_it(world: World, tasks: dict[str, str], q: str, name: set[str]) -> None:
    """Whatever its script, case or width; all of many words must be there."""
    assert set(found(world, q)) == name


def test_a_part_of_an_id_finds_its_task(world: World, tasks: dict[str, str]) -> None:
    """Seven letters wherever they are, or its beginning; a short word is not found in ids by chance."""
    for begin, end in ((0, 26), (0, 4), (0, 8), (1, 8), (3, 10), (3, 20), (14, 26), (19, 26)):
        for name, task in tasks.items():
            assert name in found(world, task[begin:end].upper()), (begin, end)
    assert found(world, tasks[NAMES[0]][-3:]) == []


def test_every_run_of_every_name_finds_it(world: World, tasks: dict[str, str]) -> None:
    """Random parts of real names, also of 200 letters."""
    rng = random.Random(7)
    for _ in range(60):
        name = rng.choice(NAMES)
        begin = rng.randrange(len(name))
        part = name[begin : begin + rng.randint(2, 40)]
        if terms(part):
            assert name in found(world, part), part


def test_a_search_finds_what_its_reader_may_see(world: World, tasks: dict[str, str]) -> None:
    """By each of the names that a task can be seen by; also after its grants have changed."""
    catalog = world.catalogs["queue"]
    catalog.create(ANN, QueueSpec(name="own", access=Access(manage=["name:bob"])))
    world.submit(name="hidden ledger", queue="own", owner="bob", lookup_as=BOB.names)
    eve = person("eve", "developer")

    assert "hidden ledger" not in found(world, "ledg", eve)
    assert "hidden ledger" in found(world, "ledg", BOB)

    shown = catalog.show(ANN, "own")
    catalog.replace(ANN, "own", QueueSpec(name="own"), shown.meta.revision)

    assert "hidden ledger" in found(world, "ledg", eve)

    shown = catalog.show(ANN, "own")
    catalog.replace(ANN, "own", QueueSpec(name="own", access=Access(manage=["name:bob"])), shown.meta.revision)

    assert "hidden ledger" not in found(world, "ledg", eve)
    assert "hidden ledger" in found(world, "ledg", BOB)


def test_a_search_goes_with_the_other_filters_and_pages(world: World, tasks: dict[str, str]) -> None:
    for number in range(7):
        world.submit(name=f"batch ledger {number}", owner="bob" if number % 2 else "ann")

    assert found(world, "batch", facets=["owner=bob"]) == [f"batch ledger {n}" for n in (5, 3, 1)]
    assert len(found(world, "batch", status="queued", oldest_first=True)) == 7
    assert found(world, "batch", status="failed") == []
    seen: list[str] = []
    cursor = None
    while True:
        page = world.reading.page(ANN, TaskFilter(terms=["batch"]), limit=3, cursor=cursor)
        seen += [str(item.name) for item in page.items]
        if (cursor := page.next) is None:
            break
    assert seen == [f"batch ledger {n}" for n in reversed(range(7))]


@pytest.mark.own_database
def test_tasks_of_an_older_version_are_found_after_the_upgrade(world: World) -> None:
    """And the words by which they were found before are gone."""
    task = world.submit(name="old ledger", owner="ann")
    plain = world.submit()
    world.database["tasks"].update_many({}, {
        "$unset": {"search": 1, "searched": 1}, "$push": {"facets": "word=old", "seen_by": "everyone word=old"},
    })  # fmt: skip
    world.database["schema"].update_one({"_id": "schema"}, {"$set": {"version": MIGRATIONS.index(_parts)}})
    assert found(world, "ledg") == []

    ensure_schema(world.database)

    assert found(world, "ledg") == ["old ledger"]
    assert found(world, plain[:12]) != []
    kept = world.document(task)
    assert [one for one in (*kept["facets"], *kept["seen_by"]) if "word=" in one] == []
    assert "queue=default" in kept["facets"]
