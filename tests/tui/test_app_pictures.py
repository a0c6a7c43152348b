"""Pictures of whole screens, as text that a diff can show; ``make pictures`` draws them anew.

A picture says that nothing has moved; what it must show is asserted beside it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lora_tui.text.cells import cell_width
from tests.support.app_pilot import make_app, rows, settled

PICTURES = Path(__file__).with_name("pictures")
SIZES = [(80, 24), (120, 40), (200, 50)]
RUNS = ["lora/sft", "lora/default", "lora/crashed", "lora/dpo"]

VALUES = {
    "lora/sft": ["1.0573", "0.9955", "0.9954", "810/810", "37.07"],
    "lora/default": ["2.8302", "2.9363", "120/120"],
    "lora/crashed": ["1.1141", "150/400", "SafetensorError: Error while serializing"],
    "lora/dpo": ["0.4871", "0.4723", "120/120", "0.95"],
}
WORDS = {
    ("lora/sft", "en"): ["finished", "smoothed", "healthy fit"],
    ("lora/sft", "zh"): ["已完成", "平滑", "拟合正常"],
    ("lora/default", "en"): ["finished", "no evaluation"],
    ("lora/default", "zh"): ["已完成", "无评估"],
    ("lora/crashed", "en"): ["failed"],
    ("lora/crashed", "zh"): ["失败"],
    ("lora/dpo", "en"): ["finished", "margins"],
    ("lora/dpo", "zh"): ["已完成", "准确率"],
}


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", RUNS, ids=lambda name: name.split("/")[1])
async def test_the_screen_is_as_in_the_picture(all_runs: Path, name: str, size: tuple[int, int], lang: str) -> None:
    app = make_app(all_runs, run=name, lang=lang)
    async with app.run_test(size=size) as pilot:
        await settled(pilot)
        lines = rows(app)
    screen = "\n".join(lines)
    for expected in [*VALUES[name], *WORDS[name, lang]]:
        assert expected in screen, expected
    assert [cell_width(line) for line in lines] == [size[0]] * size[1]
    picture = PICTURES / f"{name.replace('/', '-')}-{size[0]}x{size[1]}-{lang}.txt"
    drawn = "\n".join(line.rstrip() for line in lines) + "\n"
    if os.environ.get("LORA_TUI_PICTURES") == "draw":
        picture.write_text(drawn, encoding="utf-8")
    assert drawn == picture.read_text(encoding="utf-8")
