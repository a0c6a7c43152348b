"""The user's own configuration directory, and the few choices that the app keeps there between starts."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lora_tui.text.atomic_write import write_atomically


def config_dir() -> Path:
    """Where the settings of the user belong on this system; ``LORA_TUI_CONFIG_DIR`` overrides it."""
    override = os.environ.get("LORA_TUI_CONFIG_DIR")
    if override:
        return Path(override)
    from platformdirs import user_config_path

    return user_config_path("lora-tui", appauthor=False)


def keep_path() -> Path:
    """The file of the choices made in the app (language, theme)."""
    return config_dir() / "kept.json"


def load_kept() -> dict[str, str]:
    """The kept choices; empty if there are none or the file cannot be used."""
    try:
        data = json.loads(keep_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Nothing kept is the ordinary case, and a damaged file costs no more than choosing once more.
        return {}
    return {str(k): v for k, v in data.items() if isinstance(v, str)} if isinstance(data, dict) else {}


def save_kept(**choices: str) -> None:
    """Add choices. A full disk leaves the old file whole. Raises OSError with the name of the file or directory."""
    path = keep_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({**load_kept(), **choices}, indent=2) + "\n")
