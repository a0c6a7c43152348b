"""Texts that look like markup, for every place in a job's files where text may stand."""

from __future__ import annotations

import json
import os
from pathlib import Path

TEXTS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "](javascript:alert(1))",
    "![x](https://evil.example/p.png)",
    "https://evil.example/a?b=c",
    "www.evil.example",
    "mail@evil.example",
    "# heading",
    "\n# heading\n\n- item\n\n> quote\n",
    "```\n</code>\n# out",
    "````",
    "`code` `more",
    "``",
    "a | b | c",
    "a \\| b \\\\| c",
    "| --- | --- |",
    "**bold** _em_ ~~gone~~ $x^2$",
    "- item",
    "1. item",
    "---",
    "===",
    "&lt;script&gt; &#60;b&#62; &amp;",
    "<!-- -->",
    "[ref]: https://evil.example",
    "[^1]",
    "\x1b[31mred\x1b[0m \x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "\u202eevil\u202c \u2066x\u2069 zero\u200bwidth \ufeff",
    "<details><summary>x</summary>",
    "{{ 7*7 }} {% raw %}",
    "@someone #123",
    "    indented code",
    "\ttab",
    "\\",
)


def write(directory: Path, text: str) -> Path:
    """Write a finished job with this text as option, as name of data set and metric, and as message of a failure."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = [
        {"current_steps": step, "total_steps": 40, "loss": 2.0 - step / 40, "lr": 1e-4, "epoch": step / 40,
         "percentage": step / 0.4, "elapsed_time": f"0:00:{step // 2:02}", "remaining_time": "0:00:10", text: 1.5}
        for step in range(2, 42, 2)
    ]  # fmt: skip
    adapter = {
        "peft_type": "LORA", "r": 8, "lora_alpha": 16, "base_model_name_or_path": f"org/{text}", "bias": text,
        "target_modules": [text, "q_proj"],
    }  # fmt: skip
    options = {"stage": "sft", "dataset": text, "template": text, text[:60]: text, "lr_scheduler_type": text}
    trace = 'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\nValueError: '
    files = {
        "trainer_log.jsonl": "".join(json.dumps(row) + "\n" for row in rows) + json.dumps({"x": text}) + "\n",
        "adapter_config.json": json.dumps(adapter),
        "training_args.yaml": json.dumps(options),
        "predict_results.json": json.dumps({"predict_bleu-4": 50.0, "predict_rouge-l": 40.0, f"predict_{text}": 1.0}),
        "generated_predictions.jsonl": json.dumps({"prompt": text, "predict": text, "label": text}) + "\n",
        "train.log": trace + text.replace("\n", " ") + "\n",
    }
    for name, content in files.items():
        path = directory / name
        path.write_text(content, encoding="utf-8")
        os.utime(path, (1_750_000_000, 1_750_000_000 + (5 if name == "train.log" else 0)))
    return directory
