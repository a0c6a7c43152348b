"""Draw the packages of lora-tui in layers, and count modules and imports: ``make architecture``.

    python -m tools.architecture [--check]

The layers come from the import contract in ``pyproject.toml``, the arrows from the imports themselves (read by grimp,
the library that import-linter uses), the text in each box from the docstring of its package. The picture is
``docs/architecture.svg``; ``--check`` writes nothing and fails if that file is outdated. Arrows are drawn between
neighbouring layers only; the last line of each box names every package that it imports.
"""

from __future__ import annotations

import argparse
import ast
import sys
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import grimp

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"
PACKAGE = "lora_tui"

WIDTH = 1160
"""Width of the picture, in SVG user units."""
BOX_HEIGHT = 66
LAYER_GAP = 24
BOX_GAP = 14
MARGIN = 20
CHARACTER = 6.1
"""Average width of a character of the small text, in SVG user units."""


class Structure(NamedTuple):
    """The packages of the product and the imports between them."""

    layers: Sequence[Sequence[str]]
    """Package names, the highest layer first."""
    words: Mapping[str, str]
    """Package name -> the first sentence of its docstring."""
    arrows: frozenset[tuple[str, str]]
    """Pairs (importer, imported) of package names; imports for the type checker alone are included."""
    modules: int
    longest: tuple[str, int]
    """Path of the longest file, relative to the checkout, and its number of lines."""


def read_structure() -> Structure:
    """Return the structure of the checkout. Raises ValueError if a package is in no layer."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (named,) = (contract["layers"] for contract in contracts if contract["name"] == "Layers")
    layers = [[name.strip() for name in layer.replace(":", "|").split("|")] for layer in named]
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=False, cache_dir=None)
    packages = {name for layer in layers for name in layer}
    if missing := _packages() - packages:
        raise ValueError(f"in no layer of pyproject.toml: {', '.join(sorted(missing))}")
    arrows: set[tuple[str, str]] = set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = _package_of(module), _package_of(imported)
            if pair[0] != pair[1] and packages.issuperset(pair):
                arrows.add(pair)
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in files}
    longest = max(files, key=lambda path: lines[path])
    words = {name: _sentence(ROOT / PACKAGE / name / "__init__.py") for name in packages}
    return Structure(layers, words, frozenset(arrows), len(files), (str(longest.relative_to(ROOT)), lines[longest]))


def _packages() -> set[str]:
    return {path.parent.name for path in (ROOT / PACKAGE).glob("*/__init__.py")}


def _package_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ").partition(". ")[0].rstrip(".")


def upward(structure: Structure) -> list[tuple[str, str]]:
    """Return the arrows that lead to a higher or the same layer."""
    level = {name: index for index, layer in enumerate(structure.layers) for name in layer}
    return sorted(pair for pair in structure.arrows if level[pair[0]] >= level[pair[1]])


def draw(structure: Structure) -> str:
    """Return the picture as SVG."""
    height = 2 * MARGIN + len(structure.layers) * (BOX_HEIGHT + LAYER_GAP) - LAYER_GAP
    boxes: dict[str, tuple[float, float, float]] = {}
    """Package -> left edge, top edge, width."""
    for index, layer in enumerate(structure.layers):
        width = min(720.0, (WIDTH - 2 * MARGIN - BOX_GAP * (len(layer) - 1)) / len(layer))
        left = (WIDTH - width * len(layer) - BOX_GAP * (len(layer) - 1)) / 2
        for place, name in enumerate(layer):
            boxes[name] = (left + place * (width + BOX_GAP), MARGIN + index * (BOX_HEIGHT + LAYER_GAP), width)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" font-family="ui-sans-serif, system-ui, sans-serif">',
        "<title>The packages of lora-tui: each imports only from those below it</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#8a94a6"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for upper, lower in pairwise(structure.layers):
        out += [_arrow(boxes[a], boxes[b]) for a in upper for b in lower if (a, b) in structure.arrows]
    names = [name for layer in structure.layers for name in layer]
    for name in names:
        imported = [other for other in names if (name, other) in structure.arrows]
        out.append(_box(name, structure.words[name], imported, *boxes[name]))
    return "\n".join([*out, "</svg>"]) + "\n"


def _arrow(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    # The ends lean towards each other, so that several arrows of one box do not fall together.
    x1, x2 = start[0] + start[2] / 2, end[0] + end[2] / 2
    lean = max(-start[2] / 3, min(start[2] / 3, (x2 - x1) / 4))
    other = max(-end[2] / 3, min(end[2] / 3, (x1 - x2) / 4))
    x1, x2, y1, y2 = x1 + lean, x2 + other, start[1] + BOX_HEIGHT, end[1] - 1
    bend = (y2 - y1) / 2
    return (
        f'<path d="M{x1:.0f} {y1:.0f} C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}" '
        'fill="none" stroke="#8a94a6" stroke-width="1.2" marker-end="url(#tip)"/>'
    )


def _box(name: str, words: str, imported: Sequence[str], left: float, top: float, width: float) -> str:
    fits = int((width - 16) / CHARACTER)
    lines = [(line, "#49556b") for line in textwrap.wrap(words, fits, max_lines=2, placeholder=" …")]
    uses = f"imports {', '.join(imported)}" if imported else "imports no other package"
    lines += [(line, "#7a879c") for line in textwrap.wrap(uses, fits, max_lines=2, placeholder=" …")]
    middle = f"{left + width / 2:.0f}"
    text = "".join(
        f'<text x="{middle}" y="{top + 32 + 13 * index:.0f}" font-size="10.5" fill="{colour}" text-anchor="middle">'
        f"{escape(line)}</text>"
        for index, (line, colour) in enumerate(lines)
    )
    return (
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{BOX_HEIGHT}" rx="6" fill="#f2f6fc" '
        'stroke="#5b7db1"/>'
        f'<text x="{middle}" y="{top + 17:.0f}" font-size="14" font-weight="600" fill="#16325c" text-anchor="middle">'
        f"{escape(name)}</text>{text}"
    )


def main() -> int:
    """Draw or check the picture, print the counts; return 1 for an upward arrow or an outdated picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the picture is outdated")
    check = parser.parse_args().check
    structure = read_structure()
    back = upward(structure)
    longest, lines = structure.longest
    print(
        f"{structure.modules} modules in {len(structure.words)} packages on {len(structure.layers)} layers, "
        f"{len(structure.arrows)} arrows, {len(back)} of them upward; longest file: {longest}, {lines} lines"
    )
    for importer, imported in back:
        print(f"upward: {importer} -> {imported}", file=sys.stderr)
    picture = draw(structure)
    if not check:
        PICTURE.write_text(picture, encoding="utf-8")
    elif not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != picture:
        print("docs/architecture.svg is outdated: run make architecture", file=sys.stderr)
        return 1
    return 1 if back else 0


if __name__ == "__main__":
    sys.exit(main())
