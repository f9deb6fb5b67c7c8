"""The directory of one machine, `.keruta/`: what must be there again the next time."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
from datetime import timedelta
from pathlib import Path
from typing import IO

import msgspec

from keruta import structs
from keruta.adapters.encryption import new_sealing_key
from keruta.adapters.signatures import private_key, public_key, read_keys
from keruta.adapters.tokens import Issuer, new_key
from keruta.domain.doctor import ISOLATION_FILE, Isolation
from keruta.domain.provenance import PublicKey
from keruta.errors import KerutaError
from keruta.files import write_private
from keruta.local import mongod
from keruta.local.ports import any_free, is_free
from keruta.settings import Settings

PREFERRED_PORT = 8480
PORTS = ("public", "broker", "mongod", "create-task", "dispatch", "report-status", "receive-event", "admin")
SERVICE_TOKEN_LIFETIME = timedelta(days=30)
PERSON_TOKEN_LIFETIME = timedelta(days=30)


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `run.json` about a running system."""

    url: str
    token: str
    pid: int
    processes: dict[str, int] = {}


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The paths, and what is kept in them.

    Args:
        root: the directory; made with mode 0700.
    """

    root: Path

    def make(self) -> None:
        """Raises KerutaError where it is there already and another user could have put something into it."""
        for directory in (self.root, *(self.root / name for name in ("keys", "tokens", "log", "worker", "results"))):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not is_own(directory):
                raise KerutaError(
                    f"{directory} belongs to another user, or others may write there: keys that lie in it may be known "
                    "to them. Remove it, or name a directory of your own with --home"
                )
        (self.root / ".gitignore").write_text("*\n")

    def lock(self) -> IO[str]:
        """Holds the directory until the file is closed. Raises KerutaError when another process does."""
        file = (self.root / "lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            running = self.running()
            who = f" (process {running.pid}, at {running.url})" if running else ""
            raise KerutaError(f"keruta is running already on {self.root}{who}; end that one first") from error
        return file

    def issuer(self) -> Issuer:
        """The issuer of this machine, with a key made on first use."""
        settings = Settings()
        return Issuer(self.key("issuer"), issuer=settings.issuer, audience=settings.audience)

    def key(self, name: str) -> bytes:
        path = self.root / "keys" / f"{name}.pem"
        if not path.exists():
            write_private(path, new_key())
        return path.read_bytes()

    @property
    def sealing_key(self) -> Path:
        """The keys that seal credentials, the first for new ones."""
        return self.root / "keys" / "credentials.key"

    @property
    def provenance_key(self) -> Path:
        """The key that signs statements of what attempts did."""
        return self.root / "keys" / "provenance.pem"

    def provenance_keys(self) -> list[PublicKey]:
        """The public keys of all statements of this machine, the one in use last."""
        try:
            old = read_keys(self._old_provenance_keys.read_bytes())
        except OSError:
            old = []
        return [*old, public_key(private_key(self.key("provenance")))]

    def rotate_provenance_key(self) -> PublicKey:
        """Put a new key in place, and note the public half of the old one; return the new one's."""
        known = "".join(key.public_key for key in self.provenance_keys())
        write_private(self._old_provenance_keys, known.encode())
        write_private(self.provenance_key, new_key())
        return self.provenance_keys()[-1]

    @property
    def _old_provenance_keys(self) -> Path:
        return self.root / "keys" / "provenance-old.pub"

    def mongod_access(self) -> mongod.Access:
        """Return the credentials of this machine's mongod; key and password are made on first use."""
        key, password = (self.root / "keys" / name for name in ("mongod.key", "mongod.password"))
        for path in (key, password):
            if not path.exists():
                write_private(path, secrets.token_urlsafe(32).replace("-", "A").replace("_", "B").encode())
        name = os.environ.get("KERUTA_MONGO_DATABASE") or Settings().mongo_database
        return mongod.Access(key_file=key, password=password.read_text(), database=name)

    def mongo_url(self) -> str:
        """The address of the mongod that was started last, with its password."""
        return self.mongod_access().url(self.ports_in_use()["mongod"])

    def write_identity(self) -> str:
        """Trusted keys and service accounts' tokens are there; returns the person's token."""
        issuer = self.issuer()
        self.key("session")
        self.key("provenance")
        if not self.sealing_key.exists():
            write_private(self.sealing_key, new_sealing_key())
        (self.root / "keys" / "trusted.json").write_text(json.dumps(issuer.jwks))
        for name, role in (("events", "dispatcher"), ("worker", "worker")):
            token = issuer.issue(f"service:{name}", [role], lifetime=SERVICE_TOKEN_LIFETIME, client=f"keruta-{role}")
            write_private(self.root / "tokens" / name, token.encode())
        person = os.environ.get("USER") or "me"
        token = issuer.issue(person, ["admin", "developer", "viewer"], lifetime=PERSON_TOKEN_LIFETIME)
        write_private(self.root / "tokens" / "person", token.encode())
        if not self.sign_in_code_file.exists():
            write_private(self.sign_in_code_file, new_code().encode())
        return token

    @property
    def sign_in_code_file(self) -> Path:
        """The file with the code to sign in to the web admin; the same in every run, so that a browser may keep it."""
        return self.root / "keys" / "sign-in-code"

    def ports(self) -> dict[str, int]:
        """A port for each part: the last run's while they are free, so that addresses stay."""
        path = self.root / "ports.json"
        try:
            ports: dict[str, int] = json.loads(path.read_text())
        except (OSError, ValueError):
            ports = {"public": PREFERRED_PORT}
        chosen: dict[str, int] = {}
        for name in PORTS:
            wanted = ports.get(name, 0)
            chosen[name] = wanted if wanted and wanted not in chosen.values() and is_free(wanted) else any_free()
        path.write_text(json.dumps(chosen))
        return chosen

    def ports_in_use(self) -> dict[str, int]:
        """The ports that were chosen last."""
        ports: dict[str, int] = json.loads((self.root / "ports.json").read_text())
        return ports

    def isolation(self) -> Isolation | None:
        """Return the note of the worker that runs here about its fence; None if it has not written one or none runs."""
        running = self.running()
        try:
            written = structs.from_json((self.root / "worker" / ISOLATION_FILE).read_bytes(), type=Isolation)
        except (OSError, msgspec.DecodeError):
            return None
        return written if running is not None and running.processes.get("worker") == written.pid else None

    def running(self) -> Running | None:
        """The system that runs on this directory, if one does."""
        try:
            running = structs.from_json((self.root / "run.json").read_bytes(), type=Running)
            os.kill(running.pid, 0)
        except (OSError, msgspec.DecodeError):
            return None
        return running

    def note_running(self, running: Running) -> None:
        write_private(self.root / "run.json", msgspec.json.encode(running))

    def note_ended(self) -> None:
        (self.root / "run.json").unlink(missing_ok=True)


def new_code() -> str:
    """75 random bits, as a person can type them."""
    letters = "".join(secrets.choice("ABCDEFGHJKMNPQRSTVWXYZ23456789") for _ in range(15))
    return "-".join(letters[at : at + 5] for at in (0, 5, 10))


def find(start: Path) -> State | None:
    """The directory of the system that a person means: $KERUTA_HOME, or a `.keruta` of their own here or above."""
    home = os.environ.get("KERUTA_HOME")
    if home:
        return State(root=Path(home).absolute())
    own = next((root for root in _above(start) if is_own(root)), None)
    return State(root=own) if own is not None else None


def passed_over(start: Path) -> list[Path]:
    """The directories `.keruta` here and above that `find` does not use, for others may have made what is in them."""
    return [root for root in _above(start) if not is_own(root)]


def is_own(directory: Path) -> bool:
    """Return whether a directory, and a link in its place, belongs to this user and no one else may write there."""
    try:
        link, found = directory.lstat(), directory.stat()
    except OSError:
        return False
    return link.st_uid == found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _above(start: Path) -> list[Path]:
    places = [directory / ".keruta" for directory in (start, *start.parents)]
    return [place for place in places if os.path.isdir(place)]
