"""The routes of forges, beside those that every kind of the catalog has."""

from __future__ import annotations

from keruta.domain.api.route import Parameter, Route
from keruta.domain.catalog.common import Page
from keruta.domain.catalog.forges import AddRepository, ConnectRequest, ForgeCheck, ForgeRepository, ForgeWebhook
from keruta.domain.catalog.repositories import RepositoryView
from keruta.domain.forge_reports import PostView
from keruta.domain.roles import MANAGE, READ, RUN

CURSOR = Parameter(name="cursor", description="`next` of the page before")

FORGES: tuple[Route, ...] = (
    Route(
        name="validate_forge", method="POST", path="/api/v1/forges/{name}/validate", roles=RUN,
        summary="Sign in at the forge, within 10 s, and say as whom or what is wrong", answer=ForgeCheck,
        problems=(404,),
    ),
    Route(
        name="list_forge_repositories", method="GET", path="/api/v1/forges/{name}/repositories", roles=MANAGE,
        summary="The repositories that the forge's account may use", answer=Page[ForgeRepository], query=(CURSOR,),
        problems=(404, 409, 422, 503),
    ),
    Route(
        name="add_forge_repository", method="POST", path="/api/v1/forges/{name}/repositories", roles=MANAGE,
        summary="Add a repository of the forge to the catalog", body=AddRepository, answer=RepositoryView, status=201,
        problems=(400, 404, 409, 413, 415, 422, 503),
    ),
    Route(
        name="list_task_posts", method="GET", path="/api/v1/tasks/{id}/forge", roles=READ,
        summary="What the forge was told of a task, or is to be told", answer=Page[PostView], problems=(404,),
    ),
    Route(
        name="connect_trigger", method="POST", path="/api/v1/forges/{name}/webhooks", roles=RUN,
        summary="Make the webhook at the forge that delivers to a trigger, or bring it up to date", body=ConnectRequest,
        answer=ForgeWebhook, problems=(400, 404, 409, 413, 415, 422, 503),
    ),
)  # fmt: skip
