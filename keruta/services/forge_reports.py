"""Tells forges of tasks, from the record: what a task's state asks for is there in the end, or its failure is shown.

One process at a time speaks to a forge, so what it is told stays in order, and its limits are heeded. What is told is
made of how the task stands at that moment: an older state is never told after a newer one.
"""

from __future__ import annotations

import logging

import msgspec

from keruta.domain.forge_answers import ForgeError
from keruta.domain.forge_posts import Posted
from keruta.domain.forge_reports import AGAIN_SECONDS, Report, reports
from keruta.domain.forges import MARK
from keruta.domain.messages import Message, message
from keruta.errors import Conflict, NotFound, Unavailable
from keruta.ports.forges import DueReport, ForgeApi, Forges, ReportStore

log = logging.getLogger(__name__)

AT_ONCE = 50  # tasks of one forge at a time
REST_SECONDS = 10.0  # a forge that does not answer is left alone for so long
TASK_SECONDS = 60.0  # for the requests of one task: its turn is twice as long


class ReportPorts(msgspec.Struct, frozen=True, kw_only=True):
    """The ports for telling forges of tasks."""

    store: ReportStore
    forges: Forges
    public_url: str


def tell_due(ports: ReportPorts) -> int:
    """Tell each forge that nobody else speaks to what is due; return of how many tasks."""
    count = 0
    for forge in ports.store.due_forges():
        holder = ports.store.hold(forge)
        if holder is None:
            continue
        try:
            for _ in range(AT_ONCE):
                due = ports.store.next(forge, holder)
                if due is None:
                    break
                _tell(ports, due)
                count += 1
        finally:
            ports.store.release(forge, holder)
    return count


def _tell(ports: ReportPorts, due: DueReport) -> None:
    """Tell a forge of one task. What can't be told now is told later."""
    wanted = list(reports(due.task, due.trigger, public_url=ports.public_url)) if due.trigger is not None else []
    again: float | None = None
    api: ForgeApi | None = None
    for report in wanted:
        known = ports.store.known(due, report)
        if known.settled:
            continue
        if known.newer:
            ports.store.superseded(due, report)
            continue
        try:
            api = api or ports.forges.open(due.forge, TASK_SECONDS)
            posted, said = _post(api, due, report, known.remote)
        except (NotFound, Conflict) as error:  # the forge or its credential is not there any more
            later = _failed(ports, due, report, known.tries, error.message, lasting=False)
        except ForgeError as error:
            later = _failed(ports, due, report, known.tries, error.message, lasting=error.lasting)
            if not error.lasting:
                wait = error.again_seconds or REST_SECONDS
                ports.store.rest(due.forge, wait)
                later = max(later, wait) if later is not None else None
        except Unavailable:
            raise
        except Exception:  # an answer like no other: it holds up no other task, and no other forge
            log.exception("forge not told", extra={"action": "forge_not_told", "task": due.task.id})
            later = _failed(ports, due, report, known.tries, message("forge_unreadable"), lasting=False)
        else:
            ports.store.told(due, report, posted, said)
            continue
        if later is not None:
            again = later if again is None else min(again, later)
    ports.store.done(due, again)


def _failed(
    ports: ReportPorts, due: DueReport, report: Report, tries: int, said: Message, *, lasting: bool
) -> float | None:
    """Note that a try failed; return after how many seconds the next one is made, None if none is."""
    later = None if lasting or tries >= len(AGAIN_SECONDS) else float(AGAIN_SECONDS[tries])
    ports.store.failed(due, report, said, final=later is None)
    log.warning("forge not told: %s", report.kind, extra={"action": "forge_not_told", "task": due.task.id})
    return later


def _post(api: ForgeApi, due: DueReport, report: Report, remote: int | None) -> tuple[Posted | None, Message]:
    """Make it so at the forge. What may be there already, after an answer that never came, is looked for first."""
    origin = due.task.origin
    assert origin is not None
    assert origin.repository is not None
    if report.status is not None:
        api.set_status(origin.repository, report.commit, report.status)
        return None, message("report_sent")
    if report.thread is not None:
        if remote is None and (found := api.find_comment(report.thread, report.marker)) is not None:
            remote = found.id
        if remote is None:
            return api.add_comment(report.thread, report.text), message("report_sent")
        api.change_comment(report.thread, remote, report.text)
        return Posted(id=remote), message("report_sent")
    return _pull_request(api, origin.repository, report, remote)


def _pull_request(api: ForgeApi, repository: str, report: Report, remote: int | None) -> tuple[Posted | None, Message]:
    """Open it, or bring it up to date. Once it is on record, reviewers are not asked again."""
    wanted = report.pull_request
    assert wanted is not None
    if not wanted.base:
        wanted = msgspec.structs.replace(wanted, base=api.repository(repository).default_branch or "main")
    found = api.find_pull_request(repository, wanted.head, wanted.base)
    if found is None:
        found = api.add_pull_request(repository, wanted)
    elif MARK in found.text:
        api.change_pull_request(repository, found.id, wanted)
    else:
        return found, message("report_kept")
    if found.id != remote:
        api.dress_pull_request(repository, found.id, wanted)
    return found, message("report_sent")
