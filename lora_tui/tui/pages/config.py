"""The config page: every option of the run that is known, with the file that it was read from."""

from __future__ import annotations

from lora_tui.text.cells import wrap
from lora_tui.text.sanitize import clean
from lora_tui.tui.panes.findings import problem_lines
from lora_tui.tui.state import AppState, RunView
from lora_tui.tui.styled_lines import Line, fill, width_of

FIRST_OPTIONS = (
    "model_name_or_path", "stage", "finetuning_type", "lora_rank", "lora_alpha", "lora_dropout", "lora_target",
    "quantization_bit", "dataset", "eval_dataset", "val_size", "template", "cutoff_len",
    "learning_rate", "lr_scheduler_type", "warmup_ratio", "warmup_steps", "num_train_epochs", "max_steps",
    "per_device_train_batch_size", "gradient_accumulation_steps", "total_train_batch_size",
    "num_examples", "eval_strategy", "eval_steps", "save_steps", "save_total_limit", "logging_steps",
)  # fmt: skip
"""Options that are shown first, in this order, because users look for them most often."""


def config_lines(state: AppState, view: RunView, width: int) -> list[Line]:
    """Return a line per option with its value and the file it comes from, then the problems of the run's files.

    The options of :data:`FIRST_OPTIONS` come first, then an empty line, then all others by name. A value that is longer
    than its column goes on for at most three more lines.
    """
    config = view.run.config
    problems = problem_lines(state, view, len(view.run.problems))
    if problems:
        problems = [[], [(state.words.n("cli.status.problems", len(problems)), "muted")], *problems]
    if not config:
        return [[(state.words.t("config.none"), "muted")], *problems]
    names = [name for name in FIRST_OPTIONS if name in config]
    rest = sorted(name for name in config if name not in FIRST_OPTIONS)
    wide = min(max(width_of([(name, "")]) for name in config), width * 2 // 5)
    source_wide = min(max(width_of([(setting.source, "")]) for setting in config.values()), width // 4)
    out: list[Line] = []
    for name in [*names, "", *rest] if names and rest else [*names, *rest]:
        if not name:
            out.append([])
            continue
        setting = config[name]
        value = option_text(setting.value)
        line: Line = [*fill([(clean(name), "muted")], wide), ("  ", "text")]
        room = width - wide - source_wide - 4
        parts = wrap(clean(value), max(10, room))
        out.append([*line, *fill([(parts[0], "text")], room), ("  ", "text"), (clean(setting.source), "faint")])
        out.extend([(" " * (wide + 2), "text"), (part, "text")] for part in parts[1:4])
    return out + problems


def option_text(value: object) -> str:
    """Return the value of an option as YAML writes it."""
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
