"""Make a copy of the project whose functions contain their mutants."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.utils.format_utils import get_mutant_name

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "mutants"
FILES = (
    "lora_tui/analysis/ratings/training.py",
    "lora_tui/analysis/ratings/collector.py",
    "lora_tui/analysis/ratings/rate.py",
    "lora_tui/analysis/rating_rules.py",
    "lora_tui/runs/run_data.py",
    "lora_tui/runs/run.py",
    "lora_tui/analysis/ratings/siblings.py",
    "lora_tui/analysis/ratings/stages.py",
    "lora_tui/analysis/ratings/evaluation.py",
)


class Mutant(NamedTuple):
    """A mutant of a function."""

    lines: list[int]
    """Line numbers of the original statement in the copy; only a test that executes one can notice the mutant."""
    difference: str
    """The removed and the added lines, for people."""


def make() -> dict[str, Mutant]:
    """Make the copy in WORK; return all mutants by name."""
    shutil.rmtree(WORK, ignore_errors=True)
    for folder in ("lora_tui", "tests", "tools", "sample_runs"):
        shutil.copytree(ROOT / folder, WORK / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", WORK)
    out = {}
    for file in FILES:
        mutated = mutate_file_contents(file, _without_decorators((ROOT / file).read_text()))
        (WORK / file).write_text(mutated.code)
        functions = {
            node.name: node for node in ast.walk(ast.parse(mutated.code)) if isinstance(node, ast.FunctionDef)
        }  # fmt: skip
        text = mutated.code.splitlines()
        for name in mutated.mutant_names:
            original = functions[name.partition("__mutmut_")[0] + "__mutmut_orig"]
            out[get_mutant_name(Path(file), name)] = _compared(text, original, functions[name])
    return out


def _without_decorators(code: str) -> str:
    """Replace ``@property`` by ``name = property(get_name)``, since mutmut does not mutate decorated functions."""
    lines = code.splitlines()
    for node in sorted(ast.walk(ast.parse(code)), key=lambda node: -getattr(node, "lineno", 0)):
        if isinstance(node, ast.FunctionDef) and [ast.unparse(one) for one in node.decorator_list] == ["property"]:
            margin = " " * node.col_offset
            lines.insert(node.end_lineno or 0, f"{margin}{node.name} = property(get_{node.name})")
            lines[node.lineno - 1] = lines[node.lineno - 1].replace(f"def {node.name}(", f"def get_{node.name}(", 1)
            del lines[node.lineno - 2]
    return "\n".join([*lines, ""])


def _compared(text: Sequence[str], original: ast.FunctionDef, mutant: ast.FunctionDef) -> Mutant:
    """Return the mutant with the lines of the differing statement, or of the function's head if a default differs."""
    old = text[original.lineno : original.end_lineno]
    new = text[mutant.lineno : mutant.end_lineno]
    first = next((at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), 0)
    same = next((at for at, pair in enumerate(zip(old[::-1], new[::-1], strict=False)) if pair[0] != pair[1]), 0)
    begin, end = original.lineno + 1 + first, original.lineno + max(first + 1, len(old) - same)
    around = [
        node for node in ast.walk(original)
        if isinstance(node, ast.stmt) and node is not original and node.lineno <= begin <= end <= (node.end_lineno or 0)
    ]  # fmt: skip
    smallest = min(around, key=lambda node: (node.end_lineno or 0) - node.lineno, default=original)
    inner = [one.lineno for one in getattr(smallest, "body", ())]
    last = min(inner) - 1 if inner and begin < min(inner) else smallest.end_lineno or smallest.lineno
    shown = [f"  - {line.strip()}" for line in old[first : len(old) - same]]
    shown += [f"  + {line.strip()}" for line in new[first : len(new) - same]]
    return Mutant(list(range(smallest.lineno, max(last, smallest.lineno) + 1)), "\n".join(shown))
