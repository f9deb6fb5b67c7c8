"""A sign-in in a browser: its tokens, and the session that its cookie stands for."""

from __future__ import annotations

import hmac

import msgspec


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a sign-in. Times are seconds since 1970; at `ends_at` it can no longer be renewed."""

    access_token: str
    refresh_token: str = ""
    id_token: str = ""
    expires_at: float
    ends_at: float


class BrowserSession(msgspec.Struct, frozen=True, kw_only=True):
    """One browser that is signed in.

    Args:
        secret: what its cookie holds.
    """

    secret: str
    tokens: Tokens

    @property
    def form_key(self) -> bytes:
        """The key of what its forms carry, so that no other site can send one."""
        return derived(self.secret, "forms")


def derived(secret: str, purpose: str) -> bytes:
    """A key for one purpose. The secret is random and long, so that it needs no slow function."""
    return hmac.digest(secret.encode(), f"keruta {purpose}".encode(), "sha256")
