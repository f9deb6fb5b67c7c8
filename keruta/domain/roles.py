"""Roles, and the groups of them that may do the same."""

from __future__ import annotations

READ = frozenset({"viewer", "developer", "admin"})
PEOPLE = READ
RUN = frozenset({"developer", "admin"})
MANAGE = frozenset({"admin"})
WORKER = frozenset({"worker"})
DISPATCHER = frozenset({"dispatcher"})
AGENT = frozenset({"agent"})  # holds a token that keruta signed: a worker's session or an attempt's
ANYONE: frozenset[str] = frozenset()
