"""The header of the selected run: name, state, progress, times, and the steps that would be lost."""

from __future__ import annotations

from lora_tui.analysis import run_facts
from lora_tui.runs.results import was_evaluated
from lora_tui.runs.run import Checkpoint
from lora_tui.runs.status import mean_speed, time_left
from lora_tui.text.numbers import number
from lora_tui.text.sanitize import clean
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.panes.symbols import format_cell, method_text, short_error, state_span
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, box, joined, spread, width_of
from lora_tui.wording.sentences import clock_range, duration_range
from lora_tui.wording.values import model_name

GAP = ("   ", "text")


class HeaderPane(Pane):
    """Progress bar and counters, times, and the most important facts of the state; framed from five lines on."""

    def draw(self, width: int, height: int) -> list[Line]:
        view = self.state.current()
        if view is None:
            return []
        boxed = height >= 5
        inner = width - 4 if boxed else width - 2
        words = self.state.words
        glyph, role = state_span(view.status)
        state: Line = [(glyph + " ", role), (words.state(view.status), role)]
        what = [part for part in ((view.run.stage or "").upper(), method_text(view.run), model_name(view.run)) if part]
        about: Line = [(" · " + clean(part), "muted") for part in what]
        name: Line = [(clean(view.run.name), "title|bold")]
        rows = [bar_line(self.state, view, inner), *state_lines(self.state, view, inner)]
        if boxed:
            return box(rows, width, height, [*name, *about], state)
        place = f"  {self.state.index + 1}/{len(self.state.runs)}" if len(self.state.runs) > 1 else ""
        title = spread([(" ", "text"), (glyph + " ", role), *name, (place, "faint"), *about], state[1:], width - 1)
        out = [title, [(" ", "text"), *rows[0]], [(" ", "text"), *(rows[2] if height < 3 else rows[1])]]
        if height == 3 and view.status.state not in ("running", "finished"):
            out[2] = [(" ", "text"), *rows[1]]
        return out[:height]


def bar_line(state: AppState, view: RunView, width: int) -> Line:
    """Return the progress bar, the percentage, the step and the epoch, both with their totals."""
    progress = view.progress
    text: Line = []
    if progress.fraction is not None:
        text.append((f" {percent(progress.fraction)}", "value"))
    if progress.step is not None and progress.total_steps:
        key = "head.batches" if progress.unit == "batches" else "head.step"
        text += [("  ", "text"), *state.phrase(key, label="text", done=str(progress.step), step=str(progress.step),
                                             total=str(progress.total_steps))]  # fmt: skip
    elif progress.step is not None:
        text += [("  ", "text"), *state.phrase("head.step_only", step=str(progress.step))]
    if progress.epoch is not None:
        total = number(round(progress.total_epochs, 2)) if progress.total_epochs else ""
        key = "head.epoch_of" if total else "head.epoch"
        text += [("  ", "text"), *state.phrase(key, epoch=f"{progress.epoch:.2f}", total=total)]
    cells = max(8, width - width_of(text) - 1)
    if progress.fraction is None:
        return [("─" * cells, "bar-rest"), *text]
    return [*bar(progress.fraction, cells, "rating-poor" if view.status.state == "failed" else "bar"), *text]


def bar(fraction: float, cells: int, role: str) -> Line:
    """Return a progress bar of ``cells`` cells that is also readable without colour."""
    halves = int(max(0.0, min(1.0, fraction)) * cells * 2)
    full, half = divmod(halves, 2)
    return [
        ("━" * full + ("╸" if half else ""), role),
        ("─" * (cells - full - half), "bar-rest"),
    ]


def percent(fraction: float) -> str:
    """Return a fraction as whole percent, at most 99 % before the end."""
    return f"{min(int(fraction * 100 + 0.5), 99) if fraction < 1 else 100} %"


def state_lines(state: AppState, view: RunView, width: int) -> list[Line]:
    """Return the two lines below the bar, which depend on the state."""
    make = _BY_STATE.get(view.status.state, _running)
    first, second = make(state, view)
    return [joined(first, width, GAP), joined(second, width, GAP)]


Parts = list[Line]
"""Parts of a line; those that do not fit are left out."""


def _time_left(state: AppState, view: RunView) -> Parts:
    """Return the remaining time and the clock time of the end, both as ranges."""
    left = time_left(view.run, view.status, view.now)
    if left is None:
        return []
    ends = clock_range(state.words, view.now + left.low, view.now + left.high, view.now)
    return [
        state.phrase("head.left", "value", time=duration_range(state.words, left.low, left.high)),
        state.phrase("head.ends", time=ends),
    ]


def _time_parts(state: AppState, view: RunView) -> Parts:
    words, progress = state.words, view.progress
    out = _time_left(state, view)
    if progress.elapsed_s is not None:
        out.append(state.phrase("head.ran", time=words.duration(progress.elapsed_s)))
    out.extend(speed_parts(state, view))
    return out


def speed_parts(state: AppState, view: RunView) -> Parts:
    """Return steps and tokens per second: of the last rows while the run is live, of the whole run once it has ended.

    Below 0.1 steps per second, seconds per step are shown instead.
    """
    progress = view.progress
    steps, tokens = progress.steps_per_s, progress.tokens_per_s
    if not view.status.live:
        steps, tokens = mean_speed(view.run, progress)
    out: Parts = []
    if steps:
        slow = steps < 0.1
        value = 1 / steps if slow else steps
        out.append(state.phrase("head.s_per_step" if slow else "head.steps_per_s", n=number(value, 3)))
    if tokens:
        out.append(state.phrase("head.tokens_per_s", n=number(tokens, 3)))
    return out


def _running(state: AppState, view: RunView) -> tuple[Parts, Parts]:
    below = [*_critical_finding(state, view), *_checkpoint_parts(state, view), *_next_evaluation(state, view)]
    return _time_parts(state, view), below


def _critical_finding(state: AppState, view: RunView) -> Parts:
    """Return the first open critical finding, which is shown because GPU time is being wasted."""
    for item in view.judgement.findings:
        if item.severity == "critical" and item.end_step is None and not item.code.startswith(("failed", "stalled")):
            return [[("✗ " + state.words.finding(item)[0], "rating-poor|bold")]]
    return []


def _next_evaluation(state: AppState, view: RunView) -> Parts:
    every, progress = run_facts.number(view.run, "eval_steps"), view.progress
    strategy = view.run.config.get("eval_strategy")
    if strategy is not None and strategy.value != "steps":
        return []
    if every is None or every < 1 or not progress.step:
        return []
    step = (progress.step // int(every) + 1) * int(every)
    if not progress.steps_per_s or (progress.total_steps and step > progress.total_steps):
        return []
    time = state.words.duration((step - progress.step) / progress.steps_per_s)
    return [state.phrase("head.next_eval", time=time, step=str(step))]


def _checkpoint_parts(state: AppState, view: RunView) -> Parts:
    risk = view.progress.steps_at_risk
    last = newest_checkpoint(view)
    out: Parts = []
    if last is not None:
        ago = state.words.age(max(0.0, view.now - last.mtime))
        key = "head.checkpoint" if last.mtime else "head.checkpoint_step"
        out.append(state.phrase(key, step=str(last.step), ago=ago))
    elif view.status.live:
        out.append([(state.words.t("head.no_checkpoint"), "muted")])
    if risk:
        out.append(state.phrase("head.at_risk", count=risk))
    return out


def newest_checkpoint(view: RunView) -> Checkpoint | None:
    """Return the complete checkpoint with the highest step that is not beyond the present step, or None."""
    step = view.progress.step
    done = [item for item in view.run.checkpoints() if item.complete and (step is None or item.step <= step)]
    return max(done, key=lambda item: item.step) if done else None


def phase_text(state: AppState, view: RunView) -> str:
    """Return the phase in words, with its counters if a log contains them."""
    status = view.status
    phase = state.words.t(f"phase.{status.phase}")
    if status.done is not None and status.total:
        return state.words.t("phase.progress", phase=phase, done=status.done, total=status.total)
    return phase


def _waiting(state: AppState, view: RunView) -> tuple[Parts, Parts]:
    words, status = state.words, view.status
    if status.phase == "reading":
        return [state.phrase("head.reading", rows=f"{len(view.run.rows):,}")], []
    first: Parts = [[(words.t("head.waiting"), "text")]]
    if status.phase:
        first = [[(phase_text(state, view), "text|bold")], [(words.t("head.waiting"), "muted")]]
    if status.silent_s is not None:
        first.append([(words.duration(status.silent_s), "muted")])
    second: Parts = [] if status.phase else [[(words.t("head.nothing_yet"), "muted")]]
    return first, second


def _evaluating(state: AppState, view: RunView) -> tuple[Parts, Parts]:
    words, status = state.words, view.status
    first: Parts = [[(phase_text(state, view), "series-2")]]
    if status.silent_s is not None:
        first.append([(words.duration(status.silent_s), "text")])
    if status.usual_s is not None:
        first.append(state.phrase("head.usual", time=words.duration(status.usual_s)))
    first.append([(words.t("head.quiet"), "faint")])
    return first, [*_time_left(state, view), *_checkpoint_parts(state, view)]


def _stalled(state: AppState, view: RunView) -> tuple[Parts, Parts]:
    words, status = state.words, view.status
    silent = words.duration(status.silent_s or 0)
    if status.usual_s is None:
        return [state.phrase("head.silent", "rating-fair|bold", "rating-fair", time=silent)], _resume_parts(state, view)
    usual = words.duration(status.usual_s)
    line = state.phrase("head.silent_usual", "rating-fair|bold", "rating-fair", time=silent, usual=usual)
    return [line], _resume_parts(state, view)


def _resume_parts(state: AppState, view: RunView) -> Parts:
    last = newest_checkpoint(view)
    torn = [item for item in view.run.checkpoints() if not item.complete]
    risk = view.progress.steps_at_risk
    out: Parts = []
    if last is not None and risk:
        out.append(state.phrase("head.resume_lost", "text|bold", count=risk, checkpoint=clean(last.path)))
    elif last is not None:
        out.append(state.phrase("head.resume", "text|bold", checkpoint=clean(last.path)))
    else:
        out.append([(state.words.t("head.no_resume"), "muted")])
    if torn:
        out.append(state.phrase("head.incomplete", checkpoint=clean(torn[-1].path)))
    return out


def _interrupted(state: AppState, view: RunView) -> tuple[Parts, Parts]:
    words, status, progress = state.words, view.status, view.progress
    first: Parts = []
    if progress.step is not None:
        line = state.phrase(
            "head.cut_at", label="rating-fair", step=str(progress.step), total=str(progress.total_steps or "?")
        )
        first.append(line)
    if status.since is not None:
        first.append([(words.clock(status.since, view.now), "text")])
    why = short_error(status.failure.message) if status.failure is not None else words.t("head.cut_hint")
    first.append([(why, "muted")])
    return first, _resume_parts(state, view)


def _failed(state: AppState, view: RunView) -> tuple[Parts, Parts]:
    status, words, progress = view.status, state.words, view.progress
    first: Parts = []
    if status.failure is not None:
        first.append([(short_error(status.failure.message), "rating-poor|bold")])
    if progress.step is not None and progress.unit == "steps":
        time = words.clock(status.since, view.now) if status.since is not None else ""
        line = state.phrase(
            "head.failed_at", step=str(progress.step), total=str(progress.total_steps or "?"), time=time
        )
        second = [line, *_resume_parts(state, view)]
    else:
        second = [[(words.t("head.failed_early"), "muted")]]
    return first, second


def _finished(state: AppState, view: RunView) -> tuple[Parts, Parts]:
    words, run, progress = state.words, view.run, view.progress
    first: Parts = []
    if view.status.state == "stopped" and progress.step is not None:
        first.append(state.phrase("head.stopped_at", step=str(progress.step), total=str(progress.total_steps or "?")))
    elif view.status.since is not None:
        first.append(state.phrase("head.finished_at", time=words.clock(view.status.since, view.now)))
    if progress.elapsed_s:
        first.append(state.phrase("head.took", time=words.duration(progress.elapsed_s)))
    first.extend(speed_parts(state, view))
    second: Parts = []
    train = view.results.get("train")
    # After a resume the trainer's train_loss is the sum since then, divided by all steps.
    if train is not None and not train.stale and "train_loss" in train.values and run.segments == 1:
        second.append(state.phrase("head.mean_loss", value=format_cell("loss", train.values["train_loss"])))
    loss = run.series.get("loss")
    if loss is not None and loss.last is not None:
        second.append(state.phrase("head.last_loss", "value", value=format_cell("loss", loss.last)))
    for name, key in (("eval_loss", "head.eval"), ("perplexity", "head.ppl")):
        series = run.series.get(name)
        if series is not None and series.last is not None:
            second.append(state.phrase(key, value=format_cell(name, series.last)))
    if progress.unit == "steps" and not was_evaluated(run):
        second.append([(words.t("head.not_evaluated"), "faint")])
    best = next((item for item in run.checkpoints() if item.best), None)
    if best is not None and best.eval_loss is not None:
        second.append(state.phrase("head.best", checkpoint=clean(best.path), value=format_cell("loss", best.eval_loss)))
    return first, [*_critical_finding(state, view), *second]


_BY_STATE = {
    "waiting": _waiting,
    "running": _running,
    "evaluating": _evaluating,
    "stalled": _stalled,
    "interrupted": _interrupted,
    "failed": _failed,
    "finished": _finished,
    "stopped": _finished,
}
