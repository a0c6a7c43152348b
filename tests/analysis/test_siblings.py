"""Other runs of the same model, data and stage: who they are, what is rated against them, what has changed since."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import lora_tui
from lora_tui.analysis import judge
from lora_tui.analysis.comparison.previous_run import earlier, since_previous
from lora_tui.analysis.context import Context
from lora_tui.analysis.model import Rating
from lora_tui.analysis.sibling_index import SiblingIndex
from lora_tui.analysis.similarity import name_beside
from lora_tui.i18n import Words
from lora_tui.records.documents import ConfigDoc, LogRow, Results, TrainerState
from lora_tui.records.updates import Batch, FileDoc, FileRows, RunUpdates
from lora_tui.runs.run import Run
from lora_tui.runs.workspace import Workspace
from tests.support.call_count import calls_of
from tests.support.run_builder import START, evaluation, summary, train

NOW = START + 1e6
BASE: dict[str, Any] = {
    "stage": "sft", "model_name_or_path": "org/Base", "dataset": "d", "val_size": 0.1, "seed": 42,
    "finetuning_type": "lora", "cutoff_len": 512, "num_devices": 1, "total_train_batch_size": 8,
}  # fmt: skip


def rows(end: float, *, steps: int = 200, every_s: float = 0.1, summed: bool = True) -> list[LogRow]:
    out: list[LogRow] = []
    for step in range(10, steps + 1, 10):
        out.append(train(step, end + 2 * math.exp(-step / 40), steps, every_s=every_s))
        if step % 40 == 0:
            out.append(evaluation(step, end + 2 * math.exp(-step / 40), steps, every_s=every_s))
    return [*out, summary(steps, steps, every_s=every_s)] if summed else out


def updates(
    name: str, end: float, at: float, config: Mapping[str, Any] | None = None, bleu: tuple[float, int] | None = None,
    **more: Any,
) -> RunUpdates:  # fmt: skip
    given: dict[str, dict[str, float]] = {
        "train": {"train_loss": 1.5}, "eval": {"eval_loss": end, "eval_runtime": 10.0, "eval_samples_per_second": 20.0}
    }  # fmt: skip
    if bleu is not None:
        given["predict"] = {
            "predict_bleu-4": bleu[0], "predict_runtime": 10.0, "predict_samples_per_second": bleu[1] / 10,
        }  # fmt: skip
    found: list[FileRows | FileDoc] = [
        FileRows("trainer_log.jsonl", "log", tuple(rows(end, **more)), START + at),
        FileDoc("training_args.yaml", ConfigDoc({**BASE, **(config or {})}, "llamafactory"), START + at),
    ]
    for split, values in given.items():
        document = Results(split, values)  # type: ignore[arg-type]
        found.append(FileDoc(f"{split}_results.json", document, START + at + 3))
    return RunUpdates(Path("/r") / name, tuple(found))


class Space(Workspace):
    """A workspace with its index."""

    def __init__(self) -> None:
        super().__init__([Path("/r")])
        self.index = SiblingIndex(self)


def workspace(*runs: RunUpdates) -> Space:
    made = Space()
    made.apply(Batch(runs, True))
    return made


def named(space: Space, name: str) -> Run:
    return next(run for run in space.runs if run.name == name)


def siblings(space: Space, name: str) -> list[str]:
    return [run.name for run in space.index.siblings(named(space, name))]


def rated(space: Space, name: str) -> Mapping[str, Rating]:
    run = named(space, name)
    return judge(run, NOW, Context(siblings=space.index.siblings(run))).ratings


class TestWho:
    def test_same_model_data_and_stage_newest_first(self):
        space = workspace(
            updates("a", 1.0, 0), updates("b", 1.1, 100), updates("c", 1.2, 200),
            updates("other-data", 1.0, 300, {"dataset": "x"}), updates("other-stage", 1.0, 400, {"stage": "pt"}),
            updates("other-model", 1.0, 500, {"model_name_or_path": "org/Other"}),
        )  # fmt: skip
        assert siblings(space, "a") == ["c", "b"]
        assert siblings(space, "other-data") == []

    def test_data_that_is_not_known_is_not_held_against_a_run(self):
        space = workspace(
            updates("a", 1.0, 0), updates("b", 1.1, 100, {"dataset": None}), updates("c", 1, 200, {"dataset": "x"})
        )
        assert siblings(space, "b") == ["c", "a"]
        assert siblings(space, "a") == ["b"]

    def test_it_follows_what_changes(self):
        space = workspace(updates("a", 1.0, 0), updates("b", 1.1, 100, {"dataset": "x"}))
        assert siblings(space, "a") == []
        document = ConfigDoc({**BASE}, "llamafactory")
        space.apply(Batch((RunUpdates(Path("/r/b"), (FileDoc("training_args.yaml", document, START + 200),)),)))
        before = space.index.changes()
        assert siblings(space, "a") == ["b"]
        assert space.index.changes() == before
        space.apply(Batch((RunUpdates(Path("/r/b"), gone=True),)))
        assert space.index.changes() > before
        assert siblings(space, "a") == []

    def test_a_job_that_trains_nothing_has_none(self):
        space = workspace(updates("a", 1.0, 0))
        job = (FileDoc("training_args.yaml", ConfigDoc(BASE, "llamafactory"), START),)
        space.apply(Batch((RunUpdates(Path("/r/job"), job),)))
        assert siblings(space, "job") == []
        assert siblings(space, "a") == []

    def test_a_thousand_runs_are_sorted_once(self):
        """All are looked at when the first one asks. After that an answer costs what it holds, and a row of one of them
        is no reason to look at the others."""
        few, many = (
            workspace(*(updates(f"r{at}", 1.0, at, {"dataset": f"d{at % 5}"}) for at in range(count)))
            for count in (100, 1000)
        )
        first, longer = (calls_of(space.index.siblings, space.runs[0]) for space in (few, many))
        assert longer < 11 * first
        assert len(many.index.siblings(many.runs[0])) == 199
        assert calls_of(lambda: [many.index.siblings(run) for run in many.runs]) < 1.5 * 1000 * 199
        newest = many.runs[0]
        row = FileRows("trainer_log.jsonl", "log", (train(210, 1.0, 400),), START + 1000)
        many.apply(Batch((RunUpdates(newest.path, (row,)),)))
        assert calls_of(lambda: many.index.siblings(newest)) < 1000

    def test_names_beside_each_other(self):
        left, right = Run(Path("/r/x"), "m/lora/sft"), Run(Path("/r/y"), "m/full/sft")
        assert name_beside(left, right) == "lora/sft"
        assert name_beside(left, Run(Path("/r/z"), "m/lora/dpo")) == "sft"
        assert name_beside(left, left) == "sft"


class TestRatings:
    def test_clearly_behind_the_best_is_fair_at_most(self):
        ratings = rated(workspace(updates("a", 0.8, 0), updates("b", 1.0, 100)), "b")
        for name, best in (("eval_loss", 0.8), ("perplexity", math.exp(0.8))):
            rating = ratings[name]
            assert (rating.level, rating.basis, rating.rule, rating.confidence) == (
                "fair", "sibling", "eval_sibling", "firm",
            )  # fmt: skip
            assert rating.params["sibling"] == "a"
            assert rating.params["sibling_value"] == pytest.approx(best)
            for lang in ("en", "zh"):
                words = Words(lang)
                assert "a" in words.rating(rating)
                assert "{" not in words.explanation(rating)

    def test_poor_stays_poor_and_best_raises_nothing(self):
        space = workspace(updates("a", 3.0, 0), updates("b", 2.5, 100))
        assert rated(space, "a")["eval_loss"].level == "poor"
        best = rated(space, "b")["eval_loss"]
        assert (best.level, best.basis, best.params["note"]) == ("poor", "orientation", "sibling_best")
        assert "the best" in Words("en").explanation(best)

    def test_within_noise_of_the_best(self):
        rating = rated(workspace(updates("a", 1.0, 0), updates("b", 1.003, 100)), "b")["eval_loss"]
        assert (rating.level, rating.params["note"]) == ("good", "sibling_even")

    def test_a_little_behind(self):
        rating = rated(workspace(updates("a", 1.0, 0), updates("b", 1.06, 100)), "b")["eval_loss"]
        assert (rating.level, rating.params["note"]) == ("good", "sibling_behind")

    @pytest.mark.parametrize(
        "config", [{"val_size": 0.2}, {"dataset": "x"}, {"stage": "dpo"}, {"finetuning_type": "full"}]
    )
    def test_never_against_other_samples_or_methods(self, config):
        rating = rated(workspace(updates("a", 0.5, 0, config), updates("b", 1.0, 100)), "b")["eval_loss"]
        assert (rating.level, rating.basis) == ("good", "orientation")
        assert "note" not in rating.params

    def test_what_is_not_known_is_orientation(self):
        rating = rated(workspace(updates("a", 0.5, 0, {"seed": 7}), updates("b", 1.0, 100)), "b")["eval_loss"]
        assert (rating.level, rating.confidence) == ("fair", "orientation")

    def test_a_run_under_way_is_not_measured_by_a_finished_one(self):
        live = RunUpdates(Path("/r/b"), updates("b", 1.0, 1e6 - 1, summed=False).updates[:2])
        space = workspace(updates("a", 0.5, 0), live)
        assert named(space, "b").status(NOW).live
        assert rated(space, "b")["eval_loss"].basis != "sibling"

    def test_scores(self):
        space = workspace(updates("a", 1.0, 0, bleu=(90.0, 1000)), updates("b", 1.0, 100, bleu=(72.0, 1000)))
        rating = rated(space, "b")["predict_bleu-4"]
        assert (rating.level, rating.rule) == ("fair", "score_sibling")
        assert rated(space, "a")["predict_bleu-4"].level == "excellent"

    def test_scores_of_few_samples_are_not_apart(self):
        space = workspace(updates("a", 1.0, 0, bleu=(90.0, 60)), updates("b", 1.0, 100, bleu=(82.0, 60)))
        rating = rated(space, "b")["predict_bleu-4"]
        assert (rating.level, rating.rule) == ("excellent", "bleu4")
        assert rating.params["note"] == "sibling_even"

    def test_speed_of_a_run_too_short_to_tell_itself(self):
        space = workspace(updates("a", 1.0, 0, every_s=0.1), updates("b", 1.0, 100, every_s=0.2))
        slow, fast = rated(space, "b")["steps_per_s"], rated(space, "a")["steps_per_s"]
        assert (slow.level, slow.basis, slow.confidence) == ("fair", "sibling", "firm")
        assert slow.params["slower"] == pytest.approx(50, abs=3)
        assert fast.level == "good"

    @pytest.mark.parametrize("config", [{"finetuning_type": "full"}, {"cutoff_len": 1024}, {"num_devices": 4}])
    def test_speed_never_of_another_setup(self, config):
        space = workspace(updates("a", 1.0, 0, config, every_s=0.1), updates("b", 1.0, 100, every_s=0.2))
        assert rated(space, "b")["steps_per_s"].basis != "sibling"

    def test_a_run_that_is_gone_is_not_kept(self):
        import gc
        import weakref

        space = workspace(updates("a", 0.8, 0), updates("b", 1.0, 100))
        rated(space, "b")
        gone = weakref.ref(named(space, "a"))
        space.apply(Batch((RunUpdates(Path("/r/a"), gone=True),)))
        space.index.siblings(named(space, "b"))
        gc.collect()
        assert gone() is None


class TestPrevious:
    def test_against_the_newest_before_it(self):
        space = workspace(updates("a", 1.5, 0), updates("b", 1.2, 100), updates("c", 1.0, 200), updates("d", 0.5, 300))
        run = named(space, "c")
        found = since_previous(run, space.index.siblings(run), NOW)
        assert found is not None
        assert (found.run.name, found.sure) == ("b", True)
        change = found.changes["eval_loss"]
        assert change.difference == pytest.approx(-0.2)
        assert change.outcome == "better"
        assert "eval_runtime" not in found.changes

    def test_nothing_before_it(self):
        space = workspace(updates("a", 1.5, 0), updates("b", 1.2, 100))
        run = named(space, "a")
        assert since_previous(run, space.index.siblings(run), NOW) is None

    @pytest.mark.parametrize(("bleu", "outcome"), [(40.0, "same"), (60.0, "better"), (10.0, "worse")])
    def test_scores_with_their_noise(self, bleu, outcome):
        space = workspace(updates("a", 1.0, 0, bleu=(37.0, 100)), updates("b", 1.0, 100, bleu=(bleu, 100)))
        run = named(space, "b")
        found = since_previous(run, space.index.siblings(run), NOW)
        assert found is not None
        assert found.changes["predict_bleu-4"].outcome == outcome
        assert found.changes["eval_loss"].outcome == "same"

    def test_further_back_where_the_last_one_has_no_such_result(self):
        bare = RunUpdates(Path("/r/b"), updates("b", 1.1, 100).updates[:2])
        space = workspace(updates("a", 1.5, 0), bare, updates("c", 1.0, 200))
        run = named(space, "c")
        found = since_previous(run, space.index.siblings(run), NOW)
        assert found is not None
        assert found.run.name == "a"

    def test_whether_the_samples_are_the_same_is_not_known(self):
        space = workspace(updates("a", 1.5, 0, {"val_size": None, "seed": None}), updates("b", 1.0, 100))
        run = named(space, "b")
        found = since_previous(run, space.index.siblings(run), NOW)
        assert found is not None
        assert not found.sure

    def test_never_against_other_samples(self):
        space = workspace(updates("a", 1.5, 0, {"val_size": 0.5}), updates("b", 1.0, 100))
        run = named(space, "b")
        assert since_previous(run, space.index.siblings(run), NOW) is None

    def test_known_data_before_unknown(self):
        space = workspace(updates("a", 1.5, 0), updates("b", 1.2, 100, {"dataset": None}), updates("c", 1.0, 200))
        run = named(space, "c")
        assert [other.name for other in earlier(run, space.index.siblings(run), NOW)] == ["a", "b"]

    def test_a_run_without_results_looks_at_nobody(self):
        """Which is every run that is being trained, at each of its rows."""
        others = [updates(f"r{at}", 1.5, at) for at in range(20)]
        space = workspace(*others, RunUpdates(Path("/r/b"), updates("b", 1.2, 100).updates[:2]), updates("c", 1.1, 200))
        bare, whole = named(space, "b"), named(space, "c")
        assert since_previous(whole, space.index.siblings(whole), NOW) is not None
        around = space.index.siblings(bare)
        assert len(around) == 21
        assert since_previous(bare, around, NOW) is None
        among, alone = (calls_of(since_previous, bare, others, NOW) for others in (around, ()))
        assert among == alone

    def test_a_moment_that_is_not_known_has_nothing_before_it(self):
        space = workspace(updates("a", 1.5, 0))
        assert list(earlier(Run(Path("/r/new")), space.runs, NOW)) == []

    def test_trained_when_the_trainer_left_its_state(self):
        """Rows of trainer_state.json have no time of their own; a later evaluation in the directory does not count."""

        def told(name: str, end: float, at: float, evaluated: float) -> RunUpdates:
            state = TrainerState(global_step=200, max_steps=200, rows=tuple(rows(end)))
            values = {"eval_loss": end, "eval_runtime": 10.0, "eval_samples_per_second": 20.0}
            return RunUpdates(Path("/r") / name, (
                FileDoc("trainer_state.json", state, START + at),
                FileDoc("training_args.yaml", ConfigDoc(dict(BASE), "llamafactory"), START + at),
                FileDoc("eval_results.json", Results("eval", values), START + evaluated),
            ))  # fmt: skip

        space = workspace(told("a", 1.5, 0, 5000), told("b", 1.2, 100, 110), told("c", 1.1, 200, 210))
        found = {run.name: since_previous(run, space.index.siblings(run), NOW) for run in space.runs}
        assert {name: since and since.run.name for name, since in found.items()} == {"a": None, "b": "a", "c": "b"}

    def test_what_has_no_better_way_has_changed(self):
        def logged(name: str, at: float, value: float) -> RunUpdates:
            plain = updates(name, 1.0, at)
            values = {"eval_loss": 1.0, "eval_logps/chosen": value, "eval_rewards/margins": value}
            return RunUpdates(
                plain.path, (*plain.updates, FileDoc("eval_results.json", Results("eval", values), START + at + 3))
            )

        space = workspace(logged("a", 0, -10.0), logged("b", 100, -12.0))
        run = named(space, "b")
        found = since_previous(run, space.index.siblings(run), NOW)
        assert found is not None
        changes = {key: (change.difference, change.outcome) for key, change in found.changes.items()}
        assert changes["eval_logps/chosen"] == (-2.0, "changed")

    def test_a_score_of_unknown_noise_has_changed(self):
        def scored(name: str, at: float, bleu: float) -> RunUpdates:
            plain = updates(name, 1.0, at)
            result = FileDoc("predict_results.json", Results("predict", {"predict_bleu-4": bleu}), START + at + 3)
            return RunUpdates(plain.path, (*plain.updates, result))

        space = workspace(scored("a", 0, 30.0), scored("b", 100, 60.0))
        run = named(space, "b")
        found = since_previous(run, space.index.siblings(run), NOW)
        assert found is not None
        assert found.changes["predict_bleu-4"].outcome == "changed"

    def test_a_real_one(self, all_runs):
        runs = {run.path.name: run for run in lora_tui.load_all(all_runs / "lora")}
        found = since_previous(runs["resumed"], [runs["sft"], runs["killed"], runs["default"]], NOW + 1e9)
        assert found is not None
        assert (found.run.path.name, found.sure) == ("sft", True)
        assert found.changes["eval_loss"].outcome == "worse"
