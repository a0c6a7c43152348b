"""Writing to a terminal that is gone drops what is written; the thread that writes goes on taking it."""

from __future__ import annotations

import os
import pty

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
        # What Python still holds for the file would raise once more when it is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), slave)
