"""The coding agent of one attempt: started by its adapter, read while it runs, judged by what it and its model say."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.attempt.agent_tools import INSTRUCTIONS, AgentTools
from agent.attempt.context import World
from agent.attempt.conversation import Conversation
from agent.attempt.directory import JobDir
from agent.attempt.result_repository import Work
from agent.attempt.script_environment import private_file
from agent.attempt.session_archive import Manifest
from agent.attempt.verdict import Verdict
from agent.coding_agents.adapter import Adapter, Launch, ModelAccess, Setting, ToolAccess, Usage
from agent.coding_agents.endings import Ending
from agent.coding_agents.known import ADAPTERS
from agent.coding_agents.metering import Meter
from agent.coding_agents.tool_server import ToolServer
from agent.coding_agents.transcript import Transcript
from keruta.domain.catalog.coding_agents import CodingAgentOptions
from keruta.domain.messages import message
from keruta.domain.specification import Resume, Specification
from keruta.errors import PhaseError

log = logging.getLogger(__name__)

PROMPT = "coding-agent-prompt"
WAIT_MOST = 31 * 86400.0
NO_SUCH_COMMAND = 127  # POSIX, Shell Command Language, 2.8.2
INTERRUPTED = frozenset(
    {"Cancelled", "DeadlineExceeded", "OutputTooLarge", "WorkerStopped", "SpoolFull", "SetupFailed"}
)


def resumed_prompt(resume: Resume) -> str:
    """Return what a session that is resumed is told first. A question that was cut off is no part of it any more."""
    if not resume.answers:
        return "You were interrupted. Go on from where you stopped."
    answers = "\n\n".join(resume.answers)
    return f"You asked a person:\n\n{resume.question}\n\nTheir answer:\n\n{answers}" if resume.question else answers


class CodingAgent:
    """One attempt's.

    Args:
        conversation: with people, by the tools that the coding agent is offered.
        said: told what it says of its progress.
        stop: called when the attempt is to end because of its model: refused, limited, or the budget is used up.
    """

    def __init__(
        self, world: World, directory: JobDir, specification: Specification, options: CodingAgentOptions,
        *, conversation: Conversation, said: Callable[[str], None], stop: Callable[[Ending], None],
    ) -> None:  # fmt: skip
        self._world, self._dir, self._spec, self._options = world, directory, specification, options
        self._stop, self._conversation = stop, conversation
        workspace = directory.seen_at(world.script_root).workspace
        self._tools = AgentTools(directory, specification, conversation, workspace=workspace, said=said)
        self._tool_server: ToolServer | None = None
        self._adapter = ADAPTERS[options.coding_agent or ""]
        self._reader = self._adapter.reader()
        self._meter: Meter | None = None
        self._transcript: Transcript | None = None
        self._resumed: Manifest | None = None
        self.question: str | None = None  # its last word, once it is judged
        self.launch: Launch | None = None

    def resume(self, manifest: Manifest) -> None:
        """Resume the stored session that the manifest describes."""
        self._resumed, self._reader.before = manifest, manifest.reported

    @property
    def adapter(self) -> Adapter:
        return self._adapter

    @property
    def wait_seconds(self) -> int:
        return self._options.wait_seconds

    @property
    def session(self) -> str | None:
        """The session that can be resumed later, by the coding agent's own name; None where there is none."""
        known = self._reader.session or (self._resumed.session if self._resumed is not None else "")
        return known if self._adapter.session_files(known) else None

    def manifest(self, work: Work | None, base: str) -> Manifest:
        """Return the facts about its session as it is now.

        Args:
            work: what is stored with it.
            base: the commit that was checked out.
        """
        before = self._resumed
        reported = self._reader.usage if before is None else self._reader.usage.with_more(before.reported)
        used = self._meter.usage if self._meter is not None else self._reader.usage
        manifest = Manifest(
            session=self.session or "",
            reported=reported,
            spent=used if before is None else used.with_more(before.spent),
            base=base,
        )
        if work is None:
            return manifest
        return msgspec.structs.replace(
            manifest, head=work.committed, branch=work.branch, work=work.head, others=dict(work.others)
        )

    def open_transcript(self) -> Transcript:
        """Begin to read the script's output."""
        raw = os.fdopen(self._dir.open_output(), "rb")
        self._transcript = Transcript(raw, self._dir.root, self._reader, json=self._adapter.json)
        return self._transcript

    def prepare(self) -> list[str]:
        """Make what it is started with; return the tokens by which it reaches its model and its tools.

        Raises:
            PhaseError: CredentialMissing; WorkspaceFailed, where the port of an earlier agent is taken.
        """
        model, tools = self._offer_model(), self._offer_tools()
        seen = self._dir.seen_at(self._world.script_root)
        setting = Setting(
            options=self._options, prompt=seen.given / PROMPT, home=seen.home, model=model, tools=tools,
            session=self._resumed.session if self._resumed is not None else None,
        )  # fmt: skip
        self.launch = self._adapter.launch(setting)
        return [access.token for access in (model, tools) if access is not None]

    def furnish(self) -> None:
        """Put its prompt and its files in place. A prompt's first line is empty, so that none of it is a command of
        the coding agent's own. Its own files are no part of the result, unless the repository has them: neither
        `git add --all` nor the push takes them.
        """
        assert self.launch is not None
        (self._dir.given / PROMPT).write_text(f"\n{self._prompt}\n")
        for name, text in self.launch.files.items():
            path = self._dir.home / name
            path.parent.mkdir(mode=0o770 if self._world.in_pod else 0o700, parents=True, exist_ok=True)
            private_file(path, text)
        if self._adapter.own_files:
            with (self._dir.workspace / ".git" / "info" / "exclude").open("a", encoding="utf-8") as exclude:
                exclude.writelines(f"{pattern}\n" for pattern in self._adapter.own_files)

    @property
    def _prompt(self) -> str:
        resume = self._spec.resume if self._resumed is not None else None
        return self._spec.prompt or "" if resume is None else resumed_prompt(resume)

    @property
    def resumes(self) -> bool:
        return self._resumed is not None

    def _offer_model(self) -> ModelAccess | None:
        access = self._spec.model_access
        if access is None:
            return None
        key = self._world.opener.value(access)
        spent = self._resumed.spent if self._resumed is not None else None
        self._meter = Meter(self._options, key, self._dir.root, self._stop, spent)
        try:
            return self._meter.start()
        except OSError as error:
            said = message("attempt_worker_failed", kind=type(error).__name__, error=str(error))
            raise PhaseError("WorkspaceFailed", said) from error

    def _offer_tools(self) -> ToolAccess | None:
        """Begin to serve its tools; without them it can't ask, and goes on all the same."""
        if not self._adapter.takes_tools:
            return None
        server = ToolServer(self._dir.root, self._tools.tools, INSTRUCTIONS)
        try:
            found = server.start()
        except OSError as error:
            log.warning("no tools: %s", error, extra={"action": "no_tools"})
            return None
        self._tool_server, self._conversation.by_tools = server, True
        return found

    @property
    def attached(self) -> Path:
        """The directory of the files that it attached, at the artifacts' paths."""
        return self._tools.attached

    @property
    def environment(self) -> tuple[dict[str, str], dict[str, str]]:
        """The variables that may be set otherwise, and those that may not."""
        if self.launch is None:
            return {}, {}
        return dict(self.launch.env), dict(self.launch.own_env)

    @property
    def usage(self) -> dict[str, float]:
        """Return the usage so far: as the model's server reported it or, without the key here, as the coding agent
        reported it.
        """
        if self._meter is None:
            return self._reader.usage.numbers()
        used: Usage = msgspec.structs.replace(self._meter.usage)
        if used.cost_usd is None:
            used.cost_usd = self._reader.usage.cost_usd
        return used.numbers()

    @property
    def model(self) -> str:
        return ((self._meter.model if self._meter is not None else "") or self._reader.model)[:200]

    @property
    def answer(self) -> str:
        return self._reader.answer

    def judge(self, verdict: Verdict) -> Verdict:
        """Return how the attempt ended, by what the coding agent and its model's server said last."""
        if verdict.status == "cancelled" or verdict.reason in INTERRUPTED:
            return verdict
        ending = self._ending(verdict)
        if ending is None:
            return verdict
        self.question = ending.question
        wait = ending.wait_seconds if ending.wait_seconds is not None and ending.wait_seconds < WAIT_MOST else None
        return Verdict(
            status="failed", reason=ending.reason, message=ending.message, exit_code=verdict.exit_code,
            retry_after_seconds=wait,
        )  # fmt: skip

    def _ending(self, verdict: Verdict) -> Ending | None:
        meter, used = self._meter, self._reader.usage
        if verdict.exit_code == NO_SUCH_COMMAND and not used.turns and self.launch is not None:
            return Ending(
                reason="CommandNotFound", message=message("script_command_missing", command=self.launch.program)
            )
        if meter is not None and (refused := meter.ended or meter.refused) is not None:
            return refused
        said = self._reader.ending(0 if verdict.status == "succeeded" else verdict.exit_code)
        if said is None and verdict.status == "succeeded" and meter is not None and not meter.usage.turns:
            return Ending(reason="AgentGaveUp", message=message("agent_asked_no_model"))
        return said

    def close(self) -> None:
        for server in (self._meter, self._tool_server):
            if server is not None:
                server.close()
        if self._transcript is not None:
            self._transcript.close()
