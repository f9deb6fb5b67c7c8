"""Labels and hints of form fields."""

from __future__ import annotations

from admin.site.forms import Field, Told
from admin.site.language import gettext, marked

_NAMES = {
    "name": marked("Name"), "description": marked("Description"), "url": marked("Address"),
    "default_ref": marked("Branch, tag or commit by default"), "read_credential": marked("Credential to read"),
    "push_credential": marked("Credential to push"), "setup": marked("Set-up commands"),
    "default_profile": marked("Profile by default"), "submodules": marked("With submodules"),
    "depth": marked("Commits of history"),
    "paths": marked("Directories"), "provenance": marked("Signed provenance"),
    "fetch_more": marked("Scripts may fetch more"), "cache": marked("Dependency caches"),
    "without_secrets": marked("Without secrets"),
    "lfs": marked("With large files (Git LFS)"), "allowed_refs": marked("Branches and tags that are allowed"),
    "max_running": marked("Tasks at once, at most"), "access": marked("Only for some people"),
    "read": marked("May look"), "run": marked("May run tasks"), "manage": marked("May change it"),
    "use": marked("May use it"), "hosts": marked("Hosts it may be sent to"),

    "type": marked("Type"), "username": marked("User name"), "known_hosts": marked("Known hosts"),
    "app_id": marked("App's number"), "installation_id": marked("Installation's number"),
    "api_url": marked("API's address"), "kubernetes_secret": marked("Kubernetes Secret"), "token": marked("Token"),
    "private_key": marked("Private key"), "value": marked("Value"), "title": marked("Title"), "text": marked("Text"),
    "media_type": marked("Format"), "tags": marked("Tags"), "image": marked("Image"), "prompt": marked("Prompt"),
    "command": marked("Command line"), "resources": marked("Resources"), "requests": marked("Promised"),
    "limits": marked("At most"), "cpu": marked("CPU"), "memory": marked("Memory"),
    "ephemeral_storage": marked("Disk"), "timeout_seconds": marked("Time limit in seconds"),
    "env": marked("Environment"), "secrets": marked("Secrets as variables"), "network": marked("Network"),
    "agent_memory": marked("The agent's memory"),
    "node_selector": marked("Labels of nodes"), "tolerations": marked("Tolerations"),
    "pod": marked("Its Pod"), "annotations": marked("Annotations"), "priority_class": marked("Priority class"),
    "runtime_class": marked("Runtime class"), "image_pull_secrets": marked("Secrets to pull images with"),
    "node_affinity": marked("Requirements of nodes"), "extended_resources": marked("Devices"),
    "volumes": marked("Volumes"), "services": marked("Services beside the script"),
    "usage": marked("Where its token usage is reported"), "weight": marked("Weight"),
    "default_priority": marked("Priority by default"), "default_retry": marked("Retries by default"),
    "policy": marked("If an attempt is lost"), "max_attempts": marked("Attempts at most"),
    "repository": marked("Repository"), "ref": marked("Branch, tag or commit"), "script": marked("Script"),
    "check": marked("Check"), "queue": marked("Queue"), "profile": marked("Profile"),
    "documents": marked("Documents"), "priority": marked("Priority"), "retry": marked("Tried again"),
    "result_branch": marked("Result branch"), "if_exists": marked("If that branch exists"),
    "labels": marked("Labels"), "roles": marked("Roles"),
    "coding_agent": marked("Coding agent"), "model": marked("Model"), "effort": marked("Effort"),
    "permissions": marked("What it may do"), "instructions": marked("Instructions"),
    "mcp_servers": marked("MCP servers"), "max_turns": marked("Turns at most"),
    "max_tokens": marked("Tokens at most"), "max_cost_usd": marked("US dollars at most"), "prices": marked("Prices"),
    "base_url": marked("Address of the model's server"), "model_credential": marked("The model's key"),
    "flags": marked("Additional command-line arguments"), "no_changes": marked("If it changes nothing"),
    "wait_seconds": marked("Seconds until a question suspends it"),
    "days": marked("Days"), "commit": marked("Commits"), "email": marked("Mail address"),
    "schedule": marked("Schedule"), "time_zone": marked("Time zone"),
    "jitter_seconds": marked("Later by at most (seconds)"), "missed": marked("Times that were missed"),
    "provider": marked("Events of"), "forge": marked("Forge"), "credential": marked("Credential"),
    "webhook_secret": marked("Credential that signs deliveries"),
    "report": marked("What the forge is told"), "pull_request": marked("Pull request"),
    "permission": marked("Least permission of the sender"), "checks": marked("Checks"),
    "report_skipped": marked("A status also for what filters skip"),
    "from_keruta": marked("Also by what keruta itself did"), "base": marked("To be merged into"),
    "body": marked("Text"), "reviewers": marked("Reviewers"), "draft": marked("As a draft"),
    "events": marked("Events"), "branches": marked("Branches"), "actions": marked("Actions"),
    "concurrency": marked("While an earlier task runs"), "group": marked("Earlier tasks are those of"),
    "forks": marked("Pull requests from forks"), "fork_queue": marked("Queue for forks"),
    "paused": marked("Paused"), "result": marked("Result"),
    "branch": marked("Branch"),
    "parameters": marked("Parameters"),
    "budget": marked("Budget of coding agents"), "tokens_per_day": marked("Tokens a day"),
    "usd_per_day": marked("US dollars a day"), "submitter_tokens_per_day": marked("Tokens a day of each submitter"),
    "submitter_usd_per_day": marked("US dollars a day of each submitter"), "task_tokens": marked("Tokens of a task"),
    "task_usd": marked("US dollars of a task"),
    "service_account": marked("Service account"), "groups": marked("Groups"),
    "format": marked("Format of the message"), "language": marked("Language of the message"),
    "message": marked("Message"), "trailers": marked("Lines at a message's end"),

}  # fmt: skip
_HELP = {
    "name": marked("Lower-case letters, digits, dots, dashes and underscores."),
    "url": marked("https://…, ssh://… or user@host:path"),
    "setup": marked("Run before each script, one a line."),
    "allowed_refs": marked("Patterns such as main or release/*, one a line; empty for all."),
    "access": marked(
        "Without it, everyone may use this entry as their roles allow. Name people and groups: name:dana or "
        "group:platform, one a line."
    ),
    "prompt": marked("What the coding agent is to do."),
    "prompt.command": marked(
        "How the coding agent is called, one word a line. {prompt} becomes the prompt, {prompt_file} a "
        "file that holds it; with neither, it comes on standard input."
    ),
    "permissions": marked("full, edit, or a list of tools."),
    "effort": marked("In the coding agent's own word: low, medium, high."),
    "instructions": marked("Instructions for the coding agent, in addition to the repository's own."),
    "max_tokens": marked("Of input, cache and output together."),
    "model_credential": marked("A credential that keruta's agent alone sends to the model's server."),
    "prices": marked("In US dollars for a million tokens of each kind, by the model."),
    "secrets": marked("NAME=credential, one a line."),
    "image": marked("The image that the script runs in, in a cluster."),
    "requests.cpu": marked("For example 500m"), "requests.memory": marked("For example 512Mi"),
    "weight": marked("Its share of free slots beside other queues."),
    "kubernetes_secret": marked("In place of a value: the name of a Secret in the cluster, keruta-job-…"),
    "hosts": marked("For example git.example.com, git.example.com:8443 or https://git.example.com/team, one a line. "
                    "Without any, only administrators can use it."),
    "paths": marked("Only these are checked out, one a line, such as services/api; empty for everything."),
    "depth": marked("A number, or full for all branches with their whole history."),
    "without_secrets": marked("For what nobody has looked at: no credentials, a closed network, no cache, no push."),
    "fork_queue": marked("A queue of their own for what runs without secrets."),
    "provenance": marked("A signed statement of what each attempt did, which others can check."),
    "fetch_more": marked("Scripts fetch more of their own repository through keruta, without its credential; yes "
                         "unless it is turned off."),
    "cache": marked("As YAML: a list with paths, such as ~/.npm, and key, the files they depend on, such as "
                    "package-lock.json."),
    "documents": marked("Names, or tag: and a tag, one a line."),
    "labels": marked("key=value, one a line."),
    "env": marked("NAME=value, one a line. No secrets: they belong into credentials."),
    "check": marked("Runs after the script, in the same workspace. The task succeeds only if both succeed."),
    "result_branch": marked("What the script commits is pushed to this branch."),
    "commit": marked("Who commits, and the message for what a script did not commit itself."),
    "commit.message": marked("{what}, {task}, {attempt} and {submitter} are filled in."),
    "commit.trailers": marked("Such as Co-authored-by: Dana <dana@example.com>, one a line."),
    "ref": marked("Empty for the default branch."),
    "webhook_secret": marked("A credential of the type webhook secret; the forge signs with the same value."),
    "pull_request": marked("Opened from the result branch of a task that succeeded. Filled in are {task}, {name}, "
                           "{branch}, {number}, {title}, {answer} and {url}."),
    "schedule": marked("A cron expression: minute, hour, day of month, month, day of week. 0 2 * * * is two in the "
                       "morning, each day."),
    "time_zone": marked("For example Europe/Berlin or Asia/Tokyo."),
    "jitter_seconds": marked("Spreads triggers that have the same time; this one is always later by the same amount."),
    "missed": marked("Times at which keruta was not running."),
    "parameters": marked(
        "A list in YAML: each has a name, a type (text, choice, boolean, number, ref or secret) and, where wanted, "
        "description, required, default and choices."
    ),
    "service_account": marked("What the tasks run as; without one they run as whoever saved the trigger last."),
    "groups": marked("Groups whose grants count for it, one a line; administrators alone change them."),
    "budget": marked("A day begins at 00:00 UTC. What a task may use is reserved when it is assigned."),
    "branches": marked("Patterns such as main or release/*, one a line; empty for all."),
    "permission": marked("The forge is asked what the sender may do with the repository."),
    "checks": marked("Patterns for the names of checks that failed, one a line; empty for all."),
    "actions": marked("In the forge's own words, such as opened or synchronize, one a line; * for all; empty for what "
                      "is new."),
    "priority": marked("-100 to 100; the highest goes first."),
}  # fmt: skip
_KINDS = {
    "lines": marked("One a line."), "pairs": marked("NAME=value, one a line."), "yaml": marked("YAML"),
    "secret": marked("It is never shown again. Leave it empty to keep the present value."),
    "number": marked("A number."),
}  # fmt: skip
_CHOICES = {
    "": marked("(not set)"), "yes": marked("yes"), "no": marked("no"),
    "open": marked("open"), "closed": marked("closed: keruta and the forge alone"),
    "never": marked("it is not tried again"),
    "if_not_started": marked("it is tried again if its script had not begun"),
    "always": marked("it is tried again in any case"),
    "fail": marked("the task fails"), "update": marked("commits are added to it"),
    "replace": marked("it is replaced"), "suffix": marked("the next free name is taken"),
    "token": marked("token (https)"), "ssh": marked("SSH key"), "github_app": marked("GitHub App"),
    "secret": marked("secret value for scripts"), "webhook_secret": marked("webhook secret"),
    "forge_token": marked("token for a forge's API"), "forgejo": "Forgejo",
    "succeed": marked("the task succeeds"), "command": marked("a command line of your own"),
    "github": "GitHub", "gitlab": "GitLab", "gitea": "Gitea",
    "allow": marked("another one starts"), "skip": marked("nothing is started"),
    "ref": marked("the same branch, tag or pull request"), "trigger": marked("the whole trigger"),
    "run_once": marked("the last of them starts one task"),
    "approve": marked("wait for approval"), "without_secrets": marked("run without secrets"),
    "ignore": marked("start nothing"),
    "claude-code": "Claude Code", "codex": "Codex", "aider": "Aider",
    "text/markdown": "Markdown", "text/plain": marked("plain text"),
    "keruta": marked("keruta's own, signed"), "slack": "Slack", "teams": "Microsoft Teams", "discord": "Discord",
    "en": "English", "ja": "日本語",
}  # fmt: skip


def field_name(field: Field) -> str:
    return typed_name(field.path)


def typed_name(path: str) -> str:
    """Return the label of a field by its path alone."""
    name = path.rpartition(".")[2]
    return gettext(_NAMES.get(name, name))


def field_help(path: str) -> str:
    found = _HELP.get(path) or _HELP.get(path.rpartition(".")[2])
    return gettext(found) if found and (path in _HELP or "." not in path) else ""


def kind_help(kind: str) -> str:
    return gettext(_KINDS[kind]) if kind in _KINDS else ""


def choice_name(path: str, choice: str) -> str:
    return gettext(_CHOICES[choice]) if choice in _CHOICES else choice


def open_groups(told: Told) -> set[str]:
    """The groups that hold a fault."""
    return {path[:at] for path in told.beside for at in range(len(path)) if path[at] == "."}


GLOBALS = {
    "field_name": field_name, "typed_name": typed_name, "field_help": field_help, "kind_help": kind_help,
    "choice_name": choice_name, "open_groups": open_groups,
}  # fmt: skip
