"""One target under atheris: ``python -m tools.fuzz.worker TARGET [libFuzzer's arguments]``."""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    with atheris.instrument_imports(include=["lora_tui"]):
        # What is imported where it is needed must be imported here, or it would not be seen.
        from tools.fuzz import faces, targets
    del faces
    target = targets.TARGETS[sys.argv[1]]
    # To merge, libFuzzer starts its first argument anew, in a shell.
    atheris.Setup([f"{sys.executable} -m tools.fuzz.worker {sys.argv[1]}", *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
