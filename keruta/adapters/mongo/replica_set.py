"""Makes a replica set of the members of a StatefulSet, and its users: runs beside each mongod, by level.

The first member makes the set of itself alone, with the user that keeps it (MongoDB lets the first user be made from
the same Pod) and the one that keruta's own address names; then it adds the others as they come. It can be repeated.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from keruta import logs
from keruta.errors import SettingsError

log = logging.getLogger(__name__)

LOOK_AT_FIRST_SECONDS, LOOK_SECONDS = 1.0, 30.0
KEEPER = "keruta-keeper"
_ALREADY_INITIALIZED, _USER_THERE, _UNAUTHORIZED, _AUTHENTICATION_FAILED = 23, 51003, 13, 18
Client = pymongo.MongoClient[dict[str, Any]]


class ReplicaSet:
    """One set.

    Args:
        members: their addresses, the first being this one.
        password: the keeper's.
        url: keruta's own address of the database; its user is made here.
    """

    def __init__(self, members: list[str], password: str, url: str) -> None:
        self._members = members
        self._password = password
        self._app = parse_uri(url)
        if not self._app["username"] or not self._app["password"]:
            raise SettingsError("KERUTA_MONGO_URL names no user and password; this MongoDB has authentication on")

    def look(self) -> bool:
        """Brings the set nearer to what it should be; returns whether nothing is left to do."""
        try:
            with self._keeper() as client:
                client.admin.command("replSetGetStatus")
        except OperationFailure as error:
            if error.code not in (_UNAUTHORIZED, _AUTHENTICATION_FAILED):
                raise
            self._begin()
            return False
        with self._keeper() as client:
            if not client.admin.command("hello").get("isWritablePrimary"):
                return bool(client.admin.command("hello").get("secondary"))  # another member is the one to do it
            self._make_user(client)
            return self._add_members(client)

    def _begin(self) -> None:
        """The set of one, and the user that keeps it."""
        with _local() as client:
            config = {"_id": "keruta", "members": [{"_id": 0, "host": self._members[0]}]}
            try:
                client.admin.command("replSetInitiate", config)
            except OperationFailure as error:
                if error.code != _ALREADY_INITIALIZED:
                    raise
            roles = [{"role": "clusterAdmin", "db": "admin"}, {"role": "userAdminAnyDatabase", "db": "admin"}]
            client.admin.command("createUser", KEEPER, pwd=self._password, roles=roles)
            log.info("replica set made", extra={"action": "replica_set_made"})

    def _make_user(self, client: Client) -> None:
        """keruta's user: it may use its own database, and no other."""
        name = self._app["username"]
        own = os.environ.get("KERUTA_MONGO_DATABASE", "keruta")
        roles = [{"role": role, "db": own} for role in ("readWrite", "dbAdmin")]
        users = client[self._app["database"] or "admin"]
        try:
            users.command("createUser", name, pwd=self._app["password"], roles=roles)
        except OperationFailure as error:
            if error.code != _USER_THERE:
                raise
            users.command("updateUser", name, pwd=self._app["password"], roles=roles)

    def _add_members(self, client: Client) -> bool:
        config = client.admin.command("replSetGetConfig")["config"]
        there = {member["host"] for member in config["members"]}
        missing = [(number, host) for number, host in enumerate(self._members) if host not in there]
        if missing:  # one at a time: MongoDB takes no more
            number, host = missing[0]
            config["members"].append({"_id": number, "host": host})
            config["version"] += 1
            client.admin.command("replSetReconfig", config)
            log.info("member added", extra={"action": "member_added", "member": host})
        return not missing

    def _keeper(self) -> Client:
        return _local(username=KEEPER, password=self._password)


def _local(**more: Any) -> Client:
    return pymongo.MongoClient("127.0.0.1", 27017, directConnection=True, serverSelectionTimeoutMS=3000, **more)


def run(environ: Mapping[str, str]) -> None:
    """Looks for ever; the first member only, the others are added by it. Raises SettingsError."""
    number = int(environ["POD_NAME"].rpartition("-")[2])
    members = [environ["MEMBER"].format(number=one) for one in range(int(environ["MEMBERS"]))]
    password = Path(environ["PASSWORD_FILE"]).read_text().strip()
    while number:  # another one's business
        time.sleep(3600)
    replica_set = ReplicaSet(members, password, environ["KERUTA_MONGO_URL"])
    while True:
        done = False
        try:
            done = replica_set.look()
        except PyMongoError as error:
            log.info("not yet: %s", str(error)[:200], extra={"action": "replica_set_waits"})
        time.sleep(LOOK_SECONDS if done else LOOK_AT_FIRST_SECONDS)


if __name__ == "__main__":
    logs.configure("replica_set")
    run(os.environ)
