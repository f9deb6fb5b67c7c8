"""Texts of e-mails with notices, and of why one was not sent."""

from __future__ import annotations

TEXTS = {
    "mail_many": "{count} tasks have ended",
    "mail_more": "{count} more {count:task has|tasks have} ended: {url}",
    "mail_chosen": "You chose to be told of this by e-mail. To change that: {url}",
    "mail_trial": "Test e-mail",
    "mail_trial_body": "This e-mail shows that notices reach you. What you are told of is chosen here: {url}",
    "mail_no_address": "Your identity provider gives no verified address of yours, so no e-mail is sent to you.",
    "mail_no_server": "No mail server is set: set KERUTA_SMTP_URL and KERUTA_SMTP_SENDER first.",
    "mail_refused": "The mail server refused the e-mail to you ({status} {answer}); ask your administrator.",
    "mail_login_refused": "{place} refused the login in KERUTA_SMTP_LOGIN_FILE ({status} {answer}).",
    "mail_login_file": "KERUTA_SMTP_LOGIN_FILE can't be read as one line, USER:PASSWORD: {error}.",
    "mail_no_starttls": "{place} offers no STARTTLS, so nothing was sent; use smtps:// with the port that has TLS.",
    "mail_no_tls": "{place} does not speak TLS; use smtp:// with a port that has STARTTLS.",
    "mail_no_login": "{place} offers no login that keruta knows; remove KERUTA_SMTP_LOGIN_FILE or use another port.",
    "mail_cut": "{place} closed the connection.",
    "mail_timeout": "{place} did not take the e-mail within {seconds} {seconds:second|seconds}; look at it, and at firewalls.",
    "mail_unreadable": "{place} answered what is no SMTP.",
    "mail_not_written": "No e-mail could be written of this notice; it is on the page of notices.",
    "mail_answered": "{place} answered {status} {answer}.",
}
