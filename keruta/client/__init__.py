"""A small typed client of keruta's API.

client = Client("http://127.0.0.1:8480", token)
task = client.submit({"repository": {"url": "https://example.com/a.git"}, "script": "make test"})
for event in client.follow(task.id):
    print(event.text, end="")
"""

from __future__ import annotations

import time
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

import msgspec
import urllib3

from keruta import structs
from keruta.client.transport import ApiError, Transport, server_sent_events
from keruta.domain.audit import AuditPage
from keruta.domain.catalog.circuits import CircuitView
from keruta.domain.catalog.common import ImportResult, Page
from keruta.domain.catalog.documents import DocumentView, VersionSummary
from keruta.domain.catalog.forges import ForgeCheck, ForgeRepository, ForgeWebhook
from keruta.domain.catalog.kinds import KINDS
from keruta.domain.catalog.queues import QueueView
from keruta.domain.catalog.repositories import RepositoryView, Validation
from keruta.domain.deliveries import DeliveryView
from keruta.domain.model_keys import KeyCheck
from keruta.domain.provenance import ENVELOPE_TYPE, PublicKeys
from keruta.domain.retention import Pruned
from keruta.domain.task import TaskPage, TaskView
from keruta.domain.trigger_tests import TriggerTried
from keruta.domain.users import Me

__all__ = ["ApiError", "Client", "LogEvent"]

AGAIN_SECONDS = 0.5
MOST_EMPTY = 60  # streams without an event, one after another: half a minute
LOST = ("NoAnswer", "AnswerCutShort")  # a follower asks again


class LogEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a followed task: a part of the log (`log`), a change (`status`), its end (`end`), or why no more is
    to be read of it (`closed`).

    Args:
        base64: the bytes of `text`, in base64, where they are not UTF-8.
    """

    kind: str
    base64: str | None = None
    text: str = ""
    status: str | None = None
    reason: str | None = None
    message: str | None = None
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None
    exit_code: int | None = None
    system: bool = False

    @property
    def data(self) -> bytes:
        """The bytes that the script wrote."""
        return self.text.encode() if self.base64 is None else b64decode(self.base64)


class Client:
    """Calls one keruta.

    Args:
        url: its address.
        token: a person's or a program's access token, or what gives one that is good for a while.
        host: the name that a gateway routes by, where it is reached by another address.
    """

    def __init__(self, url: str, token: str | Callable[[], str], *, host: str | None = None) -> None:
        self._api = Transport(url, token, host=host)

    @property
    def address(self) -> str:
        return self._api.url

    def me(self) -> Me:
        """Return the caller, as keruta sees them."""
        return self._api.json("GET", "/api/v1/me", Me)

    def submit(self, task: Mapping[str, Any], *, idempotency_key: str | None = None) -> TaskView:
        """Submits a task, as the API's document describes it."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._api.json("POST", "/api/v1/tasks", TaskView, body=task, headers=headers)

    def tasks(self, **filters: str | int | None) -> TaskPage:
        """One page of tasks, newest first."""
        query = urlencode({name: value for name, value in filters.items() if value is not None})
        return self._api.json("GET", f"/api/v1/tasks?{query}", TaskPage)

    def task(self, task_id: str) -> TaskView:
        return self._api.json("GET", _task(task_id), TaskView)

    def cancel(self, task_id: str) -> TaskView:
        return self._api.json("POST", _task(task_id, "/cancel"), TaskView)

    def retry(self, task_id: str) -> TaskView:
        return self._api.json("POST", _task(task_id, "/retry"), TaskView)

    def accept(self, task_id: str) -> TaskView:
        return self._api.json("POST", _task(task_id, "/accept"), TaskView)

    def continue_task(self, task_id: str, prompt: str) -> TaskView:
        """Go on from a coding agent's task that has ended; returns the new task."""
        return self._api.json("POST", _task(task_id, "/continue"), TaskView, body={"prompt": prompt})

    def push(self, task_id: str, *, branch: str | None = None, if_exists: str | None = None) -> TaskView:
        """Pushes the work that was kept; without a branch, to the one that the task asked for."""
        given = {"branch": branch, "if_exists": if_exists}
        body = {name: value for name, value in given.items() if value is not None}
        return self._api.json("POST", _task(task_id, "/push"), TaskView, body=body)

    def input(self, task_id: str, text: str) -> TaskView:
        return self._api.json("POST", _task(task_id, "/input"), TaskView, body={"text": text})

    def logs(self, task_id: str, *, kind: str = "text/plain", attempt: int | None = None) -> Iterator[bytes]:
        """Yield the log so far, in blocks, as text or (`application/x-ndjson`) as lines of JSON."""
        query = f"?attempt={attempt}" if attempt else ""
        where = _task(task_id, f"/logs{query}")
        answer = self._api.request("GET", where, headers={"Accept": kind}, stream=True, kind=kind)
        yield from self._api.blocks(answer, 65536)

    def artifact(self, task_id: str, path: str, to: BinaryIO, *, attempt: int | None = None) -> None:
        """Writes a file that the script left behind, in the last attempt or in that one."""
        query = f"?attempt={attempt}" if attempt else ""
        where = _task(task_id, f"/artifacts/{quote(path)}{query}")
        answer = self._api.request("GET", where, stream=True, kind="application/octet-stream")
        for block in self._api.blocks(answer, 1 << 20):
            to.write(block)

    def provenance(self, task_id: str, *, attempt: int | None = None) -> bytes:
        """Return the signed statement on the last attempt, or on that one: a DSSE envelope."""
        query = f"?attempt={attempt}" if attempt else ""
        return self._api.request("GET", _task(task_id, f"/provenance{query}"), kind=ENVELOPE_TYPE).data

    def provenance_keys(self) -> PublicKeys:
        return self._api.json("GET", "/api/v1/provenance/keys", PublicKeys)

    def follow(self, task_id: str, *, attempt: int | None = None) -> Iterator[LogEvent]:
        """Yield the log as it comes, until the task, or the attempt that is named, has ended.

        A stream that breaks is resumed where it was; each loss of the connection is one event of the kind `lost`. While
        the task waits, each new reason is one event of the kind `waiting`. When this reader may read no
        more, one event of the kind `closed` says so before ApiError is raised.

        Raises:
            ApiError: the first connection failed, keruta refused a later one, or nothing ever comes, as from a proxy.
        """
        last, begun, lost, empty = "", False, False, 0
        closed: LogEvent | None = None
        waits = _Waits(self, task_id)
        while True:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
            try:
                where = _task(task_id, f"/logs?attempt={attempt}" if attempt else "/logs")
                answer = self._api.request("GET", where, headers=headers, stream=True, kind=headers["Accept"])
                begun, empty = True, empty + 1
                for name, identity, data in server_sent_events(answer):
                    last, lost, empty = identity or last, False, 0
                    if name == "closed":
                        closed = structs.from_plain(data | {"kind": name}, LogEvent)
                        break
                    if name:
                        yield (event := structs.from_plain(data | {"kind": name}, LogEvent))
                        waits.note(event)
                    if name == "end":
                        return
                    if (why := waits.why()) is not None:
                        yield LogEvent(kind="waiting", message=why)
            except (urllib3.exceptions.HTTPError, msgspec.MsgspecError):
                pass
            except ApiError as error:
                if not begun or (error.reason not in LOST and error.status not in (429, 502, 503, 504)):
                    if closed is not None:
                        yield closed
                    raise
            if empty >= MOST_EMPTY:
                raise self._api.unexpected(answer)
            if closed is not None and not lost:  # a token that was renewed meanwhile goes on at once
                lost = True
                continue
            if not lost:
                yield LogEvent(kind="lost", message=f"The connection to {self._api.url} was lost; trying again.")
            lost = True
            time.sleep(AGAIN_SECONDS)

    # ------------------------------------------------------------ the catalog

    def entries(self, kind: str, **filters: str | int | None) -> Page[Any]:
        """One page of the entries of a kind (`repository`, `credential`, `document`, `profile`, `queue`, `trigger`)."""
        query = urlencode({name: value for name, value in filters.items() if value is not None})
        page: Any = Page
        found: Page[Any] = self._api.json("GET", f"{_address(kind)}?{query}", page[KINDS[kind].item])
        return found

    def entry(self, kind: str, name: str) -> Any:
        """One entry, as its kind's view; `meta.revision` is what a change is made from."""
        return self._api.json("GET", _address(kind, name), KINDS[kind].view)

    def create(self, kind: str, spec: Mapping[str, Any]) -> Any:
        return self._api.json("POST", _address(kind), KINDS[kind].view, body=spec)

    def replace(self, kind: str, spec: Mapping[str, Any], *, revision: int | None) -> Any:
        """Changes an entry. Raises ApiError with status 412 when it is no longer at that revision; None: whatever."""
        headers = {"If-Match": "*" if revision is None else f'"{revision}"'}
        return self._api.json("PUT", _address(kind, str(spec["name"])), KINDS[kind].view, body=spec, headers=headers)

    def delete(self, kind: str, name: str, *, force: bool = False) -> None:
        self._api.request("DELETE", _address(kind, name) + ("?force=true" if force else ""), kind="")

    def validate(self, name: str) -> Validation:
        """Check a repository on its Git server."""
        return self._api.json("POST", _address("repository", name, "/validate"), Validation)

    def pause(self, name: str, reason: str) -> QueueView:
        return self._api.json("POST", _address("queue", name, "/pause"), QueueView, body={"reason": reason})

    def resume(self, name: str) -> QueueView:
        return self._api.json("POST", _address("queue", name, "/resume"), QueueView)

    def run_template(
        self,
        template: str,
        parameters: Mapping[str, Any],
        *,
        name: str | None = None,
        idempotency_key: str | None = None,
    ) -> TaskView:
        """Submit the task of a template."""
        body = {"parameters": dict(parameters), **({"name": name} if name is not None else {})}
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._api.json("POST", _address("template", template, "/run"), TaskView, body=body, headers=headers)

    def deliveries(self, trigger: str, **filters: str | int | None) -> Page[DeliveryView]:
        """One page of what a forge delivered to a trigger, newest first."""
        query = urlencode({key: value for key, value in filters.items() if value is not None})
        return self._api.json("GET", _address("trigger", trigger, f"/deliveries?{query}"), Page[DeliveryView])

    def run_trigger(self, trigger: str) -> DeliveryView:
        """Have a trigger start its task now."""
        return self._api.json("POST", _address("trigger", trigger, "/run"), DeliveryView)

    def try_trigger(self, trigger: str, payload: dict[str, Any], event: str | None = None) -> TriggerTried:
        """Say what a trigger would do with an event, and why; nothing is started."""
        body = {"payload": payload, **({"event": event} if event is not None else {})}
        return self._api.json("POST", _address("trigger", trigger, "/test"), TriggerTried, body=body)

    def validate_key(self, name: str) -> KeyCheck:
        """Ask the model's server whether it takes a credential's key."""
        return self._api.json("POST", _address("credential", name, "/validate"), KeyCheck)

    def validate_forge(self, name: str) -> ForgeCheck:
        """Sign in at a forge."""
        return self._api.json("POST", _address("forge", name, "/validate"), ForgeCheck)

    def forge_repositories(self, name: str, cursor: str | None = None) -> Page[ForgeRepository]:
        query = f"?{urlencode({'cursor': cursor})}" if cursor is not None else ""
        return self._api.json("GET", _address("forge", name, f"/repositories{query}"), Page[ForgeRepository])

    def add_repository(self, forge: str, wanted: Mapping[str, Any]) -> RepositoryView:
        """Add a repository of a forge to the catalog."""
        return self._api.json("POST", _address("forge", forge, "/repositories"), RepositoryView, body=wanted)

    def connect_trigger(self, forge: str, trigger: str) -> ForgeWebhook:
        """Have a forge deliver to a trigger."""
        return self._api.json("POST", _address("forge", forge, "/webhooks"), ForgeWebhook, body={"trigger": trigger})

    def replay(self, trigger: str, delivery: str) -> DeliveryView:
        return self._api.json("POST", _delivery(trigger, delivery, "replay"), DeliveryView)

    def approve(self, trigger: str, delivery: str) -> DeliveryView:
        return self._api.json("POST", _delivery(trigger, delivery, "approve"), DeliveryView)

    def versions(self, name: str, **filters: str | int | None) -> Page[VersionSummary]:
        query = urlencode({key: value for key, value in filters.items() if value is not None})
        return self._api.json("GET", _address("document", name, f"/versions?{query}"), Page[VersionSummary])

    def version(self, name: str, number: int) -> DocumentView:
        return self._api.json("GET", _address("document", name, f"/versions/{number}"), DocumentView)

    def circuits(self) -> Page[CircuitView]:
        return self._api.json("GET", "/api/v1/circuits", Page[CircuitView])

    def close_circuit(self, identity: str) -> None:
        self._api.request("POST", f"/api/v1/circuits/{quote(identity, safe='')}/close", kind="")

    def export(self) -> str:
        """All of the catalog, as YAML."""
        return self._api.request("GET", "/api/v1/export", kind="application/yaml").data.decode()

    def bring_in(self, text: str, *, dry_run: bool) -> ImportResult:
        """Imports what `export` gave: all of it, or nothing. Raises ApiError, whose `faults` name lines."""
        path = "/api/v1/import" + ("?dry_run=true" if dry_run else "")
        return self._api.decoded(self._api.request("POST", path, text=text), ImportResult)

    def prune(self, *, dry_run: bool) -> Pruned:
        return self._api.json("POST", "/api/v1/prune" + ("?dry_run=true" if dry_run else ""), Pruned)

    def audit(self, **filters: str | int | None) -> AuditPage:
        query = urlencode({name: value for name, value in filters.items() if value is not None})
        return self._api.json("GET", f"/api/v1/audit?{query}", AuditPage)


class _Waits:
    """Notes why a followed task waits."""

    def __init__(self, client: Client, task_id: str) -> None:
        self._client, self._task_id = client, task_id
        self._queued = False
        self._said: str | None = None

    def note(self, event: LogEvent) -> None:
        if event.kind == "status":
            self._queued = event.status == "queued"

    def why(self) -> str | None:
        """Return why the task waits, if it does and the reason is a new one."""
        if not self._queued:
            return None
        try:
            waiting = self._client.task(self._task_id).waiting
        except ApiError:
            return None  # the log goes on; the reason is told with the next sign of life
        if waiting is None or waiting.why == self._said:
            return None
        self._said = waiting.why
        return waiting.why


def _task(task_id: str, rest: str = "") -> str:
    """Raises ApiError for what would be another address, or none, than a task's."""
    if not task_id.strip(".") or "/" in task_id:
        raise ApiError("There is no such task.", status=404, reason="TaskNotFound")
    return f"/api/v1/tasks/{quote(task_id, safe='')}{rest}"


def _delivery(trigger: str, delivery: str, action: str) -> str:
    return _address("trigger", trigger, f"/deliveries/{quote(delivery, safe='')}/{action}")


def _address(kind: str, name: str | None = None, rest: str = "") -> str:
    collection = f"/api/v1/{KINDS[kind].path}"
    return collection if name is None else f"{collection}/{quote(name, safe='')}{rest}"
