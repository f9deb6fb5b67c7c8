"""Makes attempts' specifications: the task as it was asked for, and what it draws on as the catalog has it now.

So a profile that was mended counts for the next attempt. What is not there any more is the specification's `fault`: the
agent reports it as the attempt's end, with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from keruta import structs
from keruta.adapters.encryption import CannotOpenError, Sealer
from keruta.adapters.mongo.client import Database, translated
from keruta.adapters.mongo.joint_reads import Part, read_together
from keruta.domain.catalog.budgets import Budget
from keruta.domain.catalog.caches import CacheRule
from keruta.domain.catalog.coding_agents import image_of
from keruta.domain.catalog.credentials import OWN_USE
from keruta.domain.catalog.profiles import ProfileSpec, named_credentials, needs_cluster
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.commit_rules import CommitRules, commit_message, identity, purpose
from keruta.domain.messages import Message, as_message, fields_of, kind_word, message
from keruta.domain.permissions import sending_refusal
from keruta.domain.specification import (
    Access,
    Caches,
    Fault,
    Granted,
    KeptWork,
    Placement,
    Resume,
    Specification,
    within,
    without_secrets,
)
from keruta.domain.task import ResultBranch
from keruta.errors import SettingsError
from keruta.ports import Document
from keruta.settings import Settings

# The fields of a task's document that a specification is made of.
_OF_EARLIER = (
    "number", "commit", "result_branch", "result_commit", "pushing", "outcome", "reason", "message", "message_code",
    "message_arguments", "exit_code", "granted",
)  # fmt: skip
NEEDED = dict.fromkeys(
    [
        "spec",
        "attempt",
        "owner",
        "name",
        "push",
        "resume",
        "created_at",
        "queue",
        "origin.event",
        "origin.ref",
        *(f"past_attempts.{name}" for name in _OF_EARLIER),
    ],
    1,
)


EARLIER_PUSHES_MOST = 100


class MongoSpecifications:
    """Specifications of tasks' current attempts."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._credentials = database["credentials"]
        self._tasks = database["tasks"]
        self._settings = settings
        self._agents_images = settings.images_of_coding_agents
        self._sealer = Sealer(settings.credentials_key)

    def of(self, documents: Sequence[Document]) -> list[Specification]:
        """One for each task's document, in order; the catalog is asked once for all of them."""
        if not documents:
            return []
        entries = read_together(
            self._database,
            [
                _named("profiles", (d["spec"]["profile"] for d in documents)),
                _named("queues", (d["queue"] for d in documents)),
                _named("repositories", (d["spec"]["repository"].get("name") for d in documents)),
            ],
        )
        profiles, queues, repositories = ({row["_id"]: row for row in rows} for rows in entries.values())
        named = {name for row in repositories.values() for name in _credentials_of_repository(row)}
        named |= {name for row in profiles.values() for name in named_credentials(row["spec"]).values()}
        named |= {name for document in documents for name in (document["spec"].get("secrets") or {}).values()}
        credentials = {row["_id"]: row for row in self._credentials.find(_is_named(named))} if named else {}
        return [
            anew
            or _within_budget(self._one(document, profiles, repositories, credentials), queues.get(document["queue"]))
            for document in documents
            for anew in [self._made_anew(document, queues, profiles, repositories)]
        ]

    def minted(self, specification: Specification, mint: Callable[..., str]) -> Specification:
        """The same, with each short-lived token made; where none could be made, with the fault.

        Args:
            mint: `keruta.adapters.github.mint`.
        """
        from keruta.adapters.github import NotMintedError

        made: dict[str, Access] = {}
        for field in ("read", "push"):
            access: Access | None = getattr(specification, field)
            if access is None or not access.minted:
                continue
            with translated():
                row = self._credentials.find_one({"_id": access.name}) or {}
            if row and (refusal := sending_refusal(row["spec"], specification.repository.url)):
                return _broken(specification, "CredentialMissing", refusal)
            try:
                values = self._sealer.open(access.name, row.get("sealed") or b"")
                token = app_token(mint, row["spec"], values, url=specification.repository.url, write=field == "push")
            except (CannotOpenError, SettingsError, KeyError) as error:
                return _broken(
                    specification,
                    "CredentialMissing",
                    message("credential_unusable", name=access.name, error=str(error)),
                )
            except NotMintedError as error:
                return _broken(specification, "CloneAuthFailed", f"The credential {access.name} gave no token. {error}")
            made[field] = msgspec.structs.replace(access, token=token)
        return msgspec.structs.replace(specification, **made)

    def _made_anew(self, document: Document, *entries: dict[str, Document]) -> Specification | None:
        """A specification with its fault, where an entry that the task named was deleted, and another has its name now:
        that one may be another team's, with other credentials.
        """
        names = (document["queue"], document["spec"]["profile"], document["spec"]["repository"].get("name"))
        for kind, name, rows in zip(("queue", "profile", "repository"), names, entries, strict=True):
            if name in rows and rows[name]["created_at"] > document["created_at"]:
                said = message("task_needs_gone", kind=kind_word(kind), name=name)
                return _broken(self._bare(document), "ResourceDeleted", said)
        return None

    def _bare(self, document: Document) -> Specification:
        """Return a specification with the task's own fields only."""
        asked: Document = document["spec"]
        known = {name: asked[name] for name in _AS_ASKED if asked.get(name) is not None}
        own = {
            "task": document["_id"],
            "attempt": document["attempt"]["number"],
            "pushed_earlier": _pushed_earlier(document),
        }
        return structs.from_plain({**known, **own, "log_limit_bytes": self._settings.log_limit_bytes}, Specification)

    def _one(
        self,
        document: Document,
        profiles: dict[str, Document],
        repositories: dict[str, Document],
        credentials: dict[str, Document],
    ) -> Specification:
        made = self._bare(document)
        profile, name = profiles.get(made.profile), made.repository.name
        if profile is None:
            return _broken(made, "ProfileMissing", message("catalog_profile_gone", profile=made.profile))
        repository = repositories.get(name) if name is not None else None
        if name is not None and repository is None:
            return _broken(made, "RepositoryMissing", message("catalog_repository_gone", name=name))
        try:
            url = repository["spec"]["url"] if repository is not None else made.repository.url
            made = _with_own_secrets(
                _with_profile(made, profile, credentials, url, self._agents_images), document, credentials, url
            )
            made = _with_commits(made, document, profile, repository)
            made = made if repository is None else _with_repository(made, repository, credentials)
            made = _with_caches(made, document, profile, repository)
            made = self._with_earlier_session(_with_resume(made, document), document)
            made = _with_kept_work(made, document)
            return without_secrets(made) if document["spec"].get("without_secrets") else made
        except LookupError as error:
            return _broken(made, "CredentialMissing", error.args[0])

    def _with_earlier_session(self, made: Specification, document: Document) -> Specification:
        """The session of the task before, if it is stored and this attempt gets no access that it lacked.

        Otherwise the prompt tells what was said before.
        """
        session = document["spec"].get("session")
        if session is None or made.resume is not None or made.coding_agent is None:
            return made
        fields = ["attempt.number", "attempt.granted", "past_attempts.number", "past_attempts.granted"]
        found = self._tasks.find_one({"_id": session["task"], "owner": document["owner"]}, fields) or {}
        attempts = [*(found.get("past_attempts") or ()), found.get("attempt") or {}]
        earlier = next((one for one in attempts if one.get("number") == session["attempt"]), None)
        if earlier is None or not earlier.get("granted"):
            return made
        limit = structs.from_plain(earlier["granted"], Granted)
        if _model_of(made) != limit.model:
            return made
        resume = Resume(task=session["task"], attempt=session["attempt"], answers=[session["prompt"]])
        return within(msgspec.structs.replace(made, resume=resume), limit)


def _is_named(names: Iterable[str | None]) -> Document:
    return {"_id": {"$in": sorted({name for name in names if name})}}


def _named(collection: str, names: Iterable[str | None]) -> Part:
    return Part(collection, [{"$match": _is_named(names)}])


def _within_budget(made: Specification, queue: Document | None) -> Specification:
    """Return the specification with the limits of a task that its queue's budget sets."""
    found = (queue or {"spec": {}})["spec"].get("budget")
    if found is None or made.coding_agent is None:
        return made
    budget = structs.from_plain(found, Budget)
    return msgspec.structs.replace(made, coding_agent=budget.limited(made.coding_agent))


def _model_of(made: Specification) -> str | None:
    return made.model_access.name if made.model_access is not None else None


def _pushed_earlier(document: Document) -> list[dict[str, str]]:
    """Return the commits that earlier attempts of the task pushed, or they and this one were about to push."""
    found: dict[tuple[str, str], None] = {}
    for one in (*(document.get("past_attempts") or ()), document.get("attempt") or {}):
        found |= {(said["branch"], said["commit"]): None for said in one.get("pushing") or ()}
        if one.get("result_branch") and one.get("result_commit"):
            found[one["result_branch"], one["result_commit"]] = None
    return [{"branch": branch, "commit": commit} for branch, commit in list(found)[-EARLIER_PUSHES_MOST:]]


def _with_resume(made: Specification, document: Document) -> Specification:
    """Return the specification of an attempt that resumes an earlier one: same commit, and no access that it lacked."""
    number, wanted = (document.get("attempt") or {}).get("resumes"), document.get("resume")
    if number is None or not wanted or made.coding_agent is None:
        return made
    earlier = next((one for one in document.get("past_attempts") or () if one.get("number") == number), None)
    if earlier is None or not earlier.get("commit"):
        return _broken(made, "SessionMissing", message("session_missing"))
    granted = structs.from_plain(earlier.get("granted") or {}, Granted)
    if _model_of(made) != granted.model:
        return _broken(made, "CredentialMissing", message("session_other_credential", name=granted.model or "–"))
    answers = [one["text"] for one in wanted["input"] if one["number"] > wanted["passed"]]
    return within(msgspec.structs.replace(
        made, repository=msgspec.structs.replace(made.repository, ref=earlier["commit"]),
        resume=Resume(attempt=number, question=wanted["question"] or "", answers=answers),
    ), granted)  # fmt: skip


def _with_kept_work(made: Specification, document: Document) -> Specification:
    """Reduce the specification of an attempt that pushes earlier kept work to the parts that a push needs."""
    number = (document.get("attempt") or {}).get("pushes")
    wanted = document.get("push")
    if number is None or not wanted:
        return made
    earlier = next((one for one in document.get("past_attempts") or () if one.get("number") == number), None)
    if earlier is None or not earlier.get("commit") or made.wanted_result is None:
        return _broken(made, "WorkMissing", message("push_work_missing", attempt=number))
    ended = earlier.get("outcome")
    kept = KeptWork(
        attempt=number,
        commit=earlier["commit"],
        status=ended if ended in ("succeeded", "failed", "cancelled") else "failed",
        **{name: earlier.get(name) for name in _ENDING},
    )
    target = made.wanted_result
    branch = wanted["branch"] or target.branch
    if_exists = wanted["if_exists"] or (target.if_exists if branch == target.branch else "fail")
    return msgspec.structs.replace(
        made, kept_work=kept, result=ResultBranch(branch=branch, if_exists=if_exists), result_branch=branch, script=":",
        command=None, prompt=None, prompt_command=None, coding_agent=None, model_access=None, check=None, setup=[],
        env={}, secrets={}, documents=[], usage=[],
    )  # fmt: skip


_ENDING = ("reason", "message", "message_code", "message_arguments", "exit_code")
_AS_ASKED = (
    "repository", "profile", "script", "command", "prompt", "check", "env", "documents", "timeout_seconds",
    "result_branch", "result",
)  # fmt: skip


def _with_commits(
    made: Specification, document: Document, profile: Document, repository: Document | None
) -> Specification:
    """Add the committer and the message: from the profile, else the repository, else the submitter's name."""
    rows = [row["spec"].get("commit") for row in (profile, repository) if row is not None]
    rules = [structs.from_plain(one, CommitRules) for one in rows if one is not None]
    submitter = document["owner"]
    who = identity(rules, submitter)
    values = {
        "what": purpose(made.task, document.get("name"), made.prompt),
        "task": made.task,
        "attempt": str(made.attempt),
        "submitter": submitter,
        "name": who.name,
        "email": who.email,
    }
    return msgspec.structs.replace(made, identity=who, commit_message=commit_message(rules, values))


def _with_profile(
    made: Specification, row: Document, credentials: dict[str, Document], url: str, images: Mapping[str, str]
) -> Specification:
    profile = structs.from_plain(row["spec"], ProfileSpec)
    model = profile.model_credential if profile.options is not None and made.prompt is not None else None
    return msgspec.structs.replace(
        made,
        profile_revision=row["revision"],
        prompt_command=profile.prompt,
        coding_agent=profile.options,
        model_access=_model_access(model, credentials, profile.model_address) if model is not None else None,
        setup=list(profile.setup),
        env={**profile.env, **made.env},
        secrets={variable: _access(name, credentials, url) for variable, name in profile.secrets.items()},
        usage=list(profile.usage),
        fetch_more=made.fetch_more and profile.fetch_more is not False,
        unhonoured=needs_cluster(profile),
        placement=Placement(
            image=profile.image or image_of(profile.coding_agent, images),
            resources=profile.resources,
            network=profile.network,
            node_selector=profile.node_selector,
            tolerations=profile.tolerations,
            agent_memory=made.placement.agent_memory or profile.agent_memory,
            pod=profile.pod,
        ),
    )


def _with_own_secrets(
    made: Specification, document: Document, credentials: dict[str, Document], url: str
) -> Specification:
    """Add the credentials that the task's submitter named. Raises LookupError with a sentence.

    One that was deleted, and made anew by another, is not the one that they named.
    """
    own = document["spec"].get("secrets") or {}
    found = {}
    for variable, name in own.items():
        row = credentials.get(name)
        if row is not None and row["created_at"] > document["created_at"]:
            raise LookupError(message("credential_gone", name=name))
        found[variable] = _access(name, credentials, url)
        if found[variable].kind != "secret":
            raise LookupError(message("template_secret_type", name=name))
    return msgspec.structs.replace(made, secrets={**made.secrets, **found}) if found else made


def _with_repository(made: Specification, row: Document, credentials: dict[str, Document]) -> Specification:
    repository = structs.from_plain(row["spec"], RepositorySpec)
    read = _access(repository.read_credential, credentials, repository.url) if repository.read_credential else None
    push = _access(repository.push_credential, credentials, repository.url) if repository.push_credential else read
    for access in (read, push):
        if access is not None and access.kind == "secret":
            raise LookupError(message("credential_not_for_git", name=access.name))
    return msgspec.structs.replace(
        made,
        repository=msgspec.structs.replace(made.repository, url=repository.url),
        setup=[*made.setup, *repository.setup],
        placement=msgspec.structs.replace(
            made.placement, agent_memory=repository.agent_memory or made.placement.agent_memory
        ),
        read=read,
        push=push if made.wanted_result is not None else None,
        lfs=repository.lfs,
        fetch_more=made.fetch_more and repository.fetch_more is not False,
        allowed_refs=list(repository.allowed_refs),
    )


# Events in which nobody but those who may push has a word: others bring texts of strangers into a script's environment.
_TRUSTED_EVENTS = frozenset({"push", "schedule", "run"})


def _with_caches(
    made: Specification, document: Document, profile: Document, repository: Document | None
) -> Specification:
    """Add the dependency caches: the task's own if it names any, or none by an empty list; else repository and profile.

    Entries belong to one entry of the catalog, as long as it has one address; of a repository that is not in it, to who
    submits. So nobody can leave anything for tasks that have more access than their own.
    """
    own = document["spec"].get("cache")
    rows = [row["spec"].get("cache") or [] for row in (repository, profile) if row is not None]
    rules = structs.from_plain(own if own is not None else [one for row in rows for one in row], list[CacheRule])
    if not rules or (document.get("attempt") or {}).get("pushes") is not None:
        return made
    place = (
        ("repository", repository["_id"], repository["created_at"].isoformat())
        if repository is not None
        else ("submitter", document["owner"])
    )
    origin = document.get("origin") or {}
    event = origin.get("event")
    caches = Caches(
        rules=rules,
        scope=hashlib.sha256(repr((*place, made.repository.url)).encode()).hexdigest()[:32],
        writes=not origin or event in _TRUSTED_EVENTS,
        pushed_ref=origin.get("ref") if event == "push" else None,
    )
    return msgspec.structs.replace(made, caches=caches)


def _access(name: str, credentials: dict[str, Document], url: str) -> Access:
    """Return the agent's access to a credential. Raises LookupError with a sentence."""
    row = credentials.get(name)
    if row is None:
        raise LookupError(message("credential_gone", name=name))
    spec = row["spec"]
    if refusal := sending_refusal(spec, url):
        raise LookupError(refusal)
    if spec["type"] in OWN_USE:
        raise LookupError(message("credential_own_use", name=name))
    minted = spec["type"] == "github_app"
    secret = spec.get("kubernetes_secret")
    if not minted and not secret and not row.get("sealed"):
        raise LookupError(message("credential_empty", name=name))
    return Access(
        name=name,
        revision=row["revision"],
        kind="token" if minted else spec["type"],
        username="x-access-token" if minted else spec.get("username") or "",
        known_hosts=spec.get("known_hosts") or "",
        sealed=None if minted or secret else row["sealed"],
        secret=secret,
        minted=minted,
    )


def _model_access(name: str, credentials: dict[str, Document], address: str) -> Access:
    """A model's key, which is sent to its server alone. Raises LookupError with a sentence."""
    found = _access(name, credentials, address)
    if found.kind != "secret":
        raise LookupError(message("credential_not_for_model", name=name))
    return found


def app_token(mint: Callable[..., str], spec: Document, values: Mapping[str, str], *, url: str, write: bool) -> str:
    """A short-lived token of a GitHub App's credential. Raises what `keruta.adapters.github.mint` raises."""
    return mint(
        app_id=spec["app_id"],
        installation_id=spec["installation_id"],
        private_key=values["private_key"],
        api_url=spec.get("api_url"),
        url=url,
        write=write,
    )


def _credentials_of_repository(row: Document) -> list[str]:
    return [name for name in (row["spec"].get("read_credential"), row["spec"].get("push_credential")) if name]


def _broken(made: Specification, reason: str, said: Message | str) -> Specification:
    return msgspec.structs.replace(made, fault=Fault(reason=reason, **fields_of(as_message(said))))
