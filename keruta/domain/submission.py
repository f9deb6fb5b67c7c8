"""Making of the stored task from what a person asks for: names looked up, defaults filled in, all faults told."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from keruta.domain.catalog import access
from keruta.domain.catalog.access import Access
from keruta.domain.catalog.documents import DOCUMENTS_OF_A_TASK, DocumentRef
from keruta.domain.catalog.profiles import ARGUMENT_LIMIT_BYTES, ProfileSpec
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.messages import Message, kind_word, message
from keruta.domain.repository import Depth, transport
from keruta.domain.task import DEFAULT_TIMEOUT_SECONDS, NewTask, RepositoryAsk, RepositoryRef, RetryPolicy, TaskRequest
from keruta.errors import Fault, fault

DEFAULT_PROFILE = "shell"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Catalog entries that a request names; None or absent if there are none."""

    repository: RepositorySpec | None = None
    queue: QueueSpec | None = None
    profile: ProfileSpec | None = None
    documents: Sequence[DocumentRef] = ()

    @property
    def granted(self) -> tuple[Access | None, Access | None]:
        """The grants of the repository and of the queue."""
        return (
            self.repository.access if self.repository is not None else None,
            self.queue.access if self.queue is not None else None,
        )

    @property
    def narrower(self) -> Access | None:
        """Return the grants by which the task is visible: the repository's, else the queue's."""
        repository, queue = self.granted
        return repository if repository is not None else queue


def asked(request: TaskRequest) -> RepositoryAsk:
    """The repository that is asked for; a bare text is its name."""
    return RepositoryAsk(name=request.repository) if isinstance(request.repository, str) else request.repository


def profile_name(request: TaskRequest, repository: RepositorySpec | None) -> str:
    """The task's own profile, else its repository's, else the plain one."""
    return request.profile or (repository and repository.default_profile) or DEFAULT_PROFILE


def make_task(
    identity: str, request: TaskRequest, owner: str, found: Found, transports: frozenset[str]
) -> tuple[NewTask | None, list[Fault]]:
    """Makes the task, or says everything that stands against it, each with where it is."""
    faults = [
        *_repository_faults(request, found.repository, transports),
        *_profile_faults(request, found),
        *_document_faults(request, found.documents),
    ]
    if found.queue is None:
        faults.append(fault("/queue", message("submission_no_queue", name=request.queue)))
    if faults or found.queue is None or found.profile is None:
        return None, faults
    priority = found.queue.default_priority if request.priority is None else request.priority
    timeout = request.timeout_seconds or found.profile.timeout_seconds or DEFAULT_TIMEOUT_SECONDS
    task = NewTask(
        id=identity,
        request=request,
        owner=owner,
        repository=_resolved(request, found.repository, found.profile),
        profile=found.profile.name,
        priority=priority,
        retry=request.retry or found.queue.default_retry or RetryPolicy(),
        timeout_seconds=timeout,
        documents=tuple(found.documents),
        provenance=_provenance(request, found),
        readers=tuple(access.readers(found.narrower, owner)),
        managers=tuple(access.managers(found.granted, owner)),
    )
    return task, []


def grant_missing(found: Found, names: Sequence[str]) -> Message | None:
    """Says on what of the request these names may not run tasks, though they may see it; None if on all."""
    for kind, entry in (("repository", found.repository), ("queue", found.queue)):
        if entry is not None and not access.may_run(entry.access, names):
            return message("submission_not_permitted", kind=kind_word(kind), name=entry.name)
    return None


def _resolved(request: TaskRequest, known: RepositorySpec | None, profile: ProfileSpec) -> RepositoryRef:
    ask = asked(request)
    depth, tags = _history(ask, known, profile)
    paths = _paths(ask, known, profile)
    if known is None:
        assert ask.url is not None
        return RepositoryRef(
            url=ask.url, ref=ask.ref, submodules=bool(ask.submodules), depth=depth, tags=tags, paths=paths
        )
    return RepositoryRef(
        name=known.name,
        url=known.url,
        ref=ask.ref or known.default_ref,
        submodules=known.submodules if ask.submodules is None else ask.submodules,
        depth=depth,
        tags=tags,
        paths=paths,
    )


def _history(ask: RepositoryAsk, known: RepositorySpec | None, profile: ProfileSpec) -> tuple[Depth, bool]:
    """Return depth and tags of the checkout: from the task, else the repository, else the profile.

    Where nobody says: the last commit alone; and with all history its tags, as `git clone` has it.
    """
    rows = [row for row in (ask, known, profile) if row is not None]
    depth = next((row.depth for row in rows if row.depth is not None), 1)
    return depth, next((row.tags for row in rows if row.tags is not None), depth == "full")


def _provenance(request: TaskRequest, found: Found) -> bool:
    """Return whether provenance is wanted: from the task, else the repository, else the profile."""
    rows = [row.provenance for row in (request, found.repository, found.profile) if row is not None]
    return next((said for said in rows if said is not None), False)


def _paths(ask: RepositoryAsk, known: RepositorySpec | None, profile: ProfileSpec) -> tuple[str, ...]:
    """Return the directories to check out: from the task, where an empty list means all; else the repository, else
    the profile.
    """
    said = ask.paths if ask.paths is not None else (known and known.paths) or profile.paths
    return tuple(dict.fromkeys(path.removesuffix("/") for path in said))


def _repository_faults(request: TaskRequest, known: RepositorySpec | None, transports: frozenset[str]) -> list[Fault]:
    ask = asked(request)
    at = "/repository" if isinstance(request.repository, str) else "/repository/name"
    if known is None and ask.url is None:
        return [fault(at, message("submission_no_repository", name=ask.name or ""))]
    faults = []
    kind = transport(known.url if known else ask.url or "")
    if kind not in transports:
        where = at if known and ask.url is None else "/repository/url"
        allowed = ", ".join(sorted(transports))
        faults.append(fault(where, message("submission_transport", kind=kind or "", allowed=allowed)))
    if known is not None and not known.allows(ask.ref):
        said = ", ".join(known.allowed_refs)
        faults.append(fault("/repository/ref", message("submission_refs", name=known.name, allowed=said)))
    return faults


def _profile_faults(request: TaskRequest, found: Found) -> list[Fault]:
    name = profile_name(request, found.repository)
    if found.profile is None:
        return [fault("/profile", message("submission_no_profile", name=name))]
    if request.prompt is None:
        return []
    if found.profile.options is not None:
        return []
    if found.profile.prompt is None:
        return [fault("/profile", message("submission_no_prompt", name=name))]
    if found.profile.prompt.by_argument and len(request.prompt.encode("utf-8", "replace")) > ARGUMENT_LIMIT_BYTES:
        return [fault("/prompt", message("submission_prompt_too_long", name=name, limit=ARGUMENT_LIMIT_BYTES))]
    return []


def _document_faults(request: TaskRequest, documents: Sequence[DocumentRef]) -> list[Fault]:
    names = {one.name for one in documents}
    faults = [
        fault(f"/documents/{number}", message("submission_no_document", name=wanted))
        for number, wanted in enumerate(request.documents)
        if not wanted.startswith("tag:") and wanted not in names
    ]
    if len(documents) > DOCUMENTS_OF_A_TASK:
        faults.append(
            fault(
                "/documents", message("submission_too_many_documents", count=len(documents), limit=DOCUMENTS_OF_A_TASK)
            )
        )
    return faults
