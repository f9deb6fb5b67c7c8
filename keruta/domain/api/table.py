"""All routes. admin takes their roles from here, the OpenAPI document is made from it, and a test fails when a server
has a route that is not in this table.
"""

from __future__ import annotations

from keruta.domain.api.agents import AGENTS
from keruta.domain.api.catalog import CATALOG
from keruta.domain.api.forges import FORGES
from keruta.domain.api.people import PEOPLE
from keruta.domain.api.platform import PLATFORM
from keruta.domain.api.route import Route
from keruta.domain.api.tasks import TASKS
from keruta.domain.api.triggers import TRIGGERS
from keruta.domain.api.watching import WATCHING
from keruta.domain.api.webhooks import WEBHOOKS

ROUTES: tuple[Route, ...] = (*TASKS, *CATALOG, *PEOPLE, *WATCHING, *WEBHOOKS, *TRIGGERS, *FORGES, *AGENTS, *PLATFORM)
BY_NAME = {route.name: route for route in ROUTES}
