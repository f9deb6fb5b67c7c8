"""Reasons and sentences for what Git says when it fails.

Only Git's and ssh's own lines are read. What a server, its hooks or a script print (`remote: …`) decides nothing.
"""

from __future__ import annotations

import re
import unicodedata

from keruta.adapters.git import memory
from keruta.domain.messages import message
from keruta.errors import PhaseError

SAID_LIMIT = 300

# A line's beginning, as Git or ssh writes it, the reason and the message; in the order in which they are looked for.
_SAID: tuple[tuple[str, str, str], ...] = (
    (r"host key verification failed", "HostKeyUnknown", "git_host_key_unknown"),
    (r"@ +warning: remote host identification has changed", "HostKeyUnknown", "git_host_key_changed"),
    (
        r"(fatal|error): .*certificate (has expired|is not yet valid)",
        "CertificateRefused",
        "git_certificate_expired",
    ),
    (r"(fatal|error): .*certificate subject name", "CertificateRefused", "git_certificate_other_host"),
    (r"(fatal|error): .*self.signed certificate(?! in)", "CertificateRefused", "git_certificate_self_signed"),
    (
        r"(fatal|error): .*ssl certificate problem",
        "CertificateRefused",
        "git_certificate_refused",
    ),
    (r"(fatal|error): .*certificate verification failed|.*x509: ", "CertificateRefused", "git_certificate_refused"),
    (
        r"(fatal|error): .*(code 407 from proxy|connect tunnel failed, response 407)",
        "CloneFailed",
        "git_proxy_login",
    ),
    (
        r"(fatal|error): .*(resolve proxy|from proxy after connect|connect tunnel failed)",
        "CloneFailed",
        "git_proxy_failed",
    ),
    # What forges write over ssh before Git speaks, in place of what they refuse.
    (
        r"error: .*(not authorized to write|marked as read.only|does not have write access|not allowed to push"
        r"|permission to .* denied)",
        "CloneAuthFailed",
        "git_no_write_right",
    ),
    (r"([^ ]+: )?permission denied \(", "CloneAuthFailed", "git_key_refused"),
    (r"fatal: authentication failed|(fatal|error): .*error: 401", "CloneAuthFailed", "git_token_refused"),
    (r"fatal: could not read (username|password)", "CloneAuthFailed", "git_credentials_wanted"),
    (r"fatal: .*terminal prompts disabled", "CloneAuthFailed", "git_credentials_wanted"),
    (r"(fatal|error): .*(error: 403|http 403)", "CloneAuthFailed", "git_not_permitted"),
    (r"(fatal|error): (couldn't find|no such) remote ref", "RefNotFound", "git_no_ref"),
    (r"(fatal|error): .*(not our ref|unadvertised object)", "RefNotFound", "git_no_commit"),
    (r"fatal: transport '.*' not allowed", "TransportRefused", "git_transport_refused"),
    (r"fatal: repository '.*' not found|error: repository not found", "RepositoryNotFound", "git_no_repository"),
    (r"fatal: '.*' does not appear to be a git repository", "RepositoryNotFound", "git_no_repository_here"),
    (r"fatal: (repository )?'.*' does not exist", "RepositoryNotFound", "git_no_repository_here"),
    (r"fatal: reference is not a tree|fatal: cannot switch branch to a non-commit", "RefNotFound", "git_no_tree"),
    (r"(error|fatal): invalid path", "CheckoutRefused", "git_path_outside"),
    (r"(error|fatal): .*beyond a symbolic link", "CheckoutRefused", "git_path_outside"),
    (r"fatal: .*(unknown repository extension|expected git repo version)", "CloneFailed", "git_format_unknown"),
    (r"fatal: detected dubious ownership", "RepositoryNotFound", "git_other_owner"),
    (r"(error|fatal): .*no space left on device", "WorkspaceFailed", "git_disk_full"),
)
_OTHER_HASH = re.compile(r"fatal: mismatched algorithms: client \w+; server (sha1|sha256)")
_KILLED = re.compile(r"(fatal|error): .*died of signal 9|(fatal|error): out of memory", re.IGNORECASE)
_KNOWN = [(re.compile(pattern, re.IGNORECASE), reason, code) for pattern, reason, code in _SAID]

# The network, or a server that is away for a moment: the same again may go well.
_TRANSIENT = re.compile(
    r"(fatal|error): .*(returned error: (408|425|429|5\d\d)|could not resolve host|failed to connect|couldn't connect"
    r"|connection (refused|reset|timed out|closed)|operation timed out|operation too slow|timeout|empty reply"
    r"|unexpected disconnect|hung up unexpectedly|early eof|gnutls recv error|ssl_error_syscall|http/2 stream"
    r"|transfer closed|recv failure|send failure|bad pack header|unable to rewind|unpack failed: eof)"
    r"|(error|fatal): rpc failed; (curl|http (408|429|5\d\d))"
    r"|ssh: (connect to host|could not resolve hostname)"
    r"|(kex_exchange_identification|client_loop|read from remote host|connection (closed|reset|to) )",
    re.IGNORECASE,
)
_COLOURS = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_NEVER_TRANSIENT = re.compile(r"certificate|self.signed|ssl: no alternative", re.IGNORECASE)


class TransientError(PhaseError):
    """A failure that may go away by itself: the network, or a server that is away for a moment."""


def fault(said: str, reason: str) -> PhaseError:
    """Return the error for what Git wrote when it failed.

    Args:
        said: what it wrote to its standard error.
        reason: the reason where Git's words tell none; `Push…` for what belongs to a push.
    """
    own = own_lines(said)
    if any(_KILLED.match(line) for line in own):
        return killed()
    if other := next(filter(None, map(_OTHER_HASH.match, own)), None):
        return PhaseError("RefNotFound", message("git_other_hash", digits=64 if other[1] == "sha256" else 40))
    for pattern, known, code in _KNOWN:
        if any(pattern.match(line) for line in own):
            refused = reason.startswith("Push") and known in ("CloneAuthFailed", "RepositoryNotFound")
            return PhaseError("PushRefused" if refused else known, message(code))
    told = message("git_failed", said=" ".join([last_line(said), *remote_lines(said)])[: 2 * SAID_LIMIT])
    if any(_TRANSIENT.match(line) for line in own) and not any(_NEVER_TRANSIENT.search(line) for line in own):
        return TransientError(reason, told)
    return PhaseError(reason, told)


def killed() -> PhaseError:
    """Return the error for a Git that the kernel has ended, which it does where memory runs out."""
    limit = memory.limit_bytes()
    told = message("git_killed") if limit is None else message("git_out_of_memory", limit=limit // 1024 // 1024)
    return PhaseError("AgentOutOfMemory", told)


def own_lines(said: str) -> list[str]:
    """Return what Git and ssh wrote themselves, without what a server sent."""
    lines = (line.strip() for line in re.split(r"[\r\n]", said))
    return [line for line in lines if line and not line.startswith("remote:")]


def remote_lines(said: str) -> list[str]:
    """Return what the server said, line by line, without progress and control characters."""
    found = (_last_written(line) for line in said.split("\n") if line.startswith("remote:"))
    return [line[:SAID_LIMIT] for line in found if line][:20]


def plain(text: str) -> str:
    """Return a server's text without colours and control characters; every kind of space stays one."""
    text = _COLOURS.sub("", text).replace("\t", " ")
    return "".join(c for c in text if c.isprintable() or unicodedata.category(c) == "Zs").strip()


def _last_written(line: str) -> str:
    """Return what a terminal shows of a line: progress is written over, and a line of Windows ends in CR and LF.

    Git begins what follows a carriage return with `remote:`, too.
    """
    parts = (plain(part.removeprefix("remote:")) for part in line.split("\r"))
    return next((part for part in reversed(list(parts)) if part), "")


def last_line(said: str) -> str:
    """Return the line that tells most of what went wrong."""
    lines = own_lines(said)
    fatal = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    return (fatal or lines or ["it said nothing"])[0][:SAID_LIMIT]
