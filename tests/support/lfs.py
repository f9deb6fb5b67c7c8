"""A Git LFS server: the batch API and its files, for those with the right token.

Source: https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
"""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler


class LfsStore:
    """Files by their SHA-256, served under `/…/info/lfs` of a Git server's own address."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.downloads = 0

    def add(self, content: bytes) -> bytes:
        """Keeps a file; returns the pointer that stands for it in Git."""
        name = hashlib.sha256(content).hexdigest()
        self.files[name] = content
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{name}\nsize {len(content)}\n".encode()

    def serve(self, request: BaseHTTPRequestHandler, path: str, body: bytes, base: str) -> None:
        if path.endswith("/objects/batch"):
            asked = json.loads(body)
            objects = []
            for one in asked["objects"]:
                known = one["oid"] in self.files
                if asked["operation"] == "download" and not known:
                    objects.append({**one, "error": {"code": 404, "message": "There is no such file"}})
                    continue
                here = {asked["operation"]: {"href": f"{base}/info/lfs/file/{one['oid']}"}}
                objects.append({**one, "actions": here if known is (asked["operation"] == "download") else {}})
            self._answer(request, json.dumps({"transfer": "basic", "objects": objects}).encode())
            return
        if request.command == "PUT":
            self.files[path.rsplit("/", 1)[-1]] = body
            self._answer(request, b"")
            return
        self.downloads += 1
        self._answer(request, self.files[path.rsplit("/", 1)[-1]], "application/octet-stream")

    @staticmethod
    def _answer(request: BaseHTTPRequestHandler, body: bytes, kind: str = "application/vnd.git-lfs+json") -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
