"""Load and save the fuzzer's inputs: per target a JSON list of strings, one input per line, one byte per character."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

HOME = Path(__file__).parent / "corpus"
BUDGET = 18 * 1024
"""Largest size of a target's file in bytes; all files together then stay far below 300 kB."""


def load(target: str) -> list[bytes]:
    """Return the saved inputs of a target."""
    path = HOME / f"{target}.json"
    found: list[str] = json.loads(path.read_text("utf-8")) if path.exists() else []
    return [one.encode("latin-1") for one in found]


def save(target: str, inputs: Iterable[bytes]) -> int:
    """Save inputs, the shortest first, until :data:`BUDGET` is used up; return how many were saved."""
    kept = list(_fitting(sorted(set(inputs), key=lambda one: (len(one), one))))
    HOME.mkdir(exist_ok=True)
    (HOME / f"{target}.json").write_text("[\n" + ",\n".join(kept) + "\n]\n", "utf-8")
    return len(kept)


def _fitting(inputs: Iterable[bytes]) -> Iterator[str]:
    room = BUDGET
    for one in inputs:
        written = json.dumps(one.decode("latin-1"))
        room -= len(written) + 2
        if room < 0:
            return
        yield written
