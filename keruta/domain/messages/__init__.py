"""Messages to people: a stable code with arguments, rendered in a language where it is shown.

What is stored and sent is the code, the arguments and the English text. A reader renders the code in its own language;
for a code that it does not know, or arguments that do not fit, it shows the stored text.
"""

from __future__ import annotations

from keruta.domain.messages.catalogue import CATALOGUE
from keruta.domain.messages.rendering import (
    EMPTY,
    Argument,
    Message,
    as_message,
    changed,
    fields_of,
    message,
    places,
    read_message,
    rendered,
)
from keruta.domain.messages.words import acted_word, action_word, kind_word, reason_word, status_word

__all__ = [
    "CATALOGUE",
    "EMPTY",
    "Argument",
    "Message",
    "acted_word",
    "action_word",
    "as_message",
    "changed",
    "fields_of",
    "kind_word",
    "message",
    "places",
    "read_message",
    "reason_word",
    "rendered",
    "status_word",
]
