"""Providers that start and end workers, as the settings say. Each imports only the modules that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keruta.settings import PoolSettings

if TYPE_CHECKING:
    from keruta.adapters.coder import CoderPool
    from keruta.adapters.deployment import DeploymentPool


def provider(settings: PoolSettings) -> DeploymentPool | CoderPool | None:
    """None where workers are a given."""
    if settings.pool == "deployment":
        from keruta.adapters.deployment import DeploymentPool
        from keruta.adapters.kube import Kube

        return DeploymentPool(Kube(settings.pool_namespace), settings.pool_deployment)
    if settings.pool == "coder":
        from keruta.adapters.coder import CoderPool

        return CoderPool(settings)
    return None
