"""Write the data to measure with: trainer logs like LLaMA-Factory's, of any length, with spikes of one row."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

LOG = "trainer_log.jsonl"
TOTAL_STEPS = 10_000_000
SECONDS_A_STEP = 0.5
SPIKE = 9.0
"""The loss of a spike; the rest of the curve stays below 3.2."""
SPIKE_PLACES = (0.11, 0.23, 0.37, 0.52, 0.68, 0.81, 0.97)
"""Positions of the spikes in a run with spikes, as shares of its rows; each spike is one row."""
HOUR_S = 3600.0


def clock(seconds: float) -> str:
    """Return a duration as the producer writes it: ``0:00:05``, ``1 day, 2:03:04``."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    text = f"{hour}:{minute:02d}:{second:02d}"
    return f"{days} day{'s' if days > 1 else ''}, {text}" if days else text


def plain_loss(step: int) -> float:
    """Return a loss for a row whose loss does not matter; it changes from row to row."""
    return round(1.6 + (step % 97) / 500, 4)


def row_text(step: int, loss: float | None = None, total: int = TOTAL_STEPS) -> str:
    """Return a row as LLaMA-Factory writes it: a line of JSON."""
    row = {
        "current_steps": step,
        "total_steps": total,
        "loss": loss if loss is not None else plain_loss(step),
        "lr": round(5e-5 * max(0.0, 1 - step / total), 12),
        "epoch": round(3 * step / total, 4),
        "percentage": round(step / total * 100, 2),
        "elapsed_time": clock(step * SECONDS_A_STEP),
        "remaining_time": clock(max(0, total - step) * SECONDS_A_STEP),
        "throughput": 1954.49,
        "total_tokens": step * 1024,
    }
    return json.dumps(row) + "\n"


def losses(rows: int, total: int, spikes: bool = False, seed: int = 1) -> Iterator[float]:
    """Yield the losses of ``rows`` rows, falling and noisy; with ``spikes``, single rows have the loss SPIKE."""
    noise = random.Random(seed)
    high = set(spike_steps(rows)) if spikes else set()
    for step in range(1, rows + 1):
        loss = round(1.2 + 1.8 * math.exp(-8 * step / total) + 0.02 * noise.gauss(0, 1), 4)
        yield SPIKE if step in high else loss


def spike_steps(rows: int) -> list[int]:
    """Return the steps of the spikes in a run with ``rows`` rows."""
    return [round(rows * place) for place in SPIKE_PLACES]


def write_run(folder: Path, rows: int, total: int, spikes: bool = False, seed: int = 1) -> Path:
    """Write a run with ``rows`` of ``total`` steps; return the path of its log."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / LOG
    with log.open("w", encoding="utf-8") as file:
        for step, loss in enumerate(losses(rows, total, spikes, seed), 1):
            file.write(row_text(step, loss, total))
    return log


def write_finished(folder: Path, rows: int, seed: int) -> Path:
    """Write a finished run: its log with the summary row, and the producer's other files; return its log."""
    log = write_run(folder, rows, rows, seed=seed)
    times = {"elapsed_time": clock(rows * SECONDS_A_STEP), "remaining_time": "0:00:00"}
    summary = {"current_steps": rows, "total_steps": rows, "epoch": 3.0, "percentage": 100.0, **times}
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(summary) + "\n")
    results = {"epoch": 3.0, "train_loss": 1.4, "train_runtime": rows * SECONDS_A_STEP}
    for name in ("train_results.json", "all_results.json"):
        (folder / name).write_text(json.dumps(results, indent=4), encoding="utf-8")
    state = {"epoch": 3.0, "global_step": rows, "max_steps": rows, "num_train_epochs": 3, "log_history": []}
    (folder / "trainer_state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
    return log


def write_many(root: Path, runs: int, rows: int, kinds: int = 8) -> None:
    """Write ``runs`` finished runs below a directory, each with its own files and one of ``kinds`` series of losses."""
    now = time.time()
    models = [write_finished(root.parent / f"{root.name}-model-{kind}", rows, kind).parent for kind in range(kinds)]
    for number in range(runs):
        folder = root / f"group{number // 50:02d}" / f"run{number:04d}"
        shutil.copytree(models[number % kinds], folder)
        for offset, name in enumerate((LOG, "train_results.json", "all_results.json", "trainer_state.json")):
            # Each run ended at another time; results are never older than their log.
            at = now - 2 * HOUR_S - number * 60 + offset
            os.utime(folder / name, (at, at))
    for model in models:
        shutil.rmtree(model)


def add_directories(root: Path, wanted: int) -> int:
    """Add directories to a tree of runs until it has ``wanted``: checkpoints in the runs, and other folders beside
    them.

    Return the number of directories in the end.
    """
    folders = [Path(path) for path, _, _ in os.walk(root)]
    runs = [folder for folder in folders if (folder / LOG).exists()]
    count = len(folders)
    for run in runs:
        for step in (250, 500, 750, 1000):
            if count >= wanted:
                return count
            checkpoint = run / f"checkpoint-{step}"
            checkpoint.mkdir()
            count += 1
            shutil.copy(run / "trainer_state.json", checkpoint)
            (checkpoint / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8, "lora_alpha": 16}')
            at = (run / LOG).stat().st_mtime - 1000 + step
            for path in (*checkpoint.iterdir(), checkpoint):
                os.utime(path, (at, at))
    number = 0
    while count < wanted:
        folder = root / "data" / f"part{number // 100:03d}" / f"shard{number:05d}"
        count += 1 + (not folder.parent.exists()) + (not folder.parent.parent.exists())
        folder.mkdir(parents=True)
        (folder / "data.txt").write_text("text\n")
        number += 1
    return count
