"""Short names of the reasons for which tasks and attempts end, in the reader's language."""

from __future__ import annotations

from admin.site.language import language
from keruta.domain.messages import Message, reason_word
from keruta.translations import render


def reason_name(reason: str) -> str:
    word = reason_word(reason)
    return render(word, language()) if isinstance(word, Message) else reason


GLOBALS = {"reason_name": reason_name}
