"""A server that speaks Coder's API as far as keruta asks for it, and does what a real one won't do on request."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.serving import Quiet, Serving

TOKEN = "c0der-t0ken"


class FakeCoder(Serving):
    """Builds succeed at once, unless told otherwise.

    Attributes:
        refuse: what the next requests are answered instead, each as (status, headers); 0 for no answer in time.
        fail: how many of the next builds fail.
    """

    def __init__(self) -> None:
        self.workspaces: dict[str, dict[str, Any]] = {}
        self.refuse: list[tuple[int, dict[str, str]]] = []
        self.fail = 0
        self.hang_seconds = 0.0
        self.asked: list[tuple[str, str]] = []
        coder = self

        class Handler(Quiet):
            def do_GET(self) -> None:
                if not coder._refused(self):
                    where = urlsplit(self.path)
                    if where.path == "/api/v2/templates":
                        self.answer(200, [{"name": "worker", "id": "t1"}])
                    else:
                        query = parse_qs(where.query)
                        begin, count = int(query["offset"][0]), int(query["limit"][0])
                        found = list(coder.workspaces.values())
                        self.answer(200, {"workspaces": found[begin : begin + count], "count": len(found)})

            def do_POST(self) -> None:
                body = json.loads(self.body())
                if coder._refused(self):
                    return
                if self.path == "/api/v2/users/me/workspaces":
                    made = {"id": f"id-{body['name']}", "name": body["name"], "owner_name": "ann", "asked": body}
                    coder.workspaces[made["id"]] = made
                    coder._build(made, "start")
                    self.answer(201, made)
                else:
                    workspace = coder.workspaces[self.path.split("/")[4]]
                    coder._build(workspace, body["transition"])
                    if body["transition"] == "delete":
                        del coder.workspaces[workspace["id"]]
                    self.answer(201, workspace["latest_build"])

        super().__init__(Handler)

    def states(self) -> dict[str, tuple[str, str]]:
        return {
            one["name"]: (one["latest_build"]["transition"], one["latest_build"]["job"]["status"])
            for one in self.workspaces.values()
        }

    def _build(self, workspace: dict[str, Any], transition: str) -> None:
        broken = self.fail > 0
        self.fail -= broken
        now = datetime.now(UTC).isoformat()
        job = {"status": "failed" if broken else "succeeded", "completed_at": now}
        if broken:
            job["error"] = "terraform apply: exit status 1"
        workspace["latest_build"] = {"transition": transition, "updated_at": now, "job": job}

    def _refused(self, request: Quiet) -> bool:
        self.asked.append((request.command, request.path))
        time.sleep(self.hang_seconds)
        if request.headers["Coder-Session-Token"] != TOKEN:
            request.answer(401, {"message": "Cookie or header is invalid."})
            return True
        if not self.refuse:
            return False
        status, headers = self.refuse.pop(0)
        request.answer(status, {"message": "for the test"}, headers)
        return True
