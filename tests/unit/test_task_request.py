"""The body of a submit: every fault at once, each with where it is."""

from __future__ import annotations

from typing import Any

import pytest

from keruta.domain.decode import convert
from keruta.domain.json_reading import FaultyJsonError, decode_json
from keruta.domain.repository import is_commit, ref_fault, transport, url_fault
from keruta.domain.task import TaskRequest

GOOD: dict[str, Any] = {"repository": {"url": "https://example.com/a.git"}, "script": "true"}


def faults(**changes: Any) -> dict[str, str]:
    body = {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}
    return {fault["at"]: fault["message"] for fault in convert(body, TaskRequest)[1]}


def test_the_least_that_a_task_needs() -> None:
    value, found = convert(GOOD, TaskRequest)

    assert found == []
    assert value is not None
    assert (value.queue, value.priority, value.retry, value.profile) == ("default", None, None, None)


def test_every_fault_is_told_at_once() -> None:
    """Not the first only: a person mends a document in one go."""
    found = faults(
        repository={"url": "ext::sh", "ref": "-x", "more": 1},
        queue="Not A Queue",
        priority=101,
        env={"1A": "x", "KERUTA_X": "y"},
        labels={"": "x"},
        retry={"policy": "sometimes"},
        nmae="typo",
        timeout_seconds="1",
    )

    assert set(found) == {
        "/repository/more", "/queue", "/priority", "/env/1A", "/env/KERUTA_X", "/labels/", "/retry/policy", "/nmae",
        "/timeout_seconds", "/repository/url", "/repository/ref",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"script": ...}, ""),
        ({"command": ["true"]}, ""),
        ({"script": ..., "command": []}, "/command"),
        ({"script": 5}, "/script"),
        ({"script": "x" * (256 * 1024 + 1)}, "/script"),
        ({"script": "あ" * (100 * 1024)}, "/script"),
        ({"script": "a\0b"}, "/script"),
        ({"env": {f"A{n}": "" for n in range(101)}}, "/env"),
        ({"env": {"A": "x" * 65537}}, "/env"),
        ({"env": {"A": 1, "B": "x"}}, "/env/A"),
        ({"labels": {f"a{n}": "" for n in range(33)}}, "/labels"),
        ({"retry": {"max_attempts": 0}}, "/retry/max_attempts"),
        ({"result_branch": "-f"}, "/result_branch"),
        ({"result_branch": "a..b"}, "/result_branch"),
        ({"name": "a\nb"}, "/name"),
        ({"timeout_seconds": 0}, "/timeout_seconds"),
        ({"repository": ...}, "/repository"),
        ({"repository": None}, "/repository"),
        ({"repository": {}}, "/repository"),
        ({"repository": {"url": "https://a/b", "name": "c"}}, "/repository"),
        ({"repository": {"name": "a", "depth": "all"}}, "/repository/depth"),
        ({"repository": {"name": "a", "depth": 0}}, "/repository/depth"),
        ({"repository": {"name": "a", "tags": "yes"}}, "/repository/tags"),
        ({"repository": "No/Such"}, "/repository"),
        ({"documents": ["a", "tag:"]}, "/documents/1"),
        ({"documents": ["../x"]}, "/documents/0"),
        ({"without_secrets": True, "result_branch": "a"}, "/result"),
        ({"without_secrets": True, "script": None, "prompt": "x"}, "/prompt"),
    ],
)
def test_one_fault_and_where_it_is(changes: dict[str, Any], at: str) -> None:
    assert list(faults(**changes)) == [at]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json_empty"),
        (b" \n", "json_empty"),
        (b"{", "json_ends"),
        (b'{"a": "b', "json_ends"),
        (b'"\\ud8', "json_ends"),
        (b"[" * 100_000, "json_too_deep"),
        (b"\xff", "json_at"),
        (b'{"a": NaN}', "json_at"),
        (b"[1] 2", "json_at"),
        (b'"a\xffb"', "json_not_utf8"),
        (b'"\xed\xa0\x80"', "json_not_utf8"),
        (b"\xef\xbb\xbf{}", "json_mark"),
        (b'{"a": "\\ud800"}', "json_half_pair"),
        (b'{"a": "\\ud800xyzxyzxyz"}', "json_half_pair"),
        (b'{"a": "\\uDFFF"}', "json_half_pair"),
        (b'{"a": "\\ud83d\\ude00\\udc00"}', "json_half_pair"),
        (b'{"a": "\\udc00\\ud800"}', "json_half_pair"),
        (b'{"a": "\\ud800\\u0041"}', "json_half_pair"),
        (b'{"a": "\\\\ud800', "json_ends"),
    ],
)
def test_what_is_not_json_is_a_true_sentence(body: bytes, code: str) -> None:
    """Half of a surrogate pair is no end, and an end is no half."""
    with pytest.raises(FaultyJsonError) as raised:
        decode_json(body)

    assert raised.value.said.code == code


@pytest.mark.parametrize("value", [None, [], "text", 1, True])
def test_a_document_that_is_no_object(value: Any) -> None:
    assert convert(value, TaskRequest)[1][0]["at"] == ""


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://example.com/a.git", "https"),
        ("http://127.0.0.1:8080/a", "http"),
        ("ssh://git@example.com:22/a", "ssh"),
        ("git@example.com:a/b.git", "ssh"),
        ("file:///a", "file"),
        ("HTTPS://example.com/a", None),
        ("ext::sh -c x", None),
        ("--upload-pack=x", None),
        ("-oProxyCommand=x:y", None),
        ("git://example.com/a", None),
        ("/etc/passwd", None),
        ("../x", None),
        ("fd::17", None),
        ("https://example.com/a b", None),
        ("a@-oProxyCommand=x:y", None),
        ("", None),
    ],
)
def test_what_git_would_take_an_address_for(url: str, kind: str | None) -> None:
    assert transport(url) == kind


@pytest.mark.parametrize(
    "url",
    [
        "https://user:token@example.com/a",
        "https://token@example.com/a",
        "https:///a",
        "ssh://-oProxyCommand=x/a",
        "http://[x/a",
    ],
)
def test_addresses_that_hold_what_they_must_not(url: str) -> None:
    assert url_fault(url)


@pytest.mark.parametrize("path", ["a", "a/b/", "日本 語", "a*[b]", ".github", '"x"'])
def test_good_paths(path: str) -> None:
    """Directories of any name."""
    assert faults(repository={"url": "https://example.com/a.git", "paths": [path]}) == {}


@pytest.mark.parametrize("path", ["/a", "a//b", "../a", "a/./b", "a\nb", ".git", "a/.GIT/b", "/", "a" * 256, "\ud800"])
def test_bad_paths(path: str) -> None:
    """Paths that lead outside, or could not be in any repository."""
    found = faults(repository={"url": "https://example.com/a.git", "paths": ["ok", path]})

    assert found == {
        "/repository/paths/1": "Name a directory by its path from the top of the repository, such as services/api."
    }


@pytest.mark.parametrize("ref", ["main", "feature/x", "v1.0", "refs/heads/main", "a" * 40, "日本語"])
def test_good_refs(ref: str) -> None:
    assert ref_fault(ref) is None


@pytest.mark.parametrize(
    "ref", ["-x", "a..b", "a b", "a~1", "a^", "a:b", "@{1}", "@", "a.lock", "/a", "a/", "a\n", "x*", "a//b", "a."]
)
def test_bad_refs(ref: str) -> None:
    assert ref_fault(ref)


def test_only_a_whole_commit_is_one() -> None:
    assert is_commit("a" * 40)
    assert not is_commit("a" * 39)


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"env": {"A": "あ" * 22_000}}, "/env"),
        ({"env": {f"A{n}": "é" * 400 for n in range(99)}}, "/env"),
        ({"script": ..., "command": ["echo", "📷" * 30_001]}, "/command/1"),
    ],
)
def test_limits_count_bytes_where_the_system_does(changes: dict[str, Any], at: str) -> None:
    """Text of characters with several bytes is held to the limit of the program that takes it."""
    assert at in faults(**changes)


@pytest.mark.parametrize(
    ("ref", "patterns", "allowed"),
    [
        ("main", ["main"], True),
        ("origin/main", ["main", "origin/main"], True),
        ("origin/secret", ["origin/*"], False),
        ("pull/7/head", ["pull/*", "refs/pull/*"], True),
        ("merge-requests/7/head", ["merge-*"], False),
        ("heads/secret", ["heads/*"], False),
        ("refs/remotes/origin/secret", ["refs/remotes/*"], False),
        ("A" * 40, ["main", "AAA*"], False),
        ("A" * 40, ["*"], True),
    ],
)
def test_a_ref_is_allowed_by_everything_that_it_may_stand_for(ref: str, patterns: list[str], allowed: bool) -> None:
    """A name of a clone's, such as origin/secret, opens no branch that is not allowed."""
    from keruta.domain.catalog.repositories import RepositorySpec

    assert RepositorySpec(name="a", url="https://example.com/a.git", allowed_refs=patterns).allows(ref) is allowed
