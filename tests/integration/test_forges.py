"""Forges of the catalog: who may use one, what its token is for, and what is done there; on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask
import msgspec
import pytest

from keruta.adapters.mongo.forge_lookup import MongoForges
from keruta.adapters.mongo.specifications import _access
from keruta.domain.catalog.access import Access, CredentialAccess
from keruta.domain.catalog.credentials import CredentialSpec
from keruta.domain.catalog.forges import AddRepository, ForgeSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.catalog.triggers import TriggerSpec
from keruta.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unavailable
from keruta.services import forges as service
from tests.support.admin import signed_in
from tests.support.github_api import DescribedGitHub
from tests.support.world import ANN, World, person

DEV, STRANGER = person("dev", "developer"), person("stranger", "developer")
MINE = ["name:dev"]
PUBLIC = "https://keruta.example.com"


class Town:
    """A forge `hub` on a described GitHub, with a token and a secret of its own."""

    def __init__(self, world: World, github: DescribedGitHub) -> None:
        self.world, self.github = world, github
        self.host = github.url.partition("://")[2]
        self.forges = MongoForges(world.database, world.sealer)
        world.catalogs["credential"].create(ANN, CredentialSpec(
            name="api", type="forge_token", token="t0ken", hosts=[self.host],
        ))  # fmt: skip
        world.catalogs["credential"].create(ANN, CredentialSpec(
            name="signing", type="webhook_secret", value="s", access=CredentialAccess(use=MINE),
        ))  # fmt: skip
        self.forge()

    def forge(self, name: str = "hub", **fields: Any) -> None:
        given: dict[str, Any] = {"credential": "api", "webhook_secret": "signing", "url": self.github.url, **fields}
        given.setdefault("access", Access(run=MINE))
        self.world.catalogs["forge"].create(ANN, ForgeSpec(name=name, type="github", **given))

    def repository(self, name: str = "hello", path: str = "octocat/Hello-World") -> None:
        self.world.catalogs["repository"].create(ANN, RepositorySpec(name=name, url=f"{self.github.url}/{path}.git"))

    def trigger(self, who: Any = DEV, **fields: Any) -> None:
        given: dict[str, Any] = {"repository": "hello", "forge": "hub", "events": ["push"], "script": "true", **fields}
        self.world.catalogs["trigger"].create(who, TriggerSpec(name="t", **given))

    def connect(self, who: Any = DEV) -> Any:
        return service.connect(who, "hub", "t", forges=self.forges, catalogs=self.world.catalogs, public_url=PUBLIC)


@pytest.fixture
def town(world: World) -> Iterator[Town]:
    with DescribedGitHub() as github:
        yield Town(world, github)


def test_a_forge_is_signed_in_at(town: Town) -> None:
    found = service.check_forge(DEV, "hub", forges=town.forges, public_url=PUBLIC)
    assert (found.signed_in, found.account) == (True, "octocat")

    town.github.answers["GET", "/user"] = (401, {"message": "Bad credentials"}, {})
    found = service.check_forge(DEV, "hub", forges=town.forges, public_url=PUBLIC)
    assert (found.signed_in, found.reason) == (False, "ForgeUnauthorized")
    with pytest.raises(NotFound):
        service.check_forge(STRANGER, "hub", forges=town.forges, public_url=PUBLIC)


def test_a_repository_is_added_from_its_forge(town: Town) -> None:
    """Under a name that the catalog takes."""
    path, clone = "/repos/octocat/Hello-World", f"{town.github.url}/octocat/Hello-World.git"
    town.github.answers["GET", path] = (200, {"full_name": "octocat/Hello-World", "clone_url": clone}, {})
    add = AddRepository(repository="octocat/Hello-World")

    made = service.add_repository(ANN, "hub", add, forges=town.forges, catalog=town.world.catalogs["repository"])

    assert (made.name, made.url) == ("hello-world", clone)
    town.github.answers["GET", "/user/repos"] = (200, [{"full_name": "octocat/Hello-World", "clone_url": clone}], {})
    page = service.found_repositories(ANN, "hub", None, forges=town.forges)
    assert page.items[0].added == "hello-world"
    with pytest.raises(InvalidRequest):
        service.found_repositories(ANN, "hub", "x", forges=town.forges)


def test_a_forge_that_names_another_servers_repository_adds_none(town: Town) -> None:
    answer = {"full_name": "a/b", "clone_url": "https://evil.example.com/a/b.git"}
    town.github.answers["GET", "/repos/a/b"] = (200, answer, {})

    with pytest.raises(Conflict):
        service.add_repository(
            ANN, "hub", AddRepository(repository="a/b"), forges=town.forges, catalog=town.world.catalogs["repository"]
        )


def test_a_trigger_is_connected_by_who_may_change_it(town: Town) -> None:
    town.repository()
    town.trigger(access=Access(manage=MINE))

    made = town.connect()

    assert (made.made, made.address) == (True, f"{PUBLIC}/events/v1/t")
    assert town.github.asked[-1][2]["config"]["secret"] == "s"
    assert town.github.faults == []
    for who, refusal in ((STRANGER, NotFound), (person("other", "viewer"), NotFound)):
        with pytest.raises(refusal):
            town.connect(who)


@pytest.mark.parametrize(("status", "refusal"), [(404, NotFound), (403, Conflict), (401, Conflict), (500, Unavailable)])
def test_what_the_forge_refuses_is_said(town: Town, status: int, refusal: type[Exception]) -> None:
    town.repository()
    town.trigger(access=Access(manage=MINE))
    town.github.answers["GET", "/repos/octocat/Hello-World/hooks"] = (status, {"message": "no"}, {})

    with pytest.raises(refusal):
        town.connect()


def test_a_trigger_names_a_forge_that_its_editor_may_use_and_its_repository_is_at(town: Town) -> None:
    town.repository()
    town.world.catalogs["repository"].create(ANN, RepositorySpec(name="far", url="https://far.example.com/a/b.git"))
    town.forge("open", access=Access(read=MINE))

    for who, fields in ((STRANGER, {}), (DEV, {"repository": "far"}), (DEV, {"forge": "open"})):
        with pytest.raises((InvalidRequest, Forbidden)):
            town.trigger(who, **fields)
    town.trigger()


def test_a_repository_is_moved_at_its_forge_by_who_may_use_the_forge(town: Town) -> None:
    """Else whoever manages it has keruta read, by the forge's token, the branches and comments of any other one."""
    access = Access(manage=["name:dev", "name:stranger"])
    spec = RepositorySpec(name="hello", url=f"{town.github.url}/octocat/Hello-World.git", access=access)
    catalog = town.world.catalogs["repository"]
    catalog.create(ANN, spec)
    moved = msgspec.structs.replace(spec, url=f"{town.github.url}/octocat/secret.git")
    assert catalog.replace(STRANGER, "hello", moved, None).url == moved.url, "no trigger speaks to a forge for it"
    town.trigger()

    with pytest.raises(Forbidden):
        catalog.replace(STRANGER, "hello", spec, None)
    other = msgspec.structs.replace(moved, url=moved.url.removesuffix(".git"), description="the same")
    assert catalog.replace(STRANGER, "hello", other, None).description == "the same"
    assert catalog.replace(DEV, "hello", spec, None).url == spec.url


@pytest.mark.parametrize("kind", ["secret", "webhook_secret"])
def test_a_forge_is_signed_in_at_with_a_credential_for_it_alone(town: Town, kind: Any) -> None:
    town.world.catalogs["credential"].create(ANN, CredentialSpec(name="other", type=kind, value="x"))
    town.world.catalogs["credential"].create(ANN, CredentialSpec(
        name="far", type="forge_token", token="x", hosts=["far.example.com"],
    ))  # fmt: skip

    for name in ("other", "far"):
        with pytest.raises(InvalidRequest):
            town.forge("hub2", credential=name)


def test_a_forges_token_is_given_to_no_task(town: Town) -> None:
    held = {"api": town.world.database["credentials"].find_one({"_id": "api"})}

    with pytest.raises(LookupError):
        _access("api", held, f"{town.github.url}/octocat/Hello-World.git")  # type: ignore[arg-type]


def test_the_pages_of_a_forge_sign_in_add_and_connect(town: Town, app: flask.Flask) -> None:
    clone = f"{town.github.url}/octocat/Hello-World.git"
    found = {"full_name": "octocat/Hello-World", "clone_url": clone, "default_branch": "main"}
    town.github.answers["GET", "/user/repos"] = (200, [found], {})
    town.github.answers["GET", "/repos/octocat/Hello-World"] = (200, found, {})
    browser = signed_in(app, ANN)

    assert "hub" in browser.ask("GET", "/forges")[1]
    assert "octocat" in browser.ask("POST", "/forges/hub/validate")[1]
    assert "octocat/Hello-World" in browser.ask("GET", "/forges/hub/repositories")[1]
    assert (
        browser.ask("POST", "/forges/hub/repositories", {"repository": "octocat/Hello-World", "name": "hello"})[0]
        == 303
    )
    town.trigger()
    assert "/forges/hub/webhooks" in browser.ask("GET", "/triggers/t")[1]
    assert browser.ask("POST", "/forges/hub/webhooks", {"trigger": "t"})[0] == 303
    assert town.github.faults == []
