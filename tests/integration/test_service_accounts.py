"""Service accounts: what triggers run as, for as long as their last editor may use them."""

from __future__ import annotations

from typing import Any

import flask
import pytest

from keruta.domain.catalog.access import Access, CredentialAccess
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.catalog.service_accounts import ServiceAccountSpec
from keruta.domain.catalog.triggers import TriggerSpec, TriggerView
from keruta.domain.principal import Principal
from keruta.errors import Conflict, Forbidden, InvalidRequest
from tests.integration.test_deliveries import EDITOR, Forge
from tests.support.admin import signed_in
from tests.support.world import ANN, World, person

USERS = CredentialAccess(use=["name:eve"], manage=["name:mia"])
MIA = person("mia", "developer")


@pytest.fixture
def forge(world: World) -> Forge:
    return Forge(world)


def account(world: World, access: CredentialAccess | None = USERS, **fields: Any) -> None:
    world.catalogs["service_account"].create(ANN, ServiceAccountSpec(name="nightly", access=access, **fields))


def change(forge: Forge, who: Principal, **fields: Any) -> TriggerView:
    before = forge.world.catalogs["trigger"].show(who, "t")
    given = {name: getattr(before, name) for name in TriggerSpec.__struct_fields__} | fields
    changed: TriggerView = forge.world.catalogs["trigger"].replace(who, "t", TriggerSpec(**given), None)
    return changed


def shown(forge: Forge) -> TriggerView:
    found: TriggerView = forge.world.catalogs["trigger"].show(ANN, "t")
    return found


def limit(world: World, access: CredentialAccess | None) -> None:
    world.catalogs["service_account"].replace(ANN, "nightly", ServiceAccountSpec(name="nightly", access=access), None)


def test_a_triggers_tasks_are_the_service_accounts(forge: Forge) -> None:
    """With its groups' grants and not with its editor's: the repository is closed to the editor."""
    access = Access(run=["group:bots"], read=["name:eve"])
    spec = RepositorySpec(name="app", url="https://git.example.com/team/app.git", access=access)
    forge.world.catalogs["repository"].replace(ANN, "app", spec, None)
    account(forge.world, groups=["bots"])
    forge.trigger(service_account="nightly")
    forge.push()
    forge.process()

    (task,), (delivery,) = forge.tasks(), forge.deliveries()
    assert (task["owner"], delivery.state) == ("service-account:nightly", "started")
    assert "user:service-account:nightly" in task["readers"]


@pytest.mark.parametrize("access", [None, CredentialAccess(read=["name:eve"], use=["name:somebody"])])
def test_only_those_who_may_use_an_account_save_triggers_that_run_as_it(
    forge: Forge, access: CredentialAccess | None
) -> None:
    """Neither a new trigger nor a change of another's that leaves the account as it is."""
    account(forge.world, access)
    with pytest.raises(Forbidden) as refused:
        forge.trigger(service_account="nightly")
    assert refused.value.message.code == "service_account_not_yours"

    forge.trigger(who=ANN, service_account="nightly", access=Access(manage=["name:eve"]))
    with pytest.raises(Forbidden):
        change(forge, EDITOR, script="env")
    assert change(forge, EDITOR, script="env", service_account=None).script == "env"


def test_a_trigger_stops_when_its_editor_loses_the_account(forge: Forge, app: flask.Flask) -> None:
    """Its page and its deliveries say so; it goes on when the right is back."""
    account(forge.world)
    forge.trigger(service_account="nightly")
    assert shown(forge).stopped is None
    limit(forge.world, CredentialAccess(use=["name:other"]))
    forge.push()
    forge.process()

    (delivery,) = forge.deliveries()
    assert (delivery.state, delivery.message_code, forge.tasks()) == ("failed", "trigger_account_refused", [])
    stopped = shown(forge).stopped
    assert stopped is not None
    assert stopped.message_code == "trigger_account_refused"
    page = signed_in(app, ANN).ask("GET", "/triggers/t")[1]
    assert "eve saved the trigger last and may not use the service account nightly any more" in page

    limit(forge.world, USERS)
    forge.push(2)
    forge.process()
    assert [one.state for one in forge.deliveries()] == ["failed", "started"]


def test_a_stopped_trigger_goes_on_when_somebody_with_the_right_saves_it(forge: Forge) -> None:
    """Also unchanged; saving one unchanged that runs makes nobody its editor."""
    account(forge.world)
    forge.trigger(service_account="nightly")
    assert change(forge, ANN).meta.updated_by == "eve"
    limit(forge.world, None)

    assert change(forge, ANN).meta.updated_by == "ann"
    assert shown(forge).meta.updated_by == "ann"


@pytest.mark.parametrize("change", [{"disabled": True}, {"roles": ["viewer"]}])
def test_a_trigger_stops_when_its_editor_may_run_nothing(forge: Forge, change: dict[str, Any]) -> None:
    """Whatever its service account may."""
    account(forge.world)
    forge.trigger(service_account="nightly")
    forge.world.database["users"].update_one({"_id": EDITOR.subject}, {"$set": change})
    forge.push()
    forge.process()

    assert (forge.deliveries()[0].message_code, forge.tasks()) == ("delivery_editor", [])
    assert shown(forge).stopped is not None


def test_a_delivery_runs_what_its_editor_has_saved(forge: Forge) -> None:
    """Words of one editor are not run with the rights of a later one, who came between."""
    account(forge.world)
    forge.trigger()
    forge.push()
    due = forge.world.deliveries.take()
    assert due is not None
    forge.world.database["triggers"].update_one({"_id": "t"}, {"$set": {"updated_by_subject": "somebody-else"}})

    assert due.editor == EDITOR.subject
    assert forge.world.deliveries.runs_as(due.spec, due.editor).principal == EDITOR  # type: ignore[arg-type]


def test_administrators_alone_change_an_accounts_groups(forge: Forge) -> None:
    """Who manages one says who uses it, and gives it no rights."""
    account(forge.world)
    catalog = forge.world.catalogs["service_account"]
    with pytest.raises(Forbidden) as refused:
        catalog.replace(MIA, "nightly", ServiceAccountSpec(name="nightly", access=USERS, groups=["admins"]), None)
    assert refused.value.message.code == "service_account_groups"

    wider = CredentialAccess(use=["name:eve", "name:max"], manage=["name:mia"])
    assert catalog.replace(MIA, "nightly", ServiceAccountSpec(name="nightly", access=wider), None).access == wider


def test_an_account_that_a_trigger_names_stays(forge: Forge) -> None:
    account(forge.world)
    forge.trigger(service_account="nightly")

    assert forge.world.catalogs["service_account"].show(ANN, "nightly").used_by == ["trigger t"]
    with pytest.raises(Conflict):
        forge.world.catalogs["service_account"].delete(ANN, "nightly", None, force=True)
    with pytest.raises(InvalidRequest):
        change(forge, EDITOR, service_account="another")


def test_the_pages_and_the_api_add_an_account(world: World, app: flask.Flask) -> None:
    browser = signed_in(app, ANN)
    body = {"name": "nightly", "groups": ["bots"], "access": {"use": ["name:eve"]}}

    assert browser.ask("POST", "/api/v1/service-accounts", body)[0] == 201
    assert "nightly" in browser.ask("GET", "/service-accounts")[1]
    assert browser.ask("GET", "/service-accounts/nightly")[0] == 200
    assert signed_in(app, EDITOR).ask("POST", "/api/v1/service-accounts", {"name": "own"})[0] == 403
