"""Compile the message catalogues with Babel: ``python -m tools.catalogues`` writes one ``.mo`` file a language.

``--check`` writes nothing and fails if a ``.mo`` file does not hold the messages of the ``.po`` files beside it. The
``.mo`` files are part of the repository and of the wheel, so that only a change of a ``.po`` file needs this tool.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import PoFileError, PoFileParser

from lora_tui.i18n import DOMAIN, LANGUAGES, catalogue


class CatalogueError(Exception):
    """A ``.po`` file cannot be used. ``str()`` names the file and what is wrong."""


class _Catalogue(Catalog):
    """The messages of one language. Each key occurs once and has a text; the header is that of the ``.po`` file.

    Babel itself would merge messages with the same key, read a string without its closing quote as an empty one, and
    write the time of the compilation into the header.
    """

    header = ""

    def __setitem__(self, id: Any, message: Message) -> None:
        if id in self or (id == "" and self.header):
            raise CatalogueError(f"{id!r} is there twice")
        if not message.string:
            raise CatalogueError(f"{id!r} has no text")
        if id == "":
            self.header = str(message.string)
        super().__setitem__(id, message)

    def __iter__(self) -> Iterator[Message]:
        messages = super().__iter__()
        next(messages)
        yield Message("", self.header)
        yield from messages


def parts(lang: str) -> list[Path]:
    """Return the ``.po`` files of a language, the one with the header first, since it declares the plural forms."""
    files = catalogue(lang).parent.glob("*.po")
    return sorted(files, key=lambda part: (part.stem != DOMAIN, part.name))


def read(files: Sequence[Path]) -> Catalog:
    """Return the messages of all parts of a catalogue.

    Raises CatalogueError for a file that is not a catalogue, OSError for one that cannot be read.
    """
    found = _Catalogue()
    parser = PoFileParser(found, abort_invalid=True)
    for part in files:
        try:
            parser.parse(part.read_text(encoding="utf-8").splitlines())
        except PoFileError as error:
            # Babel counts lines from 0 and puts that number at the end of its message.
            reason = str(error).rpartition(" on ")[0]
            raise CatalogueError(f"{part.name}: line {error.lineno + 1}: {reason}") from error
        except (CatalogueError, ValueError) as error:
            raise CatalogueError(f"{part.name}: {error}") from error
    return found


def messages(found: Catalog) -> dict[str, tuple[str, ...]]:
    """Return the forms of every message by key, without the header; a message without plural has one form."""
    out: dict[str, tuple[str, ...]] = {}
    for message in found:
        if message.id:
            key = message.id if isinstance(message.id, str) else message.id[0]
            out[key] = (message.string,) if isinstance(message.string, str) else tuple(message.string or ())
    return out


def compiled(found: Catalog) -> bytes:
    """Return the bytes of the ``.mo`` file; the same messages always give the same bytes."""
    out = BytesIO()
    write_mo(out, found)
    return out.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """Compile or check all catalogues. Return 0, or 1 after a line on stderr for each catalogue that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.catalogues", description="compile the message catalogues")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a .mo is not what its .po say")
    options = parser.parse_args(argv)
    wrong = 0
    for lang in LANGUAGES:
        target = catalogue(lang)
        try:
            found = read(parts(lang))
        except (OSError, CatalogueError) as error:
            print(f"{target.parent}: {error}", file=sys.stderr)
            wrong = 1
            continue
        if not options.check:
            target.write_bytes(compiled(found))
        elif not _holds(target, found):
            print(f"{target} is not what its .po files say; run python -m tools.catalogues", file=sys.stderr)
            wrong = 1
    return wrong


def _holds(target: Path, found: Catalog) -> bool:
    """Return whether the compiled catalogue exists and has these messages, whatever version of Babel wrote it."""
    try:
        with target.open("rb") as file:
            return messages(read_mo(file)) == messages(found)
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
