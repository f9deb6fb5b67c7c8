"""Every text and its Japanese: `python -m docs.texts` adds what is missing to the catalogue and drops what is gone.

The catalogue has the messages by their codes (its contexts), and the texts of the web admin by their English.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

from keruta.domain.messages import CATALOGUE
from keruta.settings_view import meanings
from keruta.translations import LOCALE

ADMIN = Path(__file__).parents[1] / "admin"
JAPANESE = LOCALE / "ja" / "LC_MESSAGES" / "keruta.po"
METHODS = [("**.py", "python"), ("**.html", "jinja2.ext:babel_extract")]
KEYWORDS = {"_": None, "gettext": None, "marked": None, "ngettext": (1, 2)}

HEADER = b"""# Japanese of keruta. A context is a message's code; terms follow docs/glossary.md.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Language: ja\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"

"""


def wanted() -> Iterator[tuple[str | tuple[str, ...], str | None, str]]:
    """Return every text with its context (a message's code) and where it is."""
    options = {"**.html": {"trimmed": "true"}}
    for file, _, message, _, _ in extract_from_dir(ADMIN, METHODS, options, keywords=KEYWORDS):
        yield message, None, file
    for meaning in meanings().values():
        yield meaning, None, "keruta/settings.py"
    for code, english in CATALOGUE.items():
        yield english, code, "keruta/domain/messages/texts"


def japanese() -> Catalog:
    with JAPANESE.open("rb") as file:
        return read_po(file, locale="ja")


def main() -> None:
    known, made = japanese(), Catalog(locale="ja", charset="utf-8")
    for message, context, file in wanted():
        identity = message[0] if isinstance(message, tuple) else message
        before = known.get(identity, context)
        made.add(message, before.string if before is not None else None, locations=[(file, 0)], context=context)
    with JAPANESE.open("wb") as file:
        file.write(HEADER)
        write_po(file, made, width=120, sort_output=True, no_location=True, omit_header=True)
    missing = [message.id for message in made if message.id and not _told(message.string)]
    print(f"{len(made)} texts, {len(missing)} without Japanese")
    for one in missing:
        print(f"  {one}")


def _told(string: object) -> bool:
    return all(string) if isinstance(string, tuple) else bool(string)


if __name__ == "__main__":
    main()
