"""What admin needs from the world, for whoever serves a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import flask

if TYPE_CHECKING:
    from admin.app import Ports


def ports() -> Ports:
    """In this process; made when they are first asked for."""
    return cast("Ports", flask.current_app.extensions["keruta"]())
