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
    "cluster_node_lost": "Its node was lost: {message}",
    "cluster_coder_no_template": "Coder has no template '{name}' that this token may use (KERUTA_CODER_TEMPLATE).",
    "cluster_coder_busy": "Coder asked to wait {seconds} s before the next request.",
    "cluster_coder_slow": "Coder answers too slowly; the rest follows in the next round.",
    "cluster_coder_token_unreadable": "The Coder token can't be read (KERUTA_CODER_TOKEN_FILE): {error}",
    "cluster_coder_not_json": "Coder's answer is not JSON; check KERUTA_CODER_URL.",
    "cluster_coder_token_refused": "Coder refused the token: it has expired or was revoked (KERUTA_CODER_TOKEN_FILE).",
    "cluster_not_scaled": "The cluster did not scale the Deployment {name}: {error}",
    "cluster_job_not_made": "Cancelled before its Job was created.",
    "cluster_not_started": "The Pod's containers did not start for {seconds} s: {message}",
    "cluster_check_failed": "The check's container ended with exit code {code}.",
    "cluster_image_architecture": "The image {image} is made for another processor architecture than the node's: {message}",
    "cluster_image_no_platform": "The image {image} does not exist for the node's processor architecture: {message}",
    "cluster_mount_failed": "A volume, Secret or ConfigMap could not be mounted for {seconds} s: {message}",
    "cluster_deadline_before_start": "The Job reached its own deadline, {seconds} s after its creation, before the script began.",
    "cluster_image_no_shell": "The image {image} has no working shell at /bin/sh: {message}",
    "cluster_check_out_of_memory": "The check used more memory than its limit; raise the limit, or use less.",
    "cluster_deadline": "The script was ended because its Job reached its own deadline, {seconds} s after its creation.",
    "cluster_shell_failed": "The shell of the image {image} ended with exit code {code} before the script began: {message}",
    "cluster_shell_failed_silently": "The shell of the image {image} ended with exit code {code} before the script began.",
    "cluster_agent_out_of_memory": (
        "The memory of keruta's agent beside the script did not suffice; raise agent_memory of the repository or of its "
        "profile."
    ),
    "cluster_agent_failed": "keruta's agent ended again and again, with exit code {code}: {message}",
    "cluster_said_nothing": "the cluster said nothing about it",
}
