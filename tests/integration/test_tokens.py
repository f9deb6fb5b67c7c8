"""Tokens: what is taken, every forgery that is not, and what goes on while the issuer is away."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from keruta import metrics
from keruta.adapters.identity import keys as key_module
from keruta.adapters.identity.keys import COOLDOWN_SECONDS, IssuerKeys
from keruta.adapters.identity.service_account import ClientCredentials, NoTokenError
from keruta.adapters.identity.verifier import Verifier
from keruta.adapters.mongo.accounts import MongoAccounts
from keruta.adapters.mongo.client import Database
from keruta.adapters.mongo.rate_limits import MongoRates
from keruta.adapters.mongo.users import MongoKeyStore, MongoPeople, make_verifier
from keruta.domain.principal import Principal
from keruta.domain.users import ApiKeyRequest
from keruta.errors import Conflict, Forbidden, TooManyRequests, Unauthenticated
from keruta.services import users
from keruta.settings import Settings
from tests.support.serving import Quiet, Serving

Claims = dict[str, Any]


class Provider(Serving):
    """An identity provider that is not Keycloak: its own claims, its own key types, and it can be away."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[Any, str]] = {}
        self.asked = 0
        self.away = False
        self.hang_seconds = 0.0
        provider = self

        class Handler(Quiet):
            def do_GET(self) -> None:
                time.sleep(provider.hang_seconds)
                if provider.away:
                    self.answer(503)
                elif self.path.endswith("/openid-configuration"):
                    endpoints = {"jwks_uri": f"{provider.url}/keys", "token_endpoint": f"{provider.url}/token"}
                    self.answer(200, {"issuer": provider.url, **endpoints})
                else:
                    provider.asked += 1
                    self.answer(200, provider.jwks())

            def do_POST(self) -> None:
                form = self.body().decode()
                if provider.away:
                    self.answer(503)
                elif "client_secret=right" in form:
                    self.answer(200, {"access_token": provider.token(sub="service"), "expires_in": 100})
                else:
                    self.answer(401, {"error": "invalid_client"})

        super().__init__(Handler)
        self.add("k1", "RS256")

    def add(self, name: str, algorithm: str) -> None:
        make: Any = {
            "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }
        self.keys[name] = make[algorithm](), algorithm

    def jwks(self) -> Claims:
        return {"keys": [self.public(name) for name in self.keys]}

    def public(self, name: str) -> Claims:
        key, algorithm = self.keys[name]
        kind = jwt.get_algorithm_by_name(algorithm)
        return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": name, "alg": algorithm, "use": "sig"}

    def claims(self, **more: Any) -> Claims:
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": "keruta-api", "sub": "s-1", "azp": "keruta-cli", "typ": "Bearer", "iat": now,
            "exp": now + 60, "preferred_username": "ann", "realm_access": {"roles": ["developer"]}, "groups": ["/team"],
        }  # fmt: skip
        return {name: value for name, value in {**claims, **more}.items() if value is not None}

    def token(self, kid: str = "k1", headers: Claims | None = None, **claims: Any) -> str:
        key, algorithm = self.keys[kid]
        return jwt.encode(self.claims(**claims), key, algorithm=algorithm, headers={"kid": kid, **(headers or {})})


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as serving:
        yield serving


@pytest.fixture
def own(settings: Settings, provider: Provider) -> Settings:
    from msgspec.structs import replace

    return replace(settings, issuer=provider.url)


def verifier(own: Settings, database: Database, **more: Any) -> Verifier:
    keys = IssuerKeys(own.issuer, own.issuer, MongoKeyStore(database))
    return Verifier(own, keys, MongoPeople(database), **more)


def test_a_token_says_who_it_speaks_for(own: Settings, database: Database, provider: Provider) -> None:
    who = verifier(own, database).verify(provider.token(email="ann@example.com"))

    assert (who.subject, who.name, who.mail) == ("s-1", "ann", "ann@example.com")
    assert (who.roles, who.groups, who.client) == ({"developer"}, {"team"}, "keruta-cli")
    assert {"everyone", "user:s-1", "name:ann", "group:team", "role:developer"} == set(who.names)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_three_algorithms_are_taken(own: Settings, database: Database, provider: Provider, algorithm: str) -> None:
    provider.add("other", algorithm)

    assert verifier(own, database).verify(provider.token("other")).name == "ann"


def test_another_provider_by_issuer_audience_and_claim_path(
    own: Settings, database: Database, provider: Provider
) -> None:
    """One that says access tokens as RFC 9068 does, and has its roles elsewhere."""
    from msgspec.structs import replace

    provider.add("e1", "ES256")
    odd = replace(own, audience="https://keruta.example.com", roles_claim="keruta/roles", clients=frozenset())
    token = provider.token(
        "e1", {"typ": "at+jwt"}, aud=["https://keruta.example.com"], typ=None, azp=None, client_id="app",
        realm_access=None, **{"keruta/roles": ["admin"]},
    )  # fmt: skip

    assert verifier(odd, database).verify(token).roles == {"admin"}


def public_pem(provider: Provider) -> bytes:
    key = provider.keys["k1"][0].public_key()
    return bytes(key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


def hs256_with_the_public_key(provider: Provider) -> str:
    import hashlib
    import hmac

    def part(value: Claims) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    body = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'k1'})}.{part(provider.claims())}"
    signature = hmac.new(public_pem(provider), body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


STRANGERS_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signed_by_a_stranger(provider: Provider, **headers: Any) -> str:
    key = STRANGERS_KEY
    own = {**jwt.get_algorithm_by_name("RS256").to_jwk(key.public_key(), as_dict=True), "kid": "k1", "alg": "RS256"}
    said = {name: own if value == "OWN" else value for name, value in headers.items()}
    return jwt.encode(provider.claims(), key, algorithm="RS256", headers={"kid": "k1", **said})


def altered(provider: Provider) -> str:
    head, _, signature = provider.token().split(".")
    claims = provider.claims(realm_access={"roles": ["admin"]})
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


def bomb(provider: Provider) -> str:
    deep = b"[" * 5000 + b"]" * 5000
    head = base64.urlsafe_b64encode(json.dumps({"alg": "RS256", "kid": "k1"}).encode()).decode().rstrip("=")
    return f"{head}.{base64.urlsafe_b64encode(deep).decode().rstrip('=')}.x"


FORGERIES = {
    "no algorithm": lambda p: jwt.encode(p.claims(), None, algorithm="none", headers={"kid": "k1"}),
    "HS256 with the public key": hs256_with_the_public_key,
    "another's key under our key's name": signed_by_a_stranger,
    "its own key by jwk": lambda p: signed_by_a_stranger(p, jwk="OWN"),
    "its own key by jku": lambda p: signed_by_a_stranger(p, jku="http://127.0.0.1:1/keys"),
    "its own key by x5u": lambda p: signed_by_a_stranger(p, x5u="http://127.0.0.1:1/cert"),
    "a path as the key's name": lambda p: signed_by_a_stranger(p, kid="../../../etc/passwd"),
    "a query as the key's name": lambda p: signed_by_a_stranger(p, kid="k1' OR '1'='1"),
    "an extension that must be understood": lambda p: p.token(headers={"crit": ["x"], "x": 1}),
    "another issuer": lambda p: p.token(iss="https://evil.example.com"),
    "another audience": lambda p: p.token(aud="account"),
    "another client": lambda p: p.token(azp="evil-app"),
    "no client": lambda p: p.token(azp=None),
    "an ID token": lambda p: p.token(typ="ID"),
    "a refresh token": lambda p: p.token(typ="Refresh"),
    "no type": lambda p: p.token(typ=None),
    "no expiry": lambda p: p.token(exp=None),
    "no subject": lambda p: p.token(sub=None),
    "a service account of keruta's": lambda p: p.token(sub="service-account:nightly"),
    "no time": lambda p: p.token(iat=None),
    "run out": lambda p: p.token(exp=int(time.time()) - 60),
    "not valid yet": lambda p: p.token(nbf=int(time.time()) + 600),
    "made tomorrow": lambda p: p.token(iat=int(time.time()) + 86400),
    "an altered body": altered,
    "a cut signature": lambda p: p.token()[:-8],
    "no signature": lambda p: p.token().rpartition(".")[0] + ".",
    "a megabyte": lambda p: p.token(padding="x" * 1_000_000),
    "a nested bomb": bomb,
    "nothing": lambda p: "",
    "dots": lambda p: "..",
    "an expiry that is none": lambda p: p.token(exp="soon"),
    "a key that was never ours": lambda p: f"keruta_{'0' * 26}_{'x' * 43}",
}  # fmt: skip


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forgery_is_refused_and_counted(own: Settings, database: Database, provider: Provider, forgery: Any) -> None:
    def refused() -> float:
        return sum(sample.value for metric in metrics.TOKENS_REFUSED.collect() for sample in metric.samples
                   if sample.name.endswith("_total"))  # fmt: skip

    try:
        token = forgery(provider)
    except (TypeError, ValueError, jwt.PyJWTError):
        pytest.skip("the library makes no such token")
    before = refused()

    with pytest.raises(Unauthenticated) as caught:
        verifier(own, database).verify(token)

    assert refused() == before + 1
    assert "ann" not in caught.value.message.text


def test_a_rotation_passes_unnoticed(own: Settings, database: Database, provider: Provider) -> None:
    it = verifier(own, database)
    assert it.verify(provider.token()).name == "ann"
    database["jwks"].update_one({}, [{"$set": {"asked_at.unknown": {"$subtract": ["$$NOW", 60_000]}}}])

    provider.add("k2", "RS256")

    assert it.verify(provider.token("k2")).name == "ann"
    assert it.verify(provider.token()).name == "ann"


def test_a_strangers_key_names_do_not_hammer_the_provider(
    own: Settings, database: Database, provider: Provider
) -> None:
    """Of all replicas together; and those that come meanwhile with a good key are let in."""
    replicas = [verifier(own, database) for _ in range(3)]
    begun = time.monotonic()
    for number in range(50):
        with pytest.raises(Unauthenticated):
            replicas[number % 3].verify(signed_by_a_stranger(provider, kid=f"made-up-{number}"))

    assert all(one.verify(provider.token()).name == "ann" for one in replicas)
    cooldowns = int((time.monotonic() - begun) / COOLDOWN_SECONDS)
    assert provider.asked <= 1 + cooldowns


def test_a_token_that_no_key_of_the_providers_could_have_signed_asks_nobody(
    own: Settings, database: Database, provider: Provider
) -> None:
    """Such as a refresh token: a rotation right behind it passes unnoticed."""
    it = verifier(own, database)
    it.verify(provider.token())
    database["jwks"].update_one({}, [{"$set": {"asked_at.unknown": {"$subtract": ["$$NOW", 60_000]}}}])
    refresh = jwt.encode(provider.claims(), "s" * 64, algorithm="HS512", headers={"kid": "symmetric"})

    with pytest.raises(Unauthenticated):
        it.verify(refresh)
    provider.add("k2", "RS256")

    assert it.verify(provider.token("k2")).name == "ann"


def test_a_key_that_the_provider_takes_back_opens_nothing_any_more(
    own: Settings, database: Database, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even with a token that was verified before."""
    monkeypatch.setattr(key_module, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(key_module, "LOOK_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(key_module, "COOLDOWN_SECONDS", 0.0)
    provider.add("k2", "RS256")
    it = verifier(own, database)
    token = provider.token()
    assert it.verify(token).name == "ann"

    del provider.keys["k1"]
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            it.verify(token)
            time.sleep(0.05)  # the keys are made new behind a request's back
        except Unauthenticated:
            break

    with pytest.raises(Unauthenticated):
        it.verify(token)
    assert it.verify(provider.token("k2")).name == "ann"


def test_a_new_replica_begins_with_the_keys_on_record(own: Settings, database: Database, provider: Provider) -> None:
    """Though the provider is away."""
    verifier(own, database).verify(provider.token())
    provider.away = True

    assert verifier(own, database).verify(provider.token(sub="s-2")).subject == "s-2"


def test_while_the_provider_is_away_a_token_that_ran_out_reads_and_nothing_more(
    own: Settings, database: Database, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_module, "LOOK_AGAIN_SECONDS", 0.0)
    now = [time.time()]
    it = verifier(own, database, now=lambda: now[0])
    token, service = provider.token(), provider.token(sub="w", realm_access={"roles": ["worker"]})
    it.verify(token)
    it.verify(service)
    now[0] += 3600

    with pytest.raises(Unauthenticated):
        it.verify(token)
    provider.away = True
    late = it.verify(token)
    with pytest.raises(Unauthenticated):
        it.verify(service)
    now[0] += own.offline_grace_seconds
    with pytest.raises(Unauthenticated):
        it.verify(token)
    now[0] -= own.offline_grace_seconds
    away_since = it.issuer_away_since
    provider.away = False
    with pytest.raises(Unauthenticated):
        it.verify(token)

    assert (late.roles, late.offline, late.name) == ({"viewer"}, True, "ann")
    assert away_since is not None
    assert it.issuer_away_since is None


def test_that_it_is_away_is_noticed_by_one_request_and_not_waited_for_by_each(
    own: Settings, database: Database, provider: Provider
) -> None:
    """The provider hangs: twenty at once with tokens that ran out cost one time-out in all, not twenty."""
    now = [time.time()]
    it = verifier(own, database, now=lambda: now[0])
    tokens = [provider.token(sub=f"s-{number}") for number in range(20)]
    for token in tokens:
        it.verify(token)
    database["jwks"].update_one({}, [{"$set": {"away_since": "$$NOW", "asked_at.routine": "$$NOW"}}])
    now[0] += 3600
    provider.hang_seconds = 30
    it._keys._looked_until = 0.0  # type: ignore[attr-defined]
    it._keys._away_since = None  # type: ignore[attr-defined]
    took = []

    def ask(token: str) -> None:
        began = time.monotonic()
        try:
            it.verify(token)
        except Unauthenticated:
            pass
        took.append(time.monotonic() - began)

    threads = [threading.Thread(target=ask, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(one > 1 for one in took) <= 1


# ---------------------------------------------------------------- people and API keys


ANN = Principal(subject="s-1", name="ann", roles=frozenset({"developer", "viewer"}))
ADA = Principal(subject="s-2", name="ada", roles=frozenset({"admin"}))


@pytest.mark.parametrize(
    ("claims", "verified"),
    [
        ({"email_verified": True}, True),
        ({"email_verified": False}, False),
        ({}, False),
        ({"email_verified": "false"}, False),
        ({"email_verified": "true"}, True),
        ({"email_verified": 1}, False),
    ],
)
def test_whether_an_address_is_verified_is_as_the_issuer_said_last(
    own: Settings, database: Database, provider: Provider, claims: dict[str, object], verified: bool
) -> None:
    """Also for who is not here now."""
    MongoPeople(database).seen(Principal(subject="s-1", name="ann", roles=frozenset({"viewer"}), mail_verified=True))
    who = verifier(own, database).verify(provider.token(email="ann@example.com", **claims))
    person = MongoPeople(database).person("s-1")

    assert who.mail_verified is verified
    assert person is not None
    assert person.mail_verified is verified


def test_who_is_disabled_is_let_in_no_more_at_once(own: Settings, database: Database, provider: Provider) -> None:
    it, accounts = verifier(own, database), MongoAccounts(database)
    token = provider.token()
    it.verify(token)

    accounts.set_disabled(ADA, "s-1", disabled=True)
    with pytest.raises(Forbidden) as caught:
        it.verify(token)
    accounts.set_disabled(ADA, "s-1", disabled=False)

    assert caught.value.reason == "AccountDisabled"
    assert it.verify(token).name == "ann"
    seen = accounts.user("s-1")
    assert (seen.name, seen.roles, seen.groups) == ("ann", ["developer"], ["team"])
    with pytest.raises(Conflict):
        users.set_disabled(ADA, "s-2", disabled=True, accounts=accounts)


def test_people_are_listed_by_name_in_pages(database: Database) -> None:
    people, accounts = MongoPeople(database), MongoAccounts(database)
    for number in range(5):
        people.seen(Principal(subject=f"s-{number}", name=f"bob{number}", roles=frozenset({"viewer"})))
    people.seen(ANN)

    first = accounts.users(search="bob", limit=3, cursor=None)
    rest = accounts.users(search="bob", limit=3, cursor=first.next)

    assert [one.name for one in (*first.items, *rest.items)] == [f"bob{number}" for number in range(5)]
    assert rest.next is None


def test_an_api_key_speaks_for_its_owner_within_its_roles(
    own: Settings, database: Database, provider: Provider
) -> None:
    it, accounts = verifier(own, database), MongoAccounts(database)
    owner = it.verify(provider.token(realm_access={"roles": ["developer", "viewer"]}))
    made = accounts.make_key(owner, ApiKeyRequest(name="ci", roles=["viewer"]))

    who = it.verify(made.key)
    with pytest.raises(Forbidden):
        users.make_key(owner, ApiKeyRequest(name="more", roles=["admin"]), accounts=accounts)
    with pytest.raises(Forbidden):
        users.make_key(who, ApiKeyRequest(name="from a key", roles=["viewer"]), accounts=accounts)

    assert (who.subject, who.roles, who.key) == ("s-1", {"viewer"}, made.shown.id)
    stored = json.dumps(database["api_keys"].find_one({}), default=str)
    assert made.key.split("_", 2)[2] not in stored
    assert accounts.keys(owner, limit=10, cursor=None).items[0].last_used_at is not None


def test_an_api_key_ends_when_revoked_run_out_or_its_owner_is_disabled(
    own: Settings, database: Database, provider: Provider
) -> None:
    it, accounts = verifier(own, database), MongoAccounts(database)
    owner = it.verify(provider.token())
    revoked, old, orphaned = (accounts.make_key(owner, ApiKeyRequest(name=name, roles=["developer"])) for name in "abc")
    accounts.revoke(owner, revoked.shown.id)
    database["api_keys"].update_one({"_id": old.shown.id}, [{"$set": {"expires_at": {"$subtract": ["$$NOW", 1000]}}}])

    for made in (revoked, old):
        with pytest.raises(Unauthenticated):
            it.verify(made.key)
    assert it.verify(orphaned.key).name == "ann"
    accounts.set_disabled(ADA, "s-1", disabled=True)
    with pytest.raises(Forbidden):
        it.verify(orphaned.key)


def test_a_key_does_no_more_than_its_owner_may_now(own: Settings, database: Database, provider: Provider) -> None:
    it, accounts = verifier(own, database), MongoAccounts(database)
    made = accounts.make_key(it.verify(provider.token()), ApiKeyRequest(name="a", roles=["developer"]))
    database["users"].update_one({"_id": "s-1"}, {"$set": {"roles": ["viewer"]}})

    assert it.verify(made.key).roles == frozenset()


def test_a_key_works_only_as_long_as_its_owner_comes(own: Settings, database: Database, provider: Provider) -> None:
    """Its roles are as old as the owner's last visit: after 30 days they have to come again, and not by a key."""
    accounts = MongoAccounts(database)
    owner = make_verifier(database, own).verify(provider.token())
    made = accounts.make_key(owner, ApiKeyRequest(name="a", roles=["developer"]))
    days = {"unit": "day", "startDate": "$$NOW"}

    def key_after(number: int, settings: Settings = own) -> Principal:
        seen = {"$dateSubtract": {**days, "amount": number}}
        database["users"].update_one({"_id": "s-1"}, [{"$set": {"last_seen_at": seen}}])
        return make_verifier(database, settings).verify(made.key)

    assert key_after(29).key == made.shown.id
    with pytest.raises(Unauthenticated, match="30 days") as caught:
        key_after(31)
    assert caught.value.reason == "KeyOwnerNotSeen"
    with pytest.raises(Unauthenticated):
        make_verifier(database, own).verify(made.key)
    assert key_after(31, msgspec.structs.replace(own, api_key_owner_days=0)).key == made.shown.id
    key_after(29)
    database["users"].update_one(
        {"_id": "s-1"}, [{"$set": {"last_seen_at": {"$dateSubtract": {**days, "amount": 31}}}}]
    )
    make_verifier(database, own).verify(provider.token())
    assert make_verifier(database, own).verify(made.key).key == made.shown.id


# ---------------------------------------------------------------- service accounts


def test_a_service_account_has_a_token_that_is_made_new_before_it_runs_out(provider: Provider, tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("right\n")
    now = [0.0]
    account = ClientCredentials(provider.url, "keruta-worker", secret, clock=lambda: now[0])

    first = account.token()
    again = account.token()
    now[0] = 75
    time.sleep(1.1)  # a token's times have whole seconds
    later = account.token()
    provider.away = True
    now[0] = 75 + 80
    still = account.token()
    now[0] = 75 + 101
    with pytest.raises(NoTokenError, match="503"):
        account.token()

    assert first == again
    assert later not in (first, "")
    assert still == later


def test_a_wrong_secret_is_said_and_not_shown(provider: Provider, tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("wr0ng-s3cret")

    with pytest.raises(NoTokenError) as caught:
        ClientCredentials(provider.url, "keruta-worker", secret).token()

    assert "invalid_client" in str(caught.value)
    assert "wr0ng-s3cret" not in str(caught.value)


# ---------------------------------------------------------------- rates


def test_one_caller_is_slowed_and_others_are_not_and_all_replicas_count_together(database: Database) -> None:
    now = [1_800_000_000.0]
    replicas = [MongoRates(database, 120, now=lambda: now[0]) for _ in range(2)]
    taken = 0
    for number in range(300):
        try:
            replicas[number % 2].take("ann")
            taken += 1
        except TooManyRequests:
            continue
    with pytest.raises(TooManyRequests) as refused:
        replicas[0].take("ann")
    replicas[0].take("bob")
    now[0] += 60

    replicas[0].take("ann")

    assert taken == 120
    assert 0 < refused.value.retry_after_seconds <= 61
    assert database["rates"].count_documents({"_id": {"$regex": "^ann "}}) == 2


def test_most_requests_cost_no_write(database: Database) -> None:
    rates = MongoRates(database, 6000, now=lambda: 1_800_000_000.0)

    for _ in range(1000):
        rates.take("ann")

    row = database["rates"].find_one({})
    assert row is not None
    assert row["used"] == 1000
    assert rates._block == 100


def test_no_limit_counts_nothing(database: Database) -> None:
    MongoRates(database, 0).take("ann")

    assert database["rates"].count_documents({}) == 0
