"""One run in one line: its state, how far it is, its last numbers."""

from __future__ import annotations

from lora_tui.i18n import Words
from lora_tui.runs.run import Run
from lora_tui.text.numbers import fixed4, number


def summary(run: Run, now: float, words: Words) -> str:
    """``finished  810/810  loss 1.0573  eval loss 0.9954``, as of the Unix time ``now``."""
    progress = run.progress(now)
    parts = [words.state(run.status(now))]
    if progress.step is not None:
        parts.append(f"{progress.step}/{progress.total_steps}" if progress.total_steps else str(progress.step))
    for name, shown in (("loss", fixed4), ("eval_loss", fixed4), ("lr", number)):
        series = run.series.get(name)
        if series is not None and series.last is not None:
            parts.append(f"{words.metric(name)} {shown(series.last)}")
    predicted = run.results().get("predict")
    if predicted is not None and not predicted.stale:
        for name in ("predict_bleu-4", "predict_rouge-l"):
            if name in predicted.values:
                parts.append(f"{words.metric(name)} {fixed4(predicted.values[name])}")
    return "  ".join(parts)
