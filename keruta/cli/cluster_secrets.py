"""The Secrets that an installation in a cluster needs: which are missing, and how each is made to fit the others."""

from __future__ import annotations

import json
from collections.abc import Iterator

from keruta.cli.kubectl import NAMESPACE, Document, Get, own, settings
from keruta.domain.doctor import Finding

FRESH = "keruta secrets | kubectl create -f -"
# One generation of keys each: what is made of one alone does not fit the others.
SIGN_IN = ("keruta-trusted-keys", "keruta-worker-token", "keruta-sign-in")
SIGN_IN_AGAIN = f"kubectl delete secret -n {NAMESPACE} --ignore-not-found {' '.join(SIGN_IN)}; {FRESH}"
RESTART = (
    f"kubectl rollout restart -n {NAMESPACE} deployment/admin deployment/worker; "
    f"kubectl delete pods -n {NAMESPACE} -l serving.knative.dev/service"
)


def missing_secrets(get: Get) -> dict[str, set[str]]:
    """Return the Secrets that are not there, and what can't start without each."""
    wanted: dict[str, set[str]] = {}
    for kind in ("ksvc", "deployment", "statefulset"):
        for one in own(get, kind):
            for name in _needed(one["spec"]["template"]["spec"]):
                wanted.setdefault(name, set()).add(one["metadata"]["name"])
    if "KERUTA_TRUSTED_KEYS" in settings(get):
        wanted.setdefault("keruta-trusted-keys", set()).update(("admin", "the functions"))
    return {name: users for name, users in wanted.items() if get("secret", name, "-n", NAMESPACE) is None}


def secret_findings(get: Get, missing: dict[str, set[str]]) -> Iterator[Finding]:
    """Every Secret that something mounts or takes its environment from, and can't start without."""
    for name, users in sorted(missing.items()):
        what = f"The Secret {name} is missing; {', '.join(sorted(users))} can't start without it"
        yield Finding(state="wrong", what=what, mend=_made_again(get, name))
    if get("secret", "keruta-worker-token", "-n", NAMESPACE) is None:
        what = "The Secret keruta-worker-token is missing: workers can't register"
        mend = f"{_made_again(get, 'keruta-worker-token')}; or a token of your provider: docs/identity.md"
        worker = get("deployment", "worker", "-n", NAMESPACE) or {}
        if "KERUTA_WORKER_CLIENT_SECRET_FILE" not in json.dumps(worker):
            yield Finding(state="wrong", what=what, mend=mend)


def _made_again(get: Get, name: str) -> str:
    """Say how a missing Secret is made, so that it fits those that are there."""

    def there(other: str) -> bool:
        return get("secret", other, "-n", NAMESPACE) is not None

    if name in SIGN_IN and any(there(one) for one in SIGN_IN):
        return f"it belongs to {' and '.join(one for one in SIGN_IN if one != name)}: {SIGN_IN_AGAIN}; {RESTART}"
    if name == "keruta-mongo" and there("keruta-mongodb"):
        return f"{FRESH} (what is there stays); kubectl rollout restart -n {NAMESPACE} statefulset/mongodb; {RESTART}"
    if name == "keruta-mongodb" and get("pvc", "data-mongodb-0", "-n", NAMESPACE) is not None:
        return "put it back from your backup: MongoDB's data is there, and its keeper's password is in that Secret only"
    return f"{FRESH} (what is there stays)"


def _needed(pod: Document) -> Iterator[str]:
    for volume in pod.get("volumes", []):
        if "secret" in volume and not volume["secret"].get("optional"):
            yield volume["secret"]["secretName"]
    for container in pod.get("containers", []):
        for source in container.get("envFrom", []):
            if "secretRef" in source and not source["secretRef"].get("optional"):
                yield source["secretRef"]["name"]
