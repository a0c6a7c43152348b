"""Writing to a terminal that is gone drops what is written; the thread that writes goes on taking it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable

import pytest
from textual.drivers._writer_thread import MAX_QUEUED_WRITES, WriterThread

from lora_tui.tui.terminal.output import CUT, PIECE, Frame, TerminalFile, _pieces
from tests.support.waiting import DEADLINE_S, wait_until


def test_the_writer_outlasts_its_terminal() -> None:
    master, slave = pty.openpty()
    with open(slave, "w", encoding="utf-8") as terminal:  # noqa: PTH123 a file number
        file = TerminalFile(terminal)
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
        "from lora_tui.tui.terminal.output import TerminalFile\n"
        "master, slave = pty.openpty(); os.close(master); os.dup2(slave, 2)\n"
        "file = TerminalFile(sys.stderr); file.write(sys.argv[1]); file.flush()\n"
        "assert file.lost is not None\n"
    )
    env = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    assert subprocess.run([sys.executable, "-c", code, text], env=env).returncode == 0


# -- frames and slow terminals -----------------------------------------------------------------------------------------


class Slow:
    """A pty that nobody reads until it is asked to."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.terminal = open(self.slave, "w", encoding="utf-8")  # noqa: PTH123, SIM115 a file number, closed below
        self.frames: list[tuple[bool, bool]] = []
        self.file = TerminalFile(self.terminal, lambda frame, whole: self.frames.append((frame.asks, whole)))

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.master)
        with contextlib.suppress(OSError):
            self.terminal.close()

    def is_full(self) -> bool:
        """Whether the kernel takes no more for it."""
        return not select.select([], [self.slave], [], 0)[1]

    def read_until(self, true: Callable[[str], bool]) -> str:
        """Everything that comes until ``true(everything)``."""
        data = b""

        def take() -> None:
            nonlocal data
            if select.select([self.master], [], [], 0.1)[0]:
                data += os.read(self.master, 1 << 16)

        wait_until(lambda: true(data.decode(errors="replace")), step=take)
        return data.decode()


def frame(lines: int) -> Frame:
    painted = (f"\x1b[{y};1H\x1b[38;2;1;2;3m训练中 {y}\x1b[0m" for y in range(1, lines))
    return Frame(f"\x1b[?2026h{''.join(painted)}\x1b[?2026l")


def test_a_frame_that_nobody_takes_is_cut_when_the_app_leaves_and_what_restores_is_not() -> None:
    with Slow() as slow:
        long = frame(4000)
        writer = threading.Thread(target=lambda: (slow.file.write(long), slow.file.write("\x1b[?1049l")))
        writer.start()
        wait_until(slow.is_full, "the kernel has no room for all of it")
        assert writer.is_alive()
        slow.file.leave_by = time.monotonic() + DEADLINE_S
        seen = slow.read_until(lambda text: text.endswith("\x1b[?1049l"))
        writer.join(DEADLINE_S)
        assert not writer.is_alive()
    assert len(seen) < len(long) / 2
    assert seen.endswith(CUT + "\x1b[?1049l"), "no colour is left on, and nothing is held back"
    begun = seen[: -len(CUT + "\x1b[?1049l")]
    assert long.startswith(begun)
    assert re.search(r"(m|H|[^\x1b\[0-9;])$", begun), "cut between two sequences"
    assert slow.frames == [(False, False)]


def test_a_terminal_that_takes_nothing_is_given_up_after_a_while() -> None:
    with Slow() as slow:
        writer = threading.Thread(target=slow.file.write, args=(frame(4000),), daemon=True)
        writer.start()
        wait_until(slow.is_full, "the kernel has no room for all of it")
        slow.file.leave_by = time.monotonic() + 0.3
        writer.join(DEADLINE_S)
        assert not writer.is_alive()
        slow.file.write("\x1b[?1049l")
        assert slow.file.lost is None, "it is there, but it takes nothing"
        os.read(slow.master, 1 << 16)


def test_a_terminal_that_others_have_made_non_blocking_gets_everything() -> None:
    """Node.js, for one, leaves it so; its open file is shared by all who inherit it."""
    with Slow() as slow:
        os.set_blocking(slow.slave, False)
        long = frame(3000)
        writer = threading.Thread(target=slow.file.write, args=(long,))
        writer.start()
        assert slow.read_until(lambda text: len(text) >= len(long)) == long
        writer.join(DEADLINE_S)
    assert slow.frames == [(False, True)]
    assert slow.file.lost is None


@pytest.mark.parametrize("text", ["", "x", "训" * 2000, "\x1b[1;1H" * 1000, "a" * PIECE, "é" * PIECE])
def test_pieces_make_up_the_whole_and_cut_no_character(text: str) -> None:
    data = text.encode()
    pieces = list(_pieces(data))
    assert b"".join(pieces) == data
    assert all(len(piece) <= PIECE for piece in pieces)
    assert "".join(piece.decode() for piece in pieces) == text
    assert all(not piece or piece.count(b"\x1b") == piece.count(b"H") for piece in pieces)


def test_what_the_encoding_does_not_have_keeps_its_cells() -> None:
    master, slave = pty.openpty()
    with open(slave, "w", encoding="latin-1") as terminal:  # noqa: PTH123 a file number
        TerminalFile(terminal).write("é─训x")
    assert os.read(master, 100) == b"\xe9???x"
    os.close(master)
