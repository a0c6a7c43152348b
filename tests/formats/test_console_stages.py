"""Stage, directory, phase and step of a job by its console log, where the usual messages are missing."""

from __future__ import annotations

import pytest

from lora_tui.formats import config_files
from lora_tui.formats.console.parser import ConsoleParser
from lora_tui.records.documents import ConsoleFacts, FormatError, LogRow

TRAINING = "***** Running training *****\n"
HEADER = TRAINING + (
    "  Num examples = 400\n  Num Epochs = 1\n"
    "  Total train batch size (w. parallel, distributed & accumulation) = 4\n  Total optimization steps = 100\n"
)
EVALUATION = "\n***** Running Evaluation *****\n  Num examples = 48\n  Batch size = 4\n"
RECORD = "[INFO|2026-01-01 00:00:00] llamafactory.hparams.parser:423 >> "


def read(text: str) -> tuple[list[LogRow], ConsoleFacts]:
    parser = ConsoleParser()
    rows = [*parser.feed(text.encode()), *parser.feed(b"")]
    return rows, parser.snapshot()


def bar(done: int, total: int) -> str:
    return f"\r{100 * done // total:3d}%|█▌       | {done}/{total} [00:05<00:12, 12.35it/s]"


def phase(text: str) -> tuple[str, int | None, int | None]:
    found = read(text)[1].phase
    assert found is not None
    return found.code, found.done, found.total


# -- the stage, by the printed example and the metrics ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "metrics", "stage"),
    [
        (["input_ids", "label_ids"], "", "sft"),
        (["input_ids", "label_ids", "kto_tags"], "", "kto"),
        # The labels of pairs do not point to another stage.
        (["chosen_input_ids", "label_ids"], "'rewards/margins': 0.5, ", "dpo"),
        (["chosen_input_ids", "label_ids"], "", "rm"),
        # An example of text alone, and a row without metrics of another stage.
        (["input_ids"], "", "pt"),
    ],
)
def test_the_stage(keys: list[str], metrics: str, stage: str) -> None:
    example = "training example:\n" + "".join(f"{key}:\n[1, 2, 3]\n" for key in keys)
    row = f"{{'loss': 1.5, 'grad_norm': 1.0, 'learning_rate': 1e-05, {metrics}'epoch': 0.1}}\n"
    assert read(example + HEADER + row)[1].config["stage"] == stage


# -- directories and names -------------------------------------------------------------------------------------------


def test_what_is_saved_in_a_checkpoint_tells_the_directory_if_nothing_else_does() -> None:
    saved = "tokenizer config file saved in {}/tokenizer_config.json\n"
    assert read(saved.format("saves/a/checkpoint-500"))[1].output_dir == "saves/a"
    # A tokenizer may be saved anywhere.
    assert read(saved.format("elsewhere"))[1].output_dir is None
    named = "Saving model checkpoint to saves/b/checkpoint-500\n"
    assert read(named + saved.format("saves/a/checkpoint-500"))[1].output_dir == "saves/b"


def test_a_cache_without_the_name_of_a_repository_names_no_model() -> None:
    cached = "loading configuration file config.json from cache at /cache/0af3{}\n"
    for end in ("", "/config.json"):
        assert "model_name_or_path" not in read(cached.format(end))[1].config


def test_a_block_has_so_many_numbers() -> None:
    block = "***** predict metrics *****\n" + "".join(f"  m{n} = {n}\n" for n in range(1100))
    results = read(block)[1].results["predict"]
    assert len(results) == 1000
    assert results["m999"] == 999.0


# -- phases ----------------------------------------------------------------------------------------------------------


def test_a_job_that_resumes_is_resuming_before_its_process_tells_its_rank() -> None:
    resumes = f"{RECORD}Resuming training from saves/a/checkpoint-100.\n"
    rank = f"{RECORD}Process rank: 0, world size: 1, device: cuda:0, distributed training: False, compute dtype: None\n"
    assert phase(resumes + rank)[0] == "resuming"
    assert phase(rank)[0] == "starting"


def test_the_bar_that_is_drawn_again_while_a_checkpoint_is_written() -> None:
    saving = HEADER + bar(50, 100) + "\nSaving model checkpoint to saves/a/checkpoint-50\n" + bar(50, 100)
    assert phase(saving + "\r")[0] == "saving"
    assert phase(saving + bar(51, 100) + "\r") == ("training", 51, 100)


def test_training_goes_on_behind_an_evaluation_whose_metrics_are_not_there_yet() -> None:
    """Where stdout is buffered, the bar shows the phase first."""
    evaluating = HEADER + bar(50, 100) + EVALUATION + bar(6, 12)
    assert phase(evaluating + "\r") == ("evaluating", 6, 12)
    assert phase(evaluating + bar(12, 12) + bar(51, 100) + "\r") == ("training", 51, 100)


def test_a_bar_of_more_steps_than_a_counter_holds_is_damage() -> None:
    _, facts = read(HEADER + bar(50, 100) + bar(60, 2**53) + bar(2**53, 100) + "\r")
    assert (facts.step, facts.total_steps) == (50, 100)


# -- steps and rows --------------------------------------------------------------------------------------------------


def test_an_evaluation_without_bar_or_epoch_is_where_training_was() -> None:
    written = f"{RECORD}{{{{'loss': 1.5, 'learning_rate': 1e-05, 'epoch': {{}}}}}}\n"
    rows, _ = read(HEADER + written.format(0.1) + written.format(0.2) + "{'eval_loss': 1.25, 'eval_runtime': 2.0}\n")
    assert [(row.kind, row.step) for row in rows] == [("train", 10), ("train", 20), ("eval", 20)]


def test_a_header_without_examples_or_batch_tells_no_steps_of_an_epoch() -> None:
    header = TRAINING + "  Num Epochs = 1\n  Total optimization steps = 100\n"
    rows, facts = read(header + "{'loss': 1.5, 'grad_norm': 1.0, 'epoch': 0.5}\n")
    assert [(row.step, row.epoch) for row in rows] == [(None, 0.5)]
    assert facts.total_steps == 100


@pytest.mark.parametrize(("rounded", "exact"), [("nan", "nan"), ("inf", "inf")])
def test_two_lines_of_an_event_that_is_no_number_are_one_row(rounded: str, exact: str) -> None:
    logged = f"{RECORD}{{'loss': {rounded}, 'learning_rate': 1.0000e-05, 'epoch': 0.10, 'throughput': 12.5}}\n"
    rows, _ = read(HEADER + logged + f"{{'loss': {exact}, 'grad_norm': nan, 'learning_rate': 1e-05, 'epoch': 0.1}}\n")
    assert [sorted(row.values) for row in rows] == [["grad_norm", "loss", "lr", "throughput"]]
    both = HEADER + logged + "{'loss': 1.5, 'grad_norm': 2.0, 'learning_rate': 1e-05, 'epoch': 0.1}\n"
    assert [str(row.values["loss"]) for row in read(both)[0]] == [exact, "1.5"]


# -- YAML ------------------------------------------------------------------------------------------------------------


def test_so_many_tags_may_be_declared() -> None:
    def declared(count: int) -> bytes:
        return "".join(f"%TAG !a{n}! tag:{n}\n" for n in range(count)).encode() + b"---\nlearning_rate: 1\n"

    assert config_files.parse_training_args(declared(10)).values == {"learning_rate": 1}
    with pytest.raises(FormatError, match="too many tags"):
        config_files.parse_training_args(declared(11))
