"""`keruta secrets`: the Secrets that an installation in a cluster needs, with fresh keys, as one manifest."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import timedelta
from typing import Any, Literal

import click

from keruta.adapters.encryption import new_sealing_key
from keruta.adapters.tokens import Issuer, new_key
from keruta.cli.context import json_option
from keruta.local.state import new_code
from keruta.settings import Settings

NAMESPACE = "keruta"
MEMBER = "mongodb-{number}.mongodb.keruta.svc.cluster.local:27017"
WORKER_TOKEN_LIFETIME = timedelta(days=365)
PERSON_TOKEN_LIFETIME = timedelta(days=90)
SignIn = Literal["code", "provider"]


def manifest(members: int, sign_in: SignIn = "code") -> dict[str, Any]:
    """Return a List of Secrets. Each call makes other keys: what is in use is never to be overwritten with them.

    Args:
        members: of keruta's own MongoDB; 0 where there is another.
        sign_in: `code` makes an issuer for trying out, whose private key is kept nowhere.
    """
    values: dict[str, dict[str, str]] = {
        "keruta-session-key": {"session.pem": new_key().decode()},
        "keruta-provenance-key": {"provenance.pem": new_key().decode()},
        "keruta-credentials-key": {"credentials.key": new_sealing_key().decode()},
        **(_mongodb(members) if members else {}),
        **(_sign_in_by_code() if sign_in == "code" else {}),
    }
    items = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "keruta"}},
            "stringData": of,
        }
        for name, of in values.items()
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _mongodb(members: int) -> dict[str, dict[str, str]]:
    password = secrets.token_urlsafe(24)
    hosts = ",".join(MEMBER.format(number=number) for number in range(members))
    return {
        "keruta-mongodb": {
            "keyfile": base64.b64encode(secrets.token_bytes(512)).decode(),
            "password": secrets.token_urlsafe(24),
        },
        "keruta-mongo": {
            "KERUTA_MONGO_URL": f"mongodb://keruta:{password}@{hosts}/?replicaSet=keruta&authSource=admin"
        },
    }


def _sign_in_by_code() -> dict[str, dict[str, str]]:
    """Return the Secrets of the component sign-in-by-code: one person, who has every role, and the workers."""
    settings = Settings()
    issuer = Issuer(new_key(), issuer=settings.issuer, audience=settings.audience)
    person = issuer.issue("me", ["admin", "developer", "viewer"], lifetime=PERSON_TOKEN_LIFETIME)
    worker = issuer.issue("service:worker", ["worker"], lifetime=WORKER_TOKEN_LIFETIME, client="keruta-worker")
    return {
        "keruta-trusted-keys": {"trusted.json": json.dumps(issuer.jwks)},
        "keruta-worker-token": {"worker": worker},
        "keruta-sign-in": {"code": new_code(), "token": person},
    }


@click.command("secrets")
@click.option("--members", default=1, show_default=True, help="members of keruta's own MongoDB; 0: you have a MongoDB")
@click.option(
    "--sign-in",
    type=click.Choice(["code", "provider"]),
    default="code",
    show_default=True,
    help="code: one person signs in by a code, for a trial; provider: you have an identity provider",
)
@json_option
def command(members: int, sign_in: SignIn) -> None:
    """Print a cluster's Secrets with fresh keys: keruta secrets | kubectl create -f -

    `create`, not `apply`: what is there already, and in use, then stays as it is.
    """
    made = manifest(members, sign_in)
    click.echo(json.dumps(made, indent=2))
    for item in made["items"]:
        if item["metadata"]["name"] == "keruta-sign-in":
            click.echo(f"sign in with the code {item['stringData']['code']}", err=True)
