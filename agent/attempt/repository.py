"""An attempt's repository: opened with the attempt's own credentials, checked out, and pushed to."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal

from agent.attempt.checkout import checkout
from agent.attempt.clone_cache import CloneCache
from agent.attempt.context import World
from agent.attempt.directory import JobDir
from agent.log.masking import Masker
from keruta.adapters.git import own_git
from keruta.adapters.git.command import Git
from keruta.adapters.git.credentials import Credential, environment, first_lines
from keruta.adapters.git.refs_by_http import Refs
from keruta.adapters.git.remote import Ask, resolve
from keruta.adapters.git.upload_pack import refs_of_this_machine
from keruta.domain.repository import is_commit, transport
from keruta.domain.specification import Access, Specification
from keruta.domain.task import RepositoryRef
from keruta.errors import PhaseError

_REFS = Refs()


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
        if settings.clone_cache and CloneCache.serves(spec.repository) and not spec.without_secrets:
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
                allowed_refs=spec.allowed_refs,
                stop=stop,
                ask=self._ask(credential),
            )

    def is_default_tip(self, commit: str, pushed_ref: str | None, stop: threading.Event, deadline_at: float) -> bool:
        """Return whether the commit is the tip of the default branch, and no other branch or tag was asked for.

        Called before the script starts: Git runs in the workspace.

        Args:
            pushed_ref: the branch whose push is processed, where the commit alone is asked for.

        Raises:
            PhaseError, Stopped.
        """
        asked = self._spec.repository.ref
        named = pushed_ref if asked is None or is_commit(asked) else asked
        wanted = RepositoryRef(url=self._spec.repository.url, ref=named)
        credential = self._credential(self._spec.read, "read")
        with self._environment(credential) as env:
            git = Git(self._dir.workspace, env, stop, time.monotonic() + deadline_at - time.time())
            found = resolve(wanted, git, self._ask(credential))
        return found.commit == commit and found.ref is not None and found.ref == found.default_ref

    def _ask(self, credential: Credential | None) -> Ask | None:
        """The short way to ask for refs, where the user's own Git configuration does not say otherwise."""
        settings, url = self._world.settings, self._spec.repository.url
        scheme = transport(url)
        if scheme not in ("http", "https", "file"):
            return None
        if settings.own_git and credential is None and not own_git.is_plain(scheme):
            return None
        if scheme == "file":
            return lambda names, git: refs_of_this_machine(url, names, git)
        login = first_lines(credential) if credential is not None else None
        return lambda names, git: _REFS.ask(url, names, login)

    def remember_index(self) -> None:
        """Keeps the index that the checkout wrote, before a script can change it: by it, unchanged files are told."""
        source, target = self._dir.workspace / ".git" / "index", self._dir.root / "index"
        try:
            shutil.copy2(source, target, follow_symlinks=False)
        except OSError:
            target.unlink(missing_ok=True)

    @contextmanager
    def opened(self, access: Literal["read", "push"]) -> Iterator[dict[str, str]]:
        """Give the environment of a Git that may read, or push. Raises PhaseError."""
        credential = self._credential(getattr(self._spec, access), access)
        with self._environment(credential) as env:
            yield env

    @contextmanager
    def opened_beside(self, directory: Path) -> Iterator[dict[str, str]]:
        """Give the environment of a Git that may read, with its files in a directory of its own. Raises PhaseError."""
        with self._environment(self._credential(self._spec.read, "read"), directory) as env:
            yield env

    def _credential(self, access: Access | None, field: str) -> Credential | None:
        """Return the credential for the repository.

        A short-lived token is requested again, since it may have expired.
        """
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

    def _environment(
        self, credential: Credential | None, directory: Path | None = None
    ) -> AbstractContextManager[dict[str, str]]:
        settings = self._world.settings
        return environment(
            credential,
            directory or self._dir.private,
            url=self._spec.repository.url,
            transports=settings.transports,
            own=settings.own_git,
            stall_seconds=settings.git_stall_seconds,
        )
