"""Types of `/agent/v1`: the reports of agents and their answers.

A report is an ordered batch. Each entry names its task, attempt and, once there is one, execution, and gets an outcome
of its own, in the same order.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from keruta import structs
from keruta.domain.messages import Message, as_message, fields_of, message, read_message
from keruta.domain.specification import Granted, Specification
from keruta.domain.task import Artifact

CHUNK_LIMIT_BYTES = 256 * 1024
REPORT_LIMIT_BYTES = 8 * 1024 * 1024
TAIL_LIMIT_BYTES = 4096
KEPT_LARGE = "result.lfs.tar"  # beside it, the files of Git LFS that it names
SUMMARY_NAME = "keruta-summary.md"  # the artifact with what a script wrote to $KERUTA_SUMMARY
SUMMARY_LIMIT_BYTES = 256 * 1024
KEPT_WORK = "result.bundle"  # the artifact that an attempt's work is kept in when it is not pushed
OUTPUTS_LIMIT = 100
OUTPUT_LENGTH_LIMIT = 65_536
ARTIFACTS_LIMIT = 10_000

Id = Annotated[str, Meta(min_length=26, max_length=26)]
Number = Annotated[int, Meta(ge=1, le=1_000_000)]
Execution = Annotated[str, Meta(min_length=1, max_length=200)]


class Entry(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """Fields of every entry."""

    task: Id
    attempt: Number


class Preparing(Entry, frozen=True, kw_only=True, tag="preparing"):
    """The agent has begun: checkout and set-up."""


class Running(Entry, frozen=True, kw_only=True, tag="running"):
    """The agent asks for the start to be put on record; it starts the script only when this is accepted."""

    execution: Execution
    commit: Annotated[str, Meta(max_length=64)] | None = None
    profile_revision: int | None = None
    image: Annotated[str, Meta(max_length=500)] | None = None
    notes: Annotated[list[Annotated[str, Meta(max_length=500)]], Meta(max_length=20)] = []
    noted: Annotated[list[dict[str, Any]], Meta(max_length=20)] = []

    @property
    def said(self) -> list[Message]:
        """The notes: with their codes from an agent that sends them, else as texts."""
        return _notes(self.noted, self.notes)


def _notes(noted: list[dict[str, Any]], texts: list[str]) -> list[Message]:
    fields = [(one.get("message"), one.get("message_code"), one.get("message_arguments")) for one in noted]
    return [read_message(*one) for one in fields] or [as_message(text) for text in texts]


class Waiting(Entry, frozen=True, kw_only=True, tag="waiting"):
    """The script wants input."""

    execution: Execution
    question: Annotated[str, Meta(max_length=4096)] = ""


class Resumed(Entry, frozen=True, kw_only=True, tag="resumed"):
    """The script waits no longer."""

    execution: Execution


class LogChunk(Entry, frozen=True, kw_only=True, tag="log"):
    """A part of the log. `sequence` counts from 0 in an attempt; `offset_bytes` is where it begins in the log."""

    sequence: Annotated[int, Meta(ge=0, lt=100_000_000)]
    offset_bytes: Annotated[int, Meta(ge=0)]
    data: Annotated[bytes, Meta(max_length=CHUNK_LIMIT_BYTES)]
    at: datetime
    system: bool = False


class Pushing(Entry, frozen=True, kw_only=True, tag="pushing"):
    """The agent is about to push a commit to a branch: so a push whose end is never told is known as the task's own."""

    execution: Execution
    branch: Annotated[str, Meta(min_length=1, max_length=255)]
    commit: Annotated[str, Meta(min_length=1, max_length=64)]


class ScriptEnded(Entry, frozen=True, kw_only=True, tag="script-ended"):
    """The worker sees that the script's container has ended: a check in a container of its own may begin."""

    execution: Execution
    exit_code: int


class ImageSeen(Entry, frozen=True, kw_only=True, tag="image"):
    """The worker sees which image the cluster has resolved the script's to, as `imageID` of the container's status."""

    image_id: Annotated[str, Meta(min_length=1, max_length=500)]


class ScriptResults(Entry, frozen=True, kw_only=True):
    """Kept results of a script, for the two entries that carry them."""

    outputs: Annotated[
        dict[str, Annotated[str, Meta(max_length=OUTPUT_LENGTH_LIMIT)]], Meta(max_length=OUTPUTS_LIMIT)
    ] = {}
    artifacts: Annotated[list[Artifact], Meta(max_length=ARTIFACTS_LIMIT)] = []
    notes: Annotated[list[Annotated[str, Meta(max_length=500)]], Meta(max_length=20)] = []
    noted: Annotated[list[dict[str, Any]], Meta(max_length=20)] = []
    usage: Annotated[dict[str, float], Meta(max_length=10)] = {}
    answer: Annotated[str, Meta(max_length=65_536)] = ""
    model: Annotated[str, Meta(max_length=200)] = ""

    @property
    def told(self) -> list[Message]:
        """The notes, as those of a start."""
        return _notes(self.noted, self.notes)


class Left(ScriptResults, frozen=True, kw_only=True, tag="left"):
    """The script's results were kept, and another part reports its end: the worker, from its Pod's status."""

    execution: Execution


class Suspended(ScriptResults, frozen=True, kw_only=True, tag="suspended"):
    """A suspension: nobody has answered for a while, the coding agent's session is stored, its processes stand still.

    Once this is accepted they are ended, and the attempt is over; refused, they go on.

    Args:
        input_acknowledged: how many inputs the coding agent has had.
        over: it has ended with its question, so that nothing of it runs.
    """

    execution: Execution
    question: Annotated[str, Meta(max_length=4096)] = ""
    input_acknowledged: Annotated[int, Meta(ge=0)] = 0
    over: bool = False
    commit: Annotated[str, Meta(max_length=64)] | None = None
    granted: Granted = Granted()


class Ended(ScriptResults, frozen=True, kw_only=True, tag="ended"):
    """The attempt is over. `execution` is null if the script never started.

    `never_started`: the agent asked for this execution and did not start it, for it had to stop before the answer came.
    So the start may be on record or not.

    `retry_after_seconds`: how long what failed says to wait, before another attempt may help.

    `granted`: the access that its script had, where its coding agent's session is stored and can be resumed.
    """

    status: Literal["succeeded", "failed", "cancelled"]
    execution: Execution | None = None
    never_started: bool = False
    reason: Annotated[str, Meta(max_length=100)] | None = None
    message: Annotated[str, Meta(max_length=4096)] | dict[str, Any] | None = None
    message_code: str | None = None
    message_arguments: Any = None
    exit_code: int | None = None
    signal: int | None = None
    granted: Granted | None = None
    retry_after_seconds: Annotated[float, Meta(ge=0, le=31 * 86400)] | None = None
    commit: Annotated[str, Meta(max_length=64)] | None = None
    result_branch: Annotated[str, Meta(max_length=255)] | None = None
    result_commit: Annotated[str, Meta(max_length=64)] | None = None

    @property
    def script_started(self) -> bool:
        return self.execution is not None and not self.never_started

    @property
    def said(self) -> Message | None:
        """The message: from a text with its code and arguments beside it, or from an object of the three."""
        if isinstance(self.message, dict):
            said = self.message
            return read_message(said.get("text"), said.get("code"), said.get("arguments"))
        if self.message is None and self.message_code is None:
            return None
        return read_message(self.message, self.message_code, self.message_arguments)


class Lost(Entry, frozen=True, kw_only=True, tag="lost"):
    """The script was started and the agent can't say how it ended: the machine went down under it."""

    execution: Execution | None = None


AnyEntry = (
    Preparing | Running | Waiting | Resumed | Suspended | LogChunk | Pushing | ScriptEnded | ImageSeen | Left | Ended
    | Lost
)  # fmt: skip


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that the sender has in hand, and how many inputs it has passed on.

    `renew`: whether the sender vouches for it; one that is only known to it keeps no lease.
    """

    task: Id
    attempt: Number
    execution: Execution | None = None
    input_acknowledged: int = 0
    renew: bool = True


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `POST /agent/v1/reports`."""

    entries: Annotated[list[AnyEntry], Meta(max_length=10_000)] = []
    held: Annotated[list[Held], Meta(max_length=10_000)] = []


class RawReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report whose entries are not read yet: a bad one must not take the others with it."""

    entries: Annotated[list[msgspec.Raw], Meta(max_length=10_000)] = []
    held: Annotated[list[Held], Meta(max_length=10_000)] = []

    def read(self) -> tuple[Report, dict[int, Outcome]]:
        """The entries that can be read, in order, and the outcomes of the others by their place."""
        entries: list[AnyEntry] = []
        bad: dict[int, Outcome] = {}
        for place, raw in enumerate(self.entries):
            try:
                entries.append(structs.from_json(raw, type=AnyEntry))
            except (msgspec.DecodeError, RecursionError) as error:
                bad[place] = refused("InvalidEntry", message("http_batch_fault", error=str(error)))
        return Report(entries=entries, held=self.held), bad


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Outcome of one entry. A refused entry will never be accepted: don't send it again."""

    accepted: bool
    repeat: bool = False
    reason: str | None = None
    message: str | None = None
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None


def refused(reason: str, said: Message | str) -> Outcome:
    """Make the outcome of an entry that is not applied."""
    return Outcome(accepted=False, reason=reason, **fields_of(as_message(said)))


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """A text that a person sent, numbered from 1."""

    number: int
    text: str


class Assigned(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An attempt that is the sender's to make or to go on with.

    `script_exit_code`: how its script's container ended, where its worker reported that.

    `wants_image`: a statement will be signed, and the image that its script runs in is not on record.
    """

    task: str
    attempt: int
    status: str
    execution: str | None = None
    stop: bool = False
    script_exit_code: int | None = None
    wants_image: bool = False
    input: list[Input] = []
    specification: Specification | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's token, and when to come for the next."""

    token: str
    expires_at: datetime
    heartbeat_seconds: float
    lease_seconds: float


class ReportAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One outcome per entry, and all that is assigned to the sender: what it holds and is not named is not its own."""

    outcomes: list[Outcome]
    assigned: list[Assigned]
    session: Session | None = None


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """The body of `PUT /agent/v1/workers/{id}`."""

    slots: Annotated[int, Meta(ge=0, le=1000)]
    address: Annotated[str, Meta(max_length=500)] | None = None
    version: Annotated[str, Meta(max_length=100)] = ""
    boot: Annotated[str, Meta(max_length=100)] = ""
    runner: Literal["process", "kubernetes"] = "process"


class Attempts(msgspec.Struct, frozen=True, kw_only=True):
    """Some attempts, by their names (task and number)."""

    attempts: Annotated[list[Annotated[str, Meta(max_length=40)]], Meta(max_length=10_000)]
