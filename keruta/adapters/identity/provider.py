"""The identity provider, as one client of ours sees it: where people sign in, and the tokens that come of it.

Source: https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth,
https://www.rfc-editor.org/rfc/rfc7636 (PKCE),
https://www.rfc-editor.org/rfc/rfc8628 (device code), https://www.rfc-editor.org/rfc/rfc7009 (revocation),
https://openid.net/specs/openid-connect-rpinitiated-1_0.html (sign-out)
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from keruta.adapters.http_client import Http, NoAnswerError
from keruta.domain.sign_in import Tokens
from keruta.errors import KerutaError, ProviderAwayError, ProviderRefusedError

REQUEST_SECONDS = 5.0
SESSION_SECONDS = 12 * 3600.0  # of a sign-in whose provider does not say how long it lasts
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


class Provider:
    """One issuer, for one client.

    Args:
        issuer: its name, which is its address for people's browsers.
        client: the client's id.
        url: where it is reached from here, if elsewhere.
        secret_file: holds the client's secret; read each time. None: a public client.
    """

    def __init__(self, issuer: str, client: str, *, url: str = "", secret_file: Path | None = None) -> None:
        self.issuer, self.client = issuer.rstrip("/"), client
        self._url = (url or issuer).rstrip("/")
        self._secret_file = secret_file
        self._http = Http(REQUEST_SECONDS)
        self._document: Mapping[str, Any] | None = None

    # ------------------------------------------------------------ in a browser

    def sign_in_address(self, *, redirect_uri: str, state: str, nonce: str, verifier: str, language: str) -> str:
        """Return the address at which a browser signs in. Raises ProviderAwayError."""
        asked = {
            "response_type": "code", "client_id": self.client, "redirect_uri": redirect_uri, "scope": "openid",
            "state": state, "nonce": nonce, "code_challenge": challenge(verifier), "code_challenge_method": "S256",
            "ui_locales": language,
        }  # fmt: skip
        return f"{self._endpoint('authorization_endpoint')}?{urlencode(asked)}"

    def exchange(self, code: str, *, redirect_uri: str, verifier: str) -> Tokens:
        """The tokens that a code stands for; each is good once. Raises ProviderAwayError, ProviderRefusedError."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return self._tokens({**form, "code_verifier": verifier})

    def sign_out(self, tokens: Tokens) -> None:
        """The sign-in is over there, too: told from here, so that no token is in an address.

        Raises:
            ProviderAwayError, ProviderRefusedError.
        """
        status, said = self._post(
            "end_session_endpoint", {"id_token_hint": tokens.id_token, "refresh_token": tokens.refresh_token}
        )
        if status >= 400:
            raise ProviderRefusedError(f"the identity provider did not sign out: {_why(said)}")

    # ------------------------------------------------------------ by a code that is typed

    def begin(self) -> dict[str, Any]:
        """A code for a person to type. Raises ProviderAwayError, ProviderRefusedError."""
        status, said = self._post("device_authorization_endpoint", {"scope": "openid"})
        if status != 200:
            raise ProviderRefusedError(f"the identity provider lets no one sign in by a code: {_why(said)}")
        whole = all(isinstance(said.get(name), str) for name in ("device_code", "user_code", "verification_uri"))
        if not whole or not all(isinstance(said.get(name, 5), int | float) for name in ("expires_in", "interval")):
            raise ProviderAwayError(f"the identity provider at {self.issuer} does not answer as one")
        return {"expires_in": 600, **said}

    def poll(self, begun: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep) -> Tokens:
        """The tokens, once the person has typed the code. Raises KerutaError when they did not, or would not."""
        pause = float(begun.get("interval", 5))
        until = time.monotonic() + float(begun["expires_in"])
        while time.monotonic() < until:
            sleep(pause)
            form = {"grant_type": DEVICE_GRANT, "device_code": str(begun["device_code"])}
            status, said = self._post("token_endpoint", form)
            if status == 200:
                return _made(said)
            if said.get("error") == "slow_down":
                pause += 5
            elif said.get("error") != "authorization_pending":
                raise ProviderRefusedError(f"not signed in: {_why(said)}")
        raise KerutaError("not signed in: the code was not typed in time; try again")

    # ------------------------------------------------------------ later

    def renew(self, refresh_token: str) -> Tokens:
        """Return new tokens; the refresh token is void afterwards.

        The provider is asked first for what costs nothing: one that stalls would take the refresh token when keruta no
        longer waits, and the sign-in would be over.

        Raises:
            ProviderAwayError
            ProviderRefusedError: the sign-in is over.
        """
        self._discover()
        return self._tokens({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def revoke(self, refresh_token: str) -> None:
        """Raises ProviderAwayError."""
        self._post("revocation_endpoint", {"token": refresh_token, "token_type_hint": "refresh_token"})

    # ------------------------------------------------------------ how

    def _tokens(self, form: Mapping[str, str]) -> Tokens:
        status, said = self._post("token_endpoint", form)
        if status >= 500:
            raise ProviderAwayError(f"the identity provider at {self.issuer} answered {status}")
        if status != 200:
            raise ProviderRefusedError(f"the sign-in is over: {_why(said)}")
        return _made(said)

    def _post(self, endpoint: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        whole = {"client_id": self.client, **form}
        if self._secret_file is not None:
            try:
                whole["client_secret"] = self._secret_file.read_text().strip()
            except OSError as error:
                raise ProviderRefusedError(f"the secret of {self.client} can't be read: {error.strerror}") from error
        # What it names is for the world; keruta may reach it by another address.
        return self._answered("POST", self._endpoint(endpoint).replace(self.issuer, self._url, 1), whole)

    def _endpoint(self, name: str) -> str:
        document = self._document or self._discover()
        if name not in document:
            raise ProviderRefusedError(f"the identity provider has no {name.replace('_', ' ')}")
        return str(document[name])

    def _discover(self) -> Mapping[str, Any]:
        """Ask for the provider's own document. Raises ProviderAwayError."""
        status, said = self._answered("GET", f"{self._url}/.well-known/openid-configuration", None)
        if status != 200:
            raise ProviderAwayError(f"the identity provider at {self.issuer} does not answer as one")
        self._document = said
        return said

    def _answered(self, method: str, url: str, form: Mapping[str, str] | None) -> tuple[int, dict[str, Any]]:
        try:
            answer = self._http.ask(method, url, form=form)
            return answer.status, answer.document() if answer.body else {}
        except (NoAnswerError, ValueError) as error:
            raise ProviderAwayError(f"the identity provider at {self.issuer} does not answer as one") from error


def challenge(verifier: str) -> str:
    """Return the PKCE challenge of a verifier. Source: https://www.rfc-editor.org/rfc/rfc7636#section-4.2"""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _made(said: Mapping[str, Any]) -> Tokens:
    now = time.time()
    try:
        return Tokens(
            access_token=str(said["access_token"]),
            refresh_token=str(said.get("refresh_token", "")),
            id_token=str(said.get("id_token", "")),
            expires_at=now + float(said.get("expires_in", 60)),
            ends_at=now + float(said.get("refresh_expires_in") or SESSION_SECONDS),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ProviderAwayError("the identity provider's tokens are none") from error


def _why(said: Mapping[str, Any]) -> str:
    return str(said.get("error_description") or said.get("error") or "it did not say why")[:200]
