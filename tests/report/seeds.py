"""Two directories as real jobs would have left them, made from the numbers of two hand-written documents: a boxed
summary of a QLoRA run, and an analysis of two log lines and a prediction.

The summary's job: LLaMA-Factory 0.9.5 with transformers 4.57 (losses rounded to four decimals), started as
``llamafactory-cli train qlora.yaml | tee train.log``, so that the log has what goes to stdout (LLaMA-Factory's own
messages, metric dicts, metric blocks) and nothing of what goes to stderr (transformers' messages, with the sizes of the
data, and the progress bars). ``logging_steps`` and ``save_steps`` are 500, transformers' default.

Where each fact of the box stands:

====================================  ==================================================================================
title: Qwen2-0.5B-Instruct            adapter_config.json ``base_model_name_or_path``, README.md ``base_model``
title: QLoRA                          train.log "Quantizing model to 4 bit", adapter_config.json ``peft_type``
finished 2025-12-29 20:21             modification time of trainer_log.jsonl, whose last row is the summary row
took 1 h 52 min                       trainer_log.jsonl ``elapsed_time`` of that row (and train_results.json)
6250 steps                            trainer_log.jsonl ``current_steps``, trainer_state.json ``global_step``
mean train loss 1.6679                train_results.json, all_results.json, trainer_state.json, train.log ``train_loss``
eval loss 1.6844                      eval_results.json, all_results.json, train.log ``eval_loss``; README.md rounded
perplexity 5.39                       nowhere: exp(1.6844)
rank 64, alpha 128                    adapter_config.json ``r``, ``lora_alpha``
batch 4 x 4 = 16                      README.md ``train_batch_size``, ``gradient_accumulation_steps``,
                                      ``total_train_batch_size``; one device: train.log "world size: 1"
learning rate 2e-4, cosine            README.md ``learning_rate``, ``lr_scheduler_type``
100k train samples                    nowhere: 6250 steps x 16 / 1 epoch (transformers' "Num examples" went to stderr)
2k eval samples                       nowhere: eval_results.json ``eval_runtime`` x ``eval_samples_per_second``
loss by 500 steps                     trainer_log.jsonl ``loss`` (also trainer_state.json, train.log)
6.65 % of the parameters              train.log "trainable params: … || all params: … || trainable%: 6.6499"
====================================  ==================================================================================

What a job writes beside these and the box does not tell is made up: gradient norms, seconds, the seed, the data set's
name.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path

LOSSES = (1.7242, 1.7449, 1.7348, 1.7085, 1.6944, 1.6718, 1.6553, 1.6578, 1.6391, 1.6110, 1.6138, 1.6030)
STEPS, EVERY, RATE, WARM = 6250, 500, 2e-4, 0.1
FINISHED = time.mktime((2025, 12, 29, 20, 21, 5, 0, 0, -1))
"""Local time of the end, as the document has it."""
SECONDS = 6721
OUT = "saves/qwen2-0.5b/qlora/sft"
TRAIN = {
    "epoch": 1.0, "total_flos": 2.2671e17, "train_loss": 1.6679, "train_runtime": 6727.3412,
    "train_samples_per_second": 14.865, "train_steps_per_second": 0.929,
}  # fmt: skip
EVAL = {
    "epoch": 1.0, "eval_loss": 1.6844, "eval_runtime": 33.9412, "eval_samples_per_second": 58.926,
    "eval_steps_per_second": 7.366,
}  # fmt: skip


def write_summary(directory: Path, *, console: bool = True) -> Path:
    """Write the job of the boxed summary. Only its ``console`` log tells of QLoRA and of the share that is trained."""
    directory.mkdir(parents=True, exist_ok=True)
    history = [_row(EVERY * (at + 1), loss) for at, loss in enumerate(LOSSES)]
    state = _state(
        [*history, {"epoch": 1.0, "step": STEPS, **{key: TRAIN[key] for key in sorted(TRAIN) if key != "epoch"}}]
    )
    files = {
        "trainer_log.jsonl": "".join(json.dumps(row) + "\n" for row in _log_rows()),
        "adapter_config.json": json.dumps(_ADAPTER, indent=2, sort_keys=True),
        "train_results.json": _results(TRAIN),
        "eval_results.json": _results(EVAL),
        "all_results.json": _results({**TRAIN, **EVAL}),
        "trainer_state.json": json.dumps(state, indent=2, sort_keys=True) + "\n",
        "README.md": _CARD,
    }
    for step in (6000, STEPS):
        part = {**_state([row for row in history if row["step"] <= step]), "global_step": step, "epoch": step / STEPS}
        files[f"checkpoint-{step}/trainer_state.json"] = json.dumps(part, indent=2, sort_keys=True) + "\n"
        files[f"checkpoint-{step}/adapter_config.json"] = files["adapter_config.json"]
    if console:
        files["train.log"] = _console(history)
    late = {"eval_results.json": 36, "all_results.json": 36, "README.md": 37, "train.log": 37, "train_results.json": 1,
            "trainer_state.json": 1, "adapter_config.json": 1}  # fmt: skip
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        date(path, FINISHED + late.get(name, 0) - (269 if name.startswith("checkpoint-6000/") else 0))
    for step, ago in ((6000, 269), (STEPS, 0)):
        date(directory / f"checkpoint-{step}", FINISHED - ago)
    return directory


def date(path: Path, when: float) -> None:
    """Set the modification time of a file."""
    os.utime(path, (when, when))


def _rate(step: int) -> float:
    """Return the learning rate of a step in transformers' cosine schedule with warm-up."""
    warm = WARM * STEPS
    done = step - 1
    return RATE * done / warm if done < warm else RATE * 0.5 * (1 + math.cos(math.pi * (done - warm) / (STEPS - warm)))


def _row(step: int, loss: float) -> dict[str, float]:
    grad = round(0.61 + 0.05 * math.sin(step), 16)
    return {"epoch": step / STEPS, "grad_norm": grad, "learning_rate": _rate(step), "loss": loss, "step": step}


def _log_rows() -> list[Mapping[str, object]]:
    rows: list[Mapping[str, object]] = []
    for step in [*range(EVERY, STEPS, EVERY), STEPS]:
        elapsed = SECONDS * step // STEPS
        left = (STEPS - step) * elapsed // step
        row: dict[str, object] = {"current_steps": step, "total_steps": STEPS}
        if step < STEPS:
            row |= {"loss": LOSSES[step // EVERY - 1], "lr": _rate(step)}
        row |= {"epoch": step / STEPS, "percentage": round(100 * step / STEPS, 2), "elapsed_time": _clock(elapsed),
                "remaining_time": _clock(left)}  # fmt: skip
        rows.append(row)
    return rows


def _clock(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _results(values: Mapping[str, float]) -> str:
    return json.dumps(values, indent=4, sort_keys=True)


def _state(history: list[dict[str, float]]) -> dict[str, object]:
    return {
        "best_global_step": None, "best_metric": None, "best_model_checkpoint": None, "epoch": 1.0, "eval_steps": 500,
        "global_step": STEPS, "is_hyper_param_search": False, "is_local_process_zero": True,
        "is_world_process_zero": True, "log_history": history, "logging_steps": EVERY, "max_steps": STEPS,
        "num_input_tokens_seen": 0, "num_train_epochs": 1, "save_steps": EVERY, "stateful_callbacks": {},
        "total_flos": TRAIN["total_flos"], "train_batch_size": 4, "trial_name": None, "trial_params": None,
    }  # fmt: skip


def _console(history: list[dict[str, float]]) -> str:
    """Return the job's stdout: LLaMA-Factory's messages, transformers' metric dicts and blocks."""
    stamp = "[INFO|2025-12-29 18:28:{:02}] llamafactory.{}:144 >> {}\n"
    lines = [
        stamp.format(3, "hparams.parser", "Process rank: 0, world size: 1, device: cuda:0, "
                        "distributed training: False, compute dtype: torch.bfloat16"),
        stamp.format(5, "data.loader", "Loading dataset instructions.json..."),
        "training example:\ninput_ids:\n[151644, 8948]\ninputs:\n<|im_start|>user\n你好<|im_end|>\nlabel_ids:\n"
        "[-100, 104]\nlabels:\n你好。<|im_end|>\n",
        stamp.format(31, "model.model_utils.quantization", "Quantizing model to 4 bit with bitsandbytes."),
        stamp.format(36, "model.model_utils.checkpointing", "Gradient checkpointing enabled."),
        stamp.format(36, "model.adapter", "Upcasting trainable params to float32."),
        stamp.format(36, "model.adapter", "Fine-tuning method: LoRA"),
        stamp.format(36, "model.model_utils.misc", "Found linear modules: " + ",".join(_TARGETS)),
        stamp.format(37, "model.loader",
                     "trainable params: 35,192,832 || all params: 529,225,600 || trainable%: 6.6499"),
    ]  # fmt: skip
    for row in history:
        shown = {"loss": row["loss"], "grad_norm": row["grad_norm"], "learning_rate": row["learning_rate"],
                 "epoch": round(row["epoch"], 2)}  # fmt: skip
        lines.append(f"{shown}\n")
    summary = {key: TRAIN[key] for key in ("train_runtime", "train_samples_per_second", "train_steps_per_second",
                                           "train_loss", "epoch")}  # fmt: skip
    lines.append(f"{summary}\n")
    lines.append(
        "***** train metrics *****\n  epoch                    =        1.0\n  total_flos               = 211141632GF\n"
        "  train_loss               =     1.6679\n  train_runtime            = 1:52:07.34\n"
        "  train_samples_per_second =     14.865\n  train_steps_per_second   =      0.929\n"
        f"Figure saved at: {OUT}/training_loss.png\n"
        "***** eval metrics *****\n  epoch                   =        1.0\n  eval_loss               =     1.6844\n"
        "  eval_runtime            = 0:00:33.94\n  eval_samples_per_second =     58.926\n"
        "  eval_steps_per_second   =      7.366\n"
    )
    return "".join(lines)


_TARGETS = ("k_proj", "gate_proj", "q_proj", "down_proj", "o_proj", "v_proj", "up_proj")
_ADAPTER = {
    "base_model_name_or_path": "Qwen/Qwen2-0.5B-Instruct", "bias": "none", "inference_mode": True,
    "init_lora_weights": True, "lora_alpha": 128, "lora_dropout": 0.05, "modules_to_save": None, "peft_type": "LORA",
    "peft_version": "0.18.1", "r": 64, "target_modules": list(_TARGETS), "task_type": "CAUSAL_LM", "use_dora": False,
    "use_rslora": False,
}  # fmt: skip
_CARD = """---
library_name: peft
license: other
base_model: Qwen/Qwen2-0.5B-Instruct
tags:
- base_model:adapter:Qwen/Qwen2-0.5B-Instruct
- llama-factory
- lora
- transformers
pipeline_tag: text-generation
model-index:
- name: sft
  results: []
---

<!-- This model card has been generated automatically according to the information the Trainer had access to. You
should probably proofread and complete it, then remove this comment. -->

# sft

This model is a fine-tuned version of [Qwen/Qwen2-0.5B-Instruct](https://huggingface.co/Qwen/Qwen2-0.5B-Instruct) on \
the instructions dataset.
It achieves the following results on the evaluation set:
- Loss: 1.6844

## Training procedure

### Training hyperparameters

The following hyperparameters were used during training:
- learning_rate: 0.0002
- train_batch_size: 4
- eval_batch_size: 8
- seed: 42
- gradient_accumulation_steps: 4
- total_train_batch_size: 16
- optimizer: Use OptimizerNames.ADAMW_TORCH with betas=(0.9,0.999) and epsilon=1e-08 and optimizer_args=No additional \
optimizer arguments
- lr_scheduler_type: cosine
- lr_scheduler_warmup_ratio: 0.1
- num_epochs: 1.0

### Training results

| Training Loss | Epoch | Step | Validation Loss |
|:-------------:|:-----:|:----:|:---------------:|


### Framework versions

- PEFT 0.18.1
- Transformers 4.57.6
- Pytorch 2.8.0+cu128
- Datasets 4.0.0
- Tokenizers 0.22.2
"""

# -- the analysis -----------------------------------------------------------------------------------------------------

LINES = """\
{'loss': 0.0015, 'grad_norm': 0.00787273421883583, 'learning_rate': 4.566094780413215e-05, 'epoch': 174.62, \
'num_input_tokens_seen': 4316576}
[INFO|2025-05-06 22:22:43] llamafactory.train.callbacks:143 >> {'loss': 0.0008, 'learning_rate': 4.5641e-05, \
'epoch': 175.00, 'throughput': 1954.49}
"""
"""The two log lines that the document quotes, as a console log holds them."""
PREDICTED = {
    "predict_bleu-4": 90.87, "predict_model_preparation_time": 0.0057, "predict_rouge-1": 93.98,
    "predict_rouge-2": 91.52, "predict_rouge-l": 93.18, "predict_runtime": 166.20,
    "predict_samples_per_second": 1.191, "predict_steps_per_second": 0.596,
}  # fmt: skip


def write_analysis(directory: Path) -> Path:
    """Write a console log of exactly these two lines and the results of a prediction job into one directory."""
    directory.mkdir(parents=True, exist_ok=True)
    when = time.mktime((2025, 5, 6, 22, 22, 43, 0, 0, -1))
    for name, text, later in (
        ("train.log", LINES, 0), ("predict_results.json", _results(PREDICTED), 900),
        ("all_results.json", _results(PREDICTED), 900),
    ):  # fmt: skip
        (directory / name).write_text(text, encoding="utf-8")
        date(directory / name, when + later)
    return directory
