"""What can be set for an agent, from the environment; see `keruta.settings.load`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keruta.domain.repository import DEFAULT_TRANSPORTS


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """A worker's settings."""

    agent_url: str = ""
    """Where to report to, without `/agent/v1`."""

    worker_id: str = ""
    """This worker's name. It keeps it over restarts: then it finds its own jobs again."""

    worker_slots: int = 2
    """How many attempts it makes at once: as many as the machine has cores, for work that computes."""

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

    clone_cache: bool = True
    """Whether commits that were fetched before are kept, to spare the transfer. The remote is asked all the same."""

    grace_seconds: float = 10.0
    """How long a script that was told to end may take, before it is killed."""

    output_limit_bytes: int = 1024 * 1024 * 1024
    """How much a script may write, 1 GiB; it is ended when it writes more."""

    isolation: str = "auto"
    """`bubblewrap`, `none`, or `auto`: bubblewrap where it is there and works."""

    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
