"""Texts of the audit record, and of the results of webhook attempts."""

from __future__ import annotations

TEXTS = {
    "audit_create": "{who} added the {kind} '{of}'.",
    "audit_change": "{who} changed the {kind} '{of}'.",
    "audit_delete": "{who} deleted the {kind} '{of}'.",
    "audit_pause": "{who} paused the {kind} '{of}'.",
    "audit_resume": "{who} resumed the {kind} '{of}'.",
    "audit_cancel": "{who} cancelled the {kind} '{of}'.",
    "audit_retry": "{who} tried the {kind} '{of}' again.",
    "audit_accept": "{who} accepted the {kind} '{of}' as done.",
    "audit_input": "{who} answered the {kind} '{of}'.",
    "audit_push": "{who} had the work of the {kind} '{of}' pushed.",
    "audit_drain": "{who} drained the {kind} '{of}'.",
    "audit_undrain": "{who} ended the draining of the {kind} '{of}'.",
    "audit_disable": "{who} disabled the {kind} '{of}'.",
    "audit_enable": "{who} enabled the {kind} '{of}'.",
    "audit_give_roles": "{who} changed the roles of the {kind} '{of}'.",
    "audit_revoke": "{who} revoked the {kind} '{of}'.",
    "audit_replay": "{who} replayed the {kind} '{of}'.",
    "audit_run": "{who} started the {kind} '{of}'.",
    "audit_send_again": "{who} had a message of the {kind} '{of}' sent again.",
    "audit_close_circuit": "{who} closed the circuit of the {kind} '{of}'.",
    "audit_prune": "{who} deleted old data of the {kind} '{of}'.",
    "audit_refused": "{who} was refused the {kind} '{of}': {reason}.",
    "chat_heading": "{status}: {name}",
    "chat_place": "Repository {repository}, queue {queue}, submitted by {owner}",
    "chat_open_task": "Open the task",
    "webhook_answered": "The receiver answered {status}.",
    "webhook_plain_http": "Not sent: over http only to networks that KERUTA_WEBHOOK_NETWORKS names.",
    "webhook_private_address": "Not sent: the address is a private one. KERUTA_WEBHOOK_NETWORKS can allow its network.",
}
