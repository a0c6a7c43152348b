"""From a track to a run: noise, clocks, pauses, checkpoints, and the rows as the producer writes them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from lora_tui.records.documents import ConfigValue, LogRow
from lora_tui.records.updates import CheckpointDir
from tools.judge.curves import noise
from tools.judge.plan import PREFERENCE, Plan, Track
from tools.judge.recorded_run import RecordedRun

_ROW, _EVAL, _SAVE = 0, 1, 2


def render(plan: Plan, track: Track, rng: random.Random, began: float, seed: int, name: str) -> RecordedRun:
    """Return the rows and files of a track, written from the Unix time ``began`` on."""
    pen = _RunWriter(plan, track, rng, began)
    pen.write_all()
    ends = track.stops_after is None
    results: Mapping[str, Mapping[str, float]] = pen.results() if ends else {}
    end = pen.now + (rng.uniform(2.5, 8) if ends else track.silence)
    onset = None if track.onset is None else track.steps[track.onset]
    traits: dict[str, float | str] = {
        "stage": plan.stage, "schedule": plan.schedule, "rows": plan.rows, "noise": plan.noise, "evals": plan.evals,
        "epochs": plan.epochs, "duration": plan.duration, "window_noise": plan.window_noise,
        "eval_noise": plan.eval_noise, "logging_steps": plan.logging_steps, "save_steps": plan.save_steps,
        "tokens": float(plan.tokens), "sorted": plan.sorted_by_length, **track.traits,
    }  # fmt: skip
    if plan.evals:
        traits["eval_steps"] = track.eval_steps[0]
    return RecordedRun(
        seed=seed, name=name, fault="", effect=0.0, onset_step=onset, rows=tuple(pen.rows),
        total_steps=plan.total_steps, config=_config(plan, track) if plan.yaml else {},
        checkpoints=tuple(pen.saves), ends=ends, end_time=end, results=results, traits=traits,
    )  # fmt: skip


@dataclass
class _RunWriter:
    """Writes the rows of one run, step by step."""

    plan: Plan
    track: Track
    rng: random.Random
    now: float
    rows: list[tuple[LogRow, float]] = field(default_factory=list)
    saves: list[tuple[float, tuple[CheckpointDir, ...]]] = field(default_factory=list)

    def write_all(self) -> None:
        """Write the whole run, with a kill and a resume where the plan has one."""
        plan, track = self.plan, self.track
        self.began = self.now
        self.done_tokens = 0.0
        self.per_row = self.rng.uniform(200, 4000) * plan.logging_steps
        share = min(self.rng.uniform(0.002, 0.03), 0.3 / max(1, plan.evals))
        self.eval_s = min(share * plan.duration, 3600.0)
        saves = max(1, plan.total_steps // plan.save_steps)
        self.save_s = min(self.rng.uniform(0.2, 20), 0.05 * plan.duration / saves)
        self.disk: list[CheckpointDir] = []
        self.evaluated: dict[int, float] = {}
        events = sorted(
            [(step, _ROW, i) for i, step in enumerate(track.steps)]
            + [(step, _EVAL, i) for i, step in enumerate(track.eval_steps)]
            + [
                (step, _SAVE, 0)
                for step in {*range(plan.save_steps, plan.total_steps, plan.save_steps), plan.total_steps}
            ]
        )
        kill = None if plan.resume_at is None else track.steps[int(plan.resume_at * (plan.rows - 1))]
        factor = track.factor
        if kill is not None:
            self._walk([event for event in events if event[0] <= kill], 0, factor)
            back = max((item.step for item in self.disk if item.has_state), default=0)
            if back:
                self.now += self.rng.uniform(60, 20_000)
                self.began = self.now
                factor = noise(self.rng, plan.rows, plan.noise, plan.tails, plan.memory)
                self.done_tokens = sum(track.tokens[: back // plan.logging_steps]) * self.per_row
                self._walk([event for event in events if event[0] > back], back, factor)
            else:
                # Nothing to resume from: it was not killed after all.
                self._walk([event for event in events if event[0] > kill], kill, factor)
        else:
            self._walk(events, 0, factor)
        if track.stops_after is None:
            row = LogRow("mark", plan.total_steps, self._tokens(), plan.total_steps, plan.epochs, self._elapsed())
            self.rows.append((row, self.now))

    def _walk(self, events: list[tuple[int, int, int]], at: int, factor: list[float]) -> None:
        plan, track = self.plan, self.track
        for step, kind, index in events:
            row = min(plan.rows - 1, (step - 1) // plan.logging_steps)
            if track.stops_after is not None and row > track.stops_after:
                return
            self.now += (step - at) / plan.logging_steps * track.seconds[row]
            self.done_tokens += (step - at) / plan.logging_steps * track.tokens[row] * self.per_row
            at = step
            if kind == _ROW:
                self._put("train", step, self._train(index, factor[index]))
            elif kind == _EVAL:
                self.now += self.eval_s * self.rng.uniform(0.95, 1.1)
                self._put("eval", step, self._eval(index, step))
            else:
                self._save(step)

    def _elapsed(self) -> float:
        return float(int(self.now - self.began))

    def _put(self, kind: str, step: int, values: dict[str, float]) -> None:
        epoch = self.plan.epochs * step / self.plan.total_steps
        row = LogRow(kind, step, {**values, **self._tokens()}, self.plan.total_steps, epoch, self._elapsed())  # type: ignore[arg-type]
        self.rows.append((row, self.now))

    def _tokens(self) -> dict[str, float]:
        if not self.plan.tokens:
            return {}
        clock = max(self.now - self.began, 0.01)
        return {"throughput": round(self.done_tokens / clock, 2), "total_tokens": float(int(self.done_tokens))}

    def _train(self, index: int, factor: float) -> dict[str, float]:
        plan, track = self.plan, self.track
        level = track.level[index]
        if plan.stage in PREFERENCE:
            # Policy and reference are one at the start: every pair has the same loss.
            factor *= min(1.0, 0.05 + abs(plan.start - level) / (0.3 * plan.start))
        loss = track.literal.get(index, self._round(level * math.exp(factor)))
        values = {"loss": loss, "lr": plan.peak_lr * track.lr[index]}
        if plan.grad:
            values["grad_norm"] = track.grad[index] if math.isfinite(loss) and loss != 0.0 else math.nan
        if plan.stage == "dpo":
            sure = min(1.0, max(0.0, track.accuracy[index] + self.rng.gauss(0, 0.06) * (track.accuracy[index] < 0.995)))
            values["accuracy"] = sure
            if plan.rewards and math.isfinite(loss) and loss > 0:
                values["rewards/accuracies"] = sure
                values.update(_rewards(loss))
        return values

    def _eval(self, index: int, step: int) -> dict[str, float]:
        plan, track = self.plan, self.track
        level = track.eval_level[index]
        loss = track.eval_literal.get(index, self._round(level * math.exp(track.eval_factor[index])))
        self.evaluated[step] = loss
        values = {"eval_loss": loss}
        if plan.stage == "rm":
            values["eval_accuracy"] = min(1.0, 0.5 + 0.45 * max(0.0, plan.start - level) / (0.5 * plan.start))
        elif plan.stage == "dpo" and plan.rewards and math.isfinite(loss) and loss > 0:
            values.update({f"eval_{name}": value for name, value in _rewards(loss).items()})
        return values

    def _round(self, value: float) -> float:
        return round(value, 4) if self.plan.rounded else value

    def _save(self, step: int) -> None:
        path = f"checkpoint-{step}"
        size = 60_000_000
        self.saves.append((self.now, (*self.disk, CheckpointDir(step, path, self.now, False, size=size // 2))))
        self.now += self.save_s
        self.disk.append(CheckpointDir(step, path, self.now, True, size=size))
        limit = self.plan.save_limit
        while limit is not None and len(self.disk) > limit:
            best = min(self.evaluated, key=lambda step: self.evaluated[step], default=None)
            spared = {step, best} if self.plan.load_best else {step}
            doomed = next((item for item in self.disk if item.step not in spared), None)
            if doomed is None or (self.plan.load_best and len(self.disk) <= max(2, limit)):
                break
            self.disk.remove(doomed)
        self.saves.append((self.now, tuple(self.disk)))

    def results(self) -> dict[str, dict[str, float]]:
        """Return what the job writes when it has ended."""
        plan = self.plan
        losses = [row.values["loss"] for row, _ in self.rows if row.kind == "train"]
        mean = math.fsum(losses) / len(losses) if all(map(math.isfinite, losses)) else math.nan
        batch = 8.0
        took = max(1.0, self.now - self.began)
        out = {"train": {
            "epoch": plan.epochs, "train_loss": mean, "train_runtime": round(took, 4),
            "train_samples_per_second": round(plan.total_steps * batch / took, 3),
            "train_steps_per_second": round(plan.total_steps / took, 3),
        }}  # fmt: skip
        if self.evaluated:
            last = self.evaluated[max(self.evaluated)]
            runtime = round(max(self.eval_s, 0.2), 4)
            out["eval"] = {
                "epoch": plan.epochs, "eval_loss": last, "eval_runtime": runtime,
                "eval_samples_per_second": round(plan.eval_samples / runtime, 3),
                "eval_steps_per_second": round(plan.eval_samples / batch / runtime, 3),
            }  # fmt: skip
        return out


def _rewards(loss: float) -> dict[str, float]:
    """Rewards whose margin gives this sigmoid loss; both fall, the rejected one more, as they do in most runs."""
    margin = -math.log(max(1e-6, math.exp(min(loss, 20.0)) - 1))
    return {"rewards/chosen": -0.3 * margin, "rewards/rejected": -1.3 * margin, "rewards/margins": margin}


def _config(plan: Plan, track: Track) -> dict[str, ConfigValue]:
    out: dict[str, ConfigValue] = {
        "stage": plan.stage, "finetuning_type": plan.method, "dataset": "train_data",
        "learning_rate": plan.peak_lr, "lr_scheduler_type": plan.schedule, "warmup_ratio": round(plan.warmup, 4),
        "num_train_epochs": plan.epochs, "logging_steps": plan.logging_steps, "save_steps": plan.save_steps,
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4,
    }  # fmt: skip
    if plan.stage == "dpo":
        out.update(pref_loss="sigmoid", pref_beta=0.1)
    if plan.evals:
        out.update(eval_strategy="steps", eval_steps=track.eval_steps[0], val_size=0.1)
    if plan.save_limit is not None:
        out["save_total_limit"] = plan.save_limit
    if plan.load_best:
        out["load_best_model_at_end"] = True
    extra = track.config
    return {**out, **extra}
