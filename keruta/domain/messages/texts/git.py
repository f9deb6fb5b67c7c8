"""Git servers, checkouts and pushes."""

from __future__ import annotations

TEXTS = {
    "fetch_refused": (
        "This address only fetches from the task's own repository: no push, no other repository, no large files (LFS)."
    ),
    "fetch_not_allowed": "What was asked for is on no branch or tag that the repository allows (allowed_refs).",
    "fetch_old_server": (
        "The Git server does not speak version 2 of Git's protocol, so a script can't fetch more of this repository; "
        "ask for depth: full instead. An ssh server must accept GIT_PROTOCOL (AcceptEnv)."
    ),
    "fetch_old_client": "Fetching more needs version 2 of Git's protocol: Git 2.26 or newer, without protocol.version=0.",
    "fetch_too_many": "Too many fetches of this attempt are at work; try again.",
    "git_certificate_refused": (
        "The Git server's certificate is not trusted here: it may have run out, be of another host, or be signed by a "
        "company's authority that KERUTA_CA_FILE does not name."
    ),
    "git_certificate_expired": (
        "The Git server's certificate is not valid at this time: it has run out, or this machine's clock is wrong."
    ),
    "git_certificate_other_host": (
        "The Git server's certificate is for another host: write the repository's address with the host that the "
        "certificate names."
    ),
    "git_certificate_self_signed": (
        "The Git server's certificate is signed by itself. If you know it to be right, add it to the file that "
        "KERUTA_CA_FILE names."
    ),
    "git_proxy_login": (
        "The proxy that KERUTA_HTTPS_PROXY names wants a user name and a password; see to KERUTA_HTTPS_PROXY_LOGIN_FILE."
    ),
    "git_proxy_failed": "The proxy that KERUTA_HTTPS_PROXY names did not reach the Git server.",
    "git_host_key_unknown": "The ssh server's key is not among the known hosts; add it.",
    "git_host_key_changed": "The ssh server's key differs from the known one.",
    "git_key_refused": "The Git server refused the ssh key.",
    "git_token_refused": "The Git server refused the user name or token.",
    "git_credentials_wanted": "The Git server requires credentials and none are configured for it.",
    "git_not_permitted": "The Git server does not permit this with these credentials.",
    "git_no_write_right": "The push credential may only read this repository; give it the right to write.",
    "git_no_ref": "The repository has no such branch or tag.",
    "git_no_commit": "The repository has no such commit, or does not allow fetching it.",
    "git_no_tree": "The ref names no commit, but a single file or a directory; name a branch, a tag of a commit, or a commit.",
    "git_other_hash": "No commit here has an id of this length: the repository's ids have {digits} digits.",
    "git_transport_refused": "The address, or a submodule's, uses a transport that is not allowed.",
    "git_no_repository": "There is no such repository, or these credentials can't see it.",
    "git_no_repository_here": "There is no repository at this address.",
    "git_path_outside": "The repository contains a path that points outside the workspace.",
    "git_format_unknown": (
        "The repository has a format that Git on this machine does not know, such as reftable; update Git here, or convert "
        "the repository to the files format."
    ),
    "git_other_owner": "The repository belongs to another user of this machine.",
    "git_disk_full": "The worker's disk is full.",
    "git_failed": "Git failed: {said}",
    "git_answers": "The server answers, with {branches} {branches:branch|branches} and {tags} {tags:tag|tags}.",
    "git_ref_missing": "The repository has no branch or tag '{ref}'.",
    "git_ref_short_commit": (
        "The repository has no branch or tag '{ref}'. Name a commit by its full id, which `git rev-parse {ref}` shows: "
        "a server does not find it by a part."
    ),
    "checkout_lfs_failed": "Git LFS could not fetch the large files: {said}",
    "git_repository_empty": "The repository has no commit yet; push one first.",
    "git_answers_empty": "The server answers, but the repository has no commit yet; push one first.",
    "git_slow": "The Git server did not answer in time.",
    "git_out_of_memory": (
        "Git was ended because the {limit} MiB of memory of keruta's agent did not suffice; raise agent_memory of the "
        "repository or of its profile."
    ),
    "git_killed": "Git was killed, as a system does that runs out of memory; free some on the worker's machine.",
    "git_no_default_branch": (
        "The repository's default branch does not exist, so a task must name what to check out. There are: {branches}."
    ),
    "git_trickles": ("The Git server sent next to nothing for {seconds} s, so the connection was closed."),
    "git_too_much": "The Git server's answer has more than {limit} bytes.",
    "git_answers_no_ref": "The server answers, but the repository has no branch or tag '{ref}'.",
    "git_app_refused": "GitHub refused to give the App a token for {owner}/{repository} ({status}).",
    "git_app_address": "The repository's address does not name an owner and a repository.",
    "git_app_key": "The App's private key is not a readable RSA key.",
    "git_app_away": "GitHub did not answer: {error}.",
    "git_app_no_token": "GitHub's answer contains no token.",
    "checkout_path_is_file": "{path} is a file; name its directory instead, since only directories can be asked for.",
    "checkout_timeout": "The checkout took longer than timeout_seconds, {seconds}.",
    "checkout_transport": "The repository's address uses a transport that is not allowed here.",
    "checkout_no_lfs": "Git LFS is not installed on the worker; install git-lfs there.",
    "push_linked": "The workspace's Git directory is a link, so nothing is pushed from it.",
    "push_unreadable": "The result could not be read: {error}.",
    "push_unanswered": (
        "The Git server was silent for {seconds} s during the push. A hook there may still be at work: look whether "
        "the branch {branch} is there."
    ),
    "push_timeout": "The branch could not be pushed within {seconds} s.",
    "push_cancelled": "Cancelled while the result was pushed; the Git server did not have it on {branch} afterwards.",
    "push_cancelled_unknown": (
        "Cancelled while the result was pushed. The Git server did not say afterwards whether it has it; look at the "
        "branch {branch} there."
    ),
    "push_not_current": "keruta gave this attempt up meanwhile, so it pushes nothing.",
    "push_work_missing": "The work that attempt {attempt} kept is not there any more.",
    "push_work_unreadable": "The work that attempt {attempt} kept can't be read: {error}.",
    "branch_name_bad": "'{branch}' is not a name for a branch.",
    "branch_name_characters": "'{branch}' is not a name for a branch: Git refuses a character or a sequence in it.",
    "branch_name_parts": (
        "'{branch}' is not a name for a branch: no part of it may be empty, begin with a dot or end with .lock."
    ),
    "branch_twice": "Give result_branch or result, or the same branch in both.",
    "branch_exists": "The branch {branch} exists already; name another, or have it updated or replaced.",
    "branch_not_forward": (
        "The branch {branch} has commits that the result does not have, so it can't be updated; start from "
        "that branch, replace it, or name another."
    ),
    "branch_suffixes_taken": "The branches {branch} to {branch}-{last} exist already; name another.",
    "push_server_fault": "The Git server could not store what was pushed. It said: {said}",
    "push_lfs_failed": "Git LFS could not send the large files: {said}",
    "branch_busy": "The branch {branch} changed at every try; others push to it.",
    "branch_refused": "The Git server refused the branch {branch}. It said: {said}",
    "branch_protected": (
        "The branch {branch} is protected on the Git server; name another, or let the push credential push "
        "to it. The server said: {said}"
    ),
    "branch_no_write_right": (
        "The push credential may not push {branch}; give it the right to write to the repository. The server said: {said}"
    ),
    "branch_workflow": (
        "The push credential may not change workflow files, and the result for {branch} does; give it that "
        "right. The server said: {said}"
    ),
    "branch_clash": (
        "The branch {branch} can't be beside the branch {other}: one name begins with the other. Name another."
    ),
    "branch_clash_unnamed": (
        "The branch {branch} can't be beside another branch whose name begins with its own, or the reverse. "
        "Name another. The server said: {said}"
    ),
    "branch_unrelated": (
        "The result for {branch} is based on commits that the Git server does not have. The server said: {said}"
    ),
    "branch_checked_out": (
        "The branch {branch} is checked out in the repository that it is pushed to, whose files would no longer match. "
        "Name another, or check out another branch there."
    ),
    "result_no_git": "The workspace no longer has a .git directory, so its commits can't be read.",
    "result_git_file": "The workspace's .git is a file that names a directory elsewhere, which is not read.",
    "result_reftable": (
        "The workspace keeps its branches as a reftable, which can't be read here; use the files format."
    ),
    "result_index_unreadable": "The workspace's Git index can't be read: {error}.",
    "result_head_missing": "The workspace's HEAD is at {commit}, which is not among its objects.",
    "result_head_borrowed": (
        "The workspace's HEAD is at {commit}, whose objects are in another directory "
        "(objects/info/alternates) that is not read."
    ),
    "result_commits_limit": "The workspace has more than {limit} commits; fetch less history.",
    "result_file_unreadable": "The workspace's {path} can't be read: permission denied.",
}
