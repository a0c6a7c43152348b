"""Give the fuzzer its first inputs: pieces of real files, and the words of each format."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from tools.fuzz.targets import FILE, RECORD

ROOT = Path(__file__).parent.parent.parent
PLACES = (ROOT / "tests" / "data", ROOT / "sample_runs")
PIECE = 500

WORDS: dict[str, tuple[str, ...]] = {
    "trainer_log": (
        '"current_steps": ', '"total_steps": ', '"loss": ', '"lr": ', '"epoch": ', '"percentage": ', '"eval_loss": ',
        '"elapsed_time": "0:00:01"', '"throughput": "0.00"', '"total_tokens": ', '"global_step/max_steps": "1/2"',
        '"log_history": []', "NaN", "-Infinity", "1e400", "null", "true", "\\ud800", "{", "}", "[", "]", "},{",
        '"rewards/accuracies": ', '"3 days, 17:51:32"', '"13h 35m 55s"', "9007199254740992",
    ),
    "console": (
        "{'loss': 1.5, 'epoch': 0.1}", "{'eval_loss': 1.0}", "{'train_runtime': 1, 'train_loss': 2, 'epoch': 3}",
        "\r  2%|x| 5/300 [00:26<25:00, 5.09s/it]", "\x1b[A", "[INFO|trainer.py:1] 2025-12-30 19:57:56,487 >> ",
        "***** Running training *****", "***** train metrics *****", "  Num examples = 10", "  Num Epochs = 3",
        "  Total optimization steps = 300", "Traceback (most recent call last):", '  File "/x/bin/y.py", line 1',
        "ValueError: x", "KeyboardInterrupt", "torch.OutOfMemoryError: CUDA out of memory", "[rank0]: ", "host: ",
        "exitcode: -9", "Sending process 1 closing signal SIGTERM", "np.float64(1.5)", "nan", "'1e-05'", "1e999",
        ">> epoch: 0, step: 1, loss: 1.5", "  train_loss = 1.5", "  train_runtime = 0:01:02.03", "862GF",
        "Saving model checkpoint to x/checkpoint-5", "Loading dataset x...", "training example:", "input_ids:",
        "trainable params: 1 || all params: 2 || trainable%: 3", "'global_step/max_steps': '1/2'", "\n", "\r",
    ),
    "predictions": ('"prompt": ', '"predict": ', '"label": ', '"chosen": 1', '"rejected": 2', "<|im_end|>"),
    "trainer_state": (
        '"global_step": ', '"max_steps": ', '"log_history": [', '"best_metric": ', '"stateful_callbacks": {',
        '"EarlyStoppingCallback": ', '"best_model_checkpoint": "x/checkpoint-5"', '"total_flos": 1', "NaN", "1e400",
        '"attributes": {"early_stopping_patience_counter": 3}', '"args": {"early_stopping_patience": 3}', '"loss": ',
    ),
    "yaml": (
        "<<: *a", "&a ", "*a", "!!int ", "!!binary ", "!!timestamp ", "!!set ", "!!omap ", "!!python/object:os.system ",
        "%TAG ! x\n", "---\n", "...\n", "? ", "- ", ": ", "|\n", ">\n", "1:30:00", "2024-01-01", "0x1F", ".inf", "~",
        "top.lang: ", "train.training_stage: ", "train.extra_args: '{\"a\": 1}'", "learning_rate: 1e-4",
    ),
    "card": (
        "---\n", "base_model: x\n", "tags:\n- llama-factory\n", "- learning_rate: 1e-4\n", "[More Information Needed]",
        "This model is a fine-tuned version of [x](y) on the a and the b datasets.", "### Framework versions\n",
        "hyperparameters were used during training:\n", "- optimizer: Use adamw_torch", "- PEFT 0.15\n",
    ),
    "toml": ("[[a]]\n", "[a.b]\n", '"""', "'''", "a = ", "{a = 1}", "[1, 2]", "1979-05-27T07:32:00Z", "\\u00e9", "#"),
    "expression": (
        "eval_loss", " < ", " and ", " or ", "not ", "(", ")", "min(loss)", "rating(loss)", "has(x)", "finding(x)",
        "state == finished", "name ~ 'x'", "1e-4", "25%", "2h", "-", "/", "nan", "inf",
    ),
    "text": (
        "\x1b[31m", "\x1b]52;c;eA==\x07", "\x1b]8;;x\x1b\\", "\x9b1m", "\x9d0;x\x9c", "\u202e", "\u200b", "\ufe0f",
        "训练", "e\u0301", "\U0001f600", "\u2028", "\r\n", "\ud7b0", "\U000e0041", "[red]", "www.", "://",
    ),
    "tfevents": ("\x0a", "\x12", "\x2a", "\x0d", "\x42", "\x10", "\x09", "\x15\x00\x00\x80\x3f", "train/loss",
                 "eval/loss", "train/epoch", "args/text_summary", "model_config/text_summary", "train/total_flos",
                 RECORD.decode()),
    "recognise": ("[INFO|", " >> ", "llamafactory."),
}  # fmt: skip
WORDS["adapter"] = ('"peft_type": "LORA"', '"r": 8', '"target_modules": [', '"use_dora": true', '"peft_type": "OFT"')
WORDS["log_in_blocks"] = (*WORDS["trainer_log"], "\n")
WORDS["results"] = ('"eval_loss": ', '"predict_bleu-4": ', "NaN", "1e400", "null")
WORDS["board"] = WORDS["yaml"]
WORDS["run"] = (FILE.decode(), *WORDS["trainer_log"], *WORDS["console"][:12], *WORDS["trainer_state"])


SMALL: dict[str, tuple[str, ...]] = {
    "trainer_state": (
        '{"global_step": 20, "max_steps": 40, "epoch": 0.5, "num_train_epochs": 1, "logging_steps": 10,'
        ' "eval_steps": 20, "save_steps": 20, "train_batch_size": 4, "num_input_tokens_seen": 512,'
        ' "best_metric": 1.5, "log_history": ['
        '{"step": 10, "epoch": 0.25, "loss": 2.5, "learning_rate": 1e-4, "grad_norm": 0.5, "train_runtime": 9.5},'
        '{"step": 20, "epoch": 0.5, "eval_loss": NaN, "eval_runtime": 1.0}, {"step": 40, "train_loss": 2.0,'
        ' "total_flos": 5, "train_runtime": 20.0}], "best_model_checkpoint": "saves/checkpoint-20",'
        ' "best_global_step": 20, "stateful_callbacks": {"EarlyStoppingCallback": {"args":'
        ' {"early_stopping_patience": 2}, "attributes": {"early_stopping_patience_counter": 2}}}}',
        '{"log_history": [{"step": 1, "rewards/accuracies": 0.5, "loss": 1}], "stateful_callbacks": [{}, 1]}',
        '{"global_step": 1}',
    ),
    "results": ('{"eval_loss": 1.5, "eval_runtime": "2", "a": null, "b": 9007199254740993, "c": NaN, "d": [1]}', "{}"),
    "adapter": (
        '{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "lora_dropout": 0.1, "target_modules": ["q", "v"],'
        ' "modules_to_save": null, "base_model_name_or_path": "m", "use_dora": true, "init_lora_weights": "pissa"}',
        '{"r": 8, "target_modules": "all", "bias": "none"}', '{"peft_type": "OFT", "r": 4, "x": {"y": 1}}',
    ),
    "yaml": ("stage: sft\nlearning_rate: 1e-4\nlist: [a, 1.5]\nhub_token: x\nwhen: 2024-01-01\nnested: {a: 1}\n",),
    "board": (
        "top.lang: en\ntop.finetuning_type: lora\ntop.quantization_bit: none\ntrain.training_stage: DPO\n"
        "train.learning_rate: '5e-5'\ntrain.num_train_epochs: '3.0'\ntrain.batch_size: 2\ntrain.compute_type: bf16\n"
        "train.dataset: [a, b]\ntrain.ds_stage: '2'\ntrain.extra_args: '{\"optim\": \"x\"}'\ntrain.use_galore: true\n",
    ),
    "predictions": (
        '{"prompt": "question", "predict": "question", "label": "answer"}\n'
        '{"prompt": "", "predict": "", "label": "x"}\n'
        '{"predict": "a b c d e f g h a b c d e f g h a b c d e f g h a b c d e f g h a b c d e f g h",'
        ' "label": "."}\n',
        '{"chosen": 1.5, "rejected": -1}\n{"chosen": "x", "rejected": null}\n[]\n{}\n',
    ),
    "run": (
        FILE.decode().join((
            '{"current_steps": 10, "total_steps": 20, "loss": 2.5, "lr": 1e-4, "epoch": 0.5,'
            ' "elapsed_time": "0:00:10"}\n'
            '{"current_steps": 20, "total_steps": 20, "eval_loss": 2.25, "epoch": 1.0, "elapsed_time": "0:00:20"}\n',
            "{'loss': 1.5, 'grad_norm': 0.5, 'epoch': 0.5}\n"
            "Traceback (most recent call last):\n  File \"x\"\nValueError: x\n",
            '{"global_step": 20, "log_history": [{"step": 10, "loss": 2.5, "grad_norm": 1.0}]}',
            '{"eval_loss": 2.25, "eval_runtime": 3}', "stage: sft\nlearning_rate: 1e-4\n",
        )),
    ),
}  # fmt: skip
"""Target -> complete files that are short enough to be inputs."""


def longest(target: str) -> int:
    """Return the largest size of an input in bytes: short inputs run fast, and other tests check long ones."""
    return {"run": 3000, "card": 2000, "board": 2000, "trainer_state": 1500}.get(target, 600)


def dictionary(target: str) -> str:
    """Return the words of a target in the format of libFuzzer's dictionaries."""
    words = (word.encode("latin-1" if target == "tfevents" else "utf-8", "surrogatepass") for word in WORDS[target])
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in words)


def of(target: str) -> Iterator[bytes]:
    """Yield the first inputs of a target."""
    if target == "tfevents":
        for data in _files("events.out.tfevents.*"):
            records = list(_payloads(data))
            for start in range(0, min(len(records), 60), 12):
                yield b"\x80" + RECORD.join(record for record in records[start : start + 12] if len(record) < 1000)
    elif target == "run":
        parts = [
            [data[:700] for data in _files(name)][:6]
            for name in ("trainer_log.jsonl", "*.log", "trainer_state.json", "eval_results.json", "training_args.yaml")
        ]
        for place in range(6):
            yield FILE.join(part[place % len(part)] if part else b"" for part in parts)
    elif target == "log_in_blocks":
        for data in _files("trainer_log.jsonl"):
            yield b"\n".join(data.split(b"\n")[-3:-1])
    elif target in PATTERNS:
        patterns, whole = PATTERNS[target]
        for data in _files(*patterns):
            if whole:
                if len(data) <= longest(target):
                    yield data
            else:
                for cut, start in ((b"\0", 0), (b"\x80", len(data) // 2), (b"\0", max(0, len(data) - PIECE))):
                    yield cut + data[start : start + PIECE]
    for text in (*SMALL.get(target, ()), *WORDS[target]):
        yield (b"\x80" if target == "predictions" else b"") + text.encode("utf-8", "surrogatepass")


PATTERNS: dict[str, tuple[tuple[str, ...], bool]] = {
    "trainer_log": (("trainer_log.jsonl",), False),
    "console": (("*.log", "running_log.txt"), False),
    "recognise": (("*.log",), False),
    "predictions": (("generated_predictions.jsonl",), False),
    "trainer_state": (("trainer_state.json",), True),
    "results": (("*_results.json",), True),
    "adapter": (("adapter_config.json",), True),
    "yaml": (("training_args.yaml", "llamaboard_config.yaml"), True),
    "board": (("llamaboard_config.yaml",), True),
    "card": (("README.md",), True),
}
"""Target -> patterns of the names of its real files, and whether only complete files are useful."""


def _files(*patterns: str) -> Iterable[bytes]:
    for place in PLACES:
        for pattern in patterns:
            for path in sorted(place.rglob(pattern)):
                yield path.read_bytes()


def _payloads(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        yield data[at + 12 : at + 12 + length]
        at += 16 + length
