"""lora-tui: a read-only terminal cockpit for fine-tuning runs.

From Python::

    import time, lora_tui
    run = lora_tui.load("saves/qwen2/lora/sft")
    run.status(time.time()).state, run.series["loss"].last
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lora_tui.runs.run import Run

__version__ = "0.1.0"
__all__ = ["__version__", "load", "load_all"]


def load(path: str | PathLike[str]) -> Run:
    """Read one run as it is on disk now.

    ``path`` is the directory of a run, a console log, or a directory with exactly one run below it. Raises
    FileNotFoundError if there is no run, ValueError if there are several.
    """
    runs = load_all(path)
    if not runs:
        raise FileNotFoundError(f"no run at {path}")
    if len(runs) > 1:
        from pathlib import Path

        own = [run for run in runs if run.path == Path(path).absolute()]
        if len(own) != 1:
            raise ValueError(f"{len(runs)} runs below {path}: " + ", ".join(run.name for run in runs))
        return own[0]
    return runs[0]


def load_all(*paths: str | PathLike[str]) -> list[Run]:
    """Read all runs below ``paths`` as they are on disk now; return them newest first."""
    from pathlib import Path

    from lora_tui.ingest.follower import Follower
    from lora_tui.runs.workspace import Workspace

    follower = Follower([Path(path) for path in paths])
    workspace = Workspace(follower.roots)
    try:
        for batch in follower.read_all():
            workspace.apply(batch)
            if batch.error is not None:
                raise batch.error
    finally:
        follower.close()
    return workspace.runs
