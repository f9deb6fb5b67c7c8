"""The pool of workers, sized by what is in the real database; Coder's side by a server that can misbehave."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keruta.adapters.coder import CoderPool
from keruta.adapters.mongo.pool_state import MongoPool
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.scaling import Bounds, WorkerState
from keruta.errors import PoolError
from keruta.services.autoscaler import resize
from keruta.services.task_commands import cancel
from keruta.settings import PoolSettings
from tests.support.coder import TOKEN, FakeCoder
from tests.support.world import ANN, World

BOUNDS = Bounds(least=1, most=4, slots=2, calm_seconds=0)


class Recorded:
    """Remembers what it was asked for."""

    def __init__(self, drain: Collection[str] = (), problem: str | None = None) -> None:
        self.wanted: list[int] = []
        self.seen: Mapping[str, WorkerState] = {}
        self.drain = drain
        self.problem = problem

    def resize(self, wanted: int, workers: Mapping[str, WorkerState]) -> Collection[str]:
        self.wanted.append(wanted)
        self.seen = workers
        if self.problem:
            raise PoolError(self.problem)
        return self.drain


@pytest.fixture
def store(world: World) -> MongoPool:
    return MongoPool(world.database, world.settings)


def next_round(world: World) -> None:
    """As if the time between two rounds had passed."""
    world.database["control"].update_one({"_id": "pool"}, {"$set": {"next_at": None}})


def test_what_waits_and_what_runs_asks_for_workers(world: World, store: MongoPool) -> None:
    world.worker("w1", slots=2)
    for _ in range(2):
        world.submit()
    world.assign()
    for _ in range(3):
        world.submit()

    assert store.tasks(8) == 5
    assert store.tasks(4) == 4


def test_what_may_not_run_asks_for_none(world: World, store: MongoPool) -> None:
    """A paused queue, and all above a limit: more workers would stand idle."""
    for name, most in (("paused", None), ("narrow", 1)):
        world.catalogs["queue"].create(ANN, QueueSpec(name=name, max_running=most))
    world.catalogs["queue"].pause(ANN, "paused", "x")
    for queue in ("paused", "narrow"):
        for owner in ("ann", "bob"):
            for _ in range(3):
                world.submit(queue=queue, owner=owner)

    assert store.tasks(8) == 1


def test_the_pool_grows_at_once_and_shrinks_when_it_has_been_calm(world: World, store: MongoPool) -> None:
    calm = Bounds(least=1, most=4, slots=2, calm_seconds=60)
    pool = Recorded()
    ids = [world.submit() for _ in range(6)]

    resize(store, pool, calm)
    for task_id in ids:
        cancel(world.commands, ANN, task_id)
    next_round(world)
    resize(store, pool, calm)
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    world.database["control"].update_one({"_id": "pool"}, {"$set": {"recent.$[].at": an_hour_ago}})
    next_round(world)
    resize(store, pool, calm)

    assert pool.wanted == [3, 3, 1]


def test_one_round_at_a_time_and_one_for_each_tick(world: World, store: MongoPool) -> None:
    pool = Recorded()

    resize(store, pool, BOUNDS)
    resize(store, pool, BOUNDS)
    other = MongoPool(world.database, world.settings)
    next_round(world)
    assert other.take_turn()
    resize(store, pool, BOUNDS)

    assert pool.wanted == [1]


def test_what_stands_against_it_is_on_record_and_the_next_round_tries_again(world: World, store: MongoPool) -> None:
    resize(store, Recorded(problem="Coder answered 503"), BOUNDS)
    first = world.database["control"].find_one({"_id": "pool"})
    next_round(world)
    resize(store, Recorded(), BOUNDS)
    then = world.database["control"].find_one({"_id": "pool"})

    assert first is not None
    assert then is not None
    assert (first["problem"], then["problem"]) == ("Coder answered 503", None)


def test_a_worker_that_is_to_go_gets_nothing_more_until_it_is_wanted_again(world: World, store: MongoPool) -> None:
    world.worker("w1", slots=2)
    world.worker("w2", slots=2)
    resize(store, Recorded(drain=["w2"]), BOUNDS)
    for _ in range(4):
        world.submit()

    first = world.assign()
    told = store.workers()
    next_round(world)
    resize(store, Recorded(), BOUNDS)

    assert (first, told["w1"].held, told["w2"].held, told["w2"].draining) == (2, 2, 0, True)
    assert world.assign() == 2


def test_a_worker_that_a_person_drains_stays_drained(world: World, store: MongoPool) -> None:
    world.worker("w1")
    world.database["workers"].update_one({"_id": "w1"}, {"$set": {"draining": True}})

    resize(store, Recorded(), BOUNDS)

    assert store.workers()["w1"].draining


# ---------------------------------------------------------------- Coder


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def coder() -> Iterator[FakeCoder]:
    with FakeCoder() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pool(coder: FakeCoder, clock: Clock, tmp_path: Path) -> CoderPool:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    settings = PoolSettings(
        pool="coder",
        coder_url=coder.url,
        coder_token_file=token,
        coder_template="worker",
        coder_parameters=("slots=2",),
        pool_most=4,
    )
    return CoderPool(settings, clock)


def test_workspaces_are_made_from_the_template_with_its_parameters(coder: FakeCoder, pool: CoderPool) -> None:
    pool.resize(2, {})

    made = [one["asked"] for one in coder.workspaces.values()]
    assert [one["name"] for one in made] == ["keruta-worker-1", "keruta-worker-2"]
    assert made[0]["template_id"] == "t1"
    assert made[0]["rich_parameter_values"] == [{"name": "slots", "value": "2"}]


def test_its_own_workspaces_are_found_again_and_others_left_alone(
    coder: FakeCoder, pool: CoderPool, clock: Clock, tmp_path: Path
) -> None:
    pool.resize(1, {})
    coder.workspaces["other"] = {**coder.workspaces["id-keruta-worker-1"], "name": "keruta-worker-of-bob", "id": "o"}

    again = CoderPool(pool._settings, clock)
    again.resize(1, {})
    again.resize(0, {})

    assert coder.states()["keruta-worker-1"] == ("stop", "succeeded")
    assert coder.states()["keruta-worker-of-bob"] == ("start", "succeeded")


def test_the_idle_ones_stop_first_and_only_after_they_could_get_nothing_more(coder: FakeCoder, pool: CoderPool) -> None:
    pool.resize(3, {})
    busy = {"keruta-worker-3": WorkerState(id="keruta-worker-3", held=1)}
    idle = {name: WorkerState(id=name) for name in ("keruta-worker-1", "keruta-worker-2")}

    drain = pool.resize(1, {**busy, **idle})
    still = dict(coder.states())
    drained = {name: WorkerState(id=name, draining=True) for name in drain}
    pool.resize(1, {**busy, **drained})

    assert set(drain) == set(idle)
    assert {transition for transition, _ in still.values()} == {"start"}
    assert coder.states() == {
        "keruta-worker-1": ("stop", "succeeded"),
        "keruta-worker-2": ("stop", "succeeded"),
        "keruta-worker-3": ("start", "succeeded"),
    }


def test_none_that_holds_a_task_is_stopped(coder: FakeCoder, pool: CoderPool) -> None:
    pool.resize(2, {})
    busy = {name: WorkerState(id=name, held=1, draining=True) for name in ("keruta-worker-1", "keruta-worker-2")}

    pool.resize(0, busy)

    assert {transition for transition, _ in coder.states().values()} == {"start"}


def test_one_that_is_down_is_started_again_before_another_is_made(coder: FakeCoder, pool: CoderPool) -> None:
    pool.resize(2, {})
    pool.resize(0, {})

    pool.resize(2, {})

    assert coder.states() == dict.fromkeys(("keruta-worker-1", "keruta-worker-2"), ("start", "succeeded"))


def test_a_build_that_failed_is_seen_and_made_good(coder: FakeCoder, pool: CoderPool, clock: Clock) -> None:
    """At once another is made in its place; after a while what failed goes."""
    coder.fail = 1
    pool.resize(1, {})
    failed = coder.states()

    pool.resize(1, {})
    meanwhile = coder.states()
    clock.ahead = timedelta(seconds=61)
    pool.resize(1, {})

    assert failed == {"keruta-worker-1": ("start", "failed")}
    assert meanwhile["keruta-worker-2"] == ("start", "succeeded")
    assert coder.states() == {"keruta-worker-2": ("start", "succeeded")}


def test_a_stop_that_failed_is_tried_again(coder: FakeCoder, pool: CoderPool, clock: Clock) -> None:
    pool.resize(1, {})
    coder.fail = 1
    pool.resize(0, {})
    clock.ahead = timedelta(seconds=61)

    pool.resize(0, {})

    assert coder.states() == {"keruta-worker-1": ("stop", "succeeded")}


def test_a_template_whose_every_build_fails_makes_no_more_than_the_most(coder: FakeCoder, pool: CoderPool) -> None:
    coder.fail = 100

    for _ in range(6):
        pool.resize(3, {})

    assert len(coder.workspaces) == 4


def test_what_has_been_down_for_long_is_deleted(coder: FakeCoder, pool: CoderPool, clock: Clock) -> None:
    pool.resize(1, {})
    pool.resize(0, {})
    clock.ahead = timedelta(days=8)

    pool.resize(0, {})

    assert coder.states() == {}


@pytest.mark.parametrize(
    ("status", "said"),
    [(500, "answered 500"), (503, "answered 503"), (403, "answered 403"), (429, "wait 7 s")],
)
def test_what_coder_says_is_told_in_a_sentence(coder: FakeCoder, pool: CoderPool, status: int, said: str) -> None:
    coder.refuse = [(status, {"Retry-After": "7"})]

    with pytest.raises(PoolError, match=said):
        pool.resize(1, {})


def test_coder_is_left_alone_for_as_long_as_it_asks(coder: FakeCoder, pool: CoderPool) -> None:
    coder.refuse = [(429, {"Retry-After": "60"})]
    for _ in range(3):
        with pytest.raises(PoolError, match="wait 60 s"):
            pool.resize(1, {})

    assert len(coder.asked) == 1


def test_a_token_that_ran_out_is_said_and_a_new_one_in_the_file_is_taken(coder: FakeCoder, pool: CoderPool) -> None:
    pool._settings.coder_token_file.write_text("old")
    with pytest.raises(PoolError, match="expired or was revoked"):
        pool.resize(1, {})

    pool._settings.coder_token_file.write_text(TOKEN)
    pool.resize(1, {})

    assert len(coder.workspaces) == 1


def test_one_that_is_slow_holds_nobody_up_for_ever(
    coder: FakeCoder, pool: CoderPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keruta.adapters.coder.ROUND_SECONDS", 0.3)
    coder.hang_seconds = 0.2

    with pytest.raises(PoolError, match="too slowly"):
        pool.resize(4, {})

    assert len(coder.asked) <= 3


def test_a_template_that_is_not_there_is_said(pool: CoderPool) -> None:
    odd = CoderPool(PoolSettings(
        pool="coder", coder_url=pool._settings.coder_url, coder_template="none-such",
        coder_token_file=pool._settings.coder_token_file,
    ))  # fmt: skip

    with pytest.raises(PoolError, match="no template 'none-such'"):
        odd.resize(1, {})
