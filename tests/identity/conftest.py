"""One Keycloak for the run, with the realm that ships; one keruta whose people come from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cluster import LAB, lab
from tests.support.keycloak import SECRETS, Keycloak, realm_file
from tests.support.system import RunningSystem

TOKEN_SECONDS = 6  # so short that tokens run out within a test


@pytest.fixture(scope="session")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    if not LAB.exists():
        pytest.skip("SKIPPED LOUDLY: no lab beside this checkout; set KERUTA_LAB to its command to try Keycloak")
    realm = realm_file(tmp_path_factory.mktemp("realm"), "http://127.0.0.1:1", accessTokenLifespan=TOKEN_SECONDS)
    lab("keycloak", "up", str(realm))
    running = Keycloak()
    try:
        yield running
    finally:
        running.thaw()
        lab("keycloak", "down")


@pytest.fixture(scope="session")
def system(keycloak: Keycloak, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    home = tmp_path_factory.mktemp("machine")
    for client in ("keruta-worker", "keruta-admin", "keruta-people"):
        (home / f"{client}-secret").write_text(SECRETS[client])
    settings = {
        "KERUTA_ISSUER": keycloak.issuer,
        "KERUTA_ISSUER_URL": keycloak.issuer,
        "KERUTA_TRUSTED_KEYS": "",
        "KERUTA_REQUESTS_PER_MINUTE": "1000000",  # one person asks all the time here
        "KERUTA_SIGN_INS_PER_MINUTE": "1000000",
        "KERUTA_WORKER_CLIENT_SECRET_FILE": str(home / "keruta-worker-secret"),
        "KERUTA_ADMIN_CLIENT_SECRET_FILE": str(home / "keruta-admin-secret"),
        "KERUTA_PEOPLE_CLIENT_ID": "keruta-people",
        "KERUTA_PEOPLE_CLIENT_SECRET_FILE": str(home / "keruta-people-secret"),
        "KERUTA_SIGN_IN_CODE_FILE": "",
    }
    with RunningSystem(home / "home", settings) as up:
        yield up
