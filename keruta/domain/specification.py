"""All that an agent needs to make one attempt: the task as it was asked for, and what it draws on, looked up."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from keruta.domain.catalog.caches import CacheRule
from keruta.domain.catalog.coding_agents import CodingAgentOptions
from keruta.domain.catalog.documents import DocumentRef
from keruta.domain.catalog.pods import PodOptions
from keruta.domain.catalog.profiles import PromptCommand, Resources, Toleration, UsageRule
from keruta.domain.commit_rules import CommitIdentity
from keruta.domain.messages import Message, read_message
from keruta.domain.naming import attempt_id
from keruta.domain.task import DEFAULT_TIMEOUT_SECONDS, RepositoryRef, ResultBranch


class Access(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An agent's access to a credential, and the credential's public fields.

    Exactly one of these holds: `sealed`, to be opened with this machine's key; `secret`, the Kubernetes Secret that the
    agent mounts; `minted`, a short-lived token that only `GET /agent/v1/tasks/{id}/attempts/{n}` fills into `token`.
    """

    name: str
    revision: int = 0
    kind: str = "token"
    username: str = ""
    known_hosts: str = ""
    sealed: bytes | None = None
    secret: str | None = None
    minted: bool = False
    token: str | None = None


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Reason that the attempt can't run: a catalog entry that it needs was deleted."""

    reason: str
    message: str
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None

    @property
    def said(self) -> Message:
        return read_message(self.message, self.message_code, self.message_arguments)


class Placement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The profile's requirements of the place where the script runs."""

    image: str | None = None
    resources: Resources = Resources()
    network: str = "open"
    node_selector: dict[str, str] = {}
    tolerations: list[Toleration] = []
    agent_memory: str | None = None
    pod: PodOptions = PodOptions()


class Caches(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The dependency caches of an attempt.

    Args:
        scope: the directory of the repository's entries; no other repository has the same.
        writes: whether an attempt at the default branch may store entries; at any other ref it never does.
        pushed_ref: the branch whose push started the task, which has the commit alone as its ref.
    """

    rules: list[CacheRule] = []
    scope: str = ""
    writes: bool = False
    pushed_ref: str | None = None


class EarlierPush(msgspec.Struct, frozen=True, kw_only=True):
    """A push of an earlier attempt of the same task, done or about to be done when that attempt last reported."""

    branch: str
    commit: str


class KeptWork(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The work of an earlier attempt, which is pushed instead of running a script; and how that attempt had ended.

    Args:
        commit: what had been checked out.
    """

    attempt: int
    commit: str
    status: Literal["succeeded", "failed", "cancelled"]
    reason: str | None = None
    message: str | None = None
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None
    exit_code: int | None = None

    @property
    def said(self) -> Message | None:
        """Reason of that end."""
        if self.message is None and self.message_code is None:
            return None
        return read_message(self.message, self.message_code, self.message_arguments)


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """Access that an attempt's script had: an attempt that resumes its session gets no more.

    Args:
        secrets: credentials' names, by the script's variables.
        model: the credential of its model.
    """

    secrets: Annotated[dict[str, Annotated[str, Meta(max_length=100)]], Meta(max_length=100)] = {}
    model: Annotated[str, Meta(max_length=100)] | None = None
    network: Literal["open", "closed"] = "open"
    fetch_more: bool = True
    volumes: Annotated[list[Annotated[str, Meta(max_length=300)]], Meta(max_length=20)] = []


class Resume(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The coding agent's session that an attempt resumes, instead of beginning anew.

    Args:
        task: whose attempt it was; None for an earlier one of the same task.
        question: what was asked then.
        answers: what people sent since, in order.
    """

    attempt: int
    task: str | None = None
    question: str = ""
    answers: list[str] = []


class SnapshotKeys(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Keys of stored sessions, in no other answer of keruta: this attempt's, and that of the one it resumes."""

    own: bytes
    resumed: bytes | None = None


class Specification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt's specification."""

    task: str
    attempt: int
    repository: RepositoryRef
    script: str | None = None
    command: list[str] | None = None
    prompt: str | None = None
    prompt_command: PromptCommand | None = None
    coding_agent: CodingAgentOptions | None = None
    model_access: Access | None = None
    check: str | None = None
    setup: list[str] = []
    env: dict[str, str] = {}
    secrets: dict[str, Access] = {}
    read: Access | None = None
    push: Access | None = None
    documents: list[DocumentRef] = []
    profile: str = ""
    profile_revision: int = 0
    placement: Placement = Placement()
    unhonoured: list[str] = []
    usage: list[UsageRule] = []
    lfs: bool = False
    fetch_more: bool = True
    without_secrets: bool = False
    allowed_refs: list[str] = []
    caches: Caches = Caches()
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS
    result_branch: str | None = None
    result: ResultBranch | None = None
    pushed_earlier: list[EarlierPush] = []
    kept_work: KeptWork | None = None
    resume: Resume | None = None
    snapshot_keys: SnapshotKeys | None = None
    identity: CommitIdentity = CommitIdentity()
    commit_message: str = ""
    log_limit_bytes: int = 16 * 1024 * 1024
    fault: Fault | None = None
    token: str | None = None

    @property
    def wanted_result(self) -> ResultBranch | None:
        """The wanted result branch. A task stored by an earlier version has only its name."""
        if self.result is None and self.result_branch is not None:
            return ResultBranch(branch=self.result_branch)
        return self.result

    @property
    def resumed_attempt(self) -> str | None:
        """The id of the attempt whose session this one resumes."""
        return attempt_id(self.resume.task or self.task, self.resume.attempt) if self.resume is not None else None

    @property
    def accesses(self) -> list[Access]:
        """Every credential that the attempt has."""
        return [one for one in (self.read, self.push, self.model_access, *self.secrets.values()) if one is not None]

    @property
    def clone_cache_name(self) -> str:
        """The clone cache's directory for what this attempt reads: one for each address and credential.

        A credential's new value is a new revision: who lost the right to read finds nothing.
        """
        reader = f"{self.read.name}@{self.read.revision}" if self.read is not None else None
        return hashlib.sha256(repr((self.repository.url, reader)).encode()).hexdigest()[:32]

    def without_tokens(self) -> Specification:
        """Return a copy without tokens, which may be written to disk."""

        def bare(access: Access | None) -> Access | None:
            return msgspec.structs.replace(access, token=None) if access is not None else None

        secrets = {name: msgspec.structs.replace(access, token=None) for name, access in self.secrets.items()}
        model = bare(self.model_access)
        return msgspec.structs.replace(
            self,
            token=None,
            snapshot_keys=None,
            read=bare(self.read),
            push=bare(self.push),
            secrets=secrets,
            model_access=model,
        )


def granted(specification: Specification) -> Granted:
    """Return the access that an attempt's script has."""
    placement = specification.placement
    return Granted(
        secrets={variable: access.name for variable, access in specification.secrets.items()},
        model=specification.model_access.name if specification.model_access is not None else None,
        network="closed" if placement.network == "closed" else "open",
        fetch_more=specification.fetch_more,
        volumes=list(placement.pod.volumes),
    )


def without_secrets(specification: Specification) -> Specification:
    """Return the specification for what nobody has looked at: no credential but what the agent reads the repository
    with, a closed network, no volume that others use, nothing to push.
    """
    placement, repository = specification.placement, specification.repository
    if specification.read is not None:  # a submodule may name what the credential opens beside this repository
        repository = msgspec.structs.replace(repository, submodules=False)
    return msgspec.structs.replace(
        specification,
        without_secrets=True, secrets={}, model_access=None, push=None, result=None, result_branch=None, resume=None,
        kept_work=None, fetch_more=False, repository=repository, caches=Caches(),
        placement=msgspec.structs.replace(
            placement, network="closed", pod=msgspec.structs.replace(placement.pod, volumes=[])
        ),
    )  # fmt: skip


def within(specification: Specification, limit: Granted) -> Specification:
    """Return the specification without access that an earlier attempt's script lacked.

    Args:
        limit: what that one had; a profile may have been changed since.
    """
    placement = specification.placement
    volumes = [one for one in placement.pod.volumes if one in limit.volumes]
    return msgspec.structs.replace(
        specification,
        secrets={
            variable: access
            for variable, access in specification.secrets.items()
            if limit.secrets.get(variable) == access.name
        },
        fetch_more=specification.fetch_more and limit.fetch_more,
        placement=msgspec.structs.replace(
            placement,
            network="closed" if limit.network == "closed" else placement.network,
            pod=msgspec.structs.replace(placement.pod, volumes=volumes),
        ),
    )
