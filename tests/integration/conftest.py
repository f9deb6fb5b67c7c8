from __future__ import annotations

import json
from pathlib import Path

import flask
import msgspec
import pytest

from admin.app import make_app
from admin.bootstrap import make_ports
from keruta.adapters.forge_sender import ForgeSender
from keruta.adapters.mongo.client import Database
from keruta.adapters.tokens import Issuer, new_key
from keruta.adapters.webhooks import WebhookSender
from keruta.settings import Settings
from tests.support.world import World


@pytest.fixture
def world(database: Database, settings: Settings) -> World:
    return World(database, settings)


@pytest.fixture
def app(world: World, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> flask.Flask:
    """The web admin on the test's database; `extensions["issuer"]` signs its tokens."""
    monkeypatch.setattr(WebhookSender, "start", lambda self: None)
    monkeypatch.setattr(ForgeSender, "start", lambda self: None)
    monkeypatch.setattr("keruta.logs.configure", lambda *_: None)
    monkeypatch.setattr("admin.bootstrap.connect", lambda *_, **__: world.database)
    issuer = Issuer(new_key(), issuer=settings.issuer, audience=settings.audience)
    trusted = tmp_path / "trusted.json"
    trusted.write_text(json.dumps(issuer.jwks))
    own = msgspec.structs.replace(settings, trusted_keys=trusted, requests_per_minute=0)
    made = make_app(own, make_ports)
    made.extensions["issuer"] = issuer
    return made
