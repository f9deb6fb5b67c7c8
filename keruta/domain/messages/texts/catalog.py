"""The catalog: its entries, credentials, webhooks, files, dead letters, and importing it."""

from __future__ import annotations

TEXTS = {
    "catalog_not_searchable": "This list can't be searched.",
    "catalog_not_yours": "Only administrators and those who manage the {kind} {name} may change it.",
    "catalog_changed_meanwhile": (
        "{who} changed it meanwhile, to revision {revision}; load that revision and make your change to it."
    ),
    "catalog_missing": "There is no {kind} '{name}'.",
    "catalog_exists": "There is already a {kind} '{name}'.",
    "catalog_other_name": "Its name is {name}.",
    "catalog_differs": "You have {yours}; the current value is {current}.",
    "catalog_gone": "There is no {kind} '{name}' any more.",
    "catalog_in_use": "The {kind} {name} is used by {users}; remove it there first.",
    "catalog_needed": (
        "{count} {count:task|tasks} that {count:has|have} not ended {count:needs|need} the {kind} {name}. "
        "Wait, cancel {count:it|them}, or delete the {kind} with force; then tasks that wait for it fail."
    ),
    "catalog_not_searchable_here": "This can't be used here.",
    "catalog_exists_such": "There is already such a {kind}.",
    "catalog_uses": "Uses {name}.",
    "catalog_no_document": "There is no document '{name}'.",
    "catalog_no_version": "There is no such version.",
    "catalog_no_circuit": "There is no such open circuit; it may have been closed already.",
    "catalog_profile_gone": "There is no profile '{profile}' any more.",
    "catalog_repository_gone": "There is no repository '{name}' any more.",
    "catalog_missing_in_document": "There is no {kind} '{name}', neither here nor in this document.",
    "credential_sealed_for_another": "The value stored for the credential {name} was sealed for another credential.",
    "credential_no_key": "None of the keys here opens the credential {name}; set its value again.",
    "credential_no_key_for_it": "None of the keys here opens it.",
    "credential_part_needed": "A credential of the type {type} needs this.",
    "credential_secrets_only": (
        "Long-lived values are kept in Kubernetes Secrets here: create one named keruta-job-… and enter its name."
    ),
    "credential_gone": "There is no credential '{name}' any more.",
    "credential_jobs_only": (
        "The credential {name} is a Kubernetes Secret, which only jobs can read; run a task to try it."
    ),
    "credential_empty": "The credential {name} has no value; give it one.",
    "credential_not_for_git": "The credential {name} is a value for scripts; Git servers do not accept it.",
    "credential_unusable": "The credential {name} can't be used: {error}",
    "credential_value_first": "The credential '{name}' has no value here; add it with its value first.",
    "credential_part_unknown": "A credential of the type {type} has no such part.",
    "credential_secret_name": "The Secret's name must begin with {prefix}.",
    "credential_secret_or_value": "Give the Secret's name or the values, not both.",
    "credential_app_key": "An App's key stays with keruta, which creates tokens with it; enter private_key.",
    "credential_has_no_value": "The credential {name} has no value.",
    "credential_no_token": "No token was created for the credential {name}.",
    "credential_not_mounted": "The Secret {secret} of the credential {name} is not mounted here.",
    "webhook_not_sealed": "A webhook's secret can't be sealed here: {error}",
    "webhook_too_many": "There {count:is|are} {count} {count:webhook|webhooks}; delete one first.",
    "webhook_missing": "There is no such webhook.",
    "webhook_no_delivery": "There is no such delivery; they are removed after 30 days.",
    "webhook_exists": "There is already a webhook of this name.",
    "event_no_dead_letter": "There is no such dead letter; they are removed after 14 days.",
    "event_broker_refused": "The broker did not accept the event; try again when it is available.",
    "transfer_too_many": "There are more than {limit} entries; import them in parts.",
    "transfer_twice_at": "The {kind} '{name}' is already at line {line}.",
    "transfer_no_entry": "Expected an entry: kind, name, and its fields.",
    "transfer_too_many_values": "There are more than {limit} values; import them in parts.",
    "transfer_escapes_too_long": (
        "It has escapes that are halves of a pair, as JSON writes them, and more than {limit} characters; write the "
        "characters themselves, or import it in parts."
    ),
    "transfer_twice": "'{name}' is written twice here.",
    "transfer_key": "A key must be a text.",
    "transfer_unreadable": "This can't be read: {error}.",
    "transfer_not_yaml": "This is not YAML: {problem}.",
    "transfer_character": "Write the character U+{number} as {written} in double quotes.",
    "transfer_surrogate": "This contains half of a surrogate pair, which is not a character.",
    "transfer_anchors": "Anchors, aliases and tags can't be used here.",
    "file_missing": "There is no such file.",
    "file_path": 'A file\'s path is relative and contains no "..".',
    "file_length_required": "Send the file's Content-Length.",
    "file_too_large": "A file may have at most {limit} bytes.",
    "file_cut_short": "The file ended before its Content-Length.",
    "transfer_kind": "The kind must be one of {known}.",
    "transfer_too_deep": "it is nested too deeply",
    "catalog_name_fixed": "A name can't be changed.",
    "catalog_name_taken": "There is one of this name already.",
    "credential_user_control": "This contains a control character, which no Git server allows in a user name.",
    "credential_user_colon": "This contains a colon, which HTTP takes for the user name's end. Enter the name alone.",
    "credential_line_break": "This contains a line break, which no token has. Enter the token alone.",
    "credential_known_hosts": "This contains no host's key. Each line is a host, a key type and a key (ssh-keyscan HOST).",
    "credential_passphrase": 'The private key has a passphrase, which nobody can type while a task runs. Create a key without one for keruta (ssh-keygen -t ed25519 -N "").',
    "credential_app_key_kind": "A GitHub App's private key is an RSA key in PEM, as GitHub gives it for download; this is another.",
    "credential_key_damaged": "The private key is damaged, so its content can't be read. Enter the file's content again, unchanged.",
    "credential_key_windows": "The private key has Windows line ends (CR LF). Save it with Unix line ends (LF) and enter it again.",
    "credential_key_putty": "The private key is in PuTTY's format. Export it in the OpenSSH format (puttygen -O private-openssh).",
    "credential_key_public": "This is the public key. Enter the private key, which begins with -----BEGIN.",
    "credential_key_unknown": "This is not a private key: its first line must be -----BEGIN OPENSSH PRIVATE KEY----- or similar.",
    "credential_key_one_line": "The private key is on one line, so its line breaks were lost. Enter the file's content with all its lines.",
    "credential_key_spaces": "The private key has spaces before or after its lines. Enter the file's content without indentation.",
    "credential_key_cut_off": "The private key is cut off: its last line must be {end}.",
    "commit_identity": "A committer's name or address must not be empty or contain a line break, < or >.",
    "commit_trailer": (
        "A line at the message's end must have the form Key: value, such as Co-authored-by: Dana <dana@example.com>."
    ),
}
