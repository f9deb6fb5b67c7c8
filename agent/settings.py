"""Settings of agents, from the environment; see `keruta.settings.load`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from keruta.domain.repository import DEFAULT_TRANSPORTS


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's settings."""

    agent_url: str = ""
    """Where to report to, without `/agent/v1`."""

    worker_id: str = ""
    """This worker's name. It keeps it over restarts: then it finds its own jobs again."""

    worker_slots: int = 2
    """How many attempts it makes at once: as many as the machine has cores, for work that computes."""

    issuer_url: str = ""
    """Where the identity provider is reached: its realm's address."""

    worker_client_id: str = "keruta-worker"
    """The client that workers are to it."""

    worker_client_secret_file: Path | None = None
    """That client's secret, in a file. Not set: a token is taken from the file below."""

    worker_token_file: Path = Path("/etc/keruta/tokens/worker")
    """Its service account's token, in a file; needed to register, and not after that."""

    worker_listen: str = "127.0.0.1:0"
    """Where it listens for `task.assigned`. Empty: nowhere; its heartbeat then brings the tasks."""

    worker_address: str = ""
    """What it tells keruta to send `task.assigned` to. Empty: the address that it listens on."""

    worker_dir: Path = Path("/var/lib/keruta/worker")
    """Where it keeps jobs at work and the clone cache."""

    results_dir: Path = Path("/var/lib/keruta/results")
    """Where artifacts go: the shared volume."""

    credentials_key: Path = Path("/etc/keruta/keys/credentials.key")
    """The key file that opens sealed credentials; on one machine alone."""

    secrets_dir: Path = Path("/credentials")
    """Where Kubernetes Secrets are mounted, each by its name; in a Job Pod's agent alone."""

    transports: frozenset[str] = DEFAULT_TRANSPORTS
    """Which of https, http, ssh and file Git may use, in submodules too."""

    own_git: bool = False
    """Whether Git may use this user's own configuration, ssh keys and agent: on one's own machine."""

    git_stall_seconds: int = 60
    """How long a Git server may send nothing before the connection is given up, and tried again."""

    fetch_proxy: bool = True
    """Whether scripts may fetch more of their own repository through the agent, which keeps the credential."""

    clone_cache: bool = True
    """Whether commits that were fetched before are kept, to spare the transfer. The remote is asked all the same."""

    clone_cache_bytes: int = 10 * 1024**3
    """How large the clone cache may be, 10 GiB; in a cluster, that of one repository. The least recently used goes."""

    grace_seconds: float = 10.0
    """How long a script that was told to end may take, before it is killed."""

    output_limit_bytes: int = 1024 * 1024 * 1024
    """How much a script may write, 1 GiB; it is ended when it writes more."""

    runner: str = "process"
    """Where scripts run: `process` (as processes of this machine) or `kubernetes` (as Jobs of a cluster)."""

    isolation: str = "auto"
    """`bubblewrap`, `none`, or `auto`: bubblewrap where it is there and works."""

    fence_read_paths: tuple[str, ...] | None = None
    """What a fenced script may read beside the system. Not set: the PATH's directories and what they are part of."""

    private_paths: tuple[str, ...] = ()
    """What no fenced script may see, wherever it lies: on one machine, the directory of keruta's state."""

    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that all Jobs of an installation share; for the `kubernetes` runner."""

    job_namespace: str = "keruta"
    """Where Jobs are made: the worker's own namespace."""

    job_agent_image: str = ""
    """The image of the agent beside each script. Empty: the one that the worker's own Pod runs."""

    job_agent_url: str = ""
    """Where that agent reports to. Empty: where the worker itself does."""

    job_image: str = "debian:bookworm-slim"
    """The image of scripts whose profile names none. Any with a shell will do."""

    job_pull_policy: str = "IfNotPresent"
    """How the cluster pulls both images."""

    job_service_account: str = "keruta-job"
    """The account that Job Pods run as; it has no rights, and no token of it is mounted."""

    job_results_claim: str = ""
    """The shared volume's claim (ReadWriteMany): results, and the clone cache. Empty: nothing is shared."""

    job_cpu: str = "1"
    """A script's processors at most, where its profile says nothing."""

    job_memory: str = "1Gi"
    """A script's memory at most, where its profile says nothing."""

    job_agent_memory: str = "384Mi"
    """The memory of the agent beside each script at most, where repository and profile say nothing."""

    job_disk: str = "10Gi"
    """The size of each of a Job's own directories at most."""

    job_disk_request: str = "256Mi"
    """The disk that a script is promised, where its profile says nothing: a node that has less left takes no more."""

    job_volumes: frozenset[str] = frozenset()
    """Volume claims beside the Jobs that profiles may name, read-only; `NAME:rw` may be written."""

    job_grace_seconds: int = 60
    """From a Pod's SIGTERM to its end: the script's grace, and the time for the last of its log and results."""

    job_keep_seconds: int = 600
    """How long a finished Job can still be looked at in the cluster."""

    job_patience_seconds: float = 300.0
    """How long a Pod may wait for room, or for its containers, before its task fails with what the cluster says."""

    fetch_proxy: bool = True
    """Whether scripts may fetch more of their own repository through the agent beside them."""

    own_git: bool = False
    """Whether Git may use the configuration and keys of the agent's own user, such as those that its image brings."""

    git_stall_seconds: int = 60
    """How long a Git server may send nothing before the connection is given up, and tried again."""

    grace_seconds: float = 10.0
    """How long a script that was told to end may take, before it is killed."""

    transports: frozenset[str] = DEFAULT_TRANSPORTS
    """Which of https, http and ssh Git may use."""
