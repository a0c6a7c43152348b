"""Write unusual runs to disk: without a log, with a damaged log, or with odd values in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from tests.support.live_app import eval_row, predict_row, row

WRITTEN = 1_795_300_000.0
"""Unix time at which all files of the runs were written."""


def write_odd_runs(root: Path) -> Path:
    """Write every odd run below ``root``, one directory each, and return ``root``."""
    for name, rows in logs().items():
        _write(root / name / "trainer_log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    _write(root / "torn" / "trainer_log.jsonl", json.dumps(row(1, 2.0)) + '\n{"current_steps": 2, "lo')
    _write(root / "broken" / "trainer_log.jsonl", "{]\n" * 5)
    _write(
        root / "console-only" / "train.log", "***** Running training *****\n  Num examples = 100\n  Num Epochs = 3\n"
    )
    _write(
        root / "console-rows" / "train.log",
        "".join(f"{{'loss': {2 - n / 10}, 'learning_rate': 1e-05, 'epoch': {n / 10}}}\n" for n in range(1, 9)),
    )
    _write(
        root / "console-step-of-one-row" / "train.log",
        "100%|##########| 120/120 [04:00<00:00,  2.00s/it]\n"
        + "".join(f"{{'loss': {2 - n / 10}, 'learning_rate': 1e-05, 'epoch': {n / 10}}}\n" for n in range(1, 9)),
    )
    _write(
        root / "console-failed" / "train.log",
        "***** Running training *****\nTraceback (most recent call last):\n"
        '  File "train.py", line 1, in <module>\nRuntimeError: CUDA error: device-side assert triggered\n',
    )
    _write(root / "results-only" / "predict_results.json", json.dumps({"predict_bleu-4": 40.5, "predict_rouge-1": 50}))
    _write(root / "results-odd" / "eval_results.json", json.dumps({"eval_loss": float("nan"), "eval_runtime": 0.0}))
    _write(root / "results-empty" / "all_results.json", "{}")
    history = [{"step": n, "epoch": n / 10, "eval_loss": 2 - n / 10} for n in range(1, 6)]
    _write(
        root / "state-of-evaluations" / "trainer_state.json",
        json.dumps({"global_step": 5, "max_steps": 10, "log_history": history}),
    )
    _write(
        root / "checkpoint-only" / "checkpoint-20" / "trainer_state.json",
        json.dumps({"global_step": 20, "max_steps": 40, "log_history": [{"step": 20, "epoch": 1.0, "grad_norm": 0.5}]}),
    )
    _write(root / "checkpoint-torn" / "checkpoint-20" / "trainer_state.json", '{"global_step": 20')
    _write(root / "checkpoint-torn" / "trainer_log.jsonl", json.dumps(eval_row(20, 1.0)) + "\n")
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (WRITTEN, WRITTEN))
    return root


def logs() -> dict[str, list[dict[str, object]]]:
    """Return the rows of trainer_log.jsonl by the name of the run."""
    nan, inf = float("nan"), float("inf")
    steps = range(1, 21)
    return {
        "empty": [],
        "eval-first": [eval_row(5, 1.5)],
        "evaluations-only": [eval_row(5 * n, 1.5 - n / 10) for n in steps],
        "eval-then-loss": [eval_row(1, 2.5), *(row(10 * n, 2.5 - n / 10) for n in range(1, 6))],
        "nan-only": [row(n, nan) for n in steps],
        "nan-evaluations": [eval_row(n, nan) for n in steps],
        "infinite": [row(n, inf if n % 2 else -inf) for n in steps],
        "one-row": [row(1, 2.0)],
        "one-step-again": [row(5, 2.0) for _ in steps],
        "huge": [row(n, (-1) ** n * 1e300) for n in steps],
        "zero": [row(n, 0.0) for n in steps],
        "no-loss": _without(("loss",), (row(n, 1.0) for n in steps)),
        "only-steps": _without(("loss", "lr", "epoch"), (row(n, 1.0) for n in steps)),
        "no-lr": _without(("lr",), (row(n, 3 - n / 10) for n in steps)),
        "no-total": _without(("total_steps", "percentage", "remaining_time"), (row(n, 1.0) for n in steps)),
        "past-the-end": [row(n, 1.0, total=10) for n in steps],
        "predicting": [predict_row(n, 40) for n in steps],
        "reward-only": [{"current_steps": n, "total_steps": 40, "reward": n / 10, "epoch": n / 20} for n in steps],
        "rewards-of-evaluations": [
            {**eval_row(n, 0.6), "eval_rewards/accuracies": 0.5 + n / 50, "eval_rewards/margins": n / 20} for n in steps
        ],
        "words-for-numbers": [{"current_steps": "ten", "loss": "NaN", "lr": None, "epoch": []} for _ in steps],
        "\u4e2d\u6587-[red]-" + "long-" * 30: [row(n, 2 - n / 20) for n in steps],
    }


def _without(names: Iterable[str], rows: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    return [{key: value for key, value in each.items() if key not in names} for each in rows]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
