"""Git servers, checkouts and pushes."""

from __future__ import annotations

TEXTS = {
    "git_certificate_refused": (
        "The Git server's certificate is not trusted here: it may have run out, be of another host, or be signed by a "
        "company's authority that KERUTA_CA_FILE does not name."
    ),
    "git_proxy_failed": "The proxy that KERUTA_HTTPS_PROXY names did not reach the Git server.",
    "git_host_key_unknown": "The ssh server's key is not among the known hosts; add it.",
    "git_host_key_changed": "The ssh server's key differs from the known one.",
    "git_key_refused": "The Git server refused the ssh key.",
    "git_token_refused": "The Git server refused the user name or token.",
    "git_credentials_wanted": "The Git server requires credentials and none are configured for it.",
    "git_not_permitted": "The Git server does not permit this with these credentials.",
    "git_no_ref": "The repository has no such branch or tag.",
    "git_no_commit": "The repository has no such commit, or does not allow fetching it.",
    "git_transport_refused": "The address, or a submodule's, uses a transport that is not allowed.",
    "git_no_repository": "There is no such repository, or these credentials can't see it.",
    "git_no_repository_here": "There is no repository at this address.",
    "git_path_outside": "The repository contains a path that points outside the workspace.",
    "git_other_owner": "The repository belongs to another user of this machine.",
    "git_disk_full": "The worker's disk is full.",
    "git_failed": "Git failed: {said}",
    "git_branch_refused": "The Git server refused the branch: {said}",
    "git_address_character": "The repository's address has a character that can't be used with a token.",
    "git_answers": "The server answers, with {branches} {branches:branch|branches} and {tags} {tags:tag|tags}.",
    "git_ref_missing": "The repository has no branch or tag '{ref}'.",
    "git_repository_empty": "The repository has no commit yet; push one first.",
    "git_answers_empty": "The server answers, but the repository has no commit yet; push one first.",
    "git_slow": "The Git server did not answer in time.",
    "git_answers_no_ref": "The server answers, but the repository has no branch or tag '{ref}'.",
    "git_app_refused": "GitHub refused to give the App a token for {owner}/{repository} ({status}).",
    "git_app_address": "The repository's address does not name an owner and a repository.",
    "git_app_key": "The App's private key is not a readable RSA key.",
    "git_app_away": "GitHub did not answer: {error}.",
    "git_app_no_token": "GitHub's answer contains no token.",
    "checkout_timeout": "The checkout took longer than timeout_seconds, {seconds}.",
    "checkout_transport": "The repository's address uses a transport that is not allowed here.",
    "checkout_no_lfs": "Git LFS is not installed on the worker; install git-lfs there.",
    "push_linked": "The workspace's Git directory is a link, so nothing is pushed from it.",
    "push_unreadable": "The result could not be read: {error}.",
    "push_timeout": "The branch could not be pushed within {seconds} s.",
}
