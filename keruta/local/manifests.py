"""Reads from `knative/` what Knative would: Services, Triggers, sources and the route. It understands what those files
use, and says so of anything else: what is tried here is what is shipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import yaml

from keruta.errors import SettingsError

FUNCTION = ("python", "-m", "functions")  # what the functions' image starts where a manifest names no command


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A Knative Service, or a Deployment with a Service of its name (admin): a program that serves HTTP."""

    name: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """Retries of a failed delivery: number, pauses, and the (service, path) of dead letters."""

    retry: int = 0
    exponential: bool = True
    delay_seconds: float = 0.2
    dead_letters: tuple[str, str] | None = None


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """Events with these attributes go to that service."""

    name: str
    attributes: tuple[tuple[str, str], ...]
    subscriber: str
    path: str
    delivery: Delivery


class Ping(msgspec.Struct, frozen=True, kw_only=True):
    """A tick: every so many seconds to that service, at that path."""

    name: str
    every_seconds: int
    sink: str
    path: str
    data: str


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that match go to that service, or are sent on.

    Args:
        stream: the route sets no time limit.
        host: the host name that the service is asked under; None for the client's.
    """

    exact: bool
    path: str
    method: str | None
    service: str
    stream: bool
    host: str | None = None
    redirect: str | None = None

    def matches(self, method: str, path: str) -> bool:
        if self.method is not None and method != self.method:
            return False
        if self.exact:
            return path == self.path
        prefix = self.path.rstrip("/")
        return path == prefix or path.startswith(f"{prefix}/")


class Manifests(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    services: dict[str, Service]
    triggers: tuple[Trigger, ...]
    pings: tuple[Ping, ...]
    rules: tuple[Rule, ...]

    @property
    def event_types(self) -> frozenset[str]:
        """The types of events that some Trigger takes; empty where one takes every type."""
        wanted = [dict(trigger.attributes).get("type") for trigger in self.triggers]
        return frozenset() if None in wanted else frozenset(one for one in wanted if one is not None)

    def route(self, method: str, path: str) -> Rule | None:
        """The rule for a request, by the Gateway API's precedence: exact, then the longest prefix, then a method."""
        fitting = [rule for rule in self.rules if rule.matches(method, path)]
        return max(fitting, key=lambda r: (r.exact, len(r.path), r.method is not None), default=None)


def load(directory: Path) -> Manifests:
    """Reads every YAML file there. Raises SettingsError for what the stand-in does not understand."""
    documents = [
        document
        for path in sorted(directory.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        if document
    ]
    if not documents:
        raise SettingsError(f"there are no manifests in {directory}")
    try:
        return Manifests(
            services={service.name: service for service in _services(documents)},
            triggers=tuple(_trigger(document) for document in _of(documents, "Trigger")),
            pings=tuple(_ping(document) for document in _of(documents, "PingSource")),
            rules=tuple(rule for document in _of(documents, "HTTPRoute") for rule in _rules(document)),
        )
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise SettingsError(f"a manifest in {directory} is not as the stand-in knows them: {error!r}") from error


def _of(documents: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


def _services(documents: list[dict[str, Any]]) -> Iterable[Service]:
    knative = [d for d in _of(documents, "Service") if d["apiVersion"].startswith("serving.knative.dev/")]
    served = {document["metadata"]["name"] for document in _of(documents, "Service")}
    deployments = [document for document in _of(documents, "Deployment") if document["metadata"]["name"] in served]
    for document in (*knative, *deployments):
        container = document["spec"]["template"]["spec"]["containers"][0]
        env = tuple((entry["name"], entry["value"]) for entry in container.get("env", []) if "value" in entry)
        command = tuple(part for part in container.get("command", FUNCTION) if part not in ("tini", "--"))
        yield Service(
            name=document["metadata"]["name"], command=command, args=tuple(container.get("args", [])), env=env
        )


def _trigger(document: dict[str, Any]) -> Trigger:
    spec = document["spec"]
    if set(spec) - {"broker", "filter", "subscriber", "delivery"} or set(spec.get("filter", {})) - {"attributes"}:
        raise SettingsError(f"Trigger {document['metadata']['name']}: the stand-in knows exact attributes only")
    attributes = spec.get("filter", {}).get("attributes", {})
    return Trigger(
        name=document["metadata"]["name"],
        attributes=tuple(attributes.items()),
        subscriber=spec["subscriber"]["ref"]["name"],
        path=spec["subscriber"].get("uri", "/"),
        delivery=_delivery(spec.get("delivery", {})),
    )


def _delivery(spec: dict[str, Any]) -> Delivery:
    sink = spec.get("deadLetterSink")
    return Delivery(
        retry=spec.get("retry", 0),
        exponential=spec.get("backoffPolicy", "exponential") == "exponential",
        delay_seconds=_seconds(spec.get("backoffDelay", "PT0.2S")),
        dead_letters=(sink["ref"]["name"], sink.get("uri", "/")) if sink else None,
    )


def _ping(document: dict[str, Any]) -> Ping:
    spec = document["spec"]
    sink = spec["sink"]
    return Ping(
        name=document["metadata"]["name"],
        every_seconds=_every(document["metadata"]["name"], spec["schedule"]),
        sink=sink["ref"]["name"],
        path=sink.get("uri", "/"),
        data=spec.get("data", ""),
    )


def _every(name: str, schedule: str) -> int:
    """Return the seconds between two ticks of a schedule of every N seconds, minutes or hours."""
    for pattern, seconds in ((r"\*/(\d+)( \*){5}", 1), (r"0 \*/(\d+)( \*){4}", 60), (r"0 0 \*/(\d+)( \*){3}", 3600)):
        match = re.fullmatch(pattern, schedule)
        if match is not None:
            return int(match[1]) * seconds
    raise SettingsError(f"PingSource {name}: the stand-in knows every N seconds, minutes or hours, not {schedule!r}")


def _rules(document: dict[str, Any]) -> Iterable[Rule]:
    for rule in document["spec"]["rules"]:
        service, redirect, host = "", None, None
        for backend in rule.get("backendRefs", []):
            service = backend["name"]
        for filter_ in rule.get("filters", []):
            if filter_["type"] == "RequestRedirect":
                redirect = filter_["requestRedirect"]["path"]["replaceFullPath"]
            else:
                host = filter_["urlRewrite"]["hostname"]
                service = host.split(".")[0]
        for match in rule["matches"]:
            yield Rule(
                exact=match["path"]["type"] == "Exact",
                path=match["path"]["value"],
                method=match.get("method"),
                service=service,
                stream=rule.get("timeouts", {}).get("request") == "0s",
                host=host,
                redirect=redirect,
            )


def _seconds(duration: str) -> float:
    match = re.fullmatch(r"PT(\d+(?:\.\d+)?)S", duration)
    if match is None:
        raise SettingsError(f"the stand-in knows durations like PT0.5S, not {duration}")
    return float(match[1])
