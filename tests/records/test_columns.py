"""Rows in columns give the same run as single rows, however a log is cut into pieces."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.records.documents import LogRow
from lora_tui.records.rows import BLOCK_ROWS, MIN_BLOCK_ROWS, Block, Rows
from lora_tui.records.timestamps import Times
from lora_tui.records.updates import FileRows
from lora_tui.runs.run import Run
from lora_tui.runs.series import Series

NUMBERS = st.one_of(st.none(), st.floats(0, 1e6), st.just(math.inf))
VALUES = st.one_of(st.floats(allow_nan=True, allow_infinity=True, width=32), st.integers(-5, 5).map(float))
ROWS = st.builds(
    LogRow,
    kind=st.sampled_from(["train", "eval", "mark", "progress"]),
    step=st.one_of(st.integers(0, 2**52), st.none()),
    values=st.dictionaries(st.sampled_from(["loss", "lr", "eval_loss"]), VALUES, max_size=3),
    total_steps=st.one_of(st.none(), st.integers(1, 2**52)),
    epoch=st.one_of(st.none(), st.floats(0, 1e3)),
    elapsed_s=NUMBERS,
    time=NUMBERS,
)


def as_text(rows: object) -> str:
    return repr([(*row[:2], sorted(row.values.items()), *row[3:]) for row in rows])  # type: ignore[attr-defined]


class TestRows:
    @given(st.lists(ROWS, max_size=40), st.integers(1, 30), st.lists(st.integers(0, 1300), max_size=4))
    def test_they_are_a_list(self, some: list[LogRow], times: int, cuts: list[int]) -> None:
        plain = some * times
        rows = Rows(plain)
        rows.extend(Rows(plain))
        plain = plain + plain
        for cut in (len(plain), *cuts):
            rows.cut(cut)
            plain = plain[:cut]
            assert len(rows) == len(plain)
            assert as_text(rows) == as_text(plain)
            assert as_text(reversed(rows)) == as_text(reversed(plain))
            assert as_text(rows[-3:]) == as_text(plain[-3:])
            assert [rows.kind(at) for at in range(len(plain))] == [row.kind for row in plain]
            assert rows.times() == [row.time for row in plain]
            for at in (0, -1, len(plain) // 2):
                if plain:
                    assert as_text([rows[at]]) == as_text([plain[at]])
            with pytest.raises(IndexError):
                rows[len(plain)]

    def test_many_rows_are_kept_in_columns(self) -> None:
        rows = Rows(LogRow("train", n, {"loss": 1.0 / n}) for n in range(1, 2 * BLOCK_ROWS))
        assert [type(part) for part in rows.parts()] == [Block, tuple]

    def test_a_few_rows_at_once_make_no_block(self) -> None:
        rows = Rows()
        for n in range(BLOCK_ROWS // 8):
            rows.extend(Rows(LogRow("train", 8 * n + k, {"loss": 1.0}) for k in range(1, 9)))
        assert len(list(rows.parts())) == 1

    def test_blocks_are_shared(self) -> None:
        first = Rows(LogRow("train", n, {"loss": 1.0}) for n in range(1, BLOCK_ROWS + 1))
        assert next(Rows(first).parts()) is next(first.parts())


@given(st.lists(st.one_of(st.none(), st.floats(0, 9)), max_size=30), st.integers(0, 30), st.integers(-30, 29))
def test_times_are_a_list(plain: list[float | None], cut: int, at: int) -> None:
    times = Times(plain)
    times.extend(Times(plain))
    times.add_unknown(2)
    plain = plain + plain + [None, None]
    assert list(times) == plain
    assert times.earliest == min((time for time in plain if time is not None), default=None)
    if -len(plain) <= at < len(plain):
        times[at] = plain[at] = 4.5
        assert list(times) == plain
    times.cut(cut)
    assert list(times) == plain[:cut]
    assert times[-1:] == plain[:cut][-1:]


@given(st.lists(VALUES, max_size=40), st.integers(0, 40), st.lists(st.integers(0, 40), max_size=3), VALUES)
def test_a_series_of_many_is_one_of_each(values: list[float], first: int, looks: list[int], instead: float) -> None:
    one, many = Series("loss"), Series("loss")
    for step, value in enumerate(values):
        one.append(float(step), value)
        if step in looks:
            _ = one.smooth
    for part in (range(min(first, len(values))), range(min(first, len(values)), len(values))):
        many.extend([float(step) for step in part], [values[step] for step in part])
        _ = many.smooth if len(looks) == 1 else None
    for _round in range(2):
        for name in ("steps", "values", "smooth", "min", "min_step", "max", "max_step", "nonfinite", "smoothed"):
            assert repr(getattr(one, name)) == repr(getattr(many, name)), name
        if values:
            one.replace_last(instead)
            many.replace_last(instead)


def log_of(seed: int) -> list[bytes]:
    """Return lines as trainers write them: evaluations, marks, resumes, two writers, nulls, NaN, repeated steps."""
    rng = random.Random(seed)
    lines: list[bytes] = []
    step, clock, every = 0, 0.0, rng.choice([1, 5, 10])
    odd, evals, clocked = rng.random() < 0.3, rng.choice([0, 7, 90]), rng.random() < 0.8
    for number in range(rng.choice([30, 700, 2500])):
        step, clock = step + every, clock + rng.choice([0.0, 1.0, 3.7])
        if rng.random() < 0.002:
            step, clock = max(every, step - 50 * every), 0.0
        row: dict[str, object] = {"current_steps": step, "total_steps": rng.choice([0, 9999]) if odd else 9999}
        row |= {"loss": math.nan if rng.random() < 0.01 else round(rng.random(), 4), "lr": 10 ** -rng.randint(1, 9)}
        if odd and rng.random() < 0.02:
            row["loss"] = rng.choice([None, "0.5", 10**400, True])
        row |= {"epoch": step / 500, "percentage": 1.0}
        if clocked:
            row |= {"elapsed_time": f"{int(clock) // 3600}:{int(clock) // 60 % 60:02}:{int(clock) % 60:02}"}
        lines.append(json.dumps(row).encode())
        if evals and number % evals == evals - 1:
            keys = {"eval_loss": rng.random()} if rng.random() < 0.8 else {}
            again = {**row, **keys}
            del again["loss"], again["lr"]
            lines.append(json.dumps(again).encode())
    return lines


def contents(run: Run) -> dict[str, object]:
    """Return everything in a run that depends on its rows."""
    timeline = run.timeline
    return {
        "rows": as_text(timeline.rows), "times": list(timeline.times), "segments": timeline.segments,
        "starts": timeline.starts, "evals": timeline.evals, "longest": timeline.longest_gap, "eval_s": timeline.eval_s,
        "gaps": list(timeline._gaps), "train_gaps": list(timeline._train_gaps), "rate": timeline.rate(),
        "writers": repr(vars(timeline.writers)) if timeline.writers is not None else None,
        "series": {
            name: repr((s.steps, s.values, s.smooth, s.min, s.min_step, s.max, s.max_step, s.nonfinite))
            for name, s in sorted(run.series.items())
        },
        "job": run.eval_job.rows,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_a_log_in_one_piece_is_the_log_row_by_row(seed: int) -> None:
    lines = log_of(seed)
    whole, single = Run(Path("run")), Run(Path("run"))
    parser = TrainerLogParser()
    data = b"\n".join(lines) + b"\n"
    rng = random.Random(seed)
    live, at = seed % 3 == 0, 0
    came: list[tuple[int, float | None]] = []
    while at < len(data):
        size = rng.choice([200, 5_000, 1 << 18])
        # Some pieces arrive live: the last row of each then has the time of the file.
        arrived = 2.0 * at if live and at else None
        rows = parser.feed(data[at : at + size])
        whole.apply([FileRows("trainer_log.jsonl", "log", rows, 2.0 * at, arrived=arrived)])
        came.append((len(rows), 2.0 * at if arrived is not None else None))
        at += size
    parser = TrainerLogParser()
    singles = iter(parser.feed(line + b"\n") for line in lines)
    for count, time in came:
        left = count
        while left:
            rows = tuple(next(singles))
            left -= len(rows)
            arrived = time if not left else None
            single.apply([FileRows("trainer_log.jsonl", "log", rows, time or 1.0, arrived=arrived)])
    assert contents(whole) == contents(single)
    assert any(isinstance(part, Block) for part in whole.timeline.rows.parts()) == (len(whole.rows) >= MIN_BLOCK_ROWS)
    # The same again from the tables, as after a change of earlier rows.
    whole._rebuild()
    assert contents(whole) == contents(single)
