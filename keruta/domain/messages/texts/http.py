"""Requests as such, and who makes them."""

from __future__ import annotations

TEXTS = {
    "http_not_a_cloudevent": "The request is not a CloudEvent 1.0 in binary or structured mode.",
    "badge_missing": "There is no such badge.",
    "badge_not_yours": "A badge tells everyone about the repository; who may change the repository can make one.",
    "badges_too_many": "A repository has at most {count} badges; revoke one first.",
    "favourite_unknown": "This can't be a favourite. Repositories, queues, workers, templates and triggers can.",
    "http_no_word": "It contains no word.",
    "http_mongo_address": "KERUTA_MONGO_URL can't be used: {error}",
    "http_database_away": "The database does not answer; try again in a few seconds.",
    "http_too_many_requests": (
        "More than {limit} {limit:request|requests} a minute; continue in {seconds} s, and send fewer."
    ),
    "http_key_reused": "This Idempotency-Key was used within 24 hours for another body; choose a new key.",
    "http_label": "Give a label as key=value.",
    "json_at": "{said} at byte {at}",
    "json_empty": "it is empty",
    "json_ends": "it ends in the middle of a value",
    "json_half_pair": (
        "{escape} at byte {at} is half of a surrogate pair, and no character: write both halves, or the character itself"
    ),
    "json_mark": "it begins with a byte order mark; leave that out",
    "json_not_utf8": "byte {at} is not UTF-8",
    "json_other": "{said}",
    "json_too_deep": "it is nested too deeply",
    "http_method": "This address does not take {method}.",
    "http_not_json_at": "The body is not JSON: {error}.",
    "http_cursor_next": "Use `next` of the page before.",
    "http_cursor": "The cursor was not issued by this list.",
    "http_internal_error": "Something went wrong in keruta; its log has more under this request id.",
    "http_offline_read_only": (
        "Your sign-in has expired while the identity provider can't be reached; until it is back you can only read."
    ),
    "http_role_missing": "This needs the role {roles}.",
    "http_content_type": "Send the body as Content-Type: {kind}.",
    "http_content_encoding": "The body is packed ({encoding}); send it as it is, without Content-Encoding.",
    "http_body_too_large": "The body may have at most {limit} bytes.",
    "http_methods": "This address accepts {allowed}.",
    "http_not_utf8": "The body is not UTF-8.",
    "http_not_json": "The body is not JSON.",
    "http_nothing_here": "There is nothing at this address.",
    "http_idempotency_key": "An Idempotency-Key has 1 to 255 visible ASCII characters.",
    "http_whole_number": "Give a whole number from 1 to {most}.",
    "http_etag": "Give the ETag of the entry, or *.",
    "http_etag_not_found": "If-Match is not one of this entry's ETags.",
    "http_if_match": "Say which version you changed: If-Match with the ETag, or *.",
    "http_page_outdated": "This file no longer exists; load the page again.",
    "http_form_expired": "This form did not come from a page that keruta showed you; load the page again.",
    "http_statuses": "Known values are {known}, open.",
    "http_sort": "Known values are {known}.",
    "http_time": "Give a time as 2026-01-31T12:00:00Z.",
    "http_flag": "Give true or false.",
    "http_token_required": "This needs a token: Authorization: Bearer …",
    "http_unknown_value": "This value is not known.",
    "http_say_word": "Give a word to search for.",
    "http_fault_at": "{at}: {fault}",
    "http_faults_at": "{at}: {fault} (and {count} more)",
    "http_faults_more": "{count} more {count:fault is|faults are} not listed here.",
    "http_the_body": "The body",
    "http_batch_fault": "{error}.",
    "identity_role_by_group": (
        "This person has the role {role} through a group or another role; remove them from it in Keycloak."
    ),
    "identity_not_in_keycloak": "Keycloak has no user with this subject.",
    "identity_keycloak_forbids": (
        "Keycloak does not allow keruta's service account to do this; it needs view-users and manage-users."
    ),
    "identity_keycloak_failed": "Keycloak answered {status}; try again.",
    "identity_keycloak_away": "Keycloak can't be reached, or its answer is not Keycloak's; try again.",
    "identity_token_invalid": "The token is missing, malformed, expired or not for keruta; sign in again.",
    "identity_disabled": "This account was disabled; ask an administrator of keruta.",
    "identity_no_such_person": "No user with this subject has signed in here.",
    "identity_disable_self": "You can't disable yourself; another administrator can.",
    "identity_key_owner_not_seen": (
        "The owner of this API key has not signed in for {days} days; the key works again once they have."
    ),
    "identity_key_makes_no_key": "An API key can't create API keys; sign in.",
    "identity_role_not_yours": "You do not have the role {role} yourself.",
    "identity_too_many_keys": "You have {count} {count:API key|API keys}; revoke one first.",
    "identity_no_such_key": "There is no such API key.",
    "identity_own_role": "You can't remove your own role; another administrator can.",
    "identity_roles_elsewhere": (
        "Roles are assigned at the identity provider; with KERUTA_PEOPLE_CLIENT_ID keruta can assign them in Keycloak."
    ),
    "identity_two_people": "The tokens belong to two different people.",
    "identity_not_signed_in": "You are not signed in.",
    "identity_signed_out": "Your sign-in has expired; sign in again.",
}
