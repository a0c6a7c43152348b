"""Which runs are siblings: the same model, data and stage."""

from __future__ import annotations

from pathlib import Path

from lora_tui.analysis.similarity import name_beside
from lora_tui.records.documents import ConfigDoc
from lora_tui.records.updates import Batch, FileDoc, FileRows, RunUpdates
from lora_tui.runs.run import Run
from tests.support.call_count import calls_of
from tests.support.run_builder import START, train
from tests.support.sibling_runs import BASE, siblings, updates, workspace


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
