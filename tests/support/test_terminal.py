"""Tests of the test terminal on small programs."""

from __future__ import annotations

import sys
import textwrap
import time

import pyte
import pytest

from tests.support.terminal import Screen, Terminal
from tests.support.waiting import wait_until

pytestmark = pytest.mark.pty

FULL_SCREEN = """
    import os, signal, sys, termios, tty
    before = termios.tcgetattr(0)
    tidy = "--tidy" in sys.argv
    def say(text): os.write(1, text.encode())
    def draw(*_):
        columns, rows = os.get_terminal_size()
        say(f"\\x1b[2J\\x1b[H{columns}x{rows} 训练中│ok\\x1b[{rows};1Hbottom")
    say("before\\r\\n")
    tty.setraw(0)
    say("\\x1b[?1049h\\x1b[?25l\\x1b[?1000h\\x1b[?2004h\\x1b[>1u")
    signal.signal(signal.SIGWINCH, draw)
    draw()
    while (key := os.read(0, 16)) != b"q":
        say(f"\\x1b[3;1Hkey {key!r}")
    if tidy:
        say("\\x1b[<u\\x1b[?2004l\\x1b[?1000l\\x1b[?25h\\x1b[?1049l")
        termios.tcsetattr(0, termios.TCSADRAIN, before)
    sys.exit(3)
"""


def program(source: str, *arguments: str, columns: int = 40, rows: int = 10) -> Terminal:
    command = [sys.executable, "-I", "-c", textwrap.dedent(source), *arguments]
    return Terminal(command, columns=columns, rows=rows)


def test_a_full_screen_program_is_seen_typed_to_and_resized() -> None:
    with program(FULL_SCREEN, "--tidy") as terminal:
        at = terminal.wait_for("40x10 训练中│ok", "bottom")
        assert terminal.started < at <= time.perf_counter()
        assert terminal.screen.alternate
        assert "before" not in terminal.text
        terminal.send("x")
        terminal.wait_for(r"key b'x'")
        terminal.resize(50, 12)
        terminal.wait_for("50x12")
        assert terminal.screen.lines[-1].startswith("bottom")
        assert len(terminal.left_behind()) == 6
        terminal.send("q")
        assert terminal.wait_exit() == 3
        assert terminal.left_behind() == []
        assert terminal.text.startswith("before")
        assert terminal.raw.endswith(b"\x1b[?1049l")


def test_what_a_program_leaves_behind_is_named() -> None:
    with program(FULL_SCREEN) as terminal:
        terminal.wait_for("40x10")
        terminal.send("q")
        terminal.wait_exit()
        assert terminal.left_behind() == [
            "alternate screen on",
            "bracketed paste on",
            "mouse reports on",
            "cursor hidden",
            "kitty keyboard protocol on",
            "termios flags changed",
        ]


def test_queries_are_answered_even_when_cut_in_two() -> None:
    source = r"""
        import os, time, tty
        tty.setraw(0)
        os.write(1, b"\x1b[?202"); time.sleep(0.2); os.write(1, b"6$p")
        answer = os.read(0, 64)
        os.write(1, b"\x1b]11;?\x07")
        print(repr(answer), repr(os.read(0, 64)), flush=True)
        os.read(0, 1)
    """
    with program(source, columns=80) as terminal:
        terminal.wait_for(r"b'\\x1b\[\?2026;2\$y'", "rgb:0000/0000/0000")


def test_a_wait_that_fails_shows_the_screen() -> None:
    with program("print('hello', flush=True); input()") as terminal:
        terminal.wait_for("hello")
        with pytest.raises(TimeoutError, match=r"(?s)not within 0.1 s.*hello"):
            terminal.wait_for("goodbye", timeout=0.1)
        terminal.send("\n")
        with pytest.raises(TimeoutError, match="the program ended"):
            terminal.wait_for("goodbye")


def test_a_program_that_does_not_want_to_end_is_ended() -> None:
    source = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(99)"
    terminal = program(source)
    terminal.wait_for("up")
    terminal.close()
    assert terminal.process.returncode == -9


def test_the_screen_agrees_with_another_emulator() -> None:
    output = (
        "one\r\ntwo\x1b[2;2Hx\x1b[4;3H训练 loss 损失\x1b[K\x1b[6;1H0123456789\x1b[6;4H\x1b[2P\x1b[2@\x1b[1X"
        "\x1b[3;8r\x1b[8;1Hlast\n\nscrolled\x1b[3;1H\x1b[1L\x1b[5;1H\x1b[1M\x1b[r\x1b[1;30Hthe end of the line wraps"
        "\x1b[9;5Hgone\x1b[9;7H\x1b[1K\x1b[10;1Htab\tstop\x1b[2A\x1b[3Dup\x1b[10;1H\x1b[31mred\x1b[0m"
    )
    ours, theirs = Screen(40, 10), pyte.Screen(40, 10)
    stream = pyte.Stream(theirs)
    for character in output:  # one at a time, so that every escape sequence is cut
        ours.feed(character)
    stream.feed(output)
    assert ours.lines == [line.replace("\0", "") for line in theirs.display]


def test_a_synchronized_update_is_shown_when_it_is_whole() -> None:
    screen = Screen(10, 3)
    screen.feed("old")
    before = screen.version
    screen.feed("\x1b[?2026h\x1b[Hnew")
    assert (screen.lines[0].rstrip(), screen.version) == ("old", before)
    screen.feed("\x1b[2;1Hmore\x1b[?20")  # the end of the update is cut in two
    assert (screen.text.split(), screen.version) == (["old"], before)
    screen.feed("26l")
    assert screen.text.split() == ["new", "more"]
    assert screen.version > before


def test_every_synchronized_update_of_one_chunk_is_shown() -> None:
    screen = Screen(10, 3)
    screen.feed("\x1b[?2026hone\x1b[?2026l\x1b[?2026h\x1b[Htwo")
    assert screen.text.split() == ["one"]
    screen.feed("\x1b[?2026l")
    assert screen.text.split() == ["two"]


def test_an_open_synchronized_update_ends_with_a_new_size_or_a_reset() -> None:
    screen = Screen(10, 3)
    screen.feed("old\x1b[?2026h\x1b[Hnew")
    screen.resize(12, 4)
    assert [line.rstrip() for line in screen.lines] == ["new", "", "", ""]
    screen.feed("\x1b[?2026h\x1b[Hmore\x1bc")
    assert screen.text.split() == []


def test_no_wait_ends_on_half_of_a_synchronized_update() -> None:
    source = r"""
        import os, tty
        tty.setraw(0)
        os.write(1, b"\x1b[?1049h\x1b[?2026hstate: finished\x1b[2;1Hstep: 24\x1b[?2026l")
        os.read(0, 1)
        os.write(1, b"\x1b[?2026h\x1b[1;1Hstate: waiting \x1b[3;1H")
        os.write(1, b"\x1b[6n")
        os.read(0, 16)  # the terminal has what comes before the question
        os.read(0, 1)
        os.write(1, b"\x1b[2;1H\x1b[K\x1b[?2026l")
        os.read(0, 1)
    """
    with program(source) as terminal:
        terminal.wait_for("finished", "24")
        sent = len(terminal.raw)
        terminal.send("x")
        wait_until(lambda: b"\x1b[6n" in terminal.raw[sent:], "half of the update")
        assert "finished" in terminal.text
        assert terminal.settle().split() == ["state:", "finished", "step:", "24"]
        changes = len(terminal.changes)
        terminal.send("x")
        terminal.wait_for("waiting")
        assert terminal.text.split() == ["state:", "waiting"]
        assert len(terminal.changes) == changes + 1
