"""Templates on a real database: run by the API and by the form, for whoever may run them and what they name."""

from __future__ import annotations

import html
from typing import Any

import flask
import msgspec
import pytest

from keruta.domain.catalog.access import Access, CredentialAccess
from keruta.domain.catalog.credentials import CredentialSpec
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.catalog.templates import Parameter, TemplateSpec
from keruta.domain.decode import convert
from keruta.domain.resubmission import request_of
from keruta.domain.task import TaskRequest
from tests.support.admin import Browser, signed_in
from tests.support.world import ANN, World, person

DANA = person("dana", "developer")
EVE = person("eve", "developer")
PARAMETERS = [
    Parameter(name="target", type="choice", choices=["staging", "production"], required=True),
    Parameter(name="notes", description="What is <b>new</b>"),
    Parameter(name="dry_run", type="boolean", default=True),
]
VALUE = '"><script>alert(1)</script>'


@pytest.fixture
def deploy(world: World) -> World:
    """A template that Ann and Dana may run, on a repository that everybody may run on."""
    world.catalogs["repository"].create(ANN, RepositorySpec(name="shop", url="https://example.com/shop.git"))
    world.catalogs["template"].create(ANN, TemplateSpec(
        name="deploy", repository="shop", script="./deploy.sh\n", parameters=PARAMETERS,
        access=Access(read=["name:eve"], run=["name:dana"], manage=["name:ann"]),
    ))  # fmt: skip
    return world


def tasks(world: World) -> list[dict[str, Any]]:
    return list(world.database["tasks"].find())


def run(browser: Browser, parameters: dict[str, Any], **headers: str) -> Any:
    return browser.client.post(
        "/api/v1/templates/deploy/run", json={"parameters": parameters},
        headers={"Authorization": f"Bearer {browser.token}", **headers},
    )  # fmt: skip


def test_a_run_is_a_task_of_who_runs_it(deploy: World, app: flask.Flask) -> None:
    dana = signed_in(app, DANA)

    answer = run(dana, {"target": "production", "notes": VALUE}, **{"Idempotency-Key": "once"})
    again = run(dana, {"target": "production", "notes": VALUE}, **{"Idempotency-Key": "once"})

    assert (answer.status_code, again.status_code) == (201, 200)
    assert answer.json["id"] == again.json["id"]
    assert answer.headers["Location"].endswith(f"/api/v1/tasks/{answer.json['id']}")
    (task,) = tasks(deploy)
    assert (task["owner"], task["name"], task["labels"]) == (DANA.subject, "deploy", {"template": "deploy"})
    assert task["spec"]["script"] == "./deploy.sh\n"
    assert task["spec"]["env"] == {
        "KERUTA_PARAM_TARGET": "production", "KERUTA_PARAM_NOTES": VALUE, "KERUTA_PARAM_DRY_RUN": "true",
    }  # fmt: skip


def test_such_a_task_can_be_submitted_again(deploy: World, app: flask.Flask) -> None:
    """Its variables are not refused as keruta's own."""
    dana = signed_in(app, DANA)
    first = run(dana, {"target": "staging"}).json["id"]

    request = request_of(deploy.task(first))

    made, faults = convert(request, TaskRequest)
    assert faults == []
    assert made is not None
    assert made == msgspec.structs.replace(
        made, env={"KERUTA_PARAM_TARGET": "staging", "KERUTA_PARAM_DRY_RUN": "true"}, script="./deploy.sh\n"
    )


def test_wrong_values_are_told_each_and_nothing_is_submitted(deploy: World, app: flask.Flask) -> None:
    answer = run(signed_in(app, DANA), {"target": "moon", "dry_run": 3, "more": "x"})

    assert answer.status_code == 422
    places = sorted(one["at"] for one in answer.json["faults"])
    assert places == ["/parameters/dry_run", "/parameters/more", "/parameters/target"]
    assert tasks(deploy) == []


def test_a_template_runs_only_for_those_who_may_run_it_and_what_it_names(deploy: World, app: flask.Flask) -> None:
    """A right on the template is none on its repository or queue."""
    assert run(signed_in(app, EVE), {"target": "staging"}).status_code == 403
    assert run(signed_in(app, person("mallory", "developer")), {"target": "staging"}).status_code == 404
    assert run(signed_in(app, person("dana", "viewer")), {"target": "staging"}).status_code == 403
    deploy.catalogs["queue"].create(ANN, QueueSpec(name="own", access=Access(run=["name:ann"], read=["name:dana"])))
    shown = deploy.catalogs["template"].show(ANN, "deploy")
    changed = TemplateSpec(
        name="deploy", repository="shop", script="x", queue="own", access=Access(run=["name:dana"], manage=["name:ann"])
    )
    deploy.catalogs["template"].replace(ANN, "deploy", changed, shown.meta.revision)
    assert run(signed_in(app, DANA), {}).status_code == 403
    assert tasks(deploy) == []


def test_the_form_has_a_field_for_each_parameter(deploy: World, app: flask.Flask) -> None:
    page = signed_in(app, DANA).client.get("/templates/deploy/run").text

    for name in ("p.target", "p.notes", "p.dry_run"):
        assert f'name="{name}"' in page
    assert "<b>new</b>" not in page
    assert "What is &lt;b&gt;new&lt;/b&gt;" in page
    assert '<option value="production">' in page


def test_the_form_keeps_what_was_typed_and_says_what_is_wrong(deploy: World, app: flask.Flask) -> None:
    dana = signed_in(app, DANA)
    status, said = dana.ask("POST", "/templates/deploy/run", {"p.target": "moon", "p.notes": VALUE})

    assert status == 422
    assert "none of the choices: staging, production" in html.unescape(said)
    assert VALUE not in said
    assert html.escape(VALUE, quote=False).split("&gt;")[1] in said
    assert tasks(deploy) == []

    status, said = dana.ask("POST", "/templates/deploy/run", {"p.target": "staging", "p.notes": "a\r\nb"})

    assert status == 303
    (task,) = tasks(deploy)
    assert said.endswith(f"/tasks/{task['_id']}")
    assert task["spec"]["env"]["KERUTA_PARAM_NOTES"] == "a\nb"
    assert task["spec"]["env"]["KERUTA_PARAM_DRY_RUN"] == "false"  # the box was not ticked


# ---------------------------------------------------------------- parameters that name secrets

SECRET = "s3cret-value"


@pytest.fixture
def release(world: World) -> World:
    """A template with a parameter for a secret; Dana may use one, sees another, and does not see a third."""
    world.catalogs["repository"].create(ANN, RepositorySpec(name="shop", url="https://example.com/shop.git"))
    world.catalogs["template"].create(ANN, TemplateSpec(
        name="deploy", repository="shop", script="./deploy.sh\n", access=Access(run=["name:dana"], manage=["name:ann"]),
        parameters=[Parameter(name="password", type="secret", required=True)],
    ))  # fmt: skip
    for name, granted in (
        ("own", CredentialAccess(use=["name:dana"])), ("seen", CredentialAccess(read=["name:dana"])), ("hidden", None),
    ):  # fmt: skip
        made = CredentialSpec(name=name, type="secret", value=SECRET, access=granted)
        world.catalogs["credential"].create(ANN, made)
    token = CredentialSpec(name="token", type="token", username="x", token=SECRET, hosts=["example.com"],
                           access=CredentialAccess(use=["name:dana"]))  # fmt: skip
    world.catalogs["credential"].create(ANN, token)
    return world


def test_a_secret_parameter_gives_the_script_a_credentials_value(release: World, app: flask.Flask) -> None:
    """By its name alone: the value stands in no document, answer or page."""
    dana = signed_in(app, DANA)
    answer = run(dana, {"password": "own"})
    release.worker()
    release.assign()
    (given,) = release.assigned("w1")

    assert answer.status_code == 201
    assert given.specification is not None
    access = given.specification.secrets["KERUTA_PARAM_PASSWORD"]
    assert (access.name, access.kind) == ("own", "secret")
    (task,) = tasks(release)
    assert task["spec"]["secrets"] == {"KERUTA_PARAM_PASSWORD": "own"}
    assert task["spec"]["env"] == {}
    assert SECRET not in str(task)
    assert SECRET not in dana.ask("GET", f"/tasks/{task['_id']}")[1]


@pytest.mark.parametrize("name", ["seen", "hidden", "nowhere"])
def test_a_secret_that_one_may_not_use_is_as_one_that_is_not_there(release: World, app: flask.Flask, name: str) -> None:
    answer = run(signed_in(app, DANA), {"password": name})

    assert answer.status_code == 422
    (told,) = answer.json["faults"]
    assert (told["at"], told["message_code"]) == ("/parameters/password", "template_secret_missing")
    assert tasks(release) == []


@pytest.mark.parametrize("name", ["token", "", "../x", "Own", 7])
def test_what_is_no_secret_for_scripts_is_refused(release: World, app: flask.Flask, name: Any) -> None:
    answer = run(signed_in(app, DANA), {"password": name})

    assert answer.status_code == 422
    assert [one["at"] for one in answer.json["faults"]] == ["/parameters/password"]
    assert tasks(release) == []


def test_a_default_gives_nobody_a_right_on_a_secret(release: World, app: flask.Flask) -> None:
    """Who runs the template needs it, whoever wrote the template."""
    shown = release.catalogs["template"].show(ANN, "deploy")
    release.catalogs["template"].replace(ANN, "deploy", TemplateSpec(
        name="deploy", repository="shop", script="x", access=Access(run=["name:dana"], manage=["name:ann"]),
        parameters=[Parameter(name="password", type="secret", default="hidden")],
    ), shown.meta.revision)  # fmt: skip

    assert run(signed_in(app, DANA), {}).status_code == 422
    assert run(signed_in(app, ANN), {}).status_code == 201


def test_the_form_suggests_secrets_that_one_may_use(release: World, app: flask.Flask) -> None:
    page = signed_in(app, DANA).client.get("/templates/deploy/run").text

    assert '<option value="own">' in page
    for name in ("seen", "hidden", "token"):
        assert f'<option value="{name}">' not in page
    assert SECRET not in page


def test_the_same_key_with_another_secret_is_another_request(release: World, app: flask.Flask) -> None:
    ann = signed_in(app, ANN)
    first = run(ann, {"password": "own"}, **{"Idempotency-Key": "once"})

    assert run(ann, {"password": "own"}, **{"Idempotency-Key": "once"}).json["id"] == first.json["id"]
    assert run(ann, {"password": "seen"}, **{"Idempotency-Key": "once"}).status_code == 422


def test_a_secret_that_was_made_anew_is_not_the_one_that_was_named(release: World, app: flask.Flask) -> None:
    """The attempt fails before anything starts."""
    run(signed_in(app, DANA), {"password": "own"})
    release.catalogs["credential"].delete(ANN, "own", None, force=False)
    release.catalogs["credential"].create(ANN, CredentialSpec(name="own", type="secret", value="another"))
    release.worker()
    release.assign()
    (given,) = release.assigned("w1")

    assert given.specification is not None
    assert given.specification.fault is not None
    assert given.specification.fault.reason == "CredentialMissing"
