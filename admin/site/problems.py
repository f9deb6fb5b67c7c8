"""Titles and remedies of problem pages, in the reader's language."""

from __future__ import annotations

from admin.site.language import gettext, marked
from keruta.errors import Problem

_BY_REASON = {
    "OfflineReadOnly": (
        marked("The identity provider can't be reached"),
        marked("Until it is back you can only read. Your sign-in is kept."),
    ),
    "AccountDisabled": (
        marked("This account was disabled"), marked("Ask an administrator of keruta to enable your account."),
    ),
    "FormNotOurs": (
        marked("This form has expired"),
        marked("Go back to the form and send it once more; what you typed is still there."),
    ),
}  # fmt: skip
_BY_STATUS = {
    400: (marked("That could not be read"), marked("Go back and check what was sent.")),
    401: (marked("You are not signed in"), marked("Sign in, then send it once more; what you typed is kept.")),
    403: (marked("You may not do this"), marked("Ask an administrator for the role or grant that it needs.")),
    404: (
        marked("Not found"),
        marked("It was removed, never existed, or you may not see it."),
    ),
    405: (marked("This page does not support that request"), marked("Go back and try it from the page itself.")),
    409: (
        marked("The request conflicts with the present state"),
        marked("Load the page again: the entry has changed, or is in use."),
    ),
    412: (
        marked("Someone changed it meanwhile"),
        marked("Nothing was lost: read the other change, then make yours again."),
    ),
    413: (marked("That is too large"), marked("Send less; keep large files in the repository.")),
    422: (marked("Some fields are not valid"), marked("Go back and correct the fields named below.")),
    429: (marked("Too many requests"), marked("Wait a moment, then go on.")),
    503: (
        marked("keruta can't reach its database"),
        marked("Nothing is lost, and running tasks continue. Try again soon; if the problem stays, tell an operator."),
    ),
}
_ELSE = (
    marked("Something went wrong in keruta"),
    marked("Try again. If the problem stays, give the request id below to an operator, who can find it in the log."),
)


def _words(problem: Problem) -> tuple[str, str]:
    return _BY_REASON.get(problem.reason) or _BY_STATUS.get(problem.status) or _ELSE


def title(problem: Problem) -> str:
    return gettext(_words(problem)[0])


def advice(problem: Problem) -> str:
    return gettext(_words(problem)[1])
