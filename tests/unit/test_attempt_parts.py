"""The pure parts of a job: its verdict, what an agent used, how a prompt becomes a command."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.attempt.directory import JobDir
from agent.attempt.script_environment import missing_interpreter
from agent.attempt.usage import measure
from agent.attempt.verdict import judge
from keruta.domain.catalog.profiles import ProfileSpec, PromptCommand, UsageRule, needs_cluster
from keruta.domain.decode import convert
from keruta.domain.messages import EMPTY
from keruta.domain.specification import Access, Specification
from keruta.domain.task import RepositoryRef

PLAIN = Specification(
    task="t" * 26, attempt=1, repository=RepositoryRef(url="https://example.com/a.git"), script="true"
)


def verdict(
    codes: dict[str, int], specification: Specification = PLAIN, **more: Any
) -> tuple[str, str | None, int | None]:
    given: dict[str, Any] = {"finished": True, "died_by": None, "stopped": False, "cause": "", "cause_message": "why"}
    found = judge(codes, specification=specification, **{**given, **more})
    return found.status, found.reason, found.exit_code


@pytest.mark.parametrize(
    ("codes", "more", "expected"),
    [
        ({"script": 0}, {}, ("succeeded", None, 0)),
        ({"script": 0, "check": 0}, {}, ("succeeded", None, 0)),
        ({"script": 0, "check": 2}, {}, ("failed", "CheckFailed", 2)),
        ({"script": 0}, {"finished": False}, ("failed", "CheckFailed", None)),
        ({"script": 3}, {}, ("failed", "ScriptFailed", 3)),
        ({"setup": 4}, {}, ("failed", "SetupFailed", 4)),
        ({"setup": 4}, {"died_by": 9}, ("failed", "SetupFailed", 4)),
        ({"oom": 1, "script": 137}, {}, ("failed", "OutOfMemory", 137)),
        ({"oom": 1, "script": 0, "check": 137}, {}, ("failed", "OutOfMemory", 137)),
        ({}, {"died_by": 9, "finished": False}, ("failed", "ScriptFailed", 137)),
        ({}, {"finished": False}, ("failed", "ScriptFailed", None)),
        ({"script": 143}, {"stopped": True}, ("cancelled", "Cancelled", 143)),
        ({"script": 143}, {"stopped": True, "cause": "DeadlineExceeded"}, ("failed", "DeadlineExceeded", 143)),
        ({"script": 0}, {"stopped": True}, ("succeeded", None, 0)),
    ],
)
def test_how_an_attempt_ended(codes: dict[str, int], more: dict[str, Any], expected: tuple[Any, ...]) -> None:
    """A true end that came first wins; what failed is named."""
    assert verdict(codes, **more) == expected


def test_a_check_that_left_no_code_has_not_passed() -> None:
    """A script that writes down its own end in a Pod, and no word of the check, has not succeeded."""
    checked = msgspec.structs.replace(PLAIN, check="true")

    assert verdict({"script": 0}, checked) == ("failed", "CheckFailed", None)
    assert verdict({"script": 0, "check": 0}, checked) == ("succeeded", None, 0)


def test_a_script_in_a_pod_can_not_say_that_its_fence_failed(tmp_path: Path) -> None:
    """There is none in a Pod: such a word would have what ran once tried again."""
    for shared in (None, tmp_path):
        job = JobDir(root=tmp_path, shared=shared)
        job.control.mkdir(exist_ok=True)
        (job.control / "exit").write_text("fence 1\nscript 3\ndone 0\n")

        assert job.exit_codes() == {"script": 3, "done": 0, **({"fence": 1} if shared is None else {})}


def test_a_command_that_is_not_there_is_said_so() -> None:
    command = msgspec.structs.replace(PLAIN, script=None, command=["no-such"])

    assert verdict({"script": 127, "not_run": 1}, command) == ("failed", "CommandNotFound", 127)


def test_an_interpreter_that_is_missing_is_named(tmp_path: Path) -> None:
    """That of the script, of the check, and of a file of the repository that the command names."""
    job = JobDir(root=tmp_path)
    for directory in (job.control, job.interface, job.workspace / "bin"):
        directory.mkdir(parents=True)
    (job.interface / "not-run").touch()
    (job.workspace / "bin/run").write_bytes(b"#! /opt/py -x\r\nprint()\n")

    def said(**given: Any) -> tuple[str | None, str]:
        spec = msgspec.structs.replace(PLAIN, **given)
        codes = job.exit_codes()
        ended = judge(
            codes, finished=True, died_by=None, stopped=False, cause="", cause_message=EMPTY, specification=spec,
            interpreter=missing_interpreter(job, spec),
        )  # fmt: skip
        return ended.reason, str(ended.message)

    (job.control / "exit").write_text("script 127\ndone 0\n")
    assert said(script="#!/opt/ruby\nputs 1\n") == (
        "CommandNotFound",
        "The program '/opt/ruby', which a script's first line names, can't be run here. It must be in the image, or on "
        "the worker.",
    )
    reason, text = said(script=None, command=["./bin/run"])
    assert (reason, "'/opt/py -x'" in text, "carriage return" in text) == ("CommandNotFound", True, True)
    assert said(script=None, command=["make"]) == ("CommandNotFound", "The command 'make' can't be run here.")

    (job.control / "exit").write_text("script 0\ncheck 127\ndone 0\n")
    reason, text = said(check="#!/opt/perl\n")
    assert (reason, "'/opt/perl'" in text) == ("CheckFailed", True)


def test_a_program_that_a_command_does_not_find_is_the_commands_own_failure() -> None:
    """`make` says 127 where a recipe's program is missing; make itself could be run."""
    command = msgspec.structs.replace(PLAIN, script=None, command=["make"])

    assert verdict({"script": 127}, command) == ("failed", "ScriptFailed", 127)


def test_a_fence_that_could_not_be_put_up_is_the_workers_failure() -> None:
    assert verdict({"fence": 1}) == ("failed", "WorkspaceFailed", None)


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=200))
def test_a_prompt_is_a_text_and_never_a_part_of_the_command(prompt: str) -> None:
    """Whatever is in it, the shell sees one word."""
    script = PromptCommand(command=["printf", "%s", "{prompt}"]).script(prompt, "/p")

    assert shlex.split(script) == ["exec", "printf", "%s", prompt]


def test_a_prompt_reaches_the_program_unchanged() -> None:
    prompt = "$(touch /tmp/x) `id` \"'\\ \n{prompt_file}"
    script = PromptCommand(command=["printf", "%s", "<{prompt}>"]).script(prompt, "/p")

    out = subprocess.run(["sh", "-c", script], capture_output=True, check=True, text=True).stdout
    assert out == f"<{prompt}>"


RULES = [
    UsageRule(measure="cost_usd", pointer="/total", where={"/type": "result"}),
    UsageRule(measure="input_tokens", pointer="/usage/0/in", fold="sum"),
    UsageRule(measure="output_tokens", pattern=r"sent, ([\d.,]+[kM]?) received", fold="sum"),
]


def test_what_an_agent_used(tmp_path: Path) -> None:
    """Numbers are taken where the rules say, and broken lines are passed over."""
    log = tmp_path / "log"
    log.write_bytes(
        b'{"type": "result", "total": 0.5}\n{"type": "other", "total": 9}\n{"usage": [{"in": 3}]}\n'
        b'{"usage": [{"in": 4}]}\n{"usage": [{"in": true}]}\n{"usage": {"0": "x"}}\n{broken\n\xff\xfe\n'
        b"Tokens: 3 sent, 1.5k received\nTokens: 3 sent, 1,000 received\n" + b"x" * 5_000_000 + b"\n"
        b'{"type": "result", "total": 0.75}'
    )

    assert measure(log.open("rb"), RULES) == {"cost_usd": 0.75, "input_tokens": 7.0, "output_tokens": 2500.0}
    assert measure(log.open("rb"), []) == {}


def test_what_one_machine_can_not_honour() -> None:
    assert needs_cluster(ProfileSpec(name="a", env={"A": "b"}, setup=["x"])) == []
    whole = {
        "name": "a",
        "image": "x",
        "network": "closed",
        "resources": {"limits": {"cpu": "1"}},
        "node_selector": {"a": "b"},
    }
    profile, faults = convert(whole, ProfileSpec)
    assert faults == []
    assert profile is not None
    assert needs_cluster(profile) == ["image", "node_selector", "network", "resources"]


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"usage": [{"measure": "cost_usd"}]}, "/usage/0/pointer"),
        ({"usage": [{"measure": "cost_usd", "pattern": "("}]}, "/usage/0/pattern"),
        ({"usage": [{"measure": "cost_usd", "pattern": "x"}]}, "/usage/0/pattern"),
        ({"usage": [{"measure": "x", "pointer": "/a"}]}, "/usage/0/measure"),
        ({"prompt": {"command": []}}, "/prompt/command"),
        ({"prompt": {"command": ["{prompt}"]}}, "/prompt/command/0"),
        ({"resources": {"limits": {"memory": "lots"}}}, "/resources/limits/memory"),
        ({"env": {"KERUTA_X": "y"}}, "/env/KERUTA_X"),
        ({"env": {"A": "a\0b"}}, "/env/A"),
        ({"coding_agent": "codex", "mcp_servers": {"x": {"command": ["a\0b"]}}}, "/mcp_servers/x/command/0"),
        (
            {"coding_agent": "codex", "mcp_servers": {"x": {"command": ["a"], "env": {"A": "\0"}}}},
            "/mcp_servers/x/env/A",
        ),
        ({"secrets": {"a-b": "c"}}, "/secrets/a-b"),
        ({"image": "a b"}, "/image"),
        ({"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1000Mi"}}}, "/resources/requests/memory"),
        ({"pod": {"labels": {"a b": "c"}}}, "/pod/labels/a b"),
        ({"pod": {"labels": {"app": "admin"}}}, "/pod/labels/app"),
        ({"pod": {"labels": {"app.kubernetes.io/component": "a"}}}, "/pod/labels/app.kubernetes.io/component"),
        ({"pod": {"labels": {"serving.knative.dev/service": "a"}}}, "/pod/labels/serving.knative.dev/service"),
        ({"pod": {"labels": {"keruta.dev/network": "open"}}}, "/pod/labels/keruta.dev/network"),
        ({"pod": {"labels": {"team": "a b"}}}, "/pod/labels/team"),
        ({"pod": {"annotations": {"batch.kubernetes.io/x": "a"}}}, "/pod/annotations/batch.kubernetes.io/x"),
        ({"pod": {"priority_class": "system-node-critical"}}, "/pod/priority_class"),
        ({"pod": {"runtime_class": "A b"}}, "/pod/runtime_class"),
        ({"pod": {"image_pull_secrets": ["mine"]}}, "/pod/image_pull_secrets/0"),
        ({"pod": {"node_affinity": [{"key": "a"}]}}, "/pod/node_affinity/0/values"),
        (
            {"pod": {"node_affinity": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
            "/pod/node_affinity/0/values",
        ),
        ({"pod": {"node_affinity": [{"key": "a", "operator": "Gt", "values": ["b"]}]}}, "/pod/node_affinity/0/values"),
        ({"pod": {"node_affinity": [{"key": "a b", "operator": "Exists"}]}}, "/pod/node_affinity/0/key"),
        ({"pod": {"extended_resources": {"cpu": 1}}}, "/pod/extended_resources/cpu"),
        ({"pod": {"volumes": ["a", "a"]}}, "/pod/volumes/1"),
        ({"pod": {"volumes": ["../a"]}}, "/pod/volumes/0"),
        ({"pod": {"services": [{"name": "db", "image": "db"}]}}, "/pod/services/0/port"),
        ({"pod": {"services": [{"name": "db", "image": "d b", "port": 1}]}}, "/pod/services/0/image"),
        (
            {"pod": {"services": [{"name": "db", "image": "db", "port": 1, "directories": ["/a/../etc"]}]}},
            "/pod/services/0/directories/0",
        ),
        ({"setup": ["a\0"]}, "/setup/0"),
        ({"tolerations": [{"effect": "Never"}]}, "/tolerations/0/effect"),
        ({"network": "none"}, "/network"),
        ({"node_selector": {"a\0b": "c"}}, "/node_selector/a\0b"),
        ({"usage": [{"measure": "cost_usd", "pointer": "/a", "where": {"\0": "c"}}]}, "/usage/0/where/\0"),
    ],
)
def test_what_no_profile_may_say(changes: dict[str, Any], at: str) -> None:
    """Each fault with where it is."""
    assert [fault["at"] for fault in convert({"name": "p", **changes}, ProfileSpec)[1]] == [at]


def test_what_is_written_down_opens_nothing() -> None:
    """Short-lived tokens are left out of what a job keeps on its disk."""
    minted = Access(name="a", minted=True, token="short")
    whole = msgspec.structs.replace(PLAIN, read=minted, push=minted, secrets={"A": minted}, token="attempt")

    assert b"short" not in msgspec.json.encode(whole.without_tokens())
    assert b'attempt"' not in msgspec.json.encode(whole.without_tokens()).replace(b'"attempt":', b"")
