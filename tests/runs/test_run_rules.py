"""How a run combines its files, one rule at a time: the primary source, what the run is, and when it was written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lora_tui.records.documents import ConfigDoc, ConfigValue, ConsoleFacts, LogRow, Predictions, Results, TrainerState
from lora_tui.records.rows import Rows
from lora_tui.records.updates import (
    CheckpointDir,
    CheckpointsSeen,
    FileDoc,
    FileGone,
    FileProblem,
    FileRows,
    FileSeen,
    SpaceSeen,
    Update,
)
from lora_tui.runs.results import has_final_model, has_final_results
from lora_tui.runs.run import Run

LOG, EVENTS, CONSOLE = "trainer_log.jsonl", "runs/events.out.tfevents.1", "train.log"
NOW = 1_750_000_000.0


def row(step: int | None, loss: float = 1.0, total: int | None = 100, **more: float) -> LogRow:
    clock = None if step is None else float(step)
    return LogRow("train", step, {"loss": loss, **more}, total, None if step is None else step / 100, clock)


def rows(*steps: int, loss: float = 1.0, total: int | None = 100) -> tuple[LogRow, ...]:
    return tuple(row(step, loss, total) for step in steps)


def evaluated(step: int, loss: float) -> LogRow:
    return LogRow("eval", step, {"eval_loss": loss}, 100, step / 100, float(step))


def batches(*done: int) -> tuple[LogRow, ...]:
    return tuple(LogRow("progress", step, {}, 10, None, 2.0 * step) for step in done)


def log(*given: LogRow, at: float = NOW, arrived: float | None = None, restarted: bool = False) -> FileRows:
    return FileRows(LOG, "log", given, at, restarted, arrived)


def state(*given: LogRow, file: str = "checkpoint-50/trainer_state.json", at: float = NOW, **more: int) -> FileDoc:
    return FileDoc(file, TrainerState(rows=given, **more), at)  # type: ignore[arg-type]


def config(file: str = "training_args.yaml", at: float = NOW, **values: ConfigValue) -> FileDoc:
    return FileDoc(file, ConfigDoc(values), at)


def console(
    at: float = NOW, adapters: tuple[str, ...] = (), total: int | None = None, **settings: ConfigValue
) -> FileDoc:
    facts = ConsoleFacts(is_training_log=True, config=settings, adapters=adapters, total_steps=total)
    return FileDoc(CONSOLE, facts, at)


def run_of(*updates: Update) -> Run:
    run = Run(Path("/runs/made"))
    run.apply(updates)
    return run


def live(*updates: Update) -> Run:
    """Return a run that got the updates one after the other."""
    run = Run(Path("/runs/made"))
    for update in updates:
        run.apply([update])
    return run


def values(run: Run, name: str = "loss") -> list[tuple[float, float]]:
    series = run.series.get(name)
    return [] if series is None else list(zip(series.steps, series.values, strict=True))


class TestApply:
    def test_nothing_is_known_of_a_new_run(self) -> None:
        run = Run(Path("/runs/made"))
        assert (run.name, run.revision, run.linked) == ("made", 0, ())
        assert (run.partial, run.sampled, run.log_deleted) == (False, False, False)
        assert (list(run.rows), dict(run.series), dict(run.config), dict(run.results())) == ([], {}, {}, {})
        assert (run.stage, run.method, run.model, run.total_steps, run.epoch, run.eta) == (None,) * 6
        assert (run.activity, run.last_row_time, run.last_job_time, run.console, run.predictions) == (None,) * 5
        assert (run.segments, list(run.resumed_at), run.checkpoints(), list(run.adapters)) == (1, [], (), [])
        assert (has_final_results(run), has_final_model(run), run.counted_rows, run.is_plain_trainer) == (False,) * 4
        assert run.console_time == -math.inf
        assert Run(Path("/runs/made"), "other").name == "other"

    def test_each_change_is_a_revision(self) -> None:
        run = Run(Path("/runs/made"))
        run.apply([])
        assert run.revision == 0
        run.apply([log(*rows(10)), config(stage="sft")])
        assert run.revision == 1
        run.apply([FileSeen("README.md", NOW)])
        assert run.revision == 2

    def test_every_update_of_a_batch_counts(self) -> None:
        space = SpaceSeen(5, 10)
        saved = CheckpointDir(10, "checkpoint-10", NOW, True)
        run = run_of(
            log(*rows(10, 20)), FileSeen("model.safetensors", NOW + 1), CheckpointsSeen((saved,)), space,
            FileProblem("README.md", 3, "no yaml"), config(stage="sft"), FileDoc("p", Predictions(count=7), NOW),
        )  # fmt: skip
        assert values(run) == [(10, 1.0), (20, 1.0)]
        assert run.files.times["model.safetensors"] == NOW + 1
        assert [item.step for item in run.checkpoints()] == [10]
        assert run.files.space == space
        assert [(note.file, note.line) for note in run.problems] == [("README.md", 3)]
        assert (run.stage, run.activity) == ("sft", NOW + 1)
        assert run.predictions is not None
        assert run.predictions.count == 7

    def test_derived_answers_follow_changes(self) -> None:
        run = run_of(log(*rows(10, 20)), CheckpointsSeen((CheckpointDir(10, "checkpoint-10", NOW, True),)))
        assert run.results() == {}
        assert len(run.checkpoints()) == 1
        run.apply([FileDoc("train_results.json", Results("train", {"train_loss": 1.5}), NOW), CheckpointsSeen(())])
        assert run.results()["train"].values == {"train_loss": 1.5}
        assert run.results() is run.results()
        assert run.checkpoints() == ()
        assert run.checkpoints() is run.checkpoints()

    def test_a_forecast_is_made_anew_with_each_row(self) -> None:
        run = run_of(log(*rows(*range(1, 31))))
        first = run.eta
        assert first is not None
        assert run.eta is first
        run.apply([log(*rows(*range(31, 61)))])
        assert run.eta is not first

    def test_only_the_last_rows_of_a_sampled_log_give_the_speed(self) -> None:
        given = (
            row(1)._replace(elapsed_s=1.0),
            *(row(step)._replace(elapsed_s=900.0 + step) for step in range(90, 96)),
        )
        whole = run_of(FileRows(LOG, "log", given, NOW))
        sampled = run_of(FileRows(LOG, "log", given, NOW, tail_rows=6))
        assert whole.timeline.longest_gap == 989.0
        assert sampled.timeline.longest_gap == 1.0


class TestFollowing:
    STEPS = tuple(range(10, 101, 10))

    def test_row_by_row_is_the_same_as_at_once(self) -> None:
        given = [*rows(*self.STEPS[:5]), evaluated(50, 0.9), *rows(*self.STEPS[5:]), evaluated(100, 0.8)]
        at_once, one_by_one = run_of(log(*given)), live(*(log(one) for one in given))
        assert list(one_by_one.rows) == list(at_once.rows) == given
        for name in ("loss", "eval_loss", "perplexity", "epoch"):
            assert values(one_by_one, name) == values(at_once, name)
        assert one_by_one.segments == 1

    def test_blocks_are_the_same_as_rows(self) -> None:
        """From 512 rows on they are in columns."""
        many = [row(step, 1 / step, 2000) for step in range(1, 1801)]
        at_once = run_of(log(*many))
        blocks = live(*(FileRows(LOG, "log", Rows(many[at : at + 600]), NOW) for at in range(0, 1800, 600)))
        assert list(blocks.rows) == list(at_once.rows) == many
        assert values(blocks) == values(at_once)
        again = [row(step, 2.0, 2000) for step in range(500, 1200)]
        blocks.apply([FileRows(LOG, "log", Rows(again), NOW)])
        at_once.apply([FileRows(LOG, "log", tuple(again), NOW)])
        assert list(blocks.rows) == list(at_once.rows) == [*many[:499], *again]
        assert values(blocks) == values(at_once) == [(one.step, one.values["loss"]) for one in blocks.rows]
        seen = FileRows(LOG, "log", Rows([row(step, 2.0, 2000) for step in range(1200, 1800)]), NOW + 9, False, NOW + 9)
        blocks.apply([seen])
        assert (len(blocks.rows), blocks.last_row_time) == (1799, NOW + 9)

    def test_a_resume_drops_what_it_does_again(self) -> None:
        run = live(log(*rows(10, 20, 30, 40)), log(*rows(30, 40, 50, loss=2.0)))
        assert values(run) == [(10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0), (50, 2.0)]
        assert (run.segments, list(run.resumed_at)) == (2, [30])

    def test_a_restarted_log_replaces_all_rows(self) -> None:
        run = live(log(*rows(10, 20)), log(*rows(1, 2, loss=3.0), restarted=True))
        assert values(run) == [(1, 3.0), (2, 3.0)]
        assert run.segments == 1

    def test_the_order_within_a_batch_does_not_matter(self) -> None:
        extra = FileRows(EVENTS, "events", (row(10, 1.0, None, grad_norm=0.5),), NOW)
        for batch in ([extra, log(*rows(10, 20))], [log(*rows(10, 20)), extra]):
            run = run_of(*batch)
            assert values(run) == [(10, 1.0), (20, 1.0)]
            assert values(run, "grad_norm") == [(10, 0.5)]

    def test_events_beside_a_log_add_what_it_leaves_out(self) -> None:
        run = live(
            log(*rows(10, 20)), FileRows(EVENTS, "events", (row(10, 1.0, None, grad_norm=0.5),), NOW),
            log(*rows(30)), FileRows(EVENTS, "events", (row(30, 1.0, None, grad_norm=0.7),), NOW),
        )  # fmt: skip
        assert values(run, "grad_norm") == [(10, 0.5), (30, 0.7)]
        assert [one.step for one in run.rows] == [10, 20, 30]

    def test_events_that_come_late_are_put_in_their_place(self) -> None:
        run = live(
            log(*rows(10, 20, 30)),
            FileRows(EVENTS, "events", (row(30, 1.0, None, grad_norm=0.7),), NOW),
            FileRows("runs/events.out.tfevents.2", "events", (row(10, 1.0, None, grad_norm=0.5),), NOW),
            FileRows(EVENTS, "events", (row(20, 1.0, None, grad_norm=0.6),), NOW),
        )  # fmt: skip
        assert values(run, "grad_norm") == [(10, 0.5), (20, 0.6), (30, 0.7)]

    def test_several_event_files_are_one_training(self) -> None:
        """The first one goes on after the second one has begun, as clocks of two machines can have it."""
        first = FileRows(EVENTS, "events", rows(10, 20, total=None), NOW)
        second = FileRows("runs/events.out.tfevents.2", "events", rows(40, 50, total=None), NOW + 10)
        more = FileRows("runs/events.out.tfevents.2", "events", rows(60, total=None), NOW + 20)
        late = FileRows(EVENTS, "events", rows(30, total=None), NOW + 5)
        assert [one.step for one in live(first, second, more, late).rows] == [10, 20, 30, 40, 50, 60]

    def test_two_event_files_are_read_one_after_the_other(self) -> None:
        """Read at once or as they come, the files are taken one after the other, each whole."""
        second = FileRows("runs/events.out.tfevents.2", "events", rows(30, 40, total=None), NOW + 10)
        run = live(
            FileRows(EVENTS, "events", rows(10, 20, total=None), NOW), second,
            FileRows(EVENTS, "events", rows(50, total=None), NOW + 5),
        )  # fmt: skip
        at_once = run_of(FileRows(EVENTS, "events", rows(10, 20, 50, total=None), NOW + 5), second)
        assert [one.step for one in run.rows] == [one.step for one in at_once.rows] == [10, 20, 30, 40]
        assert (run.segments, at_once.segments) == (2, 2)

    def test_a_state_of_ppo_counts_from_zero(self) -> None:
        """Its first step is 0 where the log's is 1."""
        told = [row(step, 0.5, reward=float(step)) for step in (1, 2, 3)]
        kept = [row(step - 1, 0.5, None, reward=float(step), kl=0.1 * step) for step in (1, 2, 3)]
        for run in (live(config(stage="ppo"), log(*told), state(*kept)), run_of(log(*told), state(*kept))):
            assert list(run.series["kl"].steps) == [1, 2, 3]
            assert list(run.series["kl"].values) == pytest.approx([0.1, 0.2, 0.3])


class TestPrimarySource:
    def test_the_log_as_soon_as_it_has_a_row(self) -> None:
        many = FileRows(EVENTS, "events", rows(10, 20, 30, total=None), NOW)
        run = live(many, FileRows(LOG, "log", (), NOW))
        assert [one.step for one in run.rows] == [10, 20, 30]
        assert run.producer == "transformers"
        run.apply([log(*rows(10))])
        assert [one.step for one in run.rows] == [10]
        assert run.producer == "llamafactory"

    def test_else_the_most_rows_of_training(self) -> None:
        events = FileRows(EVENTS, "events", rows(10, 20, total=None), NOW)
        printed = FileRows(CONSOLE, "console", rows(10, 20, 30, loss=1.01), NOW)
        for batch in ((events, printed), (printed, events)):
            assert [one.step for one in live(*batch).rows] == [10, 20, 30]
            assert [one.step for one in run_of(*batch).rows] == [10, 20, 30]
        evals = tuple(evaluated(step, 1.0) for step in (10, 20, 30))
        run = run_of(events, FileRows(CONSOLE, "console", evals, NOW))
        assert [one.step for one in run.rows] == [10, 20]

    def test_rows_of_several_files_are_counted_together(self) -> None:
        run = run_of(
            FileRows(EVENTS, "events", rows(10, 20, total=None), NOW),
            FileRows("runs/events.out.tfevents.2", "events", rows(30, 40, total=None), NOW + 10),
            FileRows(CONSOLE, "console", rows(10, 20, 30, loss=1.01), NOW),
        )
        assert [one.step for one in run.rows] == [10, 20, 30, 40]

    def test_of_as_many_rows_the_more_precise_ones(self) -> None:
        events = FileRows(EVENTS, "events", rows(10, 20, loss=1.23456, total=None), NOW)
        printed = FileRows(CONSOLE, "console", rows(10, 20, loss=1.235), NOW)
        for batch in ((events, printed), (printed, events)):
            assert values(live(*batch)) == [(10, 1.23456), (20, 1.23456)]

    def test_a_state_is_primary_only_with_more_rows(self) -> None:
        """It is as old as the last checkpoint, while the other source goes on."""
        printed = FileRows(CONSOLE, "console", rows(10, 20), NOW)
        both = live(printed, state(*rows(10, 20, total=None)))
        assert both.total_steps == 100
        assert both.rows[0].total_steps == 100
        longer = live(printed, state(*rows(10, 20, 30, total=None)))
        assert [one.total_steps for one in longer.rows] == [None] * 3

    def test_the_newest_state_is_enough(self) -> None:
        run = run_of(
            state(*rows(10, 20, total=None), at=NOW),
            state(*rows(10, 20, 30, total=None), file="checkpoint-60/trainer_state.json", at=NOW + 9),
        )
        assert [one.step for one in run.rows] == [10, 20, 30]
        assert run.segments == 1

    def test_states_follow_each_other(self) -> None:
        run = live(
            state(*rows(10, total=None)), state(*rows(10, 20, total=None), at=NOW + 9),
            state(*rows(10, 20, 30, total=None), file="trainer_state.json", at=NOW + 19),
        )  # fmt: skip
        assert values(run) == [(10, 1.0), (20, 1.0), (30, 1.0)]

    def test_a_state_beside_a_log_adds_what_it_leaves_out(self) -> None:
        first = row(10, 1.0, None, grad_norm=0.5)
        second = row(20, 1.0, None, grad_norm=0.6)
        run = live(log(*rows(10, 20)), state(first), state(first, second, at=NOW + 9))
        assert values(run, "grad_norm") == [(10, 0.5), (20, 0.6)]
        other = row(10, 1.0, None, grad_norm=0.9)
        run.apply([state(other, second, at=NOW + 19)])
        assert values(run, "grad_norm") == [(10, 0.9), (20, 0.6)]

    def test_values_of_the_log_are_kept(self) -> None:
        run = live(log(*rows(10, 20, loss=1.23456)), FileRows(CONSOLE, "console", rows(10, 20, loss=1.235), NOW))
        assert values(run) == [(10, 1.23456), (20, 1.23456)]
        printed = FileRows(CONSOLE, "console", (row(10, 1.235, grad_norm=0.5),), NOW)
        for beside in (live(log(*rows(10, loss=1.23456)), printed), run_of(log(*rows(10, loss=1.23456)), printed)):
            assert values(beside, "grad_norm") == [(10, 0.5)]

    def test_a_log_written_anew_after_it_was_deleted_has_its_own_times(self) -> None:
        events = FileRows(EVENTS, "events", (row(1, 1.0, None, grad_norm=0.5),), NOW)
        run = live(log(*rows(10), at=NOW), log(*rows(20), at=NOW + 50, arrived=NOW + 50), events, FileGone(LOG))
        run.apply([log(*rows(1), at=NOW + 99, arrived=NOW + 99)])
        run.apply([FileGone(EVENTS)])
        assert run.last_row_time == NOW + 99

    def test_a_deleted_log_has_still_begun_a_new_attempt(self) -> None:
        events = FileRows(EVENTS, "events", rows(10, 20, 30, total=None), NOW)
        run = live(log(*rows(10, 20)), events, FileGone(LOG))
        assert run.log_deleted
        assert (list(run.rows), dict(run.series)) == ([], {})
        run.apply([log()])
        assert run.log_deleted
        run.apply([log(*rows(1))])
        assert not run.log_deleted
        assert [one.step for one in run.rows] == [1]

    def test_a_deleted_event_file_takes_its_rows_along(self) -> None:
        run = live(log(*rows(10, 20)), FileRows(EVENTS, "events", (row(10, 1.0, None, grad_norm=0.5),), NOW))
        assert values(run, "grad_norm") == [(10, 0.5)]
        run.apply([FileGone(EVENTS)])
        assert values(run, "grad_norm") == []
        assert [one.step for one in run.rows] == [10, 20]
        assert not run.log_deleted

    def test_a_deleted_document_takes_its_options_along(self) -> None:
        assert live(log(*rows(10)), config(stage="dpo")).stage == "dpo"
        run = live(log(*rows(10)), config(stage="dpo"), FileGone("training_args.yaml"))
        assert (run.stage, dict(run.config)) == (None, {})
        assert [one.step for one in run.rows] == [10]


class TestOtherJobs:
    def test_batches_are_no_steps(self) -> None:
        run = live(log(*rows(10, 20)), log(*batches(1, 2), at=NOW + 60, arrived=NOW + 60))
        assert [one.step for one in run.rows] == [10, 20]
        assert run.eval_job.progress == (2, 10)
        assert run.eval_job.is_last
        assert run.last_job_time == NOW + 60
        run.apply([log(*rows(30))])
        assert not run.eval_job.is_last
        assert [one.step for one in run_of(log(*rows(10), *batches(1), *rows(20))).rows] == [10, 20]
        assert not run_of(log(*rows(10), *batches(1), *rows(20))).eval_job.is_last

    def test_when_a_job_wrote_is_known_after_it(self) -> None:
        run = live(log(*rows(10)), log(*batches(1), at=NOW + 60, arrived=NOW + 60))
        run.apply([log(*rows(20), at=NOW + 99, arrived=NOW + 99)])
        assert run.last_job_time == NOW + 60
        run.apply([FileRows(EVENTS, "events", (row(10, 1.0, None, grad_norm=0.5),), NOW)])
        assert (run.last_job_time, run.last_row_time) == (NOW + 60, NOW + 99)

    def test_blocks_end_a_job_too(self) -> None:
        run = live(log(*rows(10)), log(*batches(1)))
        run.apply([FileRows(LOG, "log", Rows(rows(*range(20, 620))), NOW)])
        assert not run.eval_job.is_last
        assert len(run.rows) == 601

    def test_a_job_that_only_evaluates(self) -> None:
        run = run_of(log(*batches(1, 10), LogRow("eval", 0, {"eval_loss": 0.5}, None, None, 20.0)))
        assert list(run.rows) == []
        assert values(run, "eval_loss") == [(0, 0.5)]
        assert run.series["perplexity"].last == pytest.approx(math.exp(0.5))
        assert run.eval_job.evaluates

    def test_one_after_a_training_adds_no_point(self) -> None:
        run = run_of(log(*rows(10, 20), *batches(1), LogRow("eval", 0, {"eval_loss": 0.5}, None, None, 20.0)))
        assert values(run, "eval_loss") == []


class TestTotals:
    def test_from_the_rows(self) -> None:
        assert run_of(log(row(10, total=100), row(20, total=200))).total_steps == 200
        assert run_of(log(row(10, total=100), row(20, total=None), row(30, total=None))).total_steps == 100

    def test_three_rows_are_looked_at(self) -> None:
        run = run_of(log(row(10, total=100), *rows(20, 30, 40, total=None)))
        assert run.total_steps is None

    def test_else_the_console_then_the_state_then_the_plan(self) -> None:
        plain = log(*rows(10, total=None))
        planned, known = config(max_steps=40), state(max_steps=30)
        assert run_of(plain, planned, known, console(total=20)).total_steps == 20
        assert run_of(plain, planned, known, console()).total_steps == 30
        assert run_of(plain, planned, state(max_steps=0)).total_steps == 40
        assert run_of(plain, planned).total_steps == 40

    @pytest.mark.parametrize(("plan", "total"), [(-1, None), (0, None), (1, 1), ("40", None), (None, None)])
    def test_a_plan_is_a_number_above_zero(self, plan: ConfigValue, total: int | None) -> None:
        assert run_of(log(*rows(10, total=None)), config(max_steps=plan)).total_steps == total

    def test_the_last_epoch_of_any_row(self) -> None:
        assert run_of(log(row(10), row(20), row(30)._replace(epoch=None))).epoch == 0.2
        assert run_of(log(row(10)._replace(epoch=None))).epoch is None

    def test_rows_without_steps_are_counted(self) -> None:
        run = run_of(log(row(None), row(None, 2.0)))
        assert run.counted_rows
        assert values(run) == [(1, 1.0), (2, 2.0)]
        assert not run_of(log(*rows(10))).counted_rows


class TestWhatItIs:
    @pytest.mark.parametrize("stage", ["dpo", "orpo", "simpo", "kto", "rm", "ppo", "grpo"])
    def test_no_perplexity_of_other_losses(self, stage: str) -> None:
        run = run_of(log(*rows(10), evaluated(10, 0.5)), config(stage=stage))
        assert values(run, "eval_loss") == [(10, 0.5)]
        assert "perplexity" not in run.series

    @pytest.mark.parametrize("stage", ["sft", "pt", None])
    def test_perplexity(self, stage: str | None) -> None:
        run = run_of(log(*rows(10), evaluated(10, 0.5)), config(stage=stage))
        assert run.series["perplexity"].last == pytest.approx(math.exp(0.5))

    @pytest.mark.parametrize(
        ("options", "seen", "method"),
        [
            ({"finetuning_type": "lora"}, (), "lora"),
            ({"finetuning_type": "lora", "quantization_bit": 4}, (), "qlora"),
            ({"finetuning_type": "oft", "quantization_bit": 4}, (), "oft"), ({}, (), None),
            ({}, ("config.json",), "full"), ({}, ("model.safetensors",), "full"), ({}, ("adapter_config.json",), None),
            ({"finetuning_type": "lora"}, ("config.json",), "lora"), ({"finetuning_type": 3}, (), None),
            ({"quantization_bit": 4}, (), None),
        ],
    )  # fmt: skip
    def test_method(self, options: dict[str, ConfigValue], seen: tuple[str, ...], method: str | None) -> None:
        given = FileDoc("training_args.yaml", ConfigDoc(options), NOW)
        run = run_of(log(*rows(10)), given, *(FileSeen(name, NOW) for name in seen))
        assert run.method == method

    def test_model_and_adapters(self) -> None:
        run = run_of(config(model_name_or_path="org/Base", adapter_name_or_path="a/b, c"), console(adapters=("x",)))
        assert run.model == "org/Base"
        assert run.adapters == ["a/b", "c"]
        assert run_of(console(adapters=("x", "y"))).adapters == ("x", "y")
        assert run_of(config(model_name_or_path=3)).model is None

    @pytest.mark.parametrize(
        ("updates", "producer"),
        [
            ((log(*rows(10)),), "llamafactory"),
            ((log(row(10)._replace(elapsed_s=None)),), "llamafactory-v1"),
            ((log(row(10)._replace(elapsed_s=None), row(20)),), "llamafactory"),
            ((log(*(row(step)._replace(elapsed_s=None) for step in (1, 2, 3)), row(4)),), "llamafactory-v1"),
            ((log(*(row(step)._replace(elapsed_s=None) for step in (1, 2)), row(3)),), "llamafactory"),
            ((log(evaluated(10, 1.0)._replace(elapsed_s=None)),), "llamafactory"),
            ((FileRows(EVENTS, "events", rows(10), NOW),), "transformers"),
            ((FileRows(EVENTS, "events", rows(10), NOW), FileDoc("README.md", ConfigDoc({}, "trl"), NOW)), "trl"),
            ((log(*rows(10)), FileDoc("README.md", ConfigDoc({}, "trl"), NOW)), "llamafactory"),
            ((FileDoc("eval_results.json", Results("eval", {"eval_loss": 1.0}), NOW),), "llamafactory"),
            ((console(dataset="x"),), "llamafactory"), ((console(stage="sft"),), "llamafactory"),
            ((console(trainable_percent=1.0),), "llamafactory"), ((console(stage_hint="pairwise"),), "llamafactory"),
            ((console(num_examples=5),), "transformers"), ((config(dataset="x"),), "transformers"),
            ((), "transformers"),
        ],
    )  # fmt: skip
    def test_producer(self, updates: tuple[Update, ...], producer: str) -> None:
        assert run_of(*updates).producer == producer

    def test_a_plain_trainer_leaves_checkpoints_alone(self) -> None:
        saved = CheckpointsSeen((CheckpointDir(10, "checkpoint-10", NOW, True),))
        events = FileRows(EVENTS, "events", rows(10, total=None), NOW)
        assert run_of(events, saved).is_plain_trainer
        assert not run_of(events).is_plain_trainer
        assert not run_of(log(*rows(10)), saved).is_plain_trainer
        assert not run_of(events, saved, state(file="trainer_state.json")).is_plain_trainer
        assert not run_of(
            events, saved, FileDoc("eval_results.json", Results("eval", {"x": 1.0}), NOW)
        ).is_plain_trainer

    def test_options_from_a_state(self) -> None:
        run = run_of(state(*rows(10), max_steps=30, train_batch_size=4))
        assert (run.config["max_steps"].value, run.config["per_device_train_batch_size"].value) == (30, 4)

    def test_three_resumes(self) -> None:
        run = run_of(log(*rows(10, 20, 30), *rows(20, 30, 40, loss=2.0), *rows(30, 40, loss=3.0)))
        assert (run.segments, list(run.resumed_at)) == (3, [20, 30])


class TestWhen:
    def test_the_file_s_time_where_the_last_row_is_of_training(self) -> None:
        assert run_of(log(*rows(10, 20), at=NOW)).last_row_time == NOW

    def test_the_arrival_time(self) -> None:
        run = live(log(*rows(10), at=NOW), log(*rows(20), at=NOW + 50, arrived=NOW + 51))
        assert run.last_row_time == NOW + 50
        run.apply([log(*batches(1), at=NOW + 90, arrived=NOW + 90)])
        assert (run.last_row_time, run.last_job_time) == (NOW + 50, NOW + 90)

    def test_a_job_has_written_since(self) -> None:
        """The time of the log is then the job's, and the latest row with a time of its own is the best estimate."""
        run = live(log(*rows(10), at=NOW), log(*rows(20), at=NOW + 50, arrived=NOW + 50))
        run.apply([log(row(30), *batches(1), at=NOW + 90, arrived=None)])
        assert run.last_row_time == NOW + 50
        assert run.last_job_time == NOW + 90
        run = run_of(log(*rows(10), *batches(1), at=NOW))
        assert (run.last_row_time, run.last_job_time) == (None, NOW)

    def test_five_rows_back(self) -> None:
        for more, expected in ((4, NOW + 50), (5, None)):
            run = live(log(*rows(1), at=NOW), log(*rows(2), at=NOW + 50, arrived=NOW + 50))
            run.apply([log(*rows(*range(3, 3 + more)), *batches(1), at=NOW + 90)])
            assert run.last_row_time == expected

    def test_no_job_no_time(self) -> None:
        assert run_of(log(*rows(10))).last_job_time is None

    def test_without_a_log_only_rows_have_times(self) -> None:
        events = FileRows(EVENTS, "events", (row(10, 1.0, None)._replace(time=NOW - 7),), NOW)
        assert run_of(events).last_row_time == NOW - 7
        silent = FileRows(EVENTS, "events", rows(10, total=None), NOW)
        assert run_of(silent).last_row_time is None

    def test_console_time(self) -> None:
        run = run_of(console(at=NOW + 3))
        assert run.console_time == NOW + 3
        assert run.console is not None
