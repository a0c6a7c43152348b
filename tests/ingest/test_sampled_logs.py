"""A sample of a log has the same rows at its ends and the same evaluations as the whole log."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from lora_tui.formats.trainer_log import TrainerLogParser
from lora_tui.ingest import file_readers as module
from lora_tui.ingest.file_readers import is_worth_sampling, read_sample
from lora_tui.sources.local_disk import LocalDisk


def parsed(data: bytes) -> list[tuple[str, int | None]]:
    return [(row.kind, row.step) for row in TrainerLogParser().feed(data)]


@pytest.mark.parametrize("seed", range(12))
def test_first_last_and_evaluation_rows(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    if seed % 2:
        monkeypatch.setattr(module, "SAMPLE_CHUNK", rng.choice([700, 5000, 9973]))
    lines = []
    for step in range(1, rng.choice([900, 4000])):
        common = {"current_steps": step, "total_steps": 5000, "epoch": 1}
        lines.append(json.dumps({**common, "loss": rng.random(), "lr": 1e-4}))
        if step % 90 == 0:
            lines.append(json.dumps({**common, "eval_loss": 1.0 / step}))
    path = tmp_path / "trainer_log.jsonl"
    path.write_text("\n".join(lines) + rng.choice(["\n", "", '\n{"current_steps": 9']))
    entry = LocalDisk().stat(path)
    assert entry is not None
    assert is_worth_sampling(entry)
    assert not is_worth_sampling(entry._replace(size=1000))
    whole, seen = parsed(path.read_bytes() + b"\n"), parsed(b"".join(read_sample(LocalDisk(), entry)) + b"\n")
    assert seen[:15] == whole[:15]
    assert seen[-30:] == whole[-30:]
    last = parsed(read_sample(LocalDisk(), entry)[1] + b"\n")
    assert last == whole[-len(last) :]
    assert [row for row in seen if row[0] == "eval"] == [row for row in whole if row[0] == "eval"]
    assert len(seen) < len(whole)
    assert [row for row in whole if row in set(seen)] == seen


def test_of_a_very_long_log_the_middle_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE_MIDDLE", 100_000)
    path = tmp_path / "trainer_log.jsonl"
    path.write_text("".join(f'{{"current_steps": {n}, "loss": 1.0, "eval_loss": 2.0}}\n' for n in range(1, 9_000)))
    entry = LocalDisk().stat(path)
    assert entry is not None
    steps = [step for _, step in parsed(b"".join(read_sample(LocalDisk(), entry)))]
    assert steps[0] == 1
    assert steps[-1] == 8999
    assert 1000 < len(steps) < 3000
    assert steps == sorted(set(map(int, filter(None, steps))))
