"""A task as it is asked for, as it is read, and as an attempt's agent gets it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from keruta.domain.catalog.caches import CacheRule, CacheRules, rules_faults
from keruta.domain.catalog.documents import DocumentRef
from keruta.domain.catalog.profiles import ARGUMENT_LIMIT_BYTES, ENV_LIMIT_BYTES, environment_bytes
from keruta.domain.messages import Message, message
from keruta.domain.naming import ENV_NAME, LABEL_KEY, NAME, holds_control
from keruta.domain.repository import Depth, Paths, branch_fault, paths_faults, ref_fault, url_fault

SCRIPT_LIMIT_BYTES = 256 * 1024
BODY_LIMIT_BYTES = 1024 * 1024
ENV_LIMIT = 100
LABELS_LIMIT = 32
INPUT_LIMIT_BYTES = 64 * 1024
DEFAULT_TIMEOUT_SECONDS = 3600

IfExists = Literal["fail", "update", "replace", "suffix"]
Policy = Literal["never", "if_not_started", "always"]
StatusName = Literal[
    "queued", "assigned", "preparing", "running", "waiting", "suspended", "unknown", "succeeded", "failed", "cancelled"
]
Text = Annotated[str, Meta(max_length=SCRIPT_LIMIT_BYTES)]
Problems = Iterator[tuple[str, Message | str]]
NAME_SAID = message("field_name")


class RepositoryRef(msgspec.Struct, frozen=True, kw_only=True):
    """A repository at a ref. Without a ref: the server's default branch. `name`: by what the catalog knows it.

    Args:
        depth: how many commits of the ref are fetched; `full`: all branches with their whole history.
        tags: whether all tags are fetched.
        paths: the directories that are checked out, with the files beside and above them; empty for all.
    """

    url: str
    ref: str | None = None
    submodules: bool = False
    depth: Depth = 1
    tags: bool = False
    paths: tuple[str, ...] = ()
    name: str | None = None


class RepositoryAsk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The repository that a task asks for: by its name in the catalog, or by its address."""

    name: Annotated[str, Meta(min_length=1, max_length=63)] | None = None
    url: (
        Annotated[str, Meta(min_length=1, max_length=2048, description="https://, ssh:// or user@host:path")] | None
    ) = None
    ref: Annotated[str, Meta(min_length=1, max_length=255, description="branch, tag or commit")] | None = None
    submodules: bool | None = None
    depth: Depth | None = None
    tags: bool | None = None
    paths: Paths | None = None

    def faults(self) -> Problems:
        if (self.name is None) == (self.url is None):
            yield "", message("field_name_or_url")
        if self.url is not None and (wrong := url_fault(self.url)):
            yield "/url", wrong
        if self.name is not None and not NAME.fullmatch(self.name):
            yield "/name", NAME_SAID
        if self.ref is not None and (wrong := ref_fault(self.ref)):
            yield "/ref", wrong
        yield from paths_faults(self.paths)


class ResultBranch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The branch that a task's result is pushed to.

    Args:
        if_exists: where the branch is there already: `fail`; `update`, adding commits to it (fast-forward only);
            `replace`, unless somebody changes it meanwhile; or `suffix`, taking the next free name.
    """

    branch: Annotated[str, Meta(min_length=1, max_length=200)]
    if_exists: IfExists = "fail"


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rules for repeating an attempt that was lost."""

    policy: Policy = "if_not_started"
    max_attempts: Annotated[int, Meta(ge=1, le=20)] = 3


class TaskRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/tasks`. Exactly one of script, command and prompt is given.

    Args:
        without_secrets: for what nobody has looked at: no credential but what the agent reads the repository with, a
            closed network, no cache, and nothing is pushed.
    """

    repository: RepositoryAsk | Annotated[str, Meta(min_length=1, max_length=63)]
    script: Text | None = None
    command: Annotated[list[Annotated[str, Meta(max_length=32768)]], Meta(min_length=1, max_length=256)] | None = None
    prompt: Text | None = None
    check: Text | None = None
    name: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    queue: Annotated[str, Meta(min_length=1, max_length=63)] = "default"
    profile: Annotated[str, Meta(min_length=1, max_length=63)] | None = None
    documents: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=70, description="a document's name, or tag:NAME")]],
        Meta(max_length=50),
    ] = []
    priority: Annotated[int, Meta(ge=-100, le=100)] | None = None
    env: Annotated[dict[str, str], Meta(max_length=ENV_LIMIT)] = {}
    timeout_seconds: Annotated[int, Meta(ge=1, le=7 * 86400)] | None = None
    retry: RetryPolicy | None = None
    result_branch: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    result: ResultBranch | None = None
    provenance: bool | None = None
    cache: CacheRules | None = None
    without_secrets: bool = False
    labels: Annotated[dict[str, Annotated[str, Meta(max_length=200)]], Meta(max_length=LABELS_LIMIT)] = {}

    def faults(self) -> Problems:
        given = [name for name in ("script", "command", "prompt") if getattr(self, name) is not None]
        if len(given) != 1:
            yield "", message("field_one_of", given=_given(given))
        for name in ("script", "prompt", "check"):
            yield from _text_faults(f"/{name}", getattr(self, name))
        for number, part in enumerate(self.command or ()):
            yield from _text_faults(f"/command/{number}", part)
            if _size_bytes(part) > ARGUMENT_LIMIT_BYTES:
                yield f"/command/{number}", message("field_argument_too_large", limit=ARGUMENT_LIMIT_BYTES)
        if isinstance(self.repository, str) and not NAME.fullmatch(self.repository):
            yield "/repository", message("field_repository_name", rule=NAME_SAID)
        for field in ("queue", "profile"):
            if (name := getattr(self, field)) is not None and not NAME.fullmatch(name):
                yield f"/{field}", NAME_SAID
        for number, wanted in enumerate(self.documents):
            if not NAME.fullmatch(wanted) and not (wanted.startswith("tag:") and len(wanted) > 4):
                yield f"/documents/{number}", message("field_document")
        yield from _env_faults(self.env)
        yield from rules_faults(self.cache)
        for key in self.labels:
            if not LABEL_KEY.fullmatch(key):
                yield f"/labels/{key[:80]}", message("field_label")
        if self.result_branch is not None and (wrong := branch_fault(self.result_branch)):
            yield "/result_branch", wrong
        if self.result is not None and (wrong := branch_fault(self.result.branch)):
            yield "/result/branch", wrong
        if self.result is not None and self.result_branch not in (None, self.result.branch):
            yield "/result_branch", message("branch_twice")
        if self.name is not None and holds_control(self.name):
            yield "/name", message("field_control_characters")
        if self.without_secrets and self.wanted_result is not None:
            yield "/result", message("without_secrets_result")
        if self.without_secrets and self.prompt is not None:
            yield "/prompt", message("without_secrets_prompt")

    @property
    def wanted_result(self) -> ResultBranch | None:
        """The wanted result branch, from `result` or from `result_branch`, its short form."""
        if self.result is None and self.result_branch is not None:
            return ResultBranch(branch=self.result_branch)
        return self.result


def _given(names: list[str]) -> Message:
    match names:
        case [one, other]:
            return message("field_two_given", one=one, other=other)
        case [one, other, third]:
            return message("field_three_given", one=one, other=other, third=third)
        case _:
            return message("field_none_given")


def _size_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _text_faults(at: str, text: str | None) -> Problems:
    if text is None:
        return
    if _size_bytes(text) > SCRIPT_LIMIT_BYTES:
        yield at, message("field_script_too_large", limit=SCRIPT_LIMIT_BYTES // 1024)
    if "\0" in text:
        yield at, message("field_nul_in_shell")


def _env_faults(env: dict[str, str]) -> Problems:
    if environment_bytes(env) > ENV_LIMIT_BYTES:
        yield "/env", message("field_env_too_large", limit=ENV_LIMIT_BYTES // 1024)
    for name, value in env.items():
        if not ENV_NAME.fullmatch(name):
            yield f"/env/{name[:80]}", message("field_variable_name")
        elif name.startswith("KERUTA_") and not name.startswith("KERUTA_PARAM_"):  # a task that is submitted again
            yield f"/env/{name[:80]}", message("field_variable_reserved")
        if "\0" in value:
            yield f"/env/{name[:80]}", message("field_nul")


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a script left in $KERUTA_ARTIFACTS."""

    path: str
    size_bytes: int
    sha256: str


class PushRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request to push kept work. Without a branch, it goes to the branch that the task asked for.

    Args:
        if_exists: as in `ResultBranch`; without it as the task asked for, and `fail` for another branch.
    """

    branch: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    if_exists: IfExists | None = None

    def faults(self) -> Problems:
        if self.branch is not None and (wrong := branch_fault(self.branch)):
            yield "/branch", wrong


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's note about an attempt, for a person."""

    message: str
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None


class AttemptView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try at a task. Once it has ended, nothing changes of it.

    Args:
        pushes: the earlier attempt whose kept work this one pushes; it runs no script.
        resumes: the earlier attempt whose coding agent's session this one resumed.
        model: what a coding agent used.
        answer: a coding agent's last text, in Markdown.
        image: what its script ran in; None where scripts are processes of the worker's machine.
        image_id: what the cluster had resolved that image to; on record of tasks with `provenance` alone.
    """

    number: int
    worker: str
    assigned_at: datetime
    execution: str | None = None
    commit: str | None = None
    pushes: int | None = None
    resumes: int | None = None
    result_branch: str | None = None
    result_commit: str | None = None
    preparing_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    reason: str | None = None
    message: str | None = None
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None
    exit_code: int | None = None
    signal: int | None = None
    profile_revision: int | None = None
    image: str | None = None
    image_id: str | None = None
    notes: list[str] = []
    noted: list[Note] = []
    usage: dict[str, float] = {}
    model: str = ""
    answer: str = ""
    outputs: dict[str, str] = {}
    artifacts: list[Artifact] = []
    log_bytes: int = 0


class WaitingView(msgspec.Struct, frozen=True, kw_only=True):
    """Reason that a task waits, and the number of tasks before it."""

    position: int
    why: str
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None


class LogView(msgspec.Struct, frozen=True, kw_only=True):
    """Size of the log, and its last lines."""

    bytes: int = 0
    next_sequence: int = 0
    tail: str = ""


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a task's status."""

    status: StatusName
    at: datetime
    attempt: int = 0


class Origin(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The event for which a trigger started a task.

    Args:
        forge: where it is reported to; None where it is reported nowhere.
        repository: its owner and name at that forge.
        at: when the event happened, as the forge says.
        level: how many tasks of keruta's own lead to this one, each by an event that the one before has caused.
    """

    trigger: str
    event: str
    forge: str | None = None
    repository: str | None = None
    ref: str | None = None
    base: str | None = None
    commit: str | None = None
    number: int | None = None
    pull_request: bool = False
    sender: str | None = None
    title: str | None = None
    url: str | None = None
    at: datetime | None = None
    level: int = 0


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task as the API shows it.

    Args:
        work_kept_by: the attempt whose work is among its artifacts, and can be pushed.
        answer: the last attempt's.
        provenance: whether each attempt gets a signed statement of what it did.
        cache: its own dependency caches; None where it has those of its repository and profile.
        without_secrets: whether it runs without credentials, with a closed network.
        answer_until: when a suspended task fails for want of an answer.
        origin: what a trigger started it for.
    """

    id: str
    status: StatusName
    name: str | None
    owner: str
    queue: str
    priority: int
    labels: dict[str, str]
    repository: RepositoryRef
    profile: str
    documents: list[DocumentRef]
    retry: RetryPolicy
    timeout_seconds: int
    created_at: datetime
    changed_at: datetime
    reason: str | None = None
    message: str | None = None
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None
    exit_code: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    question: str | None = None
    answer_until: datetime | None = None
    script: str | None = None
    command: list[str] | None = None
    prompt: str | None = None
    check: str | None = None
    env: dict[str, str] = {}
    result_branch: str | None = None
    result: ResultBranch | None = None
    provenance: bool = False
    cache: list[CacheRule] | None = None
    without_secrets: bool = False
    work_kept_by: int | None = None
    attempts: list[AttemptView] = []
    outputs: dict[str, str] = {}
    answer: str = ""
    artifacts: list[Artifact] = []
    log: LogView = LogView()
    history: list[HistoryEntry] = []
    waiting: WaitingView | None = None
    origin: Origin | None = None

    @property
    def summary(self) -> TaskSummary:
        """Return what a list shows of it."""
        return TaskSummary(**{name: getattr(self, name) for name in TaskSummary.__struct_fields__})

    def attempt(self, number: int | None) -> AttemptView | None:
        """The attempt of this number, or the last one; None if there is no such attempt."""
        if number is None:
            return self.attempts[-1] if self.attempts else None
        return next((one for one in self.attempts if one.number == number), None)


class TaskSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A task as a list shows it."""

    id: str
    status: StatusName
    name: str | None
    owner: str
    queue: str
    priority: int
    labels: dict[str, str]
    repository: RepositoryRef
    profile: str
    created_at: datetime
    changed_at: datetime
    reason: str | None = None
    message: str | None = None
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None
    exit_code: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list. `next` is the cursor of the page after it, null on the last."""

    items: list[TaskSummary]
    next: str | None = None


class InputRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line for a script that waits for one."""

    text: Annotated[str, Meta(max_length=INPUT_LIMIT_BYTES)]


class EarlierSession(msgspec.Struct, frozen=True, kw_only=True):
    """The coding agent's session that a task goes on with, where it is still stored: of a task of the same submitter.

    `prompt` is what the session is told then; without it, the task's own prompt holds what was said before as text.
    """

    task: str
    attempt: int
    prompt: str


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that has passed every check, with what it draws on looked up, and is to be stored.

    Args:
        secrets: credentials' names by variables of the script, beside those of its profile.
    """

    id: str
    request: TaskRequest
    owner: str
    repository: RepositoryRef
    profile: str
    priority: int = 0
    retry: RetryPolicy = RetryPolicy()
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS
    documents: tuple[DocumentRef, ...] = ()
    provenance: bool = False
    origin: Origin | None = None
    session: EarlierSession | None = None
    secrets: dict[str, str] = {}
    readers: tuple[str, ...] = ("everyone",)
    managers: tuple[str, ...] = ()

    @property
    def lane(self) -> dict[str, str]:
        """The line it stands in; tasks of one lane are interchangeable but for priority and age."""
        return {
            "queue": self.request.queue,
            "submitter": self.owner,
            "repository": self.repository.name or self.repository.url,
            "profile": self.profile,
        }

    @property
    def draws_on(self) -> list[str]:
        """The entries of the catalog that must be there until it has ended."""
        named = [f"queue:{self.request.queue}", f"profile:{self.profile}"]
        if self.repository.name is not None:
            named.append(f"repository:{self.repository.name}")
        return [*named, *(f"document:{one.name}" for one in self.documents)]

    @property
    def spec(self) -> dict[str, Any]:
        """Return the fields that the job needs, as plain data."""
        plain = msgspec.to_builtins(self.request)
        asked = {name: plain[name] for name in ("script", "command", "prompt", "check", "env")}
        wanted = self.request.wanted_result
        return {
            **asked,
            "result_branch": wanted.branch if wanted is not None else None,
            "result": msgspec.to_builtins(wanted),
            "repository": msgspec.to_builtins(self.repository),
            "profile": self.profile,
            "documents": msgspec.to_builtins(self.documents),
            "timeout_seconds": self.timeout_seconds,
            "provenance": self.provenance,
            **({"cache": plain["cache"]} if self.request.cache is not None else {}),
            **({"without_secrets": True} if self.request.without_secrets else {}),
            **({"session": msgspec.to_builtins(self.session)} if self.session is not None else {}),
            **({"secrets": self.secrets} if self.secrets else {}),
        }
