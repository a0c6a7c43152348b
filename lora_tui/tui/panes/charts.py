"""The panes with a chart: loss, learning rate and a metric of the stage.

Their titles are drawn at every change; the curves, which cost more, are drawn again only when ``AppState.chart_stamp``
grows.
"""

from __future__ import annotations

from collections.abc import Sequence

from lora_tui.analysis.run_facts import main_metric
from lora_tui.charts import plot as chart
from lora_tui.runs.run import Run
from lora_tui.runs.series import Series
from lora_tui.text.numbers import number
from lora_tui.text.sanitize import clean
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.panes.empty_state import empty_chart_lines
from lora_tui.tui.panes.symbols import format_cell, rating_span, short_metric
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, box, box_body, box_head, joined, width_of

MAX_EPOCH_MARKS = 12
"""The most epoch boundaries that are marked: with more, none is marked, as they would hide the curve."""
MAX_NAN_MARKS = 200
"""The most NaN and infinite values that are marked."""


class ChartPane(Pane):
    """A chart in a frame."""

    def __init__(self, state: AppState, name: str) -> None:
        super().__init__(state, name)
        self._body: list[Line] = []
        self._key: tuple[object, ...] = ()
        self.limits: chart.Limits | None = None

    def title(self, view: RunView) -> tuple[Line, Line]:
        """Return the texts at the left and at the right of the upper border."""
        raise NotImplementedError

    def curves(self, view: RunView) -> list[chart.Curve]:
        """Return the curves with all their points."""
        raise NotImplementedError

    def marks(self, view: RunView, x_max: float) -> list[chart.Mark]:
        """Return the marks of events (resume, epoch, checkpoint, NaN) up to the step ``x_max``."""
        return []

    def forecast(self, view: RunView, x_max: float) -> list[chart.Curve]:
        """Return curves of the forecast, which do not widen the limits of the y axis."""
        return []

    def draw(self, width: int, height: int) -> list[Line]:
        view = self.state.current()
        if view is None or not any(len(curve.xs) for curve in self.curves(view)):
            return self.empty(view, width, height)
        key = (view.run.path, self.state.chart_stamp, width, height, self.state.ascii)
        if key != self._key:
            self._body = box_body(self._plot(view, width - 4, height - 2).rows, width, height)
            self._key = key
        title, note = self.title(view)
        return [box_head(width, title, note), *self._body]

    def empty(self, view: RunView | None, width: int, height: int) -> list[Line]:
        """Return the lines to draw where there is no curve."""
        return box([], width, height, [], [])

    def _plot(self, view: RunView, width: int, height: int) -> chart.Frame:
        x_max = x_end(view)
        curves = []
        for curve in self.curves(view):
            xs, ys = chart.decimate(curve.xs, curve.ys, 0, x_max, max(1, width - 7), curve.extremes)
            curves.append(chart.Curve(curve.name, curve.role, xs, ys, curve.style, curve.mark))
        self.limits = chart.limits(curves)
        curves = [*self.forecast(view, x_max), *curves]
        view_port = chart.View(0, x_max, self.limits.y_min, self.limits.y_max)
        glyphs = chart.ASCII if self.state.ascii else chart.UNICODE
        return chart.draw(curves, self.marks(view, x_max), view_port, width, height, glyphs)


def x_end(view: RunView) -> float:
    """Return the step at the right end of the x axis.

    It is the last step; in a live run the total steps, halved as long as the last step is below 40 % of that, so that a
    new row changes few columns and a young run is not squeezed to the left.
    """
    progress = view.progress
    last = max((s.last_step or 0 for s in view.run.series.values() if len(s)), default=1) or 1
    if not view.status.live or not progress.total_steps or progress.total_steps <= last:
        return last
    end = float(progress.total_steps)
    while last < end * 0.4:
        end /= 2
    return end


class LossPane(ChartPane):
    """The chart of the main metric (the loss; in PPO and GRPO the reward) with evaluations and marks of events."""

    def curves(self, view: RunView) -> list[chart.Curve]:
        run = view.run
        main = main_metric(run)
        out = []
        series = run.series.get(main)
        if series is not None and len(series):
            out.append(chart.Curve(main, "raw", series.steps, series.values, extremes=series.extremes))
            out.append(chart.Curve(main, "smooth", series.steps, series.smooth, extremes=series.smooth_extremes))
        other = run.series.get("eval_" + main)
        if other is not None and len(other):
            out.append(chart.Curve("eval", "eval", other.steps, other.values, "points"))
        return out

    def marks(self, view: RunView, x_max: float) -> list[chart.Mark]:
        run, progress = view.run, view.progress
        out = [chart.Mark(step, "resume") for step in run.resumed_at]
        if progress.total_steps and progress.total_epochs:
            each = progress.total_steps / progress.total_epochs
            if each >= 1 and x_max / each <= MAX_EPOCH_MARKS:
                out.extend(
                    chart.Mark(each * n, "epoch") for n in range(1, int(x_max / each) + 1) if each * n < x_max * 0.99
                )
        series = run.series.get(main_metric(run))
        if series is not None and series.nonfinite:
            out.extend(chart.Mark(series.steps[at], "nan") for at in series.extremes.not_finite(MAX_NAN_MARKS))
        out.extend(chart.Mark(item.step, "checkpoint") for item in run.checkpoints() if item.complete)
        return out

    def forecast(self, view: RunView, x_max: float) -> list[chart.Curve]:
        """Return two lines from the end of the curve to the bounds of the forecast of the final loss."""
        end, series, total = view.judgement.forecast.final_loss, view.run.series.get("loss"), view.progress.total_steps
        if end is None or series is None or not total or x_max < total or main_metric(view.run) != "loss":
            return []
        xs = (series.last_step or 0.0, float(total))
        start = series.smoothed if series.smoothed is not None else end.mid
        low, high = (self.limits.y_min, self.limits.y_max) if self.limits is not None else (start, start)
        ends = (min(max(bound, low), high) for bound in (end.low, end.high))
        return [chart.Curve("ahead", "raw", xs, (start, bound)) for bound in ends]

    def title(self, view: RunView) -> tuple[Line, Line]:
        words, run = self.state.words, view.run
        main = main_metric(run)
        # None where the first row of the run is an evaluation.
        series = run.series.get(main)
        state = self.state
        last = series.last if series is not None else None
        parts: list[Line] = [[(words.metric(main) + " ", "title"), (format_cell(main, last), "value")]]
        if series is not None and series.smoothed is not None:
            value = format_cell(main, series.smoothed)
            parts.append(state.phrase("chart.smoothed_value", "series-1|bold", "series-1", value=value))
        other = run.series.get("eval_" + main)
        if other is not None and other.last is not None:
            value = format_cell(main, other.last)
            line = state.phrase("chart.eval_value", "series-2|bold", "series-2", value=value)
            parts.append([("◆ ", "series-2"), *line])
        if series is not None and series.finite:
            value, step = format_cell(main, series.min), str(int(series.min_step))
            parts.append(state.phrase("chart.min_at", "muted", value=value, step=step))
        end = view.judgement.forecast.final_loss
        if end is not None and main == "loss":
            parts.append(state.phrase("chart.end_value", low=number(end.low, 3), high=number(end.high, 3)))
        room = self.size.width - 8
        note: Line = []
        if series is not None and series.nonfinite:
            note = [
                ("× ", "nan"),
                *state.phrase("chart.nan_count", "rating-poor", "rating-poor", n=str(series.nonfinite)),
            ]
        elif self.limits is not None and self.limits.above:
            bound = number(self.limits.y_max)
            note = [
                ("▲ ", "clip"),
                *state.phrase("chart.clipped_short", "faint", "faint", self.limits.above, bound=bound),
            ]
            if width_of(note) > room * 2 // 5:
                note = [(f"▲ {self.limits.above} > {bound}", "clip")]
        return joined(parts, room - width_of(note) - 2, ("   ", "border")), note

    def empty(self, view: RunView | None, width: int, height: int) -> list[Line]:
        rows = empty_chart_lines(self.state, view, width - 4, height - 2)
        title: Line = [(self.state.words.t("pane.run"), "title")] if view is not None else []
        return box(rows, width, height, title, [])


class LearningRatePane(ChartPane):
    """The chart of the learning rate, with the name of its schedule."""

    def curves(self, view: RunView) -> list[chart.Curve]:
        series = view.run.series.get("lr")
        if series is None or not len(series):
            return []
        return [chart.Curve("lr", "lr", series.steps, series.values, extremes=series.extremes)]

    def title(self, view: RunView) -> tuple[Line, Line]:
        series = view.run.series["lr"]
        kind = view.run.config.get("lr_scheduler_type")
        words, wide = self.state.words, self.size.width >= 44
        name = words.metric("lr") if wide else words.t("card.lr")
        title: Line = [(name + " ", "title"), (format_cell("lr", series.last), "value")]
        return title, [(clean(str(kind.value)), "muted")] if kind is not None else []


class StageMetricPane(ChartPane):
    """The chart of a further metric of the stage: reward margins, accuracy, gradient norm, …"""

    def curves(self, view: RunView) -> list[chart.Curve]:
        name = stage_metric(view.run)
        series = view.run.series.get(name) if name else None
        if name is None or series is None:
            return []
        role = "grad" if name == "grad_norm" else "series-4"
        out = [chart.Curve(name, role, series.steps, series.values, extremes=series.extremes)]
        other = view.run.series.get("eval_" + name)
        if other is not None and len(other):
            out.append(chart.Curve("eval", "eval", other.steps, other.values, "points"))
        return out

    def title(self, view: RunView) -> tuple[Line, Line]:
        name = stage_metric(view.run) or ""
        series = view.run.series[name]
        title: Line = [
            (short_metric(self.state.words, name) + " ", "title"),
            (format_cell(name, series.last), "value"),
        ]
        rating = view.judgement.ratings.get(name)
        note: Line = []
        main = view.run.series.get(main_metric(view.run))
        if main is not None and (series.last_step or 0) < (main.last_step or 0) and name == "grad_norm":
            note = self.state.phrase("chart.at_step", "faint", "faint", step=str(int(series.last_step or 0)))
        elif rating is not None:
            mark, role = rating_span(rating)
            note = [(mark + " ", role), (self.state.words.rating(rating), "muted")]
        return title, note


STAGE_METRICS: dict[str, Sequence[str]] = {
    "dpo": ("rewards/margins", "rewards/accuracies", "accuracy"),
    "kto": ("rewards/margins", "rewards/chosen", "kl"),
    "orpo": ("rewards/margins", "rewards/accuracies"),
    "rm": ("accuracy", "eval_accuracy"),
    "ppo": ("loss",),
    "grpo": ("loss", "kl"),
}
"""Stage -> the metrics for its second small chart, of which the first that was logged is shown."""
COMMON_METRICS = ("grad_norm", "accuracy", "throughput", "mem_gb")
"""Metrics for the second small chart in every stage, after those of :data:`STAGE_METRICS`."""


def stage_metric(run: Run) -> str | None:
    """Return the metric of the second small chart: one of the stage, else a common one, else None."""
    for name in (*STAGE_METRICS.get(run.stage or "", ()), *COMMON_METRICS):
        series: Series | None = run.series.get(name)
        if series is not None and series.finite >= 2 and name != main_metric(run):
            return name
    return None


def small_chart_count(run: Run) -> int:
    """Return how many of the two small charts have something to draw."""
    rate = run.series.get("lr")
    return (1 if rate is not None and rate.finite >= 2 else 0) + (1 if stage_metric(run) else 0)
