"""Documents and their fields: what is wrong with a value."""

from __future__ import annotations

TEXTS = {
    "field_repository_path": "Name a directory by its path from the top of the repository, such as services/api.",
    "field_cache_path": (
        "Name a file or directory of the workspace, such as target, or of the script's home, such as ~/.npm: no other "
        "place, no .. and not the whole of either."
    ),
    "field_cache_pattern": "A cached path holds no *, ?, [ or ]; name a directory that holds all of it.",
    "field_cache_own": "This belongs to Git or keruta, and is not cached.",
    "field_cache_key": (
        "Name a file of the workspace, such as package-lock.json, or a pattern such as **/go.sum: no other place and no "
        "`..`."
    ),
    "field_nul_in_shell": "This contains a NUL character, which no shell accepts.",
    "field_document_too_large": "This is more than 1 MiB; keep it in a repository and name that in the task.",
    "field_title": "A title contains no control characters.",
    "field_tag": "A tag contains no spaces, commas, colons or slashes.",
    "field_prompt_program": "The prompt can't choose the program itself.",
    "field_pointer_or_pattern": "Give either a pointer into a line of JSON, or a pattern.",
    "field_agent_memory": "This is less than the agent and Git need; give {least} or more.",
    "field_label_name": "This is not a name of a label or an annotation, such as team or example.com/team.",
    "field_label_reserved": "Names of this kind are the cluster's or keruta's own.",
    "field_label_value": "A label's value has up to 63 letters, digits, dots, dashes and underscores.",
    "field_values_needed": "This operator needs at least one value.",
    "field_values_unwanted": "This operator takes no values.",
    "field_values_number": "This operator takes one value, a whole number.",
    "field_priority_class": "Priority classes whose names begin with system- are the cluster's own.",
    "field_extended_resource": "This is not the name of an extended resource, such as nvidia.com/gpu.",
    "field_service_ready": "Say when it is ready: by its port or by a command, not both.",
    "field_service_directory": "This directory can't be an empty one of the service's own.",
    "field_more_than_limit": "This is more than its limit, {limit}.",
    "field_twice": "{name} is there already.",
    "field_image": "This is not the name of an image.",
    "field_nul": "This contains a NUL character.",
    "field_pattern_slow": (
        "This expression can take very long on some lines. Use no back-references, nothing that repeats or has "
        "alternatives within a repeated part, and at most {limit} parts that repeat without a small limit."
    ),
    "field_no_group": "The number is read from the pattern's first group, but the pattern has no group.",
    "field_expression": "This is not a regular expression: {error}.",
    "field_variable_name": "A variable's name consists of letters, digits and underscores.",
    "field_variable_reserved": "Names that begin with KERUTA_ are reserved for keruta.",
    "field_default_ref": "The default ref is not among allowed_refs.",
    "field_form": "This does not have the form {form}.",
    "field_faults_more": "There are more faults here than are listed.",
    "field_unknown_more": "{count} more {count:field is|fields are} not known.",
    "field_unknown": "There is no such field; known fields are {known}.",
    "field_type": "This must be {wanted}, not {got}.",
    "field_characters_most": "No more than {limit} {limit:character|characters}.",
    "field_entries_most": "No more than {limit} {limit:entry|entries}.",
    "field_not_among": "{value} is not among {known}.",
    "field_number_or": "A whole number or {known}.",
    "field_not_known": "{value} can't be used here.",
    "field_empty": "This can't be empty.",
    "field_characters_least": "At least {limit} {limit:character|characters}.",
    "field_most": "No more than {limit}.",
    "field_least": "No less than {limit}.",
    "field_more": "More than {limit}.",
    "field_less": "Less than {limit}.",
    "field_not_object": "This must be an object, not {got}.",
    "field_required": "This field is required.",
    "field_name_nul": "A name contains no NUL character.",
    "field_repository_address": "This is not a repository's address: use https://, ssh:// or user@host:path.",
    "field_ref": "This is not a branch, tag or commit.",
    "field_ref_expression": (
        "A branch, a tag or a commit's full id is wanted here, not an expression; `git rev-parse` shows the id of {ref}."
    ),
    "field_repository_host": "This is not a repository's address: it names no host.",
    "field_repository_host_unclear": (
        "Programs take this host for different servers, or for none; write it in the form that begins with xn--."
    ),
    "field_address_password": (
        "An address contains no user name or password; store the credentials in keruta separately."
    ),
    "field_repository_port": "This is not a repository's address: its host or port is malformed.",
    "field_name": (
        "A name consists of lower-case letters, digits, dots, dashes and underscores, and begins and ends with "
        "a letter or digit."
    ),
    "field_script_too_large": "This is more than {limit} KiB; put it into the repository and call it from there.",
    "field_argument_too_large": "This argument has more than {limit} bytes, which no program can be given.",
    "field_too_large": "This has more than {limit} KiB.",
    "field_env_too_large": "The variables have more than {limit} KiB in all.",
    "field_name_or_url": "Give either the repository's name or its url, not both.",
    "field_one_of": "Give exactly one of script, command and prompt; {given}.",
    "field_repository_name": '{rule} An address goes into {"url": …}.',
    "field_control_characters": "A name contains no control characters.",
    "field_document": "Give a document's name, or tag: followed by a tag.",
    "field_label": (
        "A label's key consists of letters, digits, dots, dashes and slashes, and has at most 63 characters."
    ),
    "field_webhook_address": "An address begins with https:// (or http:// where that is allowed), and names a host.",
    "field_address_spaces": "An address contains no spaces or control characters.",
    "field_address": "This is not an address.",
    "field_webhook_password": "The address can't contain a name or password; what is sent is signed.",
    "field_number": "This is not a number.",
    "field_none_given": "none is given",
    "field_two_given": "{one} and {other} are given",
    "field_three_given": "{one}, {other} and {third} are given",
    "field_other": "{said}.",
}
