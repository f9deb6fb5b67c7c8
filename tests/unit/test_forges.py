"""What forges send: who signed it, what it says in the same words, and which triggers it starts."""

from __future__ import annotations

import hashlib
import hmac
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from markdown_it import MarkdownIt

from keruta.domain.catalog.triggers import Provider, TriggerSpec
from keruta.domain.decode import convert
from keruta.domain.deliveries import is_of, request_of, too_old, verdict
from keruta.domain.forge_facts import Facts
from keruta.domain.forge_payloads import read_event
from keruta.domain.forge_texts import trimmed
from keruta.domain.forges import ForgeEvent, glob_matches, headers_of, signature_holds
from keruta.domain.task import ResultBranch

URL = "https://git.example.com/team/app.git"
NEW, OLD, NONE = "a" * 40, "b" * 40, "0" * 40


def trigger(**fields: Any) -> TriggerSpec:
    given = {"name": "t", "repository": "app", "provider": "github", "webhook_secret": "s", "events": ["push"],
             "script": "true", **fields}  # fmt: skip
    spec, faults = convert(given, TriggerSpec)
    assert spec is not None, faults
    return spec


def push(ref: str = "refs/heads/main", **fields: Any) -> dict[str, Any]:
    return {
        "ref": ref, "before": OLD, "after": NEW, "repository": {"full_name": "team/app"}, "sender": {"login": "dana"},
        "commits": [{"added": ["docs/a.md"], "modified": [], "removed": []}], **fields,
    }  # fmt: skip


def pull_request(head: int = 1, base: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "action": "opened", "repository": {"full_name": "team/app"},
        "pull_request": {
            "number": 7, "title": "t", "updated_at": "2026-01-02T03:04:05Z", "labels": [{"name": "bug"}],
            "head": {"ref": "fix", "sha": NEW, "repo": {"id": head}}, "base": {"ref": "main", "repo": {"id": base}},
        },
        **fields,
    }  # fmt: skip


def outcome(spec: TriggerSpec, event: ForgeEvent, *, approved: bool = False) -> str:
    found = verdict(spec, event, url=URL, approved=approved)
    return found.said.code or "" if found.said is not None else found.state


@pytest.mark.parametrize(("provider", "prefix"), [("github", "sha256="), ("gitea", "")])
def test_a_body_is_signed_by_any_of_the_secrets(provider: Provider, prefix: str) -> None:
    """Two are there while a secret is changed."""
    signed = prefix + hmac.new(b"new", b"body", hashlib.sha256).hexdigest()

    assert signature_holds(provider, ["new", "old"], signed, b"body")
    assert signature_holds(provider, ["old", "new"], signed, b"body")
    for secrets, given, body in ((["other"], signed, b"body"), (["new"], signed, b"bod"), (["new"], "", b"body"),
                                 (["new"], signed.upper(), b"body"), ([], signed, b"body"),
                                 (["new"], "é", b"body")):  # fmt: skip
        assert not signature_holds(provider, secrets, given, body)


def test_gitlab_sends_the_secret_itself() -> None:
    assert signature_holds("gitlab", ["s"], "s", b"anything")
    assert not signature_holds("gitlab", ["s"], "", b"anything")
    assert not signature_holds("gitlab", [], "", b"anything")


def test_gitea_is_told_by_its_own_headers_though_it_sends_githubs_too() -> None:
    headers = {"x-gitea-event": "push", "x-gitea-delivery": "1", "x-gitea-signature": "a", "x-github-event": "other"}

    assert headers_of("gitea", headers) == ("push", "1", "a")
    assert headers_of("gitlab", headers) == ("", "", "")


def test_a_push_names_its_branch_commit_and_files() -> None:
    event = read_event("github", "push", push())

    assert (event.kind, event.ref, event.commit, event.paths) == ("push", "main", NEW, ["docs/a.md"])


def test_a_tag_is_no_branch() -> None:
    event = read_event("github", "push", push("refs/tags/v1"))

    assert (event.kind, event.ref) == ("tag", "v1")
    assert outcome(trigger(events=["push"]), event) == "delivery_not_wanted"
    assert outcome(trigger(events=["tag"], tags=["v*"]), event) == "start"
    assert outcome(trigger(events=["tag"], tags=["w*"]), event) == "delivery_tag"


def test_gitlabs_events_are_said_in_the_same_words() -> None:
    project = {"path_with_namespace": "team/app"}
    pushed = read_event("gitlab", "Push Hook", {
        "object_kind": "push", "ref": "refs/heads/main", "before": OLD, "after": NEW, "project": project,
        "user_username": "dana", "commits": [], "total_commits_count": 30,
    })  # fmt: skip
    merge = read_event("gitlab", "Merge Request Hook", {
        "object_kind": "merge_request", "project": project, "user": {"username": "dana"}, "labels": [{"title": "bug"}],
        "object_attributes": {
            "iid": 3, "action": "open", "source_branch": "fix", "target_branch": "main", "source_project_id": 2,
            "target_project_id": 1, "last_commit": {"id": NEW}, "updated_at": "2026-01-02 03:04:05 UTC",
        },
    })  # fmt: skip

    assert (pushed.kind, pushed.base, pushed.paths, pushed.sender) == ("push", "main", None, "dana")
    assert (merge.kind, merge.number, merge.fork, merge.labels) == ("pull_request", 3, True, ["bug"])
    assert merge.at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "start"),
        ({"branches": ["main"]}, "start"),
        ({"branches": ["release/*"]}, "delivery_branch"),
        ({"paths": ["docs/*"]}, "start"),
        ({"paths": ["src/*"]}, "delivery_paths"),
        ({"actions": ["opened"]}, "start"),
        ({"events": ["tag", "issue"]}, "delivery_not_wanted"),
        ({"paused": True}, "delivery_paused"),
        ({"labels": ["bug"]}, "start"),
    ],
)
def test_a_push_starts_what_its_filters_let_through(fields: dict[str, Any], said: str) -> None:
    assert outcome(trigger(**fields), read_event("github", "push", push())) == said


def test_a_push_whose_files_are_not_all_named_is_let_through_by_paths() -> None:
    """To run once too often loses less than not to run."""
    event = read_event("gitea", "push", push(total_commits=40))

    assert outcome(trigger(paths=["src/*"]), event) == "start"


@pytest.mark.parametrize("name", ["refs/heads/-x", "refs/heads/--upload-pack=touch a", "refs/tags/-1"])
def test_a_branch_or_tag_that_looks_like_an_option_starts_nothing(name: str) -> None:
    """A script that hands it to git or another program would give that program an option."""
    event = read_event("github", "push", push(ref=name))

    assert outcome(trigger(events=["push", "tag"]), event) == "delivery_ref_like_option"


def test_a_pull_request_from_a_branch_that_looks_like_an_option_starts_nothing() -> None:
    opened = pull_request()
    opened["pull_request"]["head"]["ref"] = "-x"

    assert outcome(trigger(events=["pull_request"]), read_event("github", "pull_request", opened)) == (
        "delivery_ref_like_option"
    )


def test_what_was_deleted_starts_nothing() -> None:
    assert outcome(trigger(), read_event("github", "push", push(after=NONE))) == "delivery_deleted"


def test_a_forks_pull_request_is_held_until_it_is_approved() -> None:
    spec = trigger(events=["pull_request"])
    own, fork = (read_event("github", "pull_request", pull_request(head)) for head in (1, 2))
    gone = pull_request()
    gone["pull_request"]["head"]["repo"] = None

    assert outcome(spec, own) == "start"
    assert outcome(spec, fork) == "delivery_fork"
    assert outcome(spec, fork, approved=True) == "start"
    assert outcome(spec, read_event("github", "pull_request", gone)) == "delivery_fork"
    assert outcome(trigger(events=["pull_request"], forks="ignore"), fork, approved=True) == "delivery_fork_ignored"


def test_a_forks_pull_request_may_run_at_once_without_secrets() -> None:
    """In its own queue, pushing nothing; what was approved, or is the repository's own, runs as usual."""
    spec = trigger(
        events=["pull_request"], forks="without_secrets", fork_queue="forks", result=ResultBranch(branch="b")
    )
    own, fork = (read_event("github", "pull_request", pull_request(head)) for head in (1, 2))

    at_once = verdict(spec, fork, url=URL, approved=False)
    assert (at_once.state, at_once.without_secrets) == ("start", True)
    assert not verdict(spec, own, url=URL, approved=False).without_secrets
    assert not verdict(spec, fork, url=URL, approved=True).without_secrets

    request = request_of(spec, fork, without_secrets=True)
    assert (request.queue, request.result, request.without_secrets) == ("forks", None, True)
    request = request_of(spec, own)
    assert (request.queue, request.result, request.without_secrets) == ("default", spec.result, False)


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({}, ["/fork_queue"]),
        ({"fork_queue": "default"}, ["/fork_queue"]),
        ({"fork_queue": "forks"}, []),
        ({"fork_queue": "forks", "script": None, "prompt": "Fix it."}, ["/prompt"]),
        ({"fork_queue": "forks", "forks": "approve"}, ["/fork_queue"]),
    ],
)
def test_what_runs_without_secrets_has_a_queue_of_its_own(fields: dict[str, Any], at: list[str]) -> None:
    given = {"name": "t", "repository": "app", "provider": "github", "webhook_secret": "s", "events": ["pull_request"],
             "script": "true", "forks": "without_secrets", **fields}  # fmt: skip

    assert [where for where, _ in TriggerSpec(**given).faults()] == at


def test_another_repositorys_event_starts_nothing() -> None:
    event = read_event("github", "push", push(repository={"full_name": "team/other"}))

    assert outcome(trigger(), event) == "delivery_other_repository"
    for url in (URL, "git@git.example.com:team/app.git", "ssh://git@h:22/Team/App", "https://h/git/team/app/"):
        assert is_of(read_event("github", "push", push()), url), url
    assert is_of(read_event("github", "push", push()), URL, "Team/App")
    assert not is_of(read_event("github", "push", push()), URL, "group/team/app"), "another one, of a similar address"
    assert not is_of(ForgeEvent(), URL)
    assert not is_of(ForgeEvent(repository="app"), URL)


@pytest.mark.parametrize("name", ["deployment", "workflow_run", "star", "check_suite", "ping"])
def test_an_unknown_event_is_ignored_in_words(name: str) -> None:
    event = read_event("github", name, {"action": "created", "repository": {"full_name": "team/app"}})

    assert outcome(trigger(), event) == "delivery_unknown_event"
    assert event.identity


@pytest.mark.parametrize("provider", ["github", "gitlab", "gitea"])
@pytest.mark.parametrize("name", ["push", "pull_request", "issue_comment", "issues"])
@pytest.mark.parametrize("wrong", [None, 1, "x", [], {}, [[1]], {"id": True, "number": -1, "sha": "--upload-pack=x"}])
def test_a_payload_of_any_shape_is_read(provider: Provider, name: str, wrong: Any) -> None:
    """Fields that are missing, or of another type, are as if they were not said."""
    fields = (
        "ref",
        "after",
        "repository",
        "pull_request",
        "issue",
        "comment",
        "commits",
        "object_attributes",
        "project",
    )
    for kind in ("push", "merge_request", "note", "issue", wrong):
        event = read_event(provider, name, {"object_kind": kind, **dict.fromkeys(fields, wrong)})
        assert event.commit is None


def test_a_payload_with_ten_thousand_commits_is_read_at_once() -> None:
    commits = [{"added": [f"f{n}"], "modified": [], "removed": []} for n in range(10_000)]
    began = time.process_time()

    event = read_event("github", "push", push(commits=commits, total_commits=10_000))

    assert len(event.paths or ()) == 10_000
    assert outcome(trigger(paths=["*x*y*z*"]), event) == "delivery_paths"
    assert time.process_time() - began < 2


def test_a_pattern_ends_soon_on_any_name() -> None:
    began = time.process_time()
    assert not glob_matches("*a" * 100, "a" * 4000 + "b")
    assert time.process_time() - began < 2


def test_hostile_names_reach_a_script_as_variables_alone() -> None:
    """Neither in its text, nor as an option of git."""
    wild = "--upload-pack=x;$(reboot)`id`\n\0"
    request = pull_request()
    request["pull_request"]["head"]["ref"] = request["pull_request"]["title"] = wild
    made = request_of(trigger(events=["pull_request"]), read_event("github", "pull_request", request))

    assert made.script == "true"
    assert msgspec.to_builtins(made)["repository"]["ref"] == NEW
    assert made.env["KERUTA_PARAM_TITLE"] == "--upload-pack=x;$(reboot)`id`"


def test_the_same_event_has_the_same_identity_and_another_one_has_not() -> None:
    first, again = (read_event("github", "push", push()).identity for _ in range(2))

    assert first == again != read_event("github", "push", push(after="c" * 40)).identity
    assert first != read_event("github", "push", push("refs/heads/other")).identity


def test_labels_that_an_issue_is_opened_with_at_gitea_are_no_second_event() -> None:
    """Gitea tells of them twice. Two that are put on later are two events, within one second too."""

    def labelled(action: str, at: str, *labels: str) -> ForgeEvent:
        issue = {"number": 3, "created_at": "2026-01-02T03:04:05Z", "updated_at": f"2026-01-02T03:04:{at}Z",
                 "labels": [{"name": name} for name in labels]}  # fmt: skip
        return read_event(
            "gitea", "issues", {"action": action, "repository": {"full_name": "team/app"}, "issue": issue}
        )

    opened, again = labelled("opened", "05", "bug"), labelled("label_updated", "05", "bug")
    one, two = labelled("label_updated", "09", "bug", "a"), labelled("label_updated", "09", "bug", "a", "b")

    assert outcome(trigger(provider="gitea", events=["issue"], labels=["bug"]), again) == "start"
    assert opened.identity == again.identity
    assert len({opened.identity, one.identity, two.identity}) == 3


def test_another_label_at_gitea_starts_nothing_where_the_forge_says_which() -> None:
    """Its event names all that are there, so the forge is asked; where it does not say, all of them count."""
    issue = {"number": 3, "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-02T03:05:00Z",
             "labels": [{"name": "keruta"}, {"name": "other"}]}  # fmt: skip
    payload = {"action": "label_updated", "repository": {"full_name": "team/app"}, "issue": issue}
    event = read_event("gitea", "issues", payload)
    spec = trigger(provider=None, events=["issue"], labels=["keruta"], forge="hub")

    def decided(labels: list[str] | None) -> str:
        found = verdict(spec, event, url=URL, approved=False, facts=Facts(labels=labels))
        return found.said.code or "" if found.said is not None else found.state

    assert outcome(spec, event) == "ask"
    assert [decided(labels) for labels in (["other"], ["keruta"], None)] == ["delivery_labels", "start", "start"]
    assert outcome(trigger(provider="gitea", events=["issue"], labels=["keruta"]), event) == "start"
    spec = trigger(provider=None, events=["issue"], labels=["none"], forge="hub")
    assert outcome(spec, event) == "delivery_labels"


@pytest.mark.parametrize(("name", "text", "change"), [
    ("pull_request_approved", "", "silent"), ("pull_request_approved", "Well.", "created"),
    ("pull_request_comment", "", "created"), ("pull_request_rejected", "No.", "created"),
])  # fmt: skip
def test_a_review_at_gitea_starts_what_waits_for_review_comments(name: str, text: str, change: str) -> None:
    """One without words that approves adds nothing; another one has comments on lines, of which Gitea does not tell."""
    event = read_event(
        "gitea", name, {**pull_request(), "action": "reviewed", "review": {"type": name, "content": text}}
    )

    assert (event.kind, event.change) == ("review_comment", change)
    said = outcome(trigger(provider="gitea", events=["review_comment"]), event)
    assert said == ("start" if change == "created" else "delivery_action")


def test_an_event_from_before_what_is_remembered_is_too_old() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    event = read_event("github", "pull_request", pull_request())

    assert not too_old(event, at + timedelta(days=29))
    assert too_old(event, at + timedelta(days=31))
    assert not too_old(read_event("github", "push", push()), at)


@pytest.mark.parametrize(
    "fields",
    [
        {"script": None}, {"prompt": "x"}, {"events": ["push", "issue"], "paths": ["x"]}, {"events": []},
        {"provider": "generic"}, {"events": ["event"]}, {"sources": ["*"]},
        {"events": ["event", "push"], "provider": None, "webhook_secret": None, "sources": ["*"]},
        {"events": ["event"], "provider": "generic", "webhook_secret": None}, {"command": "/keruta fix"},
        {"events": ["comment"], "command": "/keruta fix"}, {"events": ["check_failed"]}, {"permission": "write"},
        {"events": ["comment"], "command": "keruta fix", "forge": "hub", "provider": None},
    ],
)  # fmt: skip
def test_a_trigger_that_can_not_work_is_refused(fields: dict[str, Any]) -> None:
    given = {"name": "t", "repository": "app", "provider": "github", "webhook_secret": "s", "events": ["push"],
             "script": "true", **fields}  # fmt: skip
    assert convert(given, TriggerSpec)[1]


@pytest.mark.parametrize("hidden", ["main\u202e", "ma\u200bin", "main\n", "main\0"])
def test_a_branch_with_hidden_letters_is_not_the_branch_that_it_looks_like(hidden: str) -> None:
    """Whoever may push it has no right to push the protected one."""
    event = read_event("github", "push", push(f"refs/heads/{hidden}"))

    assert outcome(trigger(branches=["main"]), event) == "delivery_branch"
    assert event.parameters["KERUTA_PARAM_REF"].isprintable()


@pytest.mark.parametrize(
    ("kind", "name", "action", "said"),
    [
        ("pull_request", "pull_request", "synchronize", "start"),
        ("pull_request", "pull_request", "synchronized", "start"),
        ("pull_request", "pull_request", "closed", "delivery_action"),
        ("pull_request", "pull_request", "labeled", "delivery_action"),
        ("comment", "issue_comment", "created", "start"),
        ("comment", "issue_comment", "edited", "delivery_action"),
        ("comment", "issue_comment", "deleted", "delivery_action"),
        ("issue", "issues", "opened", "start"),
        ("issue", "issues", "closed", "delivery_action"),
    ],
)
def test_without_actions_what_is_new_starts_a_task(kind: str, name: str, action: str, said: str) -> None:
    event = read_event("github", name, pull_request(action=action, issue={"number": 7}, comment={"id": 1}))

    assert outcome(trigger(events=[kind]), event) == said
    assert outcome(trigger(events=[kind], actions=["*"]), event) == "start"
    assert outcome(trigger(events=[kind], actions=[action]), event) == "start"


def test_gitlabs_update_is_new_commits_or_other_words() -> None:
    def update(**fields: Any) -> ForgeEvent:
        own = {"iid": 3, "action": "update", "source_project_id": 1, "target_project_id": 1,
               "last_commit": {"id": NEW}, **fields.pop("own", {})}  # fmt: skip
        return read_event("gitlab", "Merge Request Hook", {
            "object_kind": "merge_request", "project": {"path_with_namespace": "team/app"}, "object_attributes": own,
            **fields,
        })  # fmt: skip

    labels = {"labels": {"previous": [], "current": [{"title": "bug"}]}}
    spec = trigger(provider="gitlab", events=["pull_request"])
    assert outcome(spec, update(own={"oldrev": OLD})) == "start"
    assert outcome(spec, update(changes={"title": {"previous": "a", "current": "b"}})) == "delivery_action"
    assert outcome(spec, update(changes={"draft": {"previous": True, "current": False}})) == "start"
    assert (
        outcome(trigger(provider="gitlab", events=["pull_request"], labels=["bug"]), update(changes=labels)) == "start"
    )


def test_a_comment_that_was_edited_today_is_not_as_old_as_itself() -> None:
    comment = {"id": 1, "created_at": "2020-01-01T00:00:00Z", "updated_at": "2026-01-02T03:04:05Z"}
    event = read_event("github", "issue_comment", {"action": "edited", "comment": comment})

    assert not too_old(event, datetime(2026, 1, 3, tzinfo=UTC))


def test_an_annotated_tag_is_checked_out_by_its_commit() -> None:
    tag = push("refs/tags/v1", head_commit={"id": OLD})
    gitlab = {"object_kind": "tag_push", "ref": "refs/tags/v1", "after": NEW, "checkout_sha": OLD}

    assert read_event("github", "push", tag).commit == OLD
    assert read_event("gitlab", "Tag Push Hook", gitlab).commit == OLD


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "x", 7])
def test_a_time_that_no_calendar_has_is_none(at: Any) -> None:
    request = pull_request()
    request["pull_request"]["updated_at"] = at

    assert read_event("github", "pull_request", request).at is None


def test_the_files_of_a_push_are_bounded_beside_its_body() -> None:
    commits = [{"added": ["x" * 4000 for _ in range(300)], "modified": [], "removed": []}]

    assert read_event("github", "push", push(commits=commits)).paths is None


def test_what_keruta_itself_has_caused_starts_nothing_unless_it_is_asked_for() -> None:
    """Its comments and pull requests, by their mark; pushes to its result branch, by their name."""
    words = {"comment": {"id": 1, "body": "x <!-- keruta: t -->"}, "issue": {"number": 7}}
    comment = read_event("github", "issue_comment", {**pull_request(action="created"), **words})
    opened = pull_request()
    opened["pull_request"]["body"] = "<!-- keruta: t -->"
    branch = {"result": {"branch": "fix"}}

    assert outcome(trigger(events=["comment"]), comment) == "delivery_own"
    assert outcome(trigger(events=["comment"], from_keruta=True), comment) == "start"
    assert outcome(trigger(events=["pull_request"]), read_event("github", "pull_request", opened)) == "delivery_own"
    assert outcome(trigger(**branch), read_event("github", "push", push("refs/heads/fix"))) == "delivery_own"
    assert outcome(trigger(**branch), read_event("github", "push", push())) == "start"


@pytest.mark.parametrize(
    "text",
    ["![a](https://e/x.png)", "![a][b]\n\n[b]: https://e/x.png", "<img src=x>", "a <b>c</b>", "[![i](//e)](//e)"],
)
def test_an_answer_is_shown_at_a_forge_without_images_or_html(text: str) -> None:
    shown = trimmed(text)
    tokens = MarkdownIt("commonmark", {"html": True}).parse(shown)
    kinds = {inner.type for token in tokens for inner in (token, *(token.children or ()))}

    assert not kinds & {"image", "html_inline", "html_block"}


def test_an_answer_without_images_is_shown_as_it_is_but_notifies_nobody() -> None:
    assert trimmed("`a < b` and **c**\n\n```\n<img>\n```") == "`a < b` and **c**\n\n```\n<img>\n```"
    assert "@dana" not in trimmed("thanks @dana")
