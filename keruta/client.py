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
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import quote, urlencode

import msgspec
import urllib3

from keruta.domain.audit import AuditPage
from keruta.domain.catalog.circuits import CircuitView
from keruta.domain.catalog.common import ImportResult, Page
from keruta.domain.catalog.documents import DocumentView, VersionSummary
from keruta.domain.catalog.kinds import KINDS
from keruta.domain.catalog.queues import QueueView
from keruta.domain.catalog.repositories import Validation
from keruta.domain.retention import Pruned
from keruta.domain.task import TaskPage, TaskView
from keruta.errors import KerutaError

T = TypeVar("T")
AGAIN_SECONDS = 0.5


class ApiError(KerutaError):
    """keruta answered that something is wrong, or did not answer.

    Args:
        status: the HTTP status; 0 when there was no answer.
        faults: where in what was sent, and what.
    """

    def __init__(self, message: str, *, status: int = 0, reason: str = "", faults: list[dict[str, str]] | None = None):
        super().__init__(message)
        self.message, self.status, self.reason = message, status, reason
        self.faults = faults or []


class LogEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a followed task: a part of the log (`log`), a change (`status`), or its end (`end`).

    Args:
        base64: the bytes of `text`, in base64, where they are not UTF-8.
    """

    kind: str
    base64: str | None = None
    text: str = ""
    status: str | None = None
    reason: str | None = None
    message: str | None = None
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
        self._url = url.rstrip("/")
        self._token = token
        self._host = {"Host": host} if host else {}
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=60))

    def submit(self, task: Mapping[str, Any], *, idempotency_key: str | None = None) -> TaskView:
        """Submits a task, as the API's document describes it."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._json("POST", "/api/v1/tasks", TaskView, body=task, headers=headers)

    def tasks(self, **filters: str | int | None) -> TaskPage:
        """One page of tasks, newest first."""
        query = urlencode({name: value for name, value in filters.items() if value is not None})
        return self._json("GET", f"/api/v1/tasks?{query}", TaskPage)

    def task(self, task_id: str) -> TaskView:
        return self._json("GET", self._of(task_id), TaskView)

    def cancel(self, task_id: str) -> TaskView:
        return self._json("POST", self._of(task_id, "/cancel"), TaskView)

    def retry(self, task_id: str) -> TaskView:
        return self._json("POST", self._of(task_id, "/retry"), TaskView)

    def accept(self, task_id: str) -> TaskView:
        return self._json("POST", self._of(task_id, "/accept"), TaskView)

    def input(self, task_id: str, text: str) -> TaskView:
        return self._json("POST", self._of(task_id, "/input"), TaskView, body={"text": text})

    def logs(self, task_id: str, *, kind: str = "text/plain", attempt: int | None = None) -> Iterator[bytes]:
        """The log so far, in blocks, as text or (`application/x-ndjson`) as lines of JSON."""
        query = f"?attempt={attempt}" if attempt else ""
        answer = self._request("GET", self._of(task_id, f"/logs{query}"), headers={"Accept": kind}, stream=True)
        yield from answer.stream(65536)

    def artifact(self, task_id: str, path: str, to: BinaryIO) -> None:
        """Writes a file that the script left behind."""
        answer = self._request("GET", self._of(task_id, f"/artifacts/{quote(path)}"), stream=True)
        for block in answer.stream(1 << 20):
            to.write(block)

    def follow(self, task_id: str) -> Iterator[LogEvent]:
        """The log as it comes, until the task has ended. A stream that breaks is taken up where it was."""
        last = ""
        while True:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last} if last else {})}
            try:
                answer = self._request("GET", self._of(task_id, "/logs"), headers=headers, stream=True)
                for name, identity, data in _events(answer):
                    last = identity or last
                    event = msgspec.convert(data | {"kind": name}, LogEvent)
                    yield event
                    if name == "end":
                        return
            except urllib3.exceptions.HTTPError:
                pass
            except ApiError as error:
                if error.status not in (0, 429, 502, 503, 504):
                    raise
            time.sleep(AGAIN_SECONDS)

    # ------------------------------------------------------------ the catalog

    def entries(self, kind: str, **filters: str | int | None) -> Page[Any]:
        """One page of the entries of a kind (`repository`, `credential`, `document`, `profile`, `queue`)."""
        query = urlencode({name: value for name, value in filters.items() if value is not None})
        page: Any = Page
        found: Page[Any] = self._json("GET", f"{_address(kind)}?{query}", page[KINDS[kind].item])
        return found

    def entry(self, kind: str, name: str) -> Any:
        """One entry, as its kind's view; `meta.revision` is what a change is made from."""
        return self._json("GET", _address(kind, name), KINDS[kind].view)

    def create(self, kind: str, spec: Mapping[str, Any]) -> Any:
        return self._json("POST", _address(kind), KINDS[kind].view, body=spec)

    def replace(self, kind: str, spec: Mapping[str, Any], *, revision: int | None) -> Any:
        """Changes an entry. Raises ApiError with status 412 when it is no longer at that revision; None: whatever."""
        headers = {"If-Match": "*" if revision is None else f'"{revision}"'}
        return self._json("PUT", _address(kind, str(spec["name"])), KINDS[kind].view, body=spec, headers=headers)

    def delete(self, kind: str, name: str, *, force: bool = False) -> None:
        self._request("DELETE", _address(kind, name) + ("?force=true" if force else ""))

    def validate(self, name: str) -> Validation:
        """What a look at a repository's real server finds."""
        return self._json("POST", _address("repository", name, "/validate"), Validation)

    def pause(self, name: str, reason: str) -> QueueView:
        return self._json("POST", _address("queue", name, "/pause"), QueueView, body={"reason": reason})

    def resume(self, name: str) -> QueueView:
        return self._json("POST", _address("queue", name, "/resume"), QueueView)

    def versions(self, name: str, **filters: str | int | None) -> Page[VersionSummary]:
        query = urlencode({key: value for key, value in filters.items() if value is not None})
        return self._json("GET", _address("document", name, f"/versions?{query}"), Page[VersionSummary])

    def version(self, name: str, number: int) -> DocumentView:
        return self._json("GET", _address("document", name, f"/versions/{number}"), DocumentView)

    def circuits(self) -> Page[CircuitView]:
        return self._json("GET", "/api/v1/circuits", Page[CircuitView])

    def close_circuit(self, identity: str) -> None:
        self._request("POST", f"/api/v1/circuits/{quote(identity, safe='')}/close")

    def export(self) -> str:
        """All of the catalog, as YAML."""
        return self._request("GET", "/api/v1/export").data.decode()

    def bring_in(self, text: str, *, dry_run: bool) -> ImportResult:
        """Imports what `export` gave: all of it, or nothing. Raises ApiError, whose `faults` name lines."""
        path = "/api/v1/import" + ("?dry_run=true" if dry_run else "")
        return msgspec.json.decode(self._request("POST", path, text=text).data, type=ImportResult)

    def prune(self, *, dry_run: bool) -> Pruned:
        return self._json("POST", "/api/v1/prune" + ("?dry_run=true" if dry_run else ""), Pruned)

    def audit(self, **filters: str | int | None) -> AuditPage:
        query = urlencode({name: value for name, value in filters.items() if value is not None})
        return self._json("GET", f"/api/v1/audit?{query}", AuditPage)

    # ------------------------------------------------------------ requests

    def _of(self, task_id: str, rest: str = "") -> str:
        return f"/api/v1/tasks/{quote(task_id, safe='')}{rest}"

    def _json(
        self, method: str, path: str, cls: type[T], *, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> T:
        answer = self._request(method, path, body=body, headers=headers)
        return msgspec.json.decode(answer.data, type=cls)

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        text: str | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        token = self._token if isinstance(self._token, str) else self._token()
        sent = {"Authorization": f"Bearer {token}", **self._host, **(headers or {})}
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            sent["Content-Type"] = "application/json"
        elif text is not None:
            content = text.encode()
            sent["Content-Type"] = "application/yaml"
        try:
            answer = self._pool.request(
                method, self._url + path, body=content, headers=sent, preload_content=not stream, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(f"keruta does not answer at {self._url}; is it running? (`make run`)") from error
        if answer.status >= 400:
            raise _problem(answer.status, answer.data)
        return answer


def _address(kind: str, name: str | None = None, rest: str = "") -> str:
    collection = f"/api/v1/{KINDS[kind].collection}"
    return collection if name is None else f"{collection}/{quote(name, safe='')}{rest}"


def _problem(status: int, body: bytes) -> ApiError:
    try:
        said = cast("dict[str, Any]", msgspec.json.decode(body))
        return ApiError(said["detail"], status=status, reason=said["reason"], faults=said.get("faults"))
    except (msgspec.DecodeError, KeyError, TypeError):
        return ApiError(f"keruta answered {status}", status=status)


def _events(answer: urllib3.BaseHTTPResponse) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Server-sent events as (name, id, data)."""
    name, identity, data = "", "", b""
    rest = b""
    # read1 gives what has come; stream() would wait for a whole block
    while block := answer.read1(65536):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"event: "):
                name = line[7:].decode()
            elif line.startswith(b"id: "):
                identity = line[4:].decode()
            elif line.startswith(b"data: "):
                data = line[6:]
            elif not line and data:
                yield name, identity, msgspec.json.decode(data)
                name, identity, data = "", "", b""
