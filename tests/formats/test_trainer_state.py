from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from lora_tui.formats.trainer_state import parse_trainer_state
from lora_tui.records.documents import FormatError, LogRow, TornError

DATA = Path(__file__).parent.parent / "data" / "formats"
STATES = sorted(DATA.glob("*/trainer_state.json"))
NAMES = {"learning_rate": "lr", "num_input_tokens_seen": "total_tokens"}


@pytest.mark.parametrize("path", STATES, ids=lambda path: path.parent.name)
def test_real_states_say_what_the_file_says(path: Path) -> None:
    written = json.loads(path.read_bytes())
    state = parse_trainer_state(path.read_bytes())
    assert state.global_step == written["global_step"]
    assert state.max_steps == written["max_steps"]
    assert state.epoch == written["epoch"]
    assert state.num_train_epochs == written["num_train_epochs"]
    assert (state.logging_steps, state.eval_steps) == (written["logging_steps"], written["eval_steps"])
    assert (state.save_steps, state.train_batch_size) == (written["save_steps"], written["train_batch_size"])
    assert (state.num_input_tokens_seen or 0) == written["num_input_tokens_seen"]
    history = [entry for entry in written["log_history"] if "train_loss" not in entry]
    assert len(state.rows) == len(history)
    for row, entry in zip(state.rows, history, strict=True):
        assert (row.step, row.epoch) == (entry["step"], entry["epoch"])
        expected = {NAMES.get(key, key): value for key, value in entry.items() if key not in ("step", "epoch")}
        assert row.elapsed_s == expected.pop("train_runtime", None)
        if "rewards/accuracies" in expected:
            expected["accuracy"] = expected["rewards/accuracies"]
        assert repr(dict(row.values)) == repr({key: float(value) for key, value in expected.items()})
        assert row.kind == ("train" if "loss" in entry else "eval")
    summaries = [entry for entry in written["log_history"] if "train_loss" in entry]
    assert bool(state.summary) == bool(summaries)
    for key, value in summaries[-1].items() if summaries else ():
        if key not in ("step", "epoch"):
            assert repr(state.summary[NAMES.get(key, key)]) == repr(float(value))


def test_there_are_states_of_every_sort() -> None:
    assert len(STATES) >= 8
    kto = parse_trainer_state((DATA / "kto" / "trainer_state.json").read_bytes())
    assert all("kl" in row.values for row in kto.rows if row.kind == "eval")
    nan = parse_trainer_state((DATA / "diverged-nan" / "trainer_state.json").read_bytes())
    assert any(math.isnan(row.values["grad_norm"]) for row in nan.rows if row.kind == "train")
    sft = parse_trainer_state((DATA / "sft" / "trainer_state.json").read_bytes())
    assert any(row.elapsed_s is not None for row in sft.rows if row.kind == "train")
    assert any("eval_runtime" in row.values for row in sft.rows if row.kind == "eval")


def test_best_checkpoint() -> None:
    state = parse_trainer_state((DATA / "epochlog" / "trainer_state.json").read_bytes())
    assert (state.best_step, state.best_metric) == (30, 3.4395086765289307)
    assert state.best_checkpoint == "saves/qwen2-0.5b/lora/sft-epochlog/checkpoint-30"
    older = parse_trainer_state(b'{"global_step": 90, "best_model_checkpoint": "saves\\\\a\\\\checkpoint-60"}')
    assert older.best_step == 60
    assert parse_trainer_state(b'{"global_step": 90, "best_model_checkpoint": null}').best_step is None


def test_every_prefix_of_a_state_is_torn_or_whole() -> None:
    text = (
        '{"epoch": 1.5, "best_metric": null, "global_step": 30, "is_hyper_param_search": false, "log_history": '
        '[{"epoch": 1.0, "grad_norm": NaN, "loss": -1.5e-05, "step": 10}, {"eval_loss": Infinity, "step": 10}, '
        '{"eval_loss": -Infinity, "note": "a\\u00e9\\"\\\\ü}", "x": {"y": []}}], "trial_name": true}\n'
    )
    data = text.encode()
    whole = parse_trainer_state(data)
    for end in range(len(data)):
        if end == len(data) - 1:
            assert repr(parse_trainer_state(data[:end])) == repr(whole)
        else:
            with pytest.raises(TornError):
                parse_trainer_state(data[:end])


def test_every_prefix_of_a_real_state() -> None:
    data = (DATA / "trl" / "trainer_state.json").read_bytes()
    for end in range(len(data) - 1):
        with pytest.raises(TornError):
            parse_trainer_state(data[:end])


@pytest.mark.parametrize("data", [b"", b"\n", b"\0" * 4096, b"{", b'{"log_history": [{}'])
def test_torn(data: bytes) -> None:
    with pytest.raises(TornError):
        parse_trainer_state(data)


@pytest.mark.parametrize(
    "data", [b"[]", b"{}", b'{"a": 1}', b"hello", b'{"global_step": 1}}', b"[" * 100_000, b"\xff\xfe"]
)
def test_not_a_state(data: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        parse_trainer_state(data)
    assert not isinstance(caught.value, TornError)


def test_zero_is_unknown_where_the_producer_writes_it_for_that() -> None:
    state = parse_trainer_state(b'{"global_step": 0, "max_steps": 0, "num_input_tokens_seen": 0, "epoch": 0}')
    assert (state.global_step, state.epoch) == (0, 0.0)
    assert (state.max_steps, state.num_input_tokens_seen) == (None, None)


def test_summary_is_told_by_train_loss_not_by_train_runtime() -> None:
    state = parse_trainer_state(
        b'{"log_history": [{"step": 5, "epoch": 1.0, "loss": 1.0, "train_runtime": 7.5, "train_tokens_per_second": '
        b'9.0}, {"step": 5, "epoch": 1.0, "total_flos": 1e15, "train_runtime": 8.0, "train_loss": 1.0}]}'
    )
    assert state.rows == (LogRow("train", 5, {"loss": 1.0, "train_tokens_per_second": 9.0}, None, 1.0, 7.5),)
    assert state.summary == {"total_flos": 1e15, "train_runtime": 8.0, "train_loss": 1.0}


def test_ppo_rows_stay_as_written() -> None:
    state = parse_trainer_state(b'{"log_history": [{"loss": -0.25, "reward": 1.5, "epoch": 0.01, "step": 4}]}')
    assert state.rows == (LogRow("train", 4, {"loss": -0.25, "reward": 1.5}, None, 0.01),)


def test_damaged_history_gives_what_it_can() -> None:
    state = parse_trainer_state(
        b'{"log_history": [null, 7, [], {}, {"step": "x", "loss": 1.0}, {"step": 3, "loss": null}]}'
    )
    assert state.rows == (LogRow("mark", None), LogRow("train", None, {"loss": 1.0}), LogRow("mark", 3))
    assert parse_trainer_state(b'{"global_step": 3, "log_history": {"a": 1}}').rows == ()


def test_early_stopping() -> None:
    def stopped(callbacks: object) -> bool:
        return parse_trainer_state(
            json.dumps({"global_step": 1, "stateful_callbacks": callbacks}).encode()
        ).early_stopping

    def callback(patience: object, counter: object) -> dict[str, object]:
        args = {"early_stopping_patience": patience, "early_stopping_threshold": 0.0}
        return {"args": args, "attributes": {"early_stopping_patience_counter": counter}}

    assert stopped({"EarlyStoppingCallback": callback(3, 3)})
    assert stopped({"EarlyStoppingCallback": [callback(9, 3), callback(3, 3)]})
    assert not stopped({"EarlyStoppingCallback": callback(3, 2)})
    none: list[object] = [None, 7, [], {}, {"EarlyStoppingCallback": 7}, {"EarlyStoppingCallback": callback("x", None)}]
    for other in none:
        assert not stopped(other)
