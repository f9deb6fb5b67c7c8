"""Workers as the Pods of a Deployment: `keruta.services.autoscaler.WorkerProvider` by its scale.

Which Pods go first, the cluster decides by their deletion cost. A Pod that goes with tasks at work loses none: its Jobs
go on, and another worker takes them over.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#pod-deletion-cost
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from keruta.adapters.kube import ClusterAwayError, ClusterRefusedError, Document, Kube
from keruta.domain.messages import message
from keruta.domain.scaling import WorkerState
from keruta.errors import PoolError

log = logging.getLogger(__name__)

COST = "controller.kubernetes.io/pod-deletion-cost"
PAUSED = "keruta.dev/pool"


class DeploymentPool:
    """One Deployment; a worker's id is its Pod's name.

    With the annotation `keruta.dev/pool: paused` it is left to whoever scales it by hand.
    """

    def __init__(self, kube: Kube, name: str) -> None:
        self._kube = kube
        self._name = name

    def resize(self, wanted: int, workers: Mapping[str, WorkerState]) -> Collection[str]:
        try:
            deployment = self._kube.get("apps/v1", "deployments", self._name)
            now = int(deployment["spec"].get("replicas", 0))
            if deployment["metadata"].get("annotations", {}).get(PAUSED) == "paused":
                return ()
            if wanted < now:
                self._tell_costs(deployment, workers)
            if wanted != now:
                self._kube.patch("apps/v1", "deployments", f"{self._name}/scale", {"spec": {"replicas": wanted}})
                said = {"action": "pool_sized", "from": now, "to": wanted}
                log.info("deployment %s: %d workers, from %d", self._name, wanted, now, extra=said)
        except (ClusterRefusedError, ClusterAwayError) as error:
            raise PoolError(message("cluster_not_scaled", name=self._name, error=str(error))) from error
        return ()

    def _tell_costs(self, deployment: Document, workers: Mapping[str, WorkerState]) -> None:
        """A Pod costs what its worker holds; one that is not known any more costs nothing."""
        labels = deployment["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        for pod in self._kube.get("v1", "pods", labelSelector=selector)["items"]:
            name = pod["metadata"]["name"]
            cost = str(workers[name].held if name in workers else 0)
            if pod["metadata"].get("annotations", {}).get(COST, "0") != cost:
                self._kube.patch("v1", "pods", name, {"metadata": {"annotations": {COST: cost}}})
