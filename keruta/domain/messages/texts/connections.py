"""Servers that could not be asked, and why."""

from __future__ import annotations

TEXTS = {
    "connection_untrusted": (
        "The certificate of {host} is not trusted ({why}); name the authority that signed it in KERUTA_CA_FILE, or in "
        "KERUTA_CA_CERTIFICATES where no file is mounted."
    ),
    "connection_other_name": (
        "The certificate of {host} is for another name; use the name in it, or give the server one for {host}."
    ),
    "connection_expired": "The certificate of {host} has expired; renew it on that server.",
    "connection_not_yet_valid": (
        "The certificate of {host} is not valid yet; compare the clocks of that server and of this machine."
    ),
    "connection_bad_certificate": "The certificate of {host} can't be used: {why}.",
    "connection_no_tls": "{place} does not speak TLS; use http:// or the port that has TLS.",
    "connection_tls": "{place} and keruta found no common TLS: {why}.",
    "connection_no_address": "The host {host} has no address here; check its name and the name server.",
    "connection_refused": "{place} refuses connections; look whether the server runs there.",
    "connection_unreachable": "{place} can't be reached; check routes, firewalls and network policies.",
    "connection_cut": "{place} closed the connection without a whole answer in HTTP.",
    "connection_timeout": (
        "{place} gave no answer within {seconds} {seconds:second|seconds}; answer first and work afterwards, or look at "
        "firewalls."
    ),
    "connection_proxy": "The proxy of KERUTA_HTTPS_PROXY could not connect to {place}; ask the proxy's operator.",
    "connection_failed": "The request to {place} failed: {error}.",
    "webhook_redirect": "It answered {status}, a redirect to {location}; keruta follows none: give that address instead.",
    "webhook_status": "It answered {status}; only 200 to 299 count as delivered.",
}
