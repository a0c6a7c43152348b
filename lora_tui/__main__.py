"""``python -m lora_tui`` and the ``lora-tui`` command: ``main``, and no traceback for a Ctrl-C at whatever moment."""

import signal
import sys

_OURS = signal.getsignal(signal.SIGINT) is signal.default_int_handler
if _OURS:
    # Python answers a Ctrl-C during its imports with a traceback; so the program ends as any other does.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from lora_tui.cli.main import main  # noqa: E402


def run() -> int:
    """The program; returns its exit code."""
    if _OURS:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return main()
    finally:
        # A second Ctrl-C finds Python taking itself apart, which it would tell of.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(run())
