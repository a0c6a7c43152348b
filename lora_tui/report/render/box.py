"""Render a report as a box for the terminal: training, metrics, configuration, the loss by steps, assessment.

Every line ends in the same column, so all terminals must agree on the width of every character. The emoji are among
those that Unicode makes two cells wide by themselves (East Asian Width W, no variation selector); all other widths are
those of :func:`lora_tui.text.cells.cell_width`. The ASCII form, for terminals that draw East Asian "ambiguous"
characters in two cells or have no such characters, contains only ASCII apart from words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lora_tui.i18n import Words
from lora_tui.report.document import Fact, Remark, Report, StepTable
from lora_tui.text.cells import cell_width, wrap
from lora_tui.text.sanitize import clean
from lora_tui.wording.values import append_sentence, capitalize

WIDTH = 64
"""Width of the box in terminal cells, borders included, unless a line needs more."""
MIN_WIDTH = 32
"""The box is never narrower than this, in terminal cells."""
_COLUMNS_PER_LINE = 3
"""The most columns of the table by steps in one line."""
_MAX_NOTE = 28
"""A longer note on how a value was derived, in terminal cells, is replaced by the word "derived"."""
_EMOJI = {"training": "📅", "metrics": "📊", "config": "🔧", "steps": "📈", "forecast": "⏳", "outcome": "🏁",
          "checkpoint": "💾", "assessment": "🎯"}  # fmt: skip
_OMITTED = frozenset({"loss_change", "eval_loss_change", "reward_change", "seen_at"})
"""Codes of facts that other parts of the box show as well."""
_ASCII = str.maketrans(
    {
        "×": "x", "÷": "/", "→": "->", "−": "-", "–": "-", "—": "-", "≈": "~", "±": "+/-", "…": "...", "·": "-",
        "“": '"', "”": '"', "‘": "'", "’": "'", "•": "*", "α": "alpha", "∞": "inf",
    }
)  # fmt: skip


@dataclass(frozen=True)
class _Frame:
    """The characters of the box: left, middle and right of its horizontal rules, its sides, and the bullet."""

    top: str
    rule: str
    bottom: str
    side: str
    bullet: str


_UNICODE = _Frame("╔═╗", "╠═╣", "╚═╝", "║", "•")
_PLAIN = _Frame("+=+", "+-+", "+=+", "|", "*")


def render(report: Report, words: Words, *, limit: int = 80, ascii_only: bool = False) -> str:
    """Return the box, at most ``limit`` cells wide; longer lines are wrapped and nothing is cut off."""
    frame = _PLAIN if ascii_only else _UNICODE
    lines = list(_lines(report, words, frame))
    if ascii_only:
        lines = [line.in_ascii(report.language) for line in lines]
    needed = max((line.wanted_width for line in lines), default=0)
    width = max(MIN_WIDTH, min(limit, max(WIDTH, needed + 4)))
    inner = width - 2
    out = [_rule(frame.top, inner), *_sides(frame, _centred(lines[0].text, inner), inner), _rule(frame.rule, inner)]
    for line in lines[1:]:
        out += _sides(frame, line.wrapped(inner - 4), inner, "  ")
    out.append(_rule(frame.bottom, inner))
    return "\n".join(out) + "\n"


@dataclass(frozen=True)
class _Line:
    """One line before it is wrapped."""

    text: str
    hang: int = 0
    """Cells by which the continuation lines are indented."""
    prose: bool = False
    """Whether the line is a sentence, which is wrapped instead of making the box wider."""
    pieces: tuple[str, ...] = ()
    """Texts to set in columns, as many in a line as fit."""

    @property
    def wanted_width(self) -> int:
        """Width in cells that the line asks for."""
        return 0 if self.prose else cell_width(self.text) + 2 if not self.pieces else 0

    def wrapped(self, width: int) -> list[str]:
        """Return the line wrapped to at most ``width`` cells."""
        if self.pieces:
            return _columns(self.pieces, width)
        return wrap(self.text, width, self.hang) if self.text else [""]

    def in_ascii(self, language: str) -> _Line:
        """Return the line with its symbols replaced by ASCII; in English nothing beyond ASCII remains."""
        pieces = tuple(_ascii(piece, language) for piece in self.pieces)
        return _Line(_ascii(self.text, language), self.hang, self.prose, pieces)


def _ascii(text: str, language: str) -> str:
    text = text.translate(_ASCII)
    return text.encode("ascii", "backslashreplace").decode("ascii") if language == "en" else text


def _lines(report: Report, words: Words, frame: _Frame) -> Iterable[_Line]:
    yield _Line(report.title, prose=True)
    if report.progress_text:
        yield _Line("")
        yield _Line(report.progress_text, prose=True)
    codes = ("training", "metrics", "config", "forecast", "checkpoint", "outcome")
    for code in codes[:3]:
        yield from _section(report, words, frame, code)
    if report.step_table is not None:
        yield from _title(frame, "steps", report.step_table.title)
        yield from _steps(report.step_table, words)
    for code in codes[3:]:
        yield from _section(report, words, frame, code)
    yield from _title(frame, "assessment", words.t("report.section.assessment"))
    for remark in report.assessment:
        yield _remark(remark, words, frame)
    if not any(remark.kind == "finding" for remark in report.assessment):
        yield _Line(f"{frame.bullet} {report.conclusion}", 2, prose=True)
    yield _Line("")


def _title(frame: _Frame, code: str, text: str) -> Iterable[_Line]:
    yield _Line("")
    yield _Line(f"[{text}]" if frame is _PLAIN else f"{_EMOJI[code]} {text}")


def _section(report: Report, words: Words, frame: _Frame, code: str) -> Iterable[_Line]:
    section = report.section(code)
    facts = [fact for fact in section.facts if fact.code not in _OMITTED] if section is not None else []
    if section is not None and facts:
        yield from _title(frame, code, section.title)
        for fact in facts:
            yield _fact(fact, words, frame)


def _fact(fact: Fact, words: Words, frame: _Frame) -> _Line:
    note = plain(fact.note)
    if fact.derived and cell_width(note) > _MAX_NOTE:
        # The longer formats of the report say how the value was derived.
        note = words.t("report.derived")
    value = words.t("report.with_note", text=fact.value, note=note) if note else fact.value
    text = words.t("report.labelled", label=fact.label, value=value)
    return _Line(f"{frame.bullet} {text}", 2)


def _remark(remark: Remark, words: Words, frame: _Frame) -> _Line:
    head = remark.head
    if remark.kind == "finding":
        head = f"[{words.t(f'severity.{remark.level}')}] {head}"
    text = words.t(
        "report.labelled", label=head, value=append_sentence(words, plain(remark.text), plain(remark.advice))
    )
    return _Line(f"{frame.bullet} {text}", 2, prose=True)


def _steps(table: StepTable, words: Words) -> Iterable[_Line]:
    digits = max(len(str(cell.step)) for cell in table.cells)
    yield _Line("", pieces=tuple(f"{table.step_label} {cell.step:>{digits}}: {cell.shown}" for cell in table.cells))
    if table.interval:
        # Without this line, a reader would wonder why the last column differs from the last loss.
        yield _Line(words.t("report.table.mean_short", n=table.interval), prose=True)
    evals = [cell for cell in table.cells if cell.eval_shown is not None]
    if table.eval_label and len(evals) > 1:
        yield _Line("")
        yield _Line(capitalize(words, table.eval_label))
        pieces = (f"{table.step_label} {cell.step:>{digits}}: {cell.eval_shown}" for cell in evals)
        yield _Line("", pieces=tuple(pieces))


def plain(text: str | None) -> str:
    """Return a sentence without the backticks that mark code, since a terminal shows no markup."""
    text = text or ""
    return clean(text.replace("`", "") if text.count("`") % 2 == 0 else text, None)


def _rule(shape: str, inner: int) -> str:
    return shape[0] + shape[1] * inner + shape[2]


def _sides(frame: _Frame, texts: Iterable[str], inner: int, indent: str = "") -> list[str]:
    lines = [indent + text for text in texts]
    return [f"{frame.side}{line}{' ' * (inner - cell_width(line))}{frame.side}" for line in lines]


def _centred(text: str, inner: int) -> list[str]:
    return [" " * ((inner - cell_width(part)) // 2) + part for part in wrap(text, inner - 2, 0)]


def _columns(pieces: Sequence[str], width: int) -> list[str]:
    """Return the pieces in columns with ``|`` between them."""
    widest = max(cell_width(piece) for piece in pieces)
    each = max(1, min(_COLUMNS_PER_LINE, (width + 3) // (widest + 3)))
    lines = []
    for start in range(0, len(pieces), each):
        part = pieces[start : start + each]
        padded = [piece + " " * (widest - cell_width(piece)) for piece in part[:-1]]
        lines += wrap(" | ".join([*padded, part[-1]]), width, 0)
    return lines
