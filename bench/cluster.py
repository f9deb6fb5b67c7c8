"""Figures of a real cluster: how soon Jobs are there, how long a submit takes from nothing, what an idle cluster costs.

These are not ratios: there is no bare loop of a cluster. Each figure is beside what is asked of it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import psutil

from bench.figure import Figure, median, report
from tests.support.cluster import LAB, Cluster, eventually, private_repository, running_cluster

REACH = {
    "thirty_jobs_s": "<= 5",
    "submit_to_job_s": "<= 0.3",
    "cold_answer_s": "<= 2.5",
    "idle_cpu_percent": "",
}
AT_ONCE, WARM, COLD = 30, 15, 2
IDLE_SETTLES_SECONDS, IDLE_SECONDS = 120, 30


def main() -> int:
    if not LAB.exists():
        print("no lab beside this checkout: there is no cluster to measure on", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "keys").mkdir()
        (root / "git").mkdir()
        with (
            running_cluster(root / "keys") as cluster,
            private_repository(cluster, root / "git") as (_, repository),
        ):
            cluster.ended(cluster.submit(repository, "true"))
            parts = {
                "submit_to_job_s": lambda: _submit_to_job(cluster, repository),
                "thirty_jobs_s": lambda: _thirty(cluster, repository),
                "cold_answer_s": lambda: _cold(cluster, repository),
                "idle_cpu_percent": lambda: _idle(cluster),
            }
            figures = {}
            for name, part in parts.items():  # each said as it comes: the whole takes a quarter of an hour
                figures[name] = part()
                print(f"  {name}: {figures[name].value:.3g} {figures[name].unit}", flush=True)
    report(figures, REACH, Path(__file__).with_name("out-cluster.json"))
    return 0


def _submit_to_job(cluster: Cluster, repository: str) -> Figure:
    """One after the other, with warm functions: from the request to when the cluster has the Job."""
    took = []
    for _ in range(WARM):
        began = time.time()
        task_id = cluster.submit(repository, "true")
        took.append(max(_made_at(cluster, task_id) - began, 0.0))
        cluster.ended(task_id)
    return median(took, "s, request to Job, p50")


def _made_at(cluster: Cluster, task_id: str) -> float:
    """Return when the task's Job appeared, by polling, since a Job's own time has whole seconds."""
    while True:
        if cluster.kubectl("get", "job", "-n", "keruta", f"{task_id}-1", "-o", "name", "--ignore-not-found"):
            return time.time()


def _thirty(cluster: Cluster, repository: str) -> Figure:
    took = []
    with cluster.workers(3):
        for _ in range(2):
            began = time.time()
            ids = {cluster.submit(repository, "true") for _ in range(AT_ONCE)}

            def made(ids: set[str] = ids) -> bool:
                jobs = cluster.get("jobs", "-l", "app.kubernetes.io/component=job")["items"]
                return ids <= {job["metadata"]["labels"]["keruta.dev/task"] for job in jobs}

            eventually("thirty Jobs", made, 120)
            took.append(time.time() - began)
            for task_id in ids:
                cluster.ended(task_id, 240)
    return median(took, "s, first request to the last of 30 Jobs")


def _cold(cluster: Cluster, repository: str) -> Figure:
    """create_task at no instance, to an answer."""
    took = []
    own = "serving.knative.dev/service=create-task"
    for _ in range(COLD):
        eventually("no create_task", lambda: not cluster.get("pods", "-l", own)["items"], 300)
        began = time.time()
        task_id = cluster.submit(repository, "true")
        took.append(time.time() - began)
        cluster.ended(task_id)
    return median(took, "s, request to answer from no instance")


def _idle(cluster: Cluster) -> Figure:
    """The CPU of all processes in keruta's Pods together, after a while of nothing to do."""
    time.sleep(IDLE_SETTLES_SECONDS)
    running = sorted(
        pod["metadata"]["name"] for pod in cluster.get("pods")["items"] if pod["status"]["phase"] == "Running"
    )
    print(f"  idle: {', '.join(running)}")
    began = _cpu(cluster)
    time.sleep(IDLE_SECONDS)
    percent = (_cpu(cluster) - began) / IDLE_SECONDS * 100
    return Figure(value=percent, spread=(percent, percent), unit="% of a core, keruta's Pods together", runs=1)


def _cpu(cluster: Cluster) -> float:
    ids = {pod["metadata"]["uid"] for pod in cluster.get("pods")["items"]}
    total = 0.0
    for process in psutil.process_iter():
        try:
            group = Path(f"/proc/{process.pid}/cgroup").read_text()
            if any(one in group or one.replace("-", "_") in group for one in ids):
                times = process.cpu_times()
                total += times.user + times.system
        except (psutil.Error, OSError):
            continue
    return total


if __name__ == "__main__":
    sys.exit(main())
