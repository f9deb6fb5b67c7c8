"""GitHub's API for Apps: a token for an installation, in return for a proof signed with the App's key."""

from __future__ import annotations

import json
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.serving import Quiet, Serving


class GitHubApi(Serving):
    """Gives the token that it is told to, and remembers what was asked.

    Args:
        token: what the Git server beside it takes.
        owner: whose repositories the App is installed for.
    """

    def __init__(self, token: str, owner: str = "team") -> None:
        self.owner = owner
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.private_key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        self.asked: list[dict[str, Any]] = []
        api = self

        class Handler(Quiet):
            def do_POST(self) -> None:
                body = self.body()
                proof = self.headers["Authorization"].removeprefix("Bearer ")
                try:
                    claims = jwt.decode(proof, key.public_key(), algorithms=["RS256"])
                except jwt.PyJWTError:
                    self.answer(401)
                    return
                api.asked.append({"path": self.path, "app": claims["iss"], **json.loads(body)})
                names = [f"{api.owner}/{name}" for name in json.loads(body)["repositories"]]
                self.answer(201, {"token": token, "repositories": [{"full_name": name} for name in names]})

        super().__init__(Handler)
