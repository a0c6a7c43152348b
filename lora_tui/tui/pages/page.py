"""The pages behind the number keys: results, config, checkpoints. One scrolling pane shows them all."""

from __future__ import annotations

from lora_tui.text.numbers import fixed4
from lora_tui.text.sanitize import clean
from lora_tui.tui.panes import results
from lora_tui.tui.panes.base import Pane
from lora_tui.tui.panes.findings import problem_lines
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, box, fill, width_of, wrap
from lora_tui.wording.sentences import checkpoint_advice


class PagePane(Pane):
    """Lines of the current page, scrolled by keys and the wheel."""

    def __init__(self, state: AppState, name: str) -> None:
        super().__init__(state, name)
        self.offset_y = 0
        self._shown: tuple[object, ...] = ()

    def draw(self, width: int, height: int) -> list[Line]:
        state = self.state
        view = state.current()
        if view is None:
            return []
        if self._shown != (state.page, view.run.path):
            self._shown = (state.page, view.run.path)
            self.offset_y = 0
        page = PAGE_LINES.get(state.page)
        if page is None:
            # Drawn once more on the way back to the overview.
            return []
        lines = page(state, view, width - 4)
        room = height - 2
        self.offset_y = max(0, min(self.offset_y, len(lines) - room))
        note: Line = []
        if len(lines) > room:
            last = min(len(lines), self.offset_y + room)
            note = [(f"{self.offset_y + 1}–{last}/{len(lines)}", "muted")]
        title: Line = [(state.words.t(f"page.{state.page}"), "title")]
        return box(lines[self.offset_y : self.offset_y + room], width, height, title, note)

    def scroll_lines(self, lines: int) -> None:
        """Move the window over the page."""
        self.offset_y = max(0, self.offset_y + lines)
        self.renew()

    def on_mouse_scroll_down(self) -> None:
        """Three lines down."""
        self.scroll_lines(3)

    def on_mouse_scroll_up(self) -> None:
        """Three lines up."""
        self.scroll_lines(-3)


def config_lines(state: AppState, view: RunView, width: int) -> list[Line]:
    """Option, value, source: first what is asked for most, then the rest by name."""
    config = view.run.config
    problems = problem_lines(state, view, len(view.run.problems))
    if problems:
        problems = [[], [(state.words.n("cli.status.problems", len(problems)), "muted")], *problems]
    if not config:
        return [[(state.words.t("config.none"), "muted")], *problems]
    names = [name for name in _FIRST if name in config]
    rest = sorted(name for name in config if name not in _FIRST)
    wide = min(max(width_of([(name, "")]) for name in config), width * 2 // 5)
    source_wide = min(max(width_of([(setting.source, "")]) for setting in config.values()), width // 4)
    out: list[Line] = []
    for name in [*names, "", *rest] if names and rest else [*names, *rest]:
        if not name:
            out.append([])
            continue
        setting = config[name]
        value = value_text(setting.value)
        line: Line = [*fill([(clean(name), "muted")], wide), ("  ", "text")]
        room = width - wide - source_wide - 4
        parts = wrap(clean(value), max(10, room))
        out.append([*line, *fill([(parts[0], "text")], room), ("  ", "text"), (clean(setting.source), "faint")])
        out.extend([(" " * (wide + 2), "text"), (part, "text")] for part in parts[1:4])
    return out + problems


def value_text(value: object) -> str:
    """A setting as its YAML would read."""
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


_FIRST = (
    "model_name_or_path", "stage", "finetuning_type", "lora_rank", "lora_alpha", "lora_dropout", "lora_target",
    "quantization_bit", "dataset", "eval_dataset", "val_size", "template", "cutoff_len",
    "learning_rate", "lr_scheduler_type", "warmup_ratio", "warmup_steps", "num_train_epochs", "max_steps",
    "per_device_train_batch_size", "gradient_accumulation_steps", "total_train_batch_size",
    "num_examples", "eval_strategy", "eval_steps", "save_steps", "save_total_limit", "logging_steps",
)  # fmt: skip


_ADVICE_ROLES = {"take": "text|bold", "note": "muted", "warn": "rating-fair", "command": "text"}


def checkpoint_lines(state: AppState, view: RunView, width: int) -> list[Line]:
    """Which checkpoint to take and what is at stake; then every one with its evaluation, the newest first."""
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


PAGE_LINES = {"results": results.page_lines, "config": config_lines, "checkpoints": checkpoint_lines}
