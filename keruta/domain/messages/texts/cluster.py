"""The cluster: Jobs, Pods, images and the pool of workers."""

from __future__ import annotations

TEXTS = {
    "cluster_coder_refused": "Coder answered {status}: {answer}",
    "cluster_coder_away": "Coder does not answer: {error}",
    "cluster_job_refused": "The cluster refused the Job: {error}",
    "cluster_job_deleted": "Its Job was deleted in the cluster.",
    "cluster_job_cancelled": "Cancelled; its Job was deleted.",
    "cluster_job_failed": "The Job failed: {message}",
    "cluster_end_unknown": "The script succeeded, but its agent could not report what it left behind; look at its log.",
    "cluster_script_failed": "The script's container ended with exit code {code}.",
    "cluster_image_failed": "The image {image} could not be pulled: {error}",
    "cluster_no_room": "No node has room for it after {seconds} s: {message}",
    "cluster_no_pod": "The cluster does not create a Pod for it: {error}",
    "cluster_evicted": "The cluster evicted the Pod: {message}",
    "cluster_timeout": "The script took longer than its timeout_seconds.",
    "cluster_pod_deleted": "The Pod was deleted while the script ran.",
    "cluster_pod_ended": "The Pod ended before the script did: {cause}.",
    "cluster_container_failed": "The container {name} can't be started: {error}",
    "cluster_gave_no_reason": "it gave no reason",
}
