"""What the overview says of evaluations without a loss, and of a mean that is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.support.app_pilot import make_app, pane, settled, text

SIZE = (160, 50)


async def test_an_evaluation_by_generating_is_one(copy_run: Callable[..., Path]) -> None:
    """With ``predict_with_generate`` evaluations have BLEU and ROUGE and no loss."""
    run = copy_run("lora/sft-one-yaml")
    scores = {split: json.loads((run / f"{split}_results.json").read_text()) for split in ("predict", "eval")}
    app = make_app(run)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        assert "not evaluated" not in pane(app, "head")
        assert "eval loss (val_size" not in text(app), "an option that was set is not advised"
        # The same names twice: the line below the scores says of which file they are.
        lines = text(app).splitlines()
        for split, values in scores.items():
            first = next(
                at for at, line in enumerate(lines) if f"{values[f'{split}_bleu-4']:.2f}" in line and "││" in line
            )
            assert f"{split}_results.json · " in lines[first + 4], "\n".join(lines)


async def test_the_mean_loss_of_a_resumed_run_is_not_shown(copy_run: Callable[..., Path]) -> None:
    """transformers divides the sum of the steps since the resume by all steps: 0.46 where no row is below 1."""
    run = copy_run("lora/resumed")
    assert json.loads((run / "train_results.json").read_text())["train_loss"] < 0.5
    app = make_app(run)
    async with app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        head = pane(app, "head")
        assert "finished" in head
        assert "mean train loss" not in head
