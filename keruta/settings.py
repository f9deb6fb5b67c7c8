"""Settings from the environment: read once where a program starts, with all faults reported at once.

Each setting's docstring states its meaning, its unit and the reason for its default.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints
from urllib.parse import urlsplit

import msgspec

from keruta.domain.catalog.coding_agents import PLAIN_IMAGES
from keruta.domain.catalog.pods import IMAGE
from keruta.domain.mail_addresses import split_sender
from keruta.domain.repository import DEFAULT_TRANSPORTS, TRANSPORTS
from keruta.domain.scaling import Bounds
from keruta.errors import SettingsError

T = TypeVar("T", bound=msgspec.Struct)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One program's settings. A field `mongo_url` is the variable `KERUTA_MONGO_URL`."""

    mongo_url: str = "mongodb://127.0.0.1:27017/?replicaSet=keruta"
    """MongoDB's address. A replica set (one member is enough) is required for transactions and change streams."""

    mongo_database: str = "keruta"
    """Name of the database."""

    broker_url: str = ""
    """Address of the broker that gets events, by HTTP. Empty: no events are sent; the tick does the work every 10 s."""

    event_types: frozenset[str] = frozenset()
    """Types of the events that are sent, since nobody receives others. Empty: all; on one machine, its Triggers'."""

    public_url: str = ""
    """Address of keruta for clients; `Location` headers begin with it. Empty: these headers have only a path."""

    agent_url: str = ""
    """Address for agents' reports, without `/agent/v1`. Leases expire only while it answers."""

    lease_seconds: float = 30.0
    """Seconds without a report after which an attempt counts as lost. Six heartbeats: a lost one has no effect."""

    heartbeat_seconds: float = 5.0
    """Seconds between a worker's reports while nothing changes; at most a third of the lease."""

    suspend_days: float = 14.0
    """Days that a suspended task waits for a person's answer: two weeks, so that no task fails over a holiday."""

    log_limit_bytes: int = 16 * 1024 * 1024
    """Bytes of an attempt's log that MongoDB keeps: 16 MiB, more than a person reads."""

    log_days: float = 30.0
    """Days that logs are kept in MongoDB."""

    artifact_days: float = 90.0
    """Days after a task's end that its files are kept on the shared storage."""

    task_days: float = 365.0
    """Days that finished tasks are kept: a year, so that last year's release can be looked up."""

    audit_days: float = 730.0
    """Days that audit records are kept: two years, as auditors ask for."""

    metrics: bool = True
    """Whether a function gives its figures at /metrics to whoever reaches it without the gateway."""

    results_dir: Path = Path("/var/lib/keruta/results")
    """Directory of artifacts and whole logs: the shared volume."""

    dependency_cache_bytes: int = 10 * 1024**3
    """Bytes of dependency caches that agents upload, 10 GiB in all. The least recently used are removed."""

    issuer: str = "keruta-local"
    """Required `iss` of people's and service accounts' tokens; with Keycloak, the realm's address."""

    issuer_url: str = ""
    """Address of that issuer inside the cluster. Empty: the same as `KERUTA_ISSUER`."""

    trusted_keys: Path | None = None
    """JWKS file with the issuer's public keys, for one machine. Not set: the issuer is asked for its keys."""

    clients: frozenset[str] = frozenset({"keruta-admin", "keruta-cli", "keruta-dispatcher", "keruta-worker"})
    """Clients (`azp`) whose tokens are accepted. Empty: every client of the issuer, if the audience is right."""

    cli_client_id: str = "keruta-cli"
    """Client id of `keruta login`."""

    admin_client_id: str = "keruta-admin"
    """Client id of the web admin's sign-in."""

    admin_client_secret_file: Path | None = None
    """File with the secret of the web admin's client."""

    people_client_id: str = ""
    """Client whose service account changes people's roles at Keycloak. Empty: roles are changed in Keycloak only."""

    people_client_secret_file: Path | None = None
    """File with the secret of the client that changes roles."""

    sign_in_code_file: Path | None = None
    """File with the sign-in code of the web admin, for one machine without an identity provider."""

    sign_in_token_file: Path | None = None
    """File with the token of whoever signs in by that code."""

    sign_ins_per_minute: int = 30
    """Sign-in attempts per minute and address: enough for an office behind one address. 0: no limit."""

    roles_claim: str = "realm_access.roles"
    """Path of the roles in a token; a dot leads into an object."""

    groups_claim: str = "groups"
    """Path of the groups in a token."""

    requests_per_minute: int = 6000
    """Requests per minute of one person or API key, over all parts: a hundred per second. 0: no limit."""

    api_key_owner_days: float = 30.0
    """Days that an API key works after its owner last signed in, which is how old its roles are. 0: no limit."""

    offline_grace_seconds: float = 8 * 3600.0
    """Seconds that an expired token may still read while its issuer does not answer: a working day. 0: none."""

    audience: str = "keruta-api"
    """Required `aud` of people's and service accounts' tokens."""

    session_key: Path = Path("/etc/keruta/keys/session.pem")
    """Ed25519 key (PEM) that signs workers' sessions and attempts' tokens; only report_status has the private key."""

    credentials_key: Path = Path("/etc/keruta/keys/credentials.key")
    """File with the keys that encrypt credentials, one per line, the first for new ones; for report_status, admin."""

    provenance_key: Path = Path("/etc/keruta/provenance/provenance.pem")
    """Ed25519 key (PEM) that signs provenance statements; for dispatch only. It may be replaced at any time. Statements
    wait while it is missing."""

    credentials_store: str = "kubernetes"
    """Storage of credentials: `kubernetes` (Secrets, by name) or `sealed` (encrypted in MongoDB, on one machine)."""

    event_issuer: str = ""
    """Issuer of the tokens in events: in a cluster, the issuer of its service accounts' tokens, which Knative uses.
    Empty: the issuer of people's tokens; the sender needs the role `dispatcher`."""

    event_keys: Path | None = None
    """JWKS file with that issuer's keys, outside a cluster; the sender needs the role `dispatcher`."""

    event_audience: str = "keruta-events"
    """Audience of the tokens in events, as Triggers and sources name it."""

    event_senders: str = "system:serviceaccount:keruta:"
    """Prefix of the subject of these tokens: the accounts that Knative makes for Triggers and sources here."""

    client_id: str = "keruta-dispatcher"
    """Client id of keruta itself; events are sent with its token."""

    client_secret_file: Path | None = None
    """File with that client's secret. Not set: `KERUTA_EVENT_TOKEN_FILE` is used."""

    event_token_file: Path = Path("/etc/keruta/tokens/events")
    """File with the token that events are sent with; it may be replaced at any time. Missing: events have no token."""

    transports: frozenset[str] = DEFAULT_TRANSPORTS
    """Schemes of repositories' addresses, of https, http, ssh and file. `file` reads the worker's own disk."""

    own_git: bool = False
    """Use the Git configuration and keys of the user that runs keruta to look at repositories; for one machine."""

    webhook_networks: tuple[str, ...] = ()
    """Private networks that webhooks may be sent to, also over http. Empty: public addresses only."""

    smtp_url: str = ""
    """Server that notices are mailed by: `smtps://HOST:PORT` (TLS), or `smtp://HOST:PORT` (STARTTLS, which it must
    offer). Its certificate is verified. Empty: no e-mails are sent."""

    smtp_login_file: Path | None = None
    """File with `USER:PASSWORD` for that server; it may be replaced at any time. Not set: no login."""

    smtp_sender: str = ""
    """Sender of the e-mails, as an address or as `Name <address>`."""

    mails_per_hour: int = 10
    """E-mails to one person in an hour. What ends beyond them stands together in the next one."""

    worker_addresses: tuple[str, ...] = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    """Networks that `task.assigned` may be sent to, since workers choose the address."""

    coding_agent_images: tuple[str, ...] = ()
    """Images with a coding agent in them, for profiles that name none: `claude-code=IMAGE,codex=IMAGE,aider=IMAGE`. For
    what is not listed it is node:22 or python:3.12, and each task installs the program."""

    otlp_endpoint: str = ""
    """OpenTelemetry collector (OTLP over HTTP, without `/v1/traces`) that gets a trace of each task. Empty: none."""

    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    def __post_init__(self) -> None:
        faults = []
        if self.lease_seconds < 1:
            faults.append("KERUTA_LEASE_SECONDS must be 1 or more")
        if unknown := sorted(set(self.transports) - set(TRANSPORTS)):
            faults.append(f"KERUTA_TRANSPORTS knows {', '.join(TRANSPORTS)}; not {', '.join(unknown)}")
        if self.credentials_store not in ("kubernetes", "sealed"):
            faults.append("KERUTA_CREDENTIALS_STORE must be kubernetes or sealed")
        for name in ("log_days", "artifact_days", "task_days", "audit_days"):
            if getattr(self, name) <= 0:
                faults.append(f"KERUTA_{name.upper()} must be more than 0")
        if self.api_key_owner_days < 0:
            faults.append("KERUTA_API_KEY_OWNER_DAYS must be 0 or more")
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            faults.append("KERUTA_LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR")
        if any(name not in PLAIN_IMAGES or not IMAGE.fullmatch(image) for name, image in self._agents_images):
            faults.append(f"KERUTA_CODING_AGENT_IMAGES must be NAME=IMAGE,… for {', '.join(PLAIN_IMAGES)}")
        faults += self._mail_faults()
        if faults:
            raise SettingsError("; ".join(faults))

    def _mail_faults(self) -> Iterator[str]:
        if not self.smtp_url:
            return
        try:
            parts = urlsplit(self.smtp_url)
            usable = parts.scheme in ("smtp", "smtps") and parts.hostname and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.path.strip("/") or parts.query or parts.username is not None:
            yield "KERUTA_SMTP_URL must be smtps://HOST:PORT or smtp://HOST:PORT; a login is in KERUTA_SMTP_LOGIN_FILE"
        if split_sender(self.smtp_sender) is None:
            yield "KERUTA_SMTP_SENDER must be an address, or Name <address>"
        if not self.public_url:
            yield "KERUTA_SMTP_URL needs KERUTA_PUBLIC_URL, since each e-mail has a link"
        if self.mails_per_hour < 1:
            yield "KERUTA_MAILS_PER_HOUR must be 1 or more"

    @property
    def _agents_images(self) -> list[tuple[str, str]]:
        rows = (entry.strip().partition("=") for entry in self.coding_agent_images)
        return [(name, image) for name, _, image in rows]

    @property
    def images_of_coding_agents(self) -> dict[str, str]:
        """Return the images with a coding agent in them, by the coding agents' names."""
        return dict(self._agents_images)

    @property
    def heartbeat(self) -> float:
        """The heartbeat in seconds, at most a third of the lease."""
        return min(self.heartbeat_seconds, self.lease_seconds / 3)


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Size of the pool of workers; for dispatch."""

    pool: str = "none"
    """Kind of pool: `deployment` (in this cluster), `coder` (workspaces), or `none`: workers are started by hand."""

    pool_least: int = 1
    """Least number of workers."""

    pool_most: int = 4
    """Greatest number of workers."""

    pool_slots: int = 10
    """Attempts that each worker runs at the same time, as in its own KERUTA_WORKER_SLOTS."""

    pool_calm_seconds: float = 120.0
    """Seconds for which fewer workers must have been enough before one is stopped; this keeps the pool steady."""

    pool_deployment: str = "worker"
    """Name of the Deployment that is scaled."""

    pool_namespace: str = "keruta"
    """Namespace of that Deployment."""

    coder_url: str = ""
    """Address of Coder."""

    coder_token_file: Path = Path("/etc/keruta/coder/token")
    """File with a Coder API token; it may be replaced at any time."""

    coder_template: str = ""
    """Template of the workspaces."""

    coder_prefix: str = "keruta-worker-"
    """Prefix of the names of keruta's own workspaces, before a number; keruta finds them by it."""

    coder_worker_id: str = "{name}"
    """Id of a workspace's worker; `{name}` and `{owner}` are the workspace's."""

    coder_parameters: tuple[str, ...] = ()
    """Parameters of the template, as name=value."""

    coder_again_seconds: float = 60.0
    """Seconds between a failed build and the next one."""

    coder_keep_seconds: float = 7 * 86400.0
    """Seconds that a stopped workspace is kept: a week, since a stopped one starts faster than a new one."""

    def __post_init__(self) -> None:
        faults = []
        if self.pool not in ("none", "deployment", "coder"):
            faults.append("KERUTA_POOL must be none, deployment or coder")
        if not 0 <= self.pool_least <= self.pool_most:
            faults.append("KERUTA_POOL_LEAST must be 0 or more, and KERUTA_POOL_MOST not less")
        if self.pool_slots < 1:
            faults.append("KERUTA_POOL_SLOTS must be 1 or more")
        if self.pool == "coder" and not (self.coder_url and self.coder_template):
            faults.append("KERUTA_POOL=coder needs KERUTA_CODER_URL and KERUTA_CODER_TEMPLATE")
        if any("=" not in parameter for parameter in self.coder_parameters):
            faults.append("KERUTA_CODER_PARAMETERS is a list of name=value")
        if faults:
            raise SettingsError("; ".join(faults))

    @property
    def bounds(self) -> Bounds:
        return Bounds(
            least=self.pool_least, most=self.pool_most, slots=self.pool_slots, calm_seconds=self.pool_calm_seconds
        )


def load(environ: Mapping[str, str], cls: type[T] = Settings) -> T:  # type: ignore[assignment]
    """Read a group of settings.

    Args:
        environ: `os.environ`, or another mapping in tests.
        cls: a struct whose fields are str, int, float, bool, Path, or a set or tuple of str.

    Raises:
        SettingsError: a variable can't be read; the message names each one that can't.
    """
    values: dict[str, Any] = {}
    faults = []
    hints = get_type_hints(cls)
    for field in cls.__struct_fields__:
        name = f"KERUTA_{field.upper()}"
        if name not in environ:
            continue
        try:
            values[field] = _parse(environ[name], hints[field])
        except ValueError:
            faults.append(f"{name} must be {_said(hints[field])}, not {environ[name]!r}")
    if faults:
        raise SettingsError("; ".join(faults))
    return cls(**values)


def _parse(text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in ("0", "1", "true", "false", ""):
            raise ValueError(text)
        return text.lower() in ("1", "true")
    if kind == Path | None:
        return Path(text) if text else None
    if kind in (int, float, str, Path):
        return kind(text)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return frozenset(parts) if kind == frozenset[str] else tuple(parts)


def _said(kind: Any) -> str:
    return {int: "a whole number", float: "a number", bool: "0 or 1"}.get(kind, "text")
