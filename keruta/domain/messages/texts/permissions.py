"""Texts of refused permissions, and of the allowed uses of credentials."""

from __future__ import annotations

TEXTS = {
    "credential_not_yours": (
        "You may not use the credential {name}; ask an administrator, or those who manage it, for the permission."
    ),
    "credential_without_hosts": (
        "The credential {name} names no hosts, so only administrators may use it; ask one to add the hosts."
    ),
    "credential_other_host": "The credential {name} may not be sent to this address; its hosts are {hosts}. A host alone means https and ssh on their usual ports; for another port write host:port.",
    "credential_host_malformed": (
        "Give a host such as git.example.com or git.example.com:8443, or an address such as "
        "https://git.example.com/team."
    ),
    "credential_hosts_needed": "A credential that others may use needs hosts: say where it may be sent.",
    "repository_address_of": "The repository {name} has this address already; an address belongs to one repository.",
    "repository_of_forge": "Triggers of this repository speak to a forge for it; who may run what is at that forge changes its address.",
    "repository_address_taken": "Another repository has this address already; an address belongs to one repository.",
    "attempt_over": "This attempt has ended; nothing more is given out or stored for it.",
    "github_token_too_wide": "GitHub's token is not for {repository} alone, so it is not used.",
    "stream_too_many": "You are reading {limit} logs and files at once; close one first.",
    "body_too_many": "{limit} of your changes are being sent at once; wait until some have been answered.",
    "body_no_room": "Too many changes are being sent; try again in a few seconds.",
    "stream_no_room": "Too many logs and files are being read; try again in a few seconds.",
}
