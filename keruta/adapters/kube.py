"""The cluster's API: Jobs and Secrets are made and deleted, Jobs and Pods are listed and watched, as plain documents.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import kubernetes
import urllib3

from keruta.errors import KerutaError

log = logging.getLogger(__name__)

Document = dict[str, Any]
REQUEST_SECONDS = 10
WATCH_SECONDS = 300
AGAIN_FIRST_SECONDS, AGAIN_MOST_SECONDS = 0.5, 10.0
COLLECTIONS = {"Job": ("batch/v1", "jobs"), "Pod": ("v1", "pods")}


class ClusterAwayError(KerutaError):
    """The API server does not answer, for now."""


class ClusterRefusedError(KerutaError):
    """The API server will not do it; the message is its own sentence."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Kube:
    """One namespace of a cluster: the one that this program runs in, or that KUBECONFIG leads to."""

    def __init__(self, namespace: str) -> None:
        if os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
            kubernetes.config.load_incluster_config()  # type: ignore[no-untyped-call]
        else:
            kubernetes.config.load_kube_config()  # type: ignore[no-untyped-call]
        self._api = kubernetes.client.ApiClient()
        self.namespace = namespace
        self._accounts: dict[str, Document] = {}

    def create(self, manifest: Document) -> Document:
        """Make a thing; one of that name that is there already is left as it is.

        Returns it as the API server has it. Of a kind that this account may not read (Secrets), what is there already
        is returned as it was asked for.

        Raises:
            ClusterRefusedError, ClusterAwayError.
        """
        path = self._path(manifest["apiVersion"], _plural(manifest["kind"]))
        try:
            return self._call("POST", path, body=manifest)
        except ClusterRefusedError as error:
            if error.status != 409:
                raise
            if manifest["kind"] not in COLLECTIONS:
                return manifest
            return self._call("GET", f"{path}/{manifest['metadata']['name']}")

    def account(self, name: str) -> Document:
        """A reference to a service account, for what is to go with it. Raises ClusterRefusedError, ClusterAwayError."""
        if name not in self._accounts:
            uid = self.get("v1", "serviceaccounts", name)["metadata"]["uid"]
            self._accounts[name] = {"apiVersion": "v1", "kind": "ServiceAccount", "name": name, "uid": uid}
        return self._accounts[name]

    def image_of(self, pod: str) -> str:
        """Return the image of a Pod's first container. Raises ClusterRefusedError, ClusterAwayError."""
        return str(self.get("v1", "pods", pod)["spec"]["containers"][0]["image"])

    def delete_job(self, name: str) -> None:
        """The Job and its Pod go, with the Pod's grace. Nothing happens where there is none."""
        path = f"{self._path('batch/v1', 'jobs')}/{name}"
        try:
            self._call("DELETE", path, body={"propagationPolicy": "Background"})
        except ClusterRefusedError as error:
            log.info("job not deleted: %s", error, extra={"action": "job_not_deleted"})

    def get(self, api: str, plural: str, name: str = "", **query: str) -> Document:
        """One thing, or a list. Raises ClusterRefusedError, ClusterAwayError."""
        path = self._path(api, plural) + (f"/{name}" if name else "")
        return self._call("GET", path, query=query)

    def patch(self, api: str, plural: str, name: str, body: Document) -> Document:
        """The thing has these fields, and keeps all others. Raises ClusterRefusedError, ClusterAwayError."""
        kind = "application/merge-patch+json"
        return self._call("PATCH", f"{self._path(api, plural)}/{name}", body=body, kind=kind)

    def events_of(self, kind: str, name: str) -> list[str]:
        """Return the cluster's events about an object, newest last: each as `Reason: message`."""
        selector = f"involvedObject.kind={kind},involvedObject.name={name}"
        found = self.get("v1", "events", fieldSelector=selector)["items"]
        found.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
        return [f"{event.get('reason')}: {event.get('message', '')}" for event in found]

    # ------------------------------------------------------------ watching

    def watch(
        self, kind: str, selector: str, told: Callable[[str, list[Document]], None], stop: threading.Event
    ) -> None:
        """Tells of every change, until told to stop. What was missed is told by a list of all.

        Args:
            told: called with `ALL` and every document, or with `ADDED`, `MODIFIED`, `DELETED` and one.
        """
        api, plural = COLLECTIONS[kind]
        pause = AGAIN_FIRST_SECONDS
        while not stop.is_set():
            try:
                listed = self.get(api, plural, labelSelector=selector)
                told("ALL", listed["items"])
                version = listed["metadata"]["resourceVersion"]
                pause = AGAIN_FIRST_SECONDS
                while not stop.is_set():
                    version = self._follow(api, plural, selector, version, told, stop)
            except Exception as error:
                # 410 Gone, a lost connection, an API server that restarts, what nobody foresaw: look anew.
                # A watch that ends in silence would leave tasks without their end.
                said = {"action": "watch_broken", "kind": kind}
                log.info("watch begins anew: %s", f"{type(error).__name__}: {str(error)[:120]}", extra=said)
                stop.wait(pause)
                pause = min(pause * 2, AGAIN_MOST_SECONDS)

    def _follow(
        self, api: str, plural: str, selector: str, version: str,
        told: Callable[[str, list[Document]], None], stop: threading.Event,
    ) -> str:  # fmt: skip
        """Watches from a version until the server ends the watch; returns the version that it got to."""
        query = {
            "watch": "true", "labelSelector": selector, "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS), "allowWatchBookmarks": "true",
        }  # fmt: skip
        response = self._open("GET", self._path(api, plural), query=query, seconds=WATCH_SECONDS + 30)
        try:
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _ExpiredError(str(event["object"].get("message")))
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    told(event["type"], [event["object"]])
                if stop.is_set():
                    break
        finally:
            response.close()
        return version

    # ------------------------------------------------------------ requests

    def _path(self, api: str, plural: str) -> str:
        root = f"/api/{api}" if "/" not in api else f"/apis/{api}"
        return f"{root}/namespaces/{self.namespace}/{plural}"

    def _call(self, method: str, path: str, **more: Any) -> Document:
        """One request. Raises ClusterRefusedError, ClusterAwayError."""
        response = self._open(method, path, **more)
        try:
            document: Document = json.loads(response.data)
        except (ValueError, urllib3.exceptions.HTTPError) as error:
            raise ClusterAwayError(f"the answer broke off: {type(error).__name__}") from error
        finally:
            response.release_conn()
        return document

    def _open(
        self, method: str, path: str, *, body: Any = None, query: Any = None, seconds: float = REQUEST_SECONDS,
        kind: str = "application/json",
    ) -> urllib3.BaseHTTPResponse:  # fmt: skip
        """A request by the client library's own pool and credentials, its answer not read yet."""
        configuration = self._api.configuration
        sent = {"Accept": "application/json", "Content-Type": kind}
        token = configuration.auth_settings().get("BearerToken")
        if token is not None:
            sent[token["key"]] = token["value"]
        try:
            response: urllib3.BaseHTTPResponse = self._api.rest_client.pool_manager.request(
                method,
                configuration.host + path + (f"?{urlencode(query)}" if query else ""),
                body=None if body is None else json.dumps(body),
                headers=sent,
                timeout=urllib3.Timeout(connect=5, read=seconds),
                preload_content=False,
                retries=False,
            )
            if response.status >= 400:
                raise _refusal(response.status, response.data)
        except urllib3.exceptions.HTTPError as error:
            raise ClusterAwayError(type(error).__name__) from error
        return response


class _ExpiredError(Exception):
    """The version is too old to be watched from."""


def _refusal(status: int, body: bytes) -> KerutaError:
    if status == 429 or status >= 500:
        return ClusterAwayError(f"answered {status}")
    try:
        return ClusterRefusedError(str(json.loads(body)["message"]), status)
    except (ValueError, KeyError, TypeError):
        return ClusterRefusedError(f"answered {status}", status)


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    rest = b""
    for block in iter(lambda: response.read1(65536), b""):
        *lines, rest = (rest + block).split(b"\n")
        yield from (line for line in lines if line)


def _plural(kind: str) -> str:
    return f"{kind.lower()}s"
