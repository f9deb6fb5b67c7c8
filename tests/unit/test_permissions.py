"""Permissions on objects, without a database."""

from __future__ import annotations

from typing import Any

import pytest

from keruta.domain import permissions
from keruta.domain.catalog.access import Access
from keruta.domain.lifecycle import Status
from keruta.domain.principal import Principal
from keruta.domain.users import ApiKeyRequest


def person(name: str, *roles: str, key: str | None = None) -> Principal:
    return Principal(subject=f"id-{name}", name=name, roles=frozenset(roles), key=key)


ADMIN, DEV, OTHER = person("ada", "admin"), person("dan", "developer"), person("olga", "developer")
HOSTS = ["git.example.com"]
URL, ELSEWHERE = "https://git.example.com/a", "https://evil.example.org/a"


def credential(**fields: Any) -> dict[str, Any]:
    return {"name": "bot", "type": "token", "hosts": HOSTS, "access": {"use": ["name:dan"]}, **fields}


def entry(**fields: Any) -> dict[str, Any]:
    return {"name": "app", "url": URL, "read_credential": "bot", "push_credential": None, **fields}


def refused(who: Principal, before: Any, after: Any, **fields: Any) -> str | None:
    said = permissions.naming_refusal(who, "repository", before, after, {"bot": credential(**fields)})
    return said.code if said is not None else None


def test_only_who_may_use_a_credential_names_it() -> None:
    """A grant to use or to manage it, or being an administrator."""
    assert refused(DEV, None, entry()) is None
    assert refused(DEV, None, entry(), access={"manage": ["name:dan"]}) is None
    assert refused(ADMIN, None, entry(), access=None) is None
    assert refused(OTHER, None, entry()) == "credential_not_yours"
    assert refused(DEV, None, entry(), access=None) == "credential_not_yours"
    assert refused(DEV, None, entry(), access={"read": ["name:dan"]}) == "credential_not_yours"


def test_moving_an_entry_needs_a_right_on_its_credential() -> None:
    """An unchanged address and credential need none, so a manager may still change the rest."""
    assert refused(OTHER, entry(), entry(description="new")) is None
    assert refused(OTHER, entry(), entry(url="https://git.example.com/b")) == "credential_not_yours"
    assert refused(OTHER, entry(read_credential=None), entry()) == "credential_not_yours"
    assert refused(OTHER, entry(), entry(push_credential="bot")) == "credential_not_yours"
    assert refused(OTHER, entry(), entry(read_credential=None)) is None


def test_a_credential_without_hosts_is_for_administrators() -> None:
    """Whoever may use it otherwise could send it anywhere."""
    assert refused(DEV, None, entry(), hosts=[]) == "credential_without_hosts"
    assert refused(ADMIN, None, entry(), hosts=[]) is None
    assert refused(DEV, None, entry(), type="github_app", hosts=[]) is None


def test_an_entry_sends_a_credential_to_its_hosts_only() -> None:
    """Also when an administrator writes it; what is not changed is not checked again."""

    def at(before: Any, after: Any, **fields: Any) -> list[str]:
        found = permissions.address_faults("repository", before, after, {"bot": credential(**fields)})
        return [one["at"] for one in found]

    assert at(None, entry()) == []
    assert at(None, entry(url=ELSEWHERE)) == ["/read_credential"]
    assert at(entry(), entry(url=ELSEWHERE, push_credential="bot")) == ["/read_credential", "/push_credential"]
    assert at(entry(url=ELSEWHERE), entry(url=ELSEWHERE, description="x")) == []
    assert at(None, entry(url="https://github.com/a/b"), type="github_app", hosts=[]) == []
    assert at(None, entry(url=ELSEWHERE), type="github_app", hosts=[]) == ["/read_credential"]


def test_a_profile_names_only_credentials_that_its_writer_may_use() -> None:
    """Each variable is looked at by itself."""
    before, after = {"secrets": {"A": "bot"}}, {"secrets": {"A": "bot", "B": "bot"}}
    secret = {"bot": credential(type="secret", hosts=[])}

    assert permissions.naming_refusal(OTHER, "profile", before, before, secret) is None
    assert permissions.naming_refusal(OTHER, "profile", before, after, secret) is not None
    assert permissions.naming_refusal(DEV, "profile", before, after, secret) is None


@pytest.mark.parametrize(
    ("kind", "before", "after", "moved"),
    [
        ("forge", {"type": "github", "credential": "bot"}, {"type": "gitlab"}, True),
        ("forge", {"type": "github", "credential": "bot"}, {"description": "x"}, False),
        ("profile", {"coding_agent": "claude-code", "model_credential": "bot"}, {"coding_agent": "codex"}, True),
        ("profile", {"coding_agent": "aider", "model_credential": "bot", "model": "opus"}, {"model": "gpt"}, True),
        ("profile", {"coding_agent": "codex", "model_credential": "bot"}, {"model": "other"}, False),
    ],
)  # fmt: skip
def test_a_credential_moves_with_what_chooses_its_server(kind: str, before: Any, after: Any, moved: bool) -> None:
    """Also where no address is written: the forge's kind, or the coding agent, has one of its own."""
    known = {"bot": credential(type="secret")}

    for who, refusal in ((OTHER, moved), (DEV, False)):
        assert (permissions.naming_refusal(who, kind, before, {**before, **after}, known) is not None) is refusal


@pytest.mark.parametrize(
    ("who", "roles", "reason"),
    [
        (DEV, ["developer"], None),
        (DEV, ["admin"], "RoleMissing"),
        (person("kay", "developer", key="k1"), ["developer"], "KeyNotAllowed"),
    ],
)
def test_an_api_key_has_no_more_than_its_maker(who: Principal, roles: Any, reason: str | None) -> None:
    """And no API key makes another."""
    refusal = permissions.key_refusal(who, ApiKeyRequest(name="ci", roles=roles))

    assert (refusal[0] if refusal else None) == reason


def test_nobody_shuts_out_themselves() -> None:
    """Neither by disabling nor by giving away the role of administrator."""
    assert permissions.disable_refusal(ADMIN, ADMIN.subject) is not None
    assert permissions.disable_refusal(ADMIN, DEV.subject) is None
    assert permissions.roles_refusal(ADMIN, ADMIN.subject, ["developer"]) is not None
    assert permissions.roles_refusal(ADMIN, ADMIN.subject, ["admin"]) is None
    assert permissions.roles_refusal(ADMIN, DEV.subject, []) is None


def test_a_circuit_is_seen_with_its_entry() -> None:
    """One of an address is seen with its last task."""
    assert permissions.may_see_circuit(DEV, "app", reads_entry=True, reads_task=False)
    assert not permissions.may_see_circuit(DEV, "app", reads_entry=False, reads_task=True)
    assert permissions.may_see_circuit(DEV, "https://example.com/a", reads_entry=False, reads_task=True)
    assert not permissions.may_see_circuit(DEV, "https://example.com/a", reads_entry=False, reads_task=False)
    assert permissions.may_see_circuit(ADMIN, "app", reads_entry=False, reads_task=False)


def test_who_may_run_tasks_on_an_entry_closes_its_circuit() -> None:
    """Without grants everyone with the role."""
    granted = Access(read=["name:olga"], run=["name:dan"])

    assert permissions.close_refusal(DEV, "queue", "q", granted) is None
    assert permissions.close_refusal(OTHER, "queue", "q", granted) is not None
    assert permissions.close_refusal(OTHER, "queue", "q", None) is None


def test_what_has_other_readers_does_not_exist_for_someone() -> None:
    """One name in common is enough, the person's own or a role's."""
    assert permissions.may_read(DEV, ["name:olga", "name:dan"])
    assert permissions.may_read(DEV, ["role:developer"])
    assert not permissions.may_read(DEV, ["name:olga", "role:admin"])
    assert not permissions.may_read(DEV, [])


def test_only_its_managers_change_an_entry() -> None:
    """Everybody else is told that it is not theirs."""
    assert permissions.change_refusal(DEV, "queue", "q", ["name:dan"]) is None
    assert permissions.change_refusal(OTHER, "queue", "q", ["name:dan"]) is not None
    assert permissions.change_refusal(OTHER, "queue", "q", []) is not None


def test_administrators_see_all_keys() -> None:
    """Others their own."""
    assert permissions.sees_all_keys(ADMIN)
    assert not permissions.sees_all_keys(DEV)


def test_an_attempt_is_over_when_nobody_can_hold_it() -> None:
    """One whose outcome is not known may still come back."""
    over = {status for status in Status if permissions.attempt_is_over(status)}

    assert {"succeeded", "failed", "cancelled", "queued", "suspended"} <= over
    assert not over & {"assigned", "preparing", "running", "waiting", "unknown"}


def test_a_credential_without_hosts_is_sent_where_it_was_named() -> None:
    """An administrator named it there; one with hosts goes to these alone."""
    assert permissions.sending_refusal(credential(hosts=[]), ELSEWHERE) is None
    assert permissions.sending_refusal({"name": "old", "type": "token"}, ELSEWHERE) is None
    assert permissions.sending_refusal(credential(), URL) is None
    assert permissions.sending_refusal(credential(), ELSEWHERE) is not None


def test_a_new_profile_names_credentials_like_any_other() -> None:
    """A profile sends credentials nowhere, so their hosts are not checked."""
    secret = {"bot": credential(type="secret")}

    assert permissions.naming_refusal(OTHER, "profile", None, {"secrets": {"A": "bot"}}, secret) is not None
    assert (
        permissions.naming_refusal(OTHER, "profile", {"secrets": None}, {"secrets": {"A": "bot"}}, secret) is not None
    )
    assert permissions.naming_refusal(OTHER, "profile", None, {"secrets": None}, {}) is None
    assert permissions.address_faults("profile", None, {"secrets": {"A": "bot"}}, {"bot": credential()}) == []
