"""The results pane of the overview: scores of evaluation and prediction, of the run itself and of jobs linked to it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lora_tui.runs.run import ResultSet, Run
from lora_tui.text.cells import cell_width
from lora_tui.text.sanitize import clean
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.panes.symbols import format_cell, rating_span, short_rating
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, box, cut, fill, joined, spread, width_of

if TYPE_CHECKING:
    from lora_tui.analysis.comparison.previous_run import Since

SPLIT_ORDER = ("predict", "eval", "train", "all")
"""The kinds of results files, the most informative about the model first."""
SCORE_ORDER = (
    "bleu-4", "rouge-1", "rouge-2", "rouge-l", "loss", "perplexity", "accuracy",
    "rewards/accuracies", "rewards/margins",
)  # fmt: skip
"""Scores that are listed first, in this order, by their names without the split."""
NOT_SCORES = ("runtime", "per_second", "preparation_time", "epoch", "total_flos", "num_input_tokens_seen")
"""Endings of the keys that measure speed or cost."""
DETAILED_SCORES = ("logits/", "logps/", "rewards/chosen", "rewards/rejected")
"""Beginnings of the scores that only the results page shows."""


class ResultsPane(Pane):
    """The most important scores with their ratings. The layout gives it a place as soon as there is a results file."""

    def draw(self, width: int, height: int) -> list[Line]:
        view = self.state.current()
        if view is None:
            return []
        sets = headline_sets(view)
        rows = summary_lines(self.state, view, width - 4)
        title: Line = [(self.state.words.t("results.title"), "title")]
        note: Line = []
        if sets:
            owner, result = sets[0]
            name = clean(result.file) if owner is view.run else clean(f"{owner.name}/{result.file}")
            when = self.state.words.clock(result.mtime, view.now)
            note = joined([[(when, "muted")], [(name, "faint")]], width // 2 - 2, ("  ", "border"))
        return box(rows, width, height, title, note)


def result_sets(view: RunView) -> list[tuple[Run, ResultSet]]:
    """Return every results file with values and the run it belongs to, in :data:`SPLIT_ORDER`.

    all_results.json repeats the other files and is left out if any of them exists.
    """
    out: list[tuple[Run, ResultSet]] = []
    for split in SPLIT_ORDER:
        for run in (view.run, *view.run.linked):
            result = run.results().get(split)
            if result is not None and result.values and not (split == "all" and out):
                out.append((run, result))
    return out


def split_of(result: ResultSet) -> str:
    """Return predict, eval, train or all, from the name of the results file."""
    return result.file.rsplit("/", 1)[-1].split("_results")[0].split(".")[0]


def summary_height(state: AppState, view: RunView) -> int:
    """Return the number of lines that the pane has to show, 0 if nothing was evaluated."""
    lines = sum(len(_headline_keys(result)) + 1 for _, result in headline_sets(view))
    return lines + 1 if lines and state.cached(previous_run_changes, view) is not None else lines


def previous_run_changes(state: AppState, view: RunView) -> Since | None:
    """Return what changed since the previous run of the same model, data and stage, or None."""
    if not headline_sets(view):
        return None
    # Imported only if there are results, to keep the first frame of other runs fast.
    from lora_tui.analysis.comparison.previous_run import since_previous

    return since_previous(view.run, state.sibling_index.siblings(view.run), view.now)


def headline_sets(view: RunView) -> list[tuple[Run, ResultSet]]:
    """Return the newest results of prediction and of evaluation, each with the run it belongs to."""
    out: list[tuple[Run, ResultSet]] = []
    for split in ("predict", "eval"):
        sets = [item for item in result_sets(view) if split_of(item[1]) == split]
        if sets:
            out.append(max(sets, key=lambda item: (not item[1].stale, item[0] is view.run, item[1].mtime)))
    return out


def _headline_keys(result: ResultSet) -> list[str]:
    """Return the keys of at most six scores that are worth a line on the overview."""
    prefix = split_of(result) + "_"
    return [key for key in score_keys(result) if not key.removeprefix(prefix).startswith(DETAILED_SCORES)][:6]


def score_keys(result: ResultSet) -> list[str]:
    """Return the keys of a results file that measure quality, not speed, in :data:`SCORE_ORDER`."""
    prefix = split_of(result) + "_"
    keys = [key for key in result.values if not key.removeprefix(prefix).endswith(NOT_SCORES)]
    return sorted(keys, key=lambda key: (_score_rank(key.removeprefix(prefix)), key))


def _score_rank(name: str) -> int:
    return SCORE_ORDER.index(name) if name in SCORE_ORDER else len(SCORE_ORDER)


def summary_lines(state: AppState, view: RunView, width: int) -> list[Line]:
    """Return the scores with their ratings, the sample count behind them and the run they are compared with."""
    out: list[Line] = []
    sets = headline_sets(view)
    names = [key.removeprefix(split_of(result) + "_") for _, result in sets for key in _headline_keys(result)]
    # Where prediction and evaluation have the same scores, the line below each group names its file.
    ambiguous = len(set(names)) < len(names)
    for _, result in sets:
        out.extend(score_line(state, view, result, key, width) for key in _headline_keys(result))
        if result.stale:
            out.append([("! " + state.words.t("results.stale"), "rating-fair")])
        else:
            line = samples_line(state, view, result)
            out.append([(clean(result.file) + " · ", "faint"), *line] if ambiguous else line)
    out.append(cut(previous_run_line(state, view, "results.previous.short", "results.previous.short.unsure"), width))
    return [line for line in out if line]


def score_line(state: AppState, view: RunView, result: ResultSet, key: str, width: int) -> Line:
    """Return name, value and rating of a score, and at the right its change against the previous run."""
    value = result.values[key]
    left: Line = fill([(state.words.metric(key), "muted")], min(22, max(11, width // 4)))
    left.append((format_cell(key, value).rjust(9), "value"))
    right = _change_spans(state, view, result, key)
    room = width - width_of(left) - width_of(right) - 6
    if not right or room < 0:
        return left + rating_spans(state, view, result, key, "text")
    left += rating_spans(state, view, result, key, "text", room)
    return spread(left, right, width)


def _change_spans(state: AppState, view: RunView, result: ResultSet, key: str) -> Line:
    found = state.cached(previous_run_changes, view)
    change = found.changes.get(key) if found is not None else None
    if found is None or change is None or found.results.get(split_of(result)) is not result:
        return []
    difference = ("-" if change.difference < 0 else "+") + format_cell(key, abs(change.difference))
    if change.outcome == "changed":
        return [(difference, "faint")]
    key, role = _OUTCOME_WORDS[change.outcome]
    return [(difference, role), (" " + state.words.t(key) + ("" if found.sure else "?"), role)]


_OUTCOME_WORDS = {
    "better": ("results.previous.better", "rating-good"),
    "worse": ("results.previous.worse", "rating-poor"),
    "same": ("results.previous.same", "faint"),
}
"""Outcome of the comparison with the previous run -> catalogue key and role."""


def previous_run_line(state: AppState, view: RunView, sure: str, unsure: str) -> Line:
    """Return the line that names the previous run that the differences refer to, or an empty line without one.

    ``sure`` and ``unsure`` are the catalogue keys for where both runs were, or may not have been, measured on the same
    samples.
    """
    found = state.cached(previous_run_changes, view)
    if found is None:
        return []
    from lora_tui.analysis.similarity import name_beside

    return [(state.words.t(sure if found.sure else unsure, name=clean(name_beside(found.run, view.run))), "faint")]


def rating_spans(state: AppState, view: RunView, result: ResultSet, key: str, role: str, room: int = 1000) -> Line:
    """Return symbol and words of a rating; an empty line if the file is stale or the rating is of another value.

    Words wider than ``room`` cells are cut to a clause that fits, or left out.
    """
    rating = view.judgement.ratings.get(key)
    if rating is None or result.stale or rating.value != result.values[key]:
        return []
    mark, color = rating_span(rating)
    text = short_rating(state.words, rating, room)
    text = text if cell_width(text) <= room else ""
    return [("  ", "text"), (mark, color), (" " * (3 - len(mark)), "text"), (text, role)]


def samples_line(state: AppState, view: RunView, result: ResultSet) -> Line:
    """Return the runtime and what follows from it: the number of samples or its rating, and the batch size."""
    words = state.words
    prefix = split_of(result) + "_"
    runtime = result.values.get(prefix + "runtime")
    rate = result.values.get(prefix + "samples_per_second")
    steps = result.values.get(prefix + "steps_per_second")
    parts = []
    if runtime:
        parts.append(words.duration(runtime))
    if runtime and rate and math.isfinite(runtime * rate):
        rating = view.judgement.ratings.get(prefix + "runtime")
        if rating is not None and rating.value == runtime:
            parts.append(words.rating(rating))
        else:
            parts.append(words.n("results.samples", round(runtime * rate)))
    batch = view.judgement.ratings.get(prefix + "steps_per_second")
    if batch is not None and batch.value == steps:
        parts.append(words.rating(batch))
    elif rate and steps and math.isfinite(rate / steps):
        parts.append(words.t("results.batch", n=round(rate / steps)))
    return [(" · ".join(parts), "faint")] if parts else []
