"""Messages to people: a stable code with arguments, rendered in a language where it is shown.

What is stored and sent is the code, the arguments and the English text. A reader renders the code in its own language;
for a code that it does not know, or arguments that do not fit, it shows the stored text.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

Argument = str | int | float

# The English text of each code. `{name}` is replaced by the argument of that name.
CATALOGUE: dict[str, str] = {}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence for people.

    Args:
        code: a key of `CATALOGUE`; never changes its meaning once released.
        arguments: the values that stand in the sentence's places.
        text: the sentence in English.
    """

    code: str
    arguments: Mapping[str, Argument] = msgspec.field(default_factory=dict)
    text: str


def message(code: str, /, **arguments: Argument) -> Message:
    """Return the message of a code with its arguments.

    Raises:
        KeyError: the code is unknown, or an argument is missing: a fault of the calling code.
    """
    return Message(code=code, arguments=arguments, text=CATALOGUE[code].format_map(arguments))
