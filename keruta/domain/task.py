"""A task as it is asked for, as it is read, and as an attempt's agent gets it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from keruta.domain.naming import ENV_NAME, LABEL_KEY, NAME
from keruta.domain.repository import ref_fault, url_fault

SCRIPT_LIMIT_BYTES = 256 * 1024
BODY_LIMIT_BYTES = 1024 * 1024
ENV_LIMIT = 100
ENV_LIMIT_BYTES = 64 * 1024
LABELS_LIMIT = 32
INPUT_LIMIT_BYTES = 64 * 1024
DEFAULT_TIMEOUT_SECONDS = 3600

Policy = Literal["never", "if_not_started", "always"]
StatusName = Literal[
    "queued", "assigned", "preparing", "running", "waiting", "unknown", "succeeded", "failed", "cancelled"
]
Text = Annotated[str, Meta(max_length=SCRIPT_LIMIT_BYTES)]
Problems = Iterator[tuple[str, str]]


class RepositoryRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A repository at a ref. Without a ref: the server's default branch."""

    url: Annotated[str, Meta(min_length=1, max_length=2048, description="https://, ssh:// or user@host:path")]
    ref: Annotated[str, Meta(min_length=1, max_length=255, description="branch, tag or commit")] | None = None
    submodules: bool = False

    def faults(self) -> Problems:
        if wrong := url_fault(self.url):
            yield "/url", wrong
        if self.ref is not None and (wrong := ref_fault(self.ref)):
            yield "/ref", wrong


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be run again when an attempt is lost."""

    policy: Policy = "if_not_started"
    max_attempts: Annotated[int, Meta(ge=1, le=20)] = 3


class TaskRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /api/v1/tasks`. Exactly one of script, command and prompt is given."""

    repository: RepositoryRef
    script: Text | None = None
    command: Annotated[list[Annotated[str, Meta(max_length=32768)]], Meta(min_length=1, max_length=256)] | None = None
    prompt: Text | None = None
    check: Text | None = None
    name: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    queue: Annotated[str, Meta(min_length=1, max_length=63)] = "default"
    priority: Annotated[int, Meta(ge=-100, le=100)] = 0
    env: Annotated[dict[str, str], Meta(max_length=ENV_LIMIT)] = {}
    timeout_seconds: Annotated[int, Meta(ge=1, le=7 * 86400)] = DEFAULT_TIMEOUT_SECONDS
    retry: RetryPolicy = RetryPolicy()
    result_branch: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    labels: Annotated[dict[str, Annotated[str, Meta(max_length=200)]], Meta(max_length=LABELS_LIMIT)] = {}

    def faults(self) -> Problems:
        given = [name for name in ("script", "command", "prompt") if getattr(self, name) is not None]
        if len(given) != 1:
            said = "none is there" if not given else f"there are {' and '.join(given)}"
            yield "", f"Give exactly one of script, command and prompt; {said}."
        for name in ("script", "prompt", "check"):
            yield from _text_faults(f"/{name}", getattr(self, name))
        for number, part in enumerate(self.command or ()):
            yield from _text_faults(f"/command/{number}", part)
        if not NAME.fullmatch(self.queue):
            yield "/queue", "A queue's name has lower-case letters, digits, dots and dashes."
        yield from _env_faults(self.env)
        for key in self.labels:
            if not LABEL_KEY.fullmatch(key):
                yield f"/labels/{key[:80]}", "A label's key has letters, digits, dots, dashes and slashes, at most 63."
        if self.result_branch is not None and (wrong := ref_fault(self.result_branch)):
            yield "/result_branch", wrong
        if self.name is not None and not self.name.isprintable():
            yield "/name", "A name has no control characters."


def _text_faults(at: str, text: str | None) -> Problems:
    if text is None:
        return
    if len(text.encode("utf-8", "surrogatepass")) > SCRIPT_LIMIT_BYTES:
        yield at, f"More than {SCRIPT_LIMIT_BYTES // 1024} KiB; put it into the repository and call it from there."
    if "\0" in text:
        yield at, "Holds a NUL character, which no shell can take."


def _env_faults(env: dict[str, str]) -> Problems:
    if sum(len(name) + len(value) for name, value in env.items()) > ENV_LIMIT_BYTES:
        yield "/env", f"More than {ENV_LIMIT_BYTES // 1024} KiB in all."
    for name, value in env.items():
        if not ENV_NAME.fullmatch(name):
            yield f"/env/{name[:80]}", "A variable's name has letters, digits and underscores."
        elif name.startswith("KERUTA_"):
            yield f"/env/{name[:80]}", "Names that begin with KERUTA_ are keruta's own."
        if "\0" in value:
            yield f"/env/{name[:80]}", "Holds a NUL character."


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a script left in $KERUTA_ARTIFACTS."""

    path: str
    size_bytes: int
    sha256: str


class AttemptView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One try at a task."""

    number: int
    worker: str
    assigned_at: datetime
    execution: str | None = None
    commit: str | None = None
    result_branch: str | None = None
    result_commit: str | None = None
    preparing_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    reason: str | None = None
    message: str | None = None
    exit_code: int | None = None
    signal: int | None = None


class WaitingView(msgspec.Struct, frozen=True, kw_only=True):
    """Why a task waits, and how many are before it."""

    position: int
    why: str


class LogView(msgspec.Struct, frozen=True, kw_only=True):
    """How much log there is, and its last lines."""

    bytes: int = 0
    next_sequence: int = 0
    tail: str = ""


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a task's status."""

    status: StatusName
    at: datetime
    attempt: int = 0


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task as the API shows it."""

    id: str
    status: StatusName
    name: str | None
    owner: str
    queue: str
    priority: int
    labels: dict[str, str]
    repository: RepositoryRef
    retry: RetryPolicy
    timeout_seconds: int
    created_at: datetime
    changed_at: datetime
    reason: str | None = None
    message: str | None = None
    exit_code: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    question: str | None = None
    script: str | None = None
    command: list[str] | None = None
    prompt: str | None = None
    check: str | None = None
    env: dict[str, str] = {}
    result_branch: str | None = None
    attempts: list[AttemptView] = []
    outputs: dict[str, str] = {}
    artifacts: list[Artifact] = []
    log: LogView = LogView()
    history: list[HistoryEntry] = []
    waiting: WaitingView | None = None


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
    created_at: datetime
    changed_at: datetime
    reason: str | None = None
    message: str | None = None
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


class NewTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that has passed every check and is to be stored."""

    id: str
    request: TaskRequest
    owner: str
    readers: tuple[str, ...] = ("everyone",)

    @property
    def lane(self) -> dict[str, str]:
        """The line it stands in; tasks of one lane are interchangeable but for priority and age."""
        return {
            "queue": self.request.queue,
            "submitter": self.owner,
            "repository": self.request.repository.url,
            "profile": "",
        }

    @property
    def spec(self) -> dict[str, Any]:
        """What the job needs, as plain data."""
        wanted = ("repository", "script", "command", "prompt", "check", "env", "timeout_seconds", "result_branch")
        plain = msgspec.to_builtins(self.request)
        return {name: plain[name] for name in wanted}


class Specification(msgspec.Struct, frozen=True, kw_only=True):
    """All that an agent needs to make one attempt."""

    task: str
    attempt: int
    repository: RepositoryRef
    script: str | None = None
    command: list[str] | None = None
    prompt: str | None = None
    check: str | None = None
    env: dict[str, str] = {}
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS
    result_branch: str | None = None
    log_limit_bytes: int = 16 * 1024 * 1024
    token: str | None = None
