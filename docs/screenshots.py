"""Draw the pictures of the documentation: ``make screenshots``.

They show the real runs in ``sample_runs/`` with a fixed clock, so that the same pictures are drawn every time. One run
is replayed to the middle of its training; the others are finished.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Literal

from lora_tui.demo.replay import Replay, plan
from lora_tui.demo.samples import restore_mtimes, sample_dir
from lora_tui.ingest.follower import Follower
from lora_tui.runs.workspace import Workspace
from lora_tui.tui.app import LoraTuiApp
from lora_tui.tui.options import AppOptions
from lora_tui.tui.screenshot import fix_wide_text

HERE = Path(__file__).resolve().parent
SIZE = (120, 36)
LIVE = "lora/sft-long"
PICTURES = {"watch": (LIVE, ""), "results": ("lora/sft", "3"), "report": ("lora/sft", "R")}
"""Name of the picture -> the selected run, and the key that is pressed."""
STOP = 3120
"""Step that the long run has reached."""


def replay(run: Path, now: float) -> None:
    """Cut a run to what its job had written by ``STOP``, as the demo replays it, with ``now`` as that moment."""
    events = plan(sample_dir() / LIVE, Replay(LIVE, start_s=0.0, keep_checkpoints=3))
    row = f'"current_steps": {STOP},'.encode()
    stop = next(event.at for event in events if event.path == "trainer_log.jsonl" and row in event.content(now))
    shutil.rmtree(run)
    for event in (event for event in events if event.at <= stop):
        path, at = run / event.path, now - stop + event.at
        if event.action == "remove":
            shutil.rmtree(path)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if event.action == "append" else "wb") as file:
            file.write(event.content(at))
        os.utime(path, (at, at))


async def picture(root: Path, now: float, run: str, key: str, lang: Literal["en", "zh"]) -> str:
    """Return one screen as SVG."""
    follower = Follower([root], clock=lambda: now)
    workspace = Workspace(follower.roots)
    for batch in follower.read_all():
        workspace.apply(batch)
    follower.close()
    app = LoraTuiApp(workspace, None, AppOptions(lang=lang, run=run, clock=lambda: now))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(0.3)
        if key:
            await pilot.press(key)
            await pilot.pause(0.3)
        return fix_wide_text(app.export_screenshot(title="lora-tui"))


def main() -> None:
    """Draw all pictures in both languages."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "saves" / "qwen2-0.5b"
        shutil.copytree(sample_dir(), root)
        restore_mtimes(root)
        times: dict[str, float] = json.loads((root / "mtimes.json").read_text(encoding="utf-8"))
        now = max(times.values()) + 600
        replay(root / LIVE, now)
        for name, (run, key) in PICTURES.items():
            for lang in ("en", "zh"):
                svg = asyncio.run(picture(root, now + 2.0, run, key, "zh" if lang == "zh" else "en"))
                path = HERE / f"{name}-{lang}.svg"
                path.write_text(svg, encoding="utf-8")
                print(path.relative_to(HERE.parent))


if __name__ == "__main__":
    main()
