"""Templates: values are typed, reach a script as variables only, and each fault is told at its parameter."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from keruta.cli import commands
from keruta.domain.catalog.access import Access
from keruta.domain.catalog.templates import TemplateRun, TemplateSpec, request_of_run
from keruta.domain.decode import convert
from keruta.domain.principal import Principal
from keruta.errors import Forbidden
from keruta.services.templates import run_template

PARAMETERS: list[dict[str, Any]] = [
    {"name": "target", "type": "choice", "choices": ["staging", "production"], "required": True},
    {"name": "notes"},
    {"name": "dry_run", "type": "boolean", "default": True},
    {"name": "count", "type": "number", "default": 3},
    {"name": "ref", "type": "ref", "default": "main"},
]
HOSTILE = "$(reboot) `id` '; rm -rf / #\n--upload-pack=x"


def spec(**fields: Any) -> TemplateSpec:
    raw = {"name": "deploy", "repository": "shop", "script": "./deploy.sh\n", "parameters": PARAMETERS, **fields}
    made, faults = convert(raw, TemplateSpec)
    assert faults == []
    assert made is not None
    return made


def run(template: TemplateSpec, **parameters: Any) -> Any:
    request, faults = request_of_run(template, TemplateRun(parameters=parameters))
    assert faults == []
    assert request is not None
    return request.task


def test_values_reach_a_script_as_variables_alone() -> None:
    """The script, the branch and the command line are the template's, whatever a value holds."""
    made = run(spec(env={"A": "1"}, labels={"a": "b"}), target="staging", notes=HOSTILE, count=-0.5, dry_run=False)

    assert made.script == "./deploy.sh\n"
    assert made.env == {
        "A": "1", "KERUTA_PARAM_TARGET": "staging", "KERUTA_PARAM_NOTES": HOSTILE, "KERUTA_PARAM_DRY_RUN": "false",
        "KERUTA_PARAM_COUNT": "-0.5", "KERUTA_PARAM_REF": "main",
    }  # fmt: skip
    assert made.labels == {"a": "b", "template": "deploy"}
    assert (made.repository.name, made.repository.ref, made.name) == ("shop", "main", "deploy")


def test_the_parameter_ref_chooses_what_is_checked_out() -> None:
    assert run(spec(), target="staging", ref="v1.2").repository.ref == "v1.2"
    assert run(spec(), target="staging", ref="").repository.ref == "main"
    assert run(spec(parameters=[], ref="next")).repository.ref == "next"


@pytest.mark.parametrize(
    ("parameters", "at"),
    [
        ({}, ["target"]),
        ({"target": ""}, ["target"]),
        ({"target": "elsewhere"}, ["target"]),
        ({"target": "staging", "ref": "--upload-pack=x"}, ["ref"]),
        ({"target": "staging", "ref": "a..b"}, ["ref"]),
        ({"target": "staging", "count": "1; id"}, ["count"]),
        ({"target": "staging", "count": "١٢"}, ["count"]),
        ({"target": "staging", "count": True}, ["count"]),
        ({"target": "staging", "count": float("inf")}, ["count"]),
        ({"target": "staging", "dry_run": "maybe"}, ["dry_run"]),
        ({"target": "staging", "dry_run": 1}, ["dry_run"]),
        ({"target": "staging", "notes": "a\0b"}, ["notes"]),
        ({"target": "staging", "notes": "x" * 5000}, ["notes"]),
        ({"target": "staging", "notes": 7}, ["notes"]),
        ({"target": 1, "nothing": "x"}, ["nothing", "target"]),
    ],
)
def test_each_wrong_value_is_told_at_its_parameter(parameters: dict[str, Any], at: list[str]) -> None:
    request, faults = request_of_run(spec(), TemplateRun(parameters=parameters))

    assert request is None
    assert [one["at"] for one in faults] == [f"/parameters/{name}" for name in at]


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"prompt": "Fix it"}, ""),
        ({"script": None}, ""),
        ({"ref": "--x"}, "/ref"),
        ({"env": {"KERUTA_TASK": "1"}}, "/env/KERUTA_TASK"),
        ({"script": "a\0"}, "/script"),
        ({"documents": ["A B"]}, "/documents/0"),
        ({"parameters": [{"name": "a"}, {"name": "a"}]}, "/parameters/1/name"),
        ({"parameters": [{"name": "Not-This"}]}, "/parameters/0/name"),
        ({"parameters": [{"name": "ref"}]}, "/parameters/0/type"),
        ({"parameters": [{"name": "a", "type": "choice"}]}, "/parameters/0/choices"),
        ({"parameters": [{"name": "a", "choices": ["b"]}]}, "/parameters/0/choices"),
        ({"parameters": [{"name": "a", "type": "number", "default": "x"}]}, "/parameters/0/default"),
        ({"result": {"branch": "r/.hidden"}}, "/result/branch"),
    ],
)
def test_a_wrong_template_is_refused_with_the_place(fields: dict[str, Any], at: str) -> None:
    raw = {"name": "deploy", "repository": "shop", "script": "x", "parameters": PARAMETERS, **fields}

    made, faults = convert({name: value for name, value in raw.items() if value is not None}, TemplateSpec)

    assert made is None
    assert at in [one["at"] for one in faults]


def test_who_may_not_run_a_template_is_refused_before_anything_is_submitted() -> None:
    template = spec(access=Access(read=["name:ann"], run=["name:eve"]))
    ann = Principal(subject="1", name="ann", roles=frozenset({"developer"}))

    with pytest.raises(Forbidden) as raised:
        run_template(
            template, TemplateRun(parameters={"target": "staging"}), ann,
            lookup=None, intake=None, tracing=None, settings=None, credentials=None,  # type: ignore[arg-type]
        )  # fmt: skip

    assert raised.value.reason == "GrantMissing"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--template", "t", "--", "make"), "leave out a command"),
        (("--template", "t", "--repo", "r", "--env", "A=1"), "leave out --repo, --env"),
        (("--repo", "r", "-p", "a=b", "--", "make"), "--param goes with --template"),
        (("--", "make"), "name a repository with --repo, or a template"),
    ],
)
def test_the_command_line_takes_a_task_or_a_template(arguments: tuple[str, ...], said: str) -> None:
    done = CliRunner().invoke(commands.cli, ["run", *arguments])

    assert done.exit_code == 2
    assert said in done.stderr


def test_the_command_line_gives_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Client:
        def run_template(self, *given: Any, **more: Any) -> Any:
            asked.append((given, more))
            return type("Task", (), {"id": "01a"})

    monkeypatch.setattr(commands, "connect", Client)

    done = CliRunner().invoke(commands.cli, ["run", "--template", "deploy", "-p", "target=a=b", "--name", "n"])

    assert done.stdout == "01a\n"
    assert asked == [(("deploy", {"target": "a=b"}), {"name": "n", "idempotency_key": None})]
