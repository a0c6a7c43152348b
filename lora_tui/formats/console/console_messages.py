"""The messages of a training job that a console log is read for.

Sources: LLaMA-Factory (``hparams/parser.py``, ``data/loader.py``, ``model/``, ``train/*/workflow.py``), transformers
``Trainer`` (header of the training loop, ``save_model``, ``log_metrics``), jieba.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Kind, a text without which the pattern cannot match, and the pattern. A training job writes some twenty lines that are
# none of these for one that is, and a log has few of the kinds: ``re`` compiles a pattern when its text is first met.
_MESSAGES = (
    ("running", "***** Running ", r"\*{5} Running (training|Evaluation|Prediction) \*{5}"),
    ("block", " metrics *****", r"\*{5} (\w{1,40}) metrics \*{5}"),
    (
        "header",
        " = ",
        r"^ {0,8}(Num examples|Num Epochs|Num update steps per epoch|Instantaneous batch size per device"
        r"|Total train batch size \([^)]*\)|Gradient Accumulation steps|Total optimization steps|Total training steps"
        r"|Num optimization epochs per batch|Number of trainable parameters|Batch size) = ([\d,.]+)",
    ),
    ("save", "Saving model checkpoint to ", r"Saving model checkpoint to (.+)"),
    ("figure", "Figure saved at: ", r"Figure saved at: (.+)"),
    ("prediction", "Saving prediction results to ", r"Saving prediction results to (.+)"),
    ("saved", " saved in ", r" saved in (.+)"),
    ("resumed", " global step ", r"Resuming training from checkpoint with epoch .* global step (\d+)"),
    ("resumed", "Continuing training from ", r"Continuing training from global step (\d+)"),
    ("resume", "Resuming training from ", r"Resuming training from (.+?)\.?$"),
    ("dataset", "Loading dataset ", r"Loading dataset (.+?)(?:\.\.\.|…)$"),
    ("rank", "Process rank: ", r"Process rank: (\d+),(?: world size: (\d+),)?.* compute dtype: ([\w.]+)"),
    ("tasks", " distributed tasks", r"Initializing (\d+) distributed tasks"),
    ("quantized", "Quantizing model to ", r"Quantizing model to (\d+) bit"),
    ("quantized", "-quantized model", r"Loading (\d+)-bit \S+-quantized model"),
    ("method", "Fine-tuning method: ", r"Fine-tuning method: (\w+)"),
    ("adapters", "Loaded adapter(s): ", r"Loaded adapter\(s\): (.+)"),
    (
        "trainable",
        "trainable params: ",
        r"trainable params: ([\d,]+) \|\| all params: ([\d,]+) \|\| trainable%: ([\d.]+)",
    ),
    ("all", "all params: ", r"^all params: ([\d,]+)$"),
    ("cache", "config.json from cache at ", r"loading configuration file config\.json from cache at (.+)"),
    ("model", "loading configuration file ", r"loading configuration file (.+?)[/\\]config\.json$"),
    ("weights", "loading weights file ", r"loading weights file "),
    ("weights", "KV cache is ", r"KV cache is "),
    ("weights", "Gradient checkpointing enabled", r"Gradient checkpointing enabled"),
    ("weights", "Upcasting trainable params", r"Upcasting trainable params"),
    ("maximum", "max_steps is given", r"max_steps is given, it will override"),
    ("done", "Training completed", r"Training completed\. Do not forget"),
    ("done", "Reached max_steps ", r"Reached max_steps \(\d+\), stopping training"),
    ("scoring", "Building prefix dict from ", r"Building prefix dict from "),
    ("scoring", "Loading model from cache ", r"Loading model from cache .*jieba"),
    ("card", "Dropping the following ", r"Dropping the following result as it does not have all the necessary fields"),
    ("dump", " example:", r"^(?:training|eval) example:$"),
)


class Message(NamedTuple):
    """A message and what it says.

    ``found[1]`` and on, by kind:

    - running: "training", "Evaluation" or "Prediction" (a loop begins); block: split (a metric block begins)
    - header: name, count (a line below "Running …")
    - save, figure, prediction, saved, resume: path; resumed: step
    - dataset: name or file; model: path; cache: path of its configuration in the hub's cache
    - rank: rank, world size or ``None``, dtype; tasks: processes of a distributed job
    - quantized: bits; method: finetuning_type; adapters: paths; trainable: parameters, of all, percent; all: parameters

    Nothing more than their kind say weights (the model is being loaded), maximum (max_steps overrides the epochs), done
    (training ended), scoring (of predictions), card (of the model is being written) and dump (of an example begins).
    """

    kind: str
    found: re.Match[str]


def find_message(text: str) -> Message | None:
    """Return the first message in ``text``."""
    first: Message | None = None
    for kind, needed, pattern in _MESSAGES:
        if needed in text:
            found = re.search(pattern, text)
            if found is not None and (first is None or found.start() < first.found.start()):
                first = Message(kind, found)
    return first


def parse_count(text: str | None) -> int | None:
    """Parse a count with thousands commas; sys.maxsize of a streamed data set too."""
    digits = (text or "").replace(",", "")
    return int(digits) if digits.isdecimal() and len(digits) <= 20 else None
