"""The results page: all values of all results files, including those of linked jobs."""

from __future__ import annotations

from lora_tui.text.cells import wrap
from lora_tui.text.numbers import number
from lora_tui.text.sanitize import clean
from lora_tui.tui.panes.results import previous_run_line, rating_spans, result_sets, score_keys, score_line
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, fill, spread


def results_lines(state: AppState, view: RunView, width: int) -> list[Line]:
    """Return all values of all results files, the comparison with the previous run and a sample of the predictions."""
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
        done = score_keys(result)
        for key in done:
            out.append([("  ", "text"), *score_line(state, view, result, key, width - 2)])
        for key in sorted(set(result.values) - set(done)):
            value = result.values[key]
            text = number(value)
            if key.endswith("_runtime"):
                text = words.duration(value) if value >= 10 else f"{number(value, 3)} {words.t('unit.s')}"
            line: Line = [("  ", "text"), *fill([(words.metric(key), "muted")], min(22, max(11, width // 4)))]
            line.append((text.rjust(9), "text"))
            out.append([*line, *rating_spans(state, view, result, key, "muted")])
    compared = previous_run_line(state, view, "results.previous", "results.previous.unsure")
    previous = "".join(text for text, _ in compared)
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
