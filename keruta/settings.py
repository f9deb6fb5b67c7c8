"""Settings from the environment: read once where a program starts, with all faults reported at once.

Every setting's docstring says its meaning, its unit and why its default is what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from keruta.domain.repository import DEFAULT_TRANSPORTS, TRANSPORTS
from keruta.domain.scaling import Bounds
from keruta.errors import SettingsError

T = TypeVar("T", bound=msgspec.Struct)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One program's settings. A field `mongo_url` is the variable `KERUTA_MONGO_URL`."""

    mongo_url: str = "mongodb://127.0.0.1:27017/?replicaSet=keruta"
    """Where MongoDB is. It has to be a replica set (one member is enough): transactions and change streams need it."""

    mongo_database: str = "keruta"
    """The database's name."""

    broker_url: str = ""
    """Where events are sent, by HTTP. Empty: nowhere; the tick alone then does the work, within its 10 s."""

    public_url: str = ""
    """The one address that clients see; answers' `Location` begins with it. Empty: answers say paths."""

    agent_url: str = ""
    """Where agents report to (without `/agent/v1`). The dispatcher asks it too, before it lets any lease expire."""

    lease_seconds: float = 30.0
    """How long an attempt is believed in without word of it. Six heartbeats, so that one lost does nothing."""

    heartbeat_seconds: float = 5.0
    """How often a worker reports when it has nothing to say. Shrinks with the lease: at most a third of it."""

    log_limit_bytes: int = 16 * 1024 * 1024
    """How much of an attempt's log MongoDB keeps: 16 MiB, which is more than a person reads."""

    log_days: float = 30.0
    """How long logs stay in MongoDB, in days."""

    artifact_days: float = 90.0
    """How long what attempts left behind stays on the shared storage after their task has ended, in days."""

    task_days: float = 365.0
    """How long finished tasks are known, in days: a year, so that last year's release can still be looked at."""

    audit_days: float = 730.0
    """How long the audit record goes back, in days: two years, as auditors ask for."""

    results_dir: Path = Path("/var/lib/keruta/results")
    """Where artifacts and whole logs are: the shared volume."""

    issuer: str = "keruta-local"
    """The `iss` that people's and service accounts' tokens must have: of Keycloak, its realm's address."""

    issuer_url: str = ""
    """Where that issuer is reached from here. Empty: at the address that it names itself by."""

    trusted_keys: Path | None = None
    """A JWKS file with the issuer's public keys, where it is not to be asked for them: on one machine."""

    clients: frozenset[str] = frozenset({"keruta-admin", "keruta-cli", "keruta-dispatcher", "keruta-worker"})
    """The clients (`azp`) whose tokens are taken. Empty: any of that issuer's, if the audience is right."""

    cli_client_id: str = "keruta-cli"
    """The client as which `keruta login` signs people in."""

    admin_client_id: str = "keruta-admin"
    """The client as which the web admin signs people in."""

    admin_client_secret_file: Path | None = None
    """That client's secret, in a file."""

    people_client_id: str = ""
    """The client whose service account changes people's roles at Keycloak. Empty: they are changed there alone."""

    people_client_secret_file: Path | None = None
    """That client's secret, in a file."""

    sign_in_code_file: Path | None = None
    """On one machine: a file with the code by which its person signs in to the web admin, in place of a provider."""

    sign_in_token_file: Path | None = None
    """A file with the token that this code stands for."""

    sign_ins_per_minute: int = 30
    """Attempts to sign in from one address in a minute: enough for an office behind one, too few to guess. 0: any."""

    roles_claim: str = "realm_access.roles"
    """Where a token has its roles; dots go into objects."""

    groups_claim: str = "groups"
    """Where a token has its groups."""

    requests_per_minute: int = 6000
    """Requests of one person or API key in a minute, to all parts together: a hundred a second. 0: any number."""

    api_key_owner_days: float = 30.0
    """How long after its owner last came with a token of the identity provider's an API key works, in days: a key's
    roles are only as fresh as that. 0: as long as the key itself."""

    offline_grace_seconds: float = 8 * 3600.0
    """How long after a token ran out it may still read, while its issuer is away: a working day. 0: not at all."""

    audience: str = "keruta-api"
    """The `aud` that these tokens must have."""

    session_key: Path = Path("/etc/keruta/keys/session.pem")
    """The Ed25519 key (PEM) that signs workers' sessions and attempts' tokens: private for report_status alone."""

    credentials_key: Path = Path("/etc/keruta/keys/credentials.key")
    """The keys that seal credentials, one a line, the first for new ones; for report_status and admin alone."""

    provenance_key: Path = Path("/etc/keruta/provenance/provenance.pem")
    """The Ed25519 key (PEM) that signs statements of what attempts did; for dispatch alone. It may be replaced at any
    time; without it, statements stay due."""

    credentials_store: str = "kubernetes"
    """Where long-lived credentials are: `kubernetes` (Secrets, by name) or `sealed` (in MongoDB, on one machine)."""

    event_issuer: str = ""
    """Who signs the tokens that events come with: in a cluster, the issuer of its service accounts' tokens, with which
    Knative delivers. Empty: the issuer of people's tokens, whose role `dispatcher` brings events."""

    event_keys: Path | None = None
    """A JWKS file with that issuer's keys, for one that is no cluster: its role `dispatcher` brings events."""

    event_audience: str = "keruta-events"
    """The audience that Triggers and sources name for such deliveries."""

    event_senders: str = "system:serviceaccount:keruta:"
    """What the subject of such a token begins with: the accounts that Knative makes for Triggers and sources here."""

    client_id: str = "keruta-dispatcher"
    """The client that keruta itself is to the issuer: events are sent with its token."""

    client_secret_file: Path | None = None
    """That client's secret, in a file. Not set: the token is taken from the file below."""

    event_token_file: Path = Path("/etc/keruta/tokens/events")
    """The token that events are sent with, in a file; it may be replaced at any time. Not there: sent without."""

    transports: frozenset[str] = DEFAULT_TRANSPORTS
    """Which of https, http, ssh and file a repository's address may use. `file` reads the worker's own disk."""

    own_git: bool = False
    """Whether looks at a repository may use this user's own Git configuration and keys: on one's own machine."""

    webhook_networks: tuple[str, ...] = ()
    """Private networks that webhooks may be sent to, also over http. Empty: none; what is inside is not reached."""

    worker_addresses: tuple[str, ...] = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    """Networks that `task.assigned` may be sent to: a worker names its own address, and keruta is no one's proxy."""

    otlp_endpoint: str = ""
    """An OpenTelemetry collector (OTLP over HTTP, without `/v1/traces`) that gets a trace of each task. Empty: none."""

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
        if faults:
            raise SettingsError("; ".join(faults))

    @property
    def heartbeat(self) -> float:
        """The heartbeat in seconds that goes with the lease."""
        return min(self.heartbeat_seconds, self.lease_seconds / 3)


class PoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the pool of workers is sized; for dispatch."""

    pool: str = "none"
    """What starts and ends workers: `deployment` (of this cluster), `coder` (workspaces); `none`: they are given."""

    pool_least: int = 1
    """How many workers there always are."""

    pool_most: int = 4
    """How many workers there are at the most."""

    pool_slots: int = 10
    """How many attempts each of them makes at once: what its own KERUTA_WORKER_SLOTS says."""

    pool_calm_seconds: float = 120.0
    """How long fewer workers must have been enough before one is ended, so that waves don't rock the pool."""

    pool_deployment: str = "worker"
    """The Deployment that is scaled."""

    pool_namespace: str = "keruta"
    """Its namespace."""

    coder_url: str = ""
    """Where Coder is."""

    coder_token_file: Path = Path("/etc/keruta/coder/token")
    """A Coder API token, in a file that is read each time: it may be replaced."""

    coder_template: str = ""
    """The template that workspaces are made from."""

    coder_prefix: str = "keruta-worker-"
    """What the names of keruta's own workspaces begin with; a number follows. By it they are found again."""

    coder_worker_id: str = "{name}"
    """By what id a workspace's worker registers; `{name}` and `{owner}` are the workspace's."""

    coder_parameters: tuple[str, ...] = ()
    """The template's parameters, as name=value."""

    coder_again_seconds: float = 60.0
    """How long after a build has failed it is tried again."""

    coder_keep_seconds: float = 7 * 86400.0
    """How long a stopped workspace is kept before it is deleted: a week, since to start it again is quicker."""

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
    """Reads a group of settings.

    Args:
        environ: `os.environ`, or what stands for it.
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
