"""Run programs in a terminal for tests: a real pty, an emulated screen, and a record of the terminal's modes.

``Terminal`` starts a program as a user's shell over ssh would, answers the queries that programs send to terminals, and
shows the screen as text. Every chunk of output gets the time of its arrival, and a match on the screen the time of the
chunk that completed it, so that the emulator's own speed does not count.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.support.waiting import DEADLINE_S, QUIET_S, STEP_S, is_working

TOKEN = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC
    r"|\x1b[P_^X].*?\x1b\\"  # DCS, APC, PM, SOS
    r"|\x1b\[(?P<private>[<-?]*)(?P<parameters>[0-9;:]*)(?P<between>[ -/]*)(?P<final>[@-~])"  # CSI
    r"|\x1b[()*+][0-9A-Za-z]|\x1b[ #%][0-9A-Za-z]|\x1b(?P<escape>[0-9=>A-OQ-WYZ`-~])"  # charsets, simple escapes
    r"|(?P<text>[^\x00-\x1f\x7f\x1b]+)|(?P<control>[\x00-\x1a\x1c-\x1f\x7f])",
    re.DOTALL,
)
ALTERNATE_SCREEN = {47, 1047, 1049}
WRAP, CURSOR, SYNCHRONIZED = 7, 25, 2026
MODE_NAMES = {
    1: "application cursor keys",
    **dict.fromkeys((1000, 1002, 1003, 1005, 1006, 1015, 1016), "mouse reports"),
    1004: "focus reports",
    **dict.fromkeys(ALTERNATE_SCREEN, "alternate screen"),
    2004: "bracketed paste",
    SYNCHRONIZED: "synchronized output",
    2048: "in-band resize reports",
}
MAX_PENDING = 1 << 20  # an escape sequence that long will never end

# What programs ask a terminal, with the answers of a plain truecolor xterm that knows synchronized output.
QUERIES: list[tuple[bytes, bytes]] = [
    (rb"\x1b\[0?c", b"\x1b[?62;22c"),
    (rb"\x1b\[>0?c", b"\x1b[>1;10;0c"),
    (rb"\x1b\[6n", b""),  # where the cursor is
    (rb"\x1b\[5n", b"\x1b[0n"),
    (rb"\x1b\[\?2026\$p", b"\x1b[?2026;2$y"),
    (rb"\x1b\[\?2048\$p", b"\x1b[?2048;0$y"),
    (rb"\x1b\[\?2027\$p", b"\x1b[?2027;0$y"),
    (rb"\x1b\]11;\?(?:\x07|\x1b\\)", b"\x1b]11;rgb:0000/0000/0000\x1b\\"),
    (rb"\x1b\]10;\?(?:\x07|\x1b\\)", b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\"),
    (rb"\x1b\[\?u", b"\x1b[?0u"),
]
QUERY = re.compile(b"|".join(b"(%s)" % pattern for pattern, _ in QUERIES))
LONGEST_QUERY = 16
CURSOR_QUERY = b"\x1b[6n"
MOVE = re.compile(rb"\x1b\[(\d*);?(\d*)H")


def cell_width(character: str) -> int:
    """Return the number of cells that a character takes."""
    if unicodedata.combining(character) or character in "\u200b\u200d\ufe0e\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class Screen:
    """A screen of text: cursor motion, scrolling, both buffers and the private modes; colours are ignored.

    During a synchronized update (private mode 2026) :attr:`lines` and :attr:`version` stay what they were before it.
    ``wraps`` grows with every character written beyond the right edge.
    ``ambiguous`` is the width of characters whose width Unicode leaves open: 2 in terminals set up for CJK text.
    """

    def __init__(self, columns: int, rows: int, ambiguous: int = 1) -> None:
        self.columns, self.rows, self.ambiguous = columns, rows, ambiguous
        self.modes: set[int] = {WRAP, CURSOR}
        self.keyboard_flags: list[int] = []  # the stack of the kitty keyboard protocol
        self._version = 0
        self._before_update: tuple[list[str], int] | None = None  # lines and version, during a synchronized update
        self.wraps = 0
        self._pending = ""
        self._main: tuple[list[list[str]], int, int] | None = None  # the main buffer while the alternate one is shown
        self._reset()

    def _reset(self) -> None:
        self._cells = [self._blank() for _ in range(self.rows)]
        self._x = self._y = 0
        self._top, self._bottom = 0, self.rows - 1
        self._saved = (0, 0)
        self._last = " "
        self._version += 1

    def _blank(self) -> list[str]:
        return [" "] * self.columns

    @property
    def version(self) -> int:
        """Number that grows whenever a cell that is shown changes."""
        return self._version if self._before_update is None else self._before_update[1]

    @property
    def lines(self) -> list[str]:
        """Lines of the screen; the second cell of a wide character adds nothing to them."""
        return self._new_lines if self._before_update is None else self._before_update[0][:]

    @property
    def _new_lines(self) -> list[str]:
        return ["".join(cells) for cells in self._cells]

    @property
    def text(self) -> str:
        """Whole screen as text."""
        return "\n".join(self.lines)

    @property
    def column(self) -> int:
        """The cursor's column as a terminal reports it, from 1."""
        return min(self._x, self.columns - 1) + 1

    @property
    def alternate(self) -> bool:
        """Whether the alternate screen is shown."""
        return bool(self.modes & ALTERNATE_SCREEN)

    def resize(self, columns: int, rows: int) -> None:
        """Cut or fill the screen to another size, like a terminal that does not reflow lines."""

        def fit(cells: list[list[str]]) -> list[list[str]]:
            cells = [(line + [" "] * (columns - len(line)))[:columns] for line in cells[:rows]]
            return cells + [[" "] * columns for _ in range(rows - len(cells))]

        self.columns, self.rows = columns, rows
        self._cells = fit(self._cells)
        if self._main:
            self._main = (fit(self._main[0]), min(self._main[1], columns - 1), min(self._main[2], rows - 1))
        self._x, self._y = min(self._x, columns - 1), min(self._y, rows - 1)
        self._top, self._bottom = 0, rows - 1
        self._before_update = None
        self._version += 1

    def feed(self, data: str) -> None:
        """Process output; an incomplete escape sequence is kept until its rest arrives."""
        data = self._pending + data
        position = 0
        while match := TOKEN.match(data, position):
            position = match.end()
            text = match["text"]
            if text is not None:
                self._write(text)
            elif (control := match["control"]) is not None:
                self._control(control)
            elif (final := match["final"]) is not None:
                if final != "m" and not match["between"]:
                    self._sequence(match["private"], match["parameters"], final)
            elif (escape := match["escape"]) is not None:
                self._escape(escape)
        self._pending = data[position:] if len(data) - position <= MAX_PENDING else ""

    def _write(self, text: str) -> None:
        end = self._x + len(text)
        if end <= self.columns and text.isascii():
            line, new = self._cells[self._y], list(text)
            if line[self._x : end] != new:
                line[self._x : end] = new
                self._version += 1
            self._x, self._last = end, text[-1]
            return
        for character in text:
            simple = character < "\u0300" or "\u2500" <= character <= "\u28ff"
            width = 1 if simple else cell_width(character)
            if self.ambiguous == 2 and unicodedata.east_asian_width(character) == "A":
                width = 2
            if width == 0:
                continue
            if self._x + width > self.columns:
                self.wraps += 1
                self._x = 0
                self._line_feed()
            line = self._cells[self._y]
            if line[self._x] != character:
                line[self._x] = character
                self._version += 1
            if width == 2 and self._x + 1 < self.columns:
                line[self._x + 1] = ""
            self._x += width
            self._last = character

    def _control(self, control: str) -> None:
        if control == "\r":
            self._x = 0
        elif control in "\n\x0b\x0c":
            self._line_feed()
        elif control == "\b":
            self._x = max(0, min(self._x, self.columns) - 1)
        elif control == "\t":
            self._x = min(self.columns - 1, (self._x // 8 + 1) * 8)

    def _escape(self, escape: str) -> None:
        if escape == "7":
            self._saved = (self._x, self._y)
        elif escape == "8":
            self._x, self._y = self._saved
        elif escape in "DE":
            self._x = 0 if escape == "E" else self._x
            self._line_feed()
        elif escape == "M":
            if self._y == self._top:
                self._scroll(-1)
            else:
                self._y = max(0, self._y - 1)
        elif escape == "c":
            self.modes, self.keyboard_flags, self._main = {WRAP, CURSOR}, [], None
            self._before_update = None
            self._reset()

    def _line_feed(self) -> None:
        if self._y == self._bottom:
            self._scroll(1)
        elif self._y < self.rows - 1:
            self._y += 1

    def _scroll(self, lines: int, top: int | None = None) -> None:
        top = self._top if top is None else top
        for _ in range(min(abs(lines), self.rows)):
            old, new = (top, self._bottom) if lines > 0 else (self._bottom, top)
            del self._cells[old]
            self._cells.insert(new, self._blank())
        self._version += 1

    def _sequence(self, private: str, parameters: str, final: str) -> None:
        first_parts = [part.split(":")[0] for part in parameters.split(";")] if parameters else []
        numbers = [int(part) if part else 0 for part in first_parts]
        if private:
            self._private(private, numbers, final)
        elif final in "Hf":
            self._y = min(self.rows, self._number(numbers, 0)) - 1
            self._x = min(self.columns, self._number(numbers, 1)) - 1
        elif final in "ABCDEFG`ade":
            self._move(self._number(numbers, 0), final)
        elif final in "JKXP@LMST":
            self._edit(numbers, final)
        elif final == "r":
            self._top = self._number(numbers, 0) - 1
            self._bottom = self._number(numbers, 1, self.rows) - 1
            self._x = self._y = 0
        elif final == "b":
            self._write(self._last * self._number(numbers, 0))
        elif final == "s":
            self._saved = (self._x, self._y)
        elif final == "u":
            self._x, self._y = self._saved

    @staticmethod
    def _number(numbers: list[int], index: int, default: int = 1) -> int:
        return numbers[index] if index < len(numbers) and numbers[index] else default

    def _private(self, private: str, numbers: list[int], final: str) -> None:
        if private == "?" and final in "hl":
            shown = self.alternate
            self.modes = self.modes | set(numbers) if final == "h" else self.modes - set(numbers)
            if SYNCHRONIZED not in self.modes:
                self._before_update = None
            elif SYNCHRONIZED in numbers and self._before_update is None:
                self._before_update = (self._new_lines, self._version)
            if self.alternate and not shown:
                self._main = (self._cells, self._x, self._y)
                self._reset()
            elif shown and not self.alternate and self._main:
                self._reset()
                self._cells, self._x, self._y = self._main
                self._main = None
        elif private == ">" and final == "u":
            self.keyboard_flags.append(numbers[0] if numbers else 0)
        elif private == "<" and final == "u":
            del self.keyboard_flags[-self._number(numbers, 0) :]

    def _move(self, count: int, final: str) -> None:
        if final in "AF":
            self._y = max(0, self._y - count)
        elif final in "BeE":
            self._y = min(self.rows - 1, self._y + count)
        elif final in "Ca":
            self._x = min(self.columns - 1, self._x + count)
        elif final == "D":
            self._x = max(0, min(self._x, self.columns) - count)
        elif final in "G`":
            self._x = min(self.columns, count) - 1
        elif final == "d":
            self._y = min(self.rows, count) - 1
        if final in "EF":
            self._x = 0

    def _edit(self, numbers: list[int], final: str) -> None:
        kind, count = numbers[0] if numbers else 0, self._number(numbers, 0)
        line, x = self._cells[self._y], min(self._x, self.columns)
        before = line[:]
        if final in "JK" and kind == 0:
            line[x:] = [" "] * (self.columns - x)
        elif final in "JK" and kind == 1:
            line[: x + 1] = [" "] * min(self.columns, x + 1)
        elif final in "JK":
            line[:] = self._blank()
        elif final == "X":
            end = min(self.columns, x + count)
            line[x:end] = [" "] * (end - x)
        elif final == "P":
            del line[x : x + count]
            line += [" "] * (self.columns - len(line))
        elif final == "@":
            line[x:x] = [" "] * count
            del line[self.columns :]
        elif final in "LM":
            if self._top <= self._y <= self._bottom:
                self._scroll(-count if final == "L" else count, self._y)
        else:
            self._scroll(count if final == "S" else -count)
        if final == "J":
            others = {0: range(self._y + 1, self.rows), 1: range(self._y)}.get(kind, range(self.rows))
            for y in others:
                self._cells[y] = self._blank()
            self._version += 1
        elif line != before:
            self._version += 1


class Terminal:
    """A program in a terminal of its own.

    >>> with Terminal(["lora-tui", "watch", "saves"], columns=120, rows=40) as terminal:
    ...     terminal.wait_for("lora/sft")
    ...     terminal.send("q")
    ...     assert terminal.wait_exit() == 0
    ...     assert terminal.left_behind() == []
    """

    def __init__(
        self,
        command: Sequence[str | os.PathLike[str]],
        columns: int = 120,
        rows: int = 40,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        *,
        ambiguous: int = 1,
        bytes_per_s: int | None = None,
        answers: bool = True,
    ) -> None:
        """Start ``command`` in a terminal.

        ``ambiguous``: see :class:`Screen`. ``bytes_per_s``: rate at which the terminal reads output, as over a slow
        line. ``answers``: whether it answers queries. A variable of ``env`` that is empty is unset.
        """
        environment = dict(os.environ, TERM="xterm-256color", COLORTERM="truecolor", LANG="C.UTF-8", LC_ALL="C.UTF-8")
        for name in ("TMUX", "STY", "COLUMNS", "LINES", "NO_COLOR", "LANGUAGE"):
            environment.pop(name, None)
        environment.update(env or {})
        environment = {name: value for name, value in environment.items() if value or name not in (env or {})}
        self.screen = Screen(columns, rows, ambiguous)
        self.bytes_per_s = bytes_per_s
        self.answers = answers
        self._master, slave = pty.openpty()
        self._set_size(columns, rows)
        self.termios_before = termios.tcgetattr(slave)
        self.started = time.perf_counter()
        try:
            with warnings.catch_warnings():
                # Taking the pty as controlling terminal needs preexec_fn; a fork beside threads is only warned about.
                warnings.simplefilter("ignore", DeprecationWarning)
                self.process = subprocess.Popen(
                    command,
                    stdin=slave,
                    stdout=slave,
                    stderr=slave,
                    env=environment,
                    cwd=cwd,
                    start_new_session=True,
                    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                )
        except BaseException:
            os.close(self._master)
            raise
        finally:
            os.close(slave)
        self.chunks: list[tuple[float, bytes]] = []
        self.bytes_read = 0
        self.first_byte: float | None = None
        self.first_text: float | None = None
        self.changes: list[float] = []
        self._fed = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._arrived = threading.Event()
        self._ended = self._closing = self._closed = False
        self._reader = threading.Thread(target=self._read, name="pty reader", daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> None:
        unanswered = b""
        while not self._closing:
            try:
                if not select.select([self._master], [], [], 0.2)[0]:
                    continue
                data = os.read(self._master, 1 << 16 if self.bytes_per_s is None else max(1, self.bytes_per_s // 20))
            except OSError:  # how Linux says that no program has the terminal open any more
                data = b""
            if not data:
                break
            now = time.perf_counter()
            self.first_byte = now if self.first_byte is None else self.first_byte
            self.chunks.append((now, data))
            self.bytes_read += len(data)
            if self.answers:
                unanswered = self._answer(unanswered + data)
            self._arrived.set()
            if self.bytes_per_s is not None:
                time.sleep(len(data) / self.bytes_per_s)
        self._ended = True
        self._arrived.set()

    def _answer(self, output: bytes) -> bytes:
        """Answer the queries in the output; return what may be the beginning of another."""
        done = 0
        for match in QUERY.finditer(output):
            done = match.end()
            answer = QUERIES[(match.lastindex or 1) - 1][1]
            if match[0] == CURSOR_QUERY:
                answer = self._where(output[: match.start()])
            try:
                os.write(self._master, answer)
            except OSError:
                return b""
        begin = output.rfind(b"\x1b", max(done, len(output) - LONGEST_QUERY))
        return output[begin:] if begin >= 0 else b""

    def _where(self, output: bytes) -> bytes:
        """Return the report of the cursor after this output, from its last move and what was written since."""
        moves = [*MOVE.finditer(output)]
        if not moves:
            return b"\x1b[1;1R"
        row, column = (int(number or 1) for number in moves[-1].groups())
        probe = Screen(self.screen.columns, 1, self.screen.ambiguous)
        probe.feed(f"\x1b[1;{column}H" + output[moves[-1].end() :].decode("utf-8", "replace"))
        return b"\x1b[%d;%dR" % (row, probe.column)

    @property
    def text(self) -> str:
        """Text of the screen after all output so far."""
        for _ in self.step(0):
            pass
        return self.screen.text

    @property
    def raw(self) -> bytes:
        """All bytes that the program has written so far."""
        return b"".join(data for _, data in self.chunks)

    def send(self, keys: str | bytes) -> None:
        """Send keys to the program."""
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal's window; the kernel sends the program SIGWINCH."""
        self.screen.resize(columns, rows)
        self._set_size(columns, rows)

    def step(self, wait: float = 0.05) -> Iterator[float]:
        """Process the output that has arrived, after waiting at most ``wait`` seconds for some.

        Yield the time (time.perf_counter) of each chunk that changed the screen.
        """
        if self._fed >= len(self.chunks) and not self._ended and wait > 0:
            self._arrived.wait(wait)
        self._arrived.clear()
        while self._fed < len(self.chunks):
            arrived, data = self.chunks[self._fed]
            self._fed += 1
            version = self.screen.version
            self.screen.feed(self._decoder.decode(data))
            if self.screen.version != version:
                if self.first_text is None and self.screen.text.strip():
                    self.first_text = arrived
                self.changes.append(arrived)
                yield arrived

    def wait_for(self, *patterns: str, timeout: float = DEADLINE_S) -> float:
        """Wait until the screen matches all patterns at once; return when it did (time.perf_counter).

        Raises TimeoutError, with the screen, where it never does or the program ends first.
        """
        expressions = [re.compile(pattern, re.DOTALL) for pattern in patterns]
        return self.wait_until(
            lambda text: all(expression.search(text) for expression in expressions),
            f"{list(patterns)} on the screen",
            timeout,
        )

    def wait_until(self, true: Callable[[str], object], what: str, timeout: float = DEADLINE_S) -> float:
        """Wait until ``true(text of the screen)``; return when it became true (time.perf_counter).

        Raises TimeoutError with ``what`` and the screen.
        """
        end = time.perf_counter() + timeout
        at = time.perf_counter()
        while not true(self.screen.text):
            for at in self.step():
                if true(self.screen.text):
                    return at
            ended = self._ended and self._fed >= len(self.chunks)
            if ended or time.perf_counter() > end:
                why = "the program ended" if ended else f"not within {timeout} s"
                raise TimeoutError(f"{why}: {what}, which is\n{self.shown()}")
        return at

    def wait_gone(self, pattern: str, timeout: float = DEADLINE_S) -> None:
        """Wait until the screen no longer matches a pattern. Raises TimeoutError, with the screen."""
        end = time.perf_counter() + timeout
        while re.search(pattern, self.text, re.DOTALL):
            if time.perf_counter() > end:
                raise TimeoutError(f"{pattern!r} is still on the screen after {timeout} s:\n{self.shown()}")
            self.drain(0.05)

    def settle(self) -> str:
        """Wait until the program is at rest and all of its output is on the screen; return the screen's text.

        It is at rest when it and its children have neither worked nor written for ``QUIET_S``: even on a busy machine,
        it has then done what it was asked to do. Raises TimeoutError after ``DEADLINE_S``.
        """
        end, since, seen = time.monotonic() + DEADLINE_S, time.monotonic(), self.bytes_read
        while (now := time.monotonic()) - since < QUIET_S:
            unread = not self._ended and select.select([self._master], [], [], 0)[0]
            if unread or self.bytes_read != seen or is_working(self.process.pid):
                since, seen = now, self.bytes_read
            if now > end:
                raise TimeoutError(f"it still works after {DEADLINE_S} s; the screen is\n{self.shown()}")
            self.drain(STEP_S)
        return self.text

    def drain(self, duration: float) -> None:
        """Process output for ``duration`` seconds."""
        end = time.perf_counter() + duration
        while (left := end - time.perf_counter()) > 0:
            for _ in self.step(min(0.05, left)):
                pass
            if self._ended and self._fed >= len(self.chunks):
                time.sleep(max(0.0, end - time.perf_counter()))

    def shown(self) -> str:
        """Return the screen in a frame, for messages."""
        rule = "-" * self.screen.columns
        return "\n".join([rule, *(line.rstrip() for line in self.screen.lines), rule])

    def wait_exit(self, timeout: float = DEADLINE_S) -> int:
        """Wait until the program ends and its output is processed; return its exit status. Raises TimeoutError."""
        end = time.perf_counter() + timeout
        while self.process.poll() is None:
            if time.perf_counter() > end:
                raise TimeoutError(f"still running after {timeout} s; the screen is\n{self.shown()}")
            self.drain(0.02)
        self._reader.join(QUIET_S)
        while self._reader.is_alive() and select.select([self._master], [], [], 1.0)[0]:
            # There is more to read. Without more, a child of the program keeps the terminal open and the reader going.
            self._reader.join(STEP_S)
        for _ in self.step(0):
            pass
        return self.process.returncode

    def left_behind(self) -> list[str]:
        """Return what the program has left changed in the terminal, in words; empty if it has restored everything."""
        for _ in self.step(0):
            pass
        screen = self.screen
        names = {MODE_NAMES.get(mode, f"private mode {mode}") for mode in screen.modes - {WRAP, CURSOR}}
        left = [f"{name} on" for name in sorted(names)]
        if CURSOR not in screen.modes:
            left.append("cursor hidden")
        if WRAP not in screen.modes:
            left.append("line wrap off")
        if any(screen.keyboard_flags):
            left.append("kitty keyboard protocol on")
        if termios.tcgetattr(self._master) != self.termios_before:
            left.append("termios flags changed")
        return left

    def hang_up(self) -> None:
        """Close the terminal while the program runs, like a broken connection; the kernel sends the program SIGHUP."""
        if self._closing:
            return
        self._closing = True
        self._reader.join(DEADLINE_S)
        os.close(self._master)

    def close(self) -> None:
        """End the program and its process group, with SIGTERM before SIGKILL, and close the terminal."""
        if self._closed:
            return
        self._closed = True
        for sign, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 10.0)):
            if self.process.poll() is None:
                self._signal(sign)
                try:
                    self.process.wait(patience)
                except subprocess.TimeoutExpired:
                    continue
        self._signal(signal.SIGKILL)  # children that outlived it
        self.hang_up()

    def _signal(self, sign: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, sign)
        except (ProcessLookupError, PermissionError):
            pass


def repository_root() -> Path:
    """Return the root of the checkout that the tests run in."""
    return Path(__file__).resolve().parents[2]
