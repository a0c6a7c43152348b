"""Compiles the catalogues: ``python -m lora_tui.i18n.compile`` writes one ``.mo`` a language.

``--check`` writes nothing and fails if a ``.mo`` does not hold what the ``.po`` files beside it say. The formats are
those of GNU gettext (manual, "The Format of GNU MO Files"); of ``.po`` files it knows comments, msgid, msgid_plural,
msgstr and msgstr[n].
"""

from __future__ import annotations

import argparse
import ast
import re
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from lora_tui.i18n import LANGUAGES, catalogue, sources

_MAGIC = 0x950412DE
_LINE = re.compile(r'^(msgid_plural|msgid|msgstr(?:\[(\d+)\])?)?\s*(".*")$')
Messages = dict[str, tuple[str, ...]]
"""msgid -> its forms; the second of two msgids (plural) is the key itself, as in all our catalogues."""


class CatalogueError(Exception):
    """A ``.po`` file cannot be used. ``str()`` names the line."""


def parse_po(text: str) -> tuple[Messages, frozenset[str]]:
    """The messages of a catalogue and those msgids that have a plural. Raises CatalogueError."""
    messages: Messages = {}
    plurals: set[str] = set()
    key: str | None = None
    forms: dict[int, str] = {}
    field = ""
    index = 0

    def flush(line: int) -> None:
        if key is None:
            return
        if key in messages:
            raise CatalogueError(f"line {line}: {key!r} is there twice")
        if not forms:
            raise CatalogueError(f"line {line}: {key!r} has no msgstr")
        messages[key] = tuple(forms[number] for number in sorted(forms))

    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise CatalogueError(f"line {number}: not understood: {line[:60]}")
        word, form, quoted = match.groups()
        try:
            value = ast.literal_eval(quoted)
        except (SyntaxError, ValueError) as error:
            raise CatalogueError(f"line {number}: not a quoted string") from error
        if word == "msgid":
            flush(number)
            key, forms, field = value, {}, "msgid"
        elif word == "msgid_plural":
            if key is None:
                raise CatalogueError(f"line {number}: msgid_plural without msgid")
            plurals.add(key)
            field = "plural"
        elif word is not None:
            field, index = "msgstr", int(form or 0)
            forms[index] = value
        elif field == "msgid" and key is not None:
            key += value
        elif field == "msgstr":
            forms[index] += value
        elif field != "plural":
            raise CatalogueError(f"line {number}: a string without msgid")
    flush(len(text.splitlines()))
    return messages, frozenset(plurals)


def compile_mo(messages: Messages, plurals: frozenset[str]) -> bytes:
    """The bytes of a ``.mo`` file; the same messages always give the same bytes."""
    pairs = sorted(
        ((f"{key}\0{key}" if key in plurals else key).encode(), "\0".join(forms).encode())
        for key, forms in messages.items()
    )
    start = 7 * 4 + 16 * len(pairs)
    ids = b"".join(key + b"\0" for key, _ in pairs)
    id_table, text_table = b"", b""
    id_at, text_at = start, start + len(ids)
    for key, text in pairs:
        id_table += struct.pack("<II", len(key), id_at)
        text_table += struct.pack("<II", len(text), text_at)
        id_at += len(key) + 1
        text_at += len(text) + 1
    header = struct.pack("<7I", _MAGIC, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, start)
    return header + id_table + text_table + ids + b"".join(text + b"\0" for _, text in pairs)


def merged(parts: Iterable[Path]) -> tuple[Messages, frozenset[str]]:
    """The messages of all parts of a catalogue, and those that have a plural. Raises CatalogueError, OSError."""
    messages: Messages = {}
    plurals: frozenset[str] = frozenset()
    for part in parts:
        try:
            found, plural = parse_po(part.read_text(encoding="utf-8"))
        except CatalogueError as error:
            raise CatalogueError(f"{part.name}: {error}") from error
        twice = messages.keys() & found.keys()
        if twice:
            raise CatalogueError(f"{part.name}: {min(twice)!r} is in another part too")
        messages.update(found)
        plurals |= plural
    return messages, plurals


def compiled(parts: Iterable[Path]) -> bytes:
    """What the ``.mo`` beside these ``.po`` files should hold. Raises CatalogueError, OSError."""
    return compile_mo(*merged(parts))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 with a line on stderr for each catalogue that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m lora_tui.i18n.compile", description="compile the catalogues")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a .mo is not what its .po says")
    options = parser.parse_args(argv)
    wrong = 0
    for lang in LANGUAGES:
        target = catalogue(lang)
        try:
            data = compiled(sources(lang))
        except (OSError, CatalogueError) as error:
            print(f"{target.parent}: {error}", file=sys.stderr)
            wrong = 1
            continue
        if not options.check:
            target.write_bytes(data)
        elif not target.exists() or target.read_bytes() != data:
            print(
                f"{target} is not what its .po files say; run python -m lora_tui.i18n.compile",
                file=sys.stderr,
            )
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
