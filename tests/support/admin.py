"""The web admin in this process: who asks it, and all its routes."""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import flask
from flask.testing import FlaskClient
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.routing import Rule

from keruta.domain.principal import Principal
from keruta.domain.sign_in import Tokens


class Noted(flask.Request):
    """A request that notes which parameters are asked of it."""

    names: ClassVar[set[str]] = set()

    class Arguments(ImmutableMultiDict[str, str]):
        def get(self, key: str, *given: Any, **options: Any) -> Any:
            Noted.names.add(key)
            return super().get(key, *given, **options)

        def __getitem__(self, key: str) -> str:
            Noted.names.add(key)
            return super().__getitem__(key)

        def __contains__(self, key: object) -> bool:
            Noted.names.add(str(key))
            return super().__contains__(key)

        def getlist(self, key: str, *given: Any, **options: Any) -> Any:
            Noted.names.add(key)
            return super().getlist(key, *given, **options)

    parameter_storage_class = Arguments


class Browser:
    """One person, with a token for the API and a session for pages."""

    def __init__(self, app: flask.Flask, token: str, who: Principal) -> None:
        self.client: FlaskClient = app.test_client()
        self.token = token
        until = datetime.now(UTC).timestamp() + 3600
        tokens = Tokens(access_token=token, expires_at=until, ends_at=until)
        session = app.extensions["keruta"]().browsers.begin(tokens, subject=who.subject)
        self.client.set_cookie("keruta-session", session.secret)
        mask = b"m" * 16
        self.form_token = (mask + hmac.digest(session.form_key, mask, "sha256")).hex()

    def ask(self, method: str, path: str, body: Any = None, accept: str = "") -> tuple[int, str]:
        self.client.delete_cookie("keruta-said")  # what the page before had to say
        api = path.startswith("/api/v1")
        headers = {"If-Match": "*", **({"Accept": accept} if accept else {})}
        if api:
            headers["Authorization"] = f"Bearer {self.token}"
            answer = self.client.open(path, method=method, headers=headers, json=body)
        else:
            headers["X-Form-Token"] = self.form_token
            answer = self.client.open(path, method=method, headers=headers, data=body)
        assert answer.status_code < 500, (method, path, answer.text)
        return answer.status_code, answer.text + str(answer.headers.get("Location", ""))


def signed_in(app: flask.Flask, who: Principal) -> Browser:
    token = app.extensions["issuer"].issue(who.subject, sorted(who.roles), lifetime=timedelta(hours=1))
    return Browser(app, token, who)


def rules(app: flask.Flask) -> list[tuple[Rule, str]]:
    """Every route and page for people, with each of its methods."""
    return [
        (rule, method)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) & {"GET", "POST", "PUT", "DELETE"})
        if not rule.rule.startswith(("/auth/", "/events/", "/assets/"))
    ]


def filled(rule: Rule, values: dict[str, str]) -> str:
    return re.sub(r"<(?:path:)?(\w+)>", lambda found: values[found[1]], rule.rule)
