"""Findings of results: what they were made on, and whether they can be right."""

from __future__ import annotations

import json

import pytest

from lora_tui.analysis import judge
from lora_tui.formats.predictions import PredictionsParser
from lora_tui.records.documents import ConfigDoc, ConsoleFacts, Phase, Results
from lora_tui.records.updates import FileDoc
from tests.support.checkpoint_runs import finding_codes, only_finding
from tests.support.run_builder import START, evaluation, run_of, summary, train

NOW = START + 1000
ROWS = [*(train(step, 2.0 - step / 300, 300) for step in range(10, 310, 10)), summary(300, 300)]
SCORES = {"predict_bleu-4": 50.0, "predict_rouge-1": 60.0, "predict_rouge-2": 40.0, "predict_rouge-l": 55.0}
GOOD = "This is a complete answer of a sensible length."


def predictions(texts, labels=None, prompts=None):
    parser = PredictionsParser()
    labels = labels or [GOOD] * len(texts)
    prompts = prompts or ["question"] * len(texts)
    lines = [{"prompt": p, "predict": t, "label": x + "\n"} for p, t, x in zip(prompts, texts, labels, strict=True)]
    parser.feed("".join(json.dumps(line) + "\n" for line in lines).encode())
    return FileDoc("generated_predictions.jsonl", parser.snapshot(), START + 10)


def run_of_texts(texts, labels=None, prompts=None, config=None):
    run = run_of(ROWS, ended=True, results={"predict": dict(SCORES)}, config=config)
    run.apply([predictions(texts, labels, prompts)])
    return run


def words(count):
    return " ".join(f"word{number}" for number in range(count))


class TestDegenerate:
    def test_empty(self):
        one = only_finding(run_of_texts([GOOD] * 57 + [" "] * 3), "degenerate_predictions", NOW)
        assert (one.severity, one.variant) == ("warning", "empty")
        assert (one.evidence["empty"], one.evidence["count"], one.evidence["line"]) == (3, 60, 58)

    @pytest.mark.parametrize("bad", [[" "] * 2, [" "] * 0])
    def test_few_are_not(self, bad):
        assert "degenerate_predictions" not in finding_codes(run_of_texts([GOOD] * 38 + bad), NOW)

    def test_loops(self):
        loop = "the model says the same thing over and over " * 8
        one = only_finding(run_of_texts([GOOD] * 27 + [loop] * 3), "degenerate_predictions", NOW)
        assert (one.variant, one.evidence["repeats"], one.evidence["percent"]) == ("repeats", 3, 10)

    def test_loops_that_are_asked_for_are_not(self):
        loop = "ha ha ha ha ha ha ha ha " * 8
        assert "degenerate_predictions" not in finding_codes(run_of_texts([loop] * 30, [loop] * 30), NOW)

    def test_cut_at_the_longest_length(self):
        cut = [words(40 + number % 5) + " and" for number in range(12)]
        one = only_finding(run_of_texts([GOOD] * 28 + cut), "degenerate_predictions", NOW)
        assert (one.variant, one.evidence["limit"]) == ("limit", 12)

    def test_cut_at_the_limit_that_is_known(self):
        cut = [words(40) + " and"] * 12
        run = run_of_texts([GOOD] * 28 + cut, config={"max_new_tokens": 512})
        assert "degenerate_predictions" not in finding_codes(run, NOW)
        run = run_of_texts([GOOD] * 28 + cut, config={"max_new_tokens": 80})
        assert only_finding(run, "degenerate_predictions", NOW).evidence["max_new_tokens"] == 80

    @pytest.mark.parametrize("text", ["yes", "Paris", words(50), '{"name": "a", "type": "b"'])
    def test_answers_without_a_full_stop_are_not_cut(self, text):
        assert "degenerate_predictions" not in finding_codes(run_of_texts([text] * 40, [text] * 40), NOW)

    def test_the_question_again(self):
        question = "What is the capital of France"
        prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        one = only_finding(run_of_texts([question] * 12, ["Paris."] * 12, [prompt] * 12), "degenerate_predictions", NOW)
        assert (one.variant, one.evidence["echo"]) == ("echo", 12)

    def test_an_answer_from_the_text_is_no_echo(self):
        prompt = "<|im_start|>user\nWho won? The cup went to Manchester City<|im_end|>\n<|im_start|>assistant\n"
        answers = ["Manchester City"] * 12
        assert "degenerate_predictions" not in finding_codes(run_of_texts(answers, answers, [prompt] * 12), NOW)
        assert "degenerate_predictions" not in finding_codes(
            run_of_texts(answers, ["Arsenal"] * 12, [prompt] * 12), NOW
        )

    def test_of_a_job_that_loaded_the_adapter(self):
        job = run_of([])
        job.apply([predictions([" "] * 12)])
        run = run_of(ROWS, ended=True)
        run.linked = (job,)
        assert only_finding(run, "degenerate_predictions", NOW).evidence["empty"] == 12

    def test_not_of_an_earlier_attempt(self):
        run = run_of(ROWS, results={"predict": dict(SCORES)}, results_age=5000)
        run.apply([predictions([" "] * 12)])
        assert "degenerate_predictions" not in finding_codes(run, NOW)


class TestScores:
    def of(self, bleu, one, two, last, **more):
        values = {
            "predict_bleu-4": bleu,
            "predict_rouge-1": one,
            "predict_rouge-2": two,
            "predict_rouge-l": last,
            **more,
        }
        return run_of(ROWS, ended=True, results={"predict": values})

    @pytest.mark.parametrize(
        ("scores", "variant"),
        [((0, 0, 0, 0), "zero"), ((0, 12, 3, 10), "one_zero"), ((40, 0, 0, 0), "one_zero"), ((80, 30, 10, 15), "")],
    )
    def test_impossible(self, scores, variant):
        one = only_finding(self.of(*scores), "scores_inconsistent", NOW)
        assert (one.severity, one.variant) == ("warning", variant)

    @pytest.mark.parametrize("scores", [(1, 11, 1, 10), (0.2, 3, 0, 2), (91, 94, 92, 93), (55, 60, 30, 45)])
    def test_possible(self, scores):
        assert "scores_inconsistent" not in finding_codes(self.of(*scores), NOW)

    def test_four_samples_may_be_so(self):
        run = self.of(0, 12, 3, 10, predict_runtime=2.0, predict_samples_per_second=2.0)
        assert "scores_inconsistent" not in finding_codes(run, NOW)

    def test_empty_predictions_are_the_cause(self):
        run = self.of(0, 0, 0, 0)
        run.apply([predictions([""] * 20)])
        assert "scores_inconsistent" not in finding_codes(run, NOW)
        assert "degenerate_predictions" in finding_codes(run, NOW)


class TestSamples:
    def test_of_scores(self):
        values = {**SCORES, "predict_runtime": 10.0, "predict_samples_per_second": 2.5}
        one = only_finding(run_of(ROWS, ended=True, results={"predict": values}), "few_eval_samples", NOW)
        assert (one.severity, one.variant, one.evidence["count"]) == ("info", "scores", 25)
        assert one.evidence["error"] == pytest.approx(4.9)

    def test_of_an_evaluation(self):
        values = {"eval_loss": 1.0, "eval_runtime": 4.0, "eval_samples_per_second": 4.0}
        run = run_of(ROWS, ended=True, results={"eval": values}, config={"stage": "sft"})
        assert only_finding(run, "few_eval_samples", NOW).evidence["error"] == 0.15

    def test_while_it_runs(self):
        run = run_of([*ROWS[:10], evaluation(100, 1.2, 300)])
        console = ConsoleFacts(is_training_log=True, config={"num_examples": 300, "eval_examples": 12})
        run.apply([FileDoc("train.log", console, START)])
        assert only_finding(run, "few_eval_samples", START + 3).evidence["count"] == 12

    def test_enough(self):
        values = {"eval_loss": 1.0, "eval_runtime": 10.0, "eval_samples_per_second": 5.0}
        assert "few_eval_samples" not in finding_codes(run_of(ROWS, ended=True, results={"eval": values}), NOW)


class TestTrainingData:
    def test_one_data_set_for_both(self):
        run = run_of([*ROWS[:10], evaluation(100, 1.2, 300)], config={"dataset": "a,b", "eval_dataset": "b"})
        one = only_finding(run, "evaluated_on_training_data", START + 3)
        assert (one.severity, one.evidence["names"], one.variant) == ("warning", "b", "")

    def test_a_part_of_it(self):
        run = run_of([*ROWS[:10], evaluation(100, 1.2, 300)], config={"dataset": "a,b", "eval_dataset": "b,c"})
        assert only_finding(run, "evaluated_on_training_data", START + 3).variant == "partly"

    @pytest.mark.parametrize(
        "config",
        [
            {"dataset": "a", "eval_dataset": "c"},
            {"dataset": "a", "val_size": 0.1},
            {"dataset": "a"},
            {"eval_dataset": "a"},
        ],
    )
    def test_nothing_is_proven(self, config):
        run = run_of([*ROWS[:10], evaluation(100, 1.2, 300)], config=config)
        assert "evaluated_on_training_data" not in finding_codes(run, START + 3)

    def test_train_and_eval_agree_there_whatever_was_learned(self):
        rows = [*ROWS, *(evaluation(at, 1.9 - at / 300, 300) for at in (100, 200, 300))]
        rows.sort(key=lambda row: row.step or 0)
        other = {"dataset": "a", "eval_dataset": "c"}
        fits = [run_of(rows, ended=True, config=config) for config in (other, {**other, "eval_dataset": "a"})]
        assert ["healthy_fit" in finding_codes(run, NOW) for run in fits] == [True, False]

    def test_a_plan_without_evaluations_is_none(self):
        run = run_of(ROWS[:10], config={"dataset": "a", "eval_dataset": "a", "eval_strategy": "no"})
        assert "evaluated_on_training_data" not in finding_codes(run, START + 3)

    @pytest.mark.parametrize("phase", ["loading_data", "tokenizing", "loading_model"])
    def test_a_job_that_is_still_loading_its_data(self, phase):
        # As LlamaBoard starts it: the options are there, the log has the data set and not yet what it is for.
        loading = ConsoleFacts(is_training_log=True, phase=Phase(phase), config={"dataset": "a"})
        run = run_of([], config={"dataset": "a", "do_train": True})
        run.apply([FileDoc("running_log.txt", loading, START)])
        assert "evaluated_on_training_data" not in finding_codes(run, START + 1)

    def trained(self, *docs, evals=True, card="a"):
        log = [*ROWS[:10], evaluation(100, 1.2, 300), *ROWS[10:]] if evals else ROWS
        run = run_of(log, ended=True, results={"predict": dict(SCORES)})
        run.apply([FileDoc("README.md", ConfigDoc({"dataset": card}, "llamafactory"), START + 5), *docs])
        return run

    def job(self, names, examples, at=START + 100):
        """The log of a job that predicts only, in the same directory."""
        console = ConsoleFacts(is_training_log=True, config={"dataset": names, "eval_examples": examples})
        return FileDoc("predict.log", console, at)

    def test_a_job_that_holds_its_part_back_again(self):
        """It is given the same data and the same share as the training: the part that was not trained on."""
        for options, told in (({"val_size": 0.1}, False), ({}, True)):
            job = run_of([], config={"do_predict": True, "dataset": "a", **options})
            job.apply([self.job("a", 500)])
            run = self.trained(evals=False)
            run.linked = (job,)
            job.apply([FileDoc("predict_results.json", Results("predict", dict(SCORES)), START + 100)])
            assert ("evaluated_on_training_data" in finding_codes(run, NOW)) is told

    def test_a_log_that_names_the_evaluation_set(self):
        # Both the option's data and those of its own were loaded, of which only the latter is evaluated.
        for name, told in (("a", True), ("c", False)):
            told_by_log = ConsoleFacts(
                is_training_log=True,
                config={"dataset": "a", "eval_dataset": name, "num_examples": 9, "eval_examples": 9},
            )
            run = self.trained(FileDoc("train.log", told_by_log, START))
            assert ("evaluated_on_training_data" in finding_codes(run, NOW)) is told

    def test_where_nothing_counts_what_was_held_back_nothing_is_proven(self):
        training = ConsoleFacts(is_training_log=True, config={"dataset": "a", "num_examples": 900})
        for evals, told in ((True, False), (False, True)):
            job = run_of([])
            job.apply([self.job("a", 1000)])
            run = self.trained(FileDoc("train.log", training, START), evals=evals)
            run.linked = (job,)
            job.apply([FileDoc("predict_results.json", Results("predict", dict(SCORES)), START + 200)])
            assert ("evaluated_on_training_data" in finding_codes(run, NOW)) is told

    def test_a_prediction_of_the_training_set(self):
        # The board's page "Evaluate & Predict": all of the data set, though the training had kept a part of it.
        job = run_of([], config={"do_predict": True, "eval_dataset": "a"}, results={"predict": dict(SCORES)})
        run = self.trained()
        run.linked = (job,)
        assert only_finding(run, "evaluated_on_training_data", NOW).evidence["names"] == "a"

    def test_by_the_log_alone(self):
        assert "evaluated_on_training_data" in finding_codes(self.trained(self.job("a", 500), evals=False), NOW)
        assert "evaluated_on_training_data" not in finding_codes(self.trained(self.job("c", 500), evals=False), NOW)
        assert "evaluated_on_training_data" not in finding_codes(self.trained(self.job("a,c", 500), evals=False), NOW)

    def test_the_part_that_was_held_back_is_fair(self):
        training = ConsoleFacts(
            is_training_log=True, config={"dataset": "a", "num_examples": 900, "eval_examples": 100}
        )
        log = FileDoc("train.log", training, START)
        job = run_of([])
        for examples, told in ((100, False), (1000, True)):
            job.apply([self.job("a", examples, START + examples)])
            run = self.trained(log)
            run.linked = (job,)
            assert ("evaluated_on_training_data" in finding_codes(run, NOW)) is told

    def test_the_scores_say_so_too(self):
        run = run_of(ROWS, ended=True, results={"predict": dict(SCORES)}, config={"dataset": "a", "eval_dataset": "a"})
        assert "evaluated_on_training_data" in judge(run, NOW).ratings["predict_bleu-4"].reservations
