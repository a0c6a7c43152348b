import math

import pytest

from lora_tui.analysis import judge
from lora_tui.analysis.findings.find import CODES, find
from lora_tui.i18n import Words
from lora_tui.records.documents import ConsoleFacts, Failure, LogRow
from lora_tui.records.updates import FileDoc
from tests.support.run_builder import START, evaluation, run_of, summary, train
from tools.catalogues import messages, parts, read

SOON = START + 5
LATER = START + 100_000


def codes(run, now=SOON):
    return [finding.code for finding in find(run, now)]


def every_variant():
    """All variants that have words of their own."""
    keys = messages(read(parts("en")))
    return {tuple(key.split(".")[1:3]) for key in keys if key.startswith("finding.") and key.count(".") == 3}


def only(run, code, now=SOON):
    found = [finding for finding in find(run, now) if finding.code == code]
    assert len(found) == 1, codes(run, now)
    for lang in ("en", "zh"):
        words = Words(lang)
        for text in (*words.finding(found[0]), words.finding_name(found[0])):
            assert text
            assert "{" not in text, text
            assert not text.startswith("finding.")
    return found[0]


def falling(count, total=None, start=2.0, end=1.0, **more):
    total = total or count * 10
    return [train(10 * (i + 1), start + (end - start) * i / count, total, **more) for i in range(count)]


def bad(run, now=SOON):
    return [finding.code for finding in find(run, now) if finding.severity in ("critical", "warning")]


class TestDead:
    def test_zeros_after_a_real_loss(self):
        run = run_of([train(10, 6.2, 200), train(20, 5.1, 200), *(train(s, 0.0, 200) for s in range(30, 130, 10))])
        finding = only(run, "dead_run")
        assert (finding.severity, finding.step, finding.variant) == ("critical", 30, "restart")
        assert finding.evidence["last_loss"] == 5.1
        assert "nan_loss" not in codes(run)
        assert judge(run, SOON).ratings["loss"].level == "poor"

    def test_names_the_checkpoint_before(self):
        rows = [*falling(20, 1000), *(train(s, 0.0, 1000) for s in range(210, 260, 10))]
        finding = only(run_of(rows, checkpoints=(100, 200)), "dead_run")
        assert (finding.step, finding.evidence["checkpoint"]) == (210, "checkpoint-200")

    def test_two_zeros_are_not_enough(self):
        assert "dead_run" not in codes(run_of([train(10, 2.0, 100), train(20, 0.0, 100), train(30, 0.0, 100)]))

    def test_one_zero_is_enough_where_the_gradient_is_nan(self):
        rows = [train(10, 2.0, 100, grad_norm=1.0), train(20, 0.0, 100, grad_norm=math.nan)]
        assert only(run_of(rows), "dead_run").step == 20

    def test_nothing_good_is_said_of_a_loss_that_jumped_to_zero(self):
        run = run_of([train(5, 6.2, 100), train(10, 5.1, 100), train(15, 0.0, 100)])
        assert judge(run, START + 1).ratings["loss"].level is None

    def test_a_smooth_approach_to_zero_is_learning(self):
        losses = [1.0, 0.3, 0.05, 0.004, 0.0009, 0.0003, 0.0001, 0.0, 0.0, 0.0, 0.0]
        assert "dead_run" not in codes(run_of([train(10 * (i + 1), v, 200) for i, v in enumerate(losses)]))

    def test_a_saturated_preference_run_is_not_dead(self):
        rows = [train(10 * (i + 1), v, 200, accuracy=1.0) for i, v in enumerate([0.6, 0.4, 0.2, 0, 0, 0, 0])]
        assert "dead_run" not in codes(run_of(rows))

    def test_a_finite_gradient_is_alive(self):
        rows = [train(10 * (i + 1), v, 200, grad_norm=0.4) for i, v in enumerate([2, 1, 0.5, 0, 0, 0, 0])]
        assert "dead_run" not in codes(run_of(rows))

    def test_a_nan_gradient_is_not(self):
        rows = [train(10, 2.0, 200, grad_norm=1.0), *(train(s, 0.0, 200, grad_norm=math.nan) for s in (20, 30, 40))]
        assert only(run_of(rows), "dead_run").step == 20


class TestNaN:
    def test_lasting(self):
        rows = [*falling(5), *(train(s, math.nan, 50) for s in range(60, 100, 10))]
        finding = only(run_of(rows), "nan_loss")
        assert (finding.severity, finding.step, finding.evidence["count"]) == ("critical", 60, 4)

    def test_from_the_first_row(self):
        assert only(run_of([train(s, math.nan, 50) for s in (10, 20, 30)]), "nan_loss").step == 10

    def test_a_single_one_is_a_warning(self):
        rows = falling(10)
        rows[4] = train(50, math.inf, 100)
        finding = only(run_of(rows), "nan_loss")
        assert (finding.severity, finding.variant, finding.step) == ("warning", "once", 50)

    def test_eval_loss(self):
        finding = only(run_of([*falling(5), evaluation(50, math.nan, 100)]), "nan_loss")
        assert (finding.variant, finding.step) == ("eval", 50)


class TestEnds:
    def test_failed_names_what_is_lost(self):
        failure = Failure("exception", "RuntimeError: boom")
        finding = only(run_of(falling(15, 400), checkpoints=(100,), failure=failure), "failed", LATER)
        assert finding.evidence["checkpoint"] == "checkpoint-100"
        assert finding.evidence["lost"] == 50

    def only_variant(self, message, rows, checkpoints=(), kind="exception", during=None, code="failed"):
        run = run_of(rows, checkpoints=checkpoints, failure=Failure(kind, message, during))
        return _found(run, code).variant

    def test_variants(self):
        rows = falling(15, 400)
        assert self.only_variant("OSError: [Errno 28] No space left on device", rows) == "disk_no_checkpoint"
        assert self.only_variant("OSError: [Errno 28] No space left on device", rows, (100,)) == "disk"
        assert self.only_variant("ValueError: x", rows) == "no_checkpoint"
        assert self.only_variant("ValueError: Undefined dataset", []) == "early"
        oom = "torch.OutOfMemoryError: CUDA out of memory."
        assert self.only_variant(oom, rows, (), "out_of_memory", "evaluating", "out_of_memory") == "eval"
        assert self.only_variant(oom, rows, (), "out_of_memory", None, "out_of_memory") == ""

    def test_stalled_then_interrupted_one_at_a_time(self):
        run = run_of(falling(20, 400), checkpoints=(100,))
        assert bad(run, START + 60) == []
        stalled = only(run, "stalled", START + 600)
        assert stalled.severity == "critical"
        cut = only(run, "interrupted", LATER)
        assert (cut.severity, cut.evidence["lost"]) == ("warning", 100)
        assert "stalled" not in codes(run, LATER)

    def test_interrupted_without_a_checkpoint(self):
        assert only(run_of(falling(20, 400)), "interrupted", LATER).variant == "no_checkpoint"

    def test_ctrl_c_is_no_warning(self):
        run = run_of(falling(20, 400), failure=Failure("interrupted", "KeyboardInterrupt"))
        assert only(run, "interrupted", LATER).severity == "info"

    def test_terminated(self):
        run = run_of(falling(20, 400), checkpoints=(200,), failure=Failure("terminated", "SIGTERM"))
        assert only(run, "interrupted", LATER).variant == "terminated"

    def test_before_the_first_step(self):
        run = run_of([], failure=Failure("interrupted", "KeyboardInterrupt"))
        assert only(run, "interrupted", LATER).variant == "asked_early"
        run = run_of([], failure=Failure("terminated", "SIGTERM"))
        assert only(run, "interrupted", LATER).variant == "terminated_early"

    def test_after_training(self):
        run = run_of([*falling(20, 200), summary(200, 200)], ended=True, failure=Failure("exception", "ValueError: y"))
        assert only(run, "failed", LATER).variant == "after"

    def test_a_job_that_does_not_train(self):
        rows = [LogRow("progress", step, {}, 20, None, float(step)) for step in (5, 10)]
        run = run_of(rows, failure=Failure("exception", "ValueError: y"))
        assert only(run, "failed", LATER).variant == "job"

    def test_plan_unknown(self):
        rows = [row._replace(total_steps=None) for row in falling(20, 400)]
        assert "of ?" in Words("en").finding(only(run_of(rows), "interrupted", LATER))[0]

    def test_stopped(self):
        run = run_of([*falling(20, 400), summary(200, 400)], ended=True)
        assert only(run, "stopped", LATER).evidence == {"at": 200, "total": 400}
        assert bad(run, LATER) == []


class TestMemorised:
    def overfit(self, *more):
        losses = [4.0 * 0.8**i + 0.0006 for i in range(80)]
        return [train(5 * (i + 1), v, 400, epochs=100) for i, v in enumerate(losses)] + list(more)

    def test_with_an_eval_that_disagrees(self):
        run = run_of(sorted([*self.overfit(), evaluation(50, 3.6, 400, epochs=100),
                             evaluation(400, 6.0, 400, epochs=100)], key=_step))  # fmt: skip
        finding = only(run, "memorised")
        assert (finding.severity, finding.variant, finding.evidence["eval_loss"]) == ("warning", "eval", 6.0)
        assert 100 < finding.step < 300

    def test_answers_that_are_sure(self):
        assert "memorised" not in codes(run_of(self.overfit(evaluation(400, 0.02, 400, epochs=100))))

    def test_without_eval_a_low_loss_is_only_noted(self):
        rows = [train(10 * (i + 1), 1.0 * 0.8**i + 0.12, 300, epochs=4) for i in range(30)]
        assert only(run_of(rows), "memorised").severity == "info"

    def test_one_epoch_cannot_memorise(self):
        rows = [train(10 * (i + 1), 0.5 * 0.7**i + 0.01, 300, epochs=1) for i in range(30)]
        assert "memorised" not in codes(run_of(rows))


class TestNotes:
    def test_default_job(self):
        rows = falling(12, 120, lr=1e-4)
        assert codes(run_of(rows[:3])) == ["not_logged"]
        run = run_of([*rows, summary(120, 120)], ended=True)
        assert codes(run, LATER) == ["no_eval", "not_logged"]
        assert only(run_of(rows[:3]), "not_logged").evidence["missing"] == "throughput,grad_norm"
        text = Words("en").finding(only(run, "not_logged", LATER))[0]
        assert text == "not logged: tokens/s (include_num_input_tokens_seen)"

    def test_no_eval_after_the_first_epoch_only(self):
        rows = falling(30, 300)
        assert "no_eval" not in codes(run_of(rows[:10]))
        assert only(run_of(rows[:11]), "no_eval").evidence["epochs"] == 1.1

    def test_an_evaluation_without_metrics_counts(self):
        rows = falling(30, 300)
        rows.insert(15, LogRow("mark", 150, {}, 300, 1.5, 150.0))
        assert "no_eval" not in codes(run_of(rows))

    def test_resumed(self):
        rows = [*falling(20, 400), *(train(s, 1.0, 400, every_s=0.1) for s in range(110, 150, 10))]
        finding = only(run_of(rows), "resumed")
        assert (finding.severity, finding.step, finding.variant) == ("info", 110, "")

    def test_rerun(self):
        run = run_of(falling(8, 80), checkpoints=(40, 150))
        assert only(run, "rerun").evidence == {"checkpoint": "checkpoint-150", "count": 1, "total": 80}
        assert "rerun" not in codes(run_of(falling(8, 80), checkpoints=(40, 80)))

    def test_stale_results(self):
        run = run_of(falling(8, 400), results={"predict": {"predict_bleu-4": 50.0}}, results_age=1000)
        assert only(run, "stale_results").evidence == {"files": "predict_results.json"}
        assert "stale_results" in judge(run, SOON).ratings["predict_bleu-4"].reservations

    def test_best_checkpoint(self):
        rows = sorted([*falling(20, 600), evaluation(100, 1.2, 600), evaluation(200, 1.1, 600)], key=_step)
        run = run_of(rows, checkpoints=(100, 200), config={"save_total_limit": 3, "save_steps": 100})
        finding = only(run, "best_checkpoint")
        assert (finding.step, finding.variant, finding.evidence["until"]) == (200, "until", 500)
        assert (finding.evidence["metric"], finding.evidence["value"]) == ("eval_loss", 1.1)
        kept = run_of(rows, checkpoints=(100, 200), config={
            "save_total_limit": 3, "save_steps": 100, "load_best_model_at_end": True})  # fmt: skip
        assert only(kept, "best_checkpoint").variant == ""


class TestHealthy:
    def rows(self, last=1.02, epochs=3.0):
        rows = falling(60, 600, 2.0, 1.0, epochs=epochs)
        for step, value in ((200, 1.8), (400, 1.4), (600, last)):
            rows.append(evaluation(step, value, 600, epochs=epochs))
        return [*sorted(rows, key=_step), summary(600, 600, epochs=epochs)]

    def test_healthy(self):
        finding = only(run_of(self.rows(), ended=True), "healthy_fit", LATER)
        assert finding.severity == "good"
        assert only(run_of(self.rows(epochs=1.0), ended=True), "healthy_fit", LATER).variant == "single_epoch"

    def test_not_while_it_runs(self):
        assert "healthy_fit" not in codes(run_of(self.rows()[:-2]))

    @pytest.mark.parametrize("last", [1.4, 0.8])
    def test_not_with_a_gap(self, last):
        assert "healthy_fit" not in codes(run_of(self.rows(last), ended=True), LATER)


def test_order_and_codes():
    failure = Failure("exception", "ValueError")
    rows = [*falling(20, 900), *(train(s, 0.0, 900) for s in range(210, 300, 10))]
    found = find(run_of(rows, failure=failure), LATER)
    assert [f.code for f in found] == ["dead_run", "failed"]
    assert set(CODES) >= {f.code for f in found}


def test_a_failure_of_a_former_attempt_is_none():
    run = run_of(falling(20, 400))
    facts = ConsoleFacts(is_training_log=True, failure=Failure("exception", "ValueError"))
    run.apply([FileDoc("old.log", facts, START - 500)])
    assert "failed" not in codes(run)


def _found(run, code):
    return only(run, code, LATER)


def test_every_variant_belongs_to_a_code():
    assert {code for code, _ in every_variant()} <= set(CODES)


def _step(row):
    return row.step or 0
