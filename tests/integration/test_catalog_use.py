"""How a task draws on the catalog: what the submit looks up, what each attempt gets, what holds a task, what goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keruta.adapters.mongo.catalog_kinds import Catalogs
from keruta.adapters.mongo.retention import MongoRetention
from keruta.adapters.mongo.schema import _agents_images
from keruta.adapters.mongo.specifications import MongoSpecifications
from keruta.domain.catalog.circuits import OPEN_AFTER
from keruta.domain.catalog.credentials import CredentialSpec
from keruta.domain.catalog.documents import DocumentSpec
from keruta.domain.catalog.pods import PodOptions
from keruta.domain.catalog.profiles import ProfileSpec, PromptCommand
from keruta.domain.catalog.queues import QueueSpec
from keruta.domain.catalog.repositories import RepositorySpec
from keruta.domain.commit_rules import CommitRules
from keruta.domain.naming import attempt_id
from keruta.domain.reports import Ended
from keruta.domain.repository import DEFAULT_TRANSPORTS
from keruta.domain.resubmission import request_of as resubmitted
from keruta.domain.specification import Caches, Specification
from keruta.domain.submission import make_task
from keruta.domain.task import RepositoryAsk, ResultBranch, RetryPolicy, TaskRequest
from tests.support.world import ANN, BOB, READERS, World

URL = "https://example.com/app.git"


def repository(world: World, name: str = "app", **fields: Any) -> None:
    world.catalogs["repository"].create(ANN, RepositorySpec(name=name, url=fields.pop("url", URL), **fields))


def credential(world: World, name: str, **fields: Any) -> None:
    fields = fields or {"type": "token", "username": "bot", "token": f"value-of-{name}"}
    world.catalogs["credential"].create(ANN, CredentialSpec(name=name, **fields))


def specification(world: World, task_id: str) -> Specification:
    """Return the specification that the agent gets with its assignment."""
    if world.task(task_id).status == "queued":
        world.worker(slots=8)
        world.assign()
    found = next(one for one in world.assigned("w1") if one.task == task_id).specification
    assert found is not None
    return found


def refusals(world: World, **fields: Any) -> dict[str, str]:
    request = TaskRequest(**{"repository": RepositoryAsk(url=URL), "script": "true", **fields})
    task, faults = make_task("x" * 26, request, "ann", world.lookup.find(READERS, request), DEFAULT_TRANSPORTS)
    assert (task is None) == bool(faults)
    return {fault["at"]: fault["message"] for fault in faults}


# ---------------------------------------------------------------- the submit


def test_a_name_stands_for_all_that_is_kept_under_it(world: World) -> None:
    """Address, ref and profile come from the repository; what the task says itself goes first."""
    repository(world, default_ref="develop", default_profile="python", submodules=True)

    plain = world.task(world.submit(repository="app"))
    own = world.task(world.submit(repository=RepositoryAsk(name="app", ref="v1", submodules=False), profile="node"))

    assert (plain.repository.url, plain.repository.ref, plain.repository.name) == (URL, "develop", "app")
    assert (plain.profile, plain.repository.submodules) == ("python", True)
    assert (own.repository.ref, own.repository.submodules, own.profile) == ("v1", False, "node")


def test_how_much_history_the_task_says_else_the_repository_else_the_profile(world: World) -> None:
    """By default only the last commit; full history comes with its tags, unless they are not wanted."""
    repository(world, depth=50)
    repository(world, "other", url="https://example.com/other.git", tags=False)
    world.catalogs["profile"].create(ANN, ProfileSpec(name="release", depth="full"))

    def history(**fields: Any) -> tuple[object, bool]:
        made = specification(world, world.submit(**fields)).repository
        return made.depth, made.tags

    assert history(url="https://example.com/none.git") == (1, False)
    assert history(url="https://example.com/none.git", profile="release") == ("full", True)
    assert history(repository="app", profile="release") == (50, False)
    assert history(repository=RepositoryAsk(name="app", depth="full"), profile="release") == ("full", True)
    assert history(repository="other", profile="release") == ("full", False)
    assert history(repository=RepositoryAsk(name="other", depth=1, tags=True), profile="release") == (1, True)


def test_which_directories_the_task_says_else_the_repository_else_the_profile(world: World) -> None:
    """An empty list is everything; a slash at the end says nothing."""
    repository(world, paths=["services/api/", "libs", "libs"])
    world.catalogs["profile"].create(ANN, ProfileSpec(name="narrow", paths=["docs"]))

    def paths(**fields: Any) -> tuple[str, ...]:
        return specification(world, world.submit(**fields)).repository.paths

    assert paths(url="https://example.com/none.git") == ()
    assert paths(url="https://example.com/none.git", profile="narrow") == ("docs",)
    assert paths(repository="app", profile="narrow") == ("services/api", "libs")
    assert paths(repository=RepositoryAsk(name="app", paths=["web"])) == ("web",)
    assert paths(repository=RepositoryAsk(name="app", paths=[])) == ()


def test_what_a_repository_allows_reaches_the_agent(world: World) -> None:
    """So all history does not bring branches that no task may name."""
    repository(world, allowed_refs=["main", "release/*"])

    assert specification(world, world.submit(repository="app")).allowed_refs == ["main", "release/*"]


def test_an_address_that_is_known_is_that_repository(world: World) -> None:
    """So its limits and credentials hold, however it is named."""
    repository(world)

    assert world.task(world.submit(url=URL)).repository.name == "app"
    assert world.task(world.submit(url="https://example.com/other.git")).repository.name is None


def test_an_address_counts_from_when_it_was_registered_though_there_was_none_a_moment_ago(world: World) -> None:
    """Whoever adds, changes or deletes a repository is answered once nobody remembers how it was."""
    before = world.task(world.submit(url=URL))
    repository(world)
    added = world.task(world.submit(url=URL))
    world.catalogs["repository"].delete(ANN, "app", None, force=True)

    gone = world.task(world.submit(url=URL))

    assert [task.repository.name for task in (before, added, gone)] == [None, "app", None]


def test_a_queue_and_a_profile_give_what_the_task_does_not_say(world: World) -> None:
    world.catalogs["queue"].create(
        ANN, QueueSpec(name="slow", default_priority=-7, default_retry=RetryPolicy(policy="always", max_attempts=2))
    )
    world.catalogs["profile"].create(ANN, ProfileSpec(name="long", timeout_seconds=7200))

    request = TaskRequest(repository=RepositoryAsk(url=URL), script="true", queue="slow", profile="long")
    given = world.task(world.intake.accept(world.new_task(request), None).task.id)
    own = world.task(world.submit(queue="slow", profile="long", priority=3, timeout_seconds=5))

    assert (given.priority, given.retry.policy, given.retry.max_attempts) == (-7, "always", 2)
    assert given.timeout_seconds == 7200
    assert (own.priority, own.timeout_seconds) == (3, 5)


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"repository": "none"}, "/repository"),
        ({"repository": RepositoryAsk(name="none")}, "/repository/name"),
        ({"queue": "none"}, "/queue"),
        ({"profile": "none"}, "/profile"),
        ({"documents": ["style", "none"]}, "/documents/1"),
        ({"script": None, "prompt": "do it"}, "/profile"),
        ({"repository": RepositoryAsk(name="closed", ref="main")}, "/repository/ref"),
        ({"repository": RepositoryAsk(name="closed", ref="a" * 40)}, "/repository/ref"),
        ({"script": None, "prompt": "x" * 130_000, "profile": "by-argument"}, "/prompt"),
    ],
)
def test_what_is_not_there_is_told_at_the_submit(world: World, fields: dict[str, Any], at: str) -> None:
    """Nothing is queued that can't run."""
    repository(world, "closed", allowed_refs=["release/*"])
    world.catalogs["document"].create(ANN, DocumentSpec(name="style", title="Style"))
    by_argument = ProfileSpec(name="by-argument", prompt=PromptCommand(command=["agent", "{prompt}"]))
    world.catalogs["profile"].create(ANN, by_argument)

    assert list(refusals(world, **fields)) == [at]


def test_refs_that_a_repository_allows(world: World) -> None:
    repository(world, "closed", allowed_refs=["release/*", "v*"], default_ref="release/1")

    for ref in (None, "release/2", "refs/heads/release/2", "v1.0"):
        assert refusals(world, repository=RepositoryAsk(name="closed", ref=ref)) == {}


# ---------------------------------------------------------------- what an attempt gets


def test_an_attempt_gets_what_it_draws_on(world: World) -> None:
    """Set-up, environment, credentials by how they are had, documents by their versions."""
    credential(world, "reader")
    credential(world, "pusher")
    credential(world, "key", type="secret", value="value-of-key")
    world.catalogs["profile"].create(
        ANN,
        ProfileSpec(
            name="go",
            image="golang:1",
            setup=["go version"],
            env={"A": "profile", "B": "profile"},
            secrets={"API_KEY": "key"},
        ),
    )
    repository(
        world, read_credential="reader", push_credential="pusher", setup=["make deps"], default_profile="go", lfs=True
    )
    world.catalogs["document"].create(ANN, DocumentSpec(name="style", title="Style", text="v1", tags=["rules"]))

    made = specification(
        world, world.submit(repository="app", env={"B": "task"}, documents=["tag:rules"], result_branch="out")
    )

    assert made.setup == ["go version", "make deps"]
    assert made.env == {"A": "profile", "B": "task"}
    assert (made.placement.image, made.unhonoured, made.lfs) == ("golang:1", ["image"], True)
    assert [(one.name, one.version) for one in made.documents] == [("style", 1)]
    assert made.read is not None
    assert made.push is not None
    assert (made.read.name, made.push.name, list(made.secrets)) == ("reader", "pusher", ["API_KEY"])
    assert made.read.sealed is not None
    assert world.sealer.open("reader", made.read.sealed) == {"token": "value-of-reader"}
    assert b"value-of" not in msgspec.json.encode(made)


def test_a_coding_agent_runs_in_the_image_that_the_installation_has_for_it(world: World) -> None:
    """Where its profile names none; else in a plain one, in which it is installed. The profile's view says which."""
    settings = msgspec.structs.replace(world.settings, coding_agent_images=("codex=registry.test/keruta-codex:1",))
    world.catalogs["profile"].create(ANN, ProfileSpec(name="own", coding_agent="codex", image="golang:1"))
    catalogs = Catalogs(
        world.database, world.sealer, keeps_values=True, editors=lambda _: None,
        coding_agent_images=settings.images_of_coding_agents,
    )  # fmt: skip
    found = {}
    for name in ("codex", "own", "claude-code", "shell"):
        task = world.submit(profile=name, **({"script": None, "prompt": "Do it."} if name != "shell" else {}))
        specification(world, task)
        (made,) = MongoSpecifications(world.database, settings).of([world.document(task)])
        assert catalogs["profile"].show(ANN, name).runs_in == made.placement.image
        found[name] = made.placement.image

    assert found == {
        "codex": "registry.test/keruta-codex:1", "own": "golang:1", "claude-code": "node:22", "shell": None,
    }  # fmt: skip


def test_ready_profiles_that_nobody_changed_name_no_image_any_more(world: World) -> None:
    """As an earlier version made them; a changed one keeps its image."""
    profiles = world.database["profiles"]
    profiles.update_many({"_id": {"$in": ["codex", "aider"]}}, {"$set": {"spec.image": "node:22"}})
    profiles.update_one({"_id": "aider"}, {"$set": {"spec.image": "python:3.12", "revision": 2}})

    _agents_images(world.database)

    images = {name: world.catalogs["profile"].show(ANN, name).image for name in ("codex", "aider")}
    assert images == {"codex": None, "aider": "python:3.12"}


@pytest.mark.parametrize("private", [True, False])
def test_a_task_without_secrets_gets_none(world: World, private: bool) -> None:
    """The agent reads the repository with its credential alone; the network is closed, and nothing is shared."""
    for name in ("reader", "pusher"):
        credential(world, name)
    credential(world, "key", type="secret", value="v", hosts=["example.com"])
    world.catalogs["profile"].create(ANN, ProfileSpec(
        name="go", image="golang:1", network="open", secrets={"API_KEY": "key"},
        pod=PodOptions(volumes=["datasets"]),
    ))  # fmt: skip
    reader = {"read_credential": "reader"} if private else {}
    repository(world, push_credential="pusher", default_profile="go", submodules=True, fetch_more=True, **reader)
    task = world.submit(repository="app", without_secrets=True)
    made = specification(world, task)

    assert made.fault is None
    assert [one.name for one in made.accesses] == (["reader"] if private else [])
    assert (made.secrets, made.push, made.wanted_result, made.fetch_more) == ({}, None, None, False)
    assert (made.placement.network, made.placement.pod.volumes, made.placement.image) == ("closed", [], "golang:1")
    assert (made.without_secrets, made.repository.submodules, made.caches) == (True, not private, Caches())
    assert resubmitted(world.task(task))["without_secrets"] is True


def test_without_a_branch_to_push_there_is_nothing_to_push_with(world: World) -> None:
    credential(world, "pusher")
    repository(world, push_credential="pusher")

    assert specification(world, world.submit(repository="app")).push is None


def test_a_version_is_that_of_the_submit(world: World) -> None:
    documents = world.catalogs["document"]
    documents.create(ANN, DocumentSpec(name="style", title="Style", text="first"))
    task_id = world.submit(documents=["style"])
    documents.replace(ANN, "style", DocumentSpec(name="style", title="Style", text="second"), None)

    made = specification(world, task_id)

    assert [(one.name, one.version) for one in made.documents] == [("style", 1)]
    assert world.catalogs.documents.text("style", 1) == "first"


def test_what_was_mended_counts_for_the_next_attempt(world: World) -> None:
    """A profile is looked up for each attempt, not once for ever."""
    world.catalogs["profile"].create(ANN, ProfileSpec(name="p", env={"A": "wrong"}))
    task_id = world.submit(profile="p")
    world.catalogs["profile"].replace(ANN, "p", ProfileSpec(name="p", env={"A": "right"}), None)

    made = specification(world, task_id)

    assert (made.env, made.profile_revision) == ({"A": "right"}, 2)


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        (("profiles", "p"), "ProfileMissing"),
        (("repositories", "app"), "RepositoryMissing"),
        (("credentials", "reader"), "CredentialMissing"),
    ],
)
def test_what_is_gone_is_the_attempts_fault(world: World, gone: tuple[str, str], reason: str) -> None:
    """However it went: the agent is told what to report."""
    credential(world, "reader")
    world.catalogs["profile"].create(ANN, ProfileSpec(name="p"))
    repository(world, read_credential="reader", default_profile="p")
    task_id = world.submit(repository="app")
    world.database[gone[0]].delete_one({"_id": gone[1]})

    fault = specification(world, task_id).fault

    assert fault is not None
    assert fault.reason == reason
    assert gone[1] in fault.message


APP_KEY = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)


def test_an_apps_key_stays_and_a_token_is_made_for_one_attempt(world: World) -> None:
    """The specification holds neither the key nor, before it is asked for, a token."""
    app = {"type": "github_app", "app_id": "1", "installation_id": "2", "private_key": APP_KEY}
    credential(world, "app", **app, hosts=["example.com"])
    repository(world, read_credential="app")
    made = specification(world, world.submit(repository="app"))
    asked: list[dict[str, Any]] = []

    def mint(**wanted: Any) -> str:
        asked.append(wanted)
        return "ghs_short"

    filled = MongoSpecifications(world.database, world.settings).minted(made, mint)

    assert made.read is not None
    assert (made.read.minted, made.read.token, made.read.sealed) == (True, None, None)
    assert filled.read is not None
    assert filled.read.token == "ghs_short"
    del app["type"]
    assert asked == [{**app, "api_url": None, "url": URL, "write": False}]
    assert filled.without_tokens().read == made.read


# ---------------------------------------------------------------- what holds a task


def test_nothing_of_a_paused_queue_is_started(world: World) -> None:
    """Every waiting task shows who paused it and why."""
    task_id = world.submit()
    world.catalogs["queue"].pause(BOB, "default", "the release")
    world.worker()

    assert world.assign() == 0
    waiting = world.task(task_id).waiting
    assert waiting is not None
    assert waiting.why == "The queue default was paused by bob: the release"
    assert world.catalogs["queue"].show(ANN, "default").paused.reason == "the release"

    world.catalogs["queue"].resume(BOB, "default")
    assert world.assign() == 1


def test_a_queue_runs_no_more_than_it_may(world: World) -> None:
    world.catalogs["queue"].create(ANN, QueueSpec(name="narrow", max_running=1))
    ids = [world.submit(queue="narrow") for _ in range(3)]
    world.worker(slots=5)

    assert world.assign() == 1
    waiting = world.task(ids[1]).waiting
    assert waiting is not None
    assert "Its queue runs at most 1 task at once" in waiting.why


def test_queues_share_by_weight_and_submitters_within_one(world: World) -> None:
    """Three to one; and who has submitted a thousand does not starve the one who has submitted one."""
    world.catalogs["queue"].create(ANN, QueueSpec(name="heavy", weight=3))
    for number in range(1000):
        world.submit(owner="many", queue="heavy" if number % 2 else "default")
    one = world.submit(owner="few", queue="heavy")
    world.worker(slots=8)

    assert world.assign() == 8

    running = [world.document(row["_id"]) for row in world.database["tasks"].find({"status": "assigned"}, ["_id"])]
    assert sorted(document["queue"] for document in running) == ["default"] * 2 + ["heavy"] * 6
    assert world.task(one).status == "assigned"


# ---------------------------------------------------------------- circuits


def fail(world: World, task_id: str, reason: str = "CloneAuthFailed", execution: str | None = None) -> str:
    """The task's attempt fails; returns where the task then stands."""
    number = world.document(task_id)["attempt_count"]
    message = "The Git server refused the token."
    world.report(
        "w1",
        Ended(task=task_id, attempt=number, execution=execution, status="failed", reason=reason, message=message),
    )
    return world.task(task_id).status


def probe_is_due(world: World) -> None:
    world.database["circuits"].update_many({}, [{"$set": {"probe_at": {"$subtract": ["$$NOW", 1000]}}}])


def test_a_repository_that_fails_again_and_again_holds_its_tasks(world: World) -> None:
    """Not one after the other: those that wait keep waiting, with the reason, and others go on."""
    repository(world)
    ids = [world.submit(repository="app") for _ in range(OPEN_AFTER + 4)]
    other = world.submit(url="https://example.com/other.git")
    world.worker(slots=1)
    for number in range(OPEN_AFTER):
        world.database["tasks"].update_one({"_id": other}, {"$unset": {"claim": ""}})
        assert world.assign() == 1
        assert fail(world, ids[number]) == "failed"
    world.database["tasks"].update_one({"_id": other}, [{"$set": {"claim": "$lane"}}])

    assert world.assign() == 1

    assert world.task(other).status == "assigned"
    waiting = world.task(ids[-1]).waiting
    assert waiting is not None
    assert waiting.message_code == "waiting_circuit"
    assert "The repository app failed 3 times in a row" in waiting.why
    assert "The Git server refused" in waiting.why
    circuit = world.catalogs["repository"].show(ANN, "app").circuit
    assert circuit is not None
    assert (circuit.open, circuit.failures, circuit.last_task) == (True, OPEN_AFTER, ids[OPEN_AFTER - 1])


def opened(world: World, waiting: int = 3) -> list[str]:
    """A repository whose circuit is open, and the tasks that wait behind it."""
    repository(world)
    ids = [world.submit(repository="app") for _ in range(OPEN_AFTER + waiting)]
    world.worker(slots=4)
    for task_id in ids[:OPEN_AFTER]:
        world.assign()
        fail(world, task_id)
    left = [task_id for task_id in ids if world.task(task_id).status not in ("failed",)]
    for task_id in left:
        if world.task(task_id).status == "assigned":
            fail(world, task_id)
    return left


def test_one_task_tries_and_a_failed_try_costs_no_task(world: World) -> None:
    """When it is time one is let through; failing again, it goes back and waits with the others."""
    waiting = opened(world)
    assert world.assign() == 0

    probe_is_due(world)
    assert world.assign() == 1
    tried = next(task_id for task_id in waiting if world.task(task_id).status == "assigned")

    assert fail(world, tried) == "queued"
    assert world.assign() == 0
    circuit = world.catalogs.circuits.page(ANN)[0]
    assert circuit.probe_at is not None
    assert circuit.probe_at > datetime.now(UTC) + timedelta(seconds=60)


def test_a_success_closes_a_circuit(world: World) -> None:
    waiting = opened(world)
    probe_is_due(world)
    world.assign()
    tried = next(task_id for task_id in waiting if world.task(task_id).status == "assigned")

    world.start(tried)
    world.end(tried)

    assert world.catalogs.circuits.page(ANN) == []
    assert world.assign() == len(waiting) - 1


def test_the_scripts_own_failure_closes_a_circuit_too(world: World) -> None:
    """The script ran, so everything that its task used works."""
    waiting = opened(world)
    probe_is_due(world)
    world.assign()
    tried = next(task_id for task_id in waiting if world.task(task_id).status == "assigned")

    world.start(tried)
    assert fail(world, tried, "ScriptFailed", "x1") == "failed"

    assert world.catalogs.circuits.page(ANN) == []


def test_a_person_closes_a_circuit(world: World) -> None:
    waiting = opened(world)
    circuit = next(one for one in world.catalogs.circuits.page(ANN) if one.kind == "repository")

    world.catalogs.circuits.close(ANN, circuit.id)

    assert world.assign() == len(waiting)


def test_the_scripts_failures_open_nothing(world: World) -> None:
    world.worker(slots=1)
    for _ in range(OPEN_AFTER + 2):
        task_id = world.submit()
        world.assign()
        world.start(task_id)
        fail(world, task_id, "ScriptFailed", "x1")

    assert world.catalogs.circuits.page(ANN) == []


def test_an_image_that_can_not_be_pulled_is_its_profiles(world: World) -> None:
    world.worker(slots=1)
    for number in range(OPEN_AFTER):
        task_id = world.submit(profile="python", url=f"https://example.com/{number}.git", retry={"policy": "never"})
        world.assign()
        fail(world, task_id, "ImagePullFailed")
    world.submit(profile="python")
    free = world.submit(profile="node")

    assert world.assign() == 1
    assert world.task(free).status == "assigned"


# ---------------------------------------------------------------- what goes


def old_attempt(world: World, task_id: str, days: float, name: str = "1") -> Any:
    """An attempt's directory, of a task that ended so many days ago."""
    directory = world.settings.results_dir / task_id / name
    directory.mkdir(parents=True)
    (directory / "file").write_text("12345")
    return directory


def test_a_sweep_takes_what_is_old_and_leaves_what_lives(world: World) -> None:
    """Old and ended goes, of no known task goes; what may still be needed stays, however old."""
    retention = MongoRetention(world.database, world.settings)
    long_ago = datetime.now(UTC) - timedelta(days=400)
    old_ids = [aged(world.submit(), long_ago) for _ in range(4)]
    ended, running, unknown_task, recent = old_ids
    for task_id, status, at in (
        (ended, "succeeded", long_ago),
        (running, "running", None),
        (recent, "failed", datetime.now(UTC)),
    ):
        row = {**world.document(world.submit()), "_id": task_id, "status": status, "ended_at": at}
        world.database["tasks"].insert_one(row)
    directories = {task_id: old_attempt(world, task_id, 400) for task_id in old_ids}
    (world.settings.results_dir / "something-else").mkdir()

    dry = retention.prune(dry_run=True)
    assert (dry.attempts, dry.bytes) == (2, 10)
    assert all(directory.exists() for directory in directories.values())

    done = retention.prune(dry_run=False)

    assert done.attempts == 2
    assert {task_id for task_id, directory in directories.items() if directory.exists()} == {running, recent}
    assert not (world.settings.results_dir / ended).exists()
    assert (world.settings.results_dir / "something-else").exists()
    assert unknown_task != ended


def aged(task_id: str, at: datetime) -> str:
    """A task's identity as if it had been made then."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    number = int(at.timestamp() * 1000) << 80
    head = "".join(alphabet[number >> shift & 31] for shift in range(125, -1, -5))[:10]
    return head + task_id[10:]


@pytest.mark.own_database
def test_the_database_forgets_as_the_settings_say(world: World) -> None:
    """The indexes that remove are set anew when the settings are other than before."""
    settings = msgspec.structs.replace(world.settings, task_days=7, audit_days=14)
    MongoRetention(world.database, settings).apply_settings()

    days = {
        index["name"]: index.get("expireAfterSeconds")
        for name in ("tasks", "audit")
        for index in world.database[name].list_indexes()
        if "expireAfterSeconds" in index
    }
    assert days == {"ended_at": 7 * 86400, "at": 14 * 86400}
    world.submit()
    queued = world.database["tasks"].find_one({})
    assert queued is not None
    assert "ended_at" not in queued


def test_an_attempts_name_and_its_directory(world: World) -> None:
    """The sweep's directories are those that attempts write to."""
    from keruta.adapters.results import Results

    task_id = world.submit()

    assert Results(world.settings.results_dir).directory(attempt_id(task_id, 1)) == old_attempt(world, task_id, 0)


def test_an_attempt_knows_what_earlier_ones_pushed_and_who_commits(world: World) -> None:
    """Their branch is the task's own; the profile, else the repository, else the submitter says who commits."""
    repository(world, commit=CommitRules(name="Robot", trailers=["Signed-off-by: {name} <{email}>"]))
    task_id = world.submit(repository="app", name="Mend it", result=ResultBranch(branch="out", if_exists="replace"))
    one = {"number": 1, "worker": "w0", "assigned_at": datetime.now(UTC)}
    earlier = {**one, "result_branch": "out", "result_commit": "c" * 40}
    world.database["tasks"].update_one({"_id": task_id}, {"$set": {"past_attempts": [earlier, one]}})

    made = specification(world, task_id)

    assert [(one.branch, one.commit) for one in made.pushed_earlier] == [("out", "c" * 40)]
    assert made.wanted_result == ResultBranch(branch="out", if_exists="replace")
    assert (made.identity.name, made.identity.email) == ("Robot", "ann@keruta.invalid")
    assert made.commit_message.startswith("Mend it\n\nTask ")
    assert made.commit_message.endswith("Signed-off-by: Robot <ann@keruta.invalid>\n")


@pytest.mark.parametrize(
    ("of_repository", "of_profile", "offered"),
    [(None, None, True), (True, True, True), (False, True, False), (True, False, False), (None, False, False)],
)
def test_either_entry_turns_further_fetches_off(
    world: World, of_repository: bool | None, of_profile: bool | None, offered: bool
) -> None:
    """Neither turns on what the other has turned off."""
    repository(world, fetch_more=of_repository)
    world.catalogs["profile"].create(ANN, ProfileSpec(name="release", fetch_more=of_profile))

    task = world.submit(repository=RepositoryAsk(name="app"), profile="release")

    assert specification(world, task).fetch_more is offered


# ---------------------------------------------------------------- coding agents


def with_agent(world: World, base_url: str | None = None, **key: Any) -> None:
    credential(world, "model", **{"type": "secret", "value": "sk-made-up", "hosts": ["api.anthropic.com"], **key})
    spec = ProfileSpec(
        name="agent", coding_agent="claude-code", model="made-up", model_credential="model", base_url=base_url
    )
    world.catalogs["profile"].create(ANN, spec)


def test_a_coding_agents_key_is_beside_its_options(world: World) -> None:
    """The specification has how the coding agent is set up, and its model's key apart from the script's secrets."""
    with_agent(world)

    made = specification(world, world.submit(profile="agent", prompt="Do it.", script=None))

    assert made.coding_agent is not None
    assert (made.coding_agent.coding_agent, made.coding_agent.model) == ("claude-code", "made-up")
    assert made.model_access is not None
    assert (made.model_access.name, made.secrets, made.fault) == ("model", {}, None)


def test_a_script_gets_no_models_key(world: World) -> None:
    """A script in the profile of a coding agent has no use for the key, and no proxy."""
    with_agent(world)

    assert specification(world, world.submit(profile="agent")).model_access is None


@pytest.mark.parametrize(
    ("key", "base_url"),
    [
        ({}, "https://elsewhere.example"),
        ({"hosts": ["api.example.com"]}, None),
        ({"type": "token", "username": "u", "token": "t", "value": None}, None),
    ],
    ids=["another address", "another host", "another type"],
)
def test_a_models_key_goes_to_its_own_hosts_alone(world: World, key: dict[str, Any], base_url: str | None) -> None:
    """A key whose hosts do not name the model's server is not given out, and the reason says so."""
    with_agent(world, base_url, **key)

    made = specification(world, world.submit(profile="agent", prompt="Do it.", script=None))

    assert made.fault is not None
    assert (made.fault.reason, made.model_access) == ("CredentialMissing", None)


def test_an_answer_is_the_tasks(world: World) -> None:
    """What a coding agent said last, its model and its use are there of the task and of its attempt."""
    with_agent(world)
    task_id = world.submit(profile="agent", prompt="Do it.", script=None)
    world.worker()
    world.assign()
    world.start(task_id)

    world.report(
        "w1",
        Ended(
            task=task_id, attempt=1, execution="x1", status="failed", reason="AgentGaveUp", answer="It **broke**.",
            model="made-up", usage={"turns": 2.0, "input_tokens": 7.0},
        ),
    )  # fmt: skip

    task = world.task(task_id)
    assert (task.status, task.reason, task.answer) == ("failed", "AgentGaveUp", "It **broke**.")
    assert (task.attempts[-1].model, task.attempts[-1].usage["turns"]) == ("made-up", 2.0)
