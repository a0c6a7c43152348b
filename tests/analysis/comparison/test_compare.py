"""Runs side by side: who wins by what, what differs, and when nothing can be said."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import lora_tui
from lora_tui.analysis.comparison.compare import Comparison, compare
from lora_tui.analysis.comparison.measures import (
    Value,
    observed_eval_noise,
    significant_difference,
    spec_of,
    training_speed,
)
from lora_tui.analysis.comparison.settings import differences
from lora_tui.analysis.similarity import same_eval_set, setup_of, training_data
from lora_tui.records.documents import ConfigValue, ConsoleFacts, LogRow
from lora_tui.records.updates import FileDoc
from lora_tui.runs.run import Run
from tests.support.run_builder import START, evaluation, run_of, summary, train

LATER = START + 100_000.0
BASE: dict[str, ConfigValue] = {
    "stage": "sft", "model_name_or_path": "org/Base", "dataset": "d", "val_size": 0.1, "seed": 42,
    "finetuning_type": "lora",
}  # fmt: skip


def made(
    name: str,
    end: float = 1.0,
    *,
    steps: int = 400,
    done: int | None = None,
    every: int = 10,
    config: Mapping[str, Any] | None = None,
    results: Mapping[str, Mapping[str, float]] | None = None,
    evals: bool = True,
    noise: float = 0.01,
    every_s: float = 1.0,
    seed: int = 1,
) -> Run:
    """A run whose losses fall to ``end``, with an evaluation every tenth of its steps; ``done``: it died there."""
    chance = random.Random(seed)
    rows: list[LogRow] = []
    for step in range(every, (done or steps) + 1, every):
        loss = end + 2 * math.exp(-6 * step / steps) + chance.gauss(0, noise)
        rows.append(train(step, loss, steps, every_s=every_s))
        if evals and step % (steps // 10) == 0:
            rows.append(evaluation(step, end + 2 * math.exp(-6 * step / steps), steps, every_s=every_s))
    given = dict(results or {})
    if done is None:
        rows.append(summary(steps, steps, every_s=every_s))
        given.setdefault("train", {"train_loss": 1.5})
    run = run_of(rows, config={**BASE, **(config or {})}, results=given)
    run.path, run.name = Path("/runs") / name, name
    return run


def predicted(name: str, bleu: float, count: int, **more: Any) -> Run:
    values = {"predict_bleu-4": bleu, "predict_runtime": 10.0, "predict_samples_per_second": count / 10}
    return made(name, results={"predict": values}, **more)


def outcome(found: Comparison, code: str) -> tuple[str, tuple[int, ...]]:
    measure = found.measure(code)
    assert measure is not None, code
    return measure.outcome, measure.best


def notes(found: Comparison) -> list[str]:
    return [note.code for note in found.notes]


def verdict(found: Comparison) -> list[str]:
    return [claim.code for claim in found.verdict]


class TestWinners:
    def test_a_lower_eval_loss_wins(self):
        found = compare([made("a", 1.0), made("b", 1.2)], LATER)
        assert outcome(found, "eval_best") == ("best", (0,))
        assert outcome(found, "perplexity") == ("best", (0,))
        assert notes(found) == []
        assert verdict(found) == ["best"]
        assert found.verdict[0].runs == (0, 1)

    def test_within_noise_is_even(self):
        found = compare([made("a", 1.0), made("b", 1.003)], LATER)
        assert outcome(found, "eval_best") == ("even", (0, 1))
        assert verdict(found) == ["even"]

    def test_some_share_the_best_place(self):
        found = compare([made("a", 1.5), made("b", 1.003), made("c", 1.0)], LATER)
        assert outcome(found, "eval_best") == ("shared", (2, 1))
        assert found.order() == [2, 1, 0]
        assert found.verdict[0].runs == (2, 1, 0)

    @pytest.mark.parametrize(
        ("bleu", "count", "expected"),
        [(41.0, 40, "even"), (60.0, 40, "best"), (41.0, 2000, "best"), (37.5, 2000, "even")],
    )
    def test_a_score_wins_by_more_than_its_samples_scatter(self, bleu, count, expected):
        found = compare([predicted("a", 37.0, count), predicted("b", bleu, count)], LATER)
        assert outcome(found, "bleu")[0] == expected

    def test_higher_speed_wins(self):
        found = compare([made("a", every_s=1.0), made("b", every_s=0.5), made("c", every_s=0.51)], LATER)
        assert outcome(found, "steps_per_s") == ("unfair", ())
        batch = {"total_train_batch_size": 8}
        runs = [made("a", config=batch), made("b", every_s=0.5, config=batch), made("c", every_s=0.51, config=batch)]
        assert outcome(compare(runs, LATER), "samples_per_s") == ("shared", (1, 2))

    def test_the_time_of_evaluations_is_no_training_speed(self):
        rows = []
        clock = 0.0
        for step in range(10, 210, 10):
            clock += 10
            rows.append(LogRow("train", step, {"loss": 1.0, "total_tokens": 100.0 * step}, 200, step / 200, clock))
            clock += 90
            rows.append(LogRow("eval", step, {"eval_loss": 1.0}, 200, step / 200, clock))
        assert list(training_speed(run_of(rows))) == pytest.approx([1.0, 100.0])

    def test_what_is_no_number_never_wins(self):
        good = made("good", 1.0)
        rows = [train(step, 2.0, 400) for step in range(10, 60, 10)]
        rows += [train(step, 0.0, 400) for step in range(60, 401, 10)]
        rows += [LogRow("eval", 400, {"eval_loss": math.nan}, 400, 3.0, 400.0), summary(400, 400)]
        dead = run_of(rows, config=BASE, ended=True)
        dead.path, dead.name = Path("/runs/dead"), "dead"
        found = compare([dead, good], LATER)
        assert "broken" in notes(found)
        assert outcome(found, "loss_end") == ("best", (1,))
        assert outcome(found, "eval_last") == ("best", (1,))
        assert found.order() == [1, 0]

    def test_measures_that_disagree(self):
        found = compare([predicted("a", 80.0, 400, end=1.0), predicted("b", 40.0, 400, end=0.8)], LATER)
        assert verdict(found) == ["best", "best", "disagree"]

    def test_without_an_evaluation_only_the_loss_is_told(self):
        found = compare([made("a", 1.0, evals=False), made("b", 1.5, evals=False)], LATER)
        assert verdict(found) == ["nothing", "best", "loss_only"]

    def test_the_noise_of_few_evaluations_is_not_known(self):
        spec = spec_of("eval_last")
        assert significant_difference(spec, Value(1.0), Value(1.1), True) == pytest.approx(0.02)
        assert significant_difference(spec, Value(1.0, error=0.0), Value(1.1, error=0.0), True) == pytest.approx(0.005)
        assert significant_difference(spec_of("bleu"), Value(50.0), Value(60.0, error=1.0), True) is None


class TestFairness:
    @pytest.mark.parametrize(
        ("config", "code"),
        [
            ({"stage": "pt"}, "other_stage"),
            ({"model_name_or_path": "org/Other"}, "other_model"),
            ({"val_size": 0.2}, "other_eval_set"),
            ({"eval_dataset": "e"}, "unknown_eval_set"),
            ({"dataset": "x"}, "other_data"),
        ],
    )
    def test_what_differs_is_said(self, config, code):
        found = compare([made("a", 1.0), made("b", 1.2, config=config)], LATER)
        assert code in notes(found)

    @pytest.mark.parametrize(
        "config", [{"stage": "pt"}, {"model_name_or_path": "org/Other"}, {"val_size": 0.2}, {"dataset": "x"}]
    )
    def test_and_nobody_wins(self, config):
        found = compare([made("a", 1.0), made("b", 1.2, config=config)], LATER)
        assert outcome(found, "eval_best") == ("unfair", ())
        assert verdict(found)[0] == "not_comparable"

    def test_the_same_model_by_another_path(self):
        paths = ["org/Base", "/data/models/base/", "/root/.cache/hub/models--org--Base/snapshots/0a1b2c"]
        runs = [made(f"r{at}", 1.0 + at / 5, config={"model_name_or_path": path}) for at, path in enumerate(paths)]
        assert notes(compare(runs, LATER)) == []

    def test_data_of_its_own_makes_other_training_data_fair(self):
        found = compare([made("a", 1.0, config={"eval_dataset": "e"}),
                         made("b", 1.2, config={"eval_dataset": "e", "dataset": "x"})], LATER)  # fmt: skip
        assert outcome(found, "eval_best") == ("best", (0,))
        assert outcome(found, "loss_end") == ("unfair", ())

    def test_another_seed_draws_other_samples(self):
        a, b = setup_of(made("a")), setup_of(made("b", config={"seed": 7}))
        assert same_eval_set(a, b) is None
        assert same_eval_set(a, setup_of(made("c"))) is True

    def test_answers_are_compared_across_models(self):
        found = compare(
            [predicted("a", 80.0, 400), predicted("b", 40.0, 400, config={"model_name_or_path": "o/X"})], LATER
        )
        assert outcome(found, "bleu") == ("best", (0,))
        assert outcome(found, "eval_best") == ("unfair", ())

    def test_but_not_across_data(self):
        found = compare([predicted("a", 80.0, 400), predicted("b", 40.0, 300)], LATER)
        assert outcome(found, "bleu") == ("unfair", ())

    def test_results_of_an_earlier_attempt_do_not_count(self):
        old = made("old", 1.0)
        stale = run_of([train(step, 1.0, 400) for step in range(10, 401, 10)], config=BASE, results_age=5000.0,
                       results={"predict": {"predict_bleu-4": 90.0}})  # fmt: skip
        stale.path, stale.name = Path("/runs/stale"), "stale"
        found = compare([predicted("new", 50.0, 400), stale, old], LATER)
        assert outcome(found, "bleu") == ("unfair", ())
        assert "stale_results" in notes(found)

    def test_few_samples_are_said(self):
        found = compare([predicted("a", 37.0, 40), predicted("b", 60.0, 40)], LATER)
        assert "few_predictions" in notes(found)

    def test_template_and_cutoff_ask_for_care_only(self):
        found = compare([made("a", 1.0, config={"template": "qwen", "cutoff_len": 512}),
                         made("b", 1.2, config={"template": "default", "cutoff_len": 1024})], LATER)  # fmt: skip
        assert notes(found) == ["other_template", "other_cutoff"]
        assert outcome(found, "eval_best") == ("best", (0,))


class TestProgress:
    def test_compared_at_the_step_that_both_have_reached(self):
        found = compare([made("a", 1.0), made("b", 1.3, done=200)], LATER)
        assert outcome(found, "eval_best") == ("unfair", ())
        measure = found.measure("eval_at")
        assert measure is not None
        assert measure.place is not None
        assert (measure.place.by, measure.place.at) == ("step", 200)
        assert [value.step for value in measure.values if value is not None] == [200, 200]
        assert (measure.outcome, measure.best) == ("best", (0,))
        assert verdict(found)[0] == "best"

    def test_or_at_the_same_epoch_where_a_step_is_not_the_same_amount_of_data(self):
        runs = [made("a", 1.0, config={"total_train_batch_size": 8}),
                made("b", 1.3, steps=800, done=400, config={"total_train_batch_size": 4})]  # fmt: skip
        measure = compare(runs, LATER).measure("eval_at")
        assert measure is not None
        assert measure.place is not None
        assert measure.place.by == "epoch"
        assert measure.place.at == pytest.approx(1.5)
        assert [value.step for value in measure.values if value is not None] == [200, 400]

    def test_the_level_of_the_loss_is_taken_there_too(self):
        found = compare([made("a", 1.0, evals=False), made("b", 1.5, evals=False, done=300)], LATER)
        assert outcome(found, "loss_at") == ("best", (0,))
        assert outcome(found, "loss_end") == ("unfair", ())

    def test_a_broken_run_sets_no_place(self):
        rows = [train(step, 2.0 if step < 60 else 0.0, 400) for step in range(10, 121, 10)]
        dead = run_of(rows, config=BASE)
        dead.path, dead.name = Path("/runs/dead"), "dead"
        found = compare([made("a", 1.0), made("b", 1.5, done=300), dead], LATER)
        measure = found.measure("eval_at")
        assert measure is not None
        assert measure.place is not None
        assert measure.place.at == 280
        assert measure.values[2] is None
        assert (measure.outcome, measure.best) == ("best", (0,))

    def test_runs_of_different_length_are_compared_at_their_ends(self):
        found = compare([made("a", 1.0, steps=400), made("b", 1.2, steps=800)], LATER)
        assert "other_length" in notes(found)
        assert found.measure("eval_at") is None
        assert outcome(found, "eval_last") == ("best", (0,))


class TestSettings:
    def test_only_what_differs_the_weighty_first(self):
        a = made("a", config={"learning_rate": 1e-4, "lora_rank": 8, "seed": 42, "output_dir": "x", "logging_steps": 5})
        b = made(
            "b", config={"learning_rate": "2e-4", "lora_rank": 8.0, "seed": 1, "output_dir": "y", "logging_steps": 9}
        )
        found, _ = differences([setup_of(a), setup_of(b)])
        assert [(item.option, item.kind) for item in found] == [
            ("learning_rate", "matters"), ("seed", "seed"), ("logging_steps", "idle"), ("output_dir", "idle"),
        ]  # fmt: skip

    def test_not_known_is_no_difference(self):
        a, b = made("a", config={"cutoff_len": 512, "bf16": True}), made("b")
        found, partly = differences([setup_of(a), setup_of(b)])
        assert found == ()
        assert partly == ("cutoff_len",)

    def test_unknown_values_keep_their_place(self):
        runs = [made("a", config={"lora_rank": 8}), made("b"), made("c", config={"lora_rank": 16})]
        found, _ = differences([setup_of(run) for run in runs])
        assert [item.values for item in found] == [(8, None, 16)]

    @pytest.mark.parametrize(
        ("option", "left", "right"),
        [
            ("num_train_epochs", 3, 3.0), ("learning_rate", "1.0e-4", 0.0001), ("lora_target", ("q", "v"), "v,q"),
            ("bf16", True, "true"), ("lora_target", "all", ("q", "v")), ("max_steps", -1, 400),
        ],
    )  # fmt: skip
    def test_the_same_in_other_words(self, option, left, right):
        a, b = made("a", config={option: left}), made("b", config={option: right})
        assert differences([setup_of(a), setup_of(b)])[0] == ()

    def test_a_later_prediction_has_no_say(self):
        run = made("a")
        facts = ConsoleFacts(True, config={"dataset": "test", "eval_examples": 40, "eval_batch_size": 2})
        run.apply([FileDoc("predict.log", facts, START + 500.0)])
        setup = setup_of(run)
        assert "eval_batch_size" not in setup.settings
        assert setup.data.shown == "d"
        assert setup.eval_samples is None

    def test_names_of_a_log_are_not_held_against_those_of_an_option(self):
        card = run_of([train(10, 1.0, 100)], config={"dataset": "d"})
        log = run_of([train(10, 1.0, 100)])
        log.apply([FileDoc("train.log", ConsoleFacts(True, config={"dataset": "d,e", "num_examples": 9}), START)])
        other = run_of([train(10, 1.0, 100)], config={"dataset": "x"})
        assert training_data(card).agrees(training_data(log)) is None
        assert training_data(card).agrees(training_data(other)) is False


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    from lora_tui.demo.samples import restore_mtimes, sample_dir

    root = tmp_path_factory.mktemp("real")
    import shutil

    shutil.copytree(sample_dir(), root, dirs_exist_ok=True)
    restore_mtimes(root)
    return {run.path.name: run for run in lora_tui.load_all(root)}


class TestRealRuns:
    def test_other_data(self, real):
        found = compare([real["sft"], real["sft-long"]], LATER + 1e9)
        assert {"other_data", "other_eval_set"} <= set(notes(found))
        assert verdict(found) == ["not_comparable"]
        options = [item.option for item in found.settings if item.kind == "matters"]
        assert options[:4] == ["dataset", "lora_rank", "lora_alpha", "learning_rate"]

    def test_other_stage(self, real):
        found = compare([real["sft"], real["dpo"]], LATER + 1e9)
        assert "other_stage" in notes(found)
        assert verdict(found) == ["not_comparable"]

    def test_one_that_was_killed(self, real):
        found = compare([real["sft"], real["killed"]], LATER + 1e9)
        assert "unfinished" in notes(found)
        assert outcome(found, "eval_best") == ("unfair", ())
        assert found.measure("loss_at") is not None

    def test_one_whose_weights_are_nan(self, real):
        found = compare([real["diverged"], real["sft"]], LATER + 1e9)
        assert "broken" in notes(found)
        assert outcome(found, "eval_last") == ("best", (1,))
        assert outcome(found, "loss_end") == ("best", (1,))

    def test_a_resumed_one_on_the_same_samples(self, real):
        found = compare([real["sft"], real["resumed"]], LATER + 1e9)
        assert "other_eval_set" not in notes(found)
        assert "unknown_eval_set" not in notes(found)
        assert outcome(found, "eval_best") == ("best", (0,))


class TestNoise:
    """The noise of evaluations, which no bend of the curve may be taken for."""

    @staticmethod
    def series(values):
        from lora_tui.runs.series import Series

        made = Series("eval_loss")
        for step, value in enumerate(values):
            made.append(step, value)
        return made

    def test_of_a_flat_curve(self):
        chance = random.Random(3)
        found = [observed_eval_noise(self.series([1 + chance.gauss(0, 0.02) for _ in range(30)])) for _ in range(40)]
        known = sorted(value for value in found if value is not None)
        assert len(known) == 40
        assert known[20] == pytest.approx(0.02, rel=0.25)

    def test_a_smooth_bend_is_none(self):
        smooth = observed_eval_noise(self.series([1 + math.exp(-at / 4) for at in range(20)]))
        assert smooth is not None
        assert smooth < 0.001

    def test_few_points_on_a_bend_do_not_tell(self):
        assert observed_eval_noise(self.series([1 + math.exp(-at) for at in range(5)])) is None
        assert observed_eval_noise(self.series([1.0, 1.1, 1.0, 1.1])) is None

    def test_the_same_value_every_time(self):
        assert observed_eval_noise(self.series([1.0] * 6)) == 0.0
