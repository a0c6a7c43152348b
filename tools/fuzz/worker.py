"""Run one target under atheris: ``python -m tools.fuzz.worker TARGET [libFuzzer's arguments]``."""

from __future__ import annotations

import sys

import atheris


def main() -> None:
    """Fuzz the target of the command line. Does not return, since libFuzzer ends the process."""
    with atheris.instrument_imports(include=["lora_tui"]):
        # Modules that targets import when they run must be imported here to be instrumented.
        from tools.fuzz import outputs, targets
    del outputs
    target = targets.TARGETS[sys.argv[1]]
    # To merge, libFuzzer runs its first argument again, in a shell.
    atheris.Setup([f"{sys.executable} -m tools.fuzz.worker {sys.argv[1]}", *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
