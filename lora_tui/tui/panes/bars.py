"""The first and the last line of the screen, and the one line of a terminal that is too small."""

from __future__ import annotations

from pathlib import Path

from lora_tui.runs.run import StateName
from lora_tui.text.sanitize import clean
from lora_tui.tui.keys import hints
from lora_tui.tui.panes.base import Pane, Zone
from lora_tui.tui.panes.header import percent
from lora_tui.tui.panes.symbols import STATE, main_metric, shown, state_span
from lora_tui.tui.state import Desk
from lora_tui.tui.styled_lines import Line, cut, joined, spread, width_of

_COUNTED: tuple[StateName, ...] = (
    "running", "evaluating", "waiting", "stalled", "finished", "stopped", "interrupted", "failed"
)  # fmt: skip


class TopPane(Pane):
    """The product, what is watched, and how many runs are in which state."""

    def draw(self, width: int, height: int) -> list[Line]:
        desk = self.desk
        words = desk.words
        counts: dict[StateName, int] = {}
        for run in desk.runs:
            state = desk.status(run).state
            counts[state] = counts.get(state, 0) + 1
        right: Line = [(words.n("app.runs", len(desk.runs)), "muted")]
        for state in _COUNTED:
            if state in counts:
                right += [("   ", "text"), (STATE[state] + " ", f"state-{state}"),
                          (f"{counts[state]} {words.t('state.' + state)}", "muted")]  # fmt: skip
        right.append((" ", "text"))
        left: Line = [(" lora-tui", "series-1|bold"), ("  " + clean(desk.options.title), "muted")]
        if desk.errors and desk.runs:
            left[1:] = [("  ! " + _unread(desk), "rating-fair")]
        return [spread(left, right, width)]


def _unread(desk: Desk) -> str:
    """The first directory that cannot be read, and how many more there are."""
    (name, why), *more = desk.errors
    path = Path(name)
    for root in desk.workspace.roots:
        if root == path or root in path.parents:
            path = path.relative_to(root.parent)
            break
    text = desk.words.t("app.unread", path=clean(str(path)), reason=desk.words.reason(clean(why)))
    return f"{text} +{len(more)}" if more else text


class FooterPane(Pane):
    """Keys that help here, or for some seconds what just happened."""

    def draw(self, width: int, height: int) -> list[Line]:
        desk = self.desk
        if desk.trouble:
            return [spread([(" ! " + clean(desk.trouble), "rating-fair")], [], width)]
        if desk.note:
            return [cut([(" " + clean(desk.note), "text")], width)]
        listed = "runs" in desk.places and not desk.drawer
        all_hints = hints(desk.page, desk.focus, desk.drawer, listed, len(desk.runs))
        parts: list[Line] = [
            [(hint.shown, "key|bold"), (f" {desk.words.t('keys.' + hint.code)}  ", "muted")] for hint in all_hints
        ]
        # How to get help and how to leave are always said.
        order = sorted(range(len(parts)), key=lambda i: (all_hints[i].code not in ("help", "quit"), i))
        kept: set[int] = set()
        room = width + 1
        for index in order:
            if width_of(parts[index]) <= room:
                kept.add(index)
                room -= width_of(parts[index])
        out: Line = [(" ", "text")]
        for index in sorted(kept):
            self.zones.append(Zone(0, width_of(out), width_of(parts[index]) - 2, f"app.{all_hints[index].action}"))
            out += parts[index]
        text, role = out[-1]
        return [cut([*out[:-1], (text.rstrip(), role)], width)]


class LinePane(Pane):
    """Everything in one line, for a terminal that is too small for more."""

    def draw(self, width: int, height: int) -> list[Line]:
        view = self.desk.current()
        if view is None:
            return [
                [
                    (
                        " lora-tui: " + self.desk.words.t("list.empty_in", path=clean(self.desk.options.title or ".")),
                        "text",
                    )
                ]
            ]
        progress, words = view.progress, self.desk.words
        mark, role = state_span(view.status)
        main = main_metric(view.run)
        series = view.run.series.get(main)
        parts: list[Line] = [[(mark + " ", role), (clean(view.run.name), "text|bold")]]
        if series is not None and series.last is not None:
            parts.append([(words.metric(main) + " ", "muted"), (shown(main, series.last), "value")])
        if progress.fraction is not None:
            parts.append([(percent(progress.fraction).replace(" ", ""), "text")])
        if progress.step is not None:
            parts.append(
                [(f"{progress.step}/{progress.total_steps}" if progress.total_steps else str(progress.step), "text")]
            )
        if progress.finish_at is not None and view.status.live:
            parts.append(self.desk.phrase("head.ends", time=words.clock(progress.finish_at, view.now)))
        else:
            parts.append([(words.state(view.status), role)])
        return [joined(parts, width, ("  ", "text"))]
