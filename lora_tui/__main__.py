"""Entry point of ``python -m lora_tui`` and the ``lora-tui`` command: no traceback on Ctrl-C at any moment."""

import signal
import sys

_CTRL_C_ENABLED = signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""Whether Ctrl-C raises KeyboardInterrupt; it does not where the parent process ignores SIGINT."""
if _CTRL_C_ENABLED:
    # Ctrl-C during imports would print a traceback; with the default action of the signal the program just ends.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from lora_tui.cli.main import main  # noqa: E402


def run() -> int:
    """Run the program; return its exit code."""
    if _CTRL_C_ENABLED:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return main()
    finally:
        # A second Ctrl-C while the interpreter shuts down would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(run())
