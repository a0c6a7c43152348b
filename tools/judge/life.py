"""One simulated life of a training run, and its replay through the real :class:`lora_tui.runs.run.Run`.

Nothing here knows how a life was drawn (``simulator``) or what is wrong with it (``faults``).
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
"""A look comes this many seconds after the row that it is named by,"""
LAST_LOOK_S = 300.0
"""and the one at a finished run when nothing more is to be expected."""


@dataclass(frozen=True)
class Life:
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
    """What lies on disk from a time on."""
    ends: bool
    """It reaches its last step and writes its results."""
    end_time: float
    """When the results were written; for a run that does not end, when it was last looked at."""
    results: Mapping[str, Mapping[str, float]]
    """Split -> values of the results files, written at ``end_time``."""
    right: frozenset[str] = frozenset()
    """Codes of which each is a right name for what is wrong."""
    welcome: frozenset[str] = frozenset()
    """Codes that may come along: no false alarm, no hit."""
    traits: Mapping[str, float | str] = field(default_factory=dict)
    """What was drawn, for tables and for finding out why a rule missed."""

    @property
    def onset_row(self) -> int | None:
        """Index in ``rows`` of the first row at or after the onset."""
        if self.onset_step is None:
            return None
        return next((i for i, (row, _) in enumerate(self.rows) if (row.step or 0) >= self.onset_step), len(self.rows))


class Replay:
    """Feeds a life into a run as the follower would. ``cold``: what was there at the first look has no times of its
    own, as when a run is opened long after it began; otherwise every row is seen to arrive."""

    def __init__(self, life: Life, *, cold: bool = False) -> None:
        self.life = life
        self.run = Run(Path("/runs") / life.name)
        self._cold = cold
        self._at = 0
        self._saves = 0
        self._known: dict[str, CheckpointDir] = {}
        if life.config:
            began = life.rows[0][1] - 30.0
            self.run.apply([FileDoc(ARGS, ConfigDoc(dict(life.config), "llamafactory"), began)])

    def advance(self, to: int) -> tuple[Run, float]:
        """The run with the rows up to and including index ``to``, and the moment of the look. ``len(life.rows)`` is the
        end: results written, or, where the run just stops, the silence after it."""
        life = self.life
        rows = life.rows[self._at : to + 1]
        updates: list[Update] = []
        if rows and self._cold:
            updates.append(FileRows(LOG, "log", tuple(row for row, _ in rows), rows[-1][1]))
        else:
            updates += [FileRows(LOG, "log", (row,), time, arrived=time) for row, time in rows]
        self._cold = False
        self._at = max(self._at, min(to + 1, len(life.rows)))
        over = to >= len(life.rows)
        now = (life.end_time + LAST_LOOK_S * life.ends if over else life.rows[self._at - 1][1]) + LOOK_S
        updates += self._disk(now)
        if over and life.ends:
            updates += _results(life)
        self.run.apply(updates)
        return self.run, now

    def _disk(self, now: float) -> list[Update]:
        out: list[Update] = []
        events = self.life.checkpoints
        while self._saves < len(events) and events[self._saves][0] <= now:
            items = {item.path: item for item in events[self._saves][1]}
            out += [FileGone(f"{path}/trainer_state.json") for path in self._known if path not in items]
            for path, item in items.items():
                if item.has_state and (path not in self._known or not self._known[path].has_state):
                    out.append(FileDoc(f"{path}/trainer_state.json", state_of(self.life, item.step), item.mtime))
            out.append(CheckpointsSeen(tuple(items.values())))
            self._known = items
            self._saves += 1
        return out


def state_of(life: Life, step: int) -> TrainerState:
    """What a trainer_state.json of this life says at a step; its history is left to the log."""
    steps = {key: float(value) for key, value in life.traits.items() if key.endswith("_steps")}
    return TrainerState(
        global_step=step, max_steps=life.total_steps, logging_steps=steps.get("logging_steps"),
        eval_steps=steps.get("eval_steps"), save_steps=steps.get("save_steps"),
    )  # fmt: skip


def _results(life: Life) -> list[Update]:
    out: list[Update] = [FileDoc("trainer_state.json", state_of(life, life.total_steps), life.end_time)]
    for split, values in life.results.items():
        out.append(FileDoc(f"{split}_results.json", Results(split, dict(values)), life.end_time))  # type: ignore[arg-type]
    return out


def moments(life: Life, count: int) -> list[int]:
    """About ``count`` row indices at which to look, ascending: the first rows, then spread over the whole life, closer
    in its first tenth; the last row; and the end (``len(life.rows)``). After an onset also looks at distances that grow
    by half each, which tell the time to detection."""
    total = len(life.rows)
    rng = random.Random(f"moments {life.seed} {life.name}")
    picks = {0, 1, 4, total - 1, total}
    early = max(2, count // 5)
    picks |= {int(total * 0.1 * (i + rng.random()) / early) for i in range(early)}
    late = max(1, count - len(picks))
    picks |= {int(total * (0.1 + 0.9 * (i + rng.random()) / late)) for i in range(late)}
    onset = life.onset_row
    if onset is not None:
        picks.add(onset - 1)
        distance = 0.0
        while onset + distance < total:
            picks.add(onset + int(distance))
            distance = max(distance + 1, distance * 1.5)
    return sorted(pick for pick in picks if 0 <= pick <= total)


def write(life: Life, folder: Path, upto: int | None = None) -> float:
    """Write a life as real files with their real times, to the row ``upto`` (default: its end); returns the moment."""
    replay = Replay(life)
    last = len(life.rows) if upto is None else upto
    run, now = replay.advance(last)
    folder.mkdir(parents=True)
    rows = life.rows[: last + 1]
    _put(folder / LOG, "".join(json.dumps(_as_written(row)) + "\n" for row, _ in rows), rows[-1][1])
    if life.config:
        # Every JSON document is a YAML document.
        _put(folder / ARGS, json.dumps(dict(life.config)), life.rows[0][1] - 30.0)
    for item in run.files.checkpoints:
        (folder / item.path).mkdir()
        if item.has_state:
            _put(folder / item.path / "trainer_state.json", json.dumps(_state(life, item.step)), item.mtime)
        os.utime(folder / item.path, (item.mtime, item.mtime))
    if last >= len(life.rows) and life.ends:
        _put(folder / "trainer_state.json", json.dumps(_state(life, life.total_steps)), life.end_time)
        for split, values in life.results.items():
            _put(folder / f"{split}_results.json", json.dumps(values), life.end_time)
    return now


def _as_written(row: LogRow) -> dict[str, object]:
    """A row under the producer's keys."""
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


def _state(life: Life, step: int) -> dict[str, object]:
    state = state_of(life, step)
    known = {
        "global_step": step, "max_steps": state.max_steps, "logging_steps": state.logging_steps,
        "eval_steps": state.eval_steps, "save_steps": state.save_steps,
    }  # fmt: skip
    return {**{key: value for key, value in known.items() if value is not None}, "log_history": []}


def _put(path: Path, text: str, time: float) -> None:
    path.write_text(text)
    os.utime(path, (time, time))
