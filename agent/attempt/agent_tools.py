"""Tools that keruta's agent offers to a coding agent: ask a person, tell progress, keep a file, read a document.

What the coding agent gives is untrusted: a question is a text, and a file is opened beneath the workspace only.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.attempt.conversation import Conversation, Withdrawn
from agent.attempt.directory import JobDir
from agent.attempt.script_environment import file_name
from agent.attempt.workspace_files import Beneath
from agent.coding_agents.tool_server import Beat, Refused, Tool
from keruta.domain.messages import message
from keruta.domain.specification import Specification

QUESTIONS_MOST = 20
QUESTION_LIMIT_BYTES = 4096
PROGRESS_MOST, PROGRESS_CHARACTERS = 500, 500
FOLDER = "attached"  # of the artifacts
FILES_MOST, FILE_LIMIT_BYTES = 20, 64 * 1024 * 1024
DOCUMENT_LIMIT_BYTES = 1024 * 1024
INSTRUCTIONS = (
    "You work on a task of keruta, which nobody watches all the time. Where only a person can decide, call ask_human "
    "and wait for the answer; do not end with a question. Never ask for passwords, keys or tokens."
)


class AgentTools:
    """One attempt's tools.

    Args:
        workspace: as the script sees it.
        said: told what the coding agent says of its progress.
    """

    def __init__(
        self, directory: JobDir, specification: Specification, conversation: Conversation, *, workspace: Path,
        said: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._dir, self._spec, self._conversation, self._said = directory, specification, conversation, said
        self._counted = directory.root / "questions"  # a line for each
        self._workspace = workspace
        self.attached = directory.root / "attached"  # holds the artifacts' paths
        self._lock = threading.Lock()
        self._progress = 0

    @property
    def tools(self) -> list[Tool]:
        documents = ", ".join(one.name for one in self._spec.documents) or "none"
        return [
            Tool(
                name="ask_human", call=self.ask_human, parameters={"question": "the question, in plain text"},
                description="Ask a person a question and wait for the answer, which can take long. "
                f"At most {QUESTIONS_MOST} questions of {QUESTION_LIMIT_BYTES} bytes.",
            ),
            Tool(
                name="post_progress", call=self.post_progress, parameters={"text": "one line"},
                description="Tell the people who watch the task how far it is. The result holds what they sent since.",
            ),
            Tool(
                name="attach_file", call=self.attach_file, parameters={"path": "relative to the workspace"},
                description="Keep a file of the workspace, as it is now, among the task's artifacts.",
            ),
            Tool(
                name="get_document", call=self.get_document, parameters={"name": "the document's name"},
                description=f"Read a document that was given with the task: {documents}.",
            ),
        ]  # fmt: skip

    def ask_human(self, given: Mapping[str, str], beat: Beat) -> str:
        question = given["question"].strip()
        if not question:
            raise Refused(message("tools_no_question"))
        if len(question.encode("utf-8", "replace")) > QUESTION_LIMIT_BYTES:
            raise Refused(message("tools_question_too_long", limit=QUESTION_LIMIT_BYTES))
        with self._lock:
            asked = self._counted.stat().st_size if self._counted.exists() else 0
            if asked >= QUESTIONS_MOST:
                raise Refused(message("tools_too_many_questions", limit=QUESTIONS_MOST))
            with self._counted.open("a") as file:
                file.write("\n")
        try:
            return self._conversation.ask(question, beat)
        except Withdrawn:
            raise Refused(message("tools_withdrawn")) from None

    def post_progress(self, given: Mapping[str, str], beat: Beat) -> str:
        line = " ".join(given["text"].split())[:PROGRESS_CHARACTERS]
        with self._lock:
            self._progress += 1
            if self._progress > PROGRESS_MOST:
                raise Refused(message("tools_too_much_progress", limit=PROGRESS_MOST))
        if line:
            self._said(line)
        sent = self._conversation.take_sent()
        return "\n".join(["Noted.", *(f"A person says: {one}" for one in sent)])

    def attach_file(self, given: Mapping[str, str], beat: Beat) -> str:
        path = given["path"].removeprefix(f"{self._workspace}/")
        try:
            with Beneath(self._dir.workspace) as files:
                opened = files.open(os.fsencode(path))
        except (OSError, ValueError):
            opened = None
        if opened is None:
            raise Refused(message("tools_no_such_file"))
        with os.fdopen(opened, "rb") as file, self._lock:
            if os.fstat(opened).st_size > FILE_LIMIT_BYTES:
                raise Refused(message("tools_file_too_large", limit=FILE_LIMIT_BYTES // 1024 // 1024))
            target = self.attached / FOLDER / path.rpartition("/")[2]
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not target.exists() and len(list(target.parent.iterdir())) >= FILES_MOST:
                raise Refused(message("tools_too_many_files", limit=FILES_MOST))
            _copy(file.read(FILE_LIMIT_BYTES), target)
        return f"Kept as {FOLDER}/{target.name}."

    def get_document(self, given: Mapping[str, str], beat: Beat) -> str:
        known = {one.name: one for one in self._spec.documents}
        if given["name"] not in known:
            raise Refused(message("tools_no_such_document", names=", ".join(known) or "–"))
        with (self._dir.documents / file_name(known[given["name"]])).open("rb") as file:
            return file.read(DOCUMENT_LIMIT_BYTES).decode("utf-8", "replace")


def _copy(content: bytes, target: Path) -> None:
    try:
        if shutil.disk_usage(target.parent).free < 2 * len(content) + 1024 * 1024:
            raise Refused(message("tools_no_room"))
        target.write_bytes(content)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise Refused(message("tools_no_room")) from error
