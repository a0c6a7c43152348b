"""The page of what lora-tui survives names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.terminal import repository_root

PAGE = repository_root() / "docs" / "survives.md"
NAMED = re.compile(r"(?P<file>(?:tests/[\w/]+\.py|…)?)(?P<rest>::\w+(?:::\w+)?)|(?P<alone>tests/[\w/]+\.py)(?!::)")


def named() -> list[tuple[str, str]]:
    """Pairs of file and test; a name without a file, or with ``…``, is in the file of the name before it."""
    found: list[tuple[str, str]] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        file = ""
        for match in NAMED.finditer(line.rpartition(" | ")[2] if line.startswith("| ") else ""):
            file = match["alone"] or match["file"].replace("…", "") or file
            found.append((file, match["rest"] or ""))
    return found


def test_there_are_many() -> None:
    assert len(named()) > 60


@pytest.mark.parametrize(("file", "test"), sorted(set(named())))
def test_it_is_there(file: str, test: str) -> None:
    text = Path(repository_root() / file).read_text(encoding="utf-8")
    for name in filter(None, test.split("::")):
        assert re.search(rf"^\s*(?:async )?(?:def|class) {name}\b", text, re.MULTILINE), (file, name)
