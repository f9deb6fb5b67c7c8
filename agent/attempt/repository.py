"""An attempt's repository: opened with the attempt's own credentials, checked out, and pushed to."""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager

from agent.attempt.checkout import checkout
from agent.attempt.clone_cache import CloneCache
from agent.attempt.context import World
from agent.attempt.directory import JobDir
from agent.attempt.push import push_result
from agent.log.masking import Masker
from keruta.adapters.git.command import Git, Stopped
from keruta.adapters.git.credentials import Credential, environment
from keruta.domain.messages import message
from keruta.domain.specification import Access, Specification
from keruta.errors import PhaseError

PUSH_SECONDS = 300


class AttemptRepository:
    """Reads with one credential and pushes with another, each asked for when it is needed.

    Args:
        masker: learns every secret before it is used.
    """

    def __init__(self, world: World, directory: JobDir, specification: Specification, masker: Masker) -> None:
        self._world = world
        self._dir = directory
        self._spec = specification
        self._masker = masker

    def checkout(self, stop: threading.Event, deadline_at: float) -> str:
        """The workspace holds the commit that the ref names now; returns its id.

        Args:
            deadline_at: Unix time.

        Raises:
            PhaseError, Stopped.
        """
        spec, settings = self._spec, self._world.settings
        credential = self._credential(spec.read, "read")
        cache = None
        if settings.clone_cache and not spec.repository.submodules:
            cache = CloneCache(
                root=settings.worker_dir / "cache", name=spec.clone_cache_name, limit_bytes=settings.clone_cache_bytes
            )
        deadline = time.monotonic() + deadline_at - time.time()
        with self._environment(credential) as env:
            return checkout(
                spec.repository,
                self._dir.workspace,
                lambda directory: Git(directory, env, stop, deadline),
                transports=settings.transports,
                cache=cache,
                lfs=spec.lfs,
            )

    def push(self, base: str, branch: str) -> str:
        """What the script made is on the branch; returns the commit. Raises PhaseError.

        The script is done: it is pushed even if a cancel comes now.
        """
        deadline = time.monotonic() + PUSH_SECONDS
        try:
            with self._environment(self._credential(self._spec.push, "push")) as env:
                return push_result(
                    self._dir.workspace,
                    self._dir.root / "push.git",
                    url=self._spec.repository.url,
                    base=base,
                    branch=branch,
                    message=f"{self._spec.task}: result",
                    git_in=lambda directory: Git(directory, env, threading.Event(), deadline),
                    lfs=self._spec.lfs,
                )
        except Stopped as error:
            raise PhaseError("PushFailed", message("push_timeout", seconds=PUSH_SECONDS)) from error

    def _credential(self, access: Access | None, field: str) -> Credential | None:
        """What opens the repository; a short-lived token is asked for anew, since it may have run out."""
        if access is None:
            return None
        if access.minted:
            fresh = self._world.asking.specification(self._spec.task, self._spec.attempt)
            if fresh.fault is not None:
                raise PhaseError(fresh.fault.reason, fresh.fault.said)
            access = getattr(fresh, field) or access
        credential = self._world.opener.credential(access)
        self._masker.add(credential.secrets)
        return credential

    def _environment(self, credential: Credential | None) -> AbstractContextManager[dict[str, str]]:
        settings = self._world.settings
        return environment(
            credential,
            self._dir.private,
            url=self._spec.repository.url,
            transports=settings.transports,
            own=settings.own_git,
        )
