"""``python -m lora_tui``: the same as the ``lora-tui`` command."""

import sys

from lora_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
