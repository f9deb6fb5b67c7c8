"""What a problem page says in the reader's language: what it is, and what to do about it."""

from __future__ import annotations

from admin.site.language import gettext, marked
from keruta.errors import Problem

_BY_REASON = {
    "OfflineReadOnly": (
        marked("The identity provider can't be reached"),
        marked("Until it is back you can read, and nothing more. Your sign-in is kept."),
    ),
    "AccountDisabled": (
        marked("This account was disabled"), marked("Ask an administrator of keruta to let you in again."),
    ),
    "FormNotOurs": (
        marked("This form has grown old"),
        marked("Go back, load the page again, and send it once more; what you typed is still there."),
    ),
}  # fmt: skip
_BY_STATUS = {
    400: (marked("That could not be read"), marked("Go back and look at what was sent.")),
    401: (marked("You are not signed in"), marked("Sign in, then do it again.")),
    403: (marked("You may not do this"), marked("Ask an administrator for the role or grant that it needs.")),
    404: (
        marked("There is no such page or thing"),
        marked("It was removed, or it was never there, or it is not for you to see."),
    ),
    405: (marked("This page can't be asked that"), marked("Go back and try it from the page itself.")),
    409: (marked("That does not fit what is there now"), marked("Look at it again: it has changed, or is in use.")),
    412: (
        marked("Someone changed it meanwhile"),
        marked("Nothing was lost: look at what they wrote, then make your change again."),
    ),
    413: (marked("That is too large"), marked("Send less; large things belong into the repository.")),
    422: (marked("Something in it is wrong"), marked("Go back and mend what is named below.")),
    429: (marked("Too many requests"), marked("Wait a moment, then go on.")),
    503: (
        marked("keruta can't reach its database"),
        marked("Nothing is lost, and tasks that run go on. Try again in a moment; if it stays so, tell an operator."),
    ),
}
_ELSE = (
    marked("Something went wrong in keruta"),
    marked("Try again; if it stays so, give the request's number below to an operator, whose log tells more."),
)


def _words(problem: Problem) -> tuple[str, str]:
    return _BY_REASON.get(problem.reason) or _BY_STATUS.get(problem.status) or _ELSE


def title(problem: Problem) -> str:
    return gettext(_words(problem)[0])


def advice(problem: Problem) -> str:
    return gettext(_words(problem)[1])
