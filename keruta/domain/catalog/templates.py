"""A template: a saved task with typed parameters."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from keruta.domain.catalog.access import Access
from keruta.domain.catalog.common import Description, Kept, Name, Problems
from keruta.domain.decode import convert
from keruta.domain.messages import Message, message, read_message
from keruta.domain.naming import NAME
from keruta.domain.repository import ref_fault
from keruta.domain.task import (
    ENV_LIMIT,
    LABELS_LIMIT,
    NAME_SAID,
    SCRIPT_LIMIT_BYTES,
    ResultBranch,
    TaskRequest,
)
from keruta.errors import Fault, fault

LABEL = "template"
REF = "ref"  # the parameter of this name chooses what is checked out
PARAMETERS_MOST = 40
VALUE_LIMIT = 4096
VARIABLE = "KERUTA_PARAM_"

ParameterName = Annotated[
    str, Meta(pattern=r"^[a-z][a-z0-9_]{0,47}$", description="lower-case letters, digits and _, as in target_host")
]
Value = str | bool | int | float
Text = Annotated[str, Meta(min_length=1, max_length=SCRIPT_LIMIT_BYTES)]
Choice = Annotated[str, Meta(min_length=1, max_length=200)]

_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?", re.ASCII)


class Parameter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A value that is given when a template is run. A script finds it in `KERUTA_PARAM_` and the name in capitals.

    Args:
        type: `boolean` becomes `true` or `false`; `ref` is a branch, tag or commit; `secret` names a credential of the
            type secret that who runs the template may use: the script gets its value.
        choices: the values of a `choice`.
        default: counts where none is given; without one, and not required, the variable is not set.
    """

    name: ParameterName
    type: Literal["text", "choice", "boolean", "number", "ref", "secret"] = "text"
    description: Annotated[str, Meta(max_length=500)] = ""
    required: bool = False
    choices: Annotated[list[Choice], Meta(max_length=100)] = []
    default: Value | None = None

    @property
    def variable(self) -> str:
        """The environment variable that a script finds the value in."""
        return VARIABLE + self.name.upper()

    def faults(self) -> Problems:
        if (self.type == "choice") != bool(self.choices):
            yield "/choices", message("template_choices")
        elif self.default is not None and isinstance(found := self.read(self.default), Message):
            yield "/default", found

    def read(self, value: Value) -> str | Message:
        """Return a value as a script gets it, or what is wrong with it."""
        match self.type:
            case "boolean":
                wanted = {True: "true", False: "false", "true": "true", "false": "false"}
                known = isinstance(value, bool | str) and value in wanted
                return wanted[value] if known else message("template_boolean")
            case "number":
                return _number(value)
        if not isinstance(value, str):
            return message("template_text")
        if len(value) > VALUE_LIMIT or "\0" in value:
            return message("template_text_limit", limit=VALUE_LIMIT)
        if self.type == "secret" and not NAME.fullmatch(value):
            return NAME_SAID
        if self.type == "choice" and value not in self.choices:
            return message("template_choice", known=", ".join(self.choices[:20]))
        if self.type == "ref" and (wrong := ref_fault(value)):
            return wrong
        return value


def _number(value: Value) -> str | Message:
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return message("template_number")
    text = value if isinstance(value, str) else str(value)
    return text if _NUMBER.fullmatch(text) else message("template_number")


class TemplateSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A template as a team writes it: what a task asks for, and its parameters.

    Who runs it needs what a submit needs: the right to run on its repository and queue.
    """

    name: Name
    description: Description = ""
    repository: Name
    ref: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    script: Text | None = None
    prompt: Text | None = None
    check: Text | None = None
    profile: Name | None = None
    queue: Name = "default"
    documents: Annotated[list[Annotated[str, Meta(min_length=1, max_length=70)]], Meta(max_length=50)] = []
    env: Annotated[dict[str, str], Meta(max_length=ENV_LIMIT - PARAMETERS_MOST)] = {}
    labels: Annotated[dict[str, Annotated[str, Meta(max_length=200)]], Meta(max_length=LABELS_LIMIT - 1)] = {}
    priority: Annotated[int, Meta(ge=-100, le=100)] | None = None
    timeout_seconds: Annotated[int, Meta(ge=1, le=7 * 86400)] | None = None
    result: ResultBranch | None = None
    parameters: Annotated[list[Parameter], Meta(max_length=PARAMETERS_MOST)] = []
    access: Access | None = None

    def faults(self) -> Problems:
        seen: set[str] = set()
        for number, parameter in enumerate(self.parameters):
            yield from ((f"/parameters/{number}{at}", said) for at, said in parameter.faults())
            if parameter.name in seen:
                yield f"/parameters/{number}/name", message("template_parameter_twice", name=parameter.name)
            if parameter.name == REF and parameter.type != "ref":
                yield f"/parameters/{number}/type", message("template_ref_type")
            seen.add(parameter.name)
        for one in convert(_document(self, {}, self.ref), TaskRequest)[1]:
            yield (
                one["at"].replace("/repository/ref", "/ref"),
                read_message(one["message"], one.get("message_code"), one.get("message_arguments")),
            )


class TemplateView(TemplateSpec, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A template as the API shows it."""

    meta: Kept


class TemplateRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a template's run: a value for each parameter, and the task's name."""

    parameters: Annotated[dict[str, Value], Meta(max_length=PARAMETERS_MOST)] = {}
    name: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Values that a run of a template asks for.

    Args:
        secrets: names of credentials by the parameters that are of the type secret.
    """

    task: TaskRequest
    secrets: dict[str, str]


def request_of_run(template: TemplateSpec, run: TemplateRun) -> tuple[Request | None, list[Fault]]:
    """Return what a run of a template asks for, or every fault, each at its parameter."""
    values: dict[str, str] = {}
    faults: list[Fault] = []
    for parameter, found in _read(template, run.parameters):
        if isinstance(found, Message):
            faults.append(fault(f"/parameters/{parameter}", found))
        elif found is not None:
            values[parameter] = found
    for name in run.parameters.keys() - {one.name for one in template.parameters}:
        known = ", ".join(one.name for one in template.parameters) or "-"
        faults.append(fault(f"/parameters/{name[:80]}", message("template_no_parameter", known=known)))
    if faults:
        return None, sorted(faults, key=lambda one: one["at"])
    secret = {one.name for one in template.parameters if one.type == "secret"}
    plain = {name: value for name, value in values.items() if name not in secret}
    document = _document(template, plain, values.get(REF) or template.ref)
    request, faults = convert({**document, "name": run.name or template.name}, TaskRequest)
    if request is None:
        return None, faults
    return Request(task=request, secrets={name: values[name] for name in values if name in secret}), []


def _read(template: TemplateSpec, given: Mapping[str, Value]) -> Iterator[tuple[str, str | Message | None]]:
    """Yield each parameter with its value, what is wrong with it, or None where it has none."""
    for parameter in template.parameters:
        value = given.get(parameter.name, parameter.default)
        if value == "" and parameter.type != "text":
            value = parameter.default  # a form's empty field
        if value is None or (value == "" and parameter.required):
            yield parameter.name, message("field_required") if parameter.required else None
        else:
            yield parameter.name, parameter.read(value)


def _document(template: TemplateSpec, values: Mapping[str, str], ref: str | None) -> dict[str, Any]:
    """Return the body of a submit."""
    variables = {one.name: one.variable for one in template.parameters}
    fields = ("script", "prompt", "check", "profile", "queue", "documents", "priority", "timeout_seconds", "result")
    plain = {name: msgspec.to_builtins(getattr(template, name)) for name in fields}
    return {
        **{name: value for name, value in plain.items() if value is not None},
        "repository": {"name": template.repository, **({"ref": ref} if ref is not None else {})},
        "env": {**template.env, **{variables[name]: value for name, value in values.items()}},
        "labels": {**template.labels, LABEL: template.name},
    }
