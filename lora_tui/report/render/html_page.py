"""A page that stands alone: one HTML file without a single request, light and dark, printable.

Markup is a type of its own (:data:`Html`), so that the type checker sees where text was not escaped; :func:`esc` is
the only way from one to the other. What the page may do is bound once more by its content security policy: no address
can be fetched, and no script runs but the one of this module, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from typing import NewType

from lora_tui.text.sanitize import clean

Html = NewType("Html", str)
"""Finished markup."""

_LIGHT = {
    "page": "#fbfbfa", "card": "#ffffff", "text": "#23272e", "muted": "#555e6b", "faint": "#7c8592",
    "line": "#d5d9e0", "grid": "#e4e7ec", "link": "#0b5cc9", "mark": "#c4203c",
    "excellent": "#087a68", "good": "#2b7a1b", "fair": "#8f6000", "poor": "#c4203c", "none": "#555e6b",
    "s1": "#0b5cc9", "s2": "#b25000", "s3": "#7a3fc2", "s4": "#0a7886",
    "s5": "#c4203c", "s6": "#2b7a1b", "s7": "#8f6000", "s8": "#a1357f",
}  # fmt: skip
_DARK = {
    "page": "#10131a", "card": "#171b25", "text": "#d7dbe6", "muted": "#98a1b5", "faint": "#7a8299",
    "line": "#343b4d", "grid": "#262c3b", "link": "#7cb7ff", "mark": "#ff7a90",
    "excellent": "#4fd6be", "good": "#86d16b", "fair": "#f5c451", "poor": "#ff6b7d", "none": "#98a1b5",
    "s1": "#7cb7ff", "s2": "#ffb454", "s3": "#c8a2ff", "s4": "#5fd0dc",
    "s5": "#ff7a90", "s6": "#86d16b", "s7": "#f5c451", "s8": "#f29ed2",
}  # fmt: skip
SERIES = 8
"""Colours for curves, ``s1`` to ``s8``."""

_STYLE = """
* { box-sizing: border-box }
body { margin: 0 auto; padding: 24px 20px 48px; max-width: 1080px; background: var(--page); color: var(--text);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "Noto Sans", "PingFang SC", "Microsoft YaHei",
  "Noto Sans CJK SC", sans-serif; overflow-wrap: break-word }
h1 { font-size: 24px; line-height: 1.3; margin: 0 0 4px } h2 { font-size: 18px; margin: 32px 0 8px }
h3 { font-size: 15px; margin: 20px 0 4px } p { margin: 6px 0 } ul { margin: 6px 0; padding-left: 22px }
.muted { color: var(--muted) } .faint { color: var(--faint) } .lead { font-size: 17px }
.num, code, pre { font-variant-numeric: tabular-nums }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Noto Sans Mono", "Noto Sans Mono CJK SC",
  monospace; font-size: 13px }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 10px 12px; overflow-x: auto;
  white-space: pre-wrap }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 16px; margin: 10px 0 }
.scroll { overflow-x: auto } .narrow { max-width: 420px }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); gap: 10px; margin: 14px 0 }
.tiles .card { margin: 0 } .columns .card { margin: 0 0 12px; break-inside: avoid } .tiles .head { font-weight: 600 }
.columns { columns: 2 420px; column-gap: 12px; margin: 24px 0 }
.columns h3 { margin-top: 0 } .columns tr:last-child td { border-bottom: 0 }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: 4px 12px 4px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--grid) }
th { color: var(--muted); font-weight: 600 } th.n, td.n { text-align: right; white-space: nowrap }
th.n + th:not(.n), td.n + td:not(.n) { padding-left: 8px } .keep { white-space: nowrap }
.excellent { color: var(--excellent) } .good { color: var(--good) } .fair { color: var(--fair) }
.poor { color: var(--poor) } .none { color: var(--none) } .win { font-weight: 700 }
.critical { border-left: 4px solid var(--poor) } .warning { border-left: 4px solid var(--fair) }
.info { border-left: 4px solid var(--link) } .well { border-left: 4px solid var(--good) }
figure { margin: 14px 0; break-inside: avoid } figcaption { font-weight: 600; margin-bottom: 2px }
svg.chart { display: block; width: 100%; height: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; touch-action: pan-y }
svg.chart text { fill: var(--muted); font-size: 12px; font-variant-numeric: tabular-nums }
svg.chart .grid { stroke: var(--grid) } svg.chart .axis { stroke: var(--line) }
svg.chart path { fill: none; stroke-width: 2; stroke-linejoin: round }
svg.chart path.raw { stroke-width: 1; opacity: .55 } svg.chart .at { stroke: var(--faint); stroke-dasharray: 2 3 }
svg.chart .nan { stroke: var(--mark); stroke-width: 1.5 } svg.chart .beyond { fill: var(--mark) }
svg.chart .here { stroke: var(--muted); visibility: hidden } svg.chart .end { font-weight: 700 }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; margin: 4px 0 0; color: var(--muted); font-size: 13px }
.legend svg { width: 28px; height: 10px; vertical-align: middle; margin-right: 6px }
.legend path { fill: none; stroke-width: 2 } .legend path.raw { stroke-width: 1; opacity: .55 }
#tip { position: fixed; z-index: 9; display: none; pointer-events: none; max-width: 420px; padding: 6px 10px;
  background: var(--card); border: 1px solid var(--line); border-radius: 6px; font-size: 13px;
  font-variant-numeric: tabular-nums; box-shadow: 0 2px 10px rgba(0, 0, 0, .25) }
#tip b { display: inline-block; width: 10px; height: 10px; border-radius: 5px; margin-right: 6px }
footer { margin-top: 40px; color: var(--faint); font-size: 13px }
@page { margin: 14mm }
@media print { body { max-width: none; padding: 0; font-size: 11pt } #tip { display: none !important }
  h2, h3 { break-after: avoid } tr, .card { break-inside: avoid } .scroll { overflow: visible } }
"""

# Shows, beside the pointer, the values of the points nearest to it. The texts go in as text, never as markup.
_SCRIPT = """
(function () {
  var tip = document.getElementById("tip");
  function show(number) {
    var size = Math.abs(number);
    if (number === Math.round(number) && size < 1e7) return String(number);
    if (size < 1e-3 || size >= 1e7) return number.toExponential(2);
    return String(Number(number.toPrecision(size >= 1e4 ? 7 : 5)));
  }
  function near(points, x) {
    var low = 0, high = points.length - 1;
    while (high - low > 1) {
      var middle = (low + high) >> 1;
      if (points[middle][0] < x) low = middle; else high = middle;
    }
    return x - points[low][0] < points[high][0] - x ? low : high;
  }
  document.querySelectorAll("svg.chart").forEach(function (chart) {
    var data = JSON.parse(chart.getAttribute("data-curves")), line = chart.querySelector(".here");
    var begin = data.left, width = data.width, from = data.from, to = data.to;
    function hide() { tip.style.display = "none"; line.style.visibility = "hidden"; }
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("pointermove", function (event) {
      var matrix = chart.getScreenCTM();
      var left = (event.clientX - matrix.e) / matrix.a;
      if (left < begin - 8 || left > begin + width + 8) return hide();
      var x = from + (left - begin) / width * (to - from), best = null;
      data.curves.forEach(function (curve) {
        if (!curve.points.length) return;
        var at = curve.points[near(curve.points, x)][0];
        if (best === null || Math.abs(at - x) < Math.abs(best - x)) best = at;
      });
      if (best === null) return hide();
      tip.textContent = "";
      var head = document.createElement("div");
      head.className = "muted";
      head.textContent = data.x + " " + show(best);
      tip.appendChild(head);
      data.curves.forEach(function (curve) {
        if (!curve.points.length) return;
        var point = curve.points[near(curve.points, best)];
        if (Math.abs(point[0] - best) > curve.reach) return;
        var row = document.createElement("div"), dot = document.createElement("b");
        dot.style.background = "var(--s" + curve.color + ")";
        row.appendChild(dot);
        row.appendChild(document.createTextNode(curve.name + "  " + show(point[1]) +
          (point[0] === best ? "" : "  (" + data.x + " " + show(point[0]) + ")")));
        tip.appendChild(row);
      });
      var place = begin + (best - from) / (to - from) * width;
      line.setAttribute("x1", place); line.setAttribute("x2", place); line.style.visibility = "visible";
      tip.style.display = "block";
      var right = event.clientX + 16, below = event.clientY + 16;
      if (right + tip.offsetWidth > window.innerWidth - 8) right = event.clientX - tip.offsetWidth - 16;
      if (below + tip.offsetHeight > window.innerHeight - 8) below = event.clientY - tip.offsetHeight - 16;
      tip.style.left = Math.max(4, right) + "px"; tip.style.top = Math.max(4, below) + "px";
    });
  });
})();
"""


def esc(text: str, limit: int | None = 1000) -> Html:
    """Any text as harmless markup: one line without control characters, nothing in it a tag or an attribute's end."""
    return Html(html.escape(clean(text, limit), quote=True))


def tag(name: str, content: Html, css: str = "") -> Html:
    """An element; ``css``: its classes, names of this module's style sheet."""
    return Html(f'<{name} class="{html.escape(css)}">{content}</{name}>' if css else f"<{name}>{content}</{name}>")


def join(parts: Iterable[Html], between: str = "") -> Html:
    """Markup one after the other, with a text between."""
    return Html(html.escape(between).join(parts))


def table(head: Sequence[Html], rows: Iterable[Sequence[Html]], numbers: Iterable[int] = ()) -> Html:
    """A table; ``numbers``: the columns to be set to the right. An empty ``head`` leaves the head row out."""
    right = frozenset(numbers)

    def row(cells: Sequence[Html], name: str) -> str:
        return "<tr>" + "".join(tag(name, cell, "n" if at in right else "") for at, cell in enumerate(cells)) + "</tr>"

    top = f"<thead>{row(head, 'th')}</thead>" if head else ""
    body = "".join(row(cells, "td") for cells in rows)
    return Html(f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>')


def page(title: str, body: Iterable[Html], lang: str, footer: str = "") -> str:
    """The whole file. ``lang`` is the language of its texts (en, zh)."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; base-uri 'none'"
    )
    content = "\n".join(body)
    end = f"<footer>{esc(footer)}</footer>\n" if footer else ""
    return (
        f'<!doctype html>\n<html lang="{"zh-CN" if lang == "zh" else "en"}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{esc(title)}</title>\n<style>\n{_palette()}{_STYLE}</style>\n</head>\n<body>\n{content}\n{end}"
        f'<div id="tip"></div>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n'
    )


def _palette() -> str:
    """The colours as variables: dark where the reader's system is, light on paper."""
    light, dark = ("; ".join(f"--{name}: {color}" for name, color in colors.items()) for colors in (_LIGHT, _DARK))
    strokes = "\n".join(f".s{n} {{ stroke: var(--s{n}) }} .f{n} {{ fill: var(--s{n}) !important }}"
                        for n in range(1, SERIES + 1))  # fmt: skip
    return (
        f":root {{ color-scheme: light; {light} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ color-scheme: dark; {dark} }} }}\n{strokes}\n"
    )
