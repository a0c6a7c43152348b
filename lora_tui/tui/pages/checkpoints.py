"""The checkpoints page: which checkpoint to take, and all of them with their evaluation loss, size and time."""

from __future__ import annotations

from lora_tui.text.cells import wrap
from lora_tui.text.numbers import fixed4
from lora_tui.text.sanitize import clean
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, fill, width_of
from lora_tui.wording.sentences import checkpoint_advice

_ADVICE_ROLES = {"take": "text|bold", "note": "muted", "warn": "rating-fair", "command": "text"}
"""Kind of advice -> the role it is drawn in."""


def checkpoint_lines(state: AppState, view: RunView, width: int) -> list[Line]:
    """Return the advice on which checkpoint to take, then a table of all checkpoints, the newest first."""
    words = state.words
    items = sorted(view.run.checkpoints(), key=lambda item: item.step, reverse=True)
    out = [
        [(part, _ADVICE_ROLES[advice.kind])]
        for advice in checkpoint_advice(words, view.judgement.choice, view.status.live)
        for part in wrap(advice.text, max(20, width))
    ]
    if not items:
        return [[(words.t("checkpoints.none"), "muted")], *([[], *out] if out else [])]
    if out:
        out.append([])
    wide = max(width_of([(item.path, "")]) for item in items)
    head: Line = [*fill([("  " + words.t("checkpoints.path"), "faint")], wide + 4),
                  *fill([(words.t("checkpoints.eval_loss"), "faint")], 12),
                  *fill([(words.t("checkpoints.size"), "faint")], 12),
                  (words.t("checkpoints.when"), "faint")]  # fmt: skip
    out.append(head)
    times = [words.clock(item.mtime, view.now) if item.mtime else "–" for item in items]
    clock_wide = max(width_of([(text, "")]) for text in times) + 3
    for item, when in zip(items, times, strict=True):
        mark, role = ("★ ", "rating-excellent") if item.best else ("  ", "text")
        note, note_role = "", "muted"
        name_role = "text|bold" if item.best else "text" if item.complete and not item.foreign else "faint"
        if item.best:
            note, note_role = words.t("checkpoints.best"), "rating-excellent"
        if item.foreign:
            note = words.t("checkpoints.foreign")
        if not item.complete:
            note, note_role = words.t("checkpoints.incomplete"), "rating-fair"
        out.append([
            (mark, role),
            *fill([(clean(item.path), name_role)], wide + 2),
            *fill([(fixed4(item.eval_loss) if item.eval_loss is not None else "–", "text")], 12),
            *fill([(words.size(item.size), "muted")], 12),
            *fill([(when, "muted")], clock_wide),
            (note, note_role),
        ])  # fmt: skip
    return out
