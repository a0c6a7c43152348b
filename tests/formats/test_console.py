from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_tui.formats.console.parser import ConsoleParser, looks_like_training_log
from lora_tui.formats.console.patterns import find_frame, parse_metric, parse_number
from lora_tui.records.documents import ConsoleFacts, LogRow

# Logs of real jobs; NAME.jsonl is the trainer_log.jsonl of the same job.
DATA = Path(__file__).parent.parent / "data" / "console"
LOGS = sorted(path.name for path in DATA.iterdir() if path.suffix != ".jsonl")
WITH_ROWS = ["crashed.log", "default.log", "dpo.log", "interrupted.log", "killed.log", "sft-tf4.log", "webui.log"]

BAR = "█▌"
ANNOUNCED = """\
[INFO|trainer.py:1469] 2026-11-22 04:01:33,966 >> ***** Running training *****
[INFO|trainer.py:1470] 2026-11-22 04:01:33,966 >>   Num examples = {examples:,}
[INFO|trainer.py:1471] 2026-11-22 04:01:33,966 >>   Num Epochs = {epochs:,}
[INFO|trainer.py:1473] 2026-11-22 04:01:33,966 >>   Instantaneous batch size per device = 4
[INFO|trainer.py:1476] 2026-11-22 04:01:33,966 >>   Total train batch size (w. parallel, distributed & accumulation) = 4
[INFO|trainer.py:1477] 2026-11-22 04:01:33,966 >>   Gradient Accumulation steps = 1
[INFO|trainer.py:1478] 2026-11-22 04:01:33,966 >>   Total optimization steps = {total:,}
"""
CODE = '  File "/opt/x/site-packages/torch/nn/modules/module.py", line 1778, in _call\n    return f(*args)\n'


def header(examples: int = 400, epochs: int = 1, total: int = 100) -> str:
    return ANNOUNCED.format(examples=examples, epochs=epochs, total=total)


def frame(done: int, total: int, clock: str = "00:05") -> str:
    return f"\r{100 * done // total:3d}%|{BAR}       | {done}/{total} [{clock}<00:12, 12.35it/s]"


def nested(done: int, total: int) -> str:
    return f"\n{frame(done, total)}\x1b[A"


def traceback(last: str, code: str = CODE) -> str:
    return f"Traceback (most recent call last):\n{code}{last}\n"


def load(name: str) -> bytes:
    return (DATA / name).read_bytes()


def run(*chunks: str | bytes) -> tuple[list[LogRow], ConsoleFacts]:
    parser = ConsoleParser()
    rows: list[LogRow] = []
    for chunk in chunks:
        rows.extend(parser.feed(chunk.encode() if isinstance(chunk, str) else chunk))
    rows.extend(parser.feed(b""))
    return rows, parser.snapshot()


def close(found: float | None, exact: float, decimals: int = 4) -> bool:
    """Return whether two numbers agree to 4 significant digits, or to as many decimals as the producer printed."""
    if found is None or not math.isfinite(exact):
        return found is not None and str(found) == str(exact)
    return bool(abs(found - exact) <= max(6e-4 * abs(exact), 0.6 * 10**-decimals))


def journal(name: str) -> list[dict[str, float]]:
    lines = (DATA / name).read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if "loss" in row or "eval_loss" in row]


def metric_rows(rows: list[LogRow]) -> list[LogRow]:
    return [row for row in rows if row.kind in ("train", "eval")]


# -- real logs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_ROWS)
def test_every_event_of_a_real_run_is_found_with_its_step(name: str) -> None:
    rows, facts = run(load(name))
    expected = journal(name.replace(".log", ".jsonl"))
    found = metric_rows(rows)
    assert [row.step for row in found] == [row["current_steps"] for row in expected]
    for row, exact in zip(found, expected, strict=True):
        assert row.kind == ("train" if "loss" in exact else "eval")
        metric = "loss" if row.kind == "train" else "eval_loss"
        assert close(row.values[metric], exact[metric])
        assert close(row.epoch, exact["epoch"], 2)
        assert row.total_steps == exact["total_steps"] == facts.total_steps
        if row.kind == "train":
            assert close(row.values["lr"], exact["lr"], 12)
        assert ("total_tokens" in row.values) == ("total_tokens" in exact)
        assert row.values.get("total_tokens") == exact.get("total_tokens")
        assert row.values.get("accuracy", 0) == pytest.approx(exact.get("accuracy", 0), rel=1e-3)
        assert "train_runtime" not in row.values
        assert "train_tokens_per_second" not in row.values


@pytest.mark.parametrize("name", WITH_ROWS)
def test_elapsed_is_the_bars_clock_and_never_goes_back(name: str) -> None:
    rows, _ = run(load(name))
    clocks = [row.elapsed_s for row in rows]
    assert None not in clocks
    assert clocks == sorted(clock for clock in clocks if clock is not None)


def test_running_log_has_no_bars_and_still_gets_exact_steps() -> None:
    rows, facts = run(load("running_log.txt"))
    expected = [row for row in journal("webui.jsonl") if "loss" in row]
    assert [row.step for row in rows] == [row["current_steps"] for row in expected]
    for row, exact in zip(rows, expected, strict=True):
        assert row.kind == "train"
        assert row.values["loss"] == pytest.approx(exact["loss"], abs=6e-5)
        assert row.values["throughput"] > 0
        assert row.elapsed_s is None
    assert facts.completed
    assert facts.phase is not None
    assert facts.phase.code == "completed"
    assert facts.config["max_steps"] == 200
    assert "num_train_epochs" not in facts.config


def test_webui_prints_each_metric_twice_and_the_precise_numbers_win() -> None:
    rows, _ = run(load("webui.log"))
    first = rows[0]
    assert first.values["loss"] == 2.5935
    assert first.epoch == 0.009259
    assert first.values["lr"] == 2.997e-3
    assert first.values["grad_norm"] == 0.8153
    assert first.values["throughput"] == 5020.78


def test_the_default_job() -> None:
    rows, facts = run(load("default.log"))
    assert rows[-1].kind == "mark"
    assert rows[-1].step == 120
    assert not rows[-1].values
    assert rows[-1].epoch == 3.0
    assert facts.is_training_log
    assert facts.completed
    assert facts.failure is None
    assert facts.phase is not None
    assert facts.phase.code == "completed"
    assert (facts.step, facts.total_steps) == (120, 120)
    assert facts.output_dir == "saves/qwen2-0.5b/lora/default"
    assert dict(facts.config) == {
        "num_devices": 1, "model_name_or_path": "tiny-qwen2", "dataset": "sft_demo", "stage": "sft",
        "finetuning_type": "lora", "trainable_params": 27648, "all_params": 440160, "trainable_percent": 6.2814,
        "num_examples": 640, "num_train_epochs": 3, "per_device_train_batch_size": 4, "total_train_batch_size": 16,
        "gradient_accumulation_steps": 4,
    }  # fmt: skip
    train = facts.results["train"]
    assert train["train_loss"] == 2.9684
    assert train["train_runtime"] == 12.77
    assert train["train_samples_per_second"] == 150.328
    assert train["total_flos"] == 255 * 2**30
    assert len(facts.tail) == 12
    assert not any("%|" in line for line in facts.tail)


def phases(data: bytes, size: int = 64) -> list[str]:
    parser = ConsoleParser()
    seen: list[str] = []
    for start in range(0, len(data), size):
        parser.feed(data[start : start + size])
        phase = parser.snapshot().phase
        if phase is not None and seen[-1:] != [phase.code]:
            seen.append(phase.code)
    return seen


def test_phases_of_a_training_in_order() -> None:
    assert phases(load("killed.log")) == [
        "starting", "loading_data", "converting", "tokenizing", "loading_model", "training", "evaluating", "training",
        "saving", "training", "evaluating",
    ]  # fmt: skip
    assert phases(load("default.log"))[-5:] == ["training", "saving", "completed", "saving", "completed"]


def test_phases_of_a_prediction() -> None:
    seen = phases(load("predict.log"))
    assert seen[-4:] == ["loading_model", "predicting", "scoring", "completed"]
    rows, facts = run(load("predict.log"))
    assert rows == []
    assert not facts.completed
    assert facts.adapters == ("saves/qwen2-0.5b/lora/sft",)
    assert facts.output_dir == "saves/qwen2-0.5b/lora/sft"
    assert facts.config["eval_examples"] == 40
    assert facts.config["eval_batch_size"] == 2
    assert facts.config["all_params"] == 412512
    assert "trainable_params" not in facts.config
    assert facts.results["predict"]["predict_bleu-4"] == 37.0691
    assert facts.results["predict"]["predict_runtime"] == 3.27


def test_prediction_bar_counts_batches_and_full_means_scoring() -> None:
    data = load("predict.log")
    parser = ConsoleParser()
    parser.feed(data[: data.index(b" 40%|")])
    phase = parser.snapshot().phase
    assert phase is not None
    assert (phase.code, phase.done, phase.total) == ("predicting", 6, 20)
    # The last frame is not terminated while the metrics are computed.
    text = "***** Running Prediction *****\n  Num examples = 40\n" + frame(0, 20) + frame(13, 20) + frame(20, 20)
    parser = ConsoleParser()
    parser.feed(text.encode())
    phase = parser.snapshot().phase
    assert phase is not None
    assert (phase.code, phase.done, phase.total) == ("scoring", 20, 20)


def test_killed_in_an_evaluation() -> None:
    rows, facts = run(load("killed.log"))
    assert facts.failure is None
    assert facts.phase is not None
    assert (facts.phase.code, facts.phase.done, facts.phase.total) == ("evaluating", 0, 30)
    assert (facts.step, facts.total_steps) == (200, 2700)
    assert rows[-1].step == 200
    assert not facts.completed


def test_crash_with_a_bar_frame_behind_it() -> None:
    _, facts = run(load("crashed.log"))
    assert facts.failure is not None
    assert facts.failure.kind == "exception"
    assert facts.failure.message.startswith("safetensors._safetensors_rust.SafetensorError: Error while serializing")
    assert facts.failure.during == "saving"
    assert len(facts.failure.excerpt) <= 12
    assert facts.failure.excerpt[-1] == facts.failure.message
    assert facts.step == 150


def test_crash_before_anything() -> None:
    rows, facts = run(load("crashed-early.log"))
    assert rows == []
    assert facts.is_training_log
    assert facts.failure is not None
    assert facts.failure.message == "ValueError: Undefined dataset no_such_dataset in dataset_info.json."
    assert facts.config["stage"] == "sft"
    assert facts.output_dir is None


def test_keyboard_interrupt() -> None:
    _, facts = run(load("interrupted.log"))
    assert facts.failure is not None
    assert facts.failure.kind == "interrupted"
    assert facts.failure.message == "KeyboardInterrupt"
    assert facts.failure.during == "training"
    assert (facts.step, facts.completed) == (130, False)


def test_dpo_is_told_from_its_examples_and_metrics() -> None:
    rows, facts = run(load("dpo.log"))
    assert facts.config["stage_hint"] == "pairwise"
    assert facts.config["stage"] == "dpo"
    train = next(row for row in rows if row.kind == "train")
    assert train.values["accuracy"] == train.values["rewards/accuracies"]
    evaluated = next(row for row in rows if row.kind == "eval")
    assert "eval_rewards/margins" in evaluated.values


@pytest.mark.parametrize("name", LOGS)
def test_real_logs_are_recognised(name: str) -> None:
    data = load(name)
    assert looks_like_training_log(data[:65536], data[-65536:])
    assert run(data)[1].is_training_log


# -- chunks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["crashed.log", "predict.log", "running_log.txt", "webui.log"])
def test_byte_by_byte_gives_the_same(name: str) -> None:
    data = load(name)
    whole = run(data)
    parts = run(*[data[i : i + 1] for i in range(len(data))])
    assert repr(parts) == repr(whole)


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_chunks_give_the_same(name: str, seed: int) -> None:
    data = load(name)
    chance = random.Random(seed)
    cuts = sorted(chance.randrange(len(data)) for _ in range(chance.choice((5, 60, 400))))
    chunks = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if b > a]
    assert repr(run(*chunks)) == repr(run(data))


def test_a_live_row_comes_with_the_unfinished_frame_behind_it() -> None:
    parser = ConsoleParser()
    parser.feed((header() + frame(9, 100) + "\r      \r").encode())
    assert parser.feed(b"{'loss': '2.1', 'learning_rate': '1e-4', 'epoch': '0.1'}\n") == []
    (row,) = parser.feed(frame(10, 100).encode())
    assert (row.step, row.total_steps, row.elapsed_s) == (10, 100, 5.0)
    assert parser.feed(frame(11, 100).encode()) == []
    assert parser.snapshot().step == 11


def test_an_empty_feed_returns_the_row_that_waits() -> None:
    parser = ConsoleParser()
    parser.feed((header() + frame(9, 100) + "\r     \r{'loss': '2.1', 'epoch': '0.1'}\n").encode())
    (row,) = parser.feed(b"")
    assert row.step == 10
    assert parser.feed(b"") == []


def test_a_last_line_without_newline_is_read_by_an_empty_feed() -> None:
    rows, _ = run("{'loss': 1.5, 'learning_rate': 1e-05, 'epoch': 0.5}")
    assert [row.values["loss"] for row in rows] == [1.5]


# -- metric dicts ---------------------------------------------------------------------------------------------------


def one(line: str) -> LogRow:
    (row,) = run(line + "\n")[0]
    return row


def test_bare_dict_of_transformers_4() -> None:
    row = one(
        "{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 4.9e-05, 'epoch': 0.17, 'num_input_tokens_seen': 49104}"
    )
    assert (row.kind, row.step, row.epoch, row.total_steps, row.elapsed_s) == ("train", None, 0.17, None, None)
    assert row.values["loss"] == 0.0
    assert math.isnan(row.values["grad_norm"])
    assert row.values["lr"] == 4.9e-05
    assert row.values["total_tokens"] == 49104


def test_bare_dict_of_transformers_5() -> None:
    row = one("{'loss': '2.163', 'grad_norm': 'inf', 'learning_rate': '9.966e-05', 'epoch': '0.3556'}")
    assert row.values == {"loss": 2.163, "grad_norm": math.inf, "lr": 9.966e-05}


def test_eval_dict() -> None:
    row = one("{'eval_loss': nan, 'eval_accuracy': np.float64(0.93), 'kl': 2.5, 'eval_runtime': 1.0896, 'epoch': 9.7}")
    assert row.kind == "eval"
    assert math.isnan(row.values["eval_loss"])
    assert row.values["eval_accuracy"] == 0.93
    assert row.values["kl"] == 2.5
    assert row.values["eval_runtime"] == 1.0896


def test_ppo_and_tensor_values() -> None:
    row = one("{'loss': -0.0123, 'reward': tensor(0.5, device='cuda:0'), 'learning_rate': 1e-05, 'epoch': 0.5}")
    assert row.values == {"loss": -0.0123, "reward": 0.5, "lr": 1e-05}


def test_ms_swift_dict_tells_its_step() -> None:
    row = one(
        "{'loss': 2.03561759, 'learning_rate': 9.938e-05, 'epoch': 0.08, 'global_step/max_steps': '5/100', "
        "'percentage': '5.00%', 'elapsed_time': '1m 39s'}"
    )
    assert (row.step, row.total_steps) == (5, 100)
    assert row.values == {"loss": 2.03561759, "lr": 9.938e-05}


def test_v1_row_of_the_console() -> None:
    rows, facts = run(
        "[INFO|2026-06-01 10:00:00] llamafactory.v1.core.utils.callbacks:144 >> epoch: 0, step: 1, loss: 1.2345, "
        "grad_norm: 3.2100, learning_rate: 1e-05, total_steps: 120\n"
        "[INFO|2026-06-01 10:09:00] llamafactory.v1.core.base_trainer:144 >> Reached max_steps (120), stopping "
        "training.\n"
    )
    assert rows == [LogRow("train", 1, {"loss": 1.2345, "grad_norm": 3.21, "lr": 1e-05}, 120, 0.0)]
    assert facts.completed


def test_summary_is_a_mark_and_its_numbers_are_results() -> None:
    rows, facts = run(
        "{'train_runtime': 1071.4363, 'train_samples_per_second': 2.529, 'train_loss': 0.00015002657560484402, "
        "'epoch': 2.0}\n"
        "***** train metrics *****\n  epoch         =        2.0\n  train_loss    =     0.0002\n"
        "  train_runtime = 1 day, 0:17:51.43\n"
    )
    assert [(row.kind, row.epoch, dict(row.values)) for row in rows] == [("mark", 2.0, {})]
    assert facts.completed
    # The block rounds to four decimals; a number that differs is newer.
    assert facts.results["train"]["train_loss"] == 0.00015002657560484402
    assert facts.results["train"]["train_runtime"] == 86400 + 17 * 60 + 51.43


@pytest.mark.parametrize(
    "line",
    [
        "{'task': {'name': 'Causal Language Modeling', 'type': 'text-generation'}}",
        "Updated tokens: {'bos_token_id': None}.",
        "{'loss': 0.5}",
        "{'epoch': 1.0}",
        "{'loss': [1, 2], 'epoch': 1.0}",
        "{'loss': __import__('os'), 'epoch': }",
        '{"loss": 0.5, "epoch": 1.0}',
        "{'input_ids': [1, 2], 'loss': 3}",
    ],
)
def test_other_dicts_are_no_rows(line: str) -> None:
    parser = ConsoleParser()
    assert parser.feed(line.encode() + b"\nnext\n") == []
    assert parser.take_problems() == []


def test_a_cut_dict_is_a_problem() -> None:
    parser = ConsoleParser()
    assert parser.feed(b"a\n{'loss': 1.25, 'grad_norm'\nx\n") == []
    parser.feed(b"{'loss': 1.5, 'epoch': 1}\n")
    (problem,) = parser.take_problems()
    assert (problem.line, problem.reason) == (2, "metric dict cut off")


SEED_LINES = (
    "{'loss': 0.0015, 'grad_norm': 0.00787273421883583, 'learning_rate': 4.566094780413215e-05, 'epoch': 174.62, "
    "'num_input_tokens_seen': 4316576}\n"
    "[INFO|2025-05-06 22:22:43] llamafactory.train.callbacks:143 >> {'loss': 0.0008, 'learning_rate': 4.5641e-05, "
    "'epoch': 175.00, 'throughput': 1954.49}\n"
)


def test_two_lines_of_two_events_stay_two() -> None:
    rows, _ = run(SEED_LINES)
    assert [(row.epoch, row.values["loss"]) for row in rows] == [(174.62, 0.0015), (175.0, 0.0008)]


def test_two_lines_of_one_event_become_one() -> None:
    rows, _ = run(
        "[INFO|2025-05-06 22:22:43] llamafactory.train.callbacks:143 >> {'loss': 0.0008, 'learning_rate': 4.5641e-05, "
        "'epoch': 175.00, 'throughput': 1954.49}\n"
        "{'loss': 0.00077, 'grad_norm': 0.0079, 'learning_rate': 4.564094780413215e-05, 'epoch': 175.0}\n"
    )
    (row,) = rows
    assert row.values == {"loss": 0.00077, "lr": 4.564094780413215e-05, "throughput": 1954.49, "grad_norm": 0.0079}


def test_equal_dicts_of_a_dead_run_are_separate_events() -> None:
    line = "{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 5e-05, 'epoch': 0.01}\n"
    assert len(run(line * 3)[0]) == 3


def test_copies_of_several_hosts_are_one_event() -> None:
    line = "{{'loss': {}, 'learning_rate': 5e-05, 'epoch': 0.01}}\n"
    text = "".join(f"10.96.202.{host}: " + line.format(loss) for loss in (1.8673, 1.7) for host in (43, 44))
    rows, _ = run(text)
    assert [row.values["loss"] for row in rows] == [1.8673, 1.7]


def test_rank_prefixes_and_glued_records() -> None:
    rows, facts = run(
        "[rank0]: [INFO|trainer.py:1] 2026-01-01 00:00:00,000 >>   Total optimization steps = 1,000\n"
        "[rank0]: {'loss': 1.5, 'epoch': 0.1}\n"
        f"{frame(170, 1000, '17:45')}[INFO|trainer.py:4309] 2025-12-30 20:15:41,698 >> Saving model checkpoint to "
        "saves\\x\\dpo\\checkpoint-170\n"
    )
    assert rows[0].values["loss"] == 1.5
    assert facts.step == 170
    assert facts.phase is not None
    assert facts.phase.code == "saving"
    assert facts.output_dir == "saves\\x\\dpo"


# -- steps ----------------------------------------------------------------------------------------------------------


def buffered(log: bytes, size: int) -> bytes:
    """Return the log as written by a buffered stdout, as under nohup: dicts come late, in blocks of ``size``."""
    held = b""
    out = b""
    for piece in re.split(rb"(?<=\n)|(?=\r)", log):
        if b"{'" in piece and b"'epoch'" in piece:
            held += piece.lstrip(b"\r")
            out += b"\r"
            while len(held) >= size:
                out += held[:size]
                held = held[size:]
        else:
            out += piece
    return out + held


@pytest.mark.parametrize("size", [200, 333, 1000, 8192])
def test_dicts_of_a_buffered_stdout_get_the_steps_of_their_epochs(size: int) -> None:
    expected = journal("default.jsonl")
    rows, facts = run(buffered(load("default.log"), size))
    found = metric_rows(rows)
    assert [row.step for row in found] == [row["current_steps"] for row in expected]
    assert facts.failure is None


def test_a_buffered_stdout_that_comes_after_the_traceback_clears_no_failure() -> None:
    rows, facts = run(buffered(load("crashed.log"), 10**6))
    assert len(metric_rows(rows)) == len(journal("crashed.jsonl"))
    assert facts.failure is not None
    assert "SafetensorError" in facts.failure.message


def test_evaluation_of_as_many_batches_as_steps() -> None:
    text = header(total=30, examples=120)
    text += frame(10, 30) + "\r    \r{'loss': '2', 'epoch': '0.3333'}\n" + frame(10, 30)
    text += "[INFO|trainer.py:1] 2026-01-01 00:00:00,000 >> \n***** Running Evaluation *****\n"
    text += "".join(nested(n, 30) for n in (0, 15, 30))
    text += "\r   \r\x1b[A{'eval_loss': '1.9', 'epoch': '0.3333'}\n" + frame(10, 30) + nested(30, 30) + frame(11, 30)
    rows, facts = run(text + "\r")
    assert [(row.kind, row.step) for row in rows] == [("train", 10), ("eval", 10)]
    assert facts.step == 11
    assert facts.phase is not None
    assert facts.phase.code == "training"


def test_without_a_header_the_bar_behind_a_dict_is_the_training_bar() -> None:
    text = "\rMap: 100%|██| 5000/5000 [00:01<00:00, 9 examples/s]\n" + frame(5, 80) + "\r    \r"
    text += "{'loss': '2', 'epoch': '0.02'}\n" + frame(5, 80) + frame(10, 80)
    text += "".join(nested(n, 500) for n in (0, 250, 500))
    text += (
        "\r  \r\x1b[A{'eval_loss': '1.9', 'epoch': '0.04'}\n" + frame(10, 80) + nested(500, 500) + frame(11, 80) + "\r"
    )
    rows, facts = run(text)
    assert [(row.kind, row.step, row.total_steps) for row in rows] == [("train", 5, 80), ("eval", 10, 80)]
    assert (facts.step, facts.total_steps) == (11, 80)


def test_ppo_bar_is_one_step_behind_and_its_second_line_is_no_event() -> None:
    text = (
        "[INFO|2026-01-01 00:00:00] llamafactory.train.ppo.trainer:144 >> ***** Running training *****\n"
        "[INFO|2026-01-01 00:00:00] llamafactory.train.ppo.trainer:144 >>   Num examples = 400\n"
        "[INFO|2026-01-01 00:00:00] llamafactory.train.ppo.trainer:144 >>   Num Epochs = 9,223,372,036,854,775,807\n"
        "[INFO|2026-01-01 00:00:00] llamafactory.train.ppo.trainer:144 >>   Total train batch size (w. parallel, "
        "buffer, distributed & accumulation) = 4\n"
        "[INFO|2026-01-01 00:00:00] llamafactory.train.ppo.trainer:144 >>   Num optimization epochs per batch = 4\n"
        "[INFO|2026-01-01 00:00:00] llamafactory.train.ppo.trainer:144 >>   Total training steps = 100\n"
    )
    for step in (5, 10):
        epoch = (step - 1) / 100
        text += (
            f"{frame(step - 1, 100)}\r     \r{{'loss': 0.5, 'reward': 0.1, 'learning_rate': 1e-05, 'epoch': {epoch}}}\n"
        )
        text += frame(step - 1, 100)
        text += "[INFO|2026-01-01 00:00:00] llamafactory.train.callbacks:144 >> {'loss': 0.5000, 'learning_rate': "
        text += f"1.0000e-05, 'epoch': {epoch:.2f}, 'reward': 0.1000}}\n"
    rows, facts = run(text)
    assert [row.step for row in rows] == [5, 10]
    assert facts.config["stage"] == "ppo"
    assert "num_train_epochs" not in facts.config
    rows, facts = run(text + frame(100, 100) + "\n")
    assert facts.completed


def test_resumed_training() -> None:
    text = "Resuming training from saves/a/checkpoint-100.\n" + header(examples=800, total=200)
    text += "[INFO|trainer.py:1] 2026-01-01 00:00:00,000 >>   Continuing training from global step 100\n"
    parser = ConsoleParser()
    parser.feed(text.encode())
    facts = parser.snapshot()
    assert facts.phase is not None
    assert facts.phase.code == "resuming"
    assert facts.output_dir == "saves/a"
    record = (
        "[INFO|2026-11-22 04:01:34] logging.py:144 >> {{'loss': 1.5000, 'learning_rate': 1.0e-03, 'epoch': {:.2f}}}\n"
    )
    rows = [parser.feed(record.format(step / 200).encode()) for step in (110, 120, 130)]
    assert [row[0].step for row in rows] == [110, 120, 130]


def test_two_jobs_in_one_file() -> None:
    rows, facts = run(load("interrupted.log") + b"\n" + load("default.log"))
    assert facts.failure is None
    assert facts.completed
    assert facts.total_steps == 120
    assert facts.output_dir == "saves/qwen2-0.5b/lora/default"
    assert [row.total_steps for row in rows] == [200] * 15 + [120] * 13
    assert "max_steps" not in facts.config


# -- settings -------------------------------------------------------------------------------------------------------


def test_settings_from_messages() -> None:
    _, facts = run(
        "[INFO|2026-01-01 00:00:00] llamafactory.hparams.parser:523 >> Process rank: 0, world size: 8, device: cuda:0, "
        "distributed training: True, compute dtype: torch.bfloat16\n"
        "[INFO|configuration_utils.py:769] 2026-01-01 00:00:00,000 >> loading configuration file config.json from "
        "cache at /root/.cache/huggingface/hub/models--Qwen--Qwen3-4B/snapshots/1cfa/config.json\n"
        "[INFO|2026-01-01 00:00:00] llamafactory.data.loader:144 >> Loading dataset identity.json...\n"
        "[INFO|2026-01-01 00:00:00] llamafactory.data.loader:144 >> Loading dataset llamafactory/alpaca_en...\n"
        "[INFO|2026-01-01 00:00:00] llamafactory.model.model_utils.quantization:144 >> Quantizing model to 4 bit with "
        "bitsandbytes.\n"
        "[INFO|2026-01-01 00:00:00] llamafactory.model.adapter:144 >> Fine-tuning method: DoRA\n"
        "[INFO|2026-01-01 00:00:00] llamafactory.model.adapter:144 >> Loaded adapter(s): a/b,c/d\n"
        "Figure saved at: saves/vgpt2_v3/dpo\\training_loss.png\n"
    )
    assert dict(facts.config) == {
        "num_devices": 8, "compute_dtype": "bfloat16", "model_name_or_path": "Qwen/Qwen3-4B",
        "dataset": "identity,llamafactory/alpaca_en", "quantization_bit": 4, "finetuning_type": "dora",
    }  # fmt: skip
    assert facts.adapters == ("a/b", "c/d")
    assert facts.output_dir == "saves/vgpt2_v3/dpo"


def test_records_of_old_versions() -> None:
    rows, facts = run(
        "05/06/2024 22:22:43 - INFO - llmtuner.model.adapter - Fine-tuning method: LoRA\n"
        "05/06/2024 22:22:43 - INFO - llamafactory.extras.callbacks - {'loss': 0.5, 'learning_rate': 4.5641e-05, "
        "'epoch': 0.10}\n"
        "05/06/2024 22:23:43 - INFO - llamafactory.x - done\n"
    )
    assert facts.is_training_log
    assert facts.config["finetuning_type"] == "lora"
    assert rows[0].values["loss"] == 0.5


@pytest.mark.parametrize(
    ("bar", "code", "done", "total"),
    [
        ("Converting format of dataset (num_proc=16):  45%|██   | 450/1000 [00:01<00:01, 9.1 examples/s]", "converting",
         450, 1000),
        ("Running tokenizer on dataset: 2842 examples [00:00, 4018.73 examples/s]", "tokenizing", 2842, None),
        ("Loading checkpoint shards:  50%|█  | 2/4 [00:10<00:10,  5.00s/it]", "loading_model", 2, 4),
    ],
)  # fmt: skip
def test_bars_before_training(bar: str, code: str, done: int, total: int | None) -> None:
    _, facts = run(f"\r{bar}\r")
    assert facts.phase is not None
    assert (facts.phase.code, facts.phase.done, facts.phase.total) == (code, done, total)
    assert facts.step is None


# -- failures -------------------------------------------------------------------------------------------------------


def failed(*texts: str) -> tuple[str, str]:
    _, facts = run(*texts)
    assert facts.failure is not None
    return facts.failure.kind, facts.failure.message


LAUNCHER = (
    "W1122 05:00:00.000000 1 site-packages/torch/distributed/elastic/multiprocessing/api.py:898] Sending process 12 "
    "closing signal SIGTERM\n"
    "E1122 05:00:00.000000 1 site-packages/torch/distributed/elastic/multiprocessing/api.py:869] failed (exitcode: "
    "{code}) local_rank: 0 (pid: 11) of binary: /usr/bin/python\n"
    + traceback("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ")
    + "=====\nlauncher.py FAILED\n-----\n  exitcode  : {code} (pid: 11)\n  error_file: <N/A>\n"
    + traceback(
        "subprocess.CalledProcessError: Command '['torchrun', '--nnodes', '1']' returned non-zero exit status 1."
    )
)


def test_out_of_memory() -> None:
    message = (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 270.00 MiB. GPU 5 has a total capacity of 23"
    )
    assert failed(traceback(message)) == ("out_of_memory", message)
    assert failed(traceback("RuntimeError: CUDA out of memory. Tried"))[0] == "out_of_memory"
    assert failed(traceback("MemoryError"))[0] == "out_of_memory"


def test_the_root_cause_wins_over_the_launcher() -> None:
    text = "".join(f"[rank0]: {line}\n" for line in traceback("ValueError: no").splitlines())
    text += "".join(f"[rank1]: {line}\n" for line in traceback("RuntimeError: Connection closed by peer").splitlines())
    assert failed(text + LAUNCHER.format(code=1)) == ("exception", "ValueError: no")


def test_a_rank_that_went_on_for_a_few_steps() -> None:
    text = header() + frame(10, 100) + "\r" + traceback("ValueError: no") + frame(11, 100) + frame(12, 100) + "\n"
    assert run(text)[1].failure is None
    assert failed(text + LAUNCHER.format(code=1)) == ("exception", "ValueError: no")


@pytest.mark.parametrize(
    ("code", "kind"), [(-9, "out_of_memory"), (-11, "exception"), (1, "exception"), (-15, "terminated")]
)
def test_a_worker_that_died_in_silence(code: int, kind: str) -> None:
    found, message = failed(header() + frame(10, 100) + "\n" + LAUNCHER.format(code=code))
    assert found == kind
    assert f"failed (exitcode: {code})" in message


def test_signals() -> None:
    hangup = (
        "W1229 16:43:25.650000 190834 site-packages/torch/distributed/elastic/agent/server/api.py:723] Received 1 "
        "death signal, shutting down workers\n"
        "W1229 16:43:25.650000 190834 site-packages/torch/api.py:898] Sending process 190936 closing signal SIGHUP\n"
        + traceback("torch.distributed.elastic.multiprocessing.api.SignalException: Process 190834 got signal: 1")
    )
    assert failed(hangup) == ("terminated", "Received 1 death signal, shutting down workers")
    assert failed("Received Signals.SIGHUP death signal, shutting down workers\n")[0] == "terminated"
    assert failed("x] Sending process 5 closing signal SIGTERM\n")[0] == "terminated"
    assert failed("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***\n")[0] == (
        "terminated"
    )
    assert failed("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0.\n")[0] == "out_of_memory"


def test_nccl_watchdog() -> None:
    kind, message = failed(
        "[rank4]:[E1122 05:00:00 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught collective operation timeout: "
        "WorkNCCL(SeqNum=7, OpType=ALLREDUCE, Timeout(ms)=600000) ran for 600017 milliseconds before timing out.\n"
    )
    assert kind == "exception"
    assert message.startswith("Watchdog caught collective operation timeout")


def test_chained_exceptions_end_in_the_last_but_keep_out_of_memory() -> None:
    chain = "\nDuring handling of the above exception, another exception occurred:\n\n"
    assert failed(traceback("KeyError: 'a'") + chain + traceback("RuntimeError: b")) == ("exception", "RuntimeError: b")
    text = traceback("torch.OutOfMemoryError: CUDA out of memory.") + chain + traceback("RuntimeError: b")
    assert failed(text) == ("out_of_memory", "RuntimeError: b")


def test_the_stage_of_a_traceback() -> None:
    code = '  File "/opt/x/site-packages/llamafactory/train/kto/workflow.py", line 52, in run_kto\n    x\n'
    assert run(traceback("ValueError: no", code))[1].config["stage"] == "kto"


def test_a_job_that_goes_on_has_not_failed() -> None:
    caught = header() + frame(10, 100) + "\r" + traceback("OSError: disk") + frame(10, 100) + "\r"
    assert failed(caught) == ("exception", "OSError: disk")
    assert run(caught + frame(11, 100) + "\r")[1].failure is None
    assert run(caught + "{'loss': 1.5, 'learning_rate': 1e-5, 'epoch': 0.2}\n")[1].failure is None
    assert run(caught + "***** Running training *****\n")[1].failure is None
    again = "[INFO|x.py:1] 2026-01-01 00:00:00,000 >> Process rank: 0, world size: 1, compute dtype: None\n"
    assert run(caught + again)[1].failure is None


@pytest.mark.parametrize(
    "text",
    [
        "training example:\ninput_ids:\n[1, 2]\ninputs:\n"
        + traceback("ValueError: x", '  File "a.py", line 1\n    x\n'),
        "training example:\ninput_ids:\n[1]\ninputs:\nKilled\nError: out of memory\nRuntimeError: CUDA out of memory\n",
        "Exception ignored in: <function f at 0x1>\n" + traceback("OSError: x"),
        "--- Logging error ---\n" + traceback("BrokenPipeError: [Errno 32] Broken pipe"),
        "[WARNING|a.py:1] 2026-01-01 00:00:00,000 >> an error occurred: ValueError: x\n",
        "Traceback (most recent call last):\n" + CODE,
    ],
)
def test_no_failures(text: str) -> None:
    assert run(text)[1].failure is None


def test_a_real_traceback_right_after_a_printed_example() -> None:
    assert failed("training example:\ninput_ids:\n[1]\n" + traceback("ValueError: x")) == ("exception", "ValueError: x")


def test_a_printed_example_is_no_metric() -> None:
    text = "training example:\ninput_ids:\n[1]\ninputs:\nWhat is {'loss': 0.5, 'epoch': 1.0} ?\n***** train metrics *\n"
    rows, facts = run(text)
    assert rows == []
    assert facts.config == {"stage_hint": "pt"}


# -- damage ---------------------------------------------------------------------------------------------------------


def test_control_sequences_are_dropped() -> None:
    rows, facts = run(
        b"\x1b[32m\x1b[1m[INFO|x.py:1] 2026-01-01 00:00:00,000 >>\x1b[0m \x1b]0;title\x07Fine-tuning method: LoRA\r\n"
        b"\x1b[?25l{'loss'\x00: 1.5, 'epoch': 0.5}\x1b[K\n\x9b31mred \xe2\x80\xae evil\n"
    )
    assert rows[0].values["loss"] == 1.5
    assert facts.config["finetuning_type"] == "lora"
    for line in facts.tail:
        assert line.isprintable()


def test_invalid_utf8() -> None:
    rows, facts = run(b"\xff\xfe\x80 {'loss': 1.5, 'epoch': 0.5}\n\xe8\xae\n")
    assert rows[0].values["loss"] == 1.5
    assert facts.tail[-1] == "\ufffd"


@pytest.mark.parametrize("unit", [b"x", b"{'loss': 1, ", b"5%|", b"[INFO|", b"{'", b"\x1b[", b" ", b"a: "])
def test_ten_megabytes_without_a_newline(unit: bytes) -> None:
    parser = ConsoleParser()
    chunk = unit * (1_000_000 // len(unit))
    for _ in range(10):
        assert parser.feed(chunk) == []
    assert sum(map(len, parser._rest)) <= 64 * 1024
    parser.feed(b"\n")
    rows = parser.feed(b"{'loss': 1.5, 'epoch': 0.5}\n")
    assert [row.values["loss"] for row in rows] == [1.5]


def test_absurd_numbers() -> None:
    digits = "9" * 500
    text = header() + frame(5, 100) + f"\r{{'loss': {digits}, 'epoch': 1e999, 'step': 1e300}}\n"
    text += f"{{'loss': 1e400, 'epoch': 1e308}}\n\r  1%|x| 5/{digits} [00:01<00:02, 1it/s]\r"
    text += f"trainable params: {digits} || all params: {digits} || trainable%: {digits}\nNum Epochs = {digits}\n"
    text += f"***** train metrics *****\n  c = nan\n  d = {digits[:70]}GF\n  a = {digits}\n  b = {digits}:00:00\n"
    rows, facts = run(text)
    assert rows[-1].values["loss"] == math.inf
    assert math.isnan(facts.results["train"]["c"])


@settings(max_examples=150)
@given(st.data())
def test_damage_never_raises(data: st.DataObject) -> None:
    log = load(data.draw(st.sampled_from(LOGS)))
    start = data.draw(st.integers(0, len(log)))
    piece = bytearray(log[start : start + data.draw(st.integers(0, 6000))])
    for _ in range(data.draw(st.integers(0, 20))):
        if piece:
            at = data.draw(st.integers(0, len(piece) - 1))
            piece[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    whole = run(bytes(piece))
    cut = data.draw(st.integers(0, len(piece)))
    chunks = [bytes(chunk) for chunk in (piece[:cut], piece[cut:]) if chunk]
    assert repr(run(*chunks)) == repr(whole)


@pytest.mark.parametrize(
    ("raw", "value"),
    [("1.5", 1.5), ("'2.163'", 2.163), ("1e-05", 1e-05), ("nan", math.nan), ("-inf", -math.inf), ("5", 5.0),
     ("np.float64(0.93)", 0.93), ("1_0", None), ("None", None), ("'5.00%'", None), ("''", None), ("0x10", None)],
)  # fmt: skip
def test_numbers(raw: str, value: float | None) -> None:
    number = parse_number(raw)
    assert (None if number is None else number.value) == pytest.approx(value, nan_ok=True)


def test_metric_values() -> None:
    seen = {raw: parse_metric(raw) for raw in ("0:03:12.61", "1 day, 0:00:01.5", "862GF", "0.0002", "abc")}
    assert [None if number is None else number.value for number in seen.values()] == [
        192.61, 86401.5, 862 * 2**30, 0.0002, None,
    ]  # fmt: skip


def test_frames() -> None:
    found = find_frame("  2%|█▋   | 5/300 [1:00:26<25:00,  5.09s/it]rest")
    assert found is not None
    assert (found.name, found.done, found.total, found.elapsed_s) == ("", 5, 300, 3626.0)
    assert find_frame("  2%|█▋   | 5/300 [00:26<25") is None
    assert find_frame("100% sure | 5/300") is None


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b"[INFO|trainer.py:2519] 2025-12-30 19:57:56,487 >> x", True),
        (b"[INFO|2025-12-30 19:57:56] llamafactory.model.loader:143 >> x", True),
        (b"05/06/2024 22:22:43 - INFO - llmtuner.model.adapter - x", True),
        (b"{'loss': 1.5, 'epoch': 0.1}", True),
        (b"Traceback (most recent call last):", True),
        (b"Collecting torch\n[INFO] nothing\n{'a': 1}\n", False),
        (b"", False),
    ],
)
def test_recognition(text: bytes, answer: bool) -> None:
    assert looks_like_training_log(text, b"") is answer
    assert looks_like_training_log(b"", text) is answer


def test_an_empty_log_tells_nothing() -> None:
    rows, facts = run(b"\n\r\n   \n")
    assert rows == []
    assert facts == ConsoleFacts(config=facts.config, results=facts.results)
    assert not facts.config
