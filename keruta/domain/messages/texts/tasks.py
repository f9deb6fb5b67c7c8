"""Tasks: why one waits, why one is refused, what people decided; workers and logs."""

from __future__ import annotations

TEXTS = {
    "without_secrets_result": "A task without secrets pushes nothing; leave out the result branch.",
    "without_secrets_prompt": "A coding agent needs a key, so it can't run without secrets; give a script.",
    "task_moved": "Others are changing this task at the same time; try again in a few seconds.",
    "task_missing": "There is no such task.",
    "task_resource_deleted": "The {kind} {name} was deleted by {who} while it waited; submit it again with another.",
    "task_not_yours": (
        "Only administrators, its submitter and those who manage its repository or queue may do this ({action})."
    ),
    "task_wrong_status": 'A task whose status is "{status}" can\'t be {acted}.',
    "task_full": (
        "The record of this task, with what its attempts left and what was sent to it, has more than {limit} MiB; "
        "submit it anew."
    ),
    "task_many_inputs": "This attempt has received {limit} lines and accepts no more.",
    "task_no_work": "No work of this task is kept that could be pushed.",
    "task_cancelled_by": "Cancelled by {who}.",
    "task_accepted_by": "Its end was not known; {who} checked and accepted it.",
    "waiting_for_assignment": "It will be assigned shortly.",
    "waiting_for_slot": (
        "All {slots} {slots:slot|slots} of {workers} {workers:worker|workers} are in use or about to be."
    ),
    "waiting_backoff": "The last attempt failed ({reason}); the next one starts at {at}.",
    "waiting_last_attempt": (
        "The last attempt may still be running; the next one starts when it is known to have ended."
    ),
    "waiting_no_worker": "There is no worker; start one, or find out why it does not register.",
    "waiting_drained": "Every worker is being drained, so none takes new tasks.",
    "waiting_paused": "The queue {queue} was paused by {who}: {reason}",
    "waiting_paused_unsaid": "The queue {queue} is paused.",
    "waiting_circuit_unsaid": (
        "The {kind} {name} failed {failures} times in a row ({reason}). One task is tried at {at}; "
        "fix the cause and close the circuit to continue."
    ),
    "waiting_circuit": (
        "The {kind} {name} failed {failures} times in a row ({reason}): {message} One task is tried at {at}; "
        "fix the cause and close the circuit to continue."
    ),
    "waiting_limit": (
        "Its {kind} runs at most {limit} {limit:task|tasks} at once, and {running} {running:is|are} running."
    ),
    "waiting_budget": (
        "What is left of today's budget of the queue {queue} does not cover this task. It starts when a task that runs "
        "has spent less than was reserved for it, at 00:00 UTC, or when the budget is raised."
    ),
    "waiting_submitter_budget": (
        "What is left of the submitter's budget for today in the queue {queue} does not cover this task. It starts when "
        "a task that runs has spent less than was reserved for it, at 00:00 UTC, or when the budget is raised."
    ),
    "waiting_suspended": "It waits for a person to answer; nothing of it is running.",
    "waiting_unknown": "It waits for its worker to report, or for a person to decide.",
    "submission_not_permitted": (
        "You may see the {kind} {name}, but not run tasks on it; ask those who manage it for the permission."
    ),
    "submission_no_document": "There is no document '{name}'.",
    "submission_no_queue": "There is no queue '{name}'.",
    "submission_no_repository": "There is no repository '{name}'.",
    "submission_transport": "The transport {kind} is not allowed here; use {allowed}.",
    "submission_refs": "Tasks on {name} may use only these refs: {allowed}.",
    "submission_no_profile": "There is no profile '{name}'.",
    "submission_no_prompt": "The profile {name} accepts no prompt; choose one that does, such as claude-code.",
    "submission_prompt_too_long": "The profile {name} takes at most {limit} bytes.",
    "submission_too_many_documents": (
        "There {count:is|are} {count} {count:document|documents}; a task takes at most {limit}."
    ),
    "worker_missing": "There is no such worker.",
    "worker_session_void": "This session is no longer valid; register again.",
    "worker_name": (
        "A worker's id consists of lower-case letters, digits, dots and dashes, and has at most 63 characters."
    ),
    "worker_other_session": "This session belongs to another worker.",
    "worker_only": "Only a worker may ask about attempts.",
    "stream_sign_in_over": (
        "This view is no longer updated: your sign-in has ended, or your account was disabled. The task continues; sign in again."
    ),
    "stream_task_gone": "This view is no longer updated: the task was removed, or you may no longer read it.",
    "task_needs_gone": (
        "The {kind} {name} that this task was submitted with is not there any more, even if another has its name now; "
        "submit a new task."
    ),
    "log_limit": "MongoDB keeps at most {limit} bytes of a log.",
}
