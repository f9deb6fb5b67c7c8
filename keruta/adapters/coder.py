"""Workers as Coder workspaces: `keruta.services.autoscaler.WorkerProvider` by Coder's REST API.

keruta's own workspaces are found by their names, so nothing has to be remembered. Each has its latest build to say
where it stands: a transition (start, stop, delete) and how that went.
Source: https://coder.com/docs/reference/api/workspaces, https://coder.com/docs/reference/api/builds
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from keruta.adapters.http_client import Answer, Http, NoAnswerError
from keruta.domain.messages import message
from keruta.domain.scaling import WorkerState
from keruta.errors import PoolError
from keruta.settings import PoolSettings

log = logging.getLogger(__name__)

REQUEST_SECONDS = 10.0
ROUND_SECONDS = 30.0
BACK_OFF_SECONDS = 30.0
PAGE = 200
ANSWER_LIMIT_BYTES = 64 * 1024 * 1024  # of so many workspaces, each with all that its template made

# Where a workspace stands, by its latest build's transition and its job's status.
UP, DOWN, STARTING, STOPPING, DELETING, FAILED = "up", "down", "starting", "stopping", "deleting", "failed"
_UNDER_WAY = {"start": STARTING, "stop": STOPPING, "delete": DELETING}
_DONE = {"start": UP, "stop": DOWN, "delete": DELETING}
_BROKEN = ("failed", "canceled")


class Workspace(msgspec.Struct, frozen=True, kw_only=True):
    """One of keruta's own.

    Args:
        since: when its latest build last moved.
        transition: what that build was to do.
        error: what that build said, where it failed.
    """

    id: str
    name: str
    worker: str
    state: str
    transition: str
    since: datetime
    error: str = ""

    @property
    def number(self) -> int:
        return int(self.name.rpartition("-")[2])


class CoderPool:
    """The workspaces of one user, from one template.

    Args:
        clock: the time, for how long ago something was.
    """

    def __init__(self, settings: PoolSettings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._settings = settings
        self._clock = clock
        self._api = _Api(settings)
        self._name = re.compile(re.escape(settings.coder_prefix) + r"[1-9]\d{0,4}")

    def resize(self, wanted: int, workers: Mapping[str, WorkerState]) -> Collection[str]:
        self._api.begin()
        all_of_them = self.workspaces()
        self._mend(all_of_them)
        at_work = [one for one in all_of_them if one.state in (UP, STARTING)]
        if len(at_work) < wanted:
            self._grow(wanted - len(at_work), all_of_them)
        return self._shrink(len(at_work) - wanted, at_work, workers)

    def workspaces(self) -> list[Workspace]:
        """keruta's own, by number. Raises PoolError."""
        found: list[dict[str, Any]] = []
        while True:
            query = {"q": f"owner:me name:{self._settings.coder_prefix}", "limit": PAGE, "offset": len(found)}
            page = self._api.call("GET", f"/workspaces?{urlencode(query)}")["workspaces"]
            found += page
            if len(page) < PAGE:
                break
        own = [self._workspace(one) for one in found if self._name.fullmatch(one["name"])]
        return sorted(own, key=lambda one: one.number)

    def _workspace(self, said: dict[str, Any]) -> Workspace:
        build = said["latest_build"]
        status, transition = build["job"]["status"], build["transition"]
        as_it_went = _DONE if status == "succeeded" else _UNDER_WAY
        state = FAILED if status in _BROKEN else as_it_went[transition]
        moved = build["job"].get("completed_at") or build["updated_at"]
        return Workspace(
            id=said["id"],
            name=said["name"],
            worker=self._settings.coder_worker_id.format(name=said["name"], owner=said["owner_name"]),
            state=state,
            transition=transition,
            since=datetime.fromisoformat(moved),
            error=build["job"].get("error") or "",
        )

    def _mend(self, workspaces: Sequence[Workspace]) -> None:
        """Build failed workspaces again after a while, and delete those that have been stopped for long."""
        for one in workspaces:
            seconds = (self._clock() - one.since).total_seconds()
            if one.state == FAILED and seconds >= self._settings.coder_again_seconds:
                said = {"action": "coder_build_failed", "workspace": one.name, "transition": one.transition}
                log.warning("%s of %s failed: %s; again", one.transition, one.name, one.error[:300], extra=said)
                # A start that failed may have left half of it: that goes, and another takes its place.
                self._build(one, "delete" if one.transition == "start" else one.transition)
            elif one.state == DOWN and seconds >= self._settings.coder_keep_seconds:
                self._build(one, "delete")

    def _grow(self, more: int, workspaces: Sequence[Workspace]) -> None:
        """Start workspaces that are down again first, then make new ones, under the lowest numbers free."""
        for one in [one for one in workspaces if one.state == DOWN][:more]:
            self._build(one, "start")
            more -= 1
        taken = {one.number for one in workspaces}
        free = [number for number in range(1, self._settings.pool_most + len(taken) + 1) if number not in taken]
        for number in free[: max(0, min(more, self._settings.pool_most - len(taken)))]:
            self._create(f"{self._settings.coder_prefix}{number}")

    def _shrink(self, fewer: int, at_work: Sequence[Workspace], workers: Mapping[str, WorkerState]) -> Collection[str]:
        """Ends those that hold nothing and can get nothing more; the next ones to go get nothing more from now on.

        A worker that was just told to drain may have been given something a moment before: it is looked at again in
        the next round.
        """
        if fewer <= 0:
            return ()
        unknown = WorkerState(id="", draining=True)  # no worker is there (yet): nothing can be given to it
        standing = [(one, workers.get(one.worker, unknown)) for one in at_work if one.state == UP]
        idle = [(one, worker) for one, worker in standing if worker.held == 0]
        idle.sort(key=lambda pair: (not pair[1].draining, -pair[0].number))
        drain = []
        for one, worker in idle[:fewer]:
            if worker.draining:
                self._build(one, "stop")
            drain.append(one.worker)
        return drain

    def _build(self, one: Workspace, transition: str) -> None:
        self._api.call("POST", f"/workspaces/{one.id}/builds", {"transition": transition})
        said = {"action": f"coder_{transition}", "workspace": one.name}
        log.info("coder: %s %s", transition, one.name, extra=said)

    def _create(self, name: str) -> None:
        parameters = [parameter.partition("=") for parameter in self._settings.coder_parameters]
        self._api.call(
            "POST",
            "/users/me/workspaces",
            {
                "name": name,
                "template_id": self._template(),
                "rich_parameter_values": [{"name": name, "value": value} for name, _, value in parameters],
            },
        )
        log.info("coder: create %s", name, extra={"action": "coder_create", "workspace": name})

    def _template(self) -> str:
        wanted = self._settings.coder_template
        for template in self._api.call("GET", "/templates"):
            if template["name"] == wanted:
                return str(template["id"])
        raise PoolError(message("cluster_coder_no_template", name=wanted))


class _Api:
    """Coder's API: one round's calls, within its time."""

    def __init__(self, settings: PoolSettings) -> None:
        self._url = f"{settings.coder_url.rstrip('/')}/api/v2"
        self._token_file = settings.coder_token_file
        self._http = Http(REQUEST_SECONDS, connect_seconds=3, limit_bytes=ANSWER_LIMIT_BYTES)
        self._until = 0.0
        self._not_before = 0.0

    def begin(self) -> None:
        """A round begins. Raises PoolError while Coder has asked to be left alone."""
        now = time.monotonic()
        if now < self._not_before:
            raise PoolError(message("cluster_coder_busy", seconds=round(self._not_before - now)))
        self._until = now + ROUND_SECONDS

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Raises PoolError."""
        if time.monotonic() > self._until:
            raise PoolError(message("cluster_coder_slow"))
        try:
            token = self._token_file.read_text().strip()
        except OSError as error:
            raise PoolError(message("cluster_coder_token_unreadable", error=str(error))) from error
        sent = {"Coder-Session-Token": token, "Accept": "application/json", "Content-Type": "application/json"}
        try:
            text = None if body is None else json.dumps(body)
            answer = self._http.ask(method, self._url + path, body=text, headers=sent)
        except NoAnswerError as error:
            raise PoolError(message("cluster_coder_away", error=str(error))) from error
        if answer.status >= 400:
            raise self._refused(answer)
        try:
            return json.loads(answer.body)
        except ValueError as error:
            raise PoolError(message("cluster_coder_not_json")) from error

    def _refused(self, answer: Answer) -> PoolError:
        try:
            said = str(answer.document().get("message", ""))[:300]
        except ValueError:
            said = ""
        if answer.status == 401:
            return PoolError(message("cluster_coder_token_refused"))
        if answer.status == 429:
            given = answer.headers.get("Retry-After", "")
            seconds = float(given) if given.isdigit() else BACK_OFF_SECONDS
            self._not_before = time.monotonic() + min(seconds, 300.0)
            return PoolError(message("cluster_coder_busy", seconds=round(seconds)))
        return PoolError(message("cluster_coder_refused", status=answer.status, answer=said))
