"""Wishes of a profile for its Pod: where it runs, with what beside it, and how the cluster treats it."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from keruta.domain.catalog.common import Problems, env_faults, nul_faults
from keruta.domain.messages import message

QUANTITY = r"^[0-9]{1,9}(\.[0-9]{1,3})?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
PULL_SECRET_PREFIX = "keruta-job-"  # noqa: S105  a name
_UNITS = {
    "": Decimal(1), "m": Decimal("0.001"), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9),
    "T": Decimal(10**12), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
}  # fmt: skip
_DNS = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DNS_NAME = rf"{_DNS}(\.{_DNS})*"
_KEY = re.compile(rf"({_DNS_NAME}/)?[A-Za-z0-9]([A-Za-z0-9._-]{{0,61}}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
# Of keruta itself and of the cluster: with these a Pod could pass for another part, or lift its own limits.
_RESERVED_KEYS = re.compile(
    r"(app|batch|controller-uid|job-name)|(.*\.)?(kubernetes\.io|k8s\.io|knative\.dev|keruta\.dev)/.*"
)
_EXTENDED = re.compile(rf"{_DNS_NAME}/[A-Za-z0-9]([A-Za-z0-9._-]{{0,61}}[A-Za-z0-9])?")
IMAGE = re.compile(r"[a-z0-9][A-Za-z0-9._:/@-]{0,499}")

Quantity = Annotated[str, Meta(pattern=QUANTITY, description="a Kubernetes quantity, such as 500m or 2Gi")]
DnsLabel = Annotated[str, Meta(max_length=63, pattern=f"^{_DNS}$", description="lower-case letters, digits and -")]
DnsName = Annotated[
    str, Meta(max_length=253, pattern=f"^{_DNS_NAME}$", description="lower-case letters, digits, - and .")
]
ServiceName = Annotated[str, Meta(max_length=40, pattern=f"^{_DNS}$", description="lower-case letters, digits and -")]
PullSecret = Annotated[
    str, Meta(max_length=253, pattern=f"^{PULL_SECRET_PREFIX}{_DNS_NAME}$", description="keruta-job-…")
]
Texts = Annotated[dict[str, Annotated[str, Meta(max_length=4096)]], Meta(max_length=50)]
Words = Annotated[list[Annotated[str, Meta(min_length=1, max_length=4096)]], Meta(max_length=100)]


class NodeRequirement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A requirement of a node's labels; all of a profile's must hold."""

    key: Annotated[str, Meta(max_length=317)]
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = "In"
    values: Annotated[list[Annotated[str, Meta(max_length=63)]], Meta(max_length=50)] = []

    def faults(self) -> Problems:
        if not _KEY.fullmatch(self.key):
            yield "/key", message("field_label_name")
        if self.operator in ("In", "NotIn") and not self.values:
            yield "/values", message("field_values_needed")
        elif self.operator in ("Exists", "DoesNotExist") and self.values:
            yield "/values", message("field_values_unwanted")
        elif self.operator in ("Gt", "Lt") and not (len(self.values) == 1 and re.fullmatch("[0-9]+", self.values[0])):
            yield "/values", message("field_values_number")
        for number, value in enumerate(self.values):
            if not _LABEL_VALUE.fullmatch(value):
                yield f"/values/{number}", message("field_label_value")


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A program beside the script, such as a database: at localhost, and ready before the script starts.

    It counts as ready when it takes connections at `port`, or when `ready`, a command in its container, succeeds.
    """

    name: ServiceName
    image: Annotated[str, Meta(min_length=1, max_length=500)]
    command: Words = []
    env: Texts = {}
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    ready: Words = []
    ready_seconds: Annotated[int, Meta(ge=1, le=3600)] = 120
    directories: Annotated[
        list[Annotated[str, Meta(max_length=300, pattern=r"^/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$")]],
        Meta(max_length=10, description="directories it may write, empty at first"),
    ] = []
    cpu: Quantity = "500m"
    memory: Quantity = "512Mi"

    def faults(self) -> Problems:
        if not IMAGE.fullmatch(self.image):
            yield "/image", message("field_image")
        if (self.port is None) == (not self.ready):
            yield "/port", message("field_service_ready")
        yield from nul_faults("/command", self.command)
        yield from nul_faults("/ready", self.ready)
        yield from env_faults(self.env)
        for number, directory in enumerate(self.directories):
            if ".." in directory.split("/") or directory in ("/proc", "/sys", "/dev", "/tmp"):  # noqa: S108
                yield f"/directories/{number}", message("field_service_directory")


class PodOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A profile's wishes for its Pod beside the script's image, its resources and its network."""

    annotations: Texts = {}
    labels: Texts = {}
    priority_class: DnsName | None = None
    runtime_class: DnsName | None = None
    image_pull_secrets: Annotated[list[PullSecret], Meta(max_length=10)] = []
    node_affinity: Annotated[list[NodeRequirement], Meta(max_length=20)] = []
    extended_resources: Annotated[
        dict[str, Annotated[int, Meta(ge=1, le=1024)]],
        Meta(max_length=10, description="devices by their names, such as nvidia.com/gpu"),
    ] = {}
    volumes: Annotated[
        list[DnsName],
        Meta(max_length=10, description="volume claims that the installation allows; at /volumes/NAME"),
    ] = []
    services: Annotated[list[Service], Meta(max_length=5)] = []

    def faults(self) -> Problems:
        for field in ("annotations", "labels"):
            for name, value in getattr(self, field).items():
                if not _KEY.fullmatch(name):
                    yield f"/{field}/{name[:80]}", message("field_label_name")
                elif _RESERVED_KEYS.fullmatch(name):
                    yield f"/{field}/{name[:80]}", message("field_label_reserved")
                elif field == "labels" and not _LABEL_VALUE.fullmatch(value):
                    yield f"/{field}/{name[:80]}", message("field_label_value")
        if (self.priority_class or "").startswith("system-"):
            yield "/priority_class", message("field_priority_class")
        for name in self.extended_resources:
            if not _EXTENDED.fullmatch(name) or _RESERVED_KEYS.fullmatch(name):
                yield f"/extended_resources/{name[:80]}", message("field_extended_resource")
        for field in ("node_affinity", "services"):
            for number, one in enumerate(getattr(self, field)):
                yield from ((f"/{field}/{number}{at}", said) for at, said in one.faults())
        for field in ("volumes", "image_pull_secrets"):
            yield from twice_faults(field, getattr(self, field))
        yield from twice_faults("services", [one.name for one in self.services], "/name")


def twice_faults(field: str, names: list[str], below: str = "") -> Problems:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield f"/{field}/{number}{below}", message("field_twice", name=name)


def amount(quantity: str) -> Decimal:
    """Return a Kubernetes quantity as a number."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity).groups()  # type: ignore[union-attr]
    return Decimal(number) * _UNITS[unit]


def plain(value: msgspec.Struct) -> dict[str, Any]:
    """Return a struct as Kubernetes takes it: without what was not given."""
    return {name: found for name in value.__struct_fields__ if (found := getattr(value, name)) not in (None, [])}
