"""A task's request as curl, a command line, Python and YAML: what is pasted is the same task, and no more."""

from __future__ import annotations

import ast
import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import msgspec
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from admin.tasks.copying import command_line, forms
from keruta.cli.commands import run
from keruta.domain.catalog.caches import CacheRule
from keruta.domain.decode import convert
from keruta.domain.resubmission import request_of
from keruta.domain.task import RepositoryRef, ResultBranch, RetryPolicy, TaskRequest, TaskView

NOW = datetime(2026, 1, 1, tzinfo=UTC)
URL = "https://keruta.example.com"
HOSTILE = "a'b \"c\" $(touch /tmp/x) `id` \\ \n--option\n''' {{ x }} 日本 ${IFS} !"
HOSTILE_NAME = HOSTILE.replace("\n", " ")


def task(**fields: Any) -> TaskView:
    given = {"script": "true", **fields}
    return TaskView(
        **{
            "id": "0" * 26, "status": "failed", "name": None, "owner": "ann", "queue": "default", "priority": 0,
            "labels": {}, "repository": RepositoryRef(url="https://example.com/a.git"), "profile": "shell",
            "documents": [], "retry": RetryPolicy(), "timeout_seconds": 60, "created_at": NOW, "changed_at": NOW,
            **given,
        }
    )  # fmt: skip


FULL = task(
    name=HOSTILE_NAME, script=HOSTILE, check=HOSTILE, queue="night", priority=-3,
    labels={"a": HOSTILE}, env={"B": HOSTILE},
    repository=RepositoryRef(
        url="https://example.com/a.git", name="site", ref="main", submodules=True, paths=("a b",)
    ),
    result_branch="fix", result=ResultBranch(branch="fix", if_exists="replace"), provenance=True,
    cache=[CacheRule(paths=["~/.npm"], key=["it's.json"])],
)  # fmt: skip


def shell(text: str, *, replaced: str) -> list[str]:
    """Return the words that a shell would hand to the program; process substitutions by what they write."""
    takes = 'for one; do if [ -p "$one" ]; then cat "$one"; else printf %s "$one"; fi; printf "\\0"; done'
    script = f"{replaced}() {{ {takes}; }}\n{text}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, env={"KERUTA_TOKEN": "T"})
    return done.stdout.decode().split("\0")[:-1]


def test_each_form_submits_the_same_request() -> None:
    body = request_of(FULL)
    made = forms(FULL, URL)
    request, faults = convert(body, TaskRequest)
    words = shell(made["curl"], replaced="curl")
    program = ast.parse(made["Python"])
    literals = [
        one.value for one in ast.walk(program) if isinstance(one, ast.Constant) and str(one.value).startswith("{")
    ]

    assert faults == []
    assert request is not None
    assert (request.script, request.name, request.env) == (HOSTILE, HOSTILE_NAME, {"B": HOSTILE})
    assert json.loads(words[-1]) == body
    assert (words[1], words[3]) == (f"{URL}/api/v1/tasks", "Authorization: Bearer T")
    assert [json.loads(str(one)) for one in literals] == [body]
    assert yaml.safe_load(made["YAML"]) == body


def test_the_command_line_is_one_that_the_command_takes() -> None:
    words = shell(command_line(request_of(FULL)), replaced="keruta")

    assert words[0] == "run"
    assert words[words.index("--script") + 1] == HOSTILE
    for option in ("--repo=site", "--ref=main", "--priority=-3", f"--env=B={HOSTILE}", f"--label=a={HOSTILE}",
                   f"--name={HOSTILE_NAME}", "--path=a b", "--result-branch=fix", "--if-exists=replace", "--submodules",
                   "--provenance", "--timeout=60", "--queue=night"):  # fmt: skip
        assert option in words, option
    known = {option for param in run.params for option in [*param.opts, *param.secondary_opts]}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


def test_a_command_and_a_prompt_come_as_they_were() -> None:
    words = shell(command_line(request_of(task(script=None, command=["make", HOSTILE]))), replaced="keruta")
    assert words[-3:] == ["--", "make", HOSTILE]
    words = shell(command_line(request_of(task(script=None, prompt="-do it"))), replaced="keruta")
    assert "--prompt=-do it" in words


@settings(max_examples=20)
@given(st.text(st.characters(exclude_characters="\0\r", codec="utf-8"), min_size=1, max_size=80))
def test_no_text_leaves_its_quotes(text: str) -> None:
    body = request_of(task(script=text))
    assert json.loads(shell(forms(task(script=text), URL)["curl"], replaced="curl")[-1]) == msgspec.to_builtins(body)
