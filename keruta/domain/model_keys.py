"""A look at a model's server with a key: whether it takes the key, and which models it offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from keruta.domain.catalog.coding_agents import ANTHROPIC, CodingAgentOptions
from keruta.domain.messages import Message, fields_of, message

ANTHROPIC_VERSION = "2023-06-01"  # https://docs.anthropic.com/en/api/versioning
MODELS_SHOWN = 200


class KeyCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Result of asking a model's server: `message` is one sentence; `reason` is there if the key is not taken.

    Args:
        server: which was asked, or would have been.
        models: that it offers with this key.
    """

    accepted: bool
    message: str
    message_code: str | None = None
    message_arguments: dict[str, Any] | None = None
    reason: str | None = None
    server: str | None = None
    models: list[str] = []


class ModelServer(msgspec.Struct, frozen=True, kw_only=True):
    """A model's server that a key is for: its API, and the address that the API's paths are added to."""

    api: str
    address: str

    @property
    def models_address(self) -> str:
        """The list of models. Source: https://docs.anthropic.com/en/api/models-list,
        https://platform.openai.com/docs/api-reference/models/list
        """
        return f"{self.address}/v1/models" if self.api == ANTHROPIC else f"{self.address}/models"

    def headers(self, key: str) -> dict[str, str]:
        if self.api == ANTHROPIC:
            return {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION}
        return {"Authorization": f"Bearer {key}"}


def server_of(options: CodingAgentOptions) -> ModelServer:
    """Return the server that a profile's coding agent asks."""
    return ModelServer(api=options.api, address=options.model_address)


def not_checked(reason: str, said: Message, server: str | None = None) -> KeyCheck:
    return KeyCheck(accepted=False, reason=reason, server=server, **fields_of(said))


def checked(server: ModelServer, status: int, document: Mapping[str, Any]) -> KeyCheck:
    """Return what a server's answer says of the key."""
    at = server.models_address
    if status in (401, 403):
        return not_checked("ModelUnauthorized", message("model_key_refused", server=at, status=status), at)
    if status == 429:  # it knows whose requests these are
        return KeyCheck(accepted=True, server=at, **fields_of(message("model_key_limited", server=at)))
    if status != 200:
        return not_checked("ModelNotReached", message("model_key_fault", server=at, status=status), at)
    listed = document.get("data")
    names = [str(one["id"])[:200] for one in listed if isinstance(one, dict) and "id" in one] if isinstance(
        listed, list
    ) else []  # fmt: skip
    said = message("model_key_accepted", server=at, count=len(names))
    return KeyCheck(accepted=True, server=at, models=sorted(names)[:MODELS_SHOWN], **fields_of(said))
