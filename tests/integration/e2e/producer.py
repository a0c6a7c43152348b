"""Real LLaMA-Factory jobs, started as its users start them."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Options = Mapping[str, object]

# The producer's LoRA example (examples/train_lora/*_lora_sft.yaml in its repository), cut to a job of seconds.
EXAMPLE: Options = {
    "trust_remote_code": True, "stage": "sft", "do_train": True, "finetuning_type": "lora", "lora_rank": 8,
    "lora_target": "all", "dataset": "sft_demo", "template": "qwen", "cutoff_len": 512, "max_samples": 400,
    "overwrite_cache": True, "preprocessing_num_workers": 1, "dataloader_num_workers": 0, "logging_steps": 2,
    "save_steps": 20, "plot_loss": True, "save_only_model": False, "report_to": "none",
    "per_device_train_batch_size": 8, "gradient_accumulation_steps": 2, "learning_rate": 5.0e-4, "max_steps": 40,
    "lr_scheduler_type": "cosine", "warmup_ratio": 0.1, "ddp_timeout": 180000000,
}  # fmt: skip
EVALUATED: Options = {"val_size": 0.1, "per_device_eval_batch_size": 8, "eval_strategy": "steps", "eval_steps": 10}
DPO: Options = {
    "stage": "dpo", "dataset": "dpo_demo", "cutoff_len": 256, "pref_beta": 0.1, "pref_loss": "sigmoid",
    "learning_rate": 1.0e-4, "per_device_train_batch_size": 4,
}  # fmt: skip
PREDICT: Options = {
    "do_predict": True, "eval_dataset": "sft_test", "predict_with_generate": True, "max_new_tokens": 32,
    "per_device_eval_batch_size": 4,
}  # fmt: skip
PATIENCE_S = 240.0
"""Far more than a job of seconds takes, on a machine that does other things besides."""


class Job:
    """One job: ``llamafactory-cli train FILE.yaml`` in a directory, its console written to a file or thrown away.

    ``home`` is the environment. ``board`` starts it as LlamaBoard does: the options saved in the output
    directory, two variables set, no console file.
    """

    def __init__(
        self,
        home: Path,
        directory: Path,
        output: str,
        *options: Options,
        console: str | None = None,
        board: bool = False,
    ) -> None:
        self.home = home
        self.directory = directory
        self.output = directory / output
        self.options: dict[str, object] = {
            "model_name_or_path": str(self.home / "e2e/tiny-qwen2"),
            "dataset_dir": str(self.home / "e2e/data"),
            **EXAMPLE,
        }
        for more in options:
            self.options.update(more)
        self.options["output_dir"] = output
        environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": "1",
            "HF_DATASETS_CACHE": str(directory / ".datasets"),
            "MPLBACKEND": "agg",
        }
        environment.pop("PYTHONPATH", None)
        recipe = directory / f"{self.output.name}.yaml"
        if board:
            environment.update(LLAMABOARD_ENABLED="1", LLAMABOARD_WORKDIR=output)
            self.output.mkdir(parents=True, exist_ok=True)
            fields = {"top.model_name": "Custom", "top.finetuning_type": "lora", "train.logging_steps": 2}
            (self.output / "llamaboard_config.yaml").write_text(yaml.safe_dump(fields), encoding="utf-8")
            recipe = self.output / "training_args.yaml"
        chosen = {key: value for key, value in self.options.items() if value not in (None, False, "")}
        recipe.write_text(yaml.safe_dump(chosen), encoding="utf-8")

        target = directory / console if console else Path(os.devnull)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("ab") as said:
            self.process = subprocess.Popen(
                [str(self.home / "venv/bin/llamafactory-cli"), "train", str(recipe.relative_to(directory))],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started = time.time()
        self.ended = float("inf")

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        if self.process.poll() is not None:
            self.ended = min(self.ended, time.time())
            return False
        return True

    def signal(self, sign: signal.Signals) -> None:
        """Send a signal to the job and all that it started."""
        os.killpg(self.process.pid, sign)

    def fill_disk(self, largest: int) -> None:
        """From now on no file can grow above ``largest`` bytes: the next large one fails, as on a full disk."""
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (largest, largest))

    def kill(self) -> None:
        """End it at once, as ``kill -9`` and the kernel's memory killer do."""
        if self.running:
            self.signal(signal.SIGKILL)
            self.process.wait(30)
        self.ended = min(self.ended, time.time())

    def kill_between_saves(self) -> None:
        """End it at once, at a moment when its newest checkpoint is whole and it has logged a later step.

        It is stopped to look. Killed within a save, it could not go on from its newest checkpoint.
        """
        while True:
            self.signal(signal.SIGSTOP)
            saved, rows = self.checkpoints(), self.rows()
            if saved and rows and self._is_whole(saved[-1]) and rows[-1]["current_steps"] > saved[-1]:
                self.kill()
                return
            self.signal(signal.SIGCONT)
            if not self.running:
                raise AssertionError(f"it ended before such a moment; checkpoints {saved}")
            time.sleep(0.02)

    def _is_whole(self, step: int) -> bool:
        """Whether the trainer has written the last file of a checkpoint."""
        try:
            json.loads((self.output / f"checkpoint-{step}" / "trainer_state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return False
        return True

    # -- what it wrote --------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """The whole rows of trainer_log.jsonl."""
        return rows_of(self.output)

    def results(self, split: str) -> dict[str, Any]:
        """One of the results files."""
        found: dict[str, Any] = json.loads((self.output / f"{split}_results.json").read_text(encoding="utf-8"))
        return found

    def checkpoints(self) -> list[int]:
        """The steps of the checkpoint directories, ascending."""
        return sorted(int(path.name.split("-")[1]) for path in self.output.glob("checkpoint-*"))


def rows_of(output: Path) -> list[dict[str, Any]]:
    """The whole rows of a run's trainer_log.jsonl so far."""
    try:
        text = (output / "trainer_log.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1]]
