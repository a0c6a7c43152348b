"""Writing to a terminal that is gone drops what is written; the thread that writes goes on taking it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread

from lora_tui.tui.lasting import LastingFile


def test_the_writer_outlasts_its_terminal() -> None:
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as terminal:  # noqa: PTH123 a file number
        file = LastingFile(terminal)
        writer = WriterThread(file)  # type: ignore[arg-type]  # all that it uses of a file
        writer.start()
        writer.write("seen\n")
        assert os.read(master, 100).startswith(b"seen")
        assert file.fileno() == slave
        os.close(master)
        for _ in range(3 * MAX_QUEUED_WRITES):
            writer.write("x" * 100)
        writer.stop()
        assert not writer.is_alive()
        assert file.lost is not None
    # What Python still held of it went nowhere when the file was closed, and raised nothing.


@pytest.mark.parametrize("text", ["x", "x\n", "x" * 9000, "x" * 9000 + "\n"])
def test_python_ends_well_after_it(text: str) -> None:
    """Its exit code would be 120 if standard error could not be written to the end."""
    code = (
        "import os, pty, sys\n"
        "from lora_tui.tui.lasting import LastingFile\n"
        "master, slave = pty.openpty(); os.close(master); os.dup2(slave, 2)\n"
        "file = LastingFile(sys.stderr); file.write(sys.argv[1]); file.flush()\n"
        "assert file.lost is not None\n"
    )
    env = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    assert subprocess.run([sys.executable, "-c", code, text], env=env).returncode == 0
