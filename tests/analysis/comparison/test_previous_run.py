"""What has become better or worse since the previous run of the same model, data and stage."""

from __future__ import annotations

from pathlib import Path

import pytest

import lora_tui
from lora_tui.analysis.comparison.previous_run import earlier, since_previous
from lora_tui.records.documents import ConfigDoc, Results, TrainerState
from lora_tui.records.updates import FileDoc, RunUpdates
from lora_tui.runs.run import Run
from tests.support.call_count import calls_of
from tests.support.run_builder import START
from tests.support.sibling_runs import BASE, NOW, named, rows, updates, workspace


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
