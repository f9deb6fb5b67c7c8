"""What an App asks of GitHub: a token for an installation, given for a proof that is signed by the App's key."""

from __future__ import annotations

import http.server
import json
import threading
from types import TracebackType
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


class GitHubApi:
    """Gives the token that it is told to, and remembers what was asked.

    Args:
        token: what the Git server beside it takes.
    """

    def __init__(self, token: str) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.private_key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        self.asked: list[dict[str, Any]] = []
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                proof = self.headers["Authorization"].removeprefix("Bearer ")
                try:
                    claims = jwt.decode(proof, key.public_key(), algorithms=["RS256"])
                except jwt.PyJWTError:
                    self.send_response(401)
                    self.end_headers()
                    return
                api.asked.append({"path": self.path, "app": claims["iss"], **json.loads(body)})
                answer = json.dumps({"token": token}).encode()
                self.send_response(201)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> GitHubApi:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
