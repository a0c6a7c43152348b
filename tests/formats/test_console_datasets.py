"""Data sets of a job by its console log: a part of a real log, shortened."""

from __future__ import annotations

import pytest

from lora_tui.formats.console.parser import ConsoleParser
from lora_tui.records.documents import ConfigValue

LOADED = "[INFO|2026-11-22 11:52:10] llamafactory.data.loader:144 >> Loading dataset {name}.json..."
HEAD = """[INFO|2026-11-22 11:52:08] llamafactory.hparams.parser:512 >> Process rank: 0, world size: 1, device: cpu, distributed training: False, compute dtype: torch.float32
{loaded}
[INFO|trainer.py:1469] 2026-11-22 11:52:12,696 >> ***** Running training *****
[INFO|trainer.py:1470] 2026-11-22 11:52:12,696 >>   Num examples = 20
[INFO|trainer.py:2668] 2026-11-22 11:52:16,862 >>
***** Running Evaluation *****
[INFO|trainer.py:2670] 2026-11-22 11:52:16,862 >>   Num examples = {evaluated}
"""  # noqa: E501


def config(names: list[str], evaluated: int) -> dict[str, ConfigValue]:
    parser = ConsoleParser()
    loaded = "\n".join(LOADED.format(name=name) for name in names)
    parser.feed(HEAD.format(loaded=loaded, evaluated=evaluated).encode())
    return dict(parser.snapshot().config)


@pytest.mark.parametrize(
    ("names", "evaluated", "again"),
    [
        (["tiny", "tiny"], 20, "tiny"),
        (["a", "b", "b"], 20, "b"),
        (["a", "b"], 20, None),
        (["tiny"], 4, None),
        # Two nodes that evaluate on the training set.
        (["tiny", "tiny", "tiny", "tiny"], 20, "tiny"),
        # Two nodes write to one log, and a part of the data is split off for evaluation.
        (["tiny", "tiny"], 4, None),
    ],
)
def test_a_data_set_for_both(names: list[str], evaluated: int, again: str | None) -> None:
    found = config(names, evaluated)
    assert found["dataset"] == ",".join(dict.fromkeys(names))
    assert found.get("eval_dataset") == again


def test_the_next_job_in_the_log_begins_anew() -> None:
    parser = ConsoleParser()
    for _ in range(2):
        parser.feed(HEAD.format(loaded=LOADED.format(name="tiny"), evaluated=20).encode())
    assert "eval_dataset" not in parser.snapshot().config
