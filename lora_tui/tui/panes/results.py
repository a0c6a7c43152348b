"""Results of evaluation and prediction: appear by themselves, own ones first, then those of linked jobs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from lora_tui.runs.run import ResultSet, Run
from lora_tui.text.cells import cell_width
from lora_tui.text.numbers import number
from lora_tui.text.sanitize import clean
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.panes.symbols import rating_span, shown, verdict
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, box, cut, fill, joined, spread, width_of, wrap

if TYPE_CHECKING:
    from lora_tui.analysis.comparison.previous_run import Since

_ORDER = ("predict", "eval", "train", "all")
_FIRST = (
    "bleu-4", "rouge-1", "rouge-2", "rouge-l", "loss", "perplexity", "accuracy",
    "rewards/accuracies", "rewards/margins",
)  # fmt: skip
_NO_SCORE = ("runtime", "per_second", "preparation_time", "epoch", "total_flos", "num_input_tokens_seen")
_DETAIL = ("logits/", "logps/", "rewards/chosen", "rewards/rejected")


class ResultRow(NamedTuple):
    """One metric of one results file."""

    metric: str
    value: float
    line: Line


class ResultsPane(Pane):
    """The scores alone, on the overview."""

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
    """Every results file with something to say, the most telling first; ``all`` repeats the others."""
    out: list[tuple[Run, ResultSet]] = []
    for split in _ORDER:
        for run in (view.run, *view.run.linked):
            result = run.results().get(split)
            if result is not None and result.values and not (split == "all" and out):
                out.append((run, result))
    return out


def split_of(result: ResultSet) -> str:
    """predict, eval, train or all, from the name of the file."""
    return result.file.rsplit("/", 1)[-1].split("_results")[0].split(".")[0]


def wanted(state: AppState, view: RunView) -> int:
    """Lines that the pane on the overview would like; 0 where nothing was evaluated."""
    lines = sum(len(_headline(result)) + 1 for _, result in headline_sets(view))
    return lines + 1 if lines and state.once(since, view) is not None else lines


def since(state: AppState, view: RunView) -> Since | None:
    """What changed against the run before this one of the same model, data and stage."""
    if not headline_sets(view):
        return None
    # Not before there are results: it is not needed for the first frame of others.
    from lora_tui.analysis.comparison.previous_run import since_previous

    return since_previous(view.run, state.sibling_index.siblings(view.run), view.now)


def headline_sets(view: RunView) -> list[tuple[Run, ResultSet]]:
    """The newest prediction and the newest evaluation."""
    out: list[tuple[Run, ResultSet]] = []
    for split in ("predict", "eval"):
        sets = [item for item in result_sets(view) if split_of(item[1]) == split]
        if sets:
            out.append(max(sets, key=lambda item: (not item[1].stale, item[0] is view.run, item[1].mtime)))
    return out


def _headline(result: ResultSet) -> list[str]:
    """The scores that are worth a line on the overview."""
    prefix = split_of(result) + "_"
    return [key for key in _scores(result) if not _plain(key, prefix).startswith(_DETAIL)][:6]


def _scores(result: ResultSet) -> list[str]:
    """Keys that judge quality, not speed."""
    prefix = split_of(result) + "_"
    keys = [key for key in result.values if not _plain(key, prefix).endswith(_NO_SCORE)]
    return sorted(keys, key=lambda key: (_rank(_plain(key, prefix)), key))


def _plain(key: str, prefix: str) -> str:
    return key.removeprefix(prefix)


def _rank(name: str) -> int:
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def summary_lines(state: AppState, view: RunView, width: int) -> list[Line]:
    """Scores with their badges, the sample count behind them, and what they are compared with."""
    out: list[Line] = []
    sets = headline_sets(view)
    # The same scores of a prediction and of an evaluation: the line below them says which.
    alike = len({_plain(key, split_of(result) + "_") for _, result in sets for key in _headline(result)}) < sum(
        len(_headline(result)) for _, result in sets
    )
    for _, result in sets:
        out.extend(score_line(state, view, result, key, width) for key in _headline(result))
        if result.stale:
            out.append([("! " + state.words.t("results.stale"), "rating-fair")])
        else:
            line = samples_line(state, view, result)
            out.append([(clean(result.file) + " · ", "faint"), *line] if alike else line)
    out.append(cut(_previous(state, view, "results.previous.short", "results.previous.short.unsure"), width))
    return [line for line in out if line]


def score_line(state: AppState, view: RunView, result: ResultSet, key: str, width: int) -> Line:
    """Name, value, badge, words; at the right what changed since the run before."""
    value = result.values[key]
    left: Line = fill([(state.words.metric(key), "muted")], min(22, max(11, width // 4)))
    left.append((shown(key, value).rjust(9), "value"))
    right = _change(state, view, result, key)
    room = width - width_of(left) - width_of(right) - 6
    if not right or room < 0:
        return left + badge(state, view, result, key, "text")
    left += badge(state, view, result, key, "text", room)
    return spread(left, right, width)


def _change(state: AppState, view: RunView, result: ResultSet, key: str) -> Line:
    found = state.once(since, view)
    change = found.changes.get(key) if found is not None else None
    if found is None or change is None or found.results.get(split_of(result)) is not result:
        return []
    difference = ("-" if change.difference < 0 else "+") + shown(key, abs(change.difference))
    if change.outcome == "changed":
        return [(difference, "faint")]
    key, role = _OUTCOMES[change.outcome]
    return [(difference, role), (" " + state.words.t(key) + ("" if found.sure else "?"), role)]


_OUTCOMES = {
    "better": ("results.previous.better", "rating-good"),
    "worse": ("results.previous.worse", "rating-poor"),
    "same": ("results.previous.same", "faint"),
}


def _previous(state: AppState, view: RunView, sure: str, unsure: str) -> Line:
    """Which run the differences are against; the keys of the words for it, where it is sure that both were measured
    on the same samples and where it is not."""
    found = state.once(since, view)
    if found is None:
        return []
    from lora_tui.analysis.similarity import name_beside

    return [(state.words.t(sure if found.sure else unsure, name=clean(name_beside(found.run, view.run))), "faint")]


def badge(state: AppState, view: RunView, result: ResultSet, key: str, role: str, room: int = 1000) -> Line:
    """Mark and words, if it is this file's number that was rated and not that of another job; of words that do not
    fit into ``room``, a clause that does, or none."""
    rating = view.judgement.ratings.get(key)
    if rating is None or result.stale or rating.value != result.values[key]:
        return []
    mark, color = rating_span(rating)
    text = verdict(state.words, rating, room)
    text = text if cell_width(text) <= room else ""
    return [("  ", "text"), (mark, color), (" " * (3 - len(mark)), "text"), (text, role)]


def samples_line(state: AppState, view: RunView, result: ResultSet) -> Line:
    """What follows from runtime and rate: samples, batch size, and the noise of a score over so many samples."""
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


def page_lines(state: AppState, view: RunView, width: int) -> list[Line]:
    """The results page: every file with every value."""
    out: list[Line] = []
    words = state.words
    for run, result in result_sets(view):
        if out:
            out.append([])
        name = clean(result.file) if run is view.run else clean(f"{run.name}/{result.file}")
        when = words.clock(result.mtime, view.now)
        head: Line = [(name, "title|bold"), ("  " + when, "muted")]
        if result.stale:
            head.append(("  ! " + words.t("results.stale"), "rating-fair"))
        out.append(head)
        done = _scores(result)
        for key in done:
            out.append([("  ", "text"), *score_line(state, view, result, key, width - 2)])
        for key in sorted(set(result.values) - set(done)):
            value = result.values[key]
            text = number(value)
            if key.endswith("_runtime"):
                text = words.duration(value) if value >= 10 else f"{number(value, 3)} {words.t('unit.s')}"
            line: Line = [("  ", "text"), *fill([(words.metric(key), "muted")], min(22, max(11, width // 4)))]
            line.append((text.rjust(9), "text"))
            out.append([*line, *badge(state, view, result, key, "muted")])
    previous = "".join(text for text, _ in _previous(state, view, "results.previous", "results.previous.unsure"))
    if previous:
        out += [[], *([(line, "muted")] for line in wrap(previous, width))]
    sample = view.run.predictions.sample if view.run.predictions is not None else None
    if sample:
        out += [[], [(words.t("predictions.title"), "title|bold")]]
        for key in ("prompt", "label", "predict"):
            if sample.get(key):
                out.append(spread([("  ", "text"), *fill([(words.t(f"predictions.{key}"), "muted")], 12),
                                   (clean(sample[key]), "text")], [], width))  # fmt: skip
    if not out:
        out += [[(words.t("results.none"), "text")], [(words.t("results.none_hint"), "muted")]]
    return out
