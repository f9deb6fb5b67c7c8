"""Attempts and their scripts: how they ended, and what was refused of a report."""

from __future__ import annotations

TEXTS = {
    "without_secrets_fence": "A task without secrets needs a worker that keeps scripts apart from the machine and its "
    "network; install bubblewrap there, or run it in a cluster.",
    "answer_timed_out": "It was suspended with a question, and nobody answered in time. Try it again, or submit it anew.",
    "attempt_not_waiting": "The attempt does not wait for a person, or was cancelled.",
    "cache_read_only": "Tasks that were started by this kind of event store no dependency caches.",
    "cache_there": "There is a dependency cache of this key already; it does not change.",
    "attempt_input_pending": "A person has sent something that the script has not received yet.",
    "session_not_stored": "keruta did not store the coding agent's session.",
    "attempt_its_session": "the coding agent's session",
    "reason_answer_timed_out": "Nobody answered",
    "reason_session_missing": "The session is gone",
    "session_missing": (
        "The coding agent's stored session is not kept any more, or can't be opened. Try the task again; it begins anew."
    ),
    "session_other_credential": (
        "The session was held with another key ({name}) than its profile names now, and is not resumed with this one. "
        "Try the task again; it begins anew."
    ),
    "attempt_machine_down": (
        "The machine went down while the script ran; look at its log, then accept, retry or cancel it."
    ),
    "attempt_on_record": "This attempt is on record as {status}.",
    "attempt_started_elsewhere": "This attempt was started by another execution; do not start it.",
    "attempt_cancelled_before_start": "The task was cancelled before it started.",
    "attempt_machine_down_retried": "The machine went down while the script ran.",
    "attempt_silent_unknown": (
        "Worker {worker} has not reported for {seconds} s while the script was running. If it reports again, "
        "the task continues; otherwise look at its log and branch, then accept, retry or cancel the task."
    ),
    "attempt_silent_before_start": "Worker {worker} stopped reporting before the script had started.",
    "attempt_silent_retried": "Worker {worker} stopped reporting while the script was running; the task runs again.",
    "attempt_not_current": "This attempt is no longer the task's current one; stop it.",
    "attempt_not_senders": "This attempt does not belong to the sender.",
    "attempt_entry_failed": "This entry could not be applied; see the log of report_status.",
    "attempt_missing": "There is no such attempt.",
    "attempt_other_worker": "This attempt belongs to another worker.",
    "attempt_no_number": "There is no attempt {number}.",
    "provenance_due": (
        "The statement on attempt {number} is not signed yet: that is done within seconds of its end, once the "
        "installation has a key for it."
    ),
    "provenance_not_asked": (
        "There is no signed statement on attempt {number}: the task, its repository or its profile must ask for one "
        "before it is submitted (provenance: true)."
    ),
    "attempt_fetch_away": "{what} could not be fetched: keruta does not answer.",
    "attempt_fetch_failed": "{what} could not be fetched: keruta answered {status}.",
    "attempt_unhonoured": "This worker runs scripts as processes, so {what} of the profile {profile} have no effect.",
    "attempt_worker_stopped": "The worker was shut down before the script had started.",
    "attempt_cancelled": "Cancelled before the script had started.",
    "attempt_worker_failed": "The worker could not continue: {kind}: {error}",
    "attempt_no_prompt": "The profile {profile} no longer accepts a prompt.",
    "attempt_no_document": "The attempt has no such document.",
    "attempt_other_token": "This token belongs to another attempt.",
    "attempt_its_credentials": "Its credentials",
    "attempt_its_specification": "The specification",
    "script_timeout": "The script took longer than its timeout_seconds, {seconds}.",
    "script_output_too_large": "The script wrote more than {limit} bytes of output.",
    "script_worker_stopped": "The worker was shut down while the script ran; retry the task.",
    "script_log_disk_full": (
        "The worker's disk is full, so the log could not be kept; free some space and retry the task."
    ),
    "script_failed": "The script {ending}.",
    "script_setup_failed": "A set-up command {ending}; the script was not run.",
    "script_setup_failed_again": (
        "A set-up command {ending} when it ran again for the check, which has a home of its own. A set-up must be able to "
        "run twice in one workspace."
    ),
    "script_check_failed": "The script succeeded; the check after it {ending}.",
    "script_killed": "The script and the process that ran it were killed.",
    "script_out_of_memory": "The script used more memory than its limit; raise the limit, or use less.",
    "script_interpreter_line_end": (
        "The program '{interpreter}', which a script's first line names, can't be run: the line ends with a carriage "
        "return. Save the file with Unix line ends."
    ),
    "script_interpreter_missing": (
        "The program '{interpreter}', which a script's first line names, can't be run here. It must be in the image, or "
        "on the worker."
    ),
    "script_command_missing": "The command '{command}' can't be run here.",
    "script_cancelled": "Cancelled while the script ran.",
    "script_ended_with_code": "ended with exit code {code}",
    "script_ended_by_signal": "was ended by {signal}, or ended with exit code {code}",
    "script_was_killed": "was killed",
    "result_not_stored": (
        "The script succeeded, but not everything that it left could be stored: {error}. The notes name what is missing. "
        "Retry the task once that is mended; where the storage of results is full, free some space first."
    ),
    "script_disk_full": (
        "The disk of the workspace is full, and the script {ending}; free some space on the worker and retry the task."
    ),
    "attempt_no_fence": "This worker has no fence: the script has all the rights of the user that runs the worker.",
    "attempt_check_unfenced": (
        "Without a fence a script can falsify what its check says: install bubblewrap on the worker's machine, or run "
        "scripts in Pods."
    ),
    "file_not_kept": "Not kept of $KERUTA_ARTIFACTS: {path}, {why}.",
    "files_not_kept": "{count} more files were not kept; the log names them.",
    "results_files_unlisted": (
        "{count} more {count:file is|files are} kept with the results and not listed here: a task's record is full."
    ),
    "results_outputs_unlisted": (
        "{count} {count:output is|outputs are} not kept, since a task's record is full: {names}."
    ),
    "file_why_link": "a symbolic link",
    "file_why_pipe": "a named pipe",
    "file_why_socket": "a socket",
    "file_why_device": "a device",
    "file_why_deep": "a directory too deep within others",
    "file_why_unreadable": "which can't be read: {error}",
    "file_why_long": "whose path is too long",
    "file_why_log": "whose name is that of a file of keruta's own",
    "file_why_many": "one of more than {limit} files",
    "file_why_names": "one of files whose names have more than {limit} bytes together",
    "file_why_large": "too large with {size} bytes",
    "file_why_storage": "which the storage of results did not take: {error}",
    "outputs_no_end": "$KERUTA_OUTPUTS, line {line}: no line {end} ends the value of {name}. Write a line break before {end}.",
    "outputs_no_output": "$KERUTA_OUTPUTS, line {line}: not name=value.",
    "outputs_value_long": "$KERUTA_OUTPUTS, line {line}: the value of {name} is longer than {limit} characters.",
    "outputs_many_names": "$KERUTA_OUTPUTS has more than {limit} names; the rest is left out.",
    "outputs_more": "$KERUTA_OUTPUTS has {count} more {count:line|lines} like these.",
    "summary_no_file": "$KERUTA_SUMMARY is no longer a file.",
    "summary_too_large": "$KERUTA_SUMMARY has more than {limit} KiB; the rest is left out.",
    "outputs_no_file": "$KERUTA_OUTPUTS is no longer a file.",
    "outputs_too_large": "$KERUTA_OUTPUTS has more than {limit} KiB; none of it is kept.",
    "log_not_stored": "The whole log could not be stored: {error}.",
    "attempt_its_document": "The document {name}",
    "attempt_its_work": "The work that attempt {attempt} kept",
    "script_fence_failed": "The script was not started because bubblewrap could not create its fence; the log's last line says why.",
}
