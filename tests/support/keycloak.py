"""A real Keycloak with the realm that ships, and what an administrator does with it."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import urllib3

from tests.support.processes import command_lines

ROOT = Path(__file__).parents[2]
REALM = ROOT / "knative" / "components" / "keycloak" / "realm.json"
PASSWORD = "c0rrect-horse-battery"
SECRETS = {
    "keruta-dispatcher": "d1spatcher-s3cret",
    "keruta-worker": "w0rker-s3cret",
    "keruta-admin": "adm1n-s3cret",
    "keruta-people": "pe0ple-s3cret",
}
PEOPLE = {
    "vera": "keruta-viewers",
    "dev": "keruta-developers",
    "dana": "keruta-developers",
    "ada": "keruta-administrators",
}


def realm_file(directory: Path, public_url: str, **more: Any) -> Path:
    """The realm that ships, with this run's address, known secrets, people, and a way to get their tokens."""
    realm = json.loads(REALM.read_text().replace("https://keruta.example.com", public_url))
    for client in realm["clients"]:
        if client["clientId"] in SECRETS:
            client["secret"] = SECRETS[client["clientId"]]
        if client["clientId"] == "keruta-cli":
            client["directAccessGrantsEnabled"] = True
    for name, group in PEOPLE.items():
        credentials = [{"type": "password", "value": PASSWORD, "temporary": False}]
        person = {"username": name, "enabled": True, "groups": [group], "credentials": credentials}
        person |= {"email": f"{name}@example.com", "emailVerified": True, "firstName": name, "lastName": "Test"}
        realm["users"].append(person)
    realm |= more
    path = directory / "keruta-realm.json"
    path.write_text(json.dumps(realm))
    return path


class Keycloak:
    """The running server, by its administrator and as its users' programs see it."""

    def __init__(self) -> None:
        self.port = int(os.environ.get("KERUTA_LAB_KEYCLOAK_PORT", "18080"))
        self.url = f"http://127.0.0.1:{self.port}"
        self.issuer = f"{self.url}/realms/keruta"
        self._pool = urllib3.PoolManager(retries=False, timeout=30.0)

    def token(self, name: str) -> str:
        """A person's access token."""
        return str(self.grant(grant_type="password", username=name, password=PASSWORD)["access_token"])

    def grant(self, client: str = "keruta-cli", **form: str) -> dict[str, Any]:
        address = f"{self.issuer}/protocol/openid-connect/token"
        answer = self._pool.request("POST", address, fields={"client_id": client, **form}, encode_multipart=False)
        assert answer.status == 200, answer.data
        return dict(json.loads(answer.data))

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """A call to the realm's administration."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "admin"}
        address = f"{self.url}/realms/master/protocol/openid-connect/token"
        token = json.loads(self._pool.request("POST", address, fields=form, encode_multipart=False).data)[
            "access_token"
        ]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body)
        answer = self._pool.request(method, f"{self.url}/admin/realms/keruta{path}", body=sent, headers=headers)
        assert answer.status < 300, (answer.status, answer.data)
        return json.loads(answer.data) if answer.data else None

    def rotate(self) -> None:
        """Another key signs from now on; the old ones still verify."""
        realm = self.admin("GET", "")["id"]
        config = {"priority": [str(int(time.time()))], "enabled": ["true"], "active": ["true"], "keySize": ["2048"]}
        body = {
            "name": f"rsa-{time.time()}", "providerId": "rsa-generated", "parentId": realm,
            "providerType": "org.keycloak.keys.KeyProvider", "config": config,
        }  # fmt: skip
        self.admin("POST", "/components", body)

    def freeze(self) -> None:
        """Stop answering; connections hang."""
        for process in self._processes():
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for process in self._processes():
            process.send_signal(signal.SIGCONT)

    def _processes(self) -> list[psutil.Process]:
        mark = f"--http-port={self.port}"
        found = [
            process
            for process, line in command_lines()
            if line and Path(line[0]).name.startswith("java") and (mark in line or str(self.port) in line)
        ]
        assert found, "Keycloak's process is not there"
        return found
