"""The only module that uses private parts of Textual, behind one check that they are there (:func:`missing_parts`).

Written for Textual 8.2.8. What the patches do, each because Textual has no public way to it:

- A partial update sends only the cells that changed (:meth:`Patches.narrow`). Textual's own begins every line at the
  left edge of the widget (``ChopsUpdate.render_segments`` crops at the right alone).
- A frame waits while the terminal is behind, and only what is newest is painted then: the rules are in
  :mod:`lora_tui.tui.terminal.slow_terminal`, :meth:`Patches.catch_up` applies them.
- The terminal is written to by :class:`lora_tui.tui.terminal.driver.TerminalDriver`, which outlasts a terminal that is
  gone.
- Escape and a key soon after it are two keys (:func:`_parser_class`). Textual waits 0.1 s for the rest of a sequence,
  takes what comes meanwhile for one with Alt, drops the Escape, and holds back all that is typed until a pause.
- The traceback of a crash is Python's own. Textual prints one with the local variables of every frame: thousands of
  lines of the run's own rows, in boxes.

Where one of the parts is missing, in a Textual that came later, none of the patches is used and the app runs on the
public parts alone: it draws the same screens, with more bytes, and Textual's own driver has the terminal. Figures are
in ``docs/own-drawing.md``.
"""

from __future__ import annotations

import importlib
import inspect
import time
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.control import Control
from textual import events
from textual.app import App
from textual.geometry import Region, Size
from textual.worker import WorkerFailed

from lora_tui.tui.terminal.slow_terminal import PendingCells

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual._xterm_parser import XTermParser
    from textual.screen import Screen
    from textual.timer import Timer

    from lora_tui.tui.terminal.driver import TerminalDriver

PRIVATE_PARTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("textual.app", "App", ("_batch_count", "_driver", "_exception", "_close_messages_no_wait")),
    ("textual.screen", "Screen", ("_compositor", "_compositor_refresh", "_dirty_widgets")),
    ("textual._compositor", "Compositor", ("_dirty_regions", "size", "update_widgets")),
    ("textual._compositor", "ChopsUpdate", ("chops", "chop_ends", "spans")),
    ("textual.drivers.linux_driver", "LinuxDriver", ("_file", "_writer_thread", "exit_event", "run_input_thread")),
    ("textual.drivers.linux_driver", "XTermParser", ("parse",)),
    ("textual.drivers._writer_thread", "WriterThread", ("_queue",)),
)
"""Module, class, and the attributes of it that are used here."""
REPLACED_METHODS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("textual.app", "App", "_display", ("self", "screen", "renderable")),
    ("textual.app", "App", "_fatal_error", ("self",)),
    ("textual._compositor", "Compositor", "render_partial_update", ("self",)),
    ("textual._compositor", "ChopsUpdate", "render_segments", ("self", "console")),
    ("textual._xterm_parser", "XTermParser", "_sequence_to_key_events", ("self", "sequence", "alt")),
)
"""Module, class, method and its parameters: the methods that are replaced here."""

ESCAPE = "\x1b"
LONGER_SEQUENCES = frozenset("[]NOPX^_\\")
"""Characters that after an Escape begin or end a longer sequence, as in a terminal's answers (ECMA-48, C1 controls)."""

LOOK_S = 0.5
"""Seconds between two looks whether an answer that is waited for is lost."""


def missing_parts() -> tuple[str, ...]:
    """Return the names of the private parts that this Textual does not have, or has in another form."""
    missing = []
    for module, name, attributes in PRIVATE_PARTS:
        found = _class_of(module, name)
        missing += [f"{module}.{name}.{each}" for each in attributes if found is None or not _has(found, each)]
    for module, name, method, parameters in REPLACED_METHODS:
        function = getattr(_class_of(module, name), method, None)
        if function is None or tuple(inspect.signature(function).parameters) != parameters:
            missing.append(f"{module}.{name}.{method}")
    return tuple(missing)


def _class_of(module: str, name: str) -> type[Any] | None:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _has(cls: type[Any], name: str) -> bool:
    """Return whether the class has the attribute, or sets it in its ``__init__``."""
    inits = (getattr(base.__dict__.get("__init__"), "__code__", None) for base in cls.__mro__)
    return hasattr(cls, name) or any(name in code.co_names for code in inits if code is not None)


def install(app: App[Any]) -> Patches | None:
    """Patch an app that is not running yet, or return None where a private part is missing."""
    return None if missing_parts() else Patches(app)


class Patches:
    """The patches of one app."""

    def __init__(self, app: App[Any]) -> None:
        from textual._compositor import ChopsUpdate
        from textual.drivers.linux_driver import LinuxDriver

        self.crash = ""
        """Python's own traceback of the exception that ended the app; empty if none did."""
        self._app = app
        self._partial_update = ChopsUpdate
        self._display_now = app._display
        self._pending = PendingCells()
        self._looking: Timer | None = None
        # Replaced on this one object: no other app of the process is changed.
        app._display = self._display  # type: ignore[method-assign]
        app._fatal_error = self._fatal_error  # type: ignore[method-assign]
        if app.driver_class is LinuxDriver:
            app.driver_class = _driver_class()

    # -- partial updates -----------------------------------------------------------------------------------------

    def narrow(self, screen: Screen[Any]) -> None:
        """Have the partial updates of a screen crop every changed stretch on both sides."""
        compositor = screen._compositor
        render = compositor.render_partial_update

        def render_partial_update() -> Any:
            update = render()
            if update is not None:
                update.render_segments = partial(_narrow_segments, update)  # type: ignore[method-assign]
            return update

        compositor.render_partial_update = render_partial_update  # type: ignore[method-assign]

    # -- slow terminals ------------------------------------------------------------------------------------------

    @property
    def backlog_s(self) -> float:
        """Seconds until everything pending is painted; 0 where the line is not slow."""
        driver = self._terminal_driver
        if driver is None or not driver.slow:
            return 0.0
        return self._pending.backlog_s(time.monotonic())

    @property
    def _terminal_driver(self) -> TerminalDriver | None:
        """The app's driver, where it is one of a real terminal."""
        driver: Any = self._app._driver
        return driver if getattr(driver, "paces_frames", False) else None

    def _display(self, screen: Screen[Any], renderable: Any) -> None:
        driver = self._terminal_driver
        if renderable is None or self._app._batch_count or driver is None:
            self._display_now(screen, renderable)
            return
        stretches = self._stretches(renderable, screen.size)
        if self._pending.must_wait(stretches, driver.slow, driver.behind()):
            self._pending.add(stretches, time.monotonic())
            if self._looking is None:
                self._looking = self._app.set_interval(LOOK_S, self.catch_up)
            # Not before this update is over: at its end Textual forgets every request to repaint.
            self._app.call_next(self.catch_up)
        else:
            with driver.frame():
                self._display_now(screen, renderable)

    def catch_up(self) -> None:
        """Paint what is pending or a portion of it, unless the terminal is still behind."""
        app, driver = self._app, self._terminal_driver
        if not (self._pending and app.screen_stack) or driver is None or driver.behind():
            return  # without a screen the app has ended
        # What is laid out now: after a change of the window's size that is not yet all of it, or more.
        screen = app.screen
        portion = self._pending.take(screen._compositor.size.region, driver.slow, time.monotonic())
        if not self._pending and self._looking is not None:
            self._looking.stop()
            self._looking = None
        if portion:
            # Not Screen.refresh, which takes what it is given for everything and forgets the panes that wait.
            screen._compositor._dirty_regions.update(portion)
            screen._compositor.update_widgets(screen._dirty_widgets)
            screen._compositor_refresh()

    def _stretches(self, renderable: Any, size: Size) -> list[Region]:
        """Return the parts of lines that an update paints."""
        if isinstance(renderable, self._partial_update):
            return [Region(x1, y, x2 - x1, 1) for y, x1, x2 in renderable.spans]
        return [Region(0, y, size.width, 1) for y in range(size.height)]

    # -- the end -------------------------------------------------------------------------------------------------

    def _fatal_error(self) -> None:
        """Keep the traceback of an unhandled exception for whoever started the app, and end it."""
        error: BaseException | None = self._app._exception
        if isinstance(error, WorkerFailed):
            error = error.error
        if error is not None and not self.crash:
            self.crash = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        self._app._close_messages_no_wait()

    def stop_input(self) -> None:
        """End the thread that reads keys.

        On a terminal that is gone Textual fails before it tells that thread to end, which would spin for ever.
        """
        if (driver := self._terminal_driver) is not None:
            driver.exit_event.set()


def _narrow_segments(update: Any, console: Console) -> str:
    """Return a partial update for the terminal, every changed stretch cropped on both sides."""
    out: list[str] = []
    move_to = Control.move_to
    for y, x1, x2 in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x >= x2 or end <= x1:
                continue
            left, right = max(x, x1), min(end, x2)
            out.append(move_to(left, y).segment.text)
            out.append(strip.crop(left - x, right - x).render(console))
    return "".join(out)


def _parser_class() -> type[XTermParser]:
    """Return Textual's parser of what a terminal sends, with Escape and the key after it as two keys.

    A terminal sends the same for Alt with a key as for Escape and then that key, unless it knows the kitty keyboard
    protocol, and tmux joins both where the second comes within its ``escape-time``. No key of the app has Alt.
    """
    from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
    from textual._xterm_parser import XTermParser

    class KeyParser(XTermParser):
        def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
            """Return the keys of a sequence, none while it is not complete.

            ``alt`` says that the sequence is one character after an Escape that began no longer sequence.
            """
            begins = len(sequence) == 2 and sequence[0] == ESCAPE and sequence[1] not in LONGER_SEQUENCES
            # Named keys stay, as Shift+Tab of the Linux console. What a Mac's Option key prints is not typed here.
            if alt or (begins and not isinstance(ANSI_SEQUENCES_KEYS.get(sequence), tuple)):
                yield events.Key("escape", ESCAPE)
                sequence = sequence[-1]
            yield from super()._sequence_to_key_events(sequence)

    return KeyParser


def _driver_class() -> type[TerminalDriver]:
    """Return the driver of real terminals, with what it needs to set inside Textual's own."""
    from textual.drivers import linux_driver

    from lora_tui.tui.terminal.driver import LEAVE_S, TerminalDriver

    parser_class = _parser_class()

    class PatchedDriver(TerminalDriver):
        paces_frames = True

        def __init__(self, app: App[Any], **options: Any) -> None:
            super().__init__(app, **options)
            self._file = self.output  # type: ignore[assignment]  # all that Textual's writer uses of a file

        def run_input_thread(self) -> None:
            """Read keys with the parser of :func:`_parser_class`, which Textual takes from its module."""
            linux_driver.XTermParser = parser_class  # type: ignore[attr-defined]
            super().run_input_thread()

        def close(self) -> None:
            """Wait for the writer, but not for ever: a terminal that takes nothing must not keep the program."""
            if (writer := self._writer_thread) is not None:
                writer._queue.put(None)
                writer.join(LEAVE_S)

    return PatchedDriver
