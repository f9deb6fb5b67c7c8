"""`keruta secrets`: the Secrets that an installation in a cluster needs, with fresh keys, as one manifest."""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

import click

from keruta.adapters.encryption import new_sealing_key
from keruta.adapters.tokens import new_key

NAMESPACE = "keruta"
MEMBER = "mongodb-{number}.mongodb.keruta.svc.cluster.local:27017"


def manifest(members: int) -> dict[str, Any]:
    """A List of Secrets. Each call makes other keys: what is in use is never to be overwritten with them."""
    password = secrets.token_urlsafe(24)
    hosts = ",".join(MEMBER.format(number=number) for number in range(members))
    values: dict[str, dict[str, str]] = {
        "keruta-session-key": {"session.pem": new_key().decode()},
        "keruta-credentials-key": {"credentials.key": new_sealing_key().decode()},
    }
    if members:
        values |= {
            "keruta-mongodb": {
                "keyfile": base64.b64encode(secrets.token_bytes(512)).decode(),
                "password": secrets.token_urlsafe(24),
            },
            "keruta-mongo": {
                "KERUTA_MONGO_URL": f"mongodb://keruta:{password}@{hosts}/?replicaSet=keruta&authSource=admin"
            },
        }
    items = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "stringData": of,
        }
        for name, of in values.items()
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


@click.command("secrets")
@click.option("--members", default=1, show_default=True, help="members of keruta's own MongoDB; 0: you bring one")
def command(members: int) -> None:
    """Print a cluster's Secrets with fresh keys: keruta secrets | kubectl create -f -

    `create`, not `apply`: what is there already, and in use, then stays as it is.
    """
    click.echo(json.dumps(manifest(members), indent=2))
