"""Find the user's configuration directory, and load and save the choices (language, theme) that the app keeps there."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lora_tui.text.atomic_write import write_atomically
from lora_tui.text.regular_file import read_regular_file


def config_dir() -> Path:
    """Return the directory of the user's settings on this system; ``LORA_TUI_CONFIG_DIR`` overrides it."""
    override = os.environ.get("LORA_TUI_CONFIG_DIR")
    if override:
        return Path(override)
    from platformdirs import user_config_path

    return user_config_path("lora-tui", appauthor=False)


def saved_choices_path() -> Path:
    """Return the path of the file of the choices made in the app."""
    return config_dir() / "kept.json"


def load_saved_choices() -> dict[str, str]:
    """Return the saved choices by name (``lang``, ``theme``); empty if there are none or the file cannot be used."""
    try:
        data = json.loads(read_regular_file(saved_choices_path()).decode("utf-8"))
    except (OSError, ValueError):
        # Most users have no such file; a damaged one is ignored, since the user can simply choose again.
        return {}
    return {str(k): v for k, v in data.items() if isinstance(v, str)} if isinstance(data, dict) else {}


def save_choice(name: str, value: str) -> None:
    """Add a choice to the file, atomically. Raises OSError, which names the file or directory, if that fails."""
    path = saved_choices_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({**load_saved_choices(), name: value}, indent=2) + "\n")
