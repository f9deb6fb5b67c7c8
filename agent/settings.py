"""Settings of agents, from the environment; see `keruta.settings.load`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from keruta.domain.repository import DEFAULT_TRANSPORTS
from keruta.errors import SettingsError

UPLOAD_SECONDS = 600  # as long as one request of an upload is made again
CACHE_SECONDS = 120  # in which dependency caches are stored, once the script has succeeded
PUSH_SECONDS = 300  # of all tries of a push, once the script has ended


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's settings."""

    agent_url: str = ""
    """Address for reports, without `/agent/v1`."""

    worker_id: str = ""
    """Name of this worker. With the same name after a restart, it finds its own jobs again."""

    worker_slots: int = 2
    """Attempts that run at the same time; for work that computes, the number of cores."""

    issuer_url: str = ""
    """Address of the identity provider's realm."""

    worker_client_id: str = "keruta-worker"
    """Client id of workers at the identity provider."""

    worker_client_secret_file: Path | None = None
    """File with that client's secret. Not set: `KERUTA_WORKER_TOKEN_FILE` is used."""

    worker_token_file: Path = Path("/etc/keruta/tokens/worker")
    """File with the service account's token; used to register only."""

    worker_listen: str = "127.0.0.1:0"
    """Address and port for `task.assigned` events. Empty: none; the worker gets tasks in answers to its reports."""

    worker_address: str = ""
    """Address that keruta sends `task.assigned` to. Empty: the address of `KERUTA_WORKER_LISTEN`."""

    worker_dir: Path = Path("/var/lib/keruta/worker")
    """Directory of running jobs and the clone cache."""

    results: str = "volume"
    """Way of artifacts and logs to keruta: `volume`, which is mounted here, or `upload` over HTTP."""

    results_url: str = ""
    """Address for uploads, without `/agent/v1`. Empty: the address for reports."""

    results_dir: Path = Path("/var/lib/keruta/results")
    """Directory of artifacts: the shared volume. Not used with `upload`."""

    credentials_key: Path = Path("/etc/keruta/keys/credentials.key")
    """File with the keys that decrypt credentials; for one machine only."""

    secrets_dir: Path = Path("/credentials")
    """Directory of mounted Kubernetes Secrets, each by its name; for the agent in a Job's Pod only."""

    transports: frozenset[str] = DEFAULT_TRANSPORTS
    """Schemes that Git may use, of https, http, ssh and file; for submodules too."""

    own_git: bool = False
    """Use the Git configuration, ssh keys and ssh agent of the user that runs the worker; for one machine."""

    git_stall_seconds: int = 60
    """Seconds that a Git server may send nothing; then the connection is closed and the request is repeated."""

    fetch_proxy: bool = True
    """Let scripts fetch more of their own repository through the agent; the credential stays with the agent."""

    clone_cache: bool = True
    """Keep fetched commits for later tasks. The Git server is still asked for the ref's commit."""

    clone_cache_bytes: int = 10 * 1024**3
    """Bytes of the clone cache, 10 GiB; in a cluster, for each repository. The least recently used are removed."""

    dependency_cache: bool = True
    """Keep dependency caches, of tasks that ask for them: under `KERUTA_WORKER_DIR`, or with keruta by upload."""

    dependency_cache_bytes: int = 10 * 1024**3
    """Bytes of dependency caches, 10 GiB; in a cluster, for each repository. The least recently used are removed."""

    grace_seconds: float = 10.0
    """Seconds between SIGTERM and SIGKILL for a script that is stopped."""

    output_limit_bytes: int = 1024 * 1024 * 1024
    """Bytes that a script may write to its output, 1 GiB; a script that writes more is stopped."""

    runner: str = "process"
    """Runner of scripts: `process` (processes of this machine) or `kubernetes` (Jobs of a cluster)."""

    isolation: str = "auto"
    """Fence around scripts: `bubblewrap`, `none`, or `auto`: bubblewrap where it is installed and works."""

    fence_read_paths: tuple[str, ...] | None = None
    """Paths that a fenced script may read beside the system's. Not set: PATH's directories and their installations."""

    private_paths: tuple[str, ...] = ()
    """Paths that no fenced script sees; on one machine, the directory of keruta's state."""

    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    def __post_init__(self) -> None:
        if self.results not in ("volume", "upload"):
            raise SettingsError("KERUTA_RESULTS must be volume or upload")


class ClusterSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that all Jobs of an installation share; for the `kubernetes` runner."""

    job_namespace: str = "keruta"
    """Namespace of the Jobs: the worker's own."""

    job_agent_image: str = ""
    """Image of the agent beside each script. Empty: the image of the worker's own Pod."""

    job_agent_url: str = ""
    """Address for that agent's reports. Empty: the worker's own `KERUTA_AGENT_URL`."""

    job_image: str = "debian:bookworm-slim"
    """Image of scripts whose profile names none; any image with a shell works."""

    job_pull_policy: str = "IfNotPresent"
    """Pull policy of both images."""

    job_service_account: str = "keruta-job"
    """Service account of Job Pods; it has no rights, and its token is not mounted."""

    job_results_claim: str = ""
    """Volume claim of results and the clone cache. Empty: none; Jobs upload their results, and cache nothing."""

    job_results_url: str = ""
    """Address for the uploads of Jobs without that volume. Empty: the address of their reports."""

    job_cpu: str = "1"
    """CPU limit of a script whose profile sets none."""

    job_memory: str = "1Gi"
    """Memory limit of a script whose profile sets none."""

    job_agent_memory: str = "384Mi"
    """Memory limit of the agent beside each script, where repository and profile set none."""

    job_disk: str = "10Gi"
    """Size limit of each of a Job's own directories."""

    job_disk_request: str = "256Mi"
    """Disk request of a script whose profile sets none: a node with less free disk is not chosen."""

    job_volumes: frozenset[str] = frozenset()
    """Volume claims that profiles may name, mounted read-only; `NAME:rw` is mounted writable."""

    job_grace_seconds: int = 60
    """Seconds from a Pod's SIGTERM to its end: to store log and results. A push has 300 more, an upload 600."""

    job_keep_seconds: int = 600
    """Seconds that a finished Job stays in the cluster."""

    job_patience_seconds: float = 300.0
    """Seconds that a Pod may wait for a node or its containers; then its task fails with the cluster's message."""

    fetch_proxy: bool = True
    """Let scripts fetch more of their own repository through the agent beside them."""

    own_git: bool = False
    """Use the Git configuration and keys in the agent's image."""

    git_stall_seconds: int = 60
    """Seconds that a Git server may send nothing; then the connection is closed and the request is repeated."""

    grace_seconds: float = 10.0
    """Seconds between SIGTERM and SIGKILL for a script that is stopped."""

    transports: frozenset[str] = DEFAULT_TRANSPORTS
    """Schemes that Git may use, of https, http and ssh."""

    def pod_grace_seconds(self, *, pushes: bool, caches: bool = False) -> int:
        """Return the seconds for which an agent may go on once its Pod, or its script, has ended.

        Args:
            pushes: whether it is to push a branch; a Git server may be away for a while, as keruta when results are
                uploaded.
            caches: whether it is to store dependency caches.
        """
        stores = CACHE_SECONDS if caches else 0
        uploads = 0 if self.job_results_claim else UPLOAD_SECONDS
        return self.job_grace_seconds + (PUSH_SECONDS if pushes else 0) + stores + uploads
