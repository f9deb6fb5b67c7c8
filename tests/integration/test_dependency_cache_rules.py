"""Which dependency caches an attempt gets, whose entries they are, and whether it may store any."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from keruta.domain.catalog.caches import CacheRule
from keruta.domain.catalog.profiles import ProfileSpec
from keruta.domain.resubmission import request_of
from keruta.domain.specification import Caches
from keruta.domain.task import Origin, RepositoryAsk, TaskRequest
from tests.integration.test_catalog_use import repository, specification
from tests.support.world import ANN, World


def rule(path: str) -> CacheRule:
    return CacheRule(paths=[path], key=["lock"])


def caches(world: World, **fields: Any) -> Caches:
    return specification(world, world.submit(**{"repository": "app", **fields})).caches


def test_the_task_says_else_repository_and_profile_together(world: World) -> None:
    """A task's own list counts alone, and an empty one turns all off; what was asked for is asked for again."""
    repository(world, cache=[rule("target")])
    world.catalogs["profile"].create(ANN, ProfileSpec(name="node-22", cache=[rule("~/.npm")]))
    asked = {"repository": "app", "profile": "node-22"}
    own = world.submit(**asked, cache=[rule("own")])

    assert caches(world, **asked).rules == [rule("target"), rule("~/.npm")]
    assert specification(world, own).caches.rules == [rule("own")]
    assert caches(world, **asked, cache=[]) == Caches()
    assert caches(world, repository=RepositoryAsk(url="https://example.com/b.git")) == Caches()
    again = msgspec.convert(request_of(world.task(own)), TaskRequest)
    assert again.cache == [rule("own")]


def test_each_repository_has_a_scope_of_its_own(world: World) -> None:
    """So has one that was deleted and made anew, one with another address, and each submitter's address."""
    repository(world, cache=[rule("a")])
    repository(world, "other", url="https://example.com/other.git", cache=[rule("a")])
    address = RepositoryAsk(url="https://example.com/none.git")
    scopes = [
        caches(world).scope,
        caches(world, repository="other").scope,
        caches(world, repository=address, cache=[rule("a")]).scope,
        caches(world, repository=address, cache=[rule("a")], owner="bob").scope,
    ]
    assert caches(world).scope == scopes[0]
    world.database["repositories"].update_one({"_id": "app"}, {"$set": {"spec.url": "https://example.com/new.git"}})
    scopes.append(caches(world).scope)

    assert len(set(scopes)) == len(scopes)
    assert all(len(one) == 32 for one in scopes)


@pytest.mark.parametrize(
    ("event", "writes", "pushed"),
    [
        ("push", True, "refs/heads/main"), ("schedule", True, None), ("run", True, None), ("pull_request", False, None),
        ("comment", False, None), ("issue", False, None), ("tag", False, None), ("review_comment", False, None),
        ("merge_group", False, None), ("check_failed", False, None), ("webhook", False, None), ("", False, None),
    ],
)  # fmt: skip
def test_only_events_without_strangers_may_store(world: World, event: str, writes: bool, pushed: str | None) -> None:
    """Whoever comments, or opens an issue or a pull request, brings text into a script: it stores nothing."""
    repository(world, cache=[rule("a")])
    asked = TaskRequest(repository="app", script="true")
    origin = Origin(trigger="t", event=event, ref="refs/heads/main")
    new = msgspec.structs.replace(world.new_task(asked), origin=origin)

    made = specification(world, world.intake.accept(new, None).task.id).caches

    assert (made.writes, made.pushed_ref) == (writes, pushed)
    assert caches(world).writes is True
