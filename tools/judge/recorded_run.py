"""One simulated run of a training run, and its replay through the real :class:`lora_tui.runs.run.Run`.

Nothing here knows how a run was drawn (``simulator``) or what is wrong with it (``faults``).
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lora_tui.records.documents import ConfigDoc, ConfigValue, LogRow, Results, TrainerState
from lora_tui.records.updates import CheckpointDir, CheckpointsSeen, FileDoc, FileGone, FileRows, Update
from lora_tui.runs.run import Run

LOG, ARGS = "trainer_log.jsonl", "training_args.yaml"
LOOK_S = 2.0
"""Seconds after the row that a look is named by at which it comes."""
LAST_LOOK_S = 300.0
"""Seconds after the end at which a finished run is looked at last."""


@dataclass(frozen=True)
class RecordedRun:
    """A whole run, row by row. Times are Unix seconds, steps are optimizer steps."""

    seed: int
    name: str
    fault: str
    """Code of the finding that was put in, ``""`` for a healthy run."""
    effect: float
    """How strong the fault is, in the unit that :data:`tools.judge.faults.FAULTS` documents; 0 for a healthy run."""
    onset_step: int | None
    """Step of the first row that the fault touches."""
    rows: tuple[tuple[LogRow, float], ...]
    """Each row with the time at which it was written; times ascend."""
    total_steps: int
    config: Mapping[str, ConfigValue]
    """Options as ``training_args.yaml`` holds them; empty where a plain CLI job leaves no such file."""
    checkpoints: tuple[tuple[float, tuple[CheckpointDir, ...]], ...]
    """What lies on disk from each time on."""
    ends: bool
    """Whether it reaches its last step and writes its results."""
    end_time: float
    """When the results were written; for a run that does not end, when it was last looked at."""
    results: Mapping[str, Mapping[str, float]]
    """Values of the results files by split, written at ``end_time``."""
    right: frozenset[str] = frozenset()
    """Codes of findings each of which names rightly what is wrong."""
    welcome: frozenset[str] = frozenset()
    """Codes of findings that may come along: no false alarm, no hit."""
    traits: Mapping[str, float | str] = field(default_factory=dict)
    """Parameters that were drawn, for tables and for finding out why a rule missed."""

    @property
    def onset_row(self) -> int | None:
        """Index in ``rows`` of the first row at or after the onset."""
        if self.onset_step is None:
            return None
        return next((i for i, (row, _) in enumerate(self.rows) if (row.step or 0) >= self.onset_step), len(self.rows))


class Replay:
    """Feeds a recorded run into a :class:`lora_tui.runs.run.Run` as the follower would.

    ``cold``: what was there at the first look has no times of its own, as when a run is opened long after it began;
    otherwise every row is seen to arrive.
    """

    def __init__(self, recorded: RecordedRun, *, cold: bool = False) -> None:
        self.recorded = recorded
        self.run = Run(Path("/runs") / recorded.name)
        self._cold = cold
        self._at = 0
        self._saves = 0
        self._known: dict[str, CheckpointDir] = {}
        if recorded.config:
            began = recorded.rows[0][1] - 30.0
            self.run.apply([FileDoc(ARGS, ConfigDoc(dict(recorded.config), "llamafactory"), began)])

    def advance(self, to: int) -> tuple[Run, float]:
        """Return the run with the rows up to and including index ``to``, and the moment of the look.

        ``len(recorded.rows)`` is the end: results written, or, where the run just stops, the silence after it.
        """
        recorded = self.recorded
        rows = recorded.rows[self._at : to + 1]
        updates: list[Update] = []
        if rows and self._cold:
            updates.append(FileRows(LOG, "log", tuple(row for row, _ in rows), rows[-1][1]))
        else:
            updates += [FileRows(LOG, "log", (row,), time, arrived=time) for row, time in rows]
        self._cold = False
        self._at = max(self._at, min(to + 1, len(recorded.rows)))
        over = to >= len(recorded.rows)
        now = (recorded.end_time + LAST_LOOK_S * recorded.ends if over else recorded.rows[self._at - 1][1]) + LOOK_S
        updates += self._disk(now)
        if over and recorded.ends:
            updates += _results(recorded)
        self.run.apply(updates)
        return self.run, now

    def _disk(self, now: float) -> list[Update]:
        out: list[Update] = []
        events = self.recorded.checkpoints
        while self._saves < len(events) and events[self._saves][0] <= now:
            items = {item.path: item for item in events[self._saves][1]}
            out += [FileGone(f"{path}/trainer_state.json") for path in self._known if path not in items]
            for path, item in items.items():
                if item.has_state and (path not in self._known or not self._known[path].has_state):
                    out.append(FileDoc(f"{path}/trainer_state.json", state_of(self.recorded, item.step), item.mtime))
            out.append(CheckpointsSeen(tuple(items.values())))
            self._known = items
            self._saves += 1
        return out


def state_of(recorded: RecordedRun, step: int) -> TrainerState:
    """Return what a trainer_state.json of this run says at a step; its history is left to the log."""
    steps = {key: float(value) for key, value in recorded.traits.items() if key.endswith("_steps")}
    return TrainerState(
        global_step=step, max_steps=recorded.total_steps, logging_steps=steps.get("logging_steps"),
        eval_steps=steps.get("eval_steps"), save_steps=steps.get("save_steps"),
    )  # fmt: skip


def _results(recorded: RecordedRun) -> list[Update]:
    out: list[Update] = [FileDoc("trainer_state.json", state_of(recorded, recorded.total_steps), recorded.end_time)]
    for split, values in recorded.results.items():
        out.append(FileDoc(f"{split}_results.json", Results(split, dict(values)), recorded.end_time))  # type: ignore[arg-type]
    return out


def moments(recorded: RecordedRun, count: int) -> list[int]:
    """Return about ``count`` row indices at which to look, ascending.

    The first rows, then spread over the whole run, closer in its first tenth; the last row; and the end
    (``len(recorded.rows)``). After an onset also looks at distances that grow by half each, which tell the time to
    detection.
    """
    total = len(recorded.rows)
    rng = random.Random(f"moments {recorded.seed} {recorded.name}")
    picks = {0, 1, 4, total - 1, total}
    early = max(2, count // 5)
    picks |= {int(total * 0.1 * (i + rng.random()) / early) for i in range(early)}
    late = max(1, count - len(picks))
    picks |= {int(total * (0.1 + 0.9 * (i + rng.random()) / late)) for i in range(late)}
    onset = recorded.onset_row
    if onset is not None:
        picks.add(onset - 1)
        distance = 0.0
        while onset + distance < total:
            picks.add(onset + int(distance))
            distance = max(distance + 1, distance * 1.5)
    return sorted(pick for pick in picks if 0 <= pick <= total)


def write(recorded: RecordedRun, folder: Path, upto: int | None = None) -> float:
    """Write a run as real files with their real times, to the row ``upto`` (default: its end); return the moment."""
    replay = Replay(recorded)
    last = len(recorded.rows) if upto is None else upto
    run, now = replay.advance(last)
    folder.mkdir(parents=True)
    rows = recorded.rows[: last + 1]
    _put(folder / LOG, "".join(json.dumps(_as_written(row)) + "\n" for row, _ in rows), rows[-1][1])
    if recorded.config:
        # Every JSON document is a YAML document.
        _put(folder / ARGS, json.dumps(dict(recorded.config)), recorded.rows[0][1] - 30.0)
    for item in run.files.checkpoints:
        (folder / item.path).mkdir()
        if item.has_state:
            _put(folder / item.path / "trainer_state.json", json.dumps(_state(recorded, item.step)), item.mtime)
        os.utime(folder / item.path, (item.mtime, item.mtime))
    if last >= len(recorded.rows) and recorded.ends:
        _put(folder / "trainer_state.json", json.dumps(_state(recorded, recorded.total_steps)), recorded.end_time)
        for split, values in recorded.results.items():
            _put(folder / f"{split}_results.json", json.dumps(values), recorded.end_time)
    return now


def _as_written(row: LogRow) -> dict[str, object]:
    """Return a row under the producer's keys."""
    seconds = int(row.elapsed_s or 0)
    clock = f"{seconds // 3600 % 24}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    days = seconds // 86400
    if days:
        clock = f"{days} day{'s' if days > 1 else ''}, {clock}"
    return {
        "current_steps": row.step, "total_steps": row.total_steps, **row.values, "epoch": row.epoch,
        "percentage": round(100 * (row.step or 0) / (row.total_steps or 1), 2), "elapsed_time": clock,
        "remaining_time": "0:00:00",
    }  # fmt: skip


def _state(recorded: RecordedRun, step: int) -> dict[str, object]:
    state = state_of(recorded, step)
    known = {
        "global_step": step, "max_steps": state.max_steps, "logging_steps": state.logging_steps,
        "eval_steps": state.eval_steps, "save_steps": state.save_steps,
    }  # fmt: skip
    return {**{key: value for key, value in known.items() if value is not None}, "log_history": []}


def _put(path: Path, text: str, time: float) -> None:
    path.write_text(text)
    os.utime(path, (time, time))
