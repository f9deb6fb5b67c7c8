"""Collection of a script's outputs, files, log, usage, answer and result branch, after its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from agent.attempt import artifacts
from agent.attempt.agent_tools import FOLDER
from agent.attempt.coding_agent import CodingAgent
from agent.attempt.context import World
from agent.attempt.directory import JobDir
from agent.attempt.repository import AttemptRepository
from agent.attempt.result import AttemptResult
from agent.attempt.usage import measure
from agent.attempt.verdict import Verdict
from agent.coding_agents.transcript import Transcript
from agent.log.chunks import Streamer
from agent.log.masking import Masker
from keruta.domain.messages import Message, changed, fields_of, message
from keruta.domain.specification import Specification
from keruta.domain.task import Artifact

NOTES_MOST = 10


class Collected(msgspec.Struct, kw_only=True):
    """Fields of a report's entry about what a script left; names as in `keruta.domain.reports.Left`."""

    outputs: dict[str, str]
    artifacts: list[Artifact]
    notes: list[str]
    noted: list[dict[str, Any]]
    usage: dict[str, float]
    answer: str
    model: str

    def fields(self) -> dict[str, Any]:
        """The fields as keyword arguments of the entry."""
        return msgspec.structs.asdict(self)


class Collector:
    """Keeps what one script left with keruta, once the script has ended.

    Args:
        announce: puts a push on record before it is made: branch, commit.
        late: see `AttemptResult`.
    """

    def __init__(
        self, world: World, directory: JobDir, specification: Specification, streamer: Streamer, *, masker: Masker,
        repository: AttemptRepository, agent: CodingAgent | None, transcript: Transcript | None,
        announce: Callable[[str, str], None], late: threading.Event,
    ) -> None:  # fmt: skip
        self._dir = directory
        self._spec = specification
        self._store = world.store(directory, specification)
        self._streamer = streamer
        self._masker = masker
        self._agent = agent
        self._transcript = transcript
        self.result = AttemptResult(
            directory, specification, repository, self._store, say=self._say, announce=announce,
            late=late, script_root=world.script_root,
        )  # fmt: skip

    def finish(self, verdict: Verdict, commit: str | None) -> tuple[Verdict, Collected]:
        """Keep everything and push the result branch.

        Return the verdict that follows, and what was kept. An attempt whose results could not be kept has failed.
        """
        outputs, faults = self._outputs()
        if commit and (target := self._spec.wanted_result) is not None:
            kept_work = self._spec.kept_work
            verdict = (
                self.result.finish(verdict, commit, target)
                if kept_work is None
                else self.result.push_kept(verdict, kept_work, target)
            )
        collected, full = self._collect(outputs, faults)
        if full and verdict.status == "succeeded":
            said = message("result_not_stored", error=full)
            verdict = Verdict(status="failed", reason="ArtifactsFailed", message=said, exit_code=0)
        return verdict, collected

    def rescue(self, commit: str | None) -> Collected:
        """Keep everything, where another part reports how the script ended: commits are kept and not pushed."""
        outputs, faults = self._outputs()
        target = self._spec.wanted_result if self._spec.kept_work is None else None
        if commit and target is not None:
            self.result.rescue(commit, target)
        collected, full = self._collect(outputs, faults)
        if full:
            self._say(f"not everything could be stored: {full}")
        return collected

    def keep_for_now(self) -> Collected:
        """Keep what is there, of a script that may go on or be resumed; its work is kept elsewhere."""
        outputs, faults = self._outputs()
        collected, _ = self._collect(outputs, faults)
        self._streamer.finish()
        return collected

    def _outputs(self) -> tuple[dict[str, str], list[Message]]:
        outputs, faults = artifacts.read_outputs(self._dir.open_outputs, self._masker)
        for fault in faults:
            self._say(str(fault))
        return outputs, faults

    def _collect(self, outputs: dict[str, str], faults: Sequence[Message]) -> tuple[Collected, str]:
        """Return what was kept, and why the storage took no more, or ""."""
        kept, notes, full = self._keep(self.result.files)
        notes = [*notes, *faults][:NOTES_MOST]
        agent = self._agent
        collected = Collected(
            outputs=outputs,
            artifacts=kept,
            notes=[str(note)[:500] for note in notes],
            noted=[fields_of(note) for note in notes],
            usage=agent.usage if agent is not None else measure(self._streamer.whole(), self._spec.usage),
            answer=self._masker.text(agent.answer) if agent is not None else "",
            model=self._masker.text(agent.model) if agent is not None else "",
        )
        return collected, full

    def _keep(self, work: Sequence[Path]) -> tuple[list[Artifact], list[Message], str]:
        """Store the script's files.

        Return the artifacts, a note for each file not kept, and why the storage took no more.
        """
        store = self._store
        try:
            store.begin()
        except OSError as error:
            return [], [], str(error)
        attached = self._agent.attached if self._agent is not None else None
        own = [path.name for path in work] + ([FOLDER] if attached is not None and attached.is_dir() else [])
        kept = artifacts.keep_artifacts(self._dir.artifacts, store, own=own)
        if attached is not None:
            kept.artifacts += artifacts.keep_artifacts(attached, store).artifacts
        notes = [changed(one, self._masker.text) for one in kept.left]
        for note in notes:
            self._say(str(note))
        for path in work:  # where one does not fit, the others are kept
            try:
                kept.artifacts += artifacts.keep_files([path], store)
            except OSError as error:
                kept.full = kept.full or error.strerror or str(error)
        try:
            found, said = artifacts.keep_summary(self._dir.open_summary, store, self._masker)
            kept.artifacts += found
            notes += said
            for note in said:
                self._say(str(note))
        except OSError as error:
            kept.full = kept.full or error.strerror or str(error)
        try:
            kept.artifacts.append(artifacts.keep_log(self._streamer.whole(), store, self._masker))
            if self._transcript is not None:
                raw = artifacts.keep_log(self._transcript.whole(), store, self._masker, artifacts.OUTPUT_NAME)
                kept.artifacts.append(raw)
        except OSError as error:  # keruta has the log itself, up to its limit
            notes.append(message("log_not_stored", error=error.strerror or str(error)))
        if len(notes) > NOTES_MOST:
            count = kept.left_count - NOTES_MOST + 1
            notes[NOTES_MOST - 1 :] = [message("files_not_kept", count=count)]
        return kept.artifacts, notes, kept.full

    def _say(self, sentence: str) -> None:
        self._streamer.say(f"[keruta] {self._masker.text(sentence)}")
